"""idle_timeout: the silent end in their time, the others stay."""

from __future__ import annotations

import contextlib
import errno
import threading
import time

import pytest
from peers import Log, dial, echo, eventually, pattern, read, read_all, serving
from punctual import punctual

import wawo

IDLE_S = 0.3
MIB = 1024 * 1024


@punctual
def test_silent_ones_end(backend: str) -> None:
    """Each within its time: no sooner, and not much later; what was sent before is there."""
    times: dict[wawo.Connection, float] = {}
    log = Log(OnClose=lambda conn, *_: times.__setitem__(conn, conn.silence_period))
    with serving(log, backend, idle_timeout=IDLE_S, io_threads=2) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(50)]
        log.until_count("OnAccept", 50)
        assert server.broadcast(b"hello") == 50
        for peer in peers:
            assert read_all(peer) == b"hello"
        log.until_count("OnClose", 50)
        assert log.closes() == [(wawo.Operation.CLOSE, errno.ETIMEDOUT)] * 50
        assert server.stats()["idle_closed"] == 50
        assert min(times.values()) >= IDLE_S
        assert sorted(times.values())[25] < IDLE_S * 1.5
        error = log.conn().error
        assert isinstance(error, TimeoutError)
        assert "nothing received for the idle timeout" in str(error)


def test_the_shortest_time_is_not_none_at_all(backend: str) -> None:
    log = Log()
    with serving(log, backend, idle_timeout=1e-12) as server, dial(server) as peer:
        assert read_all(peer) == b""
        log.until_count("OnClose")
        assert log.closes() == [(wawo.Operation.CLOSE, errno.ETIMEDOUT)]


def test_no_timeout_by_default(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server):
        conn = log.conn()
        eventually(lambda: conn.silence_period > 0.5)
        assert conn.connected


@punctual
def test_one_that_talks_stays(backend: str) -> None:
    log = Log(OnReceive=echo)
    with serving(log, backend, idle_timeout=IDLE_S) as server, dial(server) as peer, dial(server) as quiet:
        until = time.monotonic() + 4 * IDLE_S
        while time.monotonic() < until:
            peer.sendall(b"x")
            assert read(peer, 1) == b"x"
        assert read_all(quiet) == b""
        assert log.count("OnClose") == 1
        assert log.conn().connected
        assert read_all(peer) == b""
    assert server.stats()["idle_closed"] == 2


@pytest.mark.parametrize("kind", ["agent", "client"])
@punctual
def test_outgoing_ones_end(backend: str, kind: str) -> None:
    far, near = Log(), Log()
    with serving(far, backend) as server:
        if kind == "agent":
            with wawo.TcpAgent(near, backend=backend, idle_timeout=IDLE_S) as agent:
                agent.start()
                agent.connect(*server.address)
                near.until_count("OnClose")
                assert agent.stats()["idle_closed"] == 1
        else:
            with wawo.TcpClient(near, backend=backend, idle_timeout=IDLE_S) as client:
                client.start(*server.address)
                assert client.wait(10)
        assert near.closes() == [(wawo.Operation.CLOSE, errno.ETIMEDOUT)]
        far.until_count("OnClose")
        assert far.closes() == [(wawo.Operation.CLOSE, 0)]


@punctual
def test_a_paused_one_is_not_idle(backend: str) -> None:
    """And has all of its time again when it goes on."""
    log = Log()
    with serving(log, backend, idle_timeout=IDLE_S) as server, dial(server) as peer:
        conn = log.conn()
        conn.pause()
        peer.sendall(b"held")
        eventually(lambda: conn.connect_period > 3 * IDLE_S)
        assert conn.connected
        resumed = time.monotonic()
        conn.resume()
        log.until_count("OnReceive")
        assert read_all(peer) == b""
        assert time.monotonic() - resumed >= IDLE_S
        assert log.received() == b"held"


@pytest.mark.timeout(90)
@punctual
def test_a_slow_reader_is_not_idle_until_it_stops(backend: str) -> None:
    log, data = Log(), pattern(24 * MIB)  # made before the time runs
    with serving(log, backend, idle_timeout=3 * IDLE_S) as server, dial(server, receive_buffer=256 * 1024) as peer:
        conn = log.conn()
        conn.send(data)
        begin, done, pause = time.monotonic(), 0, threading.Event()
        while done < 14 * MIB:  # and takes the more the later it gets its turn
            due = int(14 * MIB * (time.monotonic() - begin) / (12 * IDLE_S)) - done
            done += len(read(peer, max(due, 1)))
            pause.wait(0.002)
        assert conn.connected
        log.until_count("OnClose")
        assert log.closes() == [(wawo.Operation.CLOSE, errno.ETIMEDOUT)]
        with pytest.raises(ConnectionResetError):  # what it did not take is lost, and it is told so
            read_all(peer)


@punctual
def test_a_blocked_loop_makes_nobody_idle(backend: str) -> None:
    """What came while a callback held the loop up counts."""

    def block(conn: wawo.Connection, data: bytes) -> None:
        if data == b"block":
            time.sleep(3 * IDLE_S)  # time is what passes

    log = Log(OnReceive=block)
    with serving(log, backend, idle_timeout=IDLE_S) as server, contextlib.ExitStack() as stack:
        blocker = stack.enter_context(dial(server))
        peers = [stack.enter_context(dial(server)) for _ in range(20)]
        log.until_count("OnAccept", 21)
        blocker.sendall(b"block")
        log.until_count("OnReceive")
        for peer in peers:
            peer.sendall(pattern(30_000))
        log.until_count("OnClose", 21)
        assert len(log.received()) == 20 * 30_000 + 5


@punctual
def test_closing_has_its_own_time(backend: str) -> None:
    """close() of a silent peer flushes as ever; the peer decides when its side ends."""
    log = Log()
    with serving(log, backend, idle_timeout=IDLE_S) as server, dial(server) as peer:
        conn = log.conn()
        conn.send(pattern(100_000))
        conn.close()
        assert read_all(peer) == pattern(100_000)
        eventually(lambda: conn.connect_period > 2 * IDLE_S)
        assert log.count("OnClose") == 0
        peer.close()
        log.until_count("OnClose")
        assert log.closes() == [(wawo.Operation.CLOSE, 0)]
        assert server.stats()["idle_closed"] == 0
