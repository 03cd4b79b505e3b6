"""The descriptions of framings; what they do to a stream is tested with the components."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import wawo

make: Callable[..., wawo.LengthPrefixed] = wawo.LengthPrefixed


def test_raw() -> None:
    assert wawo.Raw()._native() == ("raw",)
    assert wawo.Raw() == wawo.Raw()


def test_length_prefixed_defaults() -> None:
    assert wawo.LengthPrefixed()._native() == ("length", 4, "big", 1 << 20)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_limit_fits_the_length(size: int) -> None:
    native = wawo.LengthPrefixed(size, max_size=1 << 30)._native()
    assert native == ("length", size, "big", min(1 << 30, 256**size - 1))


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"size": 5}, ValueError, "size must be 1, 2, 3, 4 or 8 bytes, not 5"),
        ({"size": 0}, ValueError, "size must be"),
        ({"size": 16}, ValueError, "size must be"),
        ({"size": "4"}, TypeError, "size must be an int, not str"),
        ({"size": True}, TypeError, "size must be an int, not bool"),
        ({"byteorder": "native"}, ValueError, "byteorder must be 'big' or 'little', not 'native'"),
        ({"byteorder": 1}, TypeError, "byteorder must be 'big' or 'little', not int"),
        ({"max_size": 0}, ValueError, "max_size must be 1 to 1,073,741,824 bytes, not 0"),
        ({"max_size": (1 << 30) + 1}, ValueError, "max_size must be"),
        ({"max_size": 1e6}, TypeError, "max_size must be an int, not float"),
    ],
)
def test_wrong_values_are_named(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make(**arguments)


def test_is_immutable_and_shareable() -> None:
    framing = wawo.LengthPrefixed(2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        framing.size = 4  # type: ignore[misc]
    assert framing == wawo.LengthPrefixed(2)
    assert hash(framing) == hash(wawo.LengthPrefixed(2))


def test_base_is_not_made() -> None:
    with pytest.raises(TypeError, match="only the base"):
        wawo.Framing()


@pytest.mark.parametrize("cls", [wawo.TcpServer, wawo.TcpAgent, wawo.TcpClient])
def test_component_wants_an_instance(cls: type[wawo.TcpServer]) -> None:
    wrong: Any = wawo.LengthPrefixed
    with pytest.raises(TypeError, match=r"pass LengthPrefixed\(\), not the class LengthPrefixed"):
        cls(wawo.Listener(), framing=wrong)
    for wrong in (None, "raw", 4, dict):
        with pytest.raises(TypeError, match="framing must be a framing such as Raw"):
            cls(wawo.Listener(), framing=wrong)
    assert cls(wawo.Listener()).framing == wawo.Raw()
