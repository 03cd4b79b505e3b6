"""TcpServer: stop, wait and drop, in callbacks too, and shared pools."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import pytest
from peers import read_all
from servers import DEADLINE_S, Log, dial

import wawo


def test_stop_gives_each_connection_its_close(server: wawo.TcpServer, log: Log) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            peer = stack.enter_context(dial(server))
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
        server.stop()
        assert log.names().count("OnClose") == 10
        assert log.names()[-1] == "OnShutdown"
        assert dict(log.calls)["OnShutdown"] is wawo.ServiceState.STOPPING


def test_stop_with_drain_lets_connections_finish(server: wawo.TcpServer, log: Log) -> None:
    with dial(server) as peer:
        peer.sendall(b"a")
        assert peer.recv(1) == b"a"
        stopper = threading.Thread(target=lambda: server.stop(drain=DEADLINE_S))
        stopper.start()
        peer.sendall(b"b")
        assert peer.recv(1) == b"b"
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
    stopper.join(DEADLINE_S)
    assert server.state is wawo.ServiceState.STOPPED
    assert log.names()[-1] == "OnShutdown"


@pytest.mark.parametrize("drain", [0.0, 0.05])
def test_stop_with_output_left_is_a_reset(backend: str, drain: float) -> None:
    """A FIN would tell the peer that the part it got was all."""

    class Flood(wawo.Listener):
        def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
            conn.send(bytes(40_000_000))
            asked.set()

        def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
            closes.append((operation, error))

    asked, closes = threading.Event(), []
    with wawo.TcpServer(Flood(), backend=backend, io_threads=1, max_pending=50_000_000) as server:
        server.start("127.0.0.1", 0)
        with dial(server) as peer:
            peer.sendall(b"x")
            assert asked.wait(DEADLINE_S)
            server.stop(drain=drain)
            with pytest.raises(ConnectionResetError):
                read_all(peer)
    assert closes == [(wawo.Operation.CLOSE, 0)]


@pytest.mark.parametrize("drain", [-1, float("nan"), 86_401])
def test_drain_range(server: wawo.TcpServer, drain: float) -> None:
    with pytest.raises(ValueError, match="drain must be 0 to 86,400 seconds, not"):
        server.stop(drain=drain)
    with pytest.raises(ValueError, match="timeout must be 0 to"):
        server.wait(-1)


def test_stop_in_a_callback_returns_at_once(backend: str) -> None:
    states: list[wawo.ServiceState] = []
    log = Log()

    def receive(conn: wawo.Connection, data: bytes) -> None:
        conn.component.stop()
        states.append(conn.component.state)

    log.OnReceive = receive  # type: ignore[method-assign]
    with wawo.TcpServer(log, backend=backend) as server:
        server.start("127.0.0.1", 0)
        with dial(server) as peer:
            peer.sendall(b"stop")
            assert server.wait(DEADLINE_S)
    assert states == [wawo.ServiceState.STOPPING]
    assert log.names()[-2:] == ["OnClose", "OnShutdown"]


def test_wait_in_a_callback_is_an_error(backend: str) -> None:
    caught: list[BaseException] = []
    done = threading.Event()

    def receive(conn: wawo.Connection, data: bytes) -> None:
        conn.component.wait()

    def failed(conn: wawo.Connection, exception: BaseException) -> None:
        caught.append(exception)
        done.set()

    with wawo.TcpServer(wawo.Listener(OnReceive=receive, OnException=failed), backend=backend) as server:
        server.start("127.0.0.1", 0)
        with dial(server) as peer:
            peer.sendall(b"x")
            assert done.wait(DEADLINE_S)
    assert isinstance(caught[0], wawo.StateError)
    assert "wait() would block the loop thread" in str(caught[0])


class Dropped(wawo.Listener):
    """Drops its server when told, and hears the end all the same."""

    def __init__(self) -> None:
        self.only: list[wawo.TcpServer] = []
        self.opened = threading.Event()
        self.closed = threading.Event()
        self.down = threading.Event()

    def drop(self, peer: socket.socket | None) -> None:
        """Here, or in OnReceive when a peer is given."""
        if peer is None:
            self.only.clear()
        else:
            peer.sendall(b"drop it")
            while not self.closed.wait(0.01):  # without a GIL the thread that made it frees it, when it runs Python
                pass
            assert peer.recv(1) == b""

    def OnAccept(self, conn: wawo.Connection) -> None:
        self.opened.set()

    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        self.only.clear()

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
        self.closed.set()

    def OnShutdown(self, component: object) -> None:
        self.down.set()


@pytest.mark.parametrize("in_callback", [False, True])
def test_dropping_a_running_server_stops_it(backend: str, in_callback: bool) -> None:
    listener = Dropped()
    listener.only.append(wawo.TcpServer(listener, backend=backend))
    listener.only[0].start("127.0.0.1", 0)
    with dial(listener.only[0]) as peer:
        assert listener.opened.wait(DEADLINE_S)
        with pytest.warns(ResourceWarning, match=r"<TcpServer STARTED .* was dropped while it ran"):
            listener.drop(peer if in_callback else None)
        assert peer.recv(1) == b""
        assert listener.closed.wait(DEADLINE_S)
        assert listener.down.wait(DEADLINE_S)


def test_shared_pool(log: Log, backend: str) -> None:
    with wawo.IoPool(2, backend=backend) as pool:
        servers = [wawo.TcpServer(log, io=pool) for _ in range(3)]
        for server in servers:
            server.start("127.0.0.1", 0)
            with dial(server) as peer:
                peer.sendall(b"x")
                assert peer.recv(1) == b"x"
        servers[0].stop()
        assert not pool.closed
    assert pool.closed
    assert all(server.state is wawo.ServiceState.STOPPED for server in servers)
    with pytest.raises(wawo.StateError, match="IoPool is closed"):
        servers[0].start("127.0.0.1", 0)
    wrong: Any = 2
    with pytest.raises(TypeError, match="io must be None or an IoPool, not 2"):
        wawo.TcpServer(log, io=wrong)


def test_pool_is_not_closed_from_its_own_callback(backend: str) -> None:
    caught: list[BaseException] = []
    done = threading.Event()

    def failed(conn: wawo.Connection, exception: BaseException) -> None:
        caught.append(exception)
        done.set()

    with wawo.IoPool(backend=backend) as pool:
        listener = wawo.Listener(OnReceive=lambda conn, data: pool.close(), OnException=failed)
        with wawo.TcpServer(listener, io=pool) as server:
            server.start("127.0.0.1", 0)
            with dial(server) as peer:
                peer.sendall(b"x")
                assert done.wait(DEADLINE_S)
    assert isinstance(caught[0], wawo.StateError)


def test_component_itself_is_not_made() -> None:
    with pytest.raises(TypeError, match="only the base"):
        wawo.Component(wawo.Listener())
