"""The way in of a connection: from a read through the framing to events, what a pause keeps back, and the pauses."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import limits, secure
from .codecs import CodecError, codec_for
from .sock import RECV
from .words import (
    NAMES,
    ON_RECEIVE,
    PAUSE_PULL,
    PAUSE_USER,
    PAUSE_WATER,
    PREAMBLE,
    RUNNING,
    Event,
)

if TYPE_CHECKING:
    from .link import Link

_READ_SIZE = 64 * 1024
_KEEP_SIZE = 64 * 1024  # bytes that a session which has to read on adds to in a pause
_RECEIVE = NAMES[ON_RECEIVE]


class Backlog:
    """What a paused connection has received all the same."""

    __slots__ = ("fresh", "held", "input", "rest")

    def __init__(self) -> None:
        self.held: deque[Event] = deque()  # delivered first on resume
        self.fresh: list[Event] = []  # held back from the batch under delivery: older than all that is in held
        self.rest: Iterator[bytes | None] | None = None  # messages of a read that the framing has yet to yield
        self.input: deque[bytes] = deque()  # reads that went through no framing yet

    def settle(self) -> None:
        """The delivery is over."""
        self.held.extendleft(reversed(self.fresh))
        self.fresh.clear()

    @property
    def empty(self) -> bool:
        return not (self.held or self.fresh or self.rest is not None or self.input)


class Inlet:
    """Only its loop's thread calls."""

    __slots__ = ("_answered", "_codec", "_link", "_listens", "_most", "_unread", "backlog", "broken", "pauses")

    def __init__(self, link: Link) -> None:
        endpoint = link.share.endpoint
        self._link = link
        self._codec = codec_for(endpoint.framing)
        self._most = endpoint.pull  # bytes that may lie unread; 0: they are pushed
        self._unread = bytearray()
        self._listens = _RECEIVE in endpoint.callbacks
        self.backlog: Backlog | None = None
        self._answered = False  # the end was met: what was sent until then has been told
        self.broken = 0  # the stream is malformed: what to close with after the batch
        self.pauses = 0

    # ---- pausing ----

    def pause(self, reason: int) -> None:
        """Add a reason not to receive."""
        link = self._link
        if self.pauses == 0 and link.state == RUNNING and not secure.reads_first(link):
            link.order(0, RECV)
        self.pauses |= reason
        if reason == PAUSE_WATER:
            link.branch.stats["receive_pauses"] += 1

    def unpause(self, reason: int) -> None:
        """Take it away: what was kept back then comes first."""
        link = self._link
        if not self.pauses & reason:
            return
        self.pauses &= ~reason
        if self.pauses or link.state != RUNNING or secure.shaking(link):  # which receives, paused or not
            return
        limits.watch_silence(link)
        if self.backlog is not None or self.over:
            link.loop.touch(link)
        else:
            link.order(RECV, 0)

    def hold(self, event: Event) -> None:
        """Keep an event of the batch under delivery for later."""
        self._backlog().fresh.append(event)
        self._link.share.holding = True
        self._link.loop.touch(self._link)

    def _backlog(self) -> Backlog:
        if self.backlog is None:
            self.backlog = Backlog()
        return self.backlog

    def drop_backlog(self) -> None:
        self.backlog = None

    # ---- receiving ----

    def readable(self) -> int:
        """Read once; how many bytes came."""
        link = self._link
        assert link.sock is not None
        try:
            data = link.sock.recv(_READ_SIZE if link.rate is None else min(_READ_SIZE, link.rate.read_size))
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            link.order(0, RECV)
            link.failed(error.errno or errno.EIO)
            return 0
        if data:
            self.received(data)
        else:
            link.order(0, RECV)
            self._end_of_stream()
        return len(data)

    def _end_of_stream(self) -> None:
        link = self._link
        if link.state == PREAMBLE:
            assert link.preamble is not None
            link.preamble.broken(0)
        elif link.tls is None or not secure.end_of_stream(link):
            link.end_of_stream()

    @property
    def over(self) -> bool:
        """Nothing more will come."""
        tls = self._link.tls
        if tls is None:
            return bool(self._link.eof or self.broken)
        return bool((self._link.eof and not tls.shaking) or self.broken or tls.error is not None)

    def ends(self, told: bool) -> bool:
        """Whether the end is due, at the end of a turn. `told`: of what was sent in it, the listener hears before that;
        once, or one that always has more to say would never end."""
        link = self._link
        pausing = self.pauses & PAUSE_USER and not secure.failed(link)
        if not self.over or pausing or self.backlog is not None or link.state != RUNNING:
            return False
        wrong = self.broken or (link.tls is not None and link.tls.error is not None)
        if wrong or self._answered or not told:
            return True
        self._answered = True
        link.loop.touch(link)
        return False

    def received(self, data: bytes) -> None:
        link = self._link
        link.share.received_at = link.loop.now
        link.branch.stats["bytes_in"] += len(data)
        if link.rate is not None:
            link.rate.spend(len(data))
        if link.state == PREAMBLE:
            assert link.preamble is not None
            data = link.preamble.take(data)
        if data and link.tls is not None:
            data = secure.received(link, data)
        self.plain(data)
        secure.look(link)

    def plain(self, data: bytes) -> None:
        """What is for the framing."""
        if not data or self._link.state != RUNNING or self.broken:
            return  # closing: nobody reads it
        if self.pauses & PAUSE_USER or self.backlog is not None:
            self._backlog().input.append(data)
        else:
            self._take(data)

    def _take(self, data: bytes) -> None:
        """Feed and deliver in turn, so that one read full of tiny messages makes several batches of bounded size."""
        link = self._link
        messages = self._cut(data)
        while self._rise_all(messages):
            link.loop.deliver()
            if link.state != RUNNING:
                return
            if self.pauses & PAUSE_USER or self.backlog is not None:  # it may be resumed, with events still held
                self._backlog().rest = messages
                return

    def _cut(self, data: bytes) -> Iterator[bytes | None]:
        if self._codec is not None:
            return self._codec.feed(data)
        if self._most == 0:
            return iter((data,))
        self._unread += data
        if len(self._unread) >= self._most:
            self.pause(PAUSE_PULL)
        return iter((None,))

    def _rise_all(self, messages: Iterator[bytes | None]) -> bool:
        """Make events of messages until there are no more (False) or the batch is full."""
        link = self._link
        loop, stats, share = link.loop, link.branch.stats, link.share
        try:
            for message in messages:
                stats["messages_in"] += 1
                if self._listens:
                    loop.batch.append((ON_RECEIVE, share, message))
                    if loop.full:
                        return True
        except CodecError as error:
            self._break(error.errno)
        return False

    def _break(self, error: int) -> None:
        """Nothing behind this can be read; what came before it is delivered, then the close begins."""
        self.broken = error
        self._link.order(0, RECV)
        self._link.loop.touch(self._link)

    def run_backlog(self) -> bool:
        """Deliver what was kept back; True when that made events, which go first."""
        link, b = self._link, self.backlog
        assert b is not None
        batch = link.loop.batch
        before = len(batch)
        while b.held and not link.loop.full:
            batch.append(b.held.popleft())
        while not b.held and not self.broken and not link.loop.full:
            if b.rest is None:
                if not b.input:
                    break
                b.rest = self._cut(b.input.popleft())
            if not self._rise_all(b.rest):
                b.rest = None
        if self.broken:
            b.rest = None
            b.input.clear()
        if b.empty:
            self.drop_backlog()
            if not self.over and self.pauses == 0:
                link.order(RECV, 0)
        return len(batch) != before

    def idle(self) -> bool:
        """Whether nothing was received that nobody has seen yet."""
        return self.backlog is None and not self._unread and (self._codec is None or self._codec.finish())

    def finish(self) -> int:
        """The stream has ended: 0, or what is wrong with that."""
        tls = self._link.tls
        if self.broken:
            return self.broken
        if tls is not None and tls.error is not None:
            return tls.number
        return 0 if self._codec is None or self._codec.finish() else errno.EBADMSG

    def keeps_enough(self) -> bool:
        """A pause keeps back as much of what it received as it should."""
        b, kept = self.backlog, max(0, len(self._unread) - self._most)
        if b is not None:
            kept += sum(map(len, b.input)) + sum(len(event[2] or b"") for event in b.held)
        return kept > _KEEP_SIZE

    # ---- Pull ----

    def unread(self) -> int:
        return len(self._unread)

    def fetch(self, n: int, consume: bool) -> bytes | None:
        """The first n unread bytes; None when fewer are there."""
        if n > len(self._unread):
            return None
        found = bytes(self._unread[:n])
        if consume:
            del self._unread[:n]
            if self.pauses & PAUSE_PULL and len(self._unread) < self._most:
                self.unpause(PAUSE_PULL)
        return found
