"""Framings: how the stream of a connection is cut into messages; all of them run natively."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .options import GIB, MIB, check_choice, check_integer

if TYPE_CHECKING:
    from typing_extensions import Self


class Framing:
    """The base of all framings: an immutable description, which any number of components may share."""

    __slots__ = ()

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        if cls is Framing:
            raise TypeError("Framing is only the base: pass Raw() or LengthPrefixed()")
        return super().__new__(cls)

    def _native(self) -> tuple[object, ...]:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Raw(Framing):
    """No framing: OnReceive gets the bytes as they come, in pieces of any size; send adds nothing."""

    def _native(self) -> tuple[object, ...]:
        return ("raw",)


@dataclass(frozen=True, slots=True)
class LengthPrefixed(Framing):
    """Each message stands behind its length: OnReceive gets whole messages without it, send puts it in front.

    A longer message than max_size ends its connection with ``OnClose(conn, Operation.RECEIVE, errno.EMSGSIZE)``
    after everything before it was delivered; to send one raises FrameTooBig. A message may be empty.
    """

    size: int = 4
    """Bytes of the length: 1, 2, 3, 4 or 8; unsigned, counts the message alone."""

    byteorder: Literal["big", "little"] = "big"
    """The order of those bytes; "big" is the order of the network."""

    max_size: int = MIB
    """The longest message in bytes: 1 to 1 GiB, 1 MiB unless told; never more than the length itself can say."""

    def __post_init__(self) -> None:
        check_integer("size", self.size, 1, 8, " bytes")
        if self.size not in (1, 2, 3, 4, 8):
            raise ValueError(f"size must be 1, 2, 3, 4 or 8 bytes, not {self.size}")
        check_choice("byteorder", self.byteorder, ("big", "little"))
        check_integer("max_size", self.max_size, 1, GIB, " bytes")

    def _native(self) -> tuple[object, ...]:
        return ("length", self.size, self.byteorder, min(self.max_size, (1 << 8 * self.size) - 1))


def check_framing(value: object) -> Framing:
    """Return value if it is a framing, else raise TypeError that says what to pass."""
    if isinstance(value, type) and issubclass(value, Framing):
        raise TypeError(f"framing must be an instance: pass {value.__name__}(), not the class {value.__name__}")
    if not isinstance(value, Framing):
        raise TypeError(f"framing must be a framing such as Raw() or LengthPrefixed(), not {value!r}")
    return value
