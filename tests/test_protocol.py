"""What may be given as a framing written in Python; what it does to a stream is tested with the components."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import wawo
from wawo.framing import native_framing


class Lines(wawo.Protocol):
    def __init__(self, end: bytes = b"\n") -> None:
        self.end = end

    def decode(self, data: bytes) -> Iterator[bytes]:
        yield from data.split(self.end)


class Slotted(wawo.Protocol):
    __slots__ = ("rest",)

    def decode(self, data: bytes) -> list[bytes]:
        return [data]


class Makes:
    def __call__(self) -> Lines:
        return Lines()

    def method(self) -> Lines:
        return Lines()


def server(framing: Any) -> wawo.TcpServer:
    return wawo.TcpServer(wawo.Listener(), framing=framing)


@pytest.mark.parametrize(
    "framing", [Lines, Slotted, lambda: Lines(b";"), functools.partial(Lines, b";"), Makes(), Makes().method]
)
def test_what_makes_one_is_taken(framing: Any) -> None:
    component = server(framing)
    assert component.framing is framing
    kind, make = native_framing(component.framing)
    assert kind == "protocol"
    assert callable(make)
    first, second = make(), make()
    assert isinstance(first, wawo.Protocol)
    assert first is not second


def test_encode_is_the_identity_unless_overridden() -> None:
    message = bytearray(b"as it is")
    assert Lines().encode(message) is message


def test_may_be_slotted() -> None:
    with pytest.raises(AttributeError):
        Slotted().other = 1  # type: ignore[attr-defined]


class Undecided(wawo.Protocol):
    pass


class Unfinished(Lines):
    decode = None  # type: ignore[assignment]


class Async(wawo.Protocol):
    async def decode(self, data: bytes) -> list[bytes]:  # type: ignore[override]
        return []


class AsyncGenerator(wawo.Protocol):
    async def decode(self, data: bytes) -> AsyncIterator[bytes]:  # type: ignore[override]
        yield b""


class AsyncEncode(Lines):
    async def encode(self, message: bytes) -> bytes:
        return message


class GeneratorEncode(Lines):
    def encode(self, message: bytes) -> Iterator[bytes]:
        yield message


class TooFew(wawo.Protocol):
    def decode(self) -> list[bytes]:  # type: ignore[override]
        return []


class TooMany(Lines):
    def encode(self, message: bytes, flags: int) -> bytes:  # type: ignore[override]
        return message


class Demanding(Lines):
    def __init__(self, limit: int) -> None:
        self.limit = limit


async def coroutine() -> Lines:
    return Lines()


def generator() -> Iterator[Lines]:
    yield Lines()


def one_argument(conn: object) -> Lines:
    return Lines()


@pytest.mark.parametrize(
    ("framing", "text"),
    [
        (Lines(), "framing must make a protocol for each connection: pass the class Lines, or a function"),
        (wawo.Protocol, "framing must be a subclass of Protocol that defines decode, not Protocol itself"),
        (Undecided, "framing Undecided must define decode"),
        (Unfinished, "Unfinished.decode must be a method decode(data), not None"),
        (Async, "Async.decode is async, but a native thread calls it and awaits nothing: make it a plain def"),
        (AsyncGenerator, "AsyncGenerator.decode is async"),
        (AsyncEncode, "AsyncEncode.encode is async"),
        (GeneratorEncode, "GeneratorEncode.encode is a generator: it must return the bytes of one message"),
        (TooFew, "TooFew.decode(self) -> 'list[bytes]' cannot be called as decode(data): too many"),
        (TooMany, "cannot be called as encode(message): missing a required argument: 'flags'"),
        (Demanding, "framing Demanding(limit: 'int') -> 'None' is called without arguments for each connection, but"),
        (one_argument, "framing one_argument(conn: 'object') -> 'Lines' is called without arguments"),
        (coroutine, "framing coroutine must return a Protocol: make it a plain def, neither async nor a generator"),
        (generator, "framing generator must return a Protocol"),
        (dict, "framing must be a framing such as Raw() or LengthPrefixed(), or a subclass of Protocol, not <class"),
        (7, "framing must be a framing such as Raw() or LengthPrefixed(), or a subclass of Protocol, not 7"),
    ],
)
def test_what_cannot_make_one_is_named(framing: Any, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        server(framing)
    assert text in str(caught.value)


def test_what_a_function_made_is_looked_at() -> None:
    component = server(lambda: [1])
    _, make = native_framing(component.framing)
    assert callable(make)
    with pytest.raises(TypeError, match=r"<lambda> must return a Protocol, not list \(\[1\]\)"):
        make()
