"""Peers that connect, say who they are, check each byte of the answer and go, over and over, from one thread."""

from __future__ import annotations

import selectors
import socket
import struct
import time

from peers import LINGER

LINGER_0 = struct.pack(LINGER, 1, 0)


def identity(number: int) -> bytes:
    """200 to 1,700 bytes that belong to this number alone."""
    word = struct.pack(">Q", number * 0x9E3779B97F4A7C15 & (2**64 - 1))
    return struct.pack(">I", number) + word * (25 + number % 188)


class Reconnects:
    """Up to ``width`` connections at a time to ``address``, one after the other until ``total`` were checked.

    Each sends its identity in two parts with other connections' turns between them, and wants exactly that back, then
    the end of the stream. One in 32 ends by FIN, the others by RST, which spares the machine's ports.
    """

    def __init__(self, address: tuple[str, int], total: int, width: int = 64, seconds: float = 1e9) -> None:
        self.address = address
        self.total = total
        self.width = width
        self.until = time.monotonic() + seconds
        self.started = self.checked = 0
        self.wrong: list[str] = []
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        open_ones = 0
        while self.checked + len(self.wrong) < self.total:
            while open_ones < self.width and self.started < self.total and time.monotonic() < self.until:
                self._open()
                open_ones += 1
            if open_ones == 0:
                break
            events = self.selector.select(20)
            if not events:
                self.wrong.append(f"{open_ones} connections got no answer")
                break
            for key, _ in events:
                open_ones -= self._step(key)
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self.selector.close()

    def _open(self) -> None:
        sock = socket.create_connection(self.address, 20)
        sock.setblocking(False)
        number = self.started
        self.started += 1
        wanted = identity(number)
        half = number % len(wanted)
        sock.send(wanted[:half])
        self.selector.register(sock, selectors.EVENT_WRITE, [number, wanted, half, bytearray()])

    def _step(self, key: selectors.SelectorKey) -> int:
        sock: socket.socket = key.fileobj  # type: ignore[assignment]
        number, wanted, half, got = key.data
        if key.events == selectors.EVENT_WRITE:
            sock.send(wanted[half:])
            if number % 32 == 1:
                sock.shutdown(socket.SHUT_WR)
            self.selector.modify(sock, selectors.EVENT_READ, key.data)
            return 0
        try:
            piece = sock.recv(4096)
        except ConnectionResetError:
            self.wrong.append(f"{number} was reset")
            piece = b""
        got += piece
        whole = bytes(got) == wanted
        if piece and not (whole and number % 32 != 1):
            return 0
        if whole:
            self.checked += 1
        else:
            self.wrong.append(f"{number} wanted {wanted[:12]!r}, got {bytes(got[:12])!r}, {len(got)} bytes")
        if number % 32 != 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        self.selector.unregister(sock)
        sock.close()
        return 1
