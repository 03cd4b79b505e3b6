"""A port forwarder between a fast sender and a slow receiver, which checks every byte: memory, CPU, nothing lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.harness.children import Server
from bench.harness.contenders import EVERYBODY, UVLOOP, WAWO, Contender
from bench.harness.errors import BenchError
from bench.harness.machine import cpu_seconds, memory_bytes, peak_memory_bytes
from bench.harness.measure import Bar, Bench, Case, CaseResult, Column, Sample, Scenario

FORWARDER = Path(__file__).resolve().parent.parent / "rivals" / "forwarder.py"
MIB = 1 << 20
MIB_PER_SECOND = 1024  # of --seconds: 10 s are 10 GiB
MEMORY_LIMIT_MIB = 32.0  # two water marks and what lies between
PATIENCE_SECONDS = 30.0


def _pattern() -> bytes:
    return (bytes(range(251)) * (2 * MIB // 251 + 1))[: 2 * MIB]  # any MiB of it from 0 to 250 on fits the stream


def _receive(sock: socket.socket, total: int) -> int:
    """Reads and checks all of it; slower than any sender, for it looks at every byte."""
    pattern, buffer, got = _pattern(), bytearray(MIB), 0
    while got < total:
        n = sock.recv_into(buffer)
        if n == 0:
            break
        at = got % 251
        if buffer[:n] != pattern[at : at + n]:
            raise BenchError(f"a wrong byte within {n} bytes behind byte {got:,}")
        got += n
    return got


def _send(sock: socket.socket, total: int) -> None:
    pattern, sent = memoryview(_pattern()), 0
    while sent < total:
        at = sent % 251
        sent += sock.send(pattern[at : at + min(MIB, total - sent)])
    sock.shutdown(socket.SHUT_WR)


def measure(bench: Bench, case: Case, contender: Contender) -> Sample:
    total = int(bench.settings.seconds * MIB_PER_SECOND) * MIB
    with socket.create_server(("127.0.0.1", 0)) as listening:
        target = str(listening.getsockname()[1])
        command = [bench.python, str(FORWARDER), "--loop", contender.base, "--to", target]
        with (
            Server(command, bench.cores.server) as server,
            socket.create_connection(("127.0.0.1", server.port)) as sender,
        ):
            listening.settimeout(PATIENCE_SECONDS)
            sender.settimeout(PATIENCE_SECONDS)
            receiver, _ = listening.accept()
            with receiver:
                receiver.settimeout(PATIENCE_SECONDS)
                before, cpu, began = memory_bytes(server.pid), cpu_seconds(server.pid), time.perf_counter()
                sending = threading.Thread(target=_send, args=(sender, total), daemon=True)
                sending.start()
                got = _receive(receiver, total)
                took, cpu = time.perf_counter() - began, cpu_seconds(server.pid) - cpu
                grown = peak_memory_bytes(server.pid) - before
                sending.join(PATIENCE_SECONDS)
    return {
        "per_second": got / MIB / took,
        "cpu_us": cpu * 1e6 / (got / MIB),
        "server_busy": cpu / took,
        "load_busy": 1.0,
        "errors": int(got != total),
        "grown_mib": grown / MIB,
        "gib": got / MIB / 1024,
    }


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    return [
        Bar("wawo: no byte lost or wrong", float(results[0].errors(WAWO.name)), 0),
        Bar("peak memory of wawo beyond the start, MiB", results[0].median(WAWO.name, "grown_mib"), MEMORY_LIMIT_MIB),
        Bar("CPU of wawo ≤ uvloop", results[0].ratio(WAWO.name, UVLOOP.name, "cpu_us"), 1.0),
    ]


SCENARIO = Scenario(
    name="forwarder",
    title="a port forwarder, water marks 1 MiB, in MiB instead of messages; 1 GiB for each of --seconds",
    cases=[
        Case(
            "from a sender that never waits to a receiver that checks every byte",
            {},
            tuple(contender for contender in EVERYBODY if contender.base != "raw"),
            columns=(Column("GiB\nforwarded", "gib"), Column("MiB\ngrown", "grown_mib", "{:.1f}")),
            measure=measure,
        )
    ],
    bars=bars,
)
