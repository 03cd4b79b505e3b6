"""How connections end: goodbyes, their absence, half-closes, and records that are not what they should be."""

from __future__ import annotations

import contextlib
import errno
import random
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from pathlib import Path

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, gone, pattern, read, read_all, reset
from secure import (
    Frozen,
    agency,
    client_context,
    door,
    pin,
    read_to_end,
    secured,
    server_context,
    shake,
    welcome,
)
from systems import NEEDS_UNIX

import wawo

CLEAN = (wawo.Operation.CLOSE, 0)
BROKEN = (wawo.Operation.RECEIVE, errno.EPROTO)


def test_close_flushes_and_says_goodbye(backend: str, version: str) -> None:
    log = Log(OnReceive=lambda conn, data: (conn.send(pattern(2_000_000)), conn.close()))
    with secured(log, backend, pin(server_context(), version)) as server, shake(server) as peer:
        peer.sendall(b"go")
        assert read_to_end(peer) == pattern(2_000_000)
        peer.close()
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_the_peer_says_goodbye_first_and_gets_its_answer(backend: str) -> None:
    """Everything before its close_notify is delivered, replies still go out, and ours follows."""
    log = Log(OnReceive=echo)
    data = pattern(300_000)
    with secured(log, backend) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        sock.sendall(peer.seal(data) + peer.goodbye())
        assert peer.read_all(read_all(sock)) == data
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_a_goodbye_of_one_that_has_yet_to_read(backend: str, version: str) -> None:
    """More than is written at once: all of it goes out, and our goodbye behind it."""
    data = pattern(5_000_000)
    log = Log(OnReceive=lambda conn, asked: conn.send(data))
    with secured(log, backend, pin(server_context(), version)) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        sock.sendall(peer.seal(b"go") + peer.goodbye())
        sock.shutdown(socket.SHUT_WR)
        assert peer.read_all(read_all(sock)) == data
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_a_fin_without_goodbye_is_a_truncation(backend: str, version: str) -> None:
    log = Log(OnReceive=echo)
    with secured(log, backend, pin(server_context(), version)) as server:
        with shake(server) as peer:
            peer.sendall(b"hello")
            assert read(peer, 5) == b"hello"
        log.until_count("OnClose")
    assert log.received() == b"hello"
    assert log.closes() == [BROKEN]
    error = log.conn().error
    assert isinstance(error, ssl.SSLEOFError)
    assert "EOF occurred in violation of protocol" in str(error)


def test_a_truncation_is_told_to_agents_too(backend: str) -> None:
    log = Log()
    with door() as sock, agency(log, backend) as agent:
        conn = agent.connect(*sock.getsockname())
        welcome(sock).close()
        log.until_count("OnClose")
    assert log.closes() == [BROKEN]
    assert isinstance(conn.error, ssl.SSLEOFError)


@NEEDS_UNIX
@pytest.mark.parametrize("shaken", [False, True])
@pytest.mark.parametrize("last", [b"", b"\xff" * 64], ids=["cut", "garbage"])
def test_a_reason_is_not_lost_to_an_answer_that_nobody_takes(
    backend: str, tmp_path: Path, shaken: bool, last: bytes
) -> None:
    """On a unix socket the first write to one that has closed fails, be it an alert."""
    held, go = threading.Event(), threading.Event()
    name = "OnReceive" if shaken else "OnAccept"
    log = Log(**{name: lambda *_: (held.set(), go.wait(DEADLINE_S))})
    with wawo.TcpServer(log, backend=backend, tls=server_context()) as server:
        server.start(f"unix:{tmp_path}/s")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(DEADLINE_S)
            sock.connect(f"{tmp_path}/s")
            if shaken:
                peer = Frozen(pin(client_context(), "TLSv1.2"))  # nothing comes behind its handshake
                peer.shake(sock)
                sock.sendall(peer.seal(b"hello"))
            assert held.wait(DEADLINE_S)
            sock.sendall(last)
        go.set()
        log.until_count("OnClose")
    operation = wawo.Operation.RECEIVE if shaken else wawo.Operation.ACCEPT
    assert log.closes() == [(operation, errno.EPROTO)]
    error = log.conn().error
    assert isinstance(error, ssl.SSLError)
    assert isinstance(error, ssl.SSLEOFError) == (not last)


def test_whoever_wants_to_may_ignore_truncations(backend: str) -> None:
    if not hasattr(ssl, "OP_IGNORE_UNEXPECTED_EOF"):
        pytest.skip("this OpenSSL has no such switch")
    context = server_context()
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    log = Log(OnReceive=echo)
    with secured(log, backend, context) as server:
        with shake(server) as peer:
            peer.sendall(b"hello")
            assert read(peer, 5) == b"hello"
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_shutdown_write_and_what_still_comes(backend: str, version: str) -> None:
    log = Log(OnHandShake=lambda conn: (conn.send(b"all"), conn.shutdown_write()))
    with secured(log, backend, pin(server_context(), version)) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        assert peer.read_all(read_all(sock)) == b"all"
        sock.sendall(peer.seal(b"still") + peer.seal(b"here"))
        log.until(lambda: log.received() == b"stillhere")
        assert log.count("OnClose") == 0
        sock.sendall(peer.goodbye())
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


@pytest.mark.parametrize("said", [b"", b"all"])
def test_shutdown_write_before_the_handshake_waits_for_it(backend: str, said: bytes) -> None:
    log = Log(OnAccept=lambda conn: (conn.send(said), conn.shutdown_write()))
    with secured(log, backend) as server, shake(server) as peer:
        assert read_to_end(peer) == said
        assert log.names()[:2] == ["OnAccept", "OnHandShake"]


def test_abort_says_nothing(backend: str) -> None:
    log = Log(OnHandShake=lambda conn: conn.abort())
    with secured(log, backend) as server, dial(server) as sock:
        peer = Frozen()
        with contextlib.suppress(AssertionError, ConnectionResetError):
            peer.shake(sock)
            peer.coming.write(read_all(sock))
            assert peer.object.read(100) != b""  # no goodbye
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_a_reset(backend: str) -> None:
    log = Log()
    with secured(log, backend) as server:
        peer = shake(server)
        log.until_count("OnHandShake")
        reset(peer)
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.CLOSE, errno.ECONNRESET)]


def test_a_peer_that_never_answers_our_goodbye(backend: str) -> None:
    log = Log(OnReceive=lambda conn, data: conn.close())
    with secured(log, backend, close_timeout=0.2) as server, shake(server) as peer:
        peer.sendall(b"go")
        log.until_count("OnClose")
        assert read_to_end(peer) == b""
    assert log.closes() == [CLEAN]


def test_the_end_comes_behind_what_a_pause_keeps(backend: str) -> None:
    log = Log(OnHandShake=lambda conn: conn.pause())
    with secured(log, backend) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        log.until_count("OnHandShake")
        sock.sendall(peer.seal(b"hello") + peer.goodbye())
        sock.shutdown(socket.SHUT_WR)
        assert log.names() == ["OnAccept", "OnHandShake"]
        eventually(lambda: log.conn().paused)
        log.conn().resume()
        log.until_count("OnClose")
    assert log.received() == b"hello"
    assert log.closes() == [CLEAN]


# ---- bad input behind the handshake ----


def record(kind: int, data: bytes, length: int | None = None) -> bytes:
    return struct.pack(">BHH", kind, 0x0303, len(data) if length is None else length) + data


@pytest.mark.parametrize(
    "bad",
    [
        record(23, b"x" * 64),  # was sealed by nobody
        record(23, b"", 0),
        record(23, b"y" * 100, 0x7FFF),  # longer than any record may be
        record(22, b"\1\0\0\0" + b"z" * 60),
        record(21, b"\2\x28"),  # an alert in the clear
        record(99, b"what is this"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 100,
    ],
    ids=["forged", "empty", "oversize", "handshake", "alert", "kind", "http", "zeros"],
)
def test_records_that_are_none(backend: str, version: str, bad: bytes) -> None:
    log = Log(OnReceive=echo)
    with secured(log, backend, pin(server_context(), version)) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        sock.sendall(peer.seal(b"good"))
        log.until_count("OnReceive")
        sock.sendall(bad)
        sock.shutdown(socket.SHUT_WR)  # some of these are the beginning of what might be a record
        gone(sock)
        log.until_count("OnClose")
    assert log.received() == b"good"
    assert log.closes() == [BROKEN]
    assert isinstance(log.conn().error, ssl.SSLError)


def test_what_came_before_a_bad_record_is_delivered(backend: str) -> None:
    """In the same read."""
    log = Log()
    with secured(log, backend) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        sock.sendall(peer.seal(b"one") + peer.seal(b"two") + record(23, b"x" * 64))
        gone(sock)
        log.until_count("OnClose")
    assert log.received() == b"onetwo"
    assert log.closes() == [BROKEN]
    error = log.conn().error
    assert isinstance(error, ssl.SSLError)
    assert error.reason in ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "RECORD_LAYER_FAILURE")  # OpenSSL 3.2: the latter


def test_the_peer_of_a_bad_record_hears_an_alert(backend: str) -> None:
    log = Log()
    with secured(log, backend) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        sock.sendall(record(23, b"x" * 64))
        peer.coming.write(read_all(sock))
        with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            peer.object.read(100)


def test_an_alert_of_the_peer(backend: str) -> None:
    """Sealed as it should be: ours made it give up."""
    log = Log(OnHandShake=lambda conn: conn.send(b"hello"))
    with secured(log, backend) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        log.until_count("OnHandShake")
        peer.coming.write(record(23, b"x" * 64))
        with contextlib.suppress(ssl.SSLError):
            while peer.object.read(100):
                pass
        sock.sendall(peer.going.read())
        gone(sock)
        log.until_count("OnClose")
    assert log.closes() == [BROKEN]
    error = log.conn().error
    assert isinstance(error, ssl.SSLError)
    assert "ALERT_BAD_RECORD_MAC" in (error.reason or "")


@pytest.mark.parametrize("cut", [1, 5, 6, 20])
def test_a_stream_that_ends_within_a_record(backend: str, cut: int) -> None:
    log = Log()
    with secured(log, backend) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        sock.sendall(peer.seal(b"whole") + peer.seal(b"cut off")[:cut])
        sock.shutdown(socket.SHUT_WR)
        log.until_count("OnClose")
    assert log.received() == b"whole"
    assert log.closes() == [BROKEN]
    assert isinstance(log.conn().error, ssl.SSLEOFError)


def test_records_byte_by_byte(backend: str) -> None:
    log = Log()
    with secured(log, backend) as server, dial(server) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = Frozen()
        peer.shake(sock)
        for byte in peer.seal(b"hello") + peer.goodbye():
            sock.sendall(bytes([byte]))
        log.until_count("OnClose")
    assert log.received() == b"hello"
    assert log.closes() == [CLEAN]


def test_what_comes_behind_a_goodbye_is_nobodys(backend: str) -> None:
    log = Log()
    with secured(log, backend) as server, dial(server) as sock:
        peer = Frozen()
        peer.shake(sock)
        sock.sendall(peer.seal(b"hello") + peer.goodbye() + b"and more" * 10)
        gone(sock)
        log.until_count("OnClose")
    assert log.received() == b"hello"
    assert log.closes() == [CLEAN]


@pytest.mark.parametrize("seed", range(8))
def test_one_byte_changed_anywhere(backend: str, seed: int) -> None:
    """Handshake or data: an end with an error, or none of that byte's doing, and never a wrong message."""
    rng = random.Random(seed)
    log = Log(OnReceive=echo)
    with secured(log, backend) as server:
        for number in range(1, 13):
            with dial(server) as sock:
                peer = Frozen()
                out = bytearray(peer.step())
                if rng.random() < 0.5:
                    out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
                    sock.sendall(out)
                    sock.shutdown(socket.SHUT_WR)
                    gone(sock)
                else:
                    sock.sendall(out)
                    out = bytearray(peer.step(sock.recv(1 << 16)) + peer.seal(b"hello"))
                    out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
                    sock.sendall(out)
                    sock.shutdown(socket.SHUT_WR)
                    gone(sock)
            log.until_count("OnClose", number)
    assert set(log.messages()) <= {b"hello"}
    assert all(error in (errno.EPROTO, errno.ECONNRESET) for _, error in log.closes())


def test_key_updates(backend: str) -> None:
    """TLS 1.3 changes keys on the way: OpenSSL's own client can ask for it."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl command")
    log = Log(OnReceive=echo)
    with secured(log, backend, pin(server_context(), "TLSv1.3")) as server:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{server.address[1]}", "-tls1_3"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            log.until_count("OnHandShake")
            assert child.stdin is not None
            for line in (b"one\n", b"K\n", b"two\n", b"k\n", b"three\n"):
                before = server.stats()["bytes_in"]
                child.stdin.write(line)
                child.stdin.flush()
                eventually(lambda before=before: server.stats()["bytes_in"] > before)  # type: ignore[misc]
            log.until(lambda: log.received() == b"one\ntwo\nthree\n")
            child.stdin.write(b"Q\n")
            child.stdin.close()
            log.until_count("OnClose")
        finally:
            child.kill()
            child.wait()
            assert child.stdout is not None
            assert child.stderr is not None
            child.stdout.close()
            child.stderr.close()
    assert log.closes() in ([CLEAN], [BROKEN], [(wawo.Operation.CLOSE, errno.ECONNRESET)])  # an echo after 0.5 s


def test_the_error_of_the_context_reaches_the_program(backend: str) -> None:
    """A client that knows no authority."""
    log = Log()
    with secured(Log(), backend) as server:
        stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with agency(log, backend, stranger) as agent:
            conn = agent.connect(*server.address)
            log.until_count("OnClose")
    assert isinstance(conn.error, ssl.SSLCertVerificationError)
