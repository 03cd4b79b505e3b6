"""The server of the fan-out: each byte that comes in is a turn, and a turn is `--burst` messages to everybody."""

from __future__ import annotations

import argparse
import asyncio
import resource
import threading
from typing import Any

import wawo


class Caster(wawo.Listener):
    """Casts in the callback, or wakes a thread that does."""

    def __init__(self, burst: int, message: bytes, threaded: bool) -> None:
        self.burst = burst
        self.message = message
        self.turns = threading.Semaphore(0) if threaded else None
        self.server = wawo.TcpServer(self, max_connections=20000)

    def cast(self) -> None:
        for _ in range(self.burst):
            self.server.broadcast(self.message)

    def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
        for _ in data:
            if self.turns is None:
                self.cast()
            else:
                self.turns.release()

    def serve(self, port: int) -> None:
        self.server.start("127.0.0.1", port)
        print("PORT", self.server.address[1], flush=True)
        if self.turns is None:
            self.server.wait()
        else:
            while self.turns.acquire():
                self.cast()


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


async def serve(port: int, burst: int, message: bytes) -> None:
    everybody: dict[Side, Any] = {}
    server = await asyncio.get_running_loop().create_server(
        lambda: Side(everybody, burst, message), "127.0.0.1", port, backlog=4096
    )
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("wawo", "uvloop", "asyncio"), required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--burst", type=int, default=1)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--threaded", action="store_true", help="wawo: cast from a Python thread, not in the callback")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    message = b"x" * options.size
    if options.loop == "wawo":
        Caster(options.burst, message, options.threaded).serve(options.port)
    elif options.loop == "uvloop":
        import uvloop

        uvloop.run(serve(options.port, options.burst, message))
    else:
        asyncio.run(serve(options.port, options.burst, message))


if __name__ == "__main__":
    main()
