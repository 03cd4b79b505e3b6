"""What waits to be sent on a connection: bytes and files, in order. Small messages share blocks."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from . import system
from .files import WEIGHT, File

_SMALL = 4096  # a message up to this goes into a block with others
_BLOCK = 64 * 1024
_GATHER = 16  # pieces in one write
_GATHER_BYTES = 256 * 1024

Piece = bytes | bytearray | File


class Sink(Protocol):
    """What bytes are written to: a socket, or Tls."""

    def send(self, data: memoryview, flags: int, /) -> int: ...

    def sendmsg(self, buffers: Sequence[memoryview], ancdata: tuple[()], flags: int, /) -> int: ...


class Ring:
    """A queue of pieces; one loop writes it, or a lock guards it."""

    __slots__ = ("_at", "bytes", "pieces")

    def __init__(self) -> None:
        self.pieces: deque[Piece] = deque()
        self.bytes = 0  # as they count: a file has a fixed weight
        self._at = 0  # what of the first piece is gone, if it is bytes

    def add(self, data: bytes | bytearray) -> None:
        """Queue bytes, which nobody changes any more."""
        n = len(data)
        if n == 0:
            return
        self.bytes += n
        if n > _SMALL:
            self.pieces.append(data)
            return
        last = self.pieces[-1] if self.pieces else None
        if type(last) is bytearray and len(last) < _BLOCK:
            last += data
        else:
            self.pieces.append(bytearray(data))

    def add_file(self, file: File) -> None:
        self.bytes += WEIGHT
        self.pieces.append(file)

    def add_message(self, parts: Sequence[bytes | File]) -> None:
        """Queue what belongs together, in one step: a signal handler that sends may come between any two."""
        pieces = [part for part in parts if isinstance(part, File) or part]
        chunks = [piece for piece in pieces if not isinstance(piece, File)]
        size = sum(map(len, chunks))
        if len(pieces) == 1 == len(chunks):
            self.add(chunks[0])
        elif len(pieces) == len(chunks) and size <= _SMALL:
            self.add(b"".join(chunks))
        else:
            self.bytes += size + WEIGHT * (len(pieces) - len(chunks))
            self.pieces.extend(pieces)

    def adopt(self, other: Ring) -> None:
        """Take over all that another one holds, behind what is here."""
        assert other._at == 0
        for piece in other.pieces:
            if isinstance(piece, File):
                self.add_file(piece)
            elif len(piece) <= _SMALL or isinstance(piece, bytes):
                self.add(piece)
            else:
                self.bytes += len(piece)
                self.pieces.append(piece)
        other.pieces.clear()
        other.bytes = 0

    def clear(self) -> None:
        for piece in self.pieces:
            if isinstance(piece, File):
                piece.drop()
        self.pieces.clear()
        self.bytes = self._at = 0

    # ---- writing ----

    def write(self, sock: Sink) -> tuple[int, int]:
        """Write bytes up to the next file, or of the file's chunk: how many went, and how many were there to go."""
        head = self.pieces[0]
        if isinstance(head, File):
            asked = len(head.chunk)
            n = _send(sock, [head.chunk], len(self.pieces) > 1)
            head.take(n)
            if head.left == 0:
                self.pieces.popleft()
                self.bytes -= WEIGHT
                head.drop()
            return n, asked
        views: list[memoryview] = []
        asked = 0
        more = False
        for piece in self.pieces:
            if isinstance(piece, File):
                more = True
                break
            view = memoryview(piece)
            views.append(view[self._at :] if not views and self._at else view)
            asked += len(views[-1])
            if len(views) == _GATHER or asked >= _GATHER_BYTES:
                break
        try:
            n = _send(sock, views, more)
        finally:
            view = memoryview(b"")
            for view in views:
                view.release()
            del view, views
        self._consume(n)
        return n, asked

    def _consume(self, n: int) -> None:
        self.bytes -= n
        while n > 0:
            head = self.pieces[0]
            assert not isinstance(head, File)
            rest = len(head) - self._at
            if n >= rest:
                self.pieces.popleft()
                self._at = 0
                n -= rest
            elif isinstance(head, bytearray):
                del head[:n]
                return
            else:
                self._at += n
                return


def _send(sock: Sink, views: list[memoryview], more: bool) -> int:
    """How many bytes the system took; 0 when it is full."""
    flags = system.NO_SIGNAL | (system.MORE if more else 0)
    try:
        if len(views) == 1 or not system.HAS_SENDMSG:
            return sock.send(views[0], flags)
        return sock.sendmsg(views, (), flags)
    except (BlockingIOError, InterruptedError):
        return 0
    except OSError as error:
        if error.errno == errno.ENOBUFS:
            return 0
        raise
