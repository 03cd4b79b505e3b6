"""disconnect_long, disconnect_silent, and what they go by: connect_period and silence_period."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from peers import Log, dial, echo, eventually, pattern, read, read_all, serving
from punctual import punctual

import wawo


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("inside", [True, False])
@punctual
def test_long_and_silent(backend: str, threads: int, inside: bool) -> None:
    done: list[int] = []

    def act(conn: wawo.Connection, data: bytes) -> None:
        if data == b"silent":
            done.append(server.disconnect_silent(0.3))
        elif data == b"long":
            done.append(server.disconnect_long(0.3))
        else:
            conn.send(data)

    def ask(method: str) -> int:
        if not inside:
            return server.disconnect_silent(0.3) if method == "silent" else server.disconnect_long(0.3)
        with dial(server) as asker:
            asker.sendall(method.encode())
            eventually(lambda: len(done) > asked[0])
            asked[0] += 1
            return done[-1]

    asked = [0]
    log = Log(OnReceive=act)
    with serving(log, backend, io_threads=threads) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(10)]
        log.until_count("OnAccept", 10)
        eventually(lambda: all(conn.connect_period > 0.3 for conn in server.connections()))
        for peer in peers[:4]:
            peer.sendall(b"x")
            assert read(peer, 1) == b"x"
        young = stack.enter_context(dial(server))
        log.until_count("OnAccept", 11)
        assert server.disconnect_silent(60) == server.disconnect_long(60) == 0
        assert ask("silent") == 6
        for peer in peers[4:]:
            assert read_all(peer) == b""
        assert ask("long") == 4
        for peer in peers[:4]:
            assert read_all(peer) == b""
        young.sendall(b"on")
        assert read(young, 2) == b"on"
    assert log.raised() == []


def test_closes_as_close_does(backend: str) -> None:
    """What is queued goes out first; those that are closing already do not count."""
    data = pattern(3_000_000)
    log = Log()
    with serving(log, backend) as server, dial(server) as one, dial(server) as two:
        log.until_count("OnAccept", 2)
        for conn in server.connections():
            conn.send(data)
        server.connections()[0].close()
        assert server.disconnect_long(0) == 1
        assert server.disconnect_long(0) == server.disconnect_silent(0) == 0
        assert read_all(one) == read_all(two) == data
        for peer in (one, two):
            peer.close()
        log.until_count("OnClose", 2)
        assert log.closes() == [(wawo.Operation.CLOSE, 0)] * 2


def test_agent(backend: str) -> None:
    far, near = Log(OnReceive=echo), Log()
    with serving(far, backend) as server, wawo.TcpAgent(near, backend=backend) as agent:
        assert agent.disconnect_long(0) == agent.disconnect_silent(0) == 0
        agent.start()
        for _ in range(3):
            agent.connect(*server.address)
        near.until_count("OnConnect", 3)
        assert agent.disconnect_silent(0) == 3
        near.until_count("OnClose", 3)
        assert agent.disconnect_silent(0) == 0


def test_wrong_periods() -> None:
    server = wawo.TcpServer(wawo.Listener())
    for method in (server.disconnect_long, server.disconnect_silent):
        wrong: Any
        for wrong in (-1, float("nan"), float("inf"), 1e9):
            with pytest.raises(ValueError, match="seconds must be 0 to 315,360,000"):
                method(wrong)
        for wrong in (None, "5", True):
            with pytest.raises(TypeError, match="seconds must be a number of seconds"):
                method(wrong)


@punctual
def test_periods(backend: str) -> None:
    """0 before it stands; the one grows, the other begins again with each receive; both stay after the end."""
    far, near = Log(), Log(OnReceive=echo)
    with serving(near, backend) as server, wawo.TcpAgent(far, backend=backend) as agent:
        agent.start()
        dialled = agent.connect(*server.address)
        assert dialled.connect_period >= 0
        far.until_count("OnConnect")
        conn = near.conn()
        eventually(lambda: conn.silence_period > 0.05)
        before = conn.connect_period
        assert before >= conn.silence_period - 0.01
        dialled.send(b"x")
        far.until_count("OnReceive")
        assert conn.connect_period > before
        assert conn.silence_period < conn.connect_period
        dialled.close()
        near.until_count("OnClose")
        assert conn.connect_period > before


def test_who_ended_is_found_no_more(backend: str) -> None:
    """Not even in its OnClose: that it is gone is known before it is told."""
    found: list[object] = []

    class Ask(Log):
        def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
            found.extend((server.connection(conn.id), server.connections()))
            super().OnClose(conn, operation, error)

    log = Ask()
    with serving(log, backend) as server:
        dial(server).close()
        log.until_count("OnClose")
    assert found == [None, []]


def test_connections_and_connection(backend: str) -> None:
    """A snapshot, found again by id; nobody is found who is gone, closing, or somebody else's."""
    log = Log()
    with serving(log, backend, io_threads=2) as server, contextlib.ExitStack() as stack:
        assert server.connections() == []
        peers = [stack.enter_context(dial(server)) for _ in range(5)]
        log.until_count("OnAccept", 5)
        for number, conn in enumerate(server.connections()):
            conn.extra = number
        assert sorted(conn.extra for conn in server.connections()) == [0, 1, 2, 3, 4]
        for conn in server.connections():
            assert server.connection(conn.id) is conn
        peers[0].close()
        log.until_count("OnClose")
        ended = next(call.conn for call in log.calls if call.name == "OnClose")
        eventually(lambda: server.count == 4)
        assert server.connection(ended.id) is None
        assert ended not in server.connections()
        assert ended.extra in range(5)
        for id in (0, -5, 1 << 64, 1 << 70, ended.id + 1):
            assert server.connection(id) is None
        for wrong in (True, "5", 1.0, None):
            with pytest.raises(TypeError, match="id must be an int"):
                server.connection(wrong)  # type: ignore[arg-type]
    assert server.connections() == []
    assert server.connection(ended.id) is None
