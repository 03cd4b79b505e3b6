"""A peer that speaks TLS: an SSLObject between its bytes and a socket that never blocks."""

from __future__ import annotations

import contextlib
import socket
import ssl

from secure import client_context, server_context

from .reactions import attempt
from .scripts import Script
from .wire import Peer


def context_of(script: Script) -> ssl.SSLContext | None:
    """What the component of a script is made with."""
    if not script.get("tls"):
        return None
    return server_context() if script["role"] == "server" else client_context()


def peer_of(script: Script, sock: socket.socket) -> Peer:
    return SecurePeer(sock, server=script["role"] == "agent") if script.get("tls") else Peer(sock)


def why(error: BaseException | None) -> str:
    """An error as both engines tell it: that of ssl without the line of its source."""
    if isinstance(error, ssl.SSLEOFError):
        return "SSLEOFError"
    return f"{type(error).__name__} {error.reason}" if isinstance(error, ssl.SSLError) else repr(error)


class SecurePeer(Peer):
    """``out`` and ``kept`` are plaintext; what is sealed leaves by ``_sealed``."""

    def __init__(self, sock: socket.socket, *, server: bool) -> None:
        super().__init__(sock)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = server_context() if server else client_context()
        name = None if server else "localhost"
        self._object = context.wrap_bio(self._in, self._out, server_side=server, server_hostname=name)
        self._sealed = bytearray()
        self._stands = self._said = False
        self._heard = 0

    def heard(self) -> int:
        return self._heard

    def pump(self) -> bool:
        if self.end not in ("", "eof", "cut"):
            return False
        moved = self._shake() if not self._stands else False
        if self._stands and self.out:
            try:
                self._object.write(bytes(self.out))
            except OSError:  # after an end that was not announced it seals no more
                self.broken = True
            self.out.clear()
        if self.finishing and self._stands and not self._said:
            self._said = True
            with contextlib.suppress(OSError):
                self._object.unwrap()
        self._sealed += self._out.read()
        moved = self._flush() or moved
        unheard = self.end and not self._stands  # nobody is left to shake hands with
        if self.finishing and (self._said or unheard) and not self._sealed:
            self.finishing = False
            attempt(self.sock.shutdown, socket.SHUT_WR)
        return self._receive() or moved if self.reads and not self.end else moved

    def _shake(self) -> bool:
        try:
            self._object.do_handshake()
            self._stands = True
        except ssl.SSLWantReadError:
            pass
        except OSError:
            self.broken = True
        return False

    def _flush(self) -> bool:
        waiting, self.out = self.out, self._sealed
        moved = self._send()
        self._sealed, self.out = self.out, waiting
        return moved

    def _receive(self) -> bool:
        moved = False
        try:
            while data := self.sock.recv(1 << 20):
                self._heard += len(data)
                self._in.write(data)
                moved = True
                self._read()
            self._in.write_eof()
            self.end = "reset" if self.broken else "eof" if self._read() else "cut"
        except BlockingIOError:
            return moved
        except OSError:
            self.end = "reset"
        return True

    def _read(self) -> bool:
        """Whether its end was announced."""
        if not self._stands:
            self._shake()
            self._sealed += self._out.read()
        try:
            while self._stands and (data := self._object.read(1 << 16)):
                self.kept += data
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLZeroReturnError:
            return True
        except OSError:
            return False
        return self._stands
