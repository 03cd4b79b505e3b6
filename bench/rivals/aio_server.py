"""The asyncio echo server, on asyncio itself, uvloop or aiofastnet.

The same Protocol code on each. `--framing length` is the usual Python way: keep bytes, unpack the header, one call and
one write for each message.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import resource
import struct
import threading
from collections.abc import Callable
from typing import cast

HEADER = struct.Struct("!I")


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
            self.on_message(data[at + HEADER.size : end])
            at = end
        self.rest = data[at:]

    def on_message(self, payload: bytes) -> None:
        self.transport.write(HEADER.pack(len(payload)) + payload)


def burn() -> None:
    n = 0
    while True:
        n = (n * 31 + 7) & 0xFFFF


def loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "uvloop":
        import uvloop

        return uvloop.new_event_loop  # type: ignore[no-any-return]
    if name == "aiofastnet":
        import aiofastnet

        return aiofastnet.loop_factory()  # type: ignore[no-any-return]
    return asyncio.new_event_loop


async def serve(host: str, port: int, framing: str) -> None:
    loop = asyncio.get_running_loop()
    protocol = FramedEcho if framing == "length" else RawEcho
    server = await loop.create_server(protocol, host, port, backlog=4096)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--framing", choices=("raw", "length"), default="raw")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "aiofastnet"), default="asyncio")
    parser.add_argument("--burn", action="store_true", help="run a CPU-bound Python thread beside the loop")
    parser.add_argument("--probe", action="store_true", help="print the version and exit")
    options = parser.parse_args()
    if options.probe:
        module = importlib.import_module(options.loop)
        print("VERSION", getattr(module, "__version__", ""))
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.burn:
        threading.Thread(target=burn, daemon=True).start()
    loop = loop_factory(options.loop)()
    loop.run_until_complete(serve(options.host, options.port, options.framing))


if __name__ == "__main__":
    main()
