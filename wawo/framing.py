"""Framings: how the stream of a connection is cut into messages. These run natively; ``Protocol`` is for your own.

What holds for all that cut messages: each is one OnReceive. A message over its limit, a malformed frame and a stream
that ends inside a frame end the connection with ``OnClose(conn, Operation.RECEIVE, error)`` after everything before was
delivered; ``error`` is ``errno.EMSGSIZE`` for the first and ``errno.EBADMSG`` for the others. ``send`` with a message
that the framing cannot carry raises FrameTooBig or FrameInvalid, queues nothing, and the connection goes on. All sizes
are in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .options import GIB, KIB, MIB, check_choice, check_integer
from .protocol import Protocol, check_protocol, protocol_maker

if TYPE_CHECKING:
    from typing_extensions import Self

_SIZES = (1, 2, 3, 4, 8)
_VARINT_MAX = 10
_HEAD_MAX = 16
_MARK_MAX = 16
_OFFSET_MAX = 65_535
_ADJUST_MAX = 2**31 - 1
PACK_MAX = 4_194_303
PACK_FLAG_MAX = 1023


class Framing:
    """The base of all native framings: an immutable description, which any number of components may share."""

    __slots__ = ()

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        if cls is Framing:
            raise TypeError("Framing is only the base: pass Raw(), LengthPrefixed() or another one")
        return super().__new__(cls)

    def _native(self) -> tuple[object, ...]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Raw(Framing):
    """No framing: OnReceive gets the bytes as they come, in pieces of any size; send adds nothing."""

    def _native(self) -> tuple[object, ...]:
        return ("raw",)


@dataclass(frozen=True, slots=True)
class LengthField(Framing):
    """Frames with a length somewhere in their header.

    On the wire: ``offset`` bytes, the length field, then ``value + adjust`` bytes. The first ``strip`` bytes of the
    frame are not given to OnReceive, and what OnReceive gets is what ``send`` takes: when the field is stripped, wawo
    writes it, and other stripped bytes as zeros; when it is not, the message carries its own field, which must say the
    message's right size.

    EMSGSIZE: a longer message than max_size, known as soon as the field is there. EBADMSG: a value that with ``adjust``
    is negative or does not cover the stripped bytes, a varint of over 10 bytes or 64 bits. ``send`` raises FrameTooBig
    when the message is over max_size or its length does not fit the field, FrameInvalid when the message carries a
    wrong length or ``adjust`` makes it negative.

    ===========================================  ==========================================================
    ``LengthField(size=4, strip=4)``             u32, payload: the same as LengthPrefixed()
    ``LengthField(size=4, adjust=-4, strip=4)``  u32, payload, where the u32 counts itself too
    ``LengthField(offset=3, size=2)``            a TLS record, whole: type, version, u16, payload
    ``LengthField(offset=1, size="varint")``     an MQTT packet, whole: type and flags, varint, payload
    ===========================================  ==========================================================
    """

    offset: int = 0
    """Where in the frame the field begins: 0 to 65,535."""

    size: int | Literal["varint"] = 1
    """Bytes of the field: 1, 2, 3, 4 or 8, an unsigned number. "varint": 1 to 10 bytes of 7 bits each, the lowest ones
    first, the top bit set on all but the last (protobuf, MQTT)."""

    byteorder: Literal["big", "little"] = "big"
    """The order of those bytes; "big" is the order of the network. A varint has only its own: leave it out there."""

    adjust: int = 0
    """What is added to the field's value to get the bytes that follow the field: -2,147,483,647 to 2,147,483,647.
    Negative when the value counts header bytes too."""

    strip: int | Literal["header"] = 0
    """How many bytes from the start of the frame OnReceive does not get: 0 to 16, never a part of the field; with a
    varint at most ``offset``. "header": all up to the end of the field, which may then be byte 16 at most (a varint
    counts as 10)."""

    max_size: int = MIB
    """The longest message, as OnReceive gets it: 1 to 1 GiB, 1 MiB unless told."""

    def __post_init__(self) -> None:
        check_integer("offset", self.offset, 0, _OFFSET_MAX, " bytes")
        _check_field_size(self.size)
        check_choice("byteorder", self.byteorder, ("big", "little"))
        if self.size == "varint" and self.byteorder != "big":
            raise ValueError(f"byteorder {self.byteorder!r} is not for a varint, whose order is fixed: leave it out")
        check_integer("adjust", self.adjust, -_ADJUST_MAX, _ADJUST_MAX, " bytes")
        self._check_strip()
        check_integer("max_size", self.max_size, 1, GIB, " bytes")

    def _check_strip(self) -> None:
        end = self.offset + (_VARINT_MAX if self.size == "varint" else int(self.size))
        if isinstance(self.strip, str):
            if self.strip != "header":
                raise ValueError(f'strip must be a number of bytes or "header", not {self.strip!r}')
            if end > _HEAD_MAX:
                raise ValueError(
                    f'strip "header" must be {_HEAD_MAX} bytes at most, not {end} (offset {self.offset} and a field of '
                    f"{end - self.offset}): pass a number"
                )
            return
        check_integer("strip", self.strip, 0, _HEAD_MAX, " bytes")
        if self.strip <= self.offset:
            return
        if self.size == "varint":
            raise ValueError(f'strip must be 0 to offset ({self.offset}) or "header" with a varint, not {self.strip}')
        if self.strip < end:
            raise ValueError(f"strip must not cut the field, which is bytes {self.offset} to {end - 1}: {self.strip}")

    def _native(self) -> tuple[object, ...]:
        if self.size == "varint":
            return ("field", self.offset, 0, self.byteorder, self.adjust, self._native_strip(), self.max_size)
        if self.offset == 0 and self.adjust == 0 and self.strip in ("header", self.size):
            return ("length", self.size, self.byteorder, min(self.max_size, (1 << 8 * self.size) - 1))
        return ("field", self.offset, self.size, self.byteorder, self.adjust, self._native_strip(), self.max_size)

    def _native_strip(self) -> int:
        return -1 if self.strip == "header" else int(self.strip)


@dataclass(frozen=True, slots=True)
class LengthPrefixed(Framing):
    """Each message stands behind its length; short for ``LengthField(size=size, strip="header")``.

    On the wire: the length, then that many bytes. OnReceive gets the message alone, send puts the length in front. A
    message may be empty.

    EMSGSIZE: a longer message than max_size, known as soon as its length is there. EBADMSG: the stream ends inside a
    frame, or a varint of over 10 bytes or 64 bits. ``send`` raises FrameTooBig over max_size.
    """

    size: int | Literal["varint"] = 4
    """Bytes of the length: 1, 2, 3, 4, 8 or "varint" (see LengthField); unsigned, counts the message alone."""

    byteorder: Literal["big", "little"] = "big"
    """The order of those bytes; "big" is the order of the network. A varint has only its own: leave it out there."""

    max_size: int = MIB
    """The longest message: 1 to 1 GiB, 1 MiB unless told; never more than the length itself can say."""

    def __post_init__(self) -> None:
        self._field()

    def _field(self) -> LengthField:
        return LengthField(size=self.size, byteorder=self.byteorder, strip="header", max_size=self.max_size)

    def _native(self) -> tuple[object, ...]:
        return self._field()._native()


@dataclass(frozen=True, slots=True)
class Pack(Framing):
    """HP-Socket's packs, for peers that are its Pack components.

    On the wire: 4 bytes, little endian, whose upper 10 bits are the flag and lower 22 bits the length, then that many
    bytes. OnReceive gets the message alone, send puts the 4 bytes in front. A message is never empty.

    EMSGSIZE: a length of 0 or over max_size. EBADMSG: another flag, or the stream ends inside a pack. ``send`` raises
    FrameTooBig for an empty message and over max_size.
    """

    max_size: int = 256 * KIB
    """The longest message: 1 to 4,194,303, 256 KiB unless told, as in HP-Socket (SetMaxPackSize)."""

    flag: int = 0
    """What the two sides have agreed on (SetPackHeaderFlag): 1 to 1,023, and a pack with another one is refused; 0: it
    is sent as 0, and what comes is not looked at."""

    def __post_init__(self) -> None:
        check_integer("max_size", self.max_size, 1, PACK_MAX, " bytes")
        check_integer("flag", self.flag, 0, PACK_FLAG_MAX)

    def _native(self) -> tuple[object, ...]:
        return ("pack", self.flag, self.max_size)


@dataclass(frozen=True, slots=True)
class Delimited(Framing):
    """Each message ends with a delimiter: lines, for one.

    On the wire: the message, then the delimiter. OnReceive gets the message without it, send appends it. A message may
    be empty; one that contains the delimiter cannot be sent, for nothing is escaped.

    EMSGSIZE: max_size bytes and more without a delimiter. EBADMSG: the stream ends without one. ``send`` raises
    FrameTooBig over max_size, FrameInvalid when the delimiter stands in the message, or would be found too early.
    """

    delimiter: bytes = b"\r\n"
    """1 to 16 bytes. With b"\\n" a line that ends with CR and LF keeps its CR."""

    max_size: int = 64 * KIB
    """The longest message, without its delimiter: 1 to 1 GiB, 64 KiB unless told, as long as asyncio's streams take."""

    def __post_init__(self) -> None:
        _check_mark("delimiter", self.delimiter)
        check_integer("max_size", self.max_size, 1, GIB, " bytes")

    def _native(self) -> tuple[object, ...]:
        return ("delimited", bytes(self.delimiter), self.max_size)


@dataclass(frozen=True, slots=True)
class Between(Framing):
    """Each message stands between two marks.

    On the wire: the start mark, the message, the end mark; nothing in between two frames. OnReceive gets the message
    without its marks, send puts them around it. It ends at the first end mark, so one that contains it cannot be sent;
    a start mark inside is part of the message. A message may be empty; the marks may be the same.

    EMSGSIZE: max_size bytes and more without an end mark. EBADMSG: anything but a start mark where a frame begins,
    known with its first wrong byte, or the stream ends inside a frame. ``send`` raises FrameTooBig over max_size,
    FrameInvalid when the end mark stands in the message, or would be found too early.
    """

    start: bytes
    """1 to 16 bytes."""

    end: bytes
    """1 to 16 bytes."""

    max_size: int = 64 * KIB
    """The longest message, without the marks: 1 to 1 GiB, 64 KiB unless told."""

    def __post_init__(self) -> None:
        _check_mark("start", self.start)
        _check_mark("end", self.end)
        check_integer("max_size", self.max_size, 1, GIB, " bytes")

    def _native(self) -> tuple[object, ...]:
        return ("between", bytes(self.start), bytes(self.end), self.max_size)


@dataclass(frozen=True, slots=True)
class Fixed(Framing):
    """Messages of one size.

    On the wire: the message. EBADMSG: the stream ends inside one. ``send`` raises FrameInvalid for any other size.
    """

    size: int
    """Bytes of every message: 1 to 1 GiB."""

    def __post_init__(self) -> None:
        check_integer("size", self.size, 1, GIB, " bytes")

    def _native(self) -> tuple[object, ...]:
        return ("fixed", self.size)


@dataclass(frozen=True, slots=True)
class WawoPacket(Framing):
    """The packets of the C++ wawo, for peers that run it.

    On the wire: ``^^`` (5e 5e), 4 bytes of length, big endian, then that many bytes. OnReceive gets the payload alone,
    send puts the 6 bytes in front. A payload is never empty.

    EMSGSIZE: a longer payload than max_size. EBADMSG: anything but the mark where a packet begins, known with its first
    wrong byte (the C++ wawo skipped bytes until it found one), a length of 0, or the stream ends inside a packet.
    ``send`` raises FrameTooBig over max_size, FrameInvalid for an empty message.
    """

    max_size: int = MIB
    """The longest payload: 1 to 1 GiB, 1 MiB unless told. A server of the C++ wawo takes 16 KiB unless configured."""

    def __post_init__(self) -> None:
        check_integer("max_size", self.max_size, 1, GIB, " bytes")

    def _native(self) -> tuple[object, ...]:
        return ("packet", self.max_size)


@dataclass(frozen=True, slots=True)
class Pull(Framing):
    """The pull model of HP-Socket: the bytes stay with the connection until they are fetched.

    On the wire: plain bytes. OnReceive(conn, length) is told how many lie unread in all; ``conn.fetch(n)`` takes the
    first n of them, ``conn.peek(n)`` looks at them, and both answer None when fewer are there. It is not called again
    for what was left until more has come: fetch in a loop for as long as there is enough. send adds nothing.

    Both work in the callbacks of that connection, OnClose included, and raise StateError elsewhere; ValueError for more
    than max_size. Nothing is malformed here: with max_size bytes unread receiving pauses by itself, and goes on after a
    fetch. What is unread at the end of the stream is dropped after OnClose.
    """

    max_size: int = MIB
    """How much may lie unread before receiving pauses, and the most that one fetch may ask for: 1 to 1 GiB, 1 MiB
    unless told. Choose it larger than the largest portion you fetch at once."""

    def __post_init__(self) -> None:
        check_integer("max_size", self.max_size, 1, GIB, " bytes")

    def _native(self) -> tuple[object, ...]:
        return ("pull", self.max_size)


AnyFraming = Framing | Callable[[], Protocol]
"""What ``framing=`` takes: a native framing, or what makes the Protocol of one connection (a subclass, for one)."""


def check_framing(value: object) -> AnyFraming:
    """Return value if it is a framing or makes a Protocol, else raise TypeError that says what to pass."""
    if isinstance(value, Framing):
        return value
    if isinstance(value, type) and issubclass(value, Framing):
        raise TypeError(f"framing must be an instance: pass {value.__name__}(), not the class {value.__name__}")
    return check_protocol(value)


def native_framing(framing: AnyFraming) -> tuple[object, ...]:
    """What the binding is told of a framing that was checked."""
    return framing._native() if isinstance(framing, Framing) else ("protocol", protocol_maker(framing))


def _check_field_size(value: object) -> None:
    if value == "varint":
        return
    if isinstance(value, str):
        raise ValueError(f'size must be 1, 2, 3, 4 or 8 bytes or "varint", not {value!r}')
    check_integer("size", value, 1, 8, " bytes")
    if value not in _SIZES:
        raise ValueError(f'size must be 1, 2, 3, 4 or 8 bytes or "varint", not {value}')


def _check_mark(name: str, value: object) -> None:
    if not isinstance(value, bytes):
        raise TypeError(f"{name} must be bytes such as b'\\n', not {type(value).__name__} ({value!r})")
    if not 1 <= len(value) <= _MARK_MAX:
        raise ValueError(f"{name} must be 1 to {_MARK_MAX} bytes long, not {len(value)}")
