"""What the listener of a script does: messages carry what is asked of it, so a script alone decides."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wawo
from wawo import Between, Delimited, Fixed, HandleResult, LengthField, LengthPrefixed, Pack, ProtocolError, WawoPacket
from wawo._portable.codecs import Codec, codec_for
from wawo.framing import AnyFraming, native_framing

LARGE = 5 << 20  # beyond what a system takes for a peer that does not read
MIB = 1 << 20
FILLER = b"abcdefghijklmnopqrstuvw"
FILE_BYTES = 3000


class Words(wawo.Protocol):
    """Words that end with a semicolon; some bytes are errors of each kind."""

    def __init__(self) -> None:
        self.rest = b""

    def decode(self, data: bytes) -> Any:
        *words, self.rest = (self.rest + data).split(b";")
        for word in words:
            if b"!" in word:
                raise ProtocolError("no shouting")
            if b"?" in word:
                raise LookupError("what?")
            yield word

    def encode(self, message: bytes) -> bytes:
        if b";" in message:
            raise ValueError("a semicolon")
        return bytes(message) + b";"


_BIG = 16 * MIB
FRAMINGS: dict[str, AnyFraming] = {
    "raw": wawo.Raw(),
    "pull": wawo.Pull(max_size=4096),
    "words": Words,
    "length": LengthPrefixed(max_size=_BIG),
    "length-little": LengthPrefixed(3, "little", max_size=_BIG),
    "varint": LengthPrefixed("varint", max_size=_BIG),
    "field": LengthField(offset=2, size=4, strip="header", max_size=_BIG),
    "field-adjust": LengthField(size=4, adjust=-4, strip=4, max_size=_BIG),
    "field-carried": LengthField(offset=1, size=4, max_size=_BIG),
    "pack": Pack(max_size=4_000_000, flag=5),
    "lines": Delimited(b"\r\n", max_size=_BIG),
    "between": Between(b"<<", b">>", max_size=_BIG),
    "fixed": Fixed(24),
    "packet": WawoPacket(max_size=_BIG),
}
CUTTING = frozenset(FRAMINGS) - {"raw", "pull", "words"}


def digest(data: bytes) -> str:
    """Short bytes as they are; of long ones the size and a checksum."""
    return data.decode("latin-1") if len(data) <= 64 else f"{len(data)} bytes, {zlib.crc32(data):08x}"


def filler(size: int) -> bytes:
    return (FILLER * (size // len(FILLER) + 1))[:size]


def joined(entries: list[list[Any]], cuts: bool) -> list[list[Any]]:
    """Where nothing cuts the stream, how it came in pieces is free; so is how the system took what was sent."""
    found: list[list[Any]] = []
    for step, kind, *values in entries:
        if kind == "OnReceive" and not cuts and found and found[-1][:2] == [step, kind]:
            found[-1][2] += values[0]
        else:
            found.append([step, kind, *values])
    for entry in found:
        if entry[1] == "OnReceive":
            entry[2] = digest(entry[2])
    return found


class Shape:
    """How messages of a framing are made."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.framing = FRAMINGS[name]
        self.cuts = name in CUTTING
        self._codec: Codec | None = codec_for(native_framing(self.framing))

    def message(self, command: str, size: int) -> bytes:
        """What send takes, and what OnReceive gets when a peer sends it: the command is its last byte."""
        return self.fit(filler(size - 1) + command.encode())

    def fit(self, body: bytes) -> bytes:
        if self.name == "fixed":
            return body.rjust(24, b"f")[-24:]
        if self.name == "field-carried":
            return b"h" + len(body).to_bytes(4, "big") + body
        return body

    def wire(self, message: bytes) -> bytes:
        if self.name == "words":
            return message + b";"
        if self._codec is None:
            return message
        head, tail = self._codec.seal(len(message), message)
        return head + message + tail


def attempt(function: Callable[..., object], *arguments: Any, **more: Any) -> object:
    """What it answers, or the name of what it raises."""
    try:
        return function(*arguments, **more)
    except Exception as error:
        return type(error).__name__


class Reactions:
    """``log(key, ...)`` notes; ``component`` is set before anything comes."""

    component: Any

    def __init__(self, shape: Shape, callbacks: dict[str, str], log: Callable[..., None], folder: Path) -> None:
        self.shape = shape
        self.callbacks = callbacks
        self.log = log
        self._file = folder / "file"
        if not self._file.exists():
            self._file.write_bytes(filler(FILE_BYTES))

    # ---- what a message may ask for ----

    def react(self, key: str, conn: wawo.Connection, data: bytes) -> object:
        command = chr(data[-1]) if data else ""
        action = getattr(self, f"_do_{command}", None) if command.isupper() else None
        return action(key, conn, data) if action is not None else None

    def _sent(self, key: str, conn: wawo.Connection, message: bytes) -> None:
        self.log(key, "send", attempt(conn.send, message))

    def _do_E(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self._sent(key, conn, data)

    def _do_S(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        for number in range(3):
            self._sent(key, conn, self.shape.message("s", 5 + number))

    def _do_K(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        message = self.shape.message("k", 400)
        self.log(key, "send_packets", attempt(conn.send_packets, [message[:1], b"", memoryview(message)[1:]]))

    def _do_H(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self._sent(key, conn, self.shape.message("h", 9))
        self.log(key, "flush", attempt(conn.flush))

    def _do_G(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self._sent(key, conn, self.shape.message("g", 30_000))

    def _do_F(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self.send_file(key, conn)

    def send_file(self, key: str, conn: wawo.Connection) -> None:
        if self.shape.name in ("fixed", "field-carried"):
            return
        answer = attempt(conn.send_file, self._file, 10, FILE_BYTES - 20, head=b"head", tail=b"tail")
        self.log(key, "send_file", answer)
        self.log(key, "send_file", attempt(conn.send_file, self._file.with_name("no such file")))

    def _do_O(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        found = self.component.connection(conn.id)
        self.log(key, "looked", found is conn, conn.connected, conn.paused, conn.component is self.component)

    def _do_M(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self.log(key, "broadcast", attempt(self.component.broadcast, self.shape.message("m", 12), [conn, conn.id, 7]))

    def _do_Q(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        before = conn.pending
        self._sent(key, conn, self.shape.message("q", 7))
        self.log(key, "pending", conn.pending - before)

    def _do_J(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self.log(key, "refused", attempt(conn.send, "text"), attempt(self.component.wait), attempt(conn.fetch, -1))

    def _do_L(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        message = self.shape.message("l", MIB)
        self.log(key, "large", [attempt(conn.send, message) for _ in range(LARGE // MIB)], conn.pending > 4 * MIB)

    def _do_U(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        message = self.shape.message("u", 300_000)
        self.log(key, "until full", [attempt(conn.send, message) for _ in range(6)])

    def _do_P(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        conn.pause()
        self.log(key, "paused", conn.paused)

    def _do_C(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self._sent(key, conn, self.shape.message("c", 3))
        conn.close()
        self.log(key, "closed", conn.connected, attempt(conn.send, self.shape.message("c", 1)))

    def _do_A(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        conn.abort()
        self.log(key, "aborted", conn.connected)

    def _do_W(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self._sent(key, conn, self.shape.message("w", 3))
        conn.shutdown_write()
        self.log(key, "shut", conn.connected, attempt(conn.send, self.shape.message("w", 1)))

    def _do_X(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self._sent(key, conn, self.shape.message("x", 3))
        raise LookupError("asked for")

    def _do_R(self, key: str, conn: wawo.Connection, data: bytes) -> object:
        self._sent(key, conn, self.shape.message("r", 3))
        return HandleResult.ERROR

    def _do_D(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        self.log(key, "disconnected", attempt(self.component.disconnect, conn.id), conn.connected)

    def _do_Y(self, key: str, conn: wawo.Connection, data: bytes) -> None:
        conn.pause()
        conn.close()
        self.log(key, "closed while paused", conn.connected, conn.paused)

    # ---- what other callbacks do beside being noted ----

    def also(self, name: str, key: str, conn: wawo.Connection) -> object:
        what = self.callbacks[name]
        if what in ("greet", "send"):
            self._sent(key, conn, self.shape.message("z", 8))
        elif what in ("close", "abort", "pause", "shutdown_write"):
            getattr(conn, what)()
        elif what == "error":
            return HandleResult.ERROR
        elif what == "raise":
            raise LookupError(name)
        return None
