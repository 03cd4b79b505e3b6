"""What callbacks may do: block, end themselves and others, send, flush, stop, drop and start their component."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, gone, read, read_all, serving

import wawo
from wawo import Operation

CLEAN = (Operation.CLOSE, 0)
FRAMING = wawo.LengthPrefixed(1)


def test_a_callback_that_blocks_is_counted_and_others_go_on_after_it(backend: str) -> None:
    release = threading.Event()

    def receive(conn: wawo.Connection, data: bytes) -> None:
        if data == b"b":
            assert release.wait(DEADLINE_S)
        conn.send(data)

    log = Log(OnReceive=receive)
    with serving(log, backend, slow_callback=0.02) as server, dial(server) as slow, dial(server) as other:
        slow.sendall(b"b")
        log.until(lambda: b"b" in log.received())
        other.sendall(b"o")
        time.sleep(0.05)  # time is what passes
        release.set()
        assert read(slow, 1) == b"b"
        assert read(other, 1) == b"o"
        eventually(lambda: server.stats()["loops"][0]["slow_batches"] >= 1)


@pytest.mark.parametrize("how", ["close", "abort"])
@pytest.mark.parametrize("name", ["OnAccept", "OnHandShake", "OnReceive"])
def test_ends_itself(backend: str, name: str, how: str) -> None:
    log = Log(**{name: lambda conn, *rest: getattr(conn, how)()})
    with serving(log, backend, framing=FRAMING) as server:
        for number in range(1, 21):
            with contextlib.suppress(OSError), dial(server) as peer:
                peer.sendall(b"\1x" * 100)
                gone(peer)
            log.until_count("OnClose", number)
    assert log.closes() == [CLEAN] * 20
    assert log.raised() == []
    first = log.conn(0)
    assert log.names(first)[-2:] == [name, "OnClose"]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", ["close", "abort"])
def test_ends_others(backend: str, how: str, threads: int) -> None:
    """Whose events may stand in the very same batch: not one of them comes after that on one loop."""
    ended: list[wawo.Connection] = []
    first = threading.Lock()

    def receive(conn: wawo.Connection, data: bytes) -> None:
        assert conn not in ended or threads > 1
        if first.acquire(blocking=False):
            ended.extend([other for other in conn.component.connections() if other != conn])
            for other in ended:
                getattr(other, how)()
                assert not other.connected
                assert other.send(b"x") is False

    log = Log(OnReceive=receive)
    with serving(log, backend, framing=FRAMING, io_threads=threads) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(20)]
        log.conn(19)
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.sendall(b"\1x" * 50)
        for peer in peers:
            peer.settimeout(DEADLINE_S)
        eventually(lambda: ended)
        (winner,) = [conn for conn in (log.conn(n) for n in range(20)) if conn not in ended]
        for peer in peers:
            if peer.getsockname() != winner.remote_address:
                gone(peer)
        log.until_count("OnClose", 19)
        log.until(lambda: log.received(winner) == b"x" * 50)
        assert winner.connected
    assert log.raised() == []


def test_sends_in_every_callback(backend: str) -> None:
    sent: list[object] = []
    log = Log(
        OnAccept=lambda conn: sent.append(conn.send(b"1")),
        OnHandShake=lambda conn: sent.append(conn.send(b"2")),
        OnReceive=lambda conn, data: sent.append(conn.send(b"3")),
        OnClose=lambda conn, operation, error: sent.append(conn.send(b"4")),
    )
    with serving(log, backend) as server, dial(server) as peer:
        assert read(peer, 2) == b"12"
        peer.sendall(b"x")
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b"3"
        log.until_count("OnClose")
    assert sent == [True, True, True, False]


def test_outgoing_sends_in_on_connect_and_before(backend: str) -> None:
    log = Log(OnConnect=lambda conn: conn.send(b"2"), OnHandShake=lambda conn: conn.send(b"3"))
    far = Log()
    with serving(far, backend) as server, wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        conn = agent.connect(*server.address)
        early = conn.send(b"1")
        far.until(lambda: len(far.received()) == 3)
        assert early
        assert sorted(far.received()) == [49, 50, 51]
        assert far.received().index(b"2") < far.received().index(b"3")


def test_flush_writes_before_the_callback_returns(backend: str) -> None:
    seen = threading.Event()

    def receive(conn: wawo.Connection, data: bytes) -> None:
        conn.send(b"now")
        assert conn.pending == 3
        conn.flush()
        assert conn.pending == 0
        assert seen.wait(DEADLINE_S)

    log = Log(OnReceive=receive)
    with serving(log, backend) as server, dial(server) as peer:
        peer.sendall(b"x")
        assert read(peer, 3) == b"now"
        seen.set()
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b""
    assert log.raised() == []


def test_flush_of_a_connection_that_is_broken(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as trigger:
        log.conn()
        victim = dial(server)
        conn = log.conn(1)
        conn.pause()
        entered, release = threading.Event(), threading.Event()

        def receive(_: wawo.Connection, data: bytes) -> None:
            entered.set()
            assert release.wait(DEADLINE_S)
            for _ in range(5):
                conn.send(b"x" * 1000)
                conn.flush()

        log.actions["OnReceive"] = receive
        trigger.sendall(b"x")
        assert entered.wait(DEADLINE_S)
        victim.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        victim.close()
        release.set()
        log.until_count("OnClose")
        assert log.closes() == [(Operation.CLOSE, errno.ECONNRESET)]
    assert log.raised() == []


def test_stop_in_each_callback(backend: str) -> None:
    for name in ("OnAccept", "OnHandShake", "OnReceive", "OnClose"):
        log = Log(**{name: lambda conn, *rest: conn.component.stop()})
        server = wawo.TcpServer(log, backend=backend)
        server.start("127.0.0.1", 0)
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                with contextlib.suppress(OSError):
                    peer = stack.enter_context(dial(server))
                    peer.sendall(b"x")
            peer.close()
            assert server.wait(DEADLINE_S)
        assert log.names()[-1] == "OnShutdown"
        assert log.count("OnClose") == log.count("OnAccept")
        assert log.raised() == []


def test_starts_again_in_on_shutdown_of_another_thread(backend: str) -> None:
    log = Log(OnReceive=echo)
    server = wawo.TcpServer(log, backend=backend)
    for number in range(1, 6):
        server.start("127.0.0.1", 0)
        with dial(server) as peer:
            peer.sendall(b"x")
            assert read(peer, 1) == b"x"
            server.stop()
        assert log.count("OnShutdown") == number
    assert log.count("OnClose") == 5


def test_start_of_another_component_in_a_callback(backend: str) -> None:
    second = wawo.TcpServer(Log(OnReceive=echo), backend=backend)

    def receive(conn: wawo.Connection, data: bytes) -> None:
        second.start("127.0.0.1", 0)
        conn.send(str(second.address[1]).encode())
        conn.close()

    log = Log(OnReceive=receive)
    with second, serving(log, backend) as server:
        with dial(server) as peer:
            peer.sendall(b"x")
            assert int(read_all(peer)) == second.address[1]
        with dial(second) as peer:
            peer.sendall(b"y")
            assert read(peer, 1) == b"y"
    assert log.raised() == []


def test_start_in_its_own_on_shutdown_is_refused_and_works_after(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In OnShutdown the run is not over yet."""
    errors: list[BaseException] = []

    def again(component: wawo.TcpServer) -> None:
        try:
            component.start("127.0.0.1", 0)
        except wawo.StateError as error:
            errors.append(error)

    log = Log(OnShutdown=again)
    server = wawo.TcpServer(log, backend=backend)
    server.start("127.0.0.1", 0)
    server.stop()
    assert "is stopping" in str(errors[0])
    log.actions.clear()
    server.start("127.0.0.1", 0)
    server.stop()


def test_drops_the_last_reference_in_on_close(backend: str) -> None:
    only = []
    log = Log(OnClose=lambda conn, operation, error: only.clear())
    only.append(wawo.TcpServer(log, backend=backend))
    only[0].start("127.0.0.1", 0)
    peer = dial(only[0])
    conn = log.conn()
    with pytest.warns(ResourceWarning, match="was dropped while it ran"):  # noqa: PT031
        peer.close()
        log.until_count("OnShutdown")
    assert conn.send(b"") is False
    assert log.closes() == [CLEAN]


@pytest.mark.parametrize("name", ["OnClose", "OnReceive"])
def test_extra_with_a_finalizer_that_uses_the_connection(backend: str, name: str) -> None:
    """What the end of a connection frees may run code on the loop thread."""
    finalized = threading.Event()

    class Session:
        def __init__(self, conn: wawo.Connection) -> None:
            self.send = conn.send

        def __del__(self) -> None:
            assert self.send(b"late") in (True, False)
            finalized.set()

    def accept(conn: wawo.Connection) -> None:
        conn.extra = Session(conn)

    def drop(conn: wawo.Connection, *rest: object) -> None:
        conn.extra = None

    with serving(wawo.Listener(**{"OnAccept": accept, name: drop}), backend) as server, dial(server) as peer:
        peer.sendall(b"x")
        peer.shutdown(socket.SHUT_WR)
        read_all(peer)
        assert finalized.wait(DEADLINE_S)
