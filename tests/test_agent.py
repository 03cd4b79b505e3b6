"""TcpAgent on every backend: connecting, failing to, arguments, many connections."""

from __future__ import annotations

import errno
import socket
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


class Echo(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        conn.send(data)


class Log(wawo.Listener):
    """Notes what comes, and counts down to an event."""

    def __init__(self, wanted: int = 1) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.missing = wanted
        self.lock = threading.Lock()
        self.done = threading.Event()

    def count(self) -> None:
        with self.lock:
            self.missing -= 1
            if self.missing == 0:
                self.done.set()

    def OnConnect(self, conn: wawo.Connection) -> None:
        self.calls.append(("OnConnect", conn.extra))
        conn.send(f"[{conn.extra}]".encode())

    def OnHandShake(self, conn: wawo.Connection) -> None:
        self.calls.append(("OnHandShake", conn.extra))

    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        self.calls.append(("OnReceive", (conn.extra, data)))
        self.count()

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
        self.calls.append(("OnClose", (operation, error, conn.error)))
        if operation is wawo.Operation.CONNECT:
            self.count()

    def OnShutdown(self, component: wawo.TcpAgent) -> None:
        self.calls.append(("OnShutdown", component))


@pytest.fixture
def port(backend: str) -> Iterator[int]:
    with wawo.TcpServer(Echo(), backend=backend) as server:
        server.start("127.0.0.1", 0)
        yield server.address[1]


def test_life_of_a_connection(port: int, backend: str) -> None:
    log = Log()
    with wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        conn = agent.connect("127.0.0.1", port, extra="a")
        assert conn.extra == "a"
        assert log.done.wait(DEADLINE_S)
        assert conn.connected
        assert conn.remote_address == ("127.0.0.1", port)
        assert agent.connections() == [conn]
        assert agent.connection(conn.id) == conn
        assert agent.count == 1
    assert [name for name, _ in log.calls] == ["OnConnect", "OnHandShake", "OnReceive", "OnClose", "OnShutdown"]
    assert log.calls[2] == ("OnReceive", ("a", b"[a]"))
    assert not conn.connected
    assert agent.stats()["connects"] == 1


def test_many_connections_keep_their_extra(port: int, backend: str) -> None:
    log = Log(200)
    with wawo.TcpAgent(log, backend=backend, io_threads=2) as agent:
        agent.start()
        for number in range(200):
            agent.connect("127.0.0.1", port, extra=number)
        assert log.done.wait(DEADLINE_S)
    answers = [value for name, value in log.calls if name == "OnReceive"]
    assert sorted(answers) == [(number, f"[{number}]".encode()) for number in range(200)]


def test_refused(backend: str) -> None:
    log = Log()
    with wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        agent.connect("127.0.0.1", free_port())
        assert log.done.wait(DEADLINE_S)
    operation, number, error = log.calls[0][1]
    assert (operation, number) == (wawo.Operation.CONNECT, errno.ECONNREFUSED)
    assert isinstance(error, ConnectionRefusedError)


def test_name_that_does_not_resolve(backend: str) -> None:
    log = Log()
    with wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        conn = agent.connect("no such host", 80)
        assert log.done.wait(DEADLINE_S)
    assert log.calls[0][1][:2] == (wawo.Operation.CONNECT, errno.EHOSTUNREACH)
    assert isinstance(conn.error, socket.gaierror)


def test_name_that_resolves(port: int, backend: str) -> None:
    log = Log()
    with wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        agent.connect("localhost", port, extra=1)
        assert log.done.wait(DEADLINE_S)
    assert ("OnReceive", (1, b"[1]")) in log.calls


def test_local_address(port: int, backend: str) -> None:
    log = Log()
    local = free_port()
    with wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        conn = agent.connect("127.0.0.1", port, local_address=("127.0.0.2", local))
        assert log.done.wait(DEADLINE_S)
        assert conn.local_address == ("127.0.0.2", local)


def test_connect_wants_a_started_agent(backend: str) -> None:
    agent = wawo.TcpAgent(Log(), backend=backend)
    with pytest.raises(wawo.StateError, match=r"this TcpAgent is stopped: call start\(\) before connect\(\)"):
        agent.connect("127.0.0.1", 80)
    agent.start()
    with pytest.raises(wawo.StateError, match="already started"):
        agent.start()
    agent.stop()
    with pytest.raises(wawo.StateError):
        agent.connect("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("127.0.0.1", 0), ValueError, "port must be 1 to 65,535, not 0"),
        (("127.0.0.1", 65_536), ValueError, "port must be 1 to 65,535, not 65,536"),
        (("127.0.0.1", "80"), TypeError, "port must be an int, not str"),
        (("", 80), ValueError, "host must be a name or an address, not an empty string"),
        (("a\0b", 80), ValueError, "host must not contain a NUL"),
        (("[::1]", 80), ValueError, "without brackets: '::1'"),
        (("ä" * 70, 80), ValueError, "is no valid name"),
        ((None, 80), TypeError, "host must be a str, not NoneType"),
        ((b"localhost", 80), TypeError, "host must be a str, not bytes"),
    ],
)
def test_connect_names_what_is_wrong(arguments: Any, error: type[Exception], text: str) -> None:
    with wawo.TcpAgent(Log()) as agent:
        agent.start()
        with pytest.raises(error) as caught:
            agent.connect(*arguments)
        assert text in str(caught.value)
        assert agent.count == 0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"timeout": 0}, ValueError, "timeout must be more than 0 to 86,400 seconds, not 0"),
        ({"timeout": "5"}, TypeError, "timeout must be a number of seconds, not str"),
        ({"local_address": "127.0.0.1"}, TypeError, "local_address must be None or a tuple"),
        ({"local_address": (5, 0)}, TypeError, "local_address must hold a host of type str"),
        ({"local_address": ("localhost", 0)}, ValueError, "local_address must hold a numeric address of this machine"),
        ({"local_address": ("", 70_000)}, ValueError, "the port of local_address must be 0 to 65,535"),
    ],
)
def test_connect_names_the_wrong_option(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with wawo.TcpAgent(Log()) as agent:
        agent.start()
        with pytest.raises(error, match=text):
            agent.connect("127.0.0.1", 80, **options)


def test_connect_from_callbacks(port: int, backend: str) -> None:
    class Chain(Log):
        def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
            super().OnClose(conn, operation, error)
            if self.missing:
                conn.component.connect("127.0.0.1", port, extra=self.missing)

        def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
            super().OnReceive(conn, data)
            conn.close()

    log = Chain(20)
    with wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        agent.connect("127.0.0.1", port, extra=20)
        assert log.done.wait(DEADLINE_S)
    assert [value[0] for name, value in log.calls if name == "OnReceive"] == list(range(20, 0, -1))


def test_stop_ends_pending_connects(backend: str) -> None:
    log = Log()
    with wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        agent.connect("no such host", 80)
        agent.stop()
    assert [name for name, _ in log.calls] == ["OnClose", "OnShutdown"]


def test_start_that_fails_natively_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*rest: object) -> None:
        raise OSError(errno.EMFILE, "no more files")

    log = Log()
    agent = wawo.TcpAgent(log)
    with monkeypatch.context() as patch:
        patch.setattr("wawo._runs.Endpoint", fail)
        with pytest.raises(wawo.StartError, match=r"cannot start: no more files \(.*ulimit -n\)"):
            agent.start()
    assert agent.state is wawo.ServiceState.STOPPED
    agent.start()
    agent.stop()
    assert [name for name, _ in log.calls] == ["OnShutdown"]


def test_start_reports_a_bad_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = wawo.TcpAgent(Log())
    monkeypatch.setenv("WAWO_BACKEND", "pigeon")
    with pytest.raises(ValueError, match="cannot start: WAWO_BACKEND") as caught:
        agent.start()
    assert isinstance(caught.value, wawo.StartError)
    assert agent.state is wawo.ServiceState.STOPPED
