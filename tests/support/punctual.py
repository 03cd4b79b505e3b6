"""Tests about short times on a busy machine: a failure counts only if the machine was punctual meanwhile."""

from __future__ import annotations

import contextlib
import functools
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
    (or the interpreter) kept a thread waiting for longer than ``LATE_S``, at once or in pieces."""

    @functools.wraps(test)
    def tried(*arguments: object, **named: object) -> None:
        for left in reversed(range(TRIES)):
            metronome = Metronome()
            metronome.start()
            try:
                test(*arguments, **named)
                break
            except (AssertionError, OSError):
                if metronome.end() < LATE_S or left == 0:
                    raise
            finally:
                metronome.end()

    return tried
