"""TcpClient on every backend: one connection, whose end is the end of the run."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from backends import BACKENDS
from peers import DEADLINE_S, free_port

import wawo


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Log(wawo.Listener):
    """Notes every callback, collects what comes."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.messages: list[bytes] = []
        self.came = threading.Event()

    def OnConnect(self, conn: wawo.Connection) -> None:
        self.calls.append(("OnConnect", conn))

    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        self.messages.append(data)
        self.came.set()

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
        self.calls.append(("OnClose", (operation, error)))

    def OnShutdown(self, component: wawo.TcpClient) -> None:
        self.calls.append(("OnShutdown", component))

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(DEADLINE_S)
        yield listening


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def test_start_waits_for_the_connection(log: Log, backend: str, peer: socket.socket) -> None:
    with wawo.TcpClient(log, backend=backend) as client:
        assert client.connection is None
        assert not client.connected
        assert client.send(b"early") is False
        client.close()
        client.start("127.0.0.1", port_of(peer), extra="mine")
        assert log.names() == ["OnConnect"]
        assert client.connected
        assert client.connection is not None
        assert client.connection.extra == "mine"
        assert client.count == 1
        far, _ = peer.accept()
        with far:
            assert client.send(b"hello")
            assert far.recv(5) == b"hello"
            far.sendall(b"world")
            assert log.came.wait(DEADLINE_S)
            client.stop()
            assert far.recv(1) == b""
    assert b"".join(log.messages) == b"world"
    assert log.names() == ["OnConnect", "OnClose", "OnShutdown"]
    assert not client.connected
    assert client.pending == 0
    assert client.send(b"late") is False


def test_client_stops_with_its_connection(log: Log, backend: str, peer: socket.socket) -> None:
    with wawo.TcpClient(log, backend=backend) as client:
        for _ in range(3):
            client.start("127.0.0.1", port_of(peer))
            peer.accept()[0].close()
            assert client.wait(DEADLINE_S)
            assert client.state is wawo.ServiceState.STOPPED
            assert client.connection is not None
            assert client.connection.error is None
    assert log.names() == ["OnConnect", "OnClose", "OnShutdown"] * 3


def test_close_flushes_and_ends_the_run(log: Log, backend: str, peer: socket.socket) -> None:
    with wawo.TcpClient(log, backend=backend) as client:
        client.start("127.0.0.1", port_of(peer))
        far, _ = peer.accept()
        with far:
            client.send(b"x" * 100_000)
            client.close()
            size = 0
            while piece := far.recv(65536):
                size += len(piece)
            assert size == 100_000
        assert client.wait(DEADLINE_S)
    assert log.calls[1] == ("OnClose", (wawo.Operation.CLOSE, 0))


@pytest.mark.parametrize("wait", [True, False])
def test_refused(log: Log, backend: str, wait: bool) -> None:
    client = wawo.TcpClient(log, backend=backend)
    port = free_port()
    if wait:
        with pytest.raises(ConnectionRefusedError) as caught:
            client.start("127.0.0.1", port)
        assert isinstance(caught.value, wawo.StartError)
        assert f"cannot connect to 127.0.0.1 port {port}" in str(caught.value)
    else:
        client.start("127.0.0.1", port, wait=False)
        assert client.wait(DEADLINE_S)
    assert client.state is wawo.ServiceState.STOPPED
    assert log.names() == ["OnClose", "OnShutdown"]
    assert log.calls[0][1] == (wawo.Operation.CONNECT, errno.ECONNREFUSED)


def test_name_that_does_not_resolve(log: Log, backend: str) -> None:
    client = wawo.TcpClient(log, backend=backend)
    with pytest.raises(socket.gaierror, match=r"no such host.*does not resolve"):
        client.start("no such host", 80)
    assert log.calls[0][1] == (wawo.Operation.CONNECT, errno.EHOSTUNREACH)


def test_listener_refuses(backend: str, peer: socket.socket) -> None:
    for name in ("OnConnect", "OnHandShake"):
        refusing: dict[str, Any] = {name: lambda conn: wawo.HandleResult.ERROR}
        client = wawo.TcpClient(wawo.Listener(**refusing), backend=backend)
        with pytest.raises(OSError, match=f"{name}.*") as caught:
            client.start("127.0.0.1", port_of(peer))
        assert caught.value.errno == errno.ECANCELED
        assert client.state is wawo.ServiceState.STOPPED


def test_wait_false_tells_by_callback(log: Log, backend: str, peer: socket.socket) -> None:
    connected = threading.Event()
    log.OnHandShake = lambda conn: connected.set()  # type: ignore[method-assign]
    with wawo.TcpClient(log, backend=backend) as client:
        client.start("127.0.0.1", port_of(peer), wait=False)
        assert connected.wait(DEADLINE_S)
        assert client.connected


def test_connection_is_there_in_on_connect(backend: str, peer: socket.socket) -> None:
    seen: list[bool] = []
    listener = wawo.Listener(OnConnect=lambda conn: seen.append(conn.component.connection == conn))
    with wawo.TcpClient(listener, backend=backend) as client:
        client.start("127.0.0.1", port_of(peer))
    assert seen == [True]


def test_start_twice(log: Log, backend: str, peer: socket.socket) -> None:
    with wawo.TcpClient(log, backend=backend) as client:
        client.start("127.0.0.1", port_of(peer))
        with pytest.raises(wawo.StateError, match="this TcpClient is already started"):
            client.start("127.0.0.1", port_of(peer))
        assert client.connected


@pytest.mark.parametrize("shared", [True, False])
def test_waiting_start_in_a_callback_is_an_error(log: Log, backend: str, peer: socket.socket, shared: bool) -> None:
    caught: list[BaseException] = []
    done = threading.Event()

    def failed(conn: wawo.Connection, exception: BaseException) -> None:
        caught.append(exception)
        done.set()

    with wawo.IoPool(backend=backend) as pool:
        inner = wawo.TcpClient(log, io=pool) if shared else wawo.TcpClient(log, backend=backend)
        listener = wawo.Listener(OnConnect=lambda conn: inner.start("127.0.0.1", port_of(peer)), OnException=failed)
        with wawo.TcpClient(listener, io=pool) as outer:
            outer.start("127.0.0.1", port_of(peer), wait=False)
            assert done.wait(DEADLINE_S)
        inner.stop()
    assert isinstance(caught[0], wawo.StateError)
    assert "use wait=False" in str(caught[0])


def test_stop_while_connecting(backend: str) -> None:
    client = wawo.TcpClient(Log(), backend=backend)
    client.start("no such host", 80, wait=False)
    client.stop()
    assert client.state is wawo.ServiceState.STOPPED


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("127.0.0.1", 0), ValueError, "port must be 1 to 65,535, not 0"),
        (("127.0.0.1", "80"), TypeError, "port must be an int, not str"),
        (("", 80), ValueError, "host must be a name or an address"),
    ],
)
def test_start_names_what_is_wrong(log: Log, arguments: Any, error: type[Exception], text: str) -> None:
    client = wawo.TcpClient(log)
    with pytest.raises(error, match=text):
        client.start(*arguments)
    assert client.state is wawo.ServiceState.STOPPED
    assert log.calls == []


def test_has_one_thread_unless_told(log: Log, backend: str, peer: socket.socket) -> None:
    with wawo.TcpClient(log, backend=backend) as client:
        client.start("127.0.0.1", port_of(peer))
        assert len(client.stats()["loops"]) == 1


def test_clients_share_a_pool(backend: str, peer: socket.socket) -> None:
    with wawo.IoPool(backend=backend) as pool:
        clients = [wawo.TcpClient(Log(), io=pool) for _ in range(5)]
        for client in clients:
            client.start("127.0.0.1", port_of(peer))
        assert sum(client.connected for client in clients) == 5
        clients[0].stop()
        assert clients[1].connected
    assert not any(client.connected for client in clients)


def test_dropping_a_running_client_stops_it(backend: str, peer: socket.socket) -> None:
    closed = threading.Event()
    listener = wawo.Listener(OnClose=lambda conn, operation, error: closed.set())
    only = [wawo.TcpClient(listener, backend=backend)]
    only[0].start("127.0.0.1", port_of(peer))
    with pytest.warns(ResourceWarning, match="<TcpClient STARTED"):
        only.clear()
    assert closed.wait(DEADLINE_S)


def test_length_prefixed_both_ways(log: Log, backend: str, peer: socket.socket) -> None:
    with wawo.TcpClient(log, framing=wawo.LengthPrefixed(2, max_size=1000), backend=backend) as client:
        client.start("127.0.0.1", port_of(peer))
        far, _ = peer.accept()
        with far:
            assert client.send(b"abc")
            assert client.send(b"")
            assert far.recv(7, socket.MSG_WAITALL) == b"\0\3abc\0\0"
            with pytest.raises(wawo.FrameTooBig):
                client.send(bytes(1001))
            assert client.connected
            for byte in b"\0\4wxyz\0\0\0\1!":
                far.sendall(bytes([byte]))
            far.sendall(struct.pack(">H", 1001) + bytes(1001))
            assert client.wait(DEADLINE_S)
    assert log.messages == [b"wxyz", b"", b"!"]
    assert log.calls[1] == ("OnClose", (wawo.Operation.RECEIVE, errno.EMSGSIZE))
    assert client.connection is not None
    assert isinstance(client.connection.error, wawo.ProtocolError)


def test_send_buffer_full_queues_nothing(backend: str, peer: socket.socket) -> None:
    limits: dict[str, Any] = {"low_water": 1, "high_water": 2, "max_pending": 100, "max_pending_total": 1000}
    with wawo.TcpClient(Log(), backend=backend, **limits) as client:
        client.start("127.0.0.1", port_of(peer))
        with pytest.raises(wawo.SendBufferFull):
            client.send(bytes(101))
        far, _ = peer.accept()
        with far:
            assert client.send(b"fits")
            assert far.recv(100) == b"fits"
