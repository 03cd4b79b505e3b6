"""What the tests over the real engine share: a listener that notes everything, plain sockets as peers, waiting."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ipv6

import wawo

LINGER = "hh" if sys.platform == "win32" else "ii"
"""The layout of struct linger."""
DEADLINE_S = float(os.environ.get("WAWO_TEST_DEADLINE", "20"))


class Call(NamedTuple):
    """One callback: its name, the connection (or component) and what else it was given."""

    name: str
    conn: Any
    values: tuple[Any, ...]


class Log(wawo.Listener):
    """Notes every callback; ``Log(OnReceive=f)`` also does ``f(conn, data)`` and answers what that answers."""

    def __init__(self, **actions: Callable[..., object]) -> None:
        self.actions = actions
        self.calls: list[Call] = []
        self.changed = threading.Condition()

    def _note(self, name: str, conn: Any, *values: Any) -> Any:
        with self.changed:
            self.calls.append(Call(name, conn, values))
            self.changed.notify_all()
        try:
            action = self.actions.get(name)
            return action(conn, *values) if action is not None else None
        finally:
            with self.changed:
                self.changed.notify_all()

    def OnAccept(self, conn: wawo.Connection) -> Any:
        return self._note("OnAccept", conn)

    def OnConnect(self, conn: wawo.Connection) -> Any:
        return self._note("OnConnect", conn)

    def OnHandShake(self, conn: wawo.Connection) -> Any:
        return self._note("OnHandShake", conn)

    def OnReceive(self, conn: wawo.Connection, data: Any) -> Any:
        return self._note("OnReceive", conn, data)

    def OnDrain(self, conn: wawo.Connection) -> Any:
        return self._note("OnDrain", conn)

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> Any:
        return self._note("OnClose", conn, operation, error)

    def OnShutdown(self, component: Any) -> Any:
        return self._note("OnShutdown", component)

    def OnException(self, conn: wawo.Connection, exception: BaseException) -> Any:
        return self._note("OnException", conn, exception)

    def until(self, happened: Callable[[], object]) -> None:
        """Block until ``happened()``, which is asked again after each callback."""
        with self.changed:
            assert self.changed.wait_for(happened, DEADLINE_S), [call.name for call in self.calls]

    def until_count(self, name: str, wanted: int = 1) -> None:
        self.until(lambda: self.count(name) >= wanted)

    def count(self, name: str) -> int:
        return sum(call.name == name for call in self.calls)

    def names(self, conn: object = None) -> list[str]:
        return [call.name for call in self.calls if conn is None or call.conn == conn]

    def conn(self, number: int = 0) -> wawo.Connection:
        """The connection that was opened as number ``number``; waits for it."""
        opened = ("OnAccept", "OnConnect")
        self.until(lambda: sum(call.name in opened for call in self.calls) > number)
        found: wawo.Connection = [call.conn for call in self.calls if call.name in opened][number]
        return found

    def received(self, conn: object = None) -> bytes:
        return b"".join(
            bytes(call.values[0])
            for call in self.calls
            if call.name == "OnReceive" and (conn is None or call.conn == conn)
        )

    def messages(self) -> list[bytes]:
        return [bytes(call.values[0]) for call in self.calls if call.name == "OnReceive"]

    def closes(self) -> list[tuple[wawo.Operation, int]]:
        return [call.values for call in self.calls if call.name == "OnClose"]  # type: ignore[misc]

    def raised(self) -> list[BaseException]:
        return [call.values[0] for call in self.calls if call.name == "OnException"]


def echo(conn: wawo.Connection, data: Any) -> None:
    conn.send(data)


@contextlib.contextmanager
def serving(listener: wawo.Listener, backend: str | None = None, **options: Any) -> Iterator[wawo.TcpServer]:
    """A started server on 127.0.0.1."""
    with wawo.TcpServer(listener, backend=backend, **options) as server:
        server.start("127.0.0.1", 0)
        yield server


ROLES = ("server", "agent", "client")


@contextlib.contextmanager
def meeting(role: str, listener: wawo.Listener, backend: str, **options: Any) -> Iterator[Meeting]:
    """A started component of that role with one connection, and the plain socket at the other end of it."""
    with contextlib.ExitStack() as stack:
        if role == "server":
            server = stack.enter_context(serving(listener, backend, **options))
            yield Meeting(server, stack.enter_context(dial(server)))
            return
        door = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        door.settimeout(DEADLINE_S)
        if role == "agent":
            agent = stack.enter_context(wawo.TcpAgent(listener, backend=backend, **options))
            agent.start()
            agent.connect(*door.getsockname())
        else:
            client = stack.enter_context(wawo.TcpClient(listener, backend=backend, **options))
            client.start(*door.getsockname())
        peer, _ = door.accept()
        stack.enter_context(peer)
        peer.settimeout(DEADLINE_S)
        yield Meeting(client if role == "client" else agent, peer)


class Meeting(NamedTuple):
    component: wawo.Component
    peer: socket.socket

    def send(self, *pieces: bytes) -> None:
        """Send each piece so that it is a read of its own at the component, which has read all at the end."""
        self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            before = self.component.stats()["bytes_in"]
            self.peer.sendall(piece)
            self._until_read(before + len(piece))

    def _until_read(self, total: int) -> None:
        eventually(lambda: self.component.stats()["bytes_in"] >= total)


def dial(server: wawo.TcpServer, *, receive_buffer: int | None = None) -> socket.socket:
    """A plain socket connected to the server, with a deadline on everything."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if receive_buffer is not None:  # before connect, so that the window is small from the start
            # Wine takes 2 ms for each window: 2 MB/s with one of 4 KiB, where Linux has 200.
            least = 128 * 1024 if sys.platform == "win32" else 0
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, max(least, receive_buffer))
        sock.settimeout(DEADLINE_S)
        sock.connect(server.address)
    except BaseException:
        sock.close()
        raise
    return sock


def read(sock: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes, fewer only at the end of the stream."""
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(size - len(data), 1 << 20))
        if not piece:
            break
        data += piece
    return bytes(data)


def read_all(sock: socket.socket) -> bytes:
    """Everything up to the FIN."""
    data = bytearray()
    while piece := sock.recv(1 << 20):
        data += piece
    return bytes(data)


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(LINGER, 1, 0))
    sock.close()


@contextlib.contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """A socket object around a descriptor that stays somebody else's."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def gone(sock: socket.socket) -> None:
    """Wait for the end of the stream, by FIN or by RST, and close."""
    with contextlib.suppress(ConnectionResetError):
        read_all(sock)
    sock.close()


def pattern(size: int, salt: int = 0) -> bytes:
    """Bytes in which no place looks like another one near it."""
    return hashlib.shake_128(b"%d" % salt).digest(size)  # much faster than a loop


def eventually(true: Callable[[], object]) -> None:
    """Wait for something that no callback tells of."""
    deadline = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.001)


def free_port() -> int:
    """A port that is free on all addresses: one that is free on 127.0.0.1 alone may be taken on others. None of those
    that a system hands out by itself: a program beside this one would soon get it."""
    six = ipv6.is_here()
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket(socket.AF_INET6 if six else socket.AF_INET) as sock, contextlib.suppress(OSError):
            if six:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::" if six else "", port))
            return port


def open_files(path: os.PathLike[str]) -> int:
    """How many descriptors of this process are of that file."""
    if sys.platform == "win32":  # which does not let a file be renamed that somebody has open
        other = os.fspath(path) + ".renamed"
        try:
            os.rename(path, other)
            os.rename(other, path)
        except PermissionError:
            return 1
        return 0
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed meanwhile
            found += os.readlink(f"/proc/self/fd/{name}").startswith(os.fspath(path))
    return found


@contextlib.contextmanager
def bounded(child: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """Ends a program at the end of the block, and after so many seconds in any case."""
    timer = threading.Timer(seconds, child.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        child.kill()


def run_program(
    program: str, *arguments: str, seconds: float = max(DEADLINE_S, 25)
) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own; whatever it writes to stderr is in the result."""
    warnings = ["-W", "error", "-W", "ignore:unclosed <socket:ResourceWarning"]
    command = [sys.executable, "-X", "faulthandler", *warnings, "-c", program, *arguments]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=seconds, check=False)
