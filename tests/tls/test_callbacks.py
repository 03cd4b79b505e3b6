"""What the callbacks of a context ask of the very connection in whose handshake or record they are called."""

from __future__ import annotations

import contextlib
import errno
import ssl
import sys
from typing import Any

import certificates
import pytest
from peers import DEADLINE_S, Log, dial, gone, read
from secure import Frozen, agency, door, finish, secured, server_context, shake

import wawo

ENDING = {"abort", "close", "disconnect", "stop", "send flush abort flush"}
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
    elif " " in what:
        for step in what.split():
            conn.send(b"lost") if step == "send" else getattr(conn, step)()
    else:
        getattr(conn, what)()


@pytest.mark.parametrize("what", sorted(ENDING | HARMLESS))
@pytest.mark.parametrize("when", ["by name", "in the handshake", "in a record", "in a flush of its own callback"])
def test_callbacks_of_a_context_may_call_anything(backend: str, when: str, what: str) -> None:
    done: list[bool] = []
    late = when in ("in a record", "in a flush of its own callback")

    def answer(conn: wawo.Connection, data: bytes) -> None:
        conn.send(data)
        if when == "in a flush of its own callback":
            conn.flush()
            assert done

    log = Log(OnReceive=answer)

    def called(*_: Any) -> None:
        if not done and log.count("OnReceive" if late else "OnAccept"):
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


def refused(log: Log, backend: str, context: Any) -> BaseException | None:
    """Why a server with that context ends a connection in its handshake."""
    with secured(log, backend, context) as server:
        sock = dial(server)
        with contextlib.suppress(OSError, AssertionError):  # the handshake may be done on this side
            Frozen().shake(sock)
        gone(sock)
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.ACCEPT, errno.EPROTO)]
    return log.conn().error


def test_what_a_message_callback_raises_ends_its_connection(backend: str) -> None:
    """With that very exception, as the ssl module has it."""

    class Boom(Exception):
        pass

    def boom(*_: Any) -> None:
        raise Boom

    context: Any = server_context()
    context._msg_callback = boom
    assert isinstance(refused(Log(), backend, context), Boom)


def test_what_an_sni_callback_raises_is_told_and_refuses(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: told.append(args.exc_type))
    context = server_context()
    context.sni_callback = lambda connection, name, given: 1 // 0
    error = refused(Log(), backend, context)
    assert isinstance(error, ssl.SSLError)
    assert error.reason == "CALLBACK_FAILED"
    assert told == [ZeroDivisionError]


class Unwilling(ssl.SSLContext):
    """Makes no session, unless it is told to."""

    makes = False

    def wrap_bio(self, *given: Any, **named: Any) -> Any:
        if not self.makes:
            raise ValueError("not today")
        return super().wrap_bio(*given, **named)


@pytest.mark.parametrize("closing", [False, True])
def test_a_session_that_cannot_be_made_keeps_nobody_waiting(backend: str, closing: bool) -> None:
    """Though something was sent."""
    log = Log(OnConnect=lambda conn: (conn.send(b"never"), conn.close() if closing else None))
    context = Unwilling(ssl.PROTOCOL_TLS_CLIENT)
    with door() as sock, agency(log, backend, context, close_timeout=2 * DEADLINE_S) as agent:
        conn = agent.connect(*sock.getsockname(), server_hostname="localhost")
        gone(sock.accept()[0])
        log.until_count("OnClose")
        assert agent.stats()["handshakes_failed"] == 1
    assert log.closes()[0] in [
        (wawo.Operation.CONNECT, errno.EPROTO),
        *[(wawo.Operation.CLOSE, errno.EPROTO)] * closing,
    ]
    assert isinstance(conn.error, ValueError)


def test_nor_whoever_came_through_a_proxy(backend: str) -> None:
    """With the first bytes of its handshake right behind the header."""
    log = Log()
    context = Unwilling(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.folder() / "server.pem")
    context.makes = True  # it is tried before a server is made with it
    with secured(log, backend, context, proxy_protocol=True) as server, dial(server) as peer:
        context.makes = False
        peer.sendall(b"PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n" + Frozen().step())
        gone(peer)
        log.until_count("OnClose")
        assert server.stats()["handshakes_failed"] == 1
    assert log.closes() == [(wawo.Operation.ACCEPT, errno.EPROTO)]
