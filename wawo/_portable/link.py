"""One connection on its loop: its socket, its output, its state, and how it ends. Only its loop's thread calls.

accept --> (PREAMBLE) --> RUNNING --> FLUSHING --> LINGERING --> DETACHING --> GONE
connect --> DIALLING ----^            what was     our FIN is    the socket   OnClose is delivered,
                                      accepted     sent, input   is closed    the link is freed
                                      goes out     is discarded
"""

from __future__ import annotations

import errno
import socket
import time
from typing import TYPE_CHECKING, Any

from . import limits, secure, system
from .inlet import Inlet
from .outlet import Outlet
from .share import Parts, Share
from .sock import RECV, Sock
from .timers import Timer
from .words import (
    CLOSED,
    CLOSING,
    DETACHING,
    DIALLING,
    FLUSHING,
    GONE,
    LINGERING,
    NAMES,
    ON_CLOSE,
    ON_HANDSHAKE,
    OP_CLOSE,
    OP_CONNECT,
    OP_RECEIVE,
    OP_SEND,
    OP_UNKNOWN,
    OPEN,
    PAUSE_USER,
    PREAMBLE,
    RUNNING,
    WANT_ABORT,
    WANT_CLOSE,
    WANT_EVICT,
    WANT_PAUSE,
    WANT_SEND,
    WANT_SHUTDOWN,
)

if TYPE_CHECKING:
    from .branch import Branch
    from .dial import Dial
    from .preamble import Preamble
    from .tls import Tls


class Link(Sock):
    """Made for a share that has none yet; freed after its OnClose."""

    __slots__ = (
        "bare",
        "branch",
        "counted",
        "dial",
        "dirty",
        "eof",
        "fin",
        "inlet",
        "missed",
        "mute",
        "out",
        "preamble",
        "rate",
        "share",
        "shut",
        "state",
        "timer",
        "tls",
        "told",
        "unseen",
    )

    def __init__(self, branch: Branch, share: Share) -> None:
        super().__init__(branch.loop)
        self.branch = branch
        self.share = share
        self.state = DIALLING
        self.tls: Tls | None = None
        self.out = Outlet(self)
        self.inlet = Inlet(self)
        self.dial: Dial | None = None
        self.preamble: Preamble | None = None
        self.rate: limits.Rate | None = None
        self.timer = Timer(self._timer_fired)  # connecting, preamble: its limit; open: silence; closing: close_timeout
        self.dirty = False  # on the list of those to settle
        self.eof = False  # the peer will send no more
        self.shut = False  # our FIN is wanted once all is written
        self.fin = False  # and sent
        self.told = False  # its OnClose was delivered while it was dirty
        self.bare = False  # it ended without a socket
        self.counted = False  # its peer is in the endpoint's census
        self.unseen = False  # it never came as far as OnAccept
        self.mute = False  # its end is not told either
        self.missed: bool | None = None  # others may have its place: whether the endpoint was full until then
        branch.links[self] = None
        share.link = self
        branch.threads.add_link(1)

    def open(self, sock: socket.socket | None, remote: Any, local: Any, first: int) -> None:
        """Established: takes the socket (None: it has it), starts receiving, tells the listener."""
        share, loop = self.share, self.loop
        rate = self.branch.endpoint.options.receive_rate
        if rate:
            self.rate = limits.Rate(self, rate)
        share.local, share.remote = local, remote
        share.received_at = share.connected_at = loop.now
        if sock is not None:
            self.attach(sock)
        self.state = RUNNING
        share.shown = not self._listens(first)  # before: who sees that it is open may broadcast to it
        share.advance(OPEN)
        limits.watch_silence(self)
        self.shut = share.shut  # what was asked for before there was a connection
        if share.paused:
            self.inlet.pauses |= PAUSE_USER
        if not share.shown:
            loop.batch.append((first, share, None))
        if self.branch.endpoint.tls is None and self._listens(ON_HANDSHAKE):
            loop.batch.append((ON_HANDSHAKE, share, None))
        if self.inlet.pauses == 0:
            self.order(RECV, 0)
        secure.begin(self)
        if self.out.ring.pieces or share.posted or self.shut:
            loop.touch(self)

    def _listens(self, kind: int) -> bool:
        return NAMES[kind] in self.branch.endpoint.callbacks

    # ---- death ----

    def detached(self) -> None:
        """Nothing of it is in flight any more."""
        self.out.drop()
        secure.keep_session(self)
        self.bare = False
        self.state = GONE
        if not self.mute and (self._listens(ON_CLOSE) or self.loop.batch or self.loop.delivering):
            self.loop.batch.append((ON_CLOSE, self.share, None))  # also for the sake of those that it has in the batch
        else:
            self.free()

    def leave(self) -> None:
        """It has ended: others may have its place. Who waits for one is asked in when it is freed."""
        if self.missed is None:
            if self.counted:
                self.branch.endpoint.leave(system.host_of(self.share.remote))
            self.missed = self.branch.leave()

    def free(self) -> None:
        """After its OnClose, or without one."""
        if self.dirty:  # settle() meets it once more and then lets it go
            self.told = True
            return
        branch, share = self.branch, self.share
        self.leave()
        branch.endpoint.unpublish(share)
        share.link = share.handle = None
        del branch.links[self]
        branch.threads.add_link(-1)
        if not self.unseen:
            branch.stats["closed"] += 1
        branch.left(bool(self.missed))
        self.preamble = None
        del self.out, self.inlet, self.timer  # all refer to it: now it goes at once, not with the garbage collector

    def failed(self, error: int) -> None:
        if self.state == PREAMBLE:
            assert self.preamble is not None
            self.preamble.broken(error)
        else:
            self.end(OP_RECEIVE, error)

    # ---- closing ----

    def note_reason(self, operation: int, error: int) -> None:
        share = self.share
        if error == errno.EPIPE:
            error = errno.ECONNRESET
        if error == errno.ECONNRESET and self.state != PREAMBLE:
            operation = OP_CLOSE  # whether it is met while reading or while writing is chance
        if share.operation == OP_UNKNOWN:
            share.error, share.operation = error, operation
        elif share.error == 0 and (self.state == FLUSHING or (self.state == LINGERING and error != errno.ECONNRESET)):
            share.error = error  # what was accepted did not all arrive; after our FIN many peers reset

    def _detach(self, reset: bool) -> None:
        self.share.advance(CLOSED)
        self.loop.timers.cancel(self.timer)
        self._close_rate()
        self.inlet.drop_backlog()
        self.out.reading = False
        self.state = DETACHING
        if self.sock is not None:
            self.detach(reset)
        else:  # told when it is settled: thousands may end in one call, and the batch has its bounds
            self.bare = True
            self.loop.touch(self)

    def _close_rate(self) -> None:
        if self.rate is not None:
            self.rate.close()
            self.rate = None

    def _end(self, operation: int, error: int, reset: bool) -> None:
        if self.state >= DETACHING:
            return
        if self.dial is not None:
            operation = OP_CONNECT
            error = error or errno.ECANCELED
            self.dial.drop()
        self.note_reason(operation, error)
        self._detach(reset)

    def abort(self, operation: int, error: int) -> None:
        """At once, with RST; unsent bytes are lost."""
        self._end(operation, error, True)

    def end(self, operation: int, error: int) -> None:
        """At once, without RST if the system can."""
        if self.tls is not None and self.state < LINGERING:
            secure.say_goodbye(self, self.tls)
        self._end(operation, error, False)

    def _watch_progress(self) -> None:
        """Look again after close_timeout."""
        self.out.watch()
        self.loop.timers.set(self.timer, time.monotonic() + self.branch.endpoint.options.close_timeout)

    def _begin_close(self, operation: int, error: int) -> None:
        self.share.advance(CLOSING)
        self.note_reason(operation, error)
        self._close_rate()
        self.inlet.drop_backlog()
        self.state = FLUSHING
        self.shut = True
        secure.doubt(self)
        self.inlet.pauses = 0  # a reset must be noticed, and unread input would turn our FIN into one
        if not self.eof:
            self.order(RECV, 0)
        self._watch_progress()

    def close(self, operation: int, error: int) -> None:
        """Flush, FIN, discard, close; the first reason is the one that is reported."""
        if self.state >= FLUSHING:
            return
        if self.state == DIALLING:
            self.end(OP_CONNECT, error or errno.ECANCELED)
            return
        self._begin_close(operation, error)
        self.loop.touch(self)

    def _timer_fired(self) -> None:
        if self.state == DIALLING:
            self.end(OP_CONNECT, errno.ETIMEDOUT)
        elif self.state == PREAMBLE:
            assert self.preamble is not None
            self.preamble.expired()
        elif self.state == RUNNING and self.tls is not None and self.tls.shaking:
            secure.expired(self)
        elif self.state == RUNNING:
            limits.silence_due(self)
        elif self.state not in (FLUSHING, LINGERING):
            return
        elif self.out.progressed():
            self._watch_progress()
        elif self.state == FLUSHING:
            self.abort(OP_CLOSE, errno.ETIMEDOUT)
        else:
            self._detach(False)  # all is with the kernel, which goes on without us

    # ---- sending ----

    def pending(self) -> int:
        return self.out.pending()

    def send(self, parts: Parts) -> int:
        """See Share.send."""
        return self.out.send(parts)

    def writable(self) -> None:
        self.out.writable()

    def flush(self) -> None:
        """Write what the kernel takes now."""
        if self.state not in (RUNNING, FLUSHING):
            return
        if self.loop.crowded:  # a callback that flushes thousands: later
            self.loop.touch(self)
            return
        if self.out.write_all():
            self.share.parked = False
            self._written_out()

    def _written_out(self) -> None:
        """All is written: the FIN that was asked for, and what follows it."""
        if not self.shut:
            return
        if self.tls is not None and not self.fin:
            if self.tls.shaking and self.state == RUNNING:
                return  # our FIN would end the handshake
            self.tls.close()
            if not self.out.write_all():
                return  # comes again
        if self.state == FLUSHING and self.eof:
            self._detach(False)  # both sides are done: the close sends the FIN
            return
        if not self.fin:
            self.fin = True
            assert self.sock is not None
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # after a reset: the next read tells
        if self.state == FLUSHING:
            self.state = LINGERING
            self._watch_progress()

    # ---- receiving ----

    def readable(self) -> int:
        return self.inlet.readable()

    def end_of_stream(self) -> None:
        """The peer's FIN."""
        self.eof = True
        if self.state == LINGERING:
            self._detach(False)
        else:
            self.loop.touch(self)  # noticed after the batch: callbacks may still answer

    def finish_input(self) -> None:
        """The end of the stream, well-formed or not, once all before it is delivered."""
        error = self.inlet.finish()
        operation = OP_RECEIVE if error else OP_CLOSE
        self.share.advance(CLOSING)  # from here on nothing is added to what is pending
        if self.tls is not None:
            operation = secure.finish(self, operation)
            self.note_reason(operation, error)
        if self.eof and self.pending() == 0 and (self.tls is None or self.out.write_all()):
            self.end(operation, error)  # the common end: nothing to flush, nothing to wait for
        elif self.state < FLUSHING:
            self._begin_close(operation, error)
            self.flush()

    # ---- orders ----

    def settle(self) -> None:
        """Once after each batch for each dirty connection: flushes, resumes, notices the end of the stream."""
        self.dirty = False
        if self.state == GONE:
            if self.told:
                self.free()
            return
        if self.bare:
            self.detached()
            return
        inlet = self.inlet
        if inlet.backlog is not None:
            inlet.backlog.settle()
            self.share.holding = False
            if inlet.pauses == 0 and self.state == RUNNING and inlet.run_backlog():
                self.loop.touch(self)  # those events first
                return
        before = len(self.loop.batch)
        self.flush()
        if inlet.ends(told=len(self.loop.batch) != before):
            self.finish_input()

    def wanted(self, wants: int) -> None:
        """What other threads asked for."""
        if self.state >= DETACHING:
            return
        if wants & WANT_SEND:
            self.out.take_posts()
        if wants & WANT_PAUSE:
            if not self.share.paused:
                self.inlet.unpause(PAUSE_USER)
            elif not self.inlet.pauses & PAUSE_USER and self.state <= RUNNING:
                self.inlet.pause(PAUSE_USER)
        if wants & WANT_SHUTDOWN:
            self.shut = True
        if wants & WANT_EVICT:
            self.abort(OP_SEND, errno.ENOBUFS)
        elif wants & WANT_ABORT:
            self.abort(OP_CLOSE, 0)
        elif wants & WANT_CLOSE:
            self.close(OP_CLOSE, 0)
        if self.state < DETACHING:
            self.loop.touch(self)
