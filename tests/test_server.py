"""TcpServer on every backend: start, addresses, callbacks, stop and drop, exit and fork."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import wawo

DEADLINE_S = 10.0


@pytest.fixture(params=["epoll", "poll"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Log(wawo.Listener):
    """Echoes, and notes every callback with its thread."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.threads: set[str] = set()
        self.closed = threading.Event()
        self.opened = threading.Event()
        self.down = threading.Event()

    def note(self, name: str, value: Any = None) -> None:
        self.calls.append((name, value))
        self.threads.add(threading.current_thread().name)

    def OnAccept(self, conn: wawo.Connection) -> None:
        self.note("OnAccept", conn.id)
        self.opened.set()

    def OnHandShake(self, conn: wawo.Connection) -> None:
        self.note("OnHandShake", conn.id)

    def OnReceive(self, conn: wawo.Connection, data: bytes) -> wawo.HandleResult | None:
        self.note("OnReceive", data)
        if data == b"refuse":
            return wawo.HandleResult.ERROR
        if data == b"raise":
            raise LookupError("asked for")
        conn.send(data)
        return None

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
        self.note("OnClose", (operation, error, conn.error))
        self.closed.set()

    def OnShutdown(self, component: wawo.TcpServer) -> None:
        self.note("OnShutdown", component.state)
        self.down.set()

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def server(log: Log, backend: str) -> Iterator[wawo.TcpServer]:
    with wawo.TcpServer(log, backend=backend) as server:
        server.start("127.0.0.1", 0)
        yield server


def dial(server: wawo.TcpServer, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, server.address[1]), DEADLINE_S)


def read(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            break
        data += piece
    return data


def test_echo_and_order_of_callbacks(server: wawo.TcpServer, log: Log) -> None:
    with dial(server) as peer:
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
        assert log.closed.wait(DEADLINE_S)
    server.stop()
    assert log.names() == ["OnAccept", "OnHandShake", "OnReceive", "OnClose", "OnShutdown"]
    assert log.calls[3] == ("OnClose", (wawo.Operation.CLOSE, 0, None))
    assert len(log.threads) == 1
    assert re.fullmatch(r"wawo-io-\d+", log.threads.pop())


def test_uses_the_backend(backend: str) -> None:
    with wawo.IoPool(backend=backend) as pool:
        assert pool.backend == backend


@pytest.mark.parametrize(
    ("host", "families"), [("127.0.0.1", "4"), ("0.0.0.0", "4"), ("localhost", "4"), ("::1", "6"), ("::", "46")]
)
@pytest.mark.parametrize("dual_stack", [True, False])
def test_hosts(log: Log, backend: str, host: str, families: str, dual_stack: bool) -> None:
    reached = ""
    with wawo.TcpServer(log, backend=backend, dual_stack=dual_stack) as server:
        server.start(host, 0)
        for kind, target in (("4", "127.0.0.1"), ("6", "::1")):
            with contextlib.suppress(OSError), dial(server, target) as peer:
                peer.sendall(b"x")
                reached += kind if peer.recv(1) == b"x" else ""
    assert reached == ("6" if host == "::" and not dual_stack else families)


@pytest.mark.parametrize("host", ["", None])
def test_all_addresses(log: Log, backend: str, host: str | None) -> None:
    with wawo.TcpServer(log, backend=backend) as server:
        server.start(host, 0)
        for target in ("127.0.0.1", "::1"):
            with dial(server, target) as peer:
                peer.sendall(b"x")
                assert peer.recv(1) == b"x"
        server.stop()
    with wawo.TcpServer(log, backend=backend, dual_stack=False) as server:
        server.start(host, 0)
        assert server.address[0] == "0.0.0.0"


def test_without_ipv6(log: Log, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoIpv6(socket.socket):
        def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "no IPv6")
            super().__init__(family, type, proto, fileno)

    monkeypatch.setattr(socket, "socket", NoIpv6)
    with wawo.TcpServer(log, backend=backend) as server:
        server.start("", 0)
        assert server.address[0] == "0.0.0.0"


def test_address_is_that_of_the_last_start(log: Log, backend: str) -> None:
    server = wawo.TcpServer(log, backend=backend)
    with pytest.raises(wawo.StateError, match=r"no address yet: call start\(\) first"):
        _ = server.address
    server.start("127.0.0.1", 0)
    host, port = server.address
    assert host == "127.0.0.1"
    assert port > 0
    server.stop()
    assert server.address == (host, port)
    assert repr(server) == "<TcpServer STOPPED, 0 connections>"


def test_state_and_restart(log: Log, backend: str) -> None:
    server = wawo.TcpServer(log, backend=backend)
    assert server.state is wawo.ServiceState.STOPPED
    assert server.wait()
    server.stop()
    for _ in range(3):
        server.start("127.0.0.1", 0)
        assert server.state is wawo.ServiceState.STARTED
        assert not server.wait(0)
        with pytest.raises(wawo.StateError, match="this TcpServer is already started"):
            server.start("127.0.0.1", 0)
        with dial(server) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b"x"
        server.stop()
        assert server.wait()
        assert server.state is wawo.ServiceState.STOPPED
    assert log.names().count("OnShutdown") == 3


@pytest.mark.parametrize(
    ("host", "port", "standard", "text"),
    [
        (
            "127.0.0.1",
            65_536,
            ValueError,
            "cannot listen on 127.0.0.1 port 65536: port must be 0 to 65,535, not 65,536",
        ),
        ("127.0.0.1", -1, ValueError, "port must be 0 to 65,535, not -1"),
        ("127.0.0.1", "80", TypeError, "port must be an int, not str"),
        ("127.0.0.1", True, TypeError, "port must be an int, not bool"),
        (5, 80, TypeError, "host must be a str or None, not int"),
        ("a\0b", 80, ValueError, "host must not contain a NUL"),
        ("[::1]", 80, ValueError, "an address without brackets: '::1'"),
        ("192.0.2.1", 0, OSError, "this machine has no such address"),
        ("no such host", 80, socket.gaierror, "the host name does not resolve"),
    ],
)
def test_start_names_what_is_wrong(
    log: Log, backend: str, host: Any, port: Any, standard: type[Exception], text: str
) -> None:
    server = wawo.TcpServer(log, backend=backend)
    with pytest.raises(standard) as caught:
        server.start(host, port)
    assert isinstance(caught.value, wawo.StartError)
    assert text in str(caught.value)
    assert server.state is wawo.ServiceState.STOPPED
    assert log.calls == []


def test_port_in_use(server: wawo.TcpServer, log: Log, backend: str) -> None:
    second = wawo.TcpServer(log, backend=backend)
    with pytest.raises(wawo.StartError, match="something else listens there") as caught:
        second.start(*server.address)
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.EADDRINUSE
    assert (caught.value.host, caught.value.port) == server.address
    server.stop()
    assert caught.value.port is not None
    second.start("127.0.0.1", caught.value.port)
    second.stop()


def test_failed_start_leaves_no_file(log: Log, backend: str) -> None:
    server = wawo.TcpServer(log, backend=backend)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(wawo.StartError):
            server.start("192.0.2.1", 0)
    assert len(os.listdir("/proc/self/fd")) == before


def test_prepare_listen_comes_before_listen(backend: str) -> None:
    seen = []

    def prepare(server: wawo.TcpServer, fd: int) -> None:
        sock = socket.socket(fileno=os.dup(fd))
        with sock:
            listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            seen.append((server, sock.getsockname()[1] > 0, listening, threading.current_thread()))

    with wawo.TcpServer(wawo.Listener(OnPrepareListen=prepare), backend=backend) as server:
        server.start("127.0.0.1", 0)
        assert seen == [(server, True, 0, threading.current_thread())]
        seen.clear()


def test_prepare_listen_may_refuse(log: Log, backend: str) -> None:
    log.OnPrepareListen = lambda server, fd: wawo.HandleResult.ERROR  # type: ignore[method-assign]
    server = wawo.TcpServer(log, backend=backend)
    with pytest.raises(wawo.StartError, match=r"OnPrepareListen returned HandleResult\.ERROR") as caught:
        server.start("127.0.0.1", 0)
    assert caught.value.errno == errno.ECANCELED

    def prepare(server: wawo.TcpServer, fd: int) -> None:
        raise PermissionError(errno.EPERM, "not today")

    log.OnPrepareListen = prepare  # type: ignore[method-assign]
    with pytest.raises(PermissionError, match="not today") as second:
        server.start("127.0.0.1", 0)
    assert isinstance(second.value, wawo.StartError)
    assert log.calls == []


def test_stop_in_prepare_listen_is_an_error(backend: str) -> None:
    listener = wawo.Listener(OnPrepareListen=lambda server, fd: server.stop())
    server = wawo.TcpServer(listener, backend=backend)
    with pytest.raises(wawo.StateError, match="let OnPrepareListen return ERROR"):
        server.start("127.0.0.1", 0)
    assert server.state is wawo.ServiceState.STOPPED


def test_options_reach_the_connections(backend: str) -> None:
    seen: list[int] = []
    names = (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        (socket.SOL_SOCKET, socket.SO_REUSEADDR),
    )

    def prepare(server: wawo.TcpServer, fd: int) -> None:
        with socket.socket(fileno=os.dup(fd)) as sock:
            seen.extend(sock.getsockopt(level, name) for level, name in names)

    with wawo.TcpServer(wawo.Listener(OnPrepareListen=prepare), keepalive=(7, 3), backend=backend) as server:
        server.start("127.0.0.1", 0)
    assert seen == [1, 1, 7, 3, 5, 1]
    seen.clear()
    with wawo.TcpServer(
        wawo.Listener(OnPrepareListen=prepare), keepalive=None, no_delay=False, reuse_address=False, backend=backend
    ) as server:
        server.start("127.0.0.1", 0)
    assert (seen[0], seen[1], seen[5]) == (0, 0, 0)


def test_reuse_port_listens_for_each_loop(backend: str) -> None:
    fds: list[int] = []
    log = Log()
    log.OnPrepareListen = lambda server, fd: fds.append(fd)  # type: ignore[method-assign]
    with wawo.TcpServer(log, reuse_port=True, io_threads=3, backend=backend) as server:
        server.start("127.0.0.1", 0)
        assert len(set(fds)) == 3
        for _ in range(20):
            with dial(server) as peer:
                peer.sendall(b"x")
                assert peer.recv(1) == b"x"
        assert len(server.stats()["loops"]) == 3


@pytest.mark.parametrize(("word", "logged"), [(b"refuse", False), (b"raise", True)])
def test_refusal_ends_that_connection_alone(
    server: wawo.TcpServer, log: Log, caplog: pytest.LogCaptureFixture, word: bytes, logged: bool
) -> None:
    with caplog.at_level(logging.ERROR, "wawo"), dial(server) as other, dial(server) as peer:
        peer.sendall(word)
        assert log.closed.wait(DEADLINE_S)
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""
        other.sendall(b"still here")
        assert read(other, 10) == b"still here"
    operation, number, error = next(value for name, value in log.calls if name == "OnClose")
    assert (operation, number) == (wawo.Operation.RECEIVE, errno.ECANCELED)
    assert isinstance(error, OSError)
    assert ("LookupError" in caplog.text) is logged


def test_connections_by_id(server: wawo.TcpServer, log: Log) -> None:
    with dial(server) as peer:
        assert log.opened.wait(DEADLINE_S)
        (conn,) = server.connections()
        assert server.count == 1
        assert server.connection(conn.id) == conn
        assert conn.component is server
        assert conn.remote_address == peer.getsockname()
        assert server.send(conn.id, b"pushed")
        assert read(peer, 6) == b"pushed"
        assert "1 connections" in repr(server)
        assert server.disconnect(conn.id)
        assert peer.recv(1) == b""
    assert log.closed.wait(DEADLINE_S)
    server.stop()
    assert not conn.connected
    assert conn.send(b"late") is False
    assert server.connection(conn.id) is None
    assert server.send(conn.id, b"late") is False
    assert server.disconnect(conn.id) is False
    assert server.connections() == []
    assert server.count == 0


def test_id_is_an_int(server: wawo.TcpServer) -> None:
    wrong: Any = "1"
    with pytest.raises(TypeError, match="id must be an int, not str"):
        server.connection(wrong)
    with pytest.raises(TypeError, match="id must be an int, not bool"):
        server.send(True, b"")


def test_send_wants_bytes(server: wawo.TcpServer, log: Log) -> None:
    with dial(server):
        assert log.opened.wait(DEADLINE_S)
        (conn,) = server.connections()
        text: Any = "text"
        with pytest.raises(TypeError, match="str"):
            conn.send(text)


def test_stats_live_and_after_the_end(server: wawo.TcpServer, log: Log) -> None:
    with dial(server) as peer:
        peer.sendall(b"12345")
        assert read(peer, 5) == b"12345"
        stats = server.stats()
        assert (stats["accepts"], stats["bytes_in"], stats["messages_in"]) == (1, 5, 1)
        assert len(stats["loops"]) == 1
    server.stop()
    assert server.stats()["accepts"] == 1
    assert server.stats()["closed"] == 1


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


PROGRAM = """
import os, signal, sys, threading, wawo
class Echo(wawo.Listener):
    def OnReceive(self, conn, data):
        conn.send(data)
    def OnShutdown(self, component):
        print("OnShutdown", flush=True)
server = wawo.TcpServer(Echo(), backend=sys.argv[1])
server.start("127.0.0.1", 0)
"""


def run(backend: str, program: str, code: int = 0) -> list[str]:
    command = [sys.executable, "-X", "faulthandler", "-c", PROGRAM + program, backend]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == code, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_exit_with_a_live_server(backend: str) -> None:
    assert run(backend, "") == ["OnShutdown"]


def test_exit_with_connections(backend: str) -> None:
    program = """
import socket
peer = socket.create_connection(server.address)
peer.sendall(b"x"); peer.recv(1)
"""
    assert run(backend, program) == ["OnShutdown"]


def test_exit_with_a_blocked_callback(backend: str) -> None:
    program = """
import socket
entered = threading.Event()
def block(conn, data):
    entered.set()
    threading.Event().wait()
second = wawo.TcpServer(wawo.Listener(OnReceive=block), backend=sys.argv[1])
second.start("127.0.0.1", 0)
peer = socket.create_connection(second.address)
peer.sendall(b"x")
entered.wait()
"""
    assert "OnShutdown" in run(backend, program)


def test_interrupt_ends_wait(backend: str) -> None:
    program = """
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    with server:
        server.wait()
except KeyboardInterrupt:
    print("interrupted", server.state.name)
"""
    assert run(backend, program) == ["OnShutdown", "interrupted STOPPED"]


def test_stop_in_a_signal_handler(backend: str) -> None:
    program = """
signal.signal(signal.SIGTERM, lambda *rest: server.stop())
threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM)).start()
print(server.wait(), server.state.name)
"""
    assert run(backend, program) == ["OnShutdown", "True STOPPED"]


@pytest.mark.parametrize("shared", ["None", "pool"])
def test_fork_leaves_the_child_stopped(backend: str, shared: str) -> None:
    program = f"""
import socket, warnings
warnings.simplefilter("ignore", DeprecationWarning)
pool = wawo.IoPool()
server.stop()
server = wawo.TcpServer(Echo(), io={shared})
server.start("127.0.0.1", 0)
address = server.address
with socket.create_connection(address, 5) as peer:  # its threads have started: else ASan may hang
    peer.sendall(b"x")
    assert peer.recv(1) == b"x"
while server.count:
    pass
pid = os.fork()
if pid == 0:
    assert server.state is wawo.ServiceState.STOPPED and server.count == 0
    server.stop()
    assert server.wait()
    try:
        pool.stats()
    except wawo.StateError as error:
        print(error, flush=True)
    fresh = wawo.TcpServer(Echo(), backend=sys.argv[1])
    fresh.start("127.0.0.1", 0)
    with socket.create_connection(fresh.address, 5) as peer:
        peer.sendall(b"x")
        assert peer.recv(1) == b"x"
    fresh.stop()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
with socket.create_connection(address, 5) as peer:
    peer.sendall(b"x")
    assert peer.recv(1) == b"x"
server.stop()
"""
    sentence = "the IoPool is its parent process's: make a new one"
    assert run(backend, program) == ["OnShutdown", sentence, "OnShutdown", "OnShutdown"]
