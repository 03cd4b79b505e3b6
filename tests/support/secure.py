"""TLS for tests: contexts with the certificates of the run, and Python's own ssl as the peer."""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from typing import Any

import certificates
import pytest
from peers import DEADLINE_S, dial, serving

import wawo

VERSIONS = ("TLSv1.2", "TLSv1.3")
_NUMBERS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}


def pin(context: ssl.SSLContext, version: str) -> ssl.SSLContext:
    """It speaks this version alone."""
    context.minimum_version = context.maximum_version = _NUMBERS[version]
    return context


def _strict(protocol: int) -> ssl.SSLContext:
    """Some Pythons (Debian's 3.11) ignore truncations unless told."""
    context = ssl.SSLContext(protocol)
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


def server_context(name: str = "server", *, clients: bool = False) -> ssl.SSLContext:
    """With the certificate of that name; ``clients``: who connects must have one too."""
    context = _strict(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.folder() / f"{name}.pem")
    if clients:
        context.load_verify_locations(certificates.folder() / "authority.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(name: str | None = None) -> ssl.SSLContext:
    """Trusts the authority of the tests; with a certificate of its own if that has a name."""
    context = _strict(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.folder() / "authority.pem")
    if name is not None:
        context.load_cert_chain(certificates.folder() / f"{name}.pem")
    return context


def trusting_context() -> ssl.SSLContext:
    """Takes every certificate."""
    context = _strict(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def wrap(sock: socket.socket, context: ssl.SSLContext | None = None, **given: Any) -> ssl.SSLSocket:
    """The client's side of a handshake over a connected socket, which is closed when it fails."""
    given.setdefault("server_hostname", "localhost")
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        made = (context or client_context()).wrap_socket(sock, **given)
        undo.pop_all()
    return made


def shake(server: wawo.TcpServer, context: ssl.SSLContext | None = None, **given: Any) -> ssl.SSLSocket:
    """A blocking TLS socket connected to the server, with a deadline on everything."""
    return wrap(dial(server), context, **given)


@contextlib.contextmanager
def secured(
    listener: wawo.Listener, backend: str, context: ssl.SSLContext | None = None, **options: Any
) -> Iterator[wawo.TcpServer]:
    """A started TLS server on 127.0.0.1."""
    with serving(listener, backend, tls=context or server_context(), **options) as server:
        yield server


@contextlib.contextmanager
def agency(
    listener: wawo.Listener, backend: str, context: ssl.SSLContext | None = None, **options: Any
) -> Iterator[wawo.TcpAgent]:
    """A started agent that speaks TLS."""
    with wawo.TcpAgent(listener, backend=backend, tls=context or client_context(), **options) as agent:
        agent.start()
        yield agent


@contextlib.contextmanager
def door() -> Iterator[socket.socket]:
    """A plain listening socket, whose connections a test wraps as it likes."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(DEADLINE_S)
        yield sock


def welcome(sock: socket.socket, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
    """Accept one and be its TLS server."""
    peer, _ = sock.accept()
    peer.settimeout(DEADLINE_S)
    with contextlib.ExitStack() as undo:
        undo.callback(peer.close)
        made = (context or server_context()).wrap_socket(peer, server_side=True)
        undo.pop_all()
    return made


def push(sock: ssl.SSLSocket, data: memoryview) -> memoryview:
    """Send what the system takes now, on a socket that does not block; what is left."""
    with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
        while data:
            data = data[sock.send(data[: 1 << 16]) :]
    return data


def exchange(sock: ssl.SSLSocket, data: memoryview, size: int) -> bytes:
    """Send all this and read so many bytes, both at once and in one thread: two may not use one SSLSocket."""
    sock.setblocking(False)
    got = bytearray()
    while data or len(got) < size:
        data, before = push(sock, data), len(got)
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := sock.recv(1 << 20):
                got += piece
            raise ConnectionError(f"it ended after {len(got)} bytes")
        if len(got) == before:
            ready = select.select([sock], [sock] if data else [], [], DEADLINE_S)
            assert ready[0] or ready[1], (len(data), len(got))
    sock.settimeout(DEADLINE_S)
    return bytes(got)


def read_to_end(sock: ssl.SSLSocket) -> bytes:
    """Everything up to the peer's close_notify; an end without one raises ssl.SSLEOFError."""
    sock.suppress_ragged_eofs = False
    data = bytearray()
    while piece := sock.recv(1 << 20):
        data += piece
    return bytes(data)


def finish(sock: ssl.SSLSocket) -> None:
    """Say goodbye, hear the other's, close."""
    sock.unwrap().close()


class Frozen:
    """A TLS client in memory (or a server: given as for wrap_bio), whose bytes are taken and given piece by piece."""

    def __init__(self, context: ssl.SSLContext | None = None, **given: Any) -> None:
        given.setdefault("server_hostname", "localhost")
        self.coming, self.going = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = (context or client_context()).wrap_bio(self.coming, self.going, **given)
        self.done = False

    def step(self, data: bytes = b"") -> bytes:
        """Give it bytes of the peer, go on with the handshake; what it answers."""
        if data:
            self.coming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.do_handshake()
            self.done = True
        return self.going.read()

    def shake(self, sock: socket.socket) -> None:
        """The whole handshake over a plain socket."""
        while True:
            try:
                self.object.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(self.going.read())
                data = sock.recv(1 << 16)
                assert data, "the peer ended in the handshake"
                self.coming.write(data)
        sock.sendall(self.going.read())

    def seal(self, data: bytes) -> bytes:
        self.object.write(data)
        return self.going.read()

    def read_all(self, data: bytes) -> bytes:
        """The plaintext of what came, up to a goodbye."""
        self.coming.write(data)
        got = bytearray()
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while piece := self.object.read(1 << 16):
                got += piece
        return bytes(got)

    def read_some(self, sock: socket.socket) -> bytes:
        """The plaintext of one record or more."""
        while True:
            data = sock.recv(1 << 16)
            assert data, "the peer ended"
            self.coming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError):
                return self.object.read(1 << 16)

    def goodbye(self) -> bytes:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.object.unwrap()
        return self.going.read()


needs_openssl = pytest.mark.skipif(
    sys.platform == "win32", reason="ctypes does not find what a library was linked with"
)
"""For a test that uses call_openssl()."""


def call_openssl(peer: Frozen, name: str, *types: Any) -> Callable[..., int]:
    """A function of OpenSSL that the ssl module does not offer, bound to this peer."""
    import _ssl

    try:
        function = getattr(ctypes.PyDLL(_ssl.__file__), name)
    except (AttributeError, OSError) as error:
        pytest.skip(f"OpenSSL cannot be asked for it: {error}")
    inner = peer.object._sslobj  # type: ignore[attr-defined]
    session = ctypes.c_void_p.from_address(id(inner) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p))
    function.argtypes = (ctypes.c_void_p, *types)
    return lambda *given: int(function(session, *given))
