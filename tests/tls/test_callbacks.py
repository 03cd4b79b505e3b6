"""What the callbacks of a context ask of the very connection in whose handshake or record they are called."""

from __future__ import annotations

import contextlib
import errno
from typing import Any

import pytest
from peers import Log, echo, read
from secure import finish, secured, server_context, shake

import wawo

ENDING = {"abort", "close", "disconnect", "stop"}
HARMLESS = {"flush", "send", "broadcast", "pause and resume"}


def act(what: str, server: wawo.TcpServer, conn: wawo.Connection) -> None:
    if what == "stop":
        server.stop()
    elif what == "disconnect":
        server.disconnect_long(0)
    elif what == "send":
        assert conn.send(b"more")
    elif what == "broadcast":
        server.broadcast(b"more")
    elif what == "pause and resume":
        conn.pause()
        conn.resume()
    else:
        getattr(conn, what)()


@pytest.mark.parametrize("what", sorted(ENDING | HARMLESS))
@pytest.mark.parametrize("when", ["by name", "in the handshake", "in a record"])
def test_callbacks_of_a_context_may_call_anything(backend: str, when: str, what: str) -> None:
    log, done = Log(OnReceive=echo), []

    def called(*_: Any) -> None:
        if not done and log.count("OnReceive" if when == "in a record" else "OnAccept"):
            done.append(True)
            act(what, server, log.conn())

    context: Any = server_context()
    setattr(context, "sni_callback" if when == "by name" else "_msg_callback", called)
    with secured(log, backend, context) as server:
        more = b"more" if what in ("send", "broadcast") else b""
        try:
            peer = shake(server)
            peer.sendall(b"hello")
            assert sorted(read(peer, 5 + len(more))) == sorted(b"hello" + more) or what in ENDING
            finish(peer)
        except OSError:
            assert what in ENDING
            with contextlib.suppress(NameError):
                peer.close()
        log.until_count("OnClose")
    assert done
    assert log.closes()[0] in [(wawo.Operation.CLOSE, 0), (wawo.Operation.CLOSE, errno.ECONNRESET)]
