"""The process that faults are injected into: an echo, one of messages, a forwarder to the first, a file for each who comes.

It prints its ports, serves until its input ends, stops, and prints what is left of it, which must be nothing.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import wawo
from wawo._core import live

PATIENCE_S = 10.0


class Echo(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
        conn.send(data)


class Forwarder(wawo.Listener):
    """Two connections joined by ``extra``; whoever sends too fast for the other side is paused."""

    def __init__(self, to: tuple[str, int], io: wawo.IoPool) -> None:
        options: dict[str, Any] = {"io": io, "view": True, "high_water": 100_000, "low_water": 20_000}
        self.to = to
        self.server = wawo.TcpServer(self, **options)
        self.agent = wawo.TcpAgent(self, **options)

    def OnAccept(self, conn: wawo.Connection) -> None:
        conn.extra = self.agent.connect(*self.to, extra=conn)

    def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
        conn.extra.send(data)
        if conn.extra.pending > 100_000:
            conn.pause()

    def OnDrain(self, conn: wawo.Connection) -> None:
        conn.extra.resume()

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
        if error:
            conn.extra.abort()
        else:
            conn.extra.close()


class Files(wawo.Listener):
    def __init__(self, path: str) -> None:
        self.path = path

    def OnAccept(self, conn: wawo.Connection) -> None:
        conn.send_file(self.path)
        conn.close()


def settle() -> dict[str, int]:
    """What is alive; the last of it may need a moment."""
    deadline = time.monotonic() + PATIENCE_S
    while any(live().values()) and time.monotonic() < deadline:
        time.sleep(0.001)
    return live()


def main(backend: str, path: str) -> None:
    io = wawo.IoPool(2, backend=backend)
    echo = wawo.TcpServer(Echo(), io=io)
    framed = wawo.TcpServer(Echo(), framing=wawo.LengthPrefixed(4, max_size=1 << 20), io=io)
    files = wawo.TcpServer(Files(path), io=io)
    for server in (echo, framed, files):
        server.start("127.0.0.1", 0)
    pair = wawo.IoPool(1, backend=backend)  # or a pause of one thread may miss the resume of the other
    forwarder = Forwarder(echo.address, pair)
    forwarder.agent.start()
    forwarder.server.start("127.0.0.1", 0)
    servers = {"echo": echo, "frames": framed, "file": files, "forward": forwarder.server}
    print(json.dumps({name: server.address[1] for name, server in servers.items()}), flush=True)
    sys.stdin.read()
    for component in (*servers.values(), forwarder.agent):
        component.stop(drain=2)
    for component in (*servers.values(), forwarder.agent):
        component.wait(PATIENCE_S)
    io.close()
    pair.close()
    del forwarder, echo, framed, files, servers, server, component
    print(json.dumps(settle()))


if __name__ == "__main__":
    main(*sys.argv[1:])
