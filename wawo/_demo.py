"""``wawo demo``: an echo server in a child process on one core, a load in this one on another."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ._core import ENGINE, load
from ._echo import Echo
from .errors import error_text
from .iopool import IoPool
from .server import TcpServer

_WARMUP_SECONDS = 0.5
_START_SECONDS = 20.0
_SERVER = "import sys; sys.path.insert(0, sys.argv[1]); from wawo import _demo; _demo.serve(int(sys.argv[2]))"
_HOST = "127.0.0.1"
_OPEN_MAX = 10_240  # macOS takes no more, though it says that there is no limit


def serve(core: int) -> None:
    """The child: pin to core (unless negative), say port and backend, echo until standard input ends."""
    _pin(core)
    _allow_files()
    with IoPool() as pool, TcpServer(Echo(), io=pool, max_connections=100_000) as server:
        server.start(_HOST, 0)
        print(server.address[1], pool.backend, flush=True)
        sys.stdin.read()


def run(connections: int, depth: int, size: int, seconds: float) -> int:
    """Measure and print the table; returns the exit code."""
    console = Console(highlight=False)
    server_core, load_core = _cores()
    _allow_files()
    command = [sys.executable, "-c", _SERVER, str(Path(__file__).resolve().parent.parent), str(server_core)]
    # A session of its own: Ctrl-C comes to this process alone, which ends the child by closing its standard input.
    alone = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows' word for it
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        creationflags=alone,
    ) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            port, backend = _read_greeting(child, child.stdout)
            if port == 0:
                console.print("wawo: the server process did not start", style="red")
                return 1
            before = os.sched_getaffinity(0) if load_core >= 0 else None
            _pin(load_core)
            try:
                samples, result = _measure(console, child.pid, port, connections, depth, size, seconds)
            finally:
                if before is not None:
                    os.sched_setaffinity(0, before)
            child.stdin.close()
            child.wait(_START_SECONDS)
        finally:
            if child.poll() is None:
                child.kill()
    table = _table(console, result, samples)
    table.add_section()
    table.add_row("connections", f"{connections:,}")
    table.add_row("messages under way on each", f"{depth:,}")
    table.add_row("size of a message", f"{size:,} B")
    table.add_row("backend of the server", backend)
    table.add_row("python", _python())
    table.add_row("cores", f"server {server_core}, load {load_core}" if server_core >= 0 else "shared by both")
    console.print(f"echo of {size} B, {connections} connections, {depth} deep, {result['seconds']:.1f} s")
    if ENGINE != "native":
        console.print("engine: portable; server and load are pure Python, the compiled engine is many times as fast")
    console.print(table)
    return 0 if result["messages"] and not result["errors"] else 1


def _read_greeting(child: subprocess.Popen[str], stream: IO[str]) -> tuple[int, str]:
    """Port and backend from the child's first line; a child that hangs is ended, and (0, "") returned."""
    timer = threading.Timer(_START_SECONDS, child.kill)
    timer.start()
    try:
        port, _, backend = stream.readline().strip().partition(" ")
    finally:
        timer.cancel()
        timer.join()
    return (int(port), backend) if port.isdigit() else (0, "")


class _Point(NamedTuple):
    seconds: float
    messages: int
    server_ns: int | None  # CPU time so far
    load_ns: int


@dataclass
class _Samples:
    """CPU time beside the count of messages, while measuring: connecting, warm-up and ending are in neither."""

    pid: int
    points: list[_Point] = field(default_factory=list)

    def take(self, seconds: float, messages: int) -> None:
        if seconds > 0 and (not self.points or seconds > self.points[-1].seconds):
            self.points.append(_Point(seconds, messages, _cpu_ns(self.pid), time.process_time_ns()))

    def rate(self) -> float:
        """Messages a second between the last two points."""
        a, b = self.points[-2:]
        return (b.messages - a.messages) / (b.seconds - a.seconds)

    def ns_per_message(self) -> float | None:
        """CPU time of the server for one message."""
        if not self.points or self.points[-1].messages == self.points[0].messages:
            return None
        a, b = self.points[0], self.points[-1]
        if a.server_ns is None or b.server_ns is None:
            return None
        return (b.server_ns - a.server_ns) / (b.messages - a.messages)

    def busy(self) -> str:
        """How much of a core the two processes used."""
        if len(self.points) < 2:
            return "not known"
        a, b = self.points[0], self.points[-1]
        wall = (b.seconds - a.seconds) * 1e9
        load = f"load {(b.load_ns - a.load_ns) / wall:.0%}"
        if a.server_ns is None or b.server_ns is None:
            return load
        return f"server {(b.server_ns - a.server_ns) / wall:.0%}, {load}"


def _measure(
    console: Console, pid: int, port: int, connections: int, depth: int, size: int, seconds: float
) -> tuple[_Samples, dict[str, Any]]:
    samples = _Samples(pid)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    # The load calls often enough: a thread that refreshes would only take time from its core.
    live = Progress(*columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal)
    with live as progress:
        bar = progress.add_task(f"{connections:,} connections", total=seconds, rate="connecting, warming up")

        def show(elapsed: float, messages: int) -> None:
            samples.take(elapsed, messages)
            if len(samples.points) > 1:
                progress.update(bar, completed=elapsed, rate=f"{samples.rate():,.0f} messages/s")
            progress.refresh()

        result = load(
            _HOST,
            port,
            connections=connections,
            depth=depth,
            size=size,
            seconds=seconds,
            warmup=min(_WARMUP_SECONDS, seconds),
            progress=show,
        )
    return samples, result


def _table(console: Console, result: dict[str, Any], samples: _Samples) -> Table:
    micro = "µs" if console.encoding.startswith("utf") else "us"
    cpu = samples.ns_per_message()
    errors = f"{result['errors']:,}"
    if result["errors"]:
        errors += f" (first: {error_text(result['error'])})"
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("messages/s", f"{result['messages'] / max(result['seconds'], 1e-9):,.0f}", style="bold")
    cpu_text = f"{cpu / 1000:.2f} {micro}" if cpu is not None else "not known here"
    table.add_row("server CPU for each message", cpu_text, style="bold")
    for name, key in (("p50", "p50_ns"), ("p99", "p99_ns"), ("p99.9", "p999_ns"), ("longest", "max_ns")):
        table.add_row(f"latency {name}", f"{result[key] / 1000:,.1f} {micro}")
    table.add_row("messages", f"{result['messages']:,}")
    table.add_row("busy", samples.busy())
    table.add_row("errors", errors, style="red" if result["errors"] else None)
    return table


def _python() -> str:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return f"{platform.python_implementation()} {platform.python_version()}, GIL {'on' if gil else 'off'}"


def _cpu_ns(pid: int) -> int | None:
    """CPU time of a process, up to this moment; None where the system does not tell.

    The clock is the one of clock_getcpuclockid(3). /proc/<pid>/schedstat would lag behind by up to a tick.
    """
    if sys.platform != "linux":
        return None
    try:
        return time.clock_gettime_ns(~pid << 3 | 2)
    except OSError:
        return None


def _cores() -> tuple[int, int]:
    """One core for the server and another for the load; -1 where there are no two or they cannot be chosen."""
    if not hasattr(os, "sched_getaffinity"):
        return -1, -1
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        return -1, -1
    twins = _twins(usable[0])
    apart = [core for core in usable[1:] if core not in twins]
    return usable[0], (apart or usable[1:])[0]


def _twins(core: int) -> set[int]:
    """The logical cores that share the physical one with core, where the system tells."""
    try:
        text = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list").read_text()
        found: set[int] = set()
        for part in text.strip().split(","):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    except (OSError, ValueError):
        return {core}
    return found


def _allow_files() -> None:
    """Raise the limit of open files as far as this user may."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for soft in (hard, _OPEN_MAX):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            return


def _pin(core: int) -> None:
    if core >= 0:
        os.sched_setaffinity(0, {core})
