"""The native framings in Python: how each cuts messages out of a stream, and what it puts around one that is sent.

Pure: no socket, no clock. Each codec answers as the one of the same name in ``wawo/_core/proto`` does, to the byte at
which it knows of an error.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Literal, cast

_Order = Literal["big", "little"]
_Frame = tuple[int, int, int]
"""Where a message lies: bytes before it, its own, those of the whole frame."""

_HUGE = 2**63 - 1
_VARINT_MAX = 10
_PACK_SHIFT = 22
_PACK_MAX = 0x3FFFFF
_PACKET_MARK = b"^^"
_PACKET_HEAD = 6


class CodecError(Exception):
    """The bytes break the framing, or a message cannot be sent with it: EMSGSIZE over its limit, else EBADMSG."""

    def __init__(self, errno: int, text: str) -> None:
        super().__init__(text)
        self.errno = errno
        self.text = text


def _too_big(text: str) -> CodecError:
    return CodecError(errno.EMSGSIZE, text)


def _bad(text: str) -> CodecError:
    return CodecError(errno.EBADMSG, text)


class Codec:
    """The state of one framing on one connection. Bytes that were looked at are not looked at again."""

    looks = False
    """Whether ``seal`` looks into messages, which must then be in one piece; else it only asks for their size."""

    __slots__ = ("_at", "_buffer", "_needed", "_scanned")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0  # where in it the next frame begins
        self._needed = 1  # bytes of that frame before it is worth a look
        self._scanned = 0  # the marks: what of that frame holds no end

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what came; the iterator yields each message that is whole now.

        Raises CodecError behind the good ones, and the codec is of no use then. An iterator that is left early loses
        nothing: the next ``feed``, of b"" for one, goes on behind the last message that was taken.
        """
        if self._at:
            del self._buffer[: self._at]
            self._at = 0
        self._buffer += data
        return self._messages()

    def _messages(self) -> Iterator[bytes]:
        buffer = self._buffer
        while len(buffer) - self._at >= self._needed:
            frame = self._cut(buffer, self._at, len(buffer) - self._at)
            if frame is None:
                break
            skip, size, total = frame
            if total > len(buffer) - self._at:
                self._needed = total
                break
            begin = self._at + skip
            self._at += total
            self._needed, self._scanned = 1, 0
            yield bytes(buffer[begin : begin + size])
        if self._at:
            del buffer[: self._at]
            self._at = 0

    def finish(self) -> bool:
        """Whether the stream may end here: not inside a frame."""
        return self._at == len(self._buffer)

    def seal(self, size: int, message: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
        """What goes before and behind a message of so many bytes. Raises CodecError for one that cannot be sent.

        ``message`` is what of its beginning can be looked at, all of it unless the rest is a file. Changes nothing in
        the codec; any thread.
        """
        raise NotImplementedError

    def _cut(self, p: bytearray, at: int, n: int) -> _Frame | None:
        """The frame that begins at ``p[at]``, with n bytes there; None when more are needed to know its size."""
        raise NotImplementedError


class Length(Codec):
    """A length in front of each message."""

    __slots__ = ("_max", "_order", "_size")

    def __init__(self, size: int, order: _Order, max_size: int) -> None:
        super().__init__()
        self._size, self._max = size, max_size
        self._order: _Order = order

    def _cut(self, p: bytearray, at: int, n: int) -> _Frame | None:
        if n < self._size:
            return None
        size = int.from_bytes(p[at : at + self._size], self._order)
        if size > self._max:
            raise _too_big(f"a message of {size} bytes is announced, over max_size ({self._max})")
        return self._size, size, self._size + size

    def seal(self, size: int, message: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
        if size > self._max:
            raise _too_big(f"a message of {size} bytes is over max_size ({self._max})")
        return size.to_bytes(self._size, self._order), b""


class Field(Codec):
    """A length field somewhere in the header."""

    __slots__ = ("_adjust", "_max", "_offset", "_order", "_size", "_strip", "looks")

    def __init__(self, offset: int, size: int, order: _Order, adjust: int, strip: int, max_size: int) -> None:
        super().__init__()
        self._offset = offset
        self._size = size  # 0: a varint
        self._order: _Order = order
        self._adjust = adjust
        self._strip = strip  # negative: all up to the end of the field
        self._max = max_size
        self.looks = 0 <= strip <= offset  # the field is in the message

    def _cut(self, p: bytearray, at: int, n: int) -> _Frame | None:
        if self._size == 0:
            return self._cut_varint(p, at, n)
        header = self._offset + self._size
        if n < header:
            return None
        return self._place(header, int.from_bytes(p[at + self._offset : at + header], self._order))

    def _cut_varint(self, p: bytearray, at: int, n: int) -> _Frame | None:
        value = 0
        for group, byte in enumerate(p[at + self._offset : at + min(n, self._offset + _VARINT_MAX)]):
            if group == _VARINT_MAX - 1 and byte > 1:
                raise _bad("a varint of over 10 bytes or 64 bits")
            value |= (byte & 0x7F) << (7 * group)
            header = self._offset + group + 1
            if byte < 0x80:
                return self._place(header, value)
            self._check_so_far(header + 1, value)
        return None

    def _check_so_far(self, header: int, value: int) -> None:
        """More groups only add to the value: what is over the limit now will be."""
        try:
            self._place(header, value)
        except CodecError as error:
            if error.errno == errno.EMSGSIZE:
                raise

    def _place(self, header: int, value: int) -> _Frame:
        strip = header if self._strip < 0 else self._strip
        if value > _HUGE:
            raise _too_big(f"a message of {value} bytes is announced, over max_size ({self._max})")
        if value + self._adjust < 0:
            raise _bad(f"the length field says {value}, which is negative with adjust ({self._adjust})")
        total = header + value + self._adjust
        if total < strip:
            raise _bad(f"the length field says {value}, which does not cover the {strip} stripped bytes")
        if total - strip > self._max:
            raise _too_big(f"a message of {total - strip} bytes is announced, over max_size ({self._max})")
        return strip, total - strip, total

    def seal(self, size: int, message: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
        if size > self._max:
            raise _too_big(f"a message of {size} bytes is over max_size ({self._max})")
        return self._seal_carried(size, message) if self.looks else self._seal_header(size)

    def _seal_header(self, size: int) -> tuple[bytes, bytes]:
        """The message is everything behind the field, or a part of that."""
        behind = 0 if self._strip < 0 else self._strip - self._offset - self._size
        value = size + behind - self._adjust
        if value < 0:
            raise _bad(f"adjust ({self._adjust}) makes the length of {size} bytes negative")
        if value > _HUGE or (self._size and value >> 8 * self._size):
            raise _too_big(f"the length field cannot say {value}")
        field = value.to_bytes(self._size, self._order) if self._size else _varint(value)
        return bytes(self._offset) + field + bytes(behind), b""

    def _seal_carried(self, size: int, message: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
        """The field stands in the message itself."""
        rest = Field(self._offset - self._strip, self._size, self._order, self._adjust, 0, self._max)
        head = bytearray(message[: rest._offset + _VARINT_MAX])
        try:
            frame = rest._cut(head, 0, len(head))
        except CodecError:
            frame = None
        if frame is None or frame[2] != size:
            raise _bad(f"the length field in a message of {size} bytes does not say its size")
        return bytes(self._strip), b""


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value >= 0x80:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


class Pack(Codec):
    """HP-Socket's packs: a word of 10 bits of flag and 22 of length, little endian."""

    __slots__ = ("_flag", "_max")

    def __init__(self, flag: int, max_size: int) -> None:
        super().__init__()
        self._flag, self._max = flag, max_size

    def _cut(self, p: bytearray, at: int, n: int) -> _Frame | None:
        if n < 4:
            return None
        head = int.from_bytes(p[at : at + 4], "little")
        flag, size = head >> _PACK_SHIFT, head & _PACK_MAX
        if self._flag not in (0, flag):
            raise _bad(f"a pack with flag {flag}, not {self._flag}")
        if not 0 < size <= self._max:
            raise _too_big(f"a pack of {size} bytes is announced: 1 to max_size ({self._max}) are allowed")
        return 4, size, 4 + size

    def seal(self, size: int, message: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
        if not 0 < size <= self._max:
            raise _too_big(f"a message of {size} bytes: 1 to max_size ({self._max}) are allowed")
        return (self._flag << _PACK_SHIFT | size).to_bytes(4, "little"), b""


class Marks(Codec):
    """Messages that end with a mark, or stand between two."""

    looks = True

    __slots__ = ("_end", "_max", "_start")

    def __init__(self, start: bytes, end: bytes, max_size: int) -> None:
        super().__init__()
        self._start, self._end, self._max = start, end, max_size

    def _cut(self, p: bytearray, at: int, n: int) -> _Frame | None:
        begin = len(self._start)
        last = begin + self._max  # where an end mark may begin at the latest
        if begin and not self._scanned:
            if not self._start.startswith(p[at : at + min(begin, n)]):
                raise _bad("no start mark where a frame begins")
            if n < begin:
                return None
        to = min(n, last + len(self._end))
        found = p.find(self._end, at + max(begin, self._scanned - len(self._end) + 1), at + to)
        if found >= 0:
            return begin, found - at - begin, found - at + len(self._end)
        if n > last and not self._may_end(p, at, n, last):
            raise _too_big(f"max_size ({self._max}) bytes and more without an end mark")
        self._scanned = to
        return None

    def _may_end(self, p: bytearray, at: int, n: int, last: int) -> bool:
        """Whether an end mark that stands in time has begun in these n bytes, which reach beyond ``last``."""
        first = max(len(self._start), n - len(self._end) + 1)
        return any(self._end.startswith(p[at + place : at + n]) for place in range(first, last + 1))

    def seal(self, size: int, message: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
        if size > self._max:
            raise _too_big(f"a message of {size} bytes is over max_size ({self._max})")
        data = bytes(message)
        if self._end in data:
            raise _bad("the end mark stands in the message")
        tail = data[max(0, len(data) - len(self._end) + 1) :]
        if len(data) == size and (tail + self._end).find(self._end) < len(tail):
            raise _bad("the end mark would be found too early")
        return self._start, self._end


class Fixed(Codec):
    """Messages of one size."""

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def _cut(self, p: bytearray, at: int, n: int) -> _Frame | None:
        return 0, self._size, self._size

    def seal(self, size: int, message: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
        if size != self._size:
            raise _bad(f"a message of {size} bytes, not {self._size}")
        return b"", b""


class Packet(Codec):
    """The packets of the C++ wawo: a mark, 4 bytes of length, big endian."""

    __slots__ = ("_max",)

    def __init__(self, max_size: int) -> None:
        super().__init__()
        self._max = max_size

    def _cut(self, p: bytearray, at: int, n: int) -> _Frame | None:
        if not _PACKET_MARK.startswith(p[at : at + min(n, len(_PACKET_MARK))]):
            raise _bad("no mark where a packet begins")
        if n < _PACKET_HEAD:
            return None
        size = int.from_bytes(p[at + len(_PACKET_MARK) : at + _PACKET_HEAD], "big")
        if size == 0:
            raise _bad("an empty packet")
        if size > self._max:
            raise _too_big(f"a packet of {size} bytes is announced, over max_size ({self._max})")
        return _PACKET_HEAD, size, _PACKET_HEAD + size

    def seal(self, size: int, message: bytes | bytearray | memoryview) -> tuple[bytes, bytes]:
        if size == 0:
            raise _bad("a packet is never empty")
        if size > self._max:
            raise _too_big(f"a message of {size} bytes is over max_size ({self._max})")
        return _PACKET_MARK + size.to_bytes(4, "big"), b""


def codec_for(framing: tuple[object, ...]) -> Codec | None:
    """A new codec for what ``framing.native_framing()`` says; None where nothing is cut: Raw, Pull and a Protocol."""
    kind, *values = framing
    if kind in ("raw", "pull", "protocol"):
        return None
    if kind in ("delimited", "between"):
        *marks, limit = values
        start, end = cast("list[bytes]", marks if kind == "between" else [b"", *marks])
        return Marks(start, end, cast("int", limit))
    makers: dict[object, Callable[..., Codec]] = {
        "length": Length,
        "field": Field,
        "pack": Pack,
        "fixed": Fixed,
        "packet": Packet,
    }
    return makers[kind](*values)
