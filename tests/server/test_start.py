"""TcpServer: start, addresses, what stands in the way, the options of its sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import threading
from typing import Any

import pytest
from ipv6 import NEEDS_IPV6
from peers import borrowed
from servers import DEADLINE_S, Log, dial, read
from systems import NEEDS_PROC, NEEDS_REUSE_PORT, WINDOWS

import wawo


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


IPV4 = [("127.0.0.1", "4"), ("0.0.0.0", "4"), ("localhost", "4")]
IPV6 = [pytest.param(host, families, marks=NEEDS_IPV6) for host, families in (("::1", "6"), ("::", "46"))]


@pytest.mark.parametrize(("host", "families"), [*IPV4, *IPV6])
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


@NEEDS_IPV6
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


@NEEDS_PROC
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
        with borrowed(fd) as sock:
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
        (socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE if WINDOWS else socket.SO_REUSEADDR),
        # The times, which Windows does not tell in each of its versions.
        *([] if WINDOWS else [(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)]),
        *([] if WINDOWS else [(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)]),
    )

    def prepare(server: wawo.TcpServer, fd: int) -> None:
        with borrowed(fd) as sock:
            seen.extend(sock.getsockopt(level, name) for level, name in names)

    with wawo.TcpServer(wawo.Listener(OnPrepareListen=prepare), keepalive=(7, 3), backend=backend) as server:
        server.start("127.0.0.1", 0)
    assert [seen[0], seen[1], bool(seen[2]), *seen[3:]] == [1, 1, True, *([] if WINDOWS else [7, 3, 5])]
    seen.clear()
    with wawo.TcpServer(
        wawo.Listener(OnPrepareListen=prepare), keepalive=None, no_delay=False, reuse_address=False, backend=backend
    ) as server:
        server.start("127.0.0.1", 0)
    assert (seen[0], seen[1]) == (0, 0)
    assert bool(seen[2]) == WINDOWS  # where it is never off, for no other program may take the port


@NEEDS_REUSE_PORT
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
