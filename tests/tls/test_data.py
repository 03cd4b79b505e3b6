"""What the connection carries is the same through TLS: views, files, broadcasts, pauses and limits."""

from __future__ import annotations

import contextlib
import errno
import ssl
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, gone, pattern, read, read_all
from punctual import punctual
from secure import (
    agency,
    client_context,
    door,
    exchange,
    finish,
    pin,
    push,
    read_to_end,
    secured,
    server_context,
    shake,
    welcome,
    wrap,
)

import wawo

CLEAN = (wawo.Operation.CLOSE, 0)


def test_views(backend: str) -> None:
    kept: list[memoryview] = []
    log = Log(OnReceive=lambda conn, data: kept.append(data))
    data = pattern(200_000)
    with secured(log, backend, view=True) as server, shake(server) as peer:
        peer.sendall(data)
        eventually(lambda: sum(map(len, kept)) == len(data))
        finish(peer)
        log.until_count("OnClose")
    assert all(isinstance(view, memoryview) and view.readonly for view in kept)
    assert b"".join(kept) == data
    kept.clear()
    log.calls.clear()


@pytest.mark.parametrize("own", [False, True])
def test_broadcast_in_a_callback(backend: str, own: bool) -> None:
    """Much of it, to who is behind: what was queued for them is sealed in the middle of the call."""

    class Own(ssl.SSLObject):
        pass

    def answer(conn: wawo.Connection, data: bytes) -> None:
        conn.send(bytes(2_000_000))
        server.broadcast(bytes(100_000))

    context = server_context()
    if own:
        context.sslobject_class = Own
    log = Log(OnReceive=answer)
    with secured(log, backend, context) as server, shake(server) as peer:
        peer.sendall(b"?")
        assert read(peer, 2_100_000) == bytes(2_100_000)
        finish(peer)


def test_sent_and_closed_before_the_session_is_made(backend: str) -> None:
    """By another thread, between the moment it is connected and the turn of the loop at the GIL."""
    ready = threading.Event()
    interval = sys.getswitchinterval()
    log = Log()
    with door() as listening, agency(log, backend) as agent:
        conn = agent.connect(*listening.getsockname())
        sys.setswitchinterval(0.1)
        try:
            while not conn.connected:
                ready.is_set()
            assert conn.send(b"accepted")
            conn.close()
        finally:
            sys.setswitchinterval(interval)
        with welcome(listening) as peer:
            assert read(peer, 8) == b"accepted"
            finish(peer)
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


@pytest.mark.parametrize("own", [False, True])
def test_flush_in_a_callback(backend: str, own: bool) -> None:
    """Also where the session is somebody's own object, whose methods are called in the middle of the callback."""
    sealed: list[bytes] = []

    class Own(ssl.SSLObject):
        def write(self, data: Any) -> int:
            sealed.append(bytes(data))
            return super().write(data)

    def answer(conn: wawo.Connection, data: bytes) -> None:
        conn.send(data)
        conn.flush()
        assert sealed == ([data] if own else [])

    log = Log(OnReceive=answer)
    context = server_context()
    context.sslobject_class = Own if own else ssl.SSLObject
    with secured(log, backend, context) as server, shake(server) as peer:
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"
        finish(peer)
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_send_packets(backend: str) -> None:
    pieces = [b"a", b"", pattern(20_000), bytearray(b"bc")]
    log = Log(OnHandShake=lambda conn: conn.send_packets(pieces))
    with secured(log, backend) as server, shake(server) as peer:
        assert read(peer, 20_003) == b"".join(pieces)


def test_send_file(backend: str, file: Path) -> None:
    log = Log(OnHandShake=lambda conn: conn.send_file(file, 10, 200_000, head=b"<", tail=b">"))
    with secured(log, backend) as server, shake(server) as peer:
        assert read(peer, 200_002) == b"<" + pattern(300_000)[10:200_010] + b">"


def test_files_between_messages(backend: str, file: Path) -> None:
    def answer(conn: wawo.Connection) -> None:
        for number in range(5):
            conn.send(b"%d" % number)
            conn.send_file(file)

    log = Log(OnHandShake=answer)
    whole = pattern(300_000)
    with secured(log, backend) as server, shake(server) as peer:
        for number in range(5):
            assert read(peer, 300_001) == b"%d" % number + whole


def test_a_file_that_becomes_shorter(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "shrinking"
    path.write_bytes(pattern(8_000_000))
    log = Log(OnHandShake=lambda conn: conn.send_file(path))
    with secured(log, backend) as server:
        peer = wrap(dial(server, receive_buffer=8192))
        read(peer, 1000)
        with path.open("r+b") as shorter:
            shorter.truncate(4_000_000)
        with contextlib.suppress(OSError):
            while peer.recv(1 << 20):
                pass
        peer.close()
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.SEND, errno.EIO)]


@pytest.mark.threads
def test_broadcast(backend: str) -> None:
    """From a callback and from another thread, each in its order."""
    log = Log()
    with secured(log, backend, framing=wawo.LengthPrefixed(1), io_threads=2) as server:
        peers = [shake(server) for _ in range(10)]
        log.until_count("OnHandShake", 10)
        log.actions["OnReceive"] = lambda conn, data: [server.broadcast(b"in %d" % number) for number in range(5)]
        for number in range(5):
            assert server.broadcast(b"on %d" % number) == 10
        wanted = b"".join(b"\4on %d" % number for number in range(5))
        for peer in peers:
            assert read(peer, len(wanted)) == wanted
        peers[3].sendall(b"\1x")
        wanted = wanted.replace(b"on", b"in")
        for peer in peers:
            assert read(peer, len(wanted)) == wanted
            peer.close()
        log.until_count("OnClose", 10)


def test_a_broadcast_before_the_handshake_waits_for_it(backend: str) -> None:
    log = Log()
    with secured(log, backend) as server:
        sock = dial(server)
        log.until_count("OnAccept")
        assert server.broadcast(b"hello") == 1
        with wrap(sock) as peer:
            assert read(peer, 5) == b"hello"


@pytest.mark.threads
def test_sending_from_many_threads(backend: str) -> None:
    log = Log()
    with secured(log, backend, framing=wawo.LengthPrefixed(1)) as server, shake(server) as peer:
        conn = log.conn()

        def send(mark: int) -> None:
            for number in range(200):
                assert conn.send(b"%c%03d" % (65 + mark, number))

        threads = [threading.Thread(target=send, args=(mark,)) for mark in range(4)]
        for thread in threads:
            thread.start()
        wire = read(peer, 5 * 800)
        for thread in threads:
            thread.join(DEADLINE_S)
    messages = [wire[at + 1 : at + 5] for at in range(0, len(wire), 5)]
    for mark in range(4):
        mine = [message for message in messages if message[:1] == b"%c" % (65 + mark)]
        assert mine == [b"%c%03d" % (65 + mark, number) for number in range(200)]


# ---- back-pressure ----


def test_a_slow_reader_pauses_its_writer(backend: str) -> None:
    """The five-line echo survives one that sends and does not read."""
    log = Log(OnReceive=echo)
    with secured(log, backend, high_water=200_000, low_water=50_000) as server:
        peer = wrap(dial(server, receive_buffer=8192))
        peer.setblocking(False)
        data = pattern(20_000_000)
        left = [memoryview(data)]

        def paused() -> bool:
            left.append(push(peer, left.pop()))
            return bool(server.stats()["receive_pauses"] > 0)

        eventually(paused)
        assert log.conn().pending <= 2_000_000
        assert exchange(peer, left.pop(), len(data)) == data
        peer.close()


def test_pending_and_drain(backend: str) -> None:
    log = Log(OnHandShake=lambda conn: conn.send(pattern(10_000_000)))
    with secured(log, backend, high_water=1_000_000) as server:
        peer = wrap(dial(server, receive_buffer=8192))
        eventually(lambda: 1_000_000 < log.conn().pending <= 10_000_000)
        assert read(peer, 10_000_000) == pattern(10_000_000)
        log.until_count("OnDrain")
        eventually(lambda: log.conn().pending == 0)
        peer.close()


def test_on_send_counts_plaintext(backend: str) -> None:
    sent: list[int] = []

    class Sender(wawo.Listener):
        def OnHandShake(self, conn: wawo.Connection) -> None:
            conn.send(pattern(3_000_000))

        def OnSend(self, conn: wawo.Connection, length: int) -> None:
            sent.append(length)

    with secured(Sender(), backend) as server, shake(server) as peer:
        assert read(peer, 3_000_000) == pattern(3_000_000)
        eventually(lambda: sum(sent) == 3_000_000)
        assert server.stats()["bytes_out"] > 3_000_000


def test_the_limit_of_what_waits(backend: str) -> None:
    """It holds in the handshake too, when nothing can go out."""
    failures: list[BaseException] = []

    def flood(conn: wawo.Connection) -> None:
        try:
            while True:
                conn.send(bytes(100_000))
        except wawo.SendBufferFull as error:
            failures.append(error)
            conn.abort()

    log = Log(OnAccept=flood)
    with secured(log, backend, high_water=500_000, max_pending=1_000_000) as server:
        with contextlib.suppress(ConnectionResetError):  # which may be faster than connect
            gone(dial(server))
        log.until_count("OnClose")
    assert len(failures) == 1


def test_output_above_high_water_does_not_stop_the_handshake(backend: str) -> None:
    """Receiving pauses for it, and what it waits for is received."""
    data = pattern(3_000_000)
    log = Log(OnAccept=lambda conn: conn.send(data), OnReceive=echo)
    with secured(log, backend, high_water=100_000, low_water=1000) as server, shake(server) as peer:
        assert read(peer, len(data)) == data
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"


@pytest.mark.parametrize("when", ["OnAccept", "OnHandShake"])
def test_pause_and_resume(backend: str, when: str) -> None:
    """A pause holds messages, and never the handshake."""
    log = Log(**{when: lambda conn: conn.pause()})
    with secured(log, backend) as server, shake(server) as peer:
        log.until_count("OnHandShake")
        peer.sendall(pattern(100_000))
        conn = log.conn()
        eventually(lambda: conn.paused)
        conn.send(b"still sends")
        assert read(peer, 11) == b"still sends"
        assert log.count("OnReceive") == 0
        conn.resume()
        log.until(lambda: log.received() == pattern(100_000))


def test_a_pause_in_the_middle_of_a_read(backend: str) -> None:
    def one(conn: wawo.Connection, data: bytes) -> None:
        conn.pause()

    log = Log(OnReceive=one)
    with secured(log, backend, framing=wawo.Fixed(1000)) as server, shake(server) as peer:
        peer.sendall(pattern(20_000))
        finish_later = threading.Thread(target=finish, args=(peer,))
        finish_later.start()
        for number in range(1, 21):
            log.until_count("OnReceive", number)
            eventually(lambda: log.conn().paused)
            assert log.count("OnReceive") == number
            assert log.count("OnClose") == 0
            log.conn().resume()
        log.until_count("OnClose")
        finish_later.join(DEADLINE_S)
    assert log.received() == pattern(20_000)
    assert log.closes() == [CLEAN]


def test_the_rate(backend: str) -> None:
    log = Log()
    with secured(log, backend, receive_rate=400_000) as server, shake(server) as peer:
        log.until_count("OnHandShake")
        began = time.monotonic()
        sender = threading.Thread(target=peer.sendall, args=(bytes(200_000),))
        sender.start()
        log.until(lambda: len(log.received()) == 200_000)
        assert time.monotonic() - began > 0.3
        sender.join(DEADLINE_S)
        assert server.stats()["rate_pauses"] > 0


@punctual
def test_idle(backend: str) -> None:
    log = Log()
    with secured(log, backend, idle_timeout=0.2) as server, shake(server) as peer:
        assert read_to_end(peer) == b""  # it says goodbye
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.CLOSE, errno.ETIMEDOUT)]


@pytest.mark.threads
def test_a_pool_of_threads(backend: str, version: str) -> None:
    seen = Log()
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(wawo.IoPool(2, backend=backend))
        mine = pin(server_context(), version)
        server = stack.enter_context(wawo.TcpServer(Log(OnReceive=echo), io=pool, tls=mine))
        server.start("127.0.0.1", 0)
        agent = stack.enter_context(wawo.TcpAgent(seen, io=pool, tls=client_context()))
        agent.start()
        conns = [agent.connect(*server.address, extra=number) for number in range(20)]
        for conn in conns:
            conn.send(pattern(50_000, conn.extra))
        seen.until(lambda: all(len(seen.received(conn)) == 50_000 for conn in conns))
        assert all(seen.received(conn) == pattern(50_000, conn.extra) for conn in conns)


def test_close_behind_output_waits_for_the_handshake(backend: str, version: str) -> None:
    log = Log(OnAccept=lambda conn: (conn.send(b"goodbye"), conn.close()))
    with secured(log, backend, pin(server_context(), version), close_timeout=60) as server, shake(server) as peer:
        assert read(peer, 100) == b"goodbye"
        peer.close()
        log.until_count("OnClose")
    assert log.names()[:2] == ["OnAccept", "OnClose"]
    assert log.closes() == [(wawo.Operation.CLOSE, 0)]


def test_a_close_behind_output_and_no_handshake(backend: str) -> None:
    log = Log(OnAccept=lambda conn: (conn.send(b"goodbye"), conn.close()))
    with secured(log, backend, close_timeout=60) as server, dial(server) as sock:
        sock.sendall(b"no handshake at all")
        read_all(sock)
        sock.close()
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.CLOSE, errno.EPROTO)]
