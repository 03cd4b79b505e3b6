"""Timers of one loop: a heap, in which what was cancelled waits to be forgotten."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any

_FEW = 64


class Timer:
    """Calls ``fire()`` on its loop when its time has come; it is set for one time at most."""

    __slots__ = ("entry", "fire")

    def __init__(self, fire: Callable[[], None]) -> None:
        self.entry: list[Any] | None = None
        self.fire = fire


class Timers:
    """The timers of one loop; only its thread calls. Times are seconds of ``time.monotonic``."""

    def __init__(self) -> None:
        self._heap: list[list[Any]] = []
        self._order = itertools.count()
        self._dead = 0

    def set(self, timer: Timer, at: float) -> None:
        """Set it, anew if it was set."""
        self.cancel(timer)
        timer.entry = [at, next(self._order), timer]
        heapq.heappush(self._heap, timer.entry)

    def cancel(self, timer: Timer) -> None:
        entry = timer.entry
        if entry is None:
            return
        timer.entry = entry[2] = None
        self._dead += 1
        if self._dead > _FEW and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2] is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def next(self) -> float | None:
        """When the next one is due; None: never."""
        while self._heap and self._heap[0][2] is None:
            heapq.heappop(self._heap)
            self._dead -= 1
        return self._heap[0][0] if self._heap else None

    def advance(self, now: float) -> None:
        """Fire all that are due. One that is set meanwhile for just now waits for the next turn, or this had no end."""
        last = next(self._order)
        while (at := self.next()) is not None and (at < now or (at == now and self._heap[0][1] < last)):
            timer = heapq.heappop(self._heap)[2]
            timer.entry = None
            timer.fire()
