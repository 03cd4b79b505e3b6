"""A connection with TLS as a plain socket looks, for a peer that reads and writes in two threads."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

from secure import trusting_context


class Sealed:
    """One thread may read and another write; an SSLSocket is not made for that."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = trusting_context().wrap_bio(self._in, self._out)
        self._lock = threading.Lock()  # the object and what goes in and out of it
        self._order = threading.Lock()  # records leave as they were sealed
        self._got = bytearray()
        self._ended = False
        self._shake()

    def _shake(self) -> None:
        while True:
            try:
                self._object.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._sock.sendall(self._out.read())
                self._feed(self._sock.recv(70_000))
        self._sock.sendall(self._out.read())

    def _feed(self, data: bytes) -> None:
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def sendall(self, data: bytes) -> None:
        with self._order:
            with self._lock:
                self._object.write(data)
                sealed = self._out.read()
            self._sock.sendall(sealed)

    def shutdown(self, how: int) -> None:
        """Say goodbye, then end this direction."""
        with self._order:
            with self._lock:
                with contextlib.suppress(ssl.SSLWantReadError):
                    self._object.unwrap()
                sealed = self._out.read()
            self._sock.sendall(sealed)
            self._sock.shutdown(how)

    def recv(self, most: int) -> bytes:
        """b"" after the other side's goodbye; an end without one raises ssl.SSLEOFError."""
        while not self._got and not self._ended:
            data = self._sock.recv(70_000)
            with self._lock:  # all that is whole is taken: a goodbye may not meet it
                self._feed(data)
                self._open()
        piece = bytes(self._got[:most])
        del self._got[:most]
        return piece

    def _open(self) -> None:
        try:
            while piece := self._object.read(70_000):
                self._got += piece
            self._ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._ended = True

    def close(self) -> None:
        self._sock.close()
