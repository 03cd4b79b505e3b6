"""Unix sockets: servers on them, and plain sockets as their peers."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any

from peers import DEADLINE_S

import wawo


@contextlib.contextmanager
def serving(listener: wawo.Listener, host: str, backend: str, **options: Any) -> Iterator[wawo.TcpServer]:
    with wawo.TcpServer(listener, backend=backend, **options) as server:
        server.start(host)
        yield server


def dial(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE_S)
    name = host.removeprefix("unix:")
    sock.connect("\0" + name[1:] if name[0] == "@" else name)
    return sock


def listening(path: str, backlog: int = 5) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(DEADLINE_S)
    sock.bind(path)
    sock.listen(backlog)
    return sock


def is_socket(path: str) -> bool:
    return stat.S_ISSOCK(os.lstat(path).st_mode)


# ---- both ends ----
