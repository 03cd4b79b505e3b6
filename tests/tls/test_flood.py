"""A peer that asks for answers and reads none: what waits for it has a limit."""

from __future__ import annotations

import ctypes
import errno
import socket
import sys

import pytest
from peers import Log, dial, eventually
from secure import Frozen, pin, secured, server_context

import wawo

REQUESTED = 1  # SSL_KEY_UPDATE_REQUESTED


def key_updates(peer: Frozen, count: int) -> bytes:
    """So many messages that each want one back."""
    import _ssl

    try:
        library = ctypes.PyDLL(_ssl.__file__)
        update = library.SSL_key_update
    except (AttributeError, OSError) as error:
        pytest.skip(f"OpenSSL cannot be asked for it: {error}")
    inner = peer.object._sslobj  # type: ignore[attr-defined]
    session = ctypes.c_void_p.from_address(id(inner) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p))
    update.argtypes = (ctypes.c_void_p, ctypes.c_int)
    made = bytearray()
    for _ in range(count):
        assert update(session, REQUESTED) == 1
        peer.object.do_handshake()
        made += peer.going.read()
    return bytes(made)


def small_buffer(server: wawo.TcpServer, fd: int) -> None:
    sock = socket.socket(fileno=fd)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sock.detach()


@pytest.mark.skipif(sys.platform == "win32", reason="ctypes does not find what a library was linked with")
def test_key_updates_that_nobody_wants_the_answers_of(backend: str) -> None:
    log = Log()
    log.OnPrepareListen = small_buffer  # type: ignore[method-assign]
    context = pin(server_context(), "TLSv1.3")
    with secured(log, backend, context, close_timeout=0.2) as server, dial(server, receive_buffer=4096) as sock:
        peer = Frozen()
        peer.shake(sock)
        flood = memoryview(key_updates(peer, 14_000))
        log.until_count("OnHandShake")
        sock.setblocking(False)
        left = [flood]

        def ended() -> bool:
            try:
                while left[0]:
                    left[0] = left[0][sock.send(left[0]) :]
            except (BlockingIOError, ConnectionError):
                pass
            return log.count("OnClose") > 0

        eventually(ended)
    assert log.closes() == [(wawo.Operation.RECEIVE, errno.ENOBUFS)]
    assert "answers" in str(log.conn().error)
