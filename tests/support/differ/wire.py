"""The other ends of connections: the barrier of a loop, and plain sockets as peers."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable

from proxy_headers import DESTINATION, DESTINATION6, HEADERS, V1, Address, addresses, v2

import wawo

from .reactions import attempt

DEADLINE_S = float(os.environ.get("WAWO_TEST_DEADLINE", "20"))
CROWD, CROWD_SENDS = 3, 20
WINDOW = 1 << 18
HOME = "127.0.2.1"  # where no other test dials: a port of 127.0.0.1 may be one that it has just given up
_RESET = struct.pack("ii", 1, 0)


def ask(sock: socket.socket, what: int) -> int:
    """Bytes that lie in a socket: received (FIONREAD), or not acknowledged by the other side yet (TIOCOUTQ)."""
    size = array.array("i", [0])
    if sock.fileno() >= 0:
        with contextlib.suppress(OSError):  # it was reset
            fcntl.ioctl(sock.fileno(), what, size)
    return size[0]


def crowd(conn: wawo.Connection, message: bytes) -> list[str]:
    """What threads are told that send at once; all the same, for whose comes first is free."""
    answers: list[object] = []

    def send() -> None:
        answers.extend(attempt(conn.send, message) for _ in range(CROWD_SENDS))

    threads = [threading.Thread(target=send) for _ in range(CROWD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    return sorted(map(str, answers))


def peer_socket() -> socket.socket:
    """One with a window that does not grow: what the system takes for a peer that does not read stays below LARGE."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    return sock


class Barrier:
    """A connection through the loop of the pool."""

    def __init__(self, pool: wawo.IoPool) -> None:
        self._back = threading.Semaphore(0)
        self._work: Callable[[], object] | None = None
        self._server = wawo.TcpServer(wawo.Listener(OnReceive=self._came), io=pool)
        self._server.start(HOME, 0)
        self._peer = socket.create_connection(self._server.address, DEADLINE_S)
        self.cross()

    def _came(self, conn: wawo.Connection, data: bytes) -> None:
        work, self._work = self._work, None
        if work is not None:
            work()
        self._back.release()

    def on_loop(self, work: Callable[[], object]) -> None:
        """Have it done on the loop's thread, and wait for that."""
        self._work = work
        self.cross()

    def cross(self) -> None:
        for _ in range(2):
            self._peer.send(b".")
            if not self._back.acquire(timeout=DEADLINE_S):
                raise TimeoutError("the loop does not turn any more")

    def close(self) -> None:
        self._peer.close()
        self._server.stop()


class Peer:
    """The other end of a connection: a plain socket that never blocks."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.name = ""
        self.reads = True
        self.out = bytearray()
        self.kept = bytearray()
        self.broken = False
        self.sending = False
        self.untidy = False  # it sent what no listener got, as far as one can know
        self.end = ""  # eof or reset, or what we did ourselves
        self.finishing = False

    def header(self, kind: str, port: int) -> bytes:
        """A PROXY header for it. Where that is a good one that tells of a source, it is known by that from now on."""
        host = int(self.sock.getsockname()[0].rpartition(".")[2])
        version, _, family = kind.partition(" ")
        if version in ("bad", "half"):
            return V1[:-1] + b"!" * (version == "bad")
        if family in ("unknown", "local"):
            return HEADERS[kind][0]
        source: Address = (f"2001:db8::{host:x}" if family else f"192.0.2.{host}", port)
        to = DESTINATION6 if family else DESTINATION
        self.name = "from {}:{}".format(*source)
        if version == "v2":
            return v2(0x21 if family else 0x11, addresses(source, to))
        return f"PROXY {'TCP6' if family else 'TCP4'} {source[0]} {to[0]} {port} {to[1]}\r\n".encode()

    def heard(self) -> int:
        """Bytes of the wire that it has read."""
        return len(self.kept)

    def pump(self) -> bool:
        """Send and receive what goes without waiting; whether anything did. After their FIN it still sends."""
        if self.end not in ("", "eof"):
            return False
        moved = self._send()
        if self.finishing and not self.out:
            self.finishing = False
            attempt(self.sock.shutdown, socket.SHUT_WR)
        return self._receive() or moved if self.reads and not self.end else moved

    def _send(self) -> bool:
        moved = False
        try:
            while self.out:
                self.sending = True
                del self.out[: self.sock.send(self.out[:65536])]
                moved = True
        except BlockingIOError:
            pass
        except OSError:  # a reset; what came before it can still be read
            self.out.clear()
            self.broken = True
        return moved

    def _receive(self) -> bool:
        moved = False
        try:
            while data := self.sock.recv(1 << 20):
                self.kept += data
                moved = True
            self.end = "reset" if self.broken else "eof"
        except BlockingIOError:
            return moved
        except OSError:
            self.end = "reset"
        return True

    def close(self, why: str, *, reset: bool = False) -> None:
        if self.sock.fileno() < 0:
            return
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()
        self.end = self.end or why
