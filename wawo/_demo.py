"""``wawo demo``: an echo server in a child process on one core, a native load in this one on another."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ._core import _native
from .cli import Echo
from .server import TcpServer

_WARMUP_SECONDS = 0.5
_START_SECONDS = 20.0
_SERVER = "import sys; sys.path.insert(0, sys.argv[1]); from wawo import _demo; _demo.serve(int(sys.argv[2]))"
_HOST = "127.0.0.1"


def serve(core: int) -> None:
    """The child: pin to core (unless negative), say the port, echo until standard input ends."""
    _pin(core)
    _allow_files()
    with TcpServer(Echo(), max_connections=100_000) as server:
        server.start(_HOST, 0)
        print(server.address[1], flush=True)
        try:
            sys.stdin.read()
        except KeyboardInterrupt:
            pass  # Ctrl-C reaches the whole group; the parent says so


def run(connections: int, depth: int, size: int, seconds: float) -> int:
    """Measure and print the table; returns the exit code."""
    console = Console(highlight=False)
    server_core, load_core = _cores()
    _allow_files()
    command = [sys.executable, "-c", _SERVER, str(Path(__file__).resolve().parent.parent), str(server_core)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            port = _read_port(child, child.stdout)
            if port is None:
                console.print("wawo: the server process did not start", style="red")
                return 1
            before = os.sched_getaffinity(0) if load_core >= 0 else None
            _pin(load_core)
            try:
                samples, result = _load(console, child.pid, port, connections, depth, size, seconds)
            finally:
                if before is not None:
                    os.sched_setaffinity(0, before)
            child.stdin.close()
            child.wait(_START_SECONDS)
        finally:
            if child.poll() is None:
                child.kill()
    where = f"server on core {server_core}, load on core {load_core}" if server_core >= 0 else "not pinned to cores"
    console.print(f"echo of {size} B, {connections} connections, {depth} deep, {result['seconds']:.1f} s; {where}")
    console.print(_table(result, samples.ns_per_message()))
    return 0 if result["messages"] and not result["errors"] else 1


def _read_port(child: subprocess.Popen[str], stream: IO[str]) -> int | None:
    """The child's first line; a child that hangs is ended, which ends the line as well."""
    timer = threading.Timer(_START_SECONDS, child.kill)
    timer.start()
    try:
        line = stream.readline().strip()
    finally:
        timer.cancel()
        timer.join()
    return int(line) if line.isdigit() else None


@dataclass
class _Samples:
    """CPU time of the server against messages, so that connecting and ending do not count."""

    pid: int
    points: list[tuple[int, int]] = field(default_factory=list)

    def take(self, messages: int) -> None:
        if self.points and messages < self.points[-1][0]:
            self.points.clear()  # the warm-up is over, counting begins anew
        cpu = _cpu_ns(self.pid)
        if cpu is not None:
            self.points.append((messages, cpu))

    def ns_per_message(self) -> float | None:
        if len(self.points) < 2 or self.points[-1][0] == self.points[0][0]:
            return None
        (first, start), (last, end) = self.points[0], self.points[-1]
        return (end - start) / (last - first)


def _load(
    console: Console, pid: int, port: int, connections: int, depth: int, size: int, seconds: float
) -> tuple[_Samples, dict[str, Any]]:
    samples = _Samples(pid)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(f"{connections} connections", total=seconds, rate="connecting")
        began = time.monotonic()

        def show(elapsed: float, messages: int) -> None:
            samples.take(messages)
            rate = f"{messages / elapsed:,.0f} messages/s" if elapsed > 0 and messages else "warming up"
            progress.update(bar, completed=min(elapsed, seconds), rate=rate)

        result = _native.load(
            _HOST,
            port,
            connections=connections,
            depth=depth,
            size=size,
            seconds=seconds,
            warmup=min(_WARMUP_SECONDS, seconds),
            progress=show,
        )
    if not result["messages"]:
        console.print(f"no message came back in {time.monotonic() - began:.1f} s", style="red")
    return samples, result


def _table(result: dict[str, Any], cpu: float | None) -> Table:
    table = Table()
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_row("messages", f"{result['messages']:,}")
    table.add_row("messages/s", f"{result['messages'] / max(result['seconds'], 1e-9):,.0f}")
    table.add_row("server CPU for each message", f"{cpu / 1000:.2f} µs" if cpu is not None else "not known here")
    for name, key in (("p50", "p50_ns"), ("p99", "p99_ns"), ("p99.9", "p999_ns"), ("longest", "max_ns")):
        table.add_row(f"latency {name}", f"{result[key] / 1000:,.1f} µs")
    table.add_row("errors", f"{result['errors']:,}")
    return table


def _cpu_ns(pid: int) -> int | None:
    """CPU time of all threads of a process in nanoseconds; None where the system does not tell."""
    try:
        return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) or None
    except (OSError, ValueError, IndexError):
        return None


def _cores() -> tuple[int, int]:
    """One core for the server and another for the load; -1 where there are no two or they cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return -1, -1
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (-1, -1)


def _allow_files() -> None:
    """Raise the limit of open files as far as this user may."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _pin(core: int) -> None:
    if core >= 0:
        os.sched_setaffinity(0, {core})
