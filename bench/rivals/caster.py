"""The server of the fan-out: each byte that comes in is a turn, and a turn is `--burst` messages to everybody."""

from __future__ import annotations

import argparse
import asyncio
import threading
from typing import Any

from shared import ASYNCIO_LOOPS, BACKLOG, allow_files, gevent_listener, run_asyncio, serve_trio


def serve_wawo(options: argparse.Namespace, message: bytes) -> None:
    """Casts in the callback, or wakes a thread that does."""
    import wawo

    turns = threading.Semaphore(0)

    def cast() -> None:
        for _ in range(options.burst):
            server.broadcast(message)

    class Caster(wawo.Listener):
        def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
            for _ in data:
                if options.threaded:
                    turns.release()
                else:
                    cast()

    server = wawo.TcpServer(Caster(), max_connections=20000)
    server.start("127.0.0.1", options.port)
    print("PORT", server.address[1], flush=True)
    while options.threaded and turns.acquire():
        cast()
    server.wait()


class Side(asyncio.Protocol):
    """One connection; the transports are what everybody casts to."""

    def __init__(self, everybody: dict[Side, Any], burst: int, message: bytes) -> None:
        self.everybody = everybody
        self.burst = burst
        self.message = message

    def connection_made(self, transport: Any) -> None:
        self.everybody[self] = transport

    def connection_lost(self, error: Exception | None) -> None:
        del self.everybody[self]

    def data_received(self, data: bytes) -> None:
        message = self.message
        for _ in range(len(data) * self.burst):
            for transport in self.everybody.values():
                transport.write(message)


async def serve_asyncio(options: argparse.Namespace, message: bytes) -> None:
    everybody: dict[Side, Any] = {}
    server = await asyncio.get_running_loop().create_server(
        lambda: Side(everybody, options.burst, message), "127.0.0.1", options.port, backlog=BACKLOG
    )
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def serve_gevent(options: argparse.Namespace, message: bytes) -> None:
    from gevent.server import StreamServer

    everybody: dict[Any, Any] = {}

    def side(sock: Any, address: object) -> None:
        everybody[sock] = sock.sendall
        try:
            while data := sock.recv(64):
                for _ in range(len(data) * options.burst):
                    for send in list(everybody.values()):
                        send(message)
        except OSError:
            pass
        finally:
            del everybody[sock]

    StreamServer(gevent_listener("127.0.0.1", options.port), side).serve_forever()


def run_trio(options: argparse.Namespace, message: bytes) -> None:
    import trio

    everybody: dict[Any, Any] = {}

    async def side(stream: Any) -> None:
        everybody[stream] = stream.send_all
        try:
            while data := await stream.receive_some(64):
                for _ in range(len(data) * options.burst):
                    for send in list(everybody.values()):
                        await send(message)
        except trio.BrokenResourceError:
            pass
        finally:
            del everybody[stream]

    trio.run(serve_trio, side, "127.0.0.1", options.port)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("wawo", "gevent", "trio", *ASYNCIO_LOOPS), required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--burst", type=int, default=1)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--threaded", action="store_true", help="wawo: cast from a Python thread, not in the callback")
    options = parser.parse_args()
    allow_files()
    message = b"x" * options.size
    if options.loop in ASYNCIO_LOOPS:
        run_asyncio(options.loop, serve_asyncio(options, message))
    else:
        {"wawo": serve_wawo, "gevent": serve_gevent, "trio": run_trio}[options.loop](options, message)


if __name__ == "__main__":
    main()
