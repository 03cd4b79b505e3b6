"""Sending in the middle of a message of TLS's own (RFC 8446 section 4.6), such as a ticket, of which the rest is yet to
come: a session has to read that before it can write, whatever else keeps the connection from reading."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from peers import DEADLINE_S, Log, eventually, pattern, read_all, reset
from secure import (
    Frozen,
    agency,
    call_openssl,
    client_context,
    door,
    needs_openssl,
    pin,
    server_context,
    welcome,
)

import wawo

pytestmark = needs_openssl

CLEAN = (wawo.Operation.CLOSE, 0)
SET_MAX_SEND_FRAGMENT = 52  # SSL_CTRL_…, <openssl/ssl.h>


class Midway(NamedTuple):
    """A connection of an agent that has read the first record of a ticket."""

    conn: wawo.Connection
    peer: Frozen
    sock: socket.socket
    rest: bytes  # of what the peer said
    on_loop: Callable[[Callable[[], object]], None]

    def read_to_end(self) -> bytes:
        return self.peer.read_all(read_all(self.sock))


class Server(Frozen):
    """The peer, whose messages are cut into records of 512 bytes."""

    def __init__(self) -> None:
        super().__init__(pin(server_context(clients=True), "TLSv1.3"), server_side=True, server_hostname=None)
        call_openssl(self, "SSL_ctrl", ctypes.c_int, ctypes.c_long, ctypes.c_void_p)(SET_MAX_SEND_FRAGMENT, 512, None)

    def shake_half(self, sock: socket.socket) -> tuple[int, bytes]:
        """Up to the first record of its tickets: how many bytes it sent, and the other records."""
        sent = 0
        out = self.step(sock.recv(1 << 16))
        while not self.done:
            sock.sendall(out)
            sent += len(out)
            out = self.step(sock.recv(1 << 16))
        cut = 5 + int.from_bytes(out[3:5], "big")
        assert cut < len(out)
        sock.sendall(out[:cut])
        return sent + cut, out[cut:]


@contextlib.contextmanager
def midway(log: Log, backend: str, **options: Any) -> Iterator[Midway]:
    """Beside it there is a second connection, in whose callbacks something is done on the thread of their loop."""
    work: list[Callable[[], object]] = []
    log.actions["OnReceive"] = lambda conn, data: (work.pop()() if work else None, conn.send(data))
    with door() as listening, agency(log, backend, client_context("client"), **options) as agent:
        agent.connect(*listening.getsockname())
        with welcome(listening) as other:

            def on_loop(what: Callable[[], object]) -> None:
                work.append(what)
                other.sendall(b"!")
                assert other.recv(1) == b"!"

            on_loop(lambda: None)
            before = agent.stats()["bytes_in"]
            conn = agent.connect(*listening.getsockname())
            sock, _ = listening.accept()
            with sock:
                sock.settimeout(DEADLINE_S)
                peer = Server()
                sent, rest = peer.shake_half(sock)
                eventually(lambda: agent.stats()["bytes_in"] == before + sent)
                yield Midway(conn, peer, sock, rest, on_loop)


def end_of(log: Log, conn: wawo.Connection) -> Any:
    log.until(lambda: "OnClose" in log.names(conn))
    return next(call.values for call in log.calls if call.name == "OnClose" and call.conn == conn)


def test_what_is_sent_waits_for_the_rest(backend: str, file: Path) -> None:
    log = Log()
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.send(b"small"), it.conn.flush()))
        it.on_loop(lambda: (it.conn.send_file(file), it.conn.flush()))
        assert it.conn.pending > 0
        it.sock.sendall(it.rest[:-1])
        it.on_loop(it.conn.flush)
        it.sock.sendall(it.rest[-1:])
        it.conn.send(b"late")
        it.conn.close()
        assert it.read_to_end() == b"small" + file.read_bytes() + b"late"
        it.sock.sendall(it.peer.goodbye())
    assert end_of(log, it.conn) == CLEAN


def test_a_file_comes_first(backend: str, file: Path) -> None:
    log = Log()
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.send_file(file), it.conn.flush()))
        it.sock.sendall(it.rest)
        it.conn.close()
        assert it.read_to_end() == file.read_bytes()
        it.sock.sendall(it.peer.goodbye())
    assert end_of(log, it.conn) == CLEAN


@pytest.mark.parametrize("size", [5, 3_000_000])
def test_close_waits_for_the_rest(backend: str, size: int) -> None:
    log = Log()
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.send(pattern(size)), it.conn.close()))
        it.on_loop(lambda: None)
        it.sock.sendall(it.rest)
        assert it.read_to_end() == pattern(size)
        it.sock.sendall(it.peer.goodbye())
    assert end_of(log, it.conn) == CLEAN


def test_close_before_anything_was_tried(backend: str, file: Path) -> None:
    """Neither what waits nor the peer's end, right behind the rest, is known to the session then."""
    log = Log()
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.send(b"small"), it.conn.send_file(file), it.conn.close()))
        it.sock.sendall(it.rest)
        assert it.read_to_end() == b"small" + file.read_bytes()
        it.sock.sendall(it.peer.goodbye())
    assert end_of(log, it.conn) == CLEAN


def test_close_and_the_peer_has_gone(backend: str) -> None:
    log = Log()
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.send(b"lost"), it.conn.close(), it.sock.shutdown(socket.SHUT_WR)))
        assert end_of(log, it.conn) == (wawo.Operation.CLOSE, errno.EPROTO)


def test_it_fails_in_a_pause(backend: str) -> None:
    """Nothing that a resume would bring can come any more."""
    log = Log()
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.pause(), it.conn.send(b"lost"), it.conn.flush()))
        it.sock.sendall(b"this is no record")
        it.sock.shutdown(socket.SHUT_WR)
        assert end_of(log, it.conn) == (wawo.Operation.RECEIVE, errno.EPROTO)


def test_a_pause_does_not_keep_the_rest_back(backend: str) -> None:
    """Which waits for what was sent: for OnDrain, say."""
    log = Log(OnDrain=lambda conn: conn.close())
    with midway(log, backend, high_water=1000, low_water=0) as it:
        it.on_loop(lambda: (it.conn.pause(), it.conn.send(pattern(2_000_000)), it.conn.flush()))
        assert it.conn.pending == 2_000_000
        it.sock.sendall(it.rest + it.peer.seal(b"!"))
        assert it.read_to_end() == pattern(2_000_000)
        it.sock.sendall(it.peer.goodbye())
    assert end_of(log, it.conn) == CLEAN
    assert log.received(it.conn) == b""


def test_behind_the_rest_a_pause_is_one_again(backend: str) -> None:
    log = Log()
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.pause(), it.conn.send(b"one"), it.conn.flush()))
        it.sock.sendall(it.rest)
        assert it.peer.read_some(it.sock) == b"one"
        it.sock.sendall(it.peer.seal(b"!"))
        it.on_loop(lambda: None)
        it.on_loop(lambda: it.conn.send(b"two"))
        assert it.peer.read_some(it.sock) == b"two"
        assert log.received(it.conn) == b""
        it.conn.resume()
        assert it.peer.read_some(it.sock) == b"!"


@pytest.mark.parametrize("closed", [False, True])
def test_the_rest_never_comes(backend: str, closed: bool) -> None:
    """And the peer goes: what was accepted is lost, and that is told."""
    log = Log()
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.send(b"lost"), it.conn.flush()))
        if closed:
            it.on_loop(it.conn.close)
        it.sock.shutdown(socket.SHUT_WR)
        operation = wawo.Operation.CLOSE if closed else wawo.Operation.RECEIVE
        assert end_of(log, it.conn) == (operation, errno.EPROTO)


def test_close_waits_no_longer_than_its_limit(backend: str) -> None:
    log = Log()
    with midway(log, backend, close_timeout=0.3) as it:
        it.on_loop(lambda: (it.conn.send(b"lost"), it.conn.close()))
        assert end_of(log, it.conn) == (wawo.Operation.CLOSE, errno.ETIMEDOUT)


def test_abort_and_a_reset_wait_for_nothing(backend: str) -> None:
    log = Log()
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.send(b"lost"), it.conn.flush()))
        it.conn.abort()
        assert end_of(log, it.conn) == CLEAN
    with midway(log, backend) as it:
        it.on_loop(lambda: (it.conn.send(b"lost"), it.conn.close()))
        reset(it.sock)
        assert end_of(log, it.conn) == (wawo.Operation.CLOSE, errno.ECONNRESET)
