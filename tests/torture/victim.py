"""The process that is tortured: echoes of bytes and of every framing, a forwarder, files, broadcasts; some with TLS.

It prints its ports and answers each line of its input: ``sample`` with its memory, descriptors and live objects,
``cast`` with the same after a broadcast. When the input ends it stops, and prints what is left: it must be nothing.
"""

from __future__ import annotations

import json
import os
import queue
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "support"))

from framings import CASES
from secure import client_context, server_context

import wawo
from wawo._core import live

PATIENCE_S = 10.0


class Echo(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
        conn.send(data)


class Puller(wawo.Listener):
    """Fetches what lies there, in two pieces."""

    def OnReceive(self, conn: wawo.Connection, length: Any) -> None:
        for n in (length // 2, length - length // 2):
            if n:
                conn.send(conn.fetch(n))


class Pauser(wawo.Listener):
    """Pauses every connection now and then; another thread resumes it."""

    def __init__(self) -> None:
        self.paused: queue.SimpleQueue[wawo.Connection | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._resume)
        self.thread.start()

    def _resume(self) -> None:
        while (conn := self.paused.get()) is not None:
            conn.resume()

    def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
        conn.send(data)
        if len(data) % 3 == 0:
            conn.pause()
            self.paused.put(conn)

    def OnShutdown(self, component: Any) -> None:
        self.paused.put(None)


class Forwarder(wawo.Listener):
    """Two connections joined by ``extra``; whoever sends too fast for the other side is paused."""

    def __init__(self, to: tuple[str, int], io: wawo.IoPool, *tls: ssl.SSLContext) -> None:
        options: dict[str, Any] = {"io": io, "view": True, "high_water": 100_000, "low_water": 20_000}
        self.to = to
        here, there = tls or (None, None)
        self.server = wawo.TcpServer(self, tls=here, **options)
        self.agent = wawo.TcpAgent(self, tls=there, **options)
        self.agent.start()
        self.server.start("127.0.0.1", 0)

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


def sample() -> dict[str, int]:
    resident = int(Path("/proc/self/statm").read_text().split()[1])
    return {"rss": resident * os.sysconf("SC_PAGE_SIZE"), "fds": len(os.listdir("/proc/self/fd")), **live()}


def cast(server: wawo.TcpServer, number: int) -> None:
    """The number, and as many bytes that tell it."""
    server.broadcast(number.to_bytes(8, "big") + bytes([number % 256]) * (number * 37 % 5000))


def start_all(io: wawo.IoPool, path: str, tls: ssl.SSLContext) -> dict[str, wawo.TcpServer]:
    servers = {
        "echo": wawo.TcpServer(Echo(), io=io),
        "frames": wawo.TcpServer(Echo(), framing=wawo.LengthPrefixed(4, max_size=1 << 20), io=io),
        "file": wawo.TcpServer(Files(path), io=io),
        "pull": wawo.TcpServer(Puller(), framing=wawo.Pull(), io=io),
        "paused": wawo.TcpServer(Pauser(), io=io),
        "cast": wawo.TcpServer(Echo(), framing=wawo.LengthPrefixed(4), io=io),
        "tls-echo": wawo.TcpServer(Echo(), io=io, tls=tls),
        "tls-file": wawo.TcpServer(Files(path), io=io, tls=tls),
    }
    servers |= {case.name: wawo.TcpServer(Echo(), framing=case.framing, io=io) for case in CASES}
    for server in servers.values():
        server.start("127.0.0.1", 0)
    return servers


def main(backend: str, path: str) -> None:
    io = wawo.IoPool(2, backend=backend)
    pair = wawo.IoPool(1, backend=backend)  # or a pause of one thread may miss the resume of the other
    tls = server_context()
    servers = start_all(io, path, tls)
    forwarders = {
        "forward": Forwarder(servers["echo"].address, pair),
        "tls-forward": Forwarder(servers["tls-echo"].address, pair, tls, client_context()),
    }
    servers |= {name: forwarder.server for name, forwarder in forwarders.items()}
    agents = [forwarder.agent for forwarder in forwarders.values()]
    print(json.dumps({name: server.address[1] for name, server in servers.items()}), flush=True)
    for number, line in enumerate(sys.stdin):
        if line == "cast\n":
            cast(servers["cast"], number)
        print(json.dumps(sample()), flush=True)
    for component in (*servers.values(), *agents):
        component.stop(drain=2)
    for component in (*servers.values(), *agents):
        component.wait(PATIENCE_S)
    io.close()
    pair.close()
    del forwarders, agents, servers, component
    print(json.dumps(settle()))


if __name__ == "__main__":
    main(*sys.argv[1:])
