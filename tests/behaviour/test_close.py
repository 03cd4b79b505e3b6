"""close, abort and their limits: what was accepted arrives, a reset is a reset, nobody holds a connection for ever."""

from __future__ import annotations

import errno
import socket
import threading
import time

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, pattern, read, read_all, reset, serving
from punctual import punctual

import wawo

CLEAN = (wawo.Operation.CLOSE, 0)


@pytest.mark.parametrize("inside", [True, False])
def test_close_flushes_to_a_slow_reader_with_input_unread(backend: str, inside: bool) -> None:
    """Unread input would turn the FIN into a reset that destroys the reply; so it is read and thrown away."""
    reply = pattern(20_000_000)

    def finish(conn: wawo.Connection) -> None:
        assert conn.send(reply)
        conn.close()

    def first(conn: wawo.Connection, data: bytes) -> None:
        if inside:
            finish(conn)
        else:
            conn.pause()

    log = Log(OnReceive=first)
    with serving(log, backend) as server, dial(server, receive_buffer=16384) as peer:
        peer.sendall(b"x" * 100_000)
        log.until_count("OnReceive")
        if not inside:
            finish(log.conn())
        peer.sendall(b"y" * 200_000)  # comes while the reply goes out
        assert read_all(peer) == reply
        peer.close()
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]
    assert log.raised() == []


def test_after_close_nothing_is_accepted_or_delivered(backend: str) -> None:
    def receive(conn: wawo.Connection, data: bytes) -> None:
        conn.send(b"bye")
        conn.close()
        assert not conn.connected
        assert conn.send(b"more") is False
        conn.close()

    log = Log(OnReceive=receive)
    with serving(log, backend, framing=wawo.LengthPrefixed(1)) as server, dial(server) as peer:
        peer.sendall(b"\1a\1b\1c" * 1000)
        assert read_all(peer) == b"\3bye"
        peer.close()
        log.until_count("OnClose")
    assert log.messages() == [b"a"]
    assert log.raised() == []


@punctual
def test_close_waits_for_a_slow_reader_as_long_as_it_reads(backend: str) -> None:
    """close_timeout is for a peer that takes nothing at all, not for one that is slow."""
    reply = pattern(3_000_000)
    log = Log(OnReceive=lambda conn, data: (conn.send(reply), conn.close()))
    with serving(log, backend, close_timeout=0.3) as server, dial(server, receive_buffer=4096) as peer:
        peer.sendall(b"x")
        got = bytearray()
        tick = threading.Event()
        start = time.monotonic()
        while piece := peer.recv(100_000):
            got += piece
            if time.monotonic() - start < 1.0:
                tick.wait(0.02)  # reads on, slowly
        assert bytes(got) == reply
        peer.close()
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


@punctual
def test_close_timeout_with_a_peer_that_never_reads(backend: str) -> None:
    log = Log(OnAccept=lambda conn: (conn.send(bytes(20_000_000)), conn.close()))
    with serving(log, backend, close_timeout=0.2) as server, dial(server, receive_buffer=4096) as peer:
        start = time.monotonic()
        log.until_count("OnClose")
        assert 0.15 < time.monotonic() - start < 5
        assert log.closes() == [(wawo.Operation.CLOSE, errno.ETIMEDOUT)]
        assert isinstance(log.conn().error, TimeoutError)
        with pytest.raises(ConnectionResetError):
            read_all(peer)
        eventually(lambda: server.count == 0)


def test_close_timeout_behind_a_long_callback(backend: str) -> None:
    """It counts from the call: the turn of the loop that the callback is a part of may have begun long before."""
    closed: list[float] = []

    def accept(conn: wawo.Connection) -> None:
        threading.Event().wait(0.5)
        closed.append(time.monotonic())
        conn.close()

    log = Log(OnAccept=accept)
    with serving(log, backend, close_timeout=0.5) as server, dial(server):
        log.until_count("OnClose")
        assert time.monotonic() - closed[0] >= 0.5
    assert log.closes() == [CLEAN]


@punctual
def test_close_timeout_with_a_peer_that_never_closes(backend: str) -> None:
    """All arrived; only the peer's FIN is missing: that is a clean end."""
    log = Log(OnAccept=lambda conn: (conn.send(b"bye"), conn.close()))
    start = time.monotonic()
    with serving(log, backend, close_timeout=0.2) as server, dial(server) as peer:
        assert read_all(peer) == b"bye"
        assert log.count("OnClose") == 0
        log.until_count("OnClose")
        assert 0.15 < time.monotonic() - start < 5
    assert log.closes() == [CLEAN]


def test_close_timeout_of_zero(backend: str) -> None:
    log = Log(OnAccept=lambda conn: (conn.send(b"bye"), conn.close()))
    with serving(log, backend, close_timeout=0) as server, dial(server) as peer:
        assert read(peer, 3) == b"bye"
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


@pytest.mark.parametrize("inside", [True, False])
def test_abort_is_a_reset(backend: str, inside: bool) -> None:
    def abort(conn: wawo.Connection) -> None:
        conn.send(b"lost")
        conn.abort()
        assert conn.send(b"late") is False

    log = Log(OnAccept=abort) if inside else Log()
    with serving(log, backend) as server:
        with pytest.raises(ConnectionResetError), dial(server) as peer:  # noqa: PT012 (perhaps before connect() is back)
            if not inside:
                abort(log.conn())
            read_all(peer)
            read_all(peer)
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]
    assert log.raised() == []
    assert "OnHandShake" not in log.names() or not inside


def test_abort_of_a_close_under_way(backend: str) -> None:
    """abort() ends what close() still waits for."""
    log = Log(OnAccept=lambda conn: (conn.send(bytes(20_000_000)), conn.close()))
    with serving(log, backend, close_timeout=60) as server, dial(server, receive_buffer=4096) as peer:
        conn = log.conn()
        read(peer, 1000)
        conn.abort()
        log.until_count("OnClose")
        with pytest.raises(ConnectionResetError):
            read_all(peer)


def test_reset_by_the_peer(backend: str) -> None:
    log = Log(OnReceive=echo)
    with serving(log, backend) as server:
        peer = dial(server)
        peer.sendall(b"x")
        assert read(peer, 1) == b"x"
        reset(peer)
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.CLOSE, errno.ECONNRESET)]
    assert isinstance(log.conn().error, ConnectionResetError)


def test_reset_while_output_waits(backend: str) -> None:
    log = Log(OnAccept=lambda conn: conn.send(bytes(10_000_000)))
    with serving(log, backend) as server:
        peer = dial(server, receive_buffer=4096)
        read(peer, 1000)
        reset(peer)
        log.until_count("OnClose")
        eventually(lambda: log.conn().pending == 0)
    assert log.closes() == [(wawo.Operation.CLOSE, errno.ECONNRESET)]


def test_reset_while_closing(backend: str) -> None:
    """What was accepted did not all arrive: the close says so."""
    log = Log(OnAccept=lambda conn: (conn.send(bytes(10_000_000)), conn.close()))
    with serving(log, backend, close_timeout=60) as server:
        peer = dial(server, receive_buffer=4096)
        read(peer, 1000)
        reset(peer)
        log.until_count("OnClose")
    assert log.closes() == [(wawo.Operation.CLOSE, errno.ECONNRESET)]


def test_peer_closes_while_we_are_paused(backend: str) -> None:
    """Every byte is delivered after resume, then the end."""
    data = pattern(200_000)
    log = Log(OnAccept=lambda conn: conn.pause())
    with serving(log, backend) as server:
        with dial(server) as peer:
            conn = log.conn()
            eventually(lambda: conn.paused)  # noted before it is done
            peer.sendall(data)
        with dial(server) as other:  # the loop has gone round since
            eventually(lambda: log.conn(1).paused)
            log.conn(1).resume()
            other.sendall(b"!")
            log.until(lambda: log.received(log.conn(1)) == b"!")
        assert log.received(conn) == b""
        conn.resume()
        log.until(lambda: "OnClose" in log.names(conn))
    assert log.received(conn) == data
    assert [call.values for call in log.calls if call.conn == conn and call.name == "OnClose"] == [CLEAN]


def test_state_of_a_dead_connection(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server:
        with dial(server) as peer:
            conn = log.conn()
            conn.extra = "kept"
            far = peer.getsockname()
        log.until_count("OnClose")
        for call in (conn.close, conn.abort, conn.flush, conn.pause, conn.resume, conn.shutdown_write):
            call()
        assert conn.send(b"") is False
        assert conn.send(bytes(100_000)) is False
        assert (conn.connected, conn.pending, conn.error, conn.extra) == (False, 0, None, "kept")
        assert conn.remote_address == far
        assert conn.local_address == server.address
        assert conn.component is server
        assert conn == log.calls[-1].conn
        assert hash(conn) == hash(log.calls[-1].conn)
        assert "not connected" in repr(conn)
    assert log.count("OnClose") == 1


def test_empty_sends(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        for _ in range(1000):
            assert conn.send(b"")
        assert conn.send(b"x")
        conn.close()
        assert read_all(peer) == b"x"


def test_periods(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        peer.sendall(b"x")
        log.until_count("OnReceive")
        eventually(lambda: conn.silence_period > 0.02)
        silence = conn.silence_period  # first: both grow
        assert conn.connect_period >= silence
        before = conn.silence_period
        peer.sendall(b"x")
        log.until_count("OnReceive", 2)
        assert 0 <= conn.silence_period < before + DEADLINE_S


def test_stop_flushes_what_the_kernel_takes(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        assert conn.send(b"bye")
        server.stop()
        assert read_all(peer) == b"bye"
    assert log.closes() == [CLEAN]


@punctual
def test_stop_with_drain_ends_what_does_not_end(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        log.conn()
        start = time.monotonic()
        server.stop(drain=0.2)
        assert 0.15 < time.monotonic() - start < 5
        assert read_all(peer) == b""
    assert log.names()[-2:] == ["OnClose", "OnShutdown"]


def test_stop_with_drain_can_be_shortened(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server):
        log.conn()
        slow = threading.Thread(target=lambda: server.stop(drain=600))
        slow.start()
        eventually(lambda: server.state is wawo.ServiceState.STOPPING)
        server.stop()
        slow.join(DEADLINE_S)
        assert not slow.is_alive()


def test_stop_with_drain_waits_for_pending_output(backend: str) -> None:
    reply = pattern(5_000_000)
    log = Log(OnReceive=lambda conn, data: (conn.send(reply), conn.close()))
    with serving(log, backend) as server, dial(server, receive_buffer=8192) as peer:
        peer.sendall(b"x")
        log.until_count("OnReceive")
        stopper = threading.Thread(target=lambda: server.stop(drain=DEADLINE_S))
        stopper.start()
        assert read_all(peer) == reply
        peer.shutdown(socket.SHUT_WR)
        stopper.join(DEADLINE_S)
        assert not stopper.is_alive()
    assert log.closes() == [CLEAN]
