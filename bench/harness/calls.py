"""System calls for each message, counted by strace on a server that runs already."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.harness.errors import BenchError

if TYPE_CHECKING:
    from typing_extensions import Self

ATTACH_SECONDS = 5.0
END_SECONDS = 10.0
# Those that receive, send and wait: connections that come and go make others.
NAMES = [
    "recvfrom",
    "recvmsg",
    "read",
    "sendto",
    "sendmsg",
    "write",
    "writev",
    "epoll_wait",
    "epoll_pwait",
    "poll",
    "ppoll",
    "io_uring_enter",
]


class Calls:
    """Counts them in a block; `count` is there behind it, None where strace does not work."""

    def __init__(self, pid: int) -> None:
        self.count: int | None = None
        self._pid = pid

    def __enter__(self) -> Self:
        self._strace: subprocess.Popen[str] | None = None
        self._summary = tempfile.NamedTemporaryFile("r")
        program = shutil.which("strace")
        if program is None:
            return self
        words = [program, "-f", "-c", "-o", self._summary.name, "-p", str(self._pid)]
        self._strace = subprocess.Popen(words, stderr=subprocess.DEVNULL, text=True)
        deadline = time.monotonic() + ATTACH_SECONDS
        while self._strace.poll() is None and not _is_traced(self._pid):
            if time.monotonic() > deadline:
                self._end()
                raise BenchError("strace does not attach to the server")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        if self._strace is not None:
            self._end()
            self.count = read_summary(Path(self._summary.name).read_text())
        self._summary.close()

    def _end(self) -> None:
        assert self._strace is not None
        self._strace.send_signal(signal.SIGINT)
        try:
            self._strace.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._strace.kill()
            self._strace.wait()


def _is_traced(pid: int) -> bool:
    """All its threads are."""
    tasks = [task / "status" for task in Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0" not in task.read_text() for task in tasks)


def read_summary(text: str) -> int | None:
    """The calls of NAMES in what strace -c wrote; None where it wrote nothing."""
    rows = [line.split() for line in text.splitlines()]
    found = [int(row[3]) for row in rows if len(row) >= 5 and row[-1] in NAMES]
    return sum(found) if found else None
