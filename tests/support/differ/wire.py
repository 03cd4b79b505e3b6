"""The other ends of connections: the barrier of a loop, and plain sockets as peers."""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct
import threading

import wawo

from .reactions import attempt

DEADLINE_S = 20.0
_RESET = struct.pack("ii", 1, 0)


def ask(sock: socket.socket, what: int) -> int:
    """Bytes that lie in a socket: received (FIONREAD), or not acknowledged by the other side yet (TIOCOUTQ)."""
    size = array.array("i", [0])
    if sock.fileno() >= 0:
        with contextlib.suppress(OSError):  # it was reset
            fcntl.ioctl(sock.fileno(), what, size)
    return size[0]


class Barrier:
    """A connection through the loop of the pool."""

    def __init__(self, pool: wawo.IoPool) -> None:
        self._back = threading.Semaphore(0)
        self._server = wawo.TcpServer(wawo.Listener(OnReceive=self._came), io=pool)
        self._server.start("127.0.0.1", 0)
        self._peer = socket.create_connection(self._server.address, DEADLINE_S)
        self.cross()

    def _came(self, conn: wawo.Connection, data: bytes) -> None:
        self._back.release()

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
