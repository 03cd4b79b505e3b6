"""What two threads may see of a connection: its state, what other threads sent and ask for, addresses and times. The
rest of it belongs to its loop (link.py). An id is never used again, so a stale one finds nothing."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from . import secure
from .files import WEIGHT, File
from .ring import Ring
from .words import (
    CLOSED,
    CLOSING,
    CONNECTING,
    OP_CLOSE,
    OP_UNKNOWN,
    OPEN,
    WANT_ABORT,
    WANT_CLOSE,
    WANT_EVICT,
    WANT_FLUSH,
    WANT_PAUSE,
    WANT_QUEUED,
    WANT_SEND,
    WANT_SHUTDOWN,
    TlsWish,
    told,
)

if TYPE_CHECKING:
    from .connection import Connection
    from .endpoint import Endpoint
    from .link import Link
    from .loop import Loop

_numbers = itertools.count(1)
_LOOP_BITS = 8

FULL: Final = -1
"""A send that would pass a limit; nothing was queued."""

CAST_NONE: Final = 0  # not open
CAST_ACCEPTED: Final = 1
CAST_SKIPPED: Final = 2  # too slow, or at a limit
CAST_EVICTED: Final = 3  # too slow, and so it ends

Parts = Sequence[bytes | File]


def measure(parts: Parts) -> tuple[int, int]:
    """How long a message is, and what it counts for while it waits."""
    size = memory = 0
    for part in parts:
        if isinstance(part, File):
            size += part.left
            memory += WEIGHT
        else:
            size += len(part)
            memory += len(part)
    return size, memory


class Share:
    """Any thread, unless it says "loop"."""

    __slots__ = (
        "connected_at",
        "endpoint",
        "error",
        "failure",
        "fault",
        "gai",
        "handle",
        "holding",
        "id",
        "link",
        "local",
        "lock",
        "loop",
        "operation",
        "over",
        "parked",
        "paused",
        "posted",
        "posts",
        "protocol",
        "queued",
        "received_at",
        "remote",
        "rest",
        "session",
        "shown",
        "shut",
        "silent",
        "state",
        "tls",
        "wants",
        "wish",
    )

    def __init__(self, endpoint: Endpoint, loop: Loop) -> None:
        self.id = next(_numbers) << _LOOP_BITS | loop.index
        self.endpoint = endpoint
        self.loop = loop
        self.lock = threading.RLock()  # reentrant, for a signal handler may come in between
        self.handle: Connection | None = None  # until OnClose was told
        self.link: Link | None = None  # loop; None before and after
        self.state = CONNECTING  # written under the lock
        self.shut = False  # shutdown_write was called
        self.paused = False  # the user's wish
        self.holding = False  # events of the batch under delivery were held: the rest of it goes behind them; loop
        self.shown = False  # its OnAccept or OnConnect was due: from here on broadcasts reach it
        self.parked = False  # the kernel did not take all of its output
        self.silent = False  # it ended for that
        self.wants = 0
        self.posts: Ring | None = None  # what other threads sent, in wire form
        self.posted = 0  # bytes in there
        self.over = False  # a post took what is pending above high water
        self.queued = 0  # bytes in the ring when the loop last looked
        self.connected_at = 0.0  # 0: not yet
        self.received_at = 0.0
        self.local: Any = None
        self.remote: Any = None
        self.operation = OP_UNKNOWN
        self.error = 0
        self.gai = 0
        self.fault: str | None = None  # why it ended, in words
        self.protocol: Any = None  # a framing in Python, made on first need
        self.wish: TlsWish | None = None  # what is wanted of TLS; accepted ones take the endpoint's
        self.tls: Any = None  # what conn.tls shows
        self.session: Any = None
        self.rest: Iterator[Any] | None = None  # loop: what it has yet to yield
        self.failure: BaseException | None = None  # what it raised

    def here(self) -> bool:
        """Whether this is a callback on its loop."""
        return self.link is not None and self.loop.here()

    def advance(self, state: int) -> None:
        """Move the state on, never back."""
        with self.lock:
            if self.state < state:
                self.state = state

    def forked(self) -> None:
        """In the child after a fork: from now on it answers as a closed one does."""
        self.lock = threading.RLock()
        self.state = CLOSED
        self.queued = self.posted = 0

    def closed(self) -> None:
        """Its OnClose was told, if anybody listens. Loop."""
        self.handle = None
        if self.link is not None:
            self.link.free()

    # ---- sending ----

    def send(self, parts: Parts) -> int:
        """1 accepted, 0 closing or closed, FULL; CodecError when the framing cannot carry it."""
        link = self.link
        if link is not None and self.loop.here():
            return link.send(parts)
        size, memory = measure(parts)
        with self.lock:
            if self.state > OPEN or self.shut:
                return 0
            head, tail = self.endpoint.seal(size, parts)
            memory += len(head) + len(tail)
            if not self._admit(memory):
                return FULL
            if self.posts is None:
                self.posts = Ring()
            self.posts.add_message((head, *parts, tail))
            self._posted_more(memory)
        self.endpoint.count_posted(1, 0)
        self._want(WANT_SEND)
        return 1

    def _admit(self, n: int) -> bool:
        """Whether n more bytes fit; reserves them in the endpoint's total. Under the lock."""
        if self.queued + self.posted + n > self.endpoint.options.max_pending:
            return False
        return self.endpoint.reserve(n)

    def _posted_more(self, n: int) -> None:
        """Judged by what `pending` says to that thread: by its own ring alone the loop could owe it a DRAIN that never
        comes. Under the lock."""
        self.posted += n
        if self.queued + self.posted > self.endpoint.options.high_water:
            self.over = True

    def take_posts(self) -> tuple[Ring | None, bool]:
        """All posts, oldest first, and whether whoever posted may have seen more than high water pending. Loop."""
        with self.lock:
            posts, over = self.posts, self.over
            self.queued += self.posted  # until the loop says more: in between others send on
            self.posts, self.over, self.posted = None, False, 0
        return posts, over

    def cast(self, wire: bytes, evict: bool, calls: list[Callable[[bool], None]]) -> int:
        """A broadcast from another thread: what came of it; adds a call that is to be posted to the loop."""
        with self.lock:
            result = self._cast(wire, evict)
            if result in (CAST_ACCEPTED, CAST_EVICTED):
                if not self.wants & WANT_QUEUED:
                    calls.append(self._run_wants)
                self.wants |= WANT_QUEUED | (WANT_SEND if result == CAST_ACCEPTED else WANT_EVICT)
        return result

    def _cast(self, wire: bytes, evict: bool) -> int:
        if self.state != OPEN or self.shut or not self.shown:
            return CAST_NONE
        options = self.endpoint.options
        pending, n = self.queued + self.posted, len(wire)
        full = pending + n > options.max_pending
        if evict and self.parked and (full or self.queued > options.high_water):
            self.state = CLOSING
            return CAST_EVICTED
        if full or (not evict and pending > options.high_water) or not self._admit(n):
            return CAST_SKIPPED
        if self.posts is None:
            self.posts = Ring()
        self.posts.add(wire)
        self._posted_more(n)
        return CAST_ACCEPTED

    # ---- asking the loop ----

    def _want(self, wants: int) -> None:
        with self.lock:
            self.wants |= wants
            if not self.wants & WANT_QUEUED:  # else the call is under way and will see this too
                self.loop.post(self._run_wants)  # first: a signal's handler may raise here
                self.wants |= WANT_QUEUED

    def _run_wants(self, dead: bool) -> None:
        with self.lock:
            wants, self.wants = self.wants, 0
        if not dead and self.link is not None:
            self.link.wanted(wants)

    def close(self) -> bool:
        """False: it was closing already."""
        with self.lock:
            if self.state > OPEN:
                return False
            here = self.here()
            if not here:
                self._want(WANT_CLOSE)  # first: a signal's handler may raise here
            self.state = CLOSING  # from now on nothing is accepted; what was, still goes out
        if here:
            assert self.link is not None
            self.link.close(OP_CLOSE, 0)
        return True

    def abort(self) -> None:
        with self.lock:
            if self.state == CLOSED:
                return
            self.state = CLOSING
        if self.here():
            assert self.link is not None
            self.link.abort(OP_CLOSE, 0)
        else:
            self._want(WANT_ABORT)

    def shutdown_write(self) -> None:
        with self.lock:
            if self.state > OPEN or self.shut:
                return
            if not self.here():
                self._want(WANT_SHUTDOWN)  # first, as in close()
            self.shut = True
        if self.here():
            assert self.link is not None
            self.link.wanted(WANT_SHUTDOWN)

    def flush(self) -> None:
        if self.state == CLOSED:
            return
        if self.here():
            assert self.link is not None
            self.link.flush()
        else:
            self._want(WANT_FLUSH)

    def pause(self, pause: bool) -> None:
        if self.state > OPEN:
            return
        self.paused = pause
        self._ask(WANT_PAUSE)

    def _ask(self, want: int) -> None:
        if self.here():
            assert self.link is not None
            self.link.wanted(want)
        else:
            self._want(want)

    def refuse(self, operation: int, error: int) -> None:
        """A callback refused. In deliver."""
        if self.here():
            assert self.link is not None
            self.link.close(operation, error)

    # ---- telling ----

    def pending(self) -> int:
        link = self.link
        if link is not None and self.loop.here():
            return link.pending()
        return self.queued + self.posted

    def since(self, at: float) -> float:
        return 0.0 if at == 0.0 else max(0.0, time.monotonic() - at)

    def unread(self) -> int:
        """Bytes that lie unread with Pull; 0 elsewhere than in its callbacks."""
        if not self.here():
            return 0
        assert self.link is not None
        return self.link.inlet.unread()

    def codec(self) -> Any:
        """The Protocol of the connection, made on first need."""
        if self.protocol is None:
            assert self.endpoint.protocol is not None
            made = self.endpoint.protocol()
            with self.lock:
                if self.protocol is None:  # else another thread was faster
                    self.protocol = made
        return self.protocol

    def session_now(self) -> Any:
        """The latest one in its callbacks; elsewhere the one that was seen last."""
        if self.here():
            assert self.link is not None
            secure.keep_session(self.link)
        return self.session

    def ended_with(self) -> BaseException | None:
        if self.failure is not None:
            return self.failure
        if not self.error and not self.gai:
            return None
        fault = "nothing received for the idle timeout" if self.silent else self.fault
        return told.close_error(self.operation, self.error, self.gai, fault)
