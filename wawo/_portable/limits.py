"""Limits in time of a connection: how long it may be silent, how fast it may be received from.

Silence is found by a timer that looks at the time of the last read, the rate by the time at which all that was received
would have been due.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from . import system
from .timers import Timer
from .words import CLOSING, OP_CLOSE, PAUSE_RATE, PAUSE_WATER

if TYPE_CHECKING:
    from .link import Link

_BURST = 0.05  # what a connection that was quiet may send at once is due in this time
_READS = 64  # a second: what one read takes too much is what the rate is off by
_READ_LEAST = 256


def watch_silence(link: Link) -> None:
    """It is established, or receives again: from now on silence counts."""
    idle = link.branch.endpoint.options.idle_timeout
    if idle:
        link.loop.timers.set(link.timer, link.loop.now + idle)


def silence_due(link: Link) -> None:
    """Its timer fired while it was open: ends it, or looks again later."""
    at = _silent_at(link)
    if at > link.loop.now:
        link.loop.timers.set(link.timer, at)
    else:
        _end_silent(link)


def _silent_at(link: Link) -> float:
    """When it will have been silent for too long, as far as is known. Nobody hears what a paused one is sent; one that
    is paused because its output waits is judged by that output. A loop that was held up has not read everything yet."""
    idle, now, inlet = link.branch.endpoint.options.idle_timeout, link.loop.now, link.inlet
    at = link.share.received_at + idle
    assert link.sock is not None
    waits = inlet.pauses & ~PAUSE_WATER or inlet.backlog is not None or link.out.taking()
    if waits or (at <= now and inlet.pauses == 0 and system.unread(link.sock) > 0):
        at = now + idle
    link.out.taken = False
    return float(at)


def time_up(link: Link, error: int) -> None:
    """End it at once, without waiting for the peer's FIN. What the kernel takes now still goes out; output that it does
    not take is lost, so that end is a reset."""
    link.share.advance(CLOSING)  # nothing more is accepted that could not go out
    link.flush()
    if link.pending() > 0:
        link.abort(OP_CLOSE, error)
    else:
        link.end(OP_CLOSE, error)


def _end_silent(link: Link) -> None:
    link.branch.stats["idle_closed"] += 1
    link.share.silent = True
    time_up(link, errno.ETIMEDOUT)


class Rate:
    """Pauses receiving when it was too fast."""

    __slots__ = ("_due", "_link", "_rate", "_timer", "read_size")

    def __init__(self, link: Link, rate: int) -> None:
        self._link = link
        self._rate = rate
        self._due = 0.0  # when all that was received is due
        self._timer = Timer(self._fire)
        self.read_size = max(_READ_LEAST, 1 << max(0, (rate // _READS).bit_length() - 1))

    def spend(self, n: int) -> None:
        loop = self._link.loop
        self._due = max(self._due, loop.now - _BURST) + n / self._rate
        if self._due <= loop.now:
            return
        loop.timers.set(self._timer, self._due)
        if not self._link.inlet.pauses & PAUSE_RATE:
            self._link.branch.stats["rate_pauses"] += 1
            self._link.inlet.pause(PAUSE_RATE)

    def close(self) -> None:
        self._link.loop.timers.cancel(self._timer)
        del self._timer  # it refers to this

    def _fire(self) -> None:
        self._link.inlet.unpause(PAUSE_RATE)
