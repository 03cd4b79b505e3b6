"""TLS of one connection, through ssl.MemoryBIO: what comes from the wire goes in and plaintext comes out, and the other
way round. It has no socket and knows nothing of its connection, which asks it. Only its loop's thread calls."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .ring import Ring
from .words import TlsWish

if TYPE_CHECKING:
    from .loop import Loop

_T = TypeVar("_T")

SEALED_MOST = 64 * 1024  # bytes of plaintext that are sealed and yet to be written
_RECORD = 16 * 1024
_ANSWERS_MOST = 256 * 1024  # bytes that wait to be written beside those: alerts, new keys
_READ_SIZE = 64 * 1024


class Tls:
    """An ssl.SSLObject between the wire and the ring."""

    __slots__ = (
        "_in",
        "_loop",
        "_object",
        "_out",
        "before",
        "ended",
        "error",
        "goodbye",
        "held",
        "lost",
        "midway",
        "queued",
        "shaking",
        "wire",
    )

    def __init__(self, wish: TlsWish, before: Ring, loop: Loop) -> None:
        context, server, name, session = wish
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object: ssl.SSLObject = context.wrap_bio(
            self._in, self._out, server_side=server, server_hostname=name, session=session
        )
        self._loop = loop
        self.before = before  # what was accepted before start_tls: it goes as it is
        self.wire = Ring()  # sealed, and alerts, tickets and the like
        self.held = 0  # bytes of plaintext that are in there
        self.shaking = True
        self.queued = False  # on the loop's list of those that wait for a step
        self.lost = False  # something that was accepted is never sealed
        self.midway = False  # it must read the rest of a message of its own before it can write, or so it may be
        self.error: Exception | None = None  # it is broken: nothing is opened or sealed any more
        self.ended = False  # the peer has said that this was all
        self.goodbye = False  # so have we

    @property
    def object(self) -> ssl.SSLObject:
        """For the snapshot."""
        return self._object

    @property
    def waits(self) -> bool:
        """Whether there is something to write that is in no ring of the connection."""
        return bool(self.wire.pieces or self.before.pieces)

    def _call(self, what: Callable[..., _T], *given: Any) -> _T:
        """Call the object, whose context may have callbacks, in the middle of a write at that: what they ask of a
        connection is done later, as if by another thread."""
        loop, inside = self._loop, self._loop.delivering
        loop.delivering = False
        try:
            return what(*given)
        finally:
            loop.delivering = inside

    def _collect(self) -> None:
        """After any call: reading too answers with alerts and key updates."""
        if self._out.pending:
            self.wire.add(self._out.read())
        if self.wire.bytes > self.held + _ANSWERS_MOST and self.error is None:
            self.error = OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    @property
    def number(self) -> int:
        """What it broke with, for OnClose."""
        flooded = isinstance(self.error, OSError) and not isinstance(self.error, ssl.SSLError)
        return errno.ENOBUFS if flooded else errno.EPROTO

    # ---- handshake ----

    def feed(self, data: bytes) -> None:
        """From the wire, for the next step; b"" is the end of the stream."""
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def step(self) -> None:
        """Go on with the handshake: `shaking` and `error` tell how it stands."""
        try:
            self._call(self._object.do_handshake)
            self.shaking = False
        except ssl.SSLWantReadError:
            pass
        except Exception as error:
            self._break(error)
        self._collect()

    def _break(self, error: Exception) -> None:
        """It is of no use any more. Where OpenSSL only knows that nothing comes, ssl may show an errno of before, or
        (as CPython 3.11.2) not know the error for that."""
        unnamed = not isinstance(error, ssl.SSLError) or error.reason == "UNEXPECTED_EOF_WHILE_READING"
        if isinstance(error, OSError) and unnamed and not isinstance(error, ssl.SSLEOFError):
            error = ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol")
        if isinstance(error, ssl.SSLEOFError):
            self._out.read()  # an alert for somebody who is gone
        self.error = error

    # ---- in ----

    def open(self, data: bytes) -> bytes:
        """The plaintext of what is whole; b"" for the end of the stream as in feed(). `ended` and `error` tell what
        stands behind it."""
        self.feed(data)
        return self.read()

    def read(self) -> bytes:
        """The plaintext of what was fed."""
        pieces = []
        try:
            while piece := self._call(self._object.read, _READ_SIZE):
                pieces.append(piece)
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except Exception as error:
            self._break(error)
        self._collect()
        return b"".join(pieces)

    # ---- out: what Ring.write() takes for a socket ----

    def send(self, data: memoryview, flags: int, /) -> int:
        """Seal a record; how many bytes went into it, 0 when enough is sealed, or nothing can be now, or any more."""
        if (self.held >= SEALED_MOST and not self.midway) or self.error is not None:
            return 0
        try:
            n = self._call(self._object.write, data[:_RECORD])
        except ssl.SSLWantReadError:
            self.midway = True
            return 0
        except Exception as error:
            self.error = error
            return 0
        self.midway = False
        self.held += n
        self._collect()
        return n

    def sendmsg(self, views: Sequence[memoryview], ancillary: tuple[()], flags: int, /) -> int:
        """The same for several pieces: they share a record."""
        pieces, room = [], _RECORD
        for view in views:
            pieces.append(view[:room])
            room -= len(pieces[-1])
            if room == 0:
                break
        return self.send(memoryview(b"".join(pieces)), flags)

    def close(self) -> None:
        """Say that this was all, once; on a handshake that is not done there is nothing to say it in."""
        if self.goodbye or self.shaking or self.error is not None:
            return
        self.goodbye = True
        try:
            self._call(self._object.unwrap)
        except Exception:
            pass  # it would wait for the peer's
        self._collect()
