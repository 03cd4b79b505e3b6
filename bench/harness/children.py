"""Child processes: pinned, bounded in time, and dead when this process is."""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from bench.harness.errors import BenchError

if TYPE_CHECKING:
    from typing_extensions import Self

PR_SET_PDEATHSIG = 1
START_SECONDS = 20.0
LOAD_GRACE_SECONDS = 60.0  # to connect and to drain; the load also ends itself

_libc = ctypes.CDLL(None, use_errno=True)
_running: set[subprocess.Popen[str]] = set()


def environment() -> dict[str, str]:
    """For servers: they import what lies beside them."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}


def _before_exec(cpus: Iterable[int]) -> Callable[[], None]:
    chosen = set(cpus)

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # even a killed bench leaves nothing behind
        os.sched_setaffinity(0, chosen)

    return prepare


def kill_all() -> None:
    for child in list(_running):
        _end(child)


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            stream.close()
    _running.discard(child)


class Child:
    """A process that says one line when it is ready; killed when the block ends."""

    def __init__(self, command: Sequence[str], cpus: Iterable[int], stdin: bool = False) -> None:
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self.process: subprocess.Popen[str] = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(),
            preexec_fn=_before_exec(cpus),
        )
        _running.add(self.process)

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self, timeout: float) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout
        if select.select([self.process.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
            text = self.process.stdout.readline()
            if text:
                return text.strip()
            raise BenchError(self._why("ended early"))
        raise BenchError(self._why(f"said nothing for {timeout:.0f} s"))

    def finish(self, timeout: float) -> str:
        """Closes its input and returns the rest of its output."""
        try:
            return self.process.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            raise BenchError(self._why(f"did not end within {timeout:.0f} s")) from None

    def _why(self, what: str) -> str:
        self._errors.seek(0)
        lines = [line for line in self._errors.read().splitlines() if line.strip()]
        return f"{what}: {lines[-1].strip()}" if lines else what

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _end(self.process)
        self._errors.close()


class Server(Child):
    """An echo server; `port` is where it listens."""

    def __init__(self, command: Sequence[str], cpus: Iterable[int]) -> None:
        super().__init__(command, cpus)
        try:
            words = self.line(START_SECONDS).split()
            if len(words) != 2 or words[0] != "PORT":
                raise BenchError(f"the server said {' '.join(words)!r} instead of its port")
        except BenchError:
            self.__exit__(None, None, None)
            raise
        self.port = int(words[1])


def load_command(program: str, server: Server, options: Mapping[str, object]) -> list[str]:
    command = [program, "--port", str(server.port), "--server-pid", str(server.pid)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return command


def run_load(program: str, server: Server, options: Mapping[str, object], cpus: Iterable[int]) -> dict[str, Any]:
    """One measurement. Raises BenchError when it gave no figures."""
    with Child(load_command(program, server, options), cpus) as load:
        seconds = float(str(options.get("seconds", 2))) + float(str(options.get("warmup", 0)))
        text = load.finish(seconds + LOAD_GRACE_SECONDS)
    return read_result(text)


def read_result(text: str) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise BenchError("the load ended without a result") from None
    if "messages" not in result and result["mode"] != "idle":
        raise BenchError(f"{result['errors']} errors, no figures: {result['error_detail']}")
    return result
