"""The asyncio echo server, on asyncio itself, uvloop or aiofastnet.

The same Protocol code on each. `--framing length` is the usual Python way: keep bytes, unpack the header, one call and
one write for each message. With `--joined` the answers to what one read brought leave in one write.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from shared import (
    ASYNCIO_LOOPS,
    CHUNK,
    HEADER,
    add_tls,
    answer_all,
    begin,
    context_of,
    fast_base,
    on_message,
    options_of_a_server,
    run_asyncio,
)


class RawEcho(asyncio.Protocol):
    __slots__ = ("transport",)

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class FramedEcho(RawEcho):
    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        at = 0
        total = len(data)
        while total - at >= HEADER.size:
            (length,) = HEADER.unpack_from(data, at)
            end = at + HEADER.size + length
            if end > total:
                break
            self.transport.write(on_message(data[at + HEADER.size : end]))
            at = end
        self.rest = data[at:]


class JoinedEcho(FramedEcho):
    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        answers, self.rest = answer_all(self.rest + data if self.rest else data)
        if answers:
            self.transport.write(answers)


class Bulk(RawEcho):
    """Sends without end, as fast as the transport takes it."""

    __slots__ = ("full",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        pass

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        while not self.full:
            self.transport.write(CHUNK)


async def serve(protocol: type[asyncio.Protocol], host: str, port: int, context: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, host, port, backlog=4096, ssl=context)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = options_of_a_server(__doc__, "raw", "length")
    parser.add_argument("--loop", choices=ASYNCIO_LOOPS, default="asyncio")
    parser.add_argument("--joined", action="store_true", help="one write for the answers to one read")
    add_tls(parser)
    options = parser.parse_args()
    begin(options, options.loop, "(on uvloop)" if options.loop == "aiofastnet" and fast_base() else "")
    framed = JoinedEcho if options.joined else FramedEcho
    protocol = Bulk if options.bulk else framed if options.framing == "length" else RawEcho
    run_asyncio(options.loop, serve(protocol, options.host, options.port, context_of(options.tls)))


if __name__ == "__main__":
    main()
