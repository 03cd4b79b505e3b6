"""The part of an endpoint on one loop: its connections, its listeners, its counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .limits import time_up
from .timers import Timer
from .words import ON_SHUTDOWN, PREAMBLE

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .link import Link
    from .listener import Listener
    from .loop import Loop
    from .threads import Threads

_ACCOUNT_STEP = 64 * 1024  # bytes a branch keeps to itself before it tells the endpoint

COUNTERS = (
    "accepts",
    "connects",
    "closed",
    "rejected",
    "rejected_address",
    "rejected_proxy",
    "accept_pauses",
    "receive_pauses",
    "rate_pauses",
    "idle_closed",
    "handshakes",
    "handshakes_failed",
    "messages_in",
    "messages_out",
    "broadcasts_skipped",
    "bytes_in",
    "bytes_out",
)


class Branch:
    """Loop, unless it says "any thread"."""

    def __init__(self, endpoint: Endpoint, loop: Loop, threads: Threads) -> None:
        self.endpoint = endpoint
        self.loop = loop
        self.threads = threads
        self.links: dict[Link, None] = {}  # in the order in which they came
        self.listeners: list[Listener] = []
        self.assigned = 0  # connections here or on the way here, attempts, listeners; under the endpoint's lock
        self.stopping = self.done = False
        self.stats = dict.fromkeys(COUNTERS, 0)  # written by the loop, read by any
        self.unsettled = 0  # bytes not yet added to the endpoint's pending; read by any
        self._drain = Timer(self._end_all)
        self._look_posted = False

    # ---- accounts ----

    def account(self, n: int) -> None:
        """Bytes were accepted (positive) or are gone."""
        self.unsettled += n
        if not -_ACCOUNT_STEP <= self.unsettled <= _ACCOUNT_STEP:
            self.settle()

    def settle(self) -> None:
        """Tell the endpoint what was kept back: when a connection ends, its part of the total is there for others."""
        self.endpoint.add_pending(self.unsettled)
        self.unsettled = 0

    def unbook(self) -> None:
        """A connection came to nothing."""
        self.left(self.leave())

    def leave(self) -> bool:
        """The same in two steps, for one that was there: others may have its place; whether it was full until now."""
        self.loop.add_load(-1)
        return self.endpoint.count_down()

    def left(self, room: bool) -> None:
        """And it is gone; `room` is what leave answered."""
        if room and not self.stopping:
            for branch in self.endpoint.branches:
                branch.has_room(self.loop)
        self.unlist()

    def unlist(self) -> None:
        """The same for what is assigned but no connection: a listener, an attempt."""
        self.endpoint.assign(self, -1)
        self.check_done()

    # ---- stopping ----

    def check_done(self) -> None:
        """It has nothing left: the last one of the endpoint says so."""
        if not self.stopping or self.done or self.assigned:
            return
        self.done = True
        self.loop.timers.cancel(self._drain)
        if self.endpoint.branch_done():
            self.loop.batch.append((ON_SHUTDOWN, self.endpoint, None))

    def _end_all(self) -> None:
        for link in list(self.links):
            if link.state == PREAMBLE:
                assert link.preamble is not None
                link.preamble.end()
                continue
            time_up(link, 0)

    def _stop(self, until: float) -> None:
        """May be called again: with an earlier time, or for nothing."""
        if not self.stopping:
            for listener in list(self.listeners):
                listener.stop()
        self.stopping = True
        if until > self.loop.now:
            self.loop.timers.set(self._drain, until)
        else:
            self._end_all()
        self.check_done()

    def post_look(self) -> None:
        """Something changed that it must act on. Any thread."""
        with self.endpoint.lock:
            if not self._look_posted:
                self.loop.post(self._look)  # first: a signal's handler may raise here
                self._look_posted = True

    def _look(self, dead: bool) -> None:
        with self.endpoint.lock:
            self._look_posted = False  # what changes from here on posts again
            stopping, until = self.endpoint.stopping, self.endpoint.stop_at
        if self.done:
            return
        if stopping:
            self._stop(0.0 if dead else until)
        else:
            self._resume()

    def has_room(self, here: Loop) -> None:
        """The endpoint has room again. On any loop of the endpoint, `here`."""
        if self.loop is here:
            self._resume()
        else:
            self.post_look()

    def _resume(self) -> None:
        for listener in list(self.listeners):
            listener.resume()
