"""What the two sides agree on: names, certificates, protocols, sessions; and the callbacks of the context."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from pathlib import Path
from typing import Any

import certificates
import pytest
from peers import Log, dial, echo, eventually, gone, read, run_program
from secure import (
    Frozen,
    agency,
    call_openssl,
    client_context,
    door,
    finish,
    needs_openssl,
    pin,
    secured,
    server_context,
    shake,
    trusting_context,
    welcome,
)

import wawo


def test_the_snapshot(backend: str, version: str) -> None:
    log = Log(OnReceive=echo)
    with secured(log, backend, pin(server_context(), version)) as server, shake(server) as peer:
        log.until_count("OnHandShake")
        told = log.conn().tls
        assert isinstance(told, wawo.TlsInfo)
        cipher = peer.cipher()
        assert cipher is not None
        assert (told.version, told.cipher, told.cipher_bits) == (version, cipher[0], cipher[2])
        assert (told.alpn, told.session_reused, told.server_hostname) == (None, False, None)
        assert (told.peer_certificate, told.peer_certificate_der) == (None, None)
        for name in ("version", "peer_certificate"):
            with pytest.raises(AttributeError):
                setattr(told, name, "another")
    assert log.conn().tls is told  # after the end too


def test_a_snapshot_that_fails_is_the_end(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody hears of the handshake, nor of what came right behind it."""

    def fail(*_: object) -> None:
        raise ValueError("cannot be read")

    monkeypatch.setattr("wawo.tls._agreed", fail)
    log = Log()
    with secured(log, backend) as server, contextlib.ExitStack() as stack:
        try:
            peer = stack.enter_context(shake(server))
            peer.sendall(b"data")
            peer.recv(1)
        except OSError:
            pass
        log.until_count("OnClose")
        conn = log.conn()
        assert log.names() == ["OnAccept", "OnClose"]
        assert log.closes() == [(wawo.Operation.ACCEPT, errno.EPROTO)]
        assert (str(conn.error), conn.tls) == ("cannot be read", None)
        stats = server.stats()
        assert (stats["handshakes"], stats["handshakes_failed"]) == (1, 0)


def test_the_snapshot_of_a_session_that_fails_at_once(backend: str, version: str) -> None:
    """The end of the handshake, two messages and a record that is none, in one read: a session that failed would not
    tell any more what was agreed on, and the connection would end without a word of all that."""
    log = Log()
    context = pin(server_context(clients=True), version)
    with secured(log, backend, context) as server, dial(server) as sock:
        peer = Frozen(client_context("client"))
        last = peer.step()
        while not peer.done:
            sock.sendall(last)
            last = peer.step(sock.recv(1 << 16))
        sock.sendall(last + peer.seal(b"one") + peer.seal(b"two") + b"\x17\3\3\0\x40" + b"x" * 64)
        gone(sock)
        log.until_count("OnClose")
        told = log.conn().tls
    assert log.names()[:2] == ["OnAccept", "OnHandShake"]
    assert log.received() == b"onetwo"
    assert log.closes() == [(wawo.Operation.RECEIVE, errno.EPROTO)]
    assert isinstance(log.conn().error, ssl.SSLError)
    assert told is not None
    assert told.version == version
    assert (told.peer_certificate_der or b"").startswith(b"\x30\x82")


def test_there_is_none_before_the_handshake_and_without_tls(backend: str) -> None:
    seen: list[Any] = []
    log = Log(OnAccept=lambda conn: seen.append((conn.tls, conn.session)))
    with secured(log, backend) as server, shake(server):
        log.until_count("OnHandShake")
        assert seen == [(None, None)]
        assert log.conn().tls is not None
    plain = Log()
    with wawo.TcpServer(plain, backend=backend) as other:
        other.start("127.0.0.1", 0)
        with wawo.TcpClient(Log(), backend=backend) as client:
            client.start(*other.address)
            assert (plain.conn().tls, plain.conn().session) == (None, None)


def test_alpn(backend: str) -> None:
    context = server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    log, seen = Log(), Log()
    with secured(seen, backend, context) as server:
        mine = client_context()
        mine.set_alpn_protocols(["http/1.1", "h2"])
        with wawo.TcpAgent(log, backend=backend, tls=mine) as agent:
            agent.start()
            agent.connect(*server.address)
            log.until_count("OnHandShake")
            seen.until_count("OnHandShake")
    assert log.conn().tls.alpn == seen.conn().tls.alpn == "h2"


@pytest.mark.parametrize("name", ["one", "two"])
def test_sni_switches_contexts(backend: str, version: str, name: str) -> None:
    asked: list[tuple[str | None, bool]] = []
    contexts = {f"{one}.example": pin(server_context(one), version) for one in ("one", "two")}
    first = pin(server_context(), version)

    def choose(connection: ssl.SSLObject, wanted: str | None, context: ssl.SSLContext) -> None:
        asked.append((wanted, context is first))
        connection.context = contexts[wanted or ""]

    first.sni_callback = choose  # type: ignore[assignment]
    with secured(Log(OnReceive=echo), backend, first) as server:
        with shake(server, server_hostname=f"{name}.example") as peer:
            peer.sendall(b"hello")
            assert read(peer, 5) == b"hello"
        log = Log()
        with wawo.TcpAgent(log, backend=backend, tls=client_context()) as agent:
            agent.start()
            conn = agent.connect(*server.address, server_hostname=f"{name}.example")
            log.until_count("OnHandShake")
            assert (("DNS", f"{name}.example"),) == conn.tls.peer_certificate["subjectAltName"]
    assert asked == [(f"{name}.example", True)] * 2


def test_a_context_whose_certificate_is_chosen_by_name_needs_none_itself(backend: str) -> None:
    one = server_context("one")
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def choose(connection: ssl.SSLObject, wanted: str | None, context: ssl.SSLContext) -> None:
        connection.context = one

    empty.sni_callback = choose  # type: ignore[assignment]
    with secured(Log(OnReceive=echo), backend, empty) as server, shake(server, server_hostname="one.example") as peer:
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"


def test_the_sni_callback_can_refuse(backend: str) -> None:
    context = server_context()
    context.sni_callback = lambda connection, name, given: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    log = Log()
    with secured(log, backend, context) as server:
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            shake(server)
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.ACCEPT, errno.EPROTO)]


def test_both_sides_show_certificates(backend: str, version: str) -> None:
    log, seen = Log(), Log(OnReceive=echo)
    context = pin(server_context(clients=True), version)
    with secured(seen, backend, context) as server, agency(log, backend, client_context("client")) as agent:
        agent.connect(*server.address).send(b"hello")
        log.until_count("OnReceive")
    mine = seen.conn().tls.peer_certificate
    assert mine["subjectAltName"] == (("email", "client@example.org"),)
    with pytest.raises(TypeError):
        mine["subject"] = ()
    assert seen.conn().tls.peer_certificate_der.startswith(b"\x30\x82")
    assert ("DNS", "localhost") in log.conn().tls.peer_certificate["subjectAltName"]


def test_a_certificate_that_nobody_verified_is_der_alone(backend: str) -> None:
    log = Log()
    with secured(Log(), backend) as server, agency(log, backend, trusting_context()) as agent:
        agent.connect(*server.address)
        log.until_count("OnHandShake")
    assert dict(log.conn().tls.peer_certificate) == {}
    assert log.conn().tls.peer_certificate_der.startswith(b"\x30\x82")


def test_a_client_of_ours_resumes_a_session(backend: str, version: str) -> None:
    seen, log = Log(OnReceive=echo), Log(OnReceive=lambda conn, data: (conn.session, conn.close()))
    mine = client_context()
    with secured(seen, backend, pin(server_context(), version)) as server, agency(log, backend, mine) as agent:
        first = agent.connect(*server.address)
        first.send(b"hello")
        log.until_count("OnClose")
        assert not first.tls.session_reused
        assert first.session is not None
        second = agent.connect(*server.address, session=first.session)
        second.send(b"hello")
        log.until_count("OnClose", 2)
        assert second.tls.session_reused
        assert seen.conn(1).tls.session_reused
        with pytest.raises(TypeError, match=r"session must be None or an ssl\.SSLSession, not str"):
            agent.connect(*server.address, session="a session")  # type: ignore[arg-type]
        agent.tls = client_context()
        with pytest.raises(ValueError, match="different SSLContext"):
            agent.connect(*server.address, session=first.session)


def test_pythons_client_resumes_a_session_with_us(backend: str, version: str) -> None:
    log, mine = Log(OnReceive=echo), client_context()
    with secured(log, backend, pin(server_context(), version)) as server:
        with shake(server, mine) as peer:
            peer.sendall(b"hello")
            assert read(peer, 5) == b"hello"  # the tickets of TLS 1.3 came before it
            session = peer.session
            finish(peer)
        with shake(server, mine, session=session) as peer:
            assert peer.session_reused
            peer.sendall(b"hello")
            assert read(peer, 5) == b"hello"
    assert [conn.tls.session_reused for conn in (log.conn(0), log.conn(1))] == [False, True]


def test_the_name_is_checked(backend: str) -> None:
    log = Log()
    with secured(Log(), backend, server_context("one")) as server, agency(log, backend) as agent:
        conn = agent.connect(*server.address)
        log.until_count("OnClose")
    assert isinstance(conn.error, ssl.SSLCertVerificationError)
    assert "IP address mismatch" in conn.error.verify_message


def test_a_key_log(backend: str, version: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    context, mine = pin(server_context(), version), client_context()
    context.keylog_filename, mine.keylog_filename = str(ours), str(theirs)
    log = Log()
    with secured(Log(OnReceive=echo), backend, context) as server, agency(log, backend, mine) as agent:
        agent.connect(*server.address).send(b"hello")
        log.until_count("OnReceive")
    wanted = "CLIENT_RANDOM" if version == "TLSv1.2" else "SERVER_TRAFFIC_SECRET_0"
    found = [[line for line in path.read_text().splitlines() if wanted in line] for path in (ours, theirs)]
    assert len(found[1]) == 1
    assert found[1][0] in found[0]


def test_a_key_log_that_the_environment_asks_for(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ssl.create_default_context takes it from SSLKEYLOGFILE."""
    program = """
import ssl, sys, threading, wawo
backend, pem, authority = sys.argv[1:]
server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
server.load_cert_chain(pem)
client = ssl.create_default_context(cafile=authority)
done = threading.Event()
answer = wawo.Listener(OnReceive=lambda conn, data: conn.send(data))
with wawo.TcpServer(answer, tls=server, backend=backend) as s:
    s.start("127.0.0.1", 0)
    with wawo.TcpClient(wawo.Listener(OnReceive=lambda conn, data: done.set()), tls=client, backend=backend) as c:
        c.start(*s.address)
        c.send(b"hello")
        assert done.wait(15)
print("done")
"""
    folder = certificates.folder()
    path = tmp_path / "keys"
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    done = run_program(program, backend, str(folder / "server.pem"), str(folder / "authority.pem"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
    assert "SERVER_TRAFFIC_SECRET_0" in path.read_text()


def test_the_message_callback(backend: str, version: str) -> None:
    """It is private to ssl, and yet what people debug with."""
    context, mine = pin(server_context(), version), client_context()
    seen: list[tuple[str, object, str]] = []

    def note(side: str) -> Any:
        def callback(conn: object, direction: str, version: object, kind: object, message: object, data: bytes) -> None:
            seen.append((side, type(conn), direction))

        return callback

    log = Log()
    with secured(Log(OnReceive=echo), backend, context) as server:
        context._msg_callback, mine._msg_callback = note("server"), note("client")  # type: ignore[attr-defined]
        with wawo.TcpAgent(log, backend=backend, tls=mine) as agent:
            agent.start()
            agent.connect(*server.address).send(b"hello")
            log.until_count("OnReceive")
    assert set(seen) == {(side, ssl.SSLObject, way) for side in ("server", "client") for way in ("read", "write")}


@needs_openssl
@pytest.mark.parametrize("role", ["server", "client"])
def test_renegotiation_is_refused(backend: str, role: str) -> None:
    """Whoever asks is told so (RFC 5246 7.2.2), and what was agreed goes on; TLS 1.3 has none."""
    log = Log(OnReceive=echo)
    with contextlib.ExitStack() as stack:
        if role == "server":
            server = stack.enter_context(secured(log, backend))
            peer = Frozen(pin(client_context(), "TLSv1.2"))
            sock = stack.enter_context(dial(server))
        else:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            agent = stack.enter_context(wawo.TcpAgent(log, backend=backend, tls=client_context()))
            agent.start()
            agent.connect("localhost", listening.getsockname()[1])
            context = pin(server_context(), "TLSv1.2")
            context.options &= ~ssl.OP_NO_RENEGOTIATION
            peer = Frozen(context, server_side=True, server_hostname=None)
            sock = stack.enter_context(listening.accept()[0])
        peer.shake(sock)
        log.until_count("OnHandShake")
        assert call_openssl(peer, "SSL_renegotiate")() == 1
        sock.sendall(peer.step())
        peer.coming.write(sock.recv(1 << 16))
        with pytest.raises(ssl.SSLError, match="NO_RENEGOTIATION"):
            peer.object.read(1)
        assert log.count("OnHandShake") == 1
        assert log.count("OnClose") == 0


def test_another_certificate_for_new_connections(backend: str) -> None:
    def shown(peer: ssl.SSLSocket) -> Any:
        return dict(pair[0] for pair in peer.getpeercert()["subject"]).get("commonName")  # type: ignore[index,misc]

    with secured(Log(OnReceive=echo), backend) as server, shake(server) as old:
        assert shown(old) is None
        server.tls = server_context("renewed")
        with shake(server) as new:
            assert shown(new) == "renewed"
            for peer in (old, new):
                peer.sendall(b"hello")
                assert read(peer, 5) == b"hello"
        server.stop()
        server.start("127.0.0.1", 0)  # and after the next start
        with shake(server) as again:
            assert shown(again) == "renewed"


def test_an_agent_can_change_its_context_too(backend: str) -> None:
    seen, log = Log(), Log()
    with secured(seen, backend, server_context(clients=True)) as server, agency(log, backend) as agent:
        agent.tls = client_context("client")
        agent.connect(*server.address)
        seen.until_count("OnHandShake")
        assert seen.conn().tls.peer_certificate["subjectAltName"]


def test_old_versions_meet_where_both_allow_it(backend: str) -> None:
    log = Log()
    with door() as sock, agency(log, backend, pin(client_context(), "TLSv1.2")) as agent:
        agent.connect(*sock.getsockname())
        with welcome(sock, server_context()) as peer:
            assert peer.version() == "TLSv1.2"
            eventually(lambda: log.count("OnHandShake"))
