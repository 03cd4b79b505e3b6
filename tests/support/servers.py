"""A server whose callbacks are noted, and plain sockets as its peers."""

from __future__ import annotations

import socket
import threading
from typing import Any

from peers import DEADLINE_S

import wawo


class Log(wawo.Listener):
    """Echoes, and notes every callback with its thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.threads: set[str] = set()
        self.closed = threading.Event()
        self.opened = threading.Event()
        self.down = threading.Event()

    def note(self, name: str, value: Any = None) -> None:
        self.calls.append((name, value))
        self.threads.add(threading.current_thread().name)

    def OnAccept(self, conn: wawo.Connection) -> None:
        self.note("OnAccept", conn.id)
        self.opened.set()

    def OnHandShake(self, conn: wawo.Connection) -> None:
        self.note("OnHandShake", conn.id)

    def OnReceive(self, conn: wawo.Connection, data: bytes) -> wawo.HandleResult | None:
        self.note("OnReceive", data)
        if data == b"refuse":
            return wawo.HandleResult.ERROR
        if data == b"raise":
            raise LookupError("asked for")
        conn.send(data)
        return None

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
        self.note("OnClose", (operation, error, conn.error))
        self.closed.set()

    def OnShutdown(self, component: wawo.TcpServer) -> None:
        self.note("OnShutdown", component.state)
        self.down.set()

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


def dial(server: wawo.TcpServer, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, server.address[1]), DEADLINE_S)


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data
