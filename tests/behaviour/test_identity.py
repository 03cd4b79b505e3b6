"""Nobody is ever mixed up with somebody else: reconnects by the thousand, and what is left of a dead connection."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, read, serving
from reconnect import Reconnects, identity

import wawo

# 100,000 in all is the number to hold. A short run makes a part of it, unless the number is asked for.
ASKED = os.environ.get("WAWO_TEST_RECONNECTS")
TOTAL = int(ASKED or "100000")
SECONDS = 900.0 if ASKED else 24.0 if os.environ.get("WAWO_LONG") else 8.0


class Whole(wawo.Listener):
    """Answers when all of an identity is there, and checks that it is the connection's own."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.opened: set[int] = set()
        self.closed: list[int] = []

    def OnAccept(self, conn: wawo.Connection) -> None:
        if conn.extra is not None or conn.id in self.opened:
            self.wrong.append(f"{conn!r} is not new: {conn.extra!r}")
        self.opened.add(conn.id)
        conn.extra = (conn.id, bytearray())

    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        its_id, got = conn.extra
        got += data
        if its_id != conn.id:
            self.wrong.append(f"{conn!r} has the extra of {its_id:#x}")
        number = int.from_bytes(got[:4], "big")
        if len(got) >= 12 and len(got) == len(identity(number)):
            if got != identity(number):
                self.wrong.append(f"{conn!r} received a mixture")
            conn.send(bytes(got) if number % 3 else got)

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
        if conn.extra[0] != conn.id:
            self.wrong.append(f"{conn!r} ends with the extra of {conn.extra[0]:#x}")
        self.closed.append(conn.id)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 30)
@pytest.mark.parametrize("loops", [1, 2])
def test_reconnects_without_a_mix_up(backend: str, loops: int) -> None:
    listener = Whole()
    share = TOTAL // 4
    with serving(listener, backend, io_threads=loops) as server:
        visitors = Reconnects(server.address, share, seconds=SECONDS / 4)
        visitors.run()
        eventually(lambda: server.stats()["closed"] == visitors.started)  # counted a moment after server.count
        stats = server.stats()
    assert visitors.wrong == []
    assert listener.wrong == []
    assert visitors.checked == visitors.started
    assert visitors.checked == share or not ASKED
    assert visitors.checked > 100
    assert len(listener.opened) == len(listener.closed) == visitors.checked
    assert set(listener.closed) == listener.opened
    assert stats["accepts"] == stats["closed"] == visitors.checked


def test_ids_are_never_used_again(backend: str) -> None:
    """The slots are: the table stays as small as the number of connections at one time."""
    log = Log()
    ids = set()
    with serving(log, backend) as server:
        for number in range(500):
            with dial(server):
                ids.add(log.conn(number).id)
            log.until_count("OnClose", number + 1)
    assert len(ids) == 500
    assert all(0 < id < 2**64 for id in ids)


def test_kept_dead_connections_touch_nobody(backend: str) -> None:
    """Hundreds of dead Connection objects, whose slots have new owners, are called in every way."""
    log = Log(OnReceive=echo)
    with serving(log, backend) as server, contextlib.ExitStack() as stack:
        dead = []
        for number in range(200):
            with dial(server):
                dead.append(log.conn(number))
            log.until_count("OnClose", number + 1)
        peers = [stack.enter_context(dial(server)) for _ in range(20)]
        live = [log.conn(200 + number) for number in range(20)]

        def call_all() -> None:
            for conn in dead:
                assert not conn.connected
                assert conn.send(b"not for you") is False
                assert conn.send(bytes(20_000)) is False
                assert conn.send(bytearray(3000)) is False
                for call in (conn.pause, conn.flush, conn.shutdown_write, conn.close, conn.abort):
                    call()
                assert server.connection(conn.id) is None
                assert server.send(conn.id, b"nor for you") is False
                assert server.disconnect(conn.id) is False
                assert conn not in live
                assert conn.pending == 0

        call_all()
        done = threading.Event()
        log.actions["OnReceive"] = lambda conn, data: (call_all(), conn.send(data), done.set())
        peers[0].sendall(b"!")
        assert done.wait(DEADLINE_S)
        log.actions["OnReceive"] = echo
        assert read(peers[0], 1) == b"!"
        for peer, conn in zip(peers, live, strict=True):
            assert conn.connected
            assert not conn.paused
            peer.sendall(b"only this")
            assert read(peer, 9) == b"only this"
        for peer in peers:
            peer.setblocking(False)
            with pytest.raises(BlockingIOError):
                peer.recv(1)
        assert log.raised() == []


def test_kept_ones_outlive_their_server(backend: str) -> None:
    kept: list[Any] = []
    for _ in range(3):
        log = Log()
        server = wawo.TcpServer(log, backend=backend)
        server.start("127.0.0.1", 0)
        with dial(server):
            kept.append(log.conn())
            server.stop()
        del server, log
    for conn in kept:
        assert conn.send(b"x") is False
        conn.close()
        conn.resume()
        assert conn.remote_address[0] == "127.0.0.1"
    assert len(set(kept)) == 3


def test_ids_of_another_component_on_the_same_threads(backend: str) -> None:
    first, second = Log(OnReceive=echo), Log(OnReceive=echo)
    with (
        wawo.IoPool(1, backend=backend) as pool,
        wawo.TcpServer(first, io=pool) as one,
        wawo.TcpServer(second, io=pool) as two,
    ):
        one.start("127.0.0.1", 0)
        two.start("127.0.0.1", 0)
        with dial(one) as peer, dial(two) as other:
            a, b = first.conn(), second.conn()
            assert one.connection(a.id) == a
            assert two.connection(a.id) is None
            assert one.send(b.id, b"x") is False
            assert two.disconnect(a.id) is False
            assert (one.connections(), two.connections()) == ([a], [b])
            assert (a.component, b.component) == (one, two)
            two.stop()
            assert other.recv(1) == b""
            peer.sendall(b"x")
            assert read(peer, 1) == b"x"


@pytest.mark.parametrize("id", [0, 1, 2**63, 2**64 - 1])
def test_ids_that_never_were(backend: str, id: int) -> None:
    with serving(Log(), backend) as server:
        assert server.connection(id) is None
        assert server.send(id, b"x") is False


@pytest.mark.parametrize("id", [-1, 2**64, 10**30])
def test_ids_that_cannot_be(backend: str, id: int) -> None:
    """An id that no connection can have is one of none."""
    with serving(Log(), backend) as server:
        assert server.connection(id) is None
        assert server.send(id, b"x") is False
        assert server.disconnect(id) is False
