"""A server of one file: on wawo with send_file, on asyncio and aiofastnet with loop.sendfile, on uvloop, which has
none, with write, on gevent and trio with os.sendfile and waiting for room.

A request is eight bytes: `E` and seven more are sent back, `G` and a big-endian number ask for so many bytes of the
file. The same as `raw/files.c`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Iterator
from typing import Any

from shared import ASYNCIO_LOOPS, allow_files, gevent_listener, run_asyncio, serve_trio

REQUEST = 8
BLOCK = 256 * 1024


def serve_wawo(path: str) -> None:
    import wawo

    def receive(conn: wawo.Connection, data: bytes) -> None:
        assert len(data) == REQUEST  # nobody here sends the next before the answer
        if data[:1] == b"E":
            conn.send(data)
        else:
            conn.send_file(path, 0, int.from_bytes(data[1:], "big"))

    server = wawo.TcpServer(wawo.Listener(OnReceive=receive), io_threads=1)
    server.start("127.0.0.1", 0)
    print("PORT", server.address[1], flush=True)
    server.wait()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, native: bool) -> None:
    loop = asyncio.get_running_loop()
    try:
        while True:
            data = await reader.readexactly(REQUEST)
            if data[:1] == b"E":
                writer.write(data)
                continue
            left = int.from_bytes(data[1:], "big")
            with open(path, "rb", buffering=0) as file:
                if native:
                    await loop.sendfile(writer.transport, file, 0, left)
                while left > 0 and not native:
                    block = file.read(min(left, BLOCK))
                    left -= len(block)
                    writer.write(block)
                    await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def serve_asyncio(path: str, native: bool) -> None:
    server = await asyncio.start_server(lambda r, w: answer(r, w, path, native), "127.0.0.1", 0)
    print("PORT", server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def pieces(sock: Any, file: Any, left: int) -> Iterator[int]:
    """Sends until all is sent; yields the descriptor each time the kernel is full."""
    offset, out = 0, sock.fileno()
    while left > 0:
        try:
            sent = os.sendfile(out, file.fileno(), offset, left)
        except BlockingIOError:
            yield out
            continue
        offset += sent
        left -= sent


def serve_gevent(path: str) -> None:
    from gevent.server import StreamServer
    from gevent.socket import wait_write

    def handle(sock: Any, address: object) -> None:
        try:
            while data := sock.recv(REQUEST):
                if data[:1] == b"E":
                    sock.sendall(data)
                    continue
                with open(path, "rb", buffering=0) as file:
                    for out in pieces(sock, file, int.from_bytes(data[1:], "big")):
                        wait_write(out)
        except OSError:
            pass

    StreamServer(gevent_listener("127.0.0.1", 0), handle).serve_forever()


def run_trio(path: str) -> None:
    import trio

    async def handle(stream: Any) -> None:
        try:
            while data := await stream.receive_some(REQUEST):
                if data[:1] == b"E":
                    await stream.send_all(data)
                    continue
                with open(path, "rb", buffering=0) as file:
                    for out in pieces(stream.socket, file, int.from_bytes(data[1:], "big")):
                        await trio.lowlevel.wait_writable(out)
        except (OSError, trio.BrokenResourceError):
            pass

    trio.run(serve_trio, handle, "127.0.0.1", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("wawo", "gevent", "trio", *ASYNCIO_LOOPS), required=True)
    parser.add_argument("--file", required=True)
    asked = parser.parse_args()
    allow_files()
    if asked.loop in ASYNCIO_LOOPS:
        run_asyncio(asked.loop, serve_asyncio(asked.file, asked.loop != "uvloop"))
    else:
        {"wawo": serve_wawo, "gevent": serve_gevent, "trio": run_trio}[asked.loop](asked.file)


if __name__ == "__main__":
    main()
