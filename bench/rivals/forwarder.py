"""A port forwarder with back-pressure: the example's on wawo, the usual pair of protocols on an asyncio loop."""

from __future__ import annotations

import argparse
import asyncio
import runpy
from pathlib import Path
from typing import Any

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


async def forward(target: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Side(target), "127.0.0.1", 0)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("wawo", "uvloop", "asyncio"), required=True)
    parser.add_argument("--to", type=int, required=True, help="a port of 127.0.0.1")
    options = parser.parse_args()
    if options.loop == "wawo":
        forwarder = runpy.run_path(str(EXAMPLE))["Forwarder"]("127.0.0.1", options.to)
        with forwarder.agent, forwarder.server:
            forwarder.agent.start()
            forwarder.server.start("127.0.0.1", 0)
            print("PORT", forwarder.server.address[1], flush=True)
            forwarder.server.wait()
    elif options.loop == "uvloop":
        import uvloop

        uvloop.run(forward(options.to))
    else:
        asyncio.run(forward(options.to))


if __name__ == "__main__":
    main()
