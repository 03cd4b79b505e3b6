"""STARTTLS: a connection that begins in the clear, in both roles."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path
from typing import Any

import certificates
import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, gone, meeting, pattern, read, serving
from punctual import punctual
from secure import agency, client_context, door, finish, pin, secured, server_context, welcome, wrap

import wawo

CLEAN = (wawo.Operation.CLOSE, 0)
INTRUDED = (wawo.Operation.RECEIVE, errno.EBADMSG)


def upgrade(conn: wawo.Connection, data: bytes) -> None:
    """A protocol with one word in the clear."""
    if conn.tls is None and bytes(data) == b"STARTTLS":
        conn.send(b"GO")
        conn.start_tls(server_context())
    else:
        conn.send(data)


def test_a_server(backend: str, version: str) -> None:
    log = Log(OnReceive=upgrade)
    with serving(log, backend) as server:
        sock = dial(server)
        sock.sendall(b"clear")
        assert read(sock, 5) == b"clear"
        sock.sendall(b"STARTTLS")
        assert read(sock, 2) == b"GO"
        with wrap(sock, pin(client_context(), version)) as peer:
            peer.sendall(b"hello")
            assert read(peer, 5) == b"hello"
            assert log.conn().tls.version == version
            finish(peer)
        log.until_count("OnClose")
    assert log.names()[:-1] == [
        "OnAccept",
        "OnHandShake",
        "OnReceive",
        "OnReceive",
        "OnHandShake",
        "OnReceive",
        "OnClose",
    ]
    assert log.closes() == [CLEAN]


def test_an_agent(backend: str, version: str) -> None:
    def upgrade(conn: wawo.Connection, data: bytes) -> None:
        if data == b"GO":
            conn.start_tls(client_context(), server_hostname="localhost")
            conn.send(b"hello")

    log = Log(OnConnect=lambda conn: conn.send(b"STARTTLS"), OnReceive=upgrade)
    with door() as listening, wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        conn = agent.connect(*listening.getsockname())
        sock, _ = listening.accept()
        sock.settimeout(DEADLINE_S)
        assert read(sock, 8) == b"STARTTLS"
        sock.sendall(b"GO")
        with pin(server_context(), version).wrap_socket(sock, server_side=True) as peer:
            assert read(peer, 5) == b"hello"
            assert conn.tls.version == version
            finish(peer)
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_a_session_that_cannot_be_made(backend: str) -> None:
    """The callback hears why, and the connection is what it was."""

    class Broken(ssl.SSLContext):
        def wrap_bio(self, *given: Any, **named: Any) -> Any:
            raise OSError(errno.ENODEV, "no card in the reader")

    context = Broken(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.folder() / "server.pem")
    context.sni_callback = lambda *given: None  # which chooses the certificate: nobody looks for one before

    def start(conn: wawo.Connection, data: bytes) -> None:
        conn.send(b"before")
        with pytest.raises(OSError, match="no card in the reader"):
            conn.start_tls(context)
        assert conn.tls is None
        conn.send(b"after")

    log = Log(OnReceive=start)
    with serving(log, backend) as server, dial(server) as peer:
        for _ in range(2):
            peer.sendall(b"x")
            assert read(peer, 11) == b"beforeafter"
    assert log.raised() == []


def test_ourselves_on_both_sides(backend: str) -> None:
    def follow(conn: wawo.Connection, data: bytes) -> None:
        if data == b"GO":
            conn.start_tls(client_context(), server_hostname="localhost")

    def shaken(conn: wawo.Connection) -> None:
        conn.send(b"STARTTLS" if conn.tls is None else pattern(100_000))

    log, seen = Log(OnHandShake=shaken, OnReceive=follow), Log(OnReceive=upgrade)
    client = wawo.TcpClient(log, backend=backend, framing=wawo.LengthPrefixed())
    with serving(seen, backend, framing=wawo.LengthPrefixed()) as server, client:
        client.start(*server.address)
        log.until_count("OnReceive", 2)
    assert log.messages() == [b"GO", pattern(100_000)]


def test_the_sides_may_be_swapped(backend: str) -> None:
    """Who accepted may be the client of TLS."""
    log = Log(OnAccept=lambda conn: conn.start_tls(client_context(), server_side=False, server_hostname="localhost"))
    with serving(log, backend) as server, dial(server) as sock:
        with server_context().wrap_socket(sock, server_side=True) as peer:
            log.until_count("OnHandShake")
            finish(peer)
        log.until_count("OnClose")
    assert log.names()[:3] == ["OnAccept", "OnHandShake", "OnClose"]


@pytest.mark.parametrize("callback", ["OnAccept", "OnHandShake"])
def test_at_once(backend: str, callback: str) -> None:
    """As HP-Socket's manual handshake: OnHandShake is not told of a handshake that is yet to come."""
    shaken: list[bool] = []

    def begin(conn: wawo.Connection) -> None:
        if conn.tls is None:
            conn.start_tls(server_context())

    log = Log(**{"OnReceive": echo, callback: begin})
    with serving(log, backend) as server, wrap(dial(server)) as peer:
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"
    assert log.count("OnHandShake") == (1 if callback == "OnAccept" else 2)
    assert not shaken


def test_what_was_sent_before_goes_in_the_clear_whatever_it_is(backend: str, file: Path) -> None:
    """More than the system takes, and a file: all of it before the first record."""
    before = pattern(4_000_000)

    def begin(conn: wawo.Connection, data: bytes) -> None:
        if conn.tls is None:
            conn.send(before)
            conn.send_file(file)
            conn.start_tls(server_context())
            conn.send(b"sealed")

    log = Log(OnReceive=begin)
    with serving(log, backend) as server:
        sock = dial(server, receive_buffer=8192)
        sock.sendall(b"go")
        assert read(sock, len(before)) == before
        assert read(sock, 300_000) == file.read_bytes()
        with wrap(sock) as peer:
            assert read(peer, 6) == b"sealed"
            eventually(lambda: log.conn().pending == 0)


@pytest.mark.parametrize(
    "framing", [wawo.Raw(), wawo.LengthPrefixed(1), wawo.Pull(), wawo.Delimited(b"\n"), wawo.Fixed(4)]
)
def test_bytes_behind_the_message_are_an_attackers(backend: str, framing: wawo.Framing) -> None:
    """CVE-2011-0411: what was slipped in behind STARTTLS must not be taken for what came through TLS."""
    wires = {
        wawo.Raw(): (b"go", b"slipped in"),
        wawo.LengthPrefixed(1): (b"\2go\1", b"!"),  # in the same read
        wawo.Pull(): (b"goin", b""),
        wawo.Delimited(b"\n"): (b"go\nin\n", b""),
        wawo.Fixed(4): (b"goinslip", b""),
    }

    def begin(conn: wawo.Connection, data: Any) -> None:
        if framing == wawo.Pull():
            conn.fetch(2)
        conn.start_tls(server_context())

    log = Log(OnReceive=begin)
    with meeting("server", log, backend, framing=framing) as met:
        first, second = wires[framing]  # type: ignore[index]
        met.peer.sendall(first)
        if framing == wawo.Raw():  # of a raw stream only TLS itself can tell
            log.until_count("OnReceive")
        met.peer.sendall(second)
        gone(met.peer)
        log.until_count("OnClose")
    assert log.count("OnReceive") == 1
    error = log.conn().error
    if framing == wawo.Raw():
        assert log.closes() == [(wawo.Operation.ACCEPT, errno.EPROTO)]
        assert isinstance(error, ssl.SSLError)
    else:
        assert log.closes() == [INTRUDED]
        assert isinstance(error, wawo.ProtocolError)
        assert "in the clear behind the message" in str(error)


def test_messages_of_the_same_batch_are_the_same(backend: str) -> None:
    """They were cut before the first one was seen."""
    log = Log(OnReceive=lambda conn, data: conn.start_tls(server_context()))
    with meeting("server", log, backend, framing=wawo.Fixed(2)) as met:
        met.peer.sendall(b"goinin")
        gone(met.peer)
        log.until_count("OnClose")
    assert log.messages() == [b"go"]
    assert log.closes() == [INTRUDED]


def test_a_protocol_of_ones_own(backend: str) -> None:
    class Lines(wawo.Protocol):
        def __init__(self) -> None:
            self.rest = b""

        def decode(self, data: bytes) -> Any:
            self.rest += data
            while b"\n" in self.rest:
                line, self.rest = self.rest.split(b"\n", 1)
                yield line

        def encode(self, message: bytes) -> bytes:
            return message + b"\n"

    log = Log(OnReceive=upgrade)
    with serving(log, backend, framing=Lines) as server:
        sock = dial(server)
        sock.sendall(b"STARTTLS\n")
        assert read(sock, 3) == b"GO\n"
        with wrap(sock) as peer:
            peer.sendall(b"hello\n")
            assert read(peer, 6) == b"hello\n"
        log.until_count("OnClose")  # another loop may tell of it later
        second = dial(server)
        second.sendall(b"STARTTLS\nslipped in\n")
        assert read(second, 100)[:3] == b"GO\n"
        gone(second)
        log.until_count("OnClose", 2)
    assert log.closes()[1] == INTRUDED


@punctual
def test_a_failing_handshake(backend: str) -> None:
    log = Log(OnReceive=upgrade)
    with serving(log, backend, handshake_timeout=0.2) as server, dial(server) as sock, dial(server) as slow:
        sock.sendall(b"STARTTLS")
        assert read(sock, 2) == b"GO"
        sock.sendall(b"this is no ClientHello")
        gone(sock)
        log.until_count("OnClose")
        slow.sendall(b"STARTTLS")
        gone(slow)
        log.until_count("OnClose", 2)
    accept = wawo.Operation.ACCEPT
    assert log.closes() == [(accept, errno.EPROTO), (accept, errno.ETIMEDOUT)]


def test_when_it_cannot_be_called(backend: str) -> None:
    failures: list[BaseException] = []

    def attempt(conn: wawo.Connection, *given: Any, **named: Any) -> None:
        try:
            conn.start_tls(*given, **named)
        except Exception as error:
            failures.append(error)

    def begin(conn: wawo.Connection, data: bytes) -> None:
        attempt(conn, client_context())
        attempt(conn, None)
        attempt(conn, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        attempt(conn, server_context(), server_hostname="localhost")
        attempt(conn, client_context(), server_side=False)
        attempt(conn, server_context(), server_side="yes")
        conn.shutdown_write()
        attempt(conn, server_context())

    log = Log(OnReceive=begin)
    with serving(log, backend) as server, dial(server) as sock:
        sock.sendall(b"go")
        log.until_count("OnReceive")
        with pytest.raises(wawo.StateError, match="only in a callback of this connection"):
            log.conn().start_tls(server_context())
        sock.shutdown(socket.SHUT_WR)
        log.until_count("OnClose")
    assert [type(error) for error in failures] == [
        ValueError,
        TypeError,
        ValueError,
        ValueError,
        ValueError,
        TypeError,
        wawo.StateError,
    ]
    assert "is a context for clients" in str(failures[0])
    assert "has no certificate" in str(failures[2])
    assert "server_hostname is missing" in str(failures[4])


def test_twice_is_once_too_often(backend: str) -> None:
    failures: list[str] = []

    def again(conn: wawo.Connection) -> None:
        try:
            conn.start_tls(server_context())
        except wawo.StateError as error:
            failures.append(str(error))

    with secured(Log(OnAccept=again, OnHandShake=again), backend) as server, wrap(dial(server)) as peer:
        finish(peer)
    assert failures == ["this connection has TLS already"] * 2


def test_of_another_connection(backend: str) -> None:
    """Its callbacks may be running elsewhere."""
    log = Log()

    def begin(conn: wawo.Connection, data: bytes) -> None:
        other = log.conn(0)
        with pytest.raises(wawo.StateError, match="only in a callback of this connection"):
            other.start_tls(server_context())
        conn.send(b"done")

    log.actions["OnReceive"] = begin
    with serving(log, backend) as server, dial(server):
        log.conn(0)  # first: two loops tell of two in any order
        with dial(server) as second:
            second.sendall(b"go")
            assert read(second, 4) == b"done"


def test_an_agent_with_tls_needs_no_start(backend: str) -> None:
    log = Log()
    with door() as listening, agency(log, backend) as agent:
        agent.connect(*listening.getsockname())
        with welcome(listening) as peer:
            finish(peer)
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]
