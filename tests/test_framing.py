"""The descriptions of framings; what they do to a stream is tested with the components."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import wawo
from wawo import Between, Delimited, Fixed, LengthField, LengthPrefixed, Pack, Pull, Raw, WawoPacket

GIB = 1 << 30
MIB = 1 << 20
ALL = [
    Raw(),
    LengthPrefixed(2),
    LengthField(2, 4),
    Pack(flag=7),
    Delimited(b";"),
    Between(b"<", b">"),
    Fixed(9),
    WawoPacket(10),
    Pull(11),
]


class Mark(bytes):
    pass


def test_marks_may_be_of_a_subclass() -> None:
    for native in (Delimited(Mark(b";"))._native(), Between(Mark(b"<"), Mark(b">"))._native()):
        assert all(type(mark) is bytes for mark in native[1:-1])


@pytest.mark.parametrize(
    ("framing", "native"),
    [
        (Raw(), ("raw",)),
        (LengthPrefixed(), ("length", 4, "big", MIB)),
        (LengthPrefixed(2, "little", 9), ("length", 2, "little", 9)),
        (LengthPrefixed("varint"), ("field", 0, 0, "big", 0, -1, MIB)),
        (LengthField(), ("field", 0, 1, "big", 0, 0, MIB)),
        (LengthField(size=4, strip="header"), ("length", 4, "big", MIB)),
        (LengthField(size=3, strip=3, byteorder="little"), ("length", 3, "little", MIB)),
        (LengthField(size=2, strip=2, adjust=-2), ("field", 0, 2, "big", -2, 2, MIB)),
        (LengthField(1, 2, "little", 5, "header", 99), ("field", 1, 2, "little", 5, -1, 99)),
        (LengthField(offset=6, size="varint", strip="header"), ("field", 6, 0, "big", 0, -1, MIB)),
        (LengthField(offset=4, size="varint", strip=4), ("field", 4, 0, "big", 0, 4, MIB)),
        (LengthField(offset=8, size=8, strip=16), ("field", 8, 8, "big", 0, 16, MIB)),
        (LengthField(offset=65_535, size=8), ("field", 65_535, 8, "big", 0, 0, MIB)),
        (LengthField(offset=65_535, size=1, strip=16), ("field", 65_535, 1, "big", 0, 16, MIB)),
        (LengthField(size=1, strip=5), ("field", 0, 1, "big", 0, 5, MIB)),
        (LengthField(adjust=2**31 - 1), ("field", 0, 1, "big", 2**31 - 1, 0, MIB)),
        (LengthField(adjust=1 - 2**31), ("field", 0, 1, "big", 1 - 2**31, 0, MIB)),
        (Pack(), ("pack", 0, 256 << 10)),
        (Pack(4_194_303, 1023), ("pack", 1023, 4_194_303)),
        (Delimited(), ("delimited", b"\r\n", 64 << 10)),
        (Delimited(b"\0" * 16, GIB), ("delimited", b"\0" * 16, GIB)),
        (Between(b"<", b"/>", max_size=1), ("between", b"<", b"/>", 1)),
        (Between(b"<", b">"), ("between", b"<", b">", 64 << 10)),
        (Fixed(1), ("fixed", 1)),
        (Fixed(GIB), ("fixed", GIB)),
        (WawoPacket(), ("packet", MIB)),
        (Pull(), ("pull", MIB)),
        (Pull(max_size=1), ("pull", 1)),
    ],
)
def test_what_the_binding_is_told(framing: wawo.Framing, native: tuple[object, ...]) -> None:
    assert framing._native() == native


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_limit_fits_the_length(size: int) -> None:
    native = ("length", size, "big", min(GIB, 256**size - 1))
    assert LengthPrefixed(size, max_size=GIB)._native() == native
    assert LengthField(size=size, strip="header", max_size=GIB)._native() == native


RANGE = "max_size must be 1 to 1,073,741,824 bytes, not"


@pytest.mark.parametrize("cls", [LengthPrefixed, LengthField])
@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"size": 5}, ValueError, 'size must be 1, 2, 3, 4 or 8 bytes or "varint", not 5'),
        ({"size": 0}, ValueError, "size must be 1 to 8 bytes, not 0"),
        ({"size": 16}, ValueError, "size must be 1 to 8 bytes, not 16"),
        ({"size": "4"}, ValueError, "size must be 1, 2, 3, 4 or 8 bytes or \"varint\", not '4'"),
        ({"size": True}, TypeError, "size must be an int, not bool"),
        ({"size": 4.0}, TypeError, "size must be an int, not float"),
        ({"byteorder": "native"}, ValueError, "byteorder must be 'big' or 'little', not 'native'"),
        ({"byteorder": 1}, TypeError, "byteorder must be 'big' or 'little', not int"),
        ({"size": "varint", "byteorder": "little"}, ValueError, "byteorder 'little' is not for a varint"),
        ({"max_size": 0}, ValueError, f"{RANGE} 0"),
        ({"max_size": GIB + 1}, ValueError, f"{RANGE} 1,073,741,825"),
        ({"max_size": 1e6}, TypeError, "max_size must be an int, not float"),
    ],
)
def test_wrong_lengths_are_named(
    cls: Callable[..., object], arguments: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        cls(**arguments)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"offset": -1}, ValueError, "offset must be 0 to 65,535 bytes, not -1"),
        ({"offset": 65_536}, ValueError, "offset must be 0 to 65,535 bytes, not 65,536"),
        ({"offset": "0"}, TypeError, "offset must be an int, not str"),
        ({"adjust": 2**31}, ValueError, "adjust must be -2,147,483,647 to 2,147,483,647 bytes, not 2,147,483,648"),
        ({"adjust": -(2**31)}, ValueError, "adjust must be"),
        ({"adjust": None}, TypeError, "adjust must be an int, not NoneType"),
        ({"strip": -1}, ValueError, "strip must be 0 to 16 bytes, not -1"),
        ({"strip": 17}, ValueError, "strip must be 0 to 16 bytes, not 17"),
        ({"strip": True}, TypeError, "strip must be an int, not bool"),
        ({"strip": None}, TypeError, "strip must be an int, not NoneType"),
        ({"strip": "all"}, ValueError, "strip must be a number of bytes or \"header\", not 'all'"),
        ({"size": 4, "strip": 1}, ValueError, "strip must not cut the field, which is bytes 0 to 3: 1"),
        ({"offset": 2, "size": 4, "strip": 5}, ValueError, "strip must not cut the field, which is bytes 2 to 5: 5"),
        ({"offset": 9, "size": 8, "strip": 16}, ValueError, "strip must not cut the field, which is bytes 9 to 16"),
        ({"size": "varint", "strip": 1}, ValueError, 'strip must be 0 to offset (0) or "header" with a varint, not 1'),
        ({"offset": 9, "size": 8, "strip": "header"}, ValueError, "16 bytes at most, not 17 (offset 9 and a"),
        ({"offset": 7, "size": "varint", "strip": "header"}, ValueError, "not 17 (offset 7 and a field of 10)"),
    ],
)
def test_wrong_fields_are_named(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        LengthField(**arguments)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Pack(0), ValueError, "max_size must be 1 to 4,194,303 bytes, not 0"),
        (lambda: Pack(4_194_304), ValueError, "max_size must be 1 to 4,194,303 bytes, not 4,194,304"),
        (lambda: Pack(flag=-1), ValueError, "flag must be 0 to 1,023, not -1"),
        (lambda: Pack(flag=1024), ValueError, "flag must be 0 to 1,023, not 1,024"),
        (lambda: Pack(flag=None), TypeError, "flag must be an int, not NoneType"),
        (lambda: Delimited(b""), ValueError, "delimiter must be 1 to 16 bytes long, not 0"),
        (lambda: Delimited(b"x" * 17), ValueError, "delimiter must be 1 to 16 bytes long, not 17"),
        (lambda: Delimited("\n"), TypeError, r"delimiter must be bytes such as b'\n', not str ('\n')"),
        (lambda: Delimited(bytearray(b"x")), TypeError, "delimiter must be bytes"),
        (lambda: Delimited(max_size=0), ValueError, f"{RANGE} 0"),
        (lambda: Between(b"", b">"), ValueError, "start must be 1 to 16 bytes long, not 0"),
        (lambda: Between(b"<", b""), ValueError, "end must be 1 to 16 bytes long, not 0"),
        (lambda: Between(b"<" * 17, b">"), ValueError, "start must be 1 to 16 bytes long, not 17"),
        (lambda: Between("<", b">"), TypeError, "start must be bytes"),
        (lambda: Between(b"<", 62), TypeError, "end must be bytes"),
        (lambda: Between(b"<"), TypeError, "end"),
        (lambda: Between(b"<", b">", GIB + 1), ValueError, f"{RANGE} 1,073,741,825"),
        (lambda: Fixed(0), ValueError, "size must be 1 to 1,073,741,824 bytes, not 0"),
        (lambda: Fixed(GIB + 1), ValueError, "size must be 1 to 1,073,741,824 bytes, not 1,073,741,825"),
        (lambda: Fixed(b"x"), TypeError, "size must be an int, not bytes"),
        (lambda: Fixed(), TypeError, "size"),
        (lambda: WawoPacket(0), ValueError, f"{RANGE} 0"),
        (lambda: WawoPacket("1"), TypeError, "max_size must be an int, not str"),
        (lambda: Pull(0), ValueError, f"{RANGE} 0"),
        (lambda: Pull(GIB + 1), ValueError, f"{RANGE} 1,073,741,825"),
    ],
)
def test_wrong_values_are_named(make: Callable[[], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert text in str(caught.value)


@pytest.mark.parametrize("framing", ALL, ids=lambda framing: type(framing).__name__)
def test_is_immutable_and_shareable(framing: Any) -> None:
    for field in dataclasses.fields(framing):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(framing, field.name, getattr(framing, field.name))
    with pytest.raises((AttributeError, TypeError)):
        framing.another = 1
    again = dataclasses.replace(framing)
    assert (again, hash(again)) == (framing, hash(framing))
    for cls in (wawo.TcpServer, wawo.TcpAgent, wawo.TcpClient):
        assert cls(wawo.Listener(), framing=framing).framing is framing


def test_kinds_differ() -> None:
    assert len({framing._native() for framing in ALL}) == len(set(ALL)) == len(ALL)


def test_base_is_not_made() -> None:
    with pytest.raises(TypeError, match="only the base"):
        wawo.Framing()


@pytest.mark.parametrize("cls", [wawo.TcpServer, wawo.TcpAgent, wawo.TcpClient])
def test_component_wants_an_instance(cls: type[wawo.TcpServer]) -> None:
    wrong: Any
    for wrong in (LengthPrefixed, Pull):
        with pytest.raises(TypeError, match=rf"pass {wrong.__name__}\(\), not the class {wrong.__name__}"):
            cls(wawo.Listener(), framing=wrong)
    for wrong in (None, "raw", 4, dict, b"\n"):
        with pytest.raises(TypeError, match=r"framing must be a framing such as Raw.* or a subclass of Protocol, not"):
            cls(wawo.Listener(), framing=wrong)
    assert cls(wawo.Listener()).framing == Raw()
