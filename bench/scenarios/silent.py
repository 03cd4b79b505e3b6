"""Silent connections among active ones: how exactly idle_timeout ends them, and what it costs the others."""

from __future__ import annotations

import dataclasses
import select
import socket
import statistics
import threading
import time
from collections.abc import Sequence

from bench.harness.children import Server
from bench.harness.contenders import WAWO, Contender
from bench.harness.errors import BenchError
from bench.harness.measure import Bar, Bench, Case, CaseResult, Column, Sample, Scenario

ACTIVE = 9_000
SILENT = 1_000
IDLE_SECONDS = 3.0
SETTLE_SECONDS = 2.0  # the active ones are open by then
REST_SECONDS = 2.0  # watched on when all should have ended
ERROR_LIMIT = 0.05
CPU_LIMIT = 1.03  # as fine as this bench can tell
WAWO_IDLE = Contender("wawo", "wawo, idle_timeout")


class Quiet:
    """Connections that had one echo each and then say nothing: when each was heard of last, and when it ended."""

    def __init__(self, port: int, count: int) -> None:
        self._poller = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._since: dict[int, float] = {}
        self.lasted: list[float] = []
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), timeout=10)
            self._since[sock.fileno()] = time.monotonic()
            sock.sendall(b"x")
            if sock.recv(1) != b"x":
                raise BenchError("a silent connection had no echo")
            self._sockets[sock.fileno()] = sock
            self._poller.register(sock, select.EPOLLIN)

    def watch(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._sockets and (rest := until - time.monotonic()) > 0:
            fired = self._poller.poll(rest)
            now = time.monotonic()
            for fd, _ in fired:
                self.lasted.append(now - self._since[fd])
                self._sockets.pop(fd).close()

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._poller.close()


def measure(bench: Bench, case: Case, contender: Contender) -> Sample:
    results: list[Sample] = []
    settle, idle, rest = (seconds * bench.settings.scale for seconds in (SETTLE_SECONDS, IDLE_SECONDS, REST_SECONDS))
    if contender == WAWO_IDLE:
        contender = dataclasses.replace(contender, extra=("--idle-timeout", str(idle)))

    def load(server: Server) -> None:
        results.append(bench.run_load(case, server, warmup=settle, seconds=idle + rest))

    with bench.server(case, contender) as server:
        loading = threading.Thread(target=load, args=(server,))
        loading.start()
        try:
            time.sleep(settle)
            quiet = Quiet(server.port, case.counts["silent"])
            quiet.watch(idle + rest)
            quiet.close()
        finally:
            loading.join()
    if not results:
        raise BenchError("the active ones gave no figures")
    sample = {**results[0], "ended": len(quiet.lasted)}
    if quiet.lasted:
        errors = [abs(lasted / idle - 1) for lasted in quiet.lasted]
        sample |= {"error": 100 * statistics.median(errors), "worst": 100 * max(errors)}
    return sample


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    ended, silent = results[0].median(WAWO_IDLE.name, "ended"), results[0].case.counts["silent"]
    worst = results[0].median(WAWO_IDLE.name, "worst")
    cpu = results[0].ratio(WAWO_IDLE.name, WAWO.name, "cpu_us")
    return [
        Bar(f"silent connections ended, of {silent:,}", ended, silent, at_least=True),
        Bar("the worst of them is off by, % of the timeout", worst, 100 * ERROR_LIMIT),
        Bar(f"CPU for a message of the active ones ≤ {CPU_LIMIT} x without the option", cpu, CPU_LIMIT),
    ]


SCENARIO = Scenario(
    name="silent",
    title=f"{SILENT:,} silent connections among {ACTIVE:,} with 64 B in flight, idle_timeout {IDLE_SECONDS} s",
    cases=[
        Case(
            "with the option and without",
            {"connections": ACTIVE, "depth": 1, "size": 64},
            (WAWO, WAWO_IDLE),
            columns=(
                Column("ended", "ended", "{:,.0f}"),
                Column("off by %\nmedian", "error"),
                Column("off by %\nworst", "worst"),
            ),
            counts={"silent": SILENT},
            measure=measure,
        )
    ],
    bars=bars,
    default=("wawo",),
)
