"""Tests about short times on a busy machine: a failure counts only if the machine was punctual meanwhile."""

from __future__ import annotations

import contextlib
import functools
import glob
import threading
import time
from collections.abc import Callable, Iterator

TICK_S = 0.01
LATE_S = 0.05
TRIES = 5


class Metronome(threading.Thread):
    """Ticks beside a test, and knows by how much its ticks came late: at most, and all of them together."""

    def __init__(self) -> None:
        super().__init__(name="metronome", daemon=True)
        self.late = self.total = 0.0
        self._end = threading.Event()

    def run(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            late = time.monotonic() - due
            self.late = max(self.late, late)
            self.total += late
            due = time.monotonic() + TICK_S

    def end(self) -> float:
        """By how much they came late together: what a test has to wait for is a chain of several threads."""
        self._end.set()
        self.join()
        return self.total


def waited() -> dict[str, float]:
    """The seconds that each thread of this process has waited for a core, where the system tells."""
    seconds = {}
    for path in glob.glob("/proc/self/task/*/schedstat"):
        with contextlib.suppress(OSError), open(path) as file:  # one that ended meanwhile
            seconds[path] = int(file.read().split()[1]) / 1e9
    return seconds


def waited_since(before: dict[str, float]) -> float:
    return sum(seconds - before.get(path, 0.0) for path, seconds in waited().items())


@contextlib.contextmanager
def lateness() -> Iterator[Callable[[], float]]:
    """Asks by how much a thread came late at most, so far in the block: what a limit has to grant."""
    metronome = Metronome()
    metronome.start()
    try:
        yield lambda: metronome.late
    finally:
        metronome.end()


def punctual(test: Callable[..., None]) -> Callable[..., None]:
    """Decorates a test that compares times: it is run again, ``TRIES`` times in all, when it failed while the machine
    (or the interpreter) kept threads waiting for longer than ``LATE_S``, at once or in pieces."""

    @functools.wraps(test)
    def tried(*arguments: object, **named: object) -> None:
        for left in reversed(range(TRIES)):
            metronome, before = Metronome(), waited()
            metronome.start()
            try:
                test(*arguments, **named)
                break
            except (AssertionError, OSError):
                if max(metronome.end(), waited_since(before)) < LATE_S or left == 0:
                    raise
            finally:
                metronome.end()

    return tried
