"""A port forwarder with back-pressure: the example's on wawo, the usual pair of protocols on an asyncio loop; on gevent
and trio two greenlets or tasks, which wait by themselves."""

from __future__ import annotations

import argparse
import asyncio
import runpy
import socket
from pathlib import Path
from typing import Any

from shared import ASYNCIO_LOOPS, READ_BYTES, gevent_listener, run_asyncio, serve_trio

HIGH_WATER = 1024 * 1024
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "port_forwarder.py"


class Side(asyncio.Protocol):
    """One connection of a pair; `other` is known once both stand."""

    def __init__(self, target: int | None, other: Side | None = None) -> None:
        self.target = target
        self.other = other
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(HIGH_WATER, HIGH_WATER // 4)
        if self.target is not None:
            transport.pause_reading()
            loop = asyncio.get_running_loop()
            self.dialling = loop.create_task(loop.create_connection(lambda: Side(None, self), "127.0.0.1", self.target))
        elif self.other is not None:
            self.other.other = self
            self.other.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


async def serve_asyncio(target: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Side(target), "127.0.0.1", 0)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def serve_wawo(target: int) -> None:
    forwarder = runpy.run_path(str(EXAMPLE))["Forwarder"]("127.0.0.1", target)
    with forwarder.agent, forwarder.server:
        forwarder.agent.start()
        forwarder.server.start("127.0.0.1", 0)
        print("PORT", forwarder.server.address[1], flush=True)
        forwarder.server.wait()


def serve_gevent(target: int) -> None:
    import gevent
    from gevent.server import StreamServer
    from gevent.socket import create_connection

    def pump(source: Any, sink: Any) -> None:
        try:
            while data := source.recv(READ_BYTES):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            sink.close()

    def handle(sock: Any, address: object) -> None:
        with create_connection(("127.0.0.1", target)) as other:
            gevent.joinall([gevent.spawn(pump, sock, other), gevent.spawn(pump, other, sock)])

    StreamServer(gevent_listener("127.0.0.1", 0), handle).serve_forever()


def run_trio(target: int) -> None:
    import trio

    async def pump(source: Any, sink: Any) -> None:
        try:
            while data := await source.receive_some(READ_BYTES):
                await sink.send_all(data)
            await sink.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            await sink.aclose()

    async def handle(stream: Any) -> None:
        other = await trio.open_tcp_stream("127.0.0.1", target)
        async with stream, other, trio.open_nursery() as nursery:
            nursery.start_soon(pump, stream, other)
            nursery.start_soon(pump, other, stream)

    trio.run(serve_trio, handle, "127.0.0.1", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("wawo", "gevent", "trio", *ASYNCIO_LOOPS), required=True)
    parser.add_argument("--to", type=int, required=True, help="a port of 127.0.0.1")
    options = parser.parse_args()
    if options.loop in ASYNCIO_LOOPS:
        run_asyncio(options.loop, serve_asyncio(options.to))
    else:
        {"wawo": serve_wawo, "gevent": serve_gevent, "trio": run_trio}[options.loop](options.to)


if __name__ == "__main__":
    main()
