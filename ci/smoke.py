"""Whether an installed wawo works at all: server, client, agent, framing, and what the command line says.

    python ci/smoke.py

It needs nothing but wawo and takes a second or two. Each wheel is tried with it, on its own platform and elsewhere than
in the checkout. Prints one line; the exit code is 0 when all is well.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable

import wawo  # the installed one: Python looks beside this file, and not in the checkout around it

DEADLINE_S = 60.0
CONNECTIONS = 20
MESSAGES = [b"", b"short", os.urandom(100_000)]


class Echo(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        conn.send(data)


class Asking(wawo.Listener):
    """Sends the messages and gathers what comes back on all connections."""

    def __init__(self, connections: int) -> None:
        self.wanted = connections * len(MESSAGES)
        self.got: list[bytes] = []
        self.failures: list[str] = []
        self.done = threading.Event()
        self.lock = threading.Lock()

    def OnConnect(self, conn: wawo.Connection) -> None:
        for message in MESSAGES:
            conn.send(message)

    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        with self.lock:
            self.got.append(data)
            if len(self.got) == self.wanted:
                self.done.set()

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
        if error:
            self.failures.append(f"{operation.name} {error} {conn.error}")
            self.done.set()

    def check(self) -> None:
        assert self.done.wait(DEADLINE_S), f"{len(self.got)} of {self.wanted} messages came back"
        assert not self.failures, self.failures
        assert sorted(self.got, key=len) == sorted(MESSAGES * (self.wanted // len(MESSAGES)), key=len)


def echo(start: Callable[[Asking, tuple[str, int]], wawo.Component], connections: int) -> None:
    """Frames of several sizes to a server and back."""
    with wawo.TcpServer(Echo(), framing=wawo.LengthPrefixed()) as server:
        server.start("127.0.0.1", 0)
        asking = Asking(connections)
        component = start(asking, server.address)
        asking.check()
        component.stop()
        assert server.stats()["accepts"] == connections


def client(asking: Asking, address: tuple[str, int]) -> wawo.Component:
    made = wawo.TcpClient(asking, framing=wawo.LengthPrefixed())
    made.start(*address)
    return made


def agent(asking: Asking, address: tuple[str, int]) -> wawo.Component:
    made = wawo.TcpAgent(asking, framing=wawo.LengthPrefixed())
    made.start()
    for _ in range(CONNECTIONS):
        made.connect(*address)
    return made


def info() -> str:
    """What `wawo info` says of the engine."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "wawo", "info"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("engine ")]
    assert len(lines) == 1, done.stdout
    return " ".join(lines[0].split())


def main() -> int:
    echo(client, 1)
    echo(agent, CONNECTIONS)
    print(f"wawo {wawo.__version__} works on Python {sys.version.split()[0]}, {sys.platform}; {info()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
