"""A server of one file: on wawo with send_file, on asyncio with loop.sendfile, on uvloop, which has none, with write.

A request is eight bytes: `E` and seven more are sent back, `G` and a big-endian number ask for so many bytes of the
file. The same as `raw/files.c`.
"""

from __future__ import annotations

import argparse
import asyncio
import resource

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("wawo", "asyncio", "uvloop"), required=True)
    parser.add_argument("--file", required=True)
    asked = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if asked.loop == "wawo":
        serve_wawo(asked.file)
    elif asked.loop == "asyncio":
        asyncio.run(serve_asyncio(asked.file, True))
    else:
        import uvloop

        uvloop.run(serve_asyncio(asked.file, False))


if __name__ == "__main__":
    main()
