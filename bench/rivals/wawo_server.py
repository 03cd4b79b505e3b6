"""The wawo echo server."""

from __future__ import annotations

import json
import signal
import time
from types import FrameType
from typing import Any

from shared import CHUNK, add_tls, begin, context_of, options_of_a_server

import wawo
from wawo._core import ENGINE


class Echo(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
        conn.send(data)


class PullEcho(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, length: int) -> None:
        data = conn.fetch(length)
        assert data is not None
        conn.send(data)


class Bulk(wawo.Listener):
    """Sends without end, as fast as the connection takes it."""

    def OnHandShake(self, conn: wawo.Connection) -> None:
        self.OnDrain(conn)

    def OnDrain(self, conn: wawo.Connection) -> None:
        conn.send(CHUNK)
        conn.send(CHUNK)  # above high water, so that OnDrain comes again


class LengthProtocol(wawo.Protocol):
    """LengthPrefixed(4) once more, in Python."""

    def __init__(self) -> None:
        self.rest = b""

    def decode(self, data: bytes) -> list[bytes]:
        data = self.rest + data
        messages = []
        at = 0
        while len(data) - at >= 4:
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > len(data):
                break
            messages.append(data[at + 4 : end])
            at = end
        self.rest = data[at:]
        return messages

    def encode(self, message: bytes) -> bytes:
        return len(message).to_bytes(4, "big") + message


FRAMINGS: dict[str, Any] = {
    "raw": wawo.Raw(),
    "length": wawo.LengthPrefixed(4),
    "field": wawo.LengthField(offset=2, size=2),
    "varint": wawo.LengthPrefixed("varint"),
    "pack": wawo.Pack(),
    "delimited": wawo.Delimited(b"\r\n"),
    "between": wawo.Between(b"<<", b">>"),
    "fixed": wawo.Fixed(64),
    "packet": wawo.WawoPacket(),
    "pull": wawo.Pull(),
    "protocol": LengthProtocol,
}


def main() -> None:
    parser = options_of_a_server(__doc__, *FRAMINGS)
    parser.add_argument("--threads", type=int, default=1, help="loops")
    parser.add_argument("--view", action="store_true", help="deliver memoryviews instead of bytes")
    parser.add_argument("--backend", help="the kernel interface")
    parser.add_argument("--idle-timeout", type=float, help="seconds")
    add_tls(parser)
    options = parser.parse_args()
    begin(options, "wawo", "" if ENGINE == "native" else f"({ENGINE} engine)")
    listener = Bulk() if options.bulk else PullEcho() if options.framing == "pull" else Echo()
    server = wawo.TcpServer(
        listener,
        framing=FRAMINGS[options.framing],
        io_threads=options.threads,
        view=options.view,
        max_connections=20000,
        idle_timeout=options.idle_timeout,
        tls=context_of(options.tls),
        backend=options.backend,
    )
    server.start(options.host, options.port)
    print("PORT", server.address[1], flush=True)
    if options.bulk:
        tell_at_the_end(server)
    server.wait()


def tell_at_the_end(server: wawo.TcpServer) -> None:
    """At SIGTERM it says which part of the time its loops waited for the GIL."""
    began = time.monotonic_ns()

    def end(number: int, frame: FrameType | None) -> None:
        loops = server.stats()["loops"]
        waited = sum(loop["gil_wait_ns"] for loop in loops)
        print(json.dumps({"gil_wait": waited / (time.monotonic_ns() - began) / len(loops)}), flush=True)
        server.stop()

    signal.signal(signal.SIGTERM, end)


if __name__ == "__main__":
    main()
