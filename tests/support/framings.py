"""The framings that cut messages, each with messages that it carries and what they are on the wire, written anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from peers import pattern

import wawo
from wawo import Between, Delimited, Fixed, LengthField, LengthPrefixed, Pack, WawoPacket

Wire = Callable[[bytes], bytes]


def varint(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7)


@dataclass(frozen=True)
class Case:
    name: str
    framing: wawo.Framing
    wire: Wire
    """A message as it stands on the wire."""
    fit: Callable[[bytes], bytes] = bytes
    """Any bytes made into a message that the framing carries."""

    def messages(self) -> list[bytes]:
        return [self.fit(data) for data in (b"", b"a", b"", b"hello", pattern(20), b"\0" * 9, pattern(200))]


def without(mark: bytes) -> Callable[[bytes], bytes]:
    """What cannot carry a mark, nor begin one at the end."""
    table = bytes.maketrans(mark, bytes(0x80 | byte ^ 0x55 for byte in mark))
    return lambda data: data.translate(table)


def filled(data: bytes) -> bytes:
    return data or b"?"


def own_field(before: int, size: int, after: int = 0) -> Callable[[bytes], bytes]:
    """Messages that carry their own big endian length field of what follows it."""

    def fit(data: bytes) -> bytes:
        body = data[:250] + bytes(after)
        return b"\xee" * before + len(body).to_bytes(size, "big") + body

    return fit


def pack(flag: int) -> Wire:
    return lambda data: (flag << 22 | len(data)).to_bytes(4, "little") + data


def prefixed(size: int, plus: int = 0, before: int = 0, after: int = 0) -> Wire:
    return lambda data: bytes(before) + (len(data) + plus).to_bytes(size, "big") + bytes(after) + data


CASES = [
    Case("length", LengthPrefixed(), prefixed(4)),
    Case("length little", LengthPrefixed(3, "little"), lambda data: len(data).to_bytes(3, "little") + data),
    Case("length varint", LengthPrefixed("varint"), lambda data: varint(len(data)) + data),
    Case("field counts itself", LengthField(size=4, adjust=-4, strip=4), prefixed(4, plus=4)),
    Case("field counts less", LengthField(size=2, adjust=1, strip="header"), prefixed(2, plus=-1), filled),
    Case("field behind", LengthField(offset=2, size=3, strip="header"), prefixed(3, before=2)),
    Case("field, more stripped", LengthField(offset=1, size=2, strip=5), prefixed(2, plus=2, before=1, after=2)),
    Case(
        "field varint behind",
        LengthField(6, "varint", strip="header"),
        lambda data: bytes(6) + varint(len(data)) + data,
    ),
    Case("whole frames", LengthField(offset=3, size=2), bytes, own_field(3, 2)),
    Case("whole from far", LengthField(offset=40, size=8), bytes, own_field(40, 8)),
    Case("whole varint", LengthField(offset=1, size="varint"), bytes, lambda data: b"\x30" + varint(len(data)) + data),
    Case(
        "stripped before",
        LengthField(offset=3, size=1, strip=3),
        lambda data: bytes(3) + data,
        own_field(0, 1),
    ),
    Case("stripped partly", LengthField(offset=3, size=1, strip=2), lambda data: bytes(2) + data, own_field(1, 1)),
    Case("pack", Pack(), pack(0), filled),
    Case("pack 1", Pack(flag=1), pack(1), filled),
    Case("pack 0x169", Pack(flag=0x169), pack(0x169), filled),
    Case("pack 1023", Pack(flag=1023), pack(1023), filled),
    Case("lines", Delimited(), lambda data: data + b"\r\n", without(b"\r")),
    Case("delimited by one", Delimited(b"\0"), lambda data: data + b"\0", without(b"\0")),
    Case("delimited by 16", Delimited(b"=" * 15 + b";"), lambda data: data + b"=" * 15 + b";", without(b";=")),
    Case("delimited, looks alike", Delimited(b"hehe!"), lambda data: data + b"hehe!", without(b"!")),
    Case("between", Between(b"<<", b">>"), lambda data: b"<<" + data + b">>", without(b">")),
    Case("between the same", Between(b"|", b"|"), lambda data: b"|" + data + b"|", without(b"|")),
    Case("between 16", Between(b"a" * 16, b"b" * 16), lambda data: b"a" * 16 + data + b"b" * 16, without(b"b")),
    Case("fixed", Fixed(5), bytes, lambda data: (data + bytes(5))[:5]),
    Case("fixed 1", Fixed(1), bytes, lambda data: (data + b"?")[:1]),
    Case("fixed 100", Fixed(100), bytes, lambda data: (data + bytes(100))[:100]),
    Case("packet", WawoPacket(), lambda data: b"^^" + len(data).to_bytes(4, "big") + data, filled),
]
