"""Handshakes that fail: whom the certificate is not from or for, and what is no TLS at all."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, gone, read, reset
from punctual import punctual
from secure import (
    Frozen,
    agency,
    client_context,
    door,
    pin,
    secured,
    server_context,
    shake,
    welcome,
)

import wawo

REFUSED_BY_SERVER = [(wawo.Operation.ACCEPT, errno.EPROTO)]
REFUSED_BY_AGENT = [(wawo.Operation.CONNECT, errno.EPROTO)]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("expired", "certificate has expired"),
        ("foreign", "unable to get local issuer certificate"),
        ("one", "IP address mismatch"),
    ],
)
def test_certificates_that_we_do_not_take(backend: str, version: str, name: str, why: str) -> None:
    log, seen = Log(), Log()
    with secured(seen, backend, pin(server_context(name), version)) as server, agency(log, backend) as agent:
        conn = agent.connect(*server.address)
        log.until_count("OnClose")
        seen.until_count("OnClose")
    assert log.names()[:2] == ["OnConnect", "OnClose"]
    assert log.closes() == REFUSED_BY_AGENT
    assert isinstance(conn.error, ssl.SSLCertVerificationError)
    assert conn.error.reason == "CERTIFICATE_VERIFY_FAILED"
    assert why in conn.error.verify_message
    assert seen.names()[:2] == ["OnAccept", "OnClose"]
    assert seen.closes() == REFUSED_BY_SERVER  # our alert came in the handshake
    error = seen.conn().error
    assert isinstance(error, ssl.SSLError)
    assert "ALERT" in (error.reason or "")


def test_a_client_says_so_when_it_is_started(backend: str) -> None:
    client = wawo.TcpClient(Log(), backend=backend, tls=client_context())
    with secured(Log(), backend, server_context("foreign")) as server, client:
        with pytest.raises(wawo.StartError, match="certificate verify failed") as failure:
            client.start(*server.address)
        assert isinstance(failure.value, ssl.SSLCertVerificationError)
        assert failure.value.errno == errno.EPROTO
        assert isinstance(failure.value.__cause__, ssl.SSLCertVerificationError)


def test_a_client_without_the_certificate_that_is_wanted(backend: str) -> None:
    log = Log()
    with secured(log, backend, pin(server_context(clients=True), "TLSv1.2")) as server:
        with pytest.raises(ssl.SSLError):
            shake(server)
        log.until_count("OnClose")
    assert log.closes() == REFUSED_BY_SERVER
    error = log.conn().error
    assert isinstance(error, ssl.SSLError)
    assert error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"


def test_an_agent_without_a_certificate_hears_it_with_its_first_read_in_tls_13(backend: str) -> None:
    """The client's handshake is done before the server has seen its certificate."""
    log, seen = Log(), Log()
    with secured(seen, backend, pin(server_context(clients=True), "TLSv1.3")) as server, agency(log, backend) as agent:
        conn = agent.connect(*server.address)
        log.until_count("OnClose")
        seen.until_count("OnClose")
    assert log.names()[:3] == ["OnConnect", "OnHandShake", "OnClose"]
    assert log.closes() == [(wawo.Operation.RECEIVE, errno.EPROTO)]
    assert isinstance(conn.error, ssl.SSLError)
    assert conn.error.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    assert seen.closes() == REFUSED_BY_SERVER


def test_no_version_in_common(backend: str) -> None:
    log = Log()
    with secured(log, backend, pin(server_context(), "TLSv1.3")) as server:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            shake(server, pin(client_context(), "TLSv1.2"))
        log.until_count("OnClose")
    assert log.closes() == REFUSED_BY_SERVER
    error = log.conn().error
    assert isinstance(error, ssl.SSLError)
    assert error.reason == "UNSUPPORTED_PROTOCOL"


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP_REQUEST"),
        (b"\x16\x03\x01\xff\xff" + b"\0" * 100, None),  # a record that is too long
        (b"\0" * 64, None),
        (b"\xff" * 64, None),
        (b"\x15\x03\x03\x00\x02\x02\x28", None),  # an alert comes first
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", None),  # an empty ClientHello
        (b"SSH-2.0-OpenSSH_9.6\r\n", None),
    ],
)
def test_what_is_no_client_hello(backend: str, garbage: bytes, reason: str | None) -> None:
    log = Log(OnAccept=lambda conn: conn.send(b"for nobody"))
    with secured(log, backend) as server:
        peer = dial(server)
        peer.sendall(garbage)
        gone(peer)
        log.until_count("OnClose")
    assert log.names()[:2] == ["OnAccept", "OnClose"]
    assert log.closes() == REFUSED_BY_SERVER
    error = log.conn().error
    assert isinstance(error, ssl.SSLError)
    if reason is not None:
        assert error.reason == reason


GOODBYE = b"\x15\x03\x03\x00\x02\x01\x00"  # close_notify in the clear


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ssl.SSLError),
        (b"220 mail\r\n", ssl.SSLError),
        (b"\0" * 64, ssl.SSLError),
        (GOODBYE, ssl.SSLZeroReturnError),
    ],
)
def test_what_is_no_server_hello(backend: str, answer: bytes, kind: type[ssl.SSLError]) -> None:
    log = Log()
    with door() as sock, agency(log, backend) as agent:
        conn = agent.connect(*sock.getsockname())
        peer, _ = sock.accept()
        peer.settimeout(DEADLINE_S)
        peer.sendall(answer)
        gone(peer)
        log.until_count("OnClose")
    assert log.closes() == REFUSED_BY_AGENT
    assert isinstance(conn.error, kind)


def test_a_goodbye_in_the_handshake(backend: str) -> None:
    """An end that was said, and yet no handshake: it is told as ssl does."""
    log = Log()
    with secured(log, backend, pin(server_context(), "TLSv1.2")) as server, dial(server) as peer:
        peer.sendall(Frozen().step())
        assert peer.recv(1 << 16)[:1] == b"\x16"
        peer.sendall(GOODBYE)
        gone(peer)
        log.until_count("OnClose")
    assert log.closes() == REFUSED_BY_SERVER
    assert isinstance(log.conn().error, ssl.SSLZeroReturnError)


def test_the_peer_of_a_failed_handshake_hears_an_alert(backend: str) -> None:
    with secured(Log(), backend) as server, dial(server) as peer:
        peer.sendall(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")
        assert peer.recv(100)[:1] == b"\x15"
        assert peer.recv(100) == b""


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_an_end_in_the_handshake(backend: str, sent: bytes) -> None:
    log = Log()
    with secured(log, backend) as server:
        with dial(server) as peer:
            log.until_count("OnAccept")
            peer.sendall(sent)
        log.until_count("OnClose")
    assert log.closes() == REFUSED_BY_SERVER
    assert isinstance(log.conn().error, ssl.SSLEOFError)


def test_an_end_in_the_handshake_of_an_agent(backend: str) -> None:
    log = Log()
    with door() as sock, agency(log, backend) as agent:
        conn = agent.connect(*sock.getsockname())
        peer, _ = sock.accept()
        assert peer.recv(1) == b"\x16"
        peer.shutdown(socket.SHUT_WR)
        log.until_count("OnClose")
        peer.close()
    assert log.closes() == REFUSED_BY_AGENT
    assert isinstance(conn.error, ssl.SSLEOFError)


def test_a_reset_in_the_handshake(backend: str) -> None:
    log = Log()
    with secured(log, backend) as server:
        peer = dial(server)
        log.until_count("OnAccept")
        peer.sendall(b"\x16\x03\x01")
        reset(peer)
        log.until_count("OnClose")
    assert [error for _, error in log.closes()] == [errno.ECONNRESET]
    assert isinstance(log.conn().error, ConnectionResetError)


def test_a_handshake_byte_by_byte(backend: str, version: str) -> None:
    log = Log(OnReceive=echo)
    with secured(log, backend, pin(server_context(), version)) as server, dial(server) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        frozen = Frozen()
        for byte in frozen.step():
            peer.sendall(bytes([byte]))
        while not frozen.done:
            for byte in frozen.step(peer.recv(1 << 16)):
                peer.sendall(bytes([byte]))
        log.until_count("OnHandShake")
        peer.sendall(frozen.seal(b"hello"))
        log.until(lambda: log.received() == b"hello")


@pytest.mark.parametrize("role", ["server", "agent", "client"])
def test_a_handshake_that_takes_too_long(backend: str, role: str) -> None:
    log = Log()
    with contextlib.ExitStack() as stack:
        if role == "server":
            server = stack.enter_context(secured(log, backend, handshake_timeout=0.2))
            peer = stack.enter_context(dial(server))
            peer.sendall(Frozen().step()[:50])
        else:
            sock = stack.enter_context(door())
            kind = wawo.TcpAgent if role == "agent" else wawo.TcpClient
            made: Any = stack.enter_context(
                kind(log, backend=backend, tls=client_context(), handshake_timeout=0.2)  # type: ignore[operator]
            )
            if role == "agent":
                made.start()
                made.connect(*sock.getsockname())
            else:
                with pytest.raises(TimeoutError, match="no TLS handshake within handshake_timeout"):
                    made.start(*sock.getsockname())
        log.until_count("OnClose")
        assert log.closes() == [
            (wawo.Operation.ACCEPT if role == "server" else wawo.Operation.CONNECT, errno.ETIMEDOUT)
        ]
        error = next(call.conn.error for call in log.calls if call.name == "OnClose")
        assert isinstance(error, TimeoutError)
        assert "no TLS handshake within handshake_timeout" in str(error)


@punctual
def test_the_limit_ends_with_the_handshake(backend: str) -> None:
    log = Log(OnReceive=echo)
    with secured(log, backend, handshake_timeout=0.3) as server, shake(server) as peer:
        log.until_count("OnHandShake")
        with dial(server) as stuck:
            log.until_count("OnClose")  # which took as long as the limit is
            gone(stuck)
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"
    assert log.closes()[0] == (wawo.Operation.ACCEPT, errno.ETIMEDOUT)


def test_ending_in_the_handshake(backend: str) -> None:
    """close, abort, stop and a callback that refuses, before anything was agreed on."""
    ways = {
        "close": (lambda conn: conn.close(), (wawo.Operation.CLOSE, 0)),
        "abort": (lambda conn: conn.abort(), (wawo.Operation.CLOSE, 0)),
        "refuse": (lambda conn: wawo.HandleResult.ERROR, (wawo.Operation.ACCEPT, errno.ECANCELED)),
    }
    for action, wanted in ways.values():
        log = Log(OnAccept=action)
        with secured(log, backend) as server:
            with contextlib.suppress(ConnectionResetError):  # abort may be faster than connect
                gone(dial(server))
            log.until_count("OnClose")
        assert log.closes() == [wanted]
        assert log.count("OnHandShake") == 0
    log = Log()
    with secured(log, backend) as server, dial(server):
        log.until_count("OnAccept")
        server.stop()
        assert log.closes() == [(wawo.Operation.CLOSE, 0)]


def test_a_refusal_in_on_hand_shake(backend: str) -> None:
    log = Log(OnHandShake=lambda conn: wawo.HandleResult.ERROR)
    with secured(log, backend) as server, shake(server) as peer:
        assert read(peer, 1) == b""
        peer.close()
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.ACCEPT, errno.ECANCELED)]


@pytest.mark.threads
def test_a_storm_of_handshakes_beside_an_established_echo(backend: str) -> None:
    """Six at a time, and each answer of the one that stood before comes while they go on."""
    log = Log(OnReceive=echo)
    with secured(log, backend, server_context("rsa")) as server, shake(server) as old:
        contexts = client_context()
        failures: list[BaseException] = []
        shaken: list[int] = []
        enough = threading.Event()

        def storm() -> None:
            try:
                while not enough.is_set():
                    with shake(server, contexts) as peer:
                        peer.sendall(b"x")
                        assert read(peer, 1) == b"x"
                    shaken.append(1)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=storm) for _ in range(6)]
        for thread in threads:
            thread.start()
        rounds = 0
        try:
            while (rounds <= 10 or len(shaken) < 60) and not failures:
                old.sendall(b"ping")
                assert read(old, 4) == b"ping"
                rounds += 1
        finally:
            enough.set()
            for thread in threads:
                thread.join(DEADLINE_S)
        assert not failures
        eventually(lambda: server.stats()["handshakes"] == 1 + len(shaken))


def test_many_hellos_in_one_turn_all_get_their_step(backend: str) -> None:
    """More than a loop takes in one turn, all there before the loop looks."""
    first = threading.Event()
    go = threading.Event()

    def hold(conn: wawo.Connection) -> None:
        if not first.is_set():
            first.set()
            go.wait(DEADLINE_S)

    log = Log(OnAccept=hold, OnReceive=echo)
    with secured(log, backend) as server:
        peers = [dial(server)]
        assert first.wait(DEADLINE_S)
        peers += [dial(server) for _ in range(39)]
        frozen = [Frozen() for _ in peers]
        for peer, one in zip(peers, frozen, strict=True):
            peer.sendall(one.step())
        go.set()
        for peer, one in zip(peers, frozen, strict=True):
            one.shake(peer)
        log.until_count("OnHandShake", 40)
        for peer in peers:
            peer.close()
        log.until_count("OnClose", 40)


def test_a_refused_connect_is_told_as_without_tls(backend: str) -> None:
    log = Log()
    with socket.socket() as nobody, agency(log, backend) as agent:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        agent.connect(*nobody.getsockname())
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.CONNECT, errno.ECONNREFUSED)]


def test_nothing_is_left_of_an_agent_that_is_refused_by_name(backend: str) -> None:
    log = Log()
    with door() as sock, agency(log, backend) as agent:
        agent.connect(*sock.getsockname(), server_hostname="another.name")
        with contextlib.suppress(ssl.SSLError):
            welcome(sock).close()
        log.until_count("OnClose")
    assert log.closes() == REFUSED_BY_AGENT
