"""Framings in Python that several tests use."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterable, Iterator
from typing import Any

from peers import Log

import wawo
from wawo import ProtocolError


class Lines(wawo.Protocol):
    """Lines of JSON."""

    def __init__(self) -> None:
        self.rest = b""

    def decode(self, data: bytes) -> Iterable[Any]:
        *lines, self.rest = (self.rest + data).split(b"\n")
        return map(json.loads, lines)

    def encode(self, message: Any) -> bytes:
        return json.dumps(message).encode() + b"\n"


class Bytewise(wawo.Protocol):
    """Each byte is a message; some of them do something else."""

    def decode(self, data: bytes) -> Iterator[str]:
        for letter in data.decode():
            if letter == "!":
                raise ProtocolError("no shouting")
            if letter == "#":
                raise ProtocolError("too long", errno.EMSGSIZE)
            if letter == "?":
                raise LookupError("what?")
            yield letter


def letters(log: Log) -> str:
    return "".join(call.values[0] for call in log.calls if call.name == "OnReceive")
