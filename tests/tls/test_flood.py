"""A peer that asks for answers and reads none: what waits for it has a limit."""

from __future__ import annotations

import ctypes
import errno
import socket

from peers import Log, dial, eventually
from secure import Frozen, call_openssl, needs_openssl, pin, secured, server_context

import wawo

REQUESTED = 1  # SSL_KEY_UPDATE_REQUESTED


def key_updates(peer: Frozen, count: int) -> bytes:
    """So many messages that each want one back."""
    update = call_openssl(peer, "SSL_key_update", ctypes.c_int)
    made = bytearray()
    for _ in range(count):
        assert update(REQUESTED) == 1
        peer.object.do_handshake()
        made += peer.going.read()
    return bytes(made)


def small_buffer(server: wawo.TcpServer, fd: int) -> None:
    sock = socket.socket(fileno=fd)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    sock.detach()


@needs_openssl
def test_key_updates_that_nobody_wants_the_answers_of(backend: str) -> None:
    log = Log()
    log.OnPrepareListen = small_buffer  # type: ignore[method-assign]
    context = pin(server_context(), "TLSv1.3")
    with secured(log, backend, context, close_timeout=0.2) as server, dial(server, receive_buffer=4096) as sock:
        peer = Frozen()
        peer.shake(sock)
        flood = memoryview(key_updates(peer, 25_000))
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
