"""A server listens with a socket that the program made, and what is left of that when it fails."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any

import pytest
from given import NO_LISTENER, UNIX, WRONG, Make, bound, dial, echoes, shown, state
from ipv6 import NEEDS_IPV6
from peers import Log, echo, free_port
from systems import NEEDS_UNIX, WINDOWS

import wawo


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("family", ["IPv4", pytest.param("IPv6", marks=NEEDS_IPV6), *UNIX])
def test_a_server_takes_over_a_socket(backend: str, family: str, listens: bool) -> None:
    server = wawo.TcpServer(Log(OnReceive=echo), backend=backend)
    with bound(family) as sock:
        if listens:
            sock.listen()
        kind, address, expected, fd = sock.family, sock.getsockname(), shown(sock), sock.fileno()
        server.start(sock=sock)
        assert sock.fileno() == -1
        assert server.address == expected
        if not WINDOWS:  # there a socket is no descriptor
            assert not os.get_inheritable(fd)
        for _ in range(3):
            echoes(kind, address)
        server.stop()
    with pytest.raises(ConnectionRefusedError):
        dial(kind, address)
    assert os.path.exists("socket") is (family == "path")  # whoever made the file removes it


def test_another_socket_at_each_start(backend: str) -> None:
    server = wawo.TcpServer(Log(OnReceive=echo), backend=backend)
    for family in ("IPv4", "IPv4" if WINDOWS else "path", "IPv4"):
        with bound(family) as sock:
            kind, address = sock.family, sock.getsockname()
            server.start(sock=sock)
            echoes(kind, address)
            server.stop()
    server.start("127.0.0.1", 0)
    server.stop()


@NEEDS_UNIX
def test_the_socket_in_its_callback_and_the_connections(backend: str) -> None:
    seen: list[tuple[int, object]] = []
    log = Log(OnReceive=echo)
    log.OnPrepareListen = lambda server, fd: seen.append((fd, server.address))  # type: ignore[method-assign]
    with bound("path") as sock, wawo.TcpServer(log, backend=backend, io_threads=2) as server:
        fd = sock.fileno()
        server.start(None, None, sock=sock)
        assert seen == [(fd, "unix:socket")]
        echoes(socket.AF_UNIX, "socket")
        assert (log.conn().local_address, log.conn().remote_address) == ("unix:socket", "unix:")


def test_options_for_connections_hold(backend: str) -> None:
    server = wawo.TcpServer(Log(), backend=backend, keepalive=(7, 3))
    with bound("IPv4") as sock, sock.dup() as same, server:
        server.start(sock=sock)
        assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        if not WINDOWS:  # which does not tell it in each version
            assert same.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 7
        assert same.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_a_queue_that_was_there_before_is_served(backend: str) -> None:
    """As a service manager hands it over: the first peers have connected long before."""
    with bound("IPv4") as sock, wawo.TcpServer(Log(OnReceive=echo), backend=backend) as server:
        sock.listen()
        with dial(socket.AF_INET, sock.getsockname()) as peer:
            peer.sendall(b"early")
            server.start(sock=sock)
            assert peer.recv(5, socket.MSG_WAITALL) == b"early"


@pytest.mark.parametrize(("make", "standard", "text"), WRONG + NO_LISTENER)
def test_start_says_what_is_wrong_with_it(backend: str, make: Make, standard: type[Exception], text: str) -> None:
    server = wawo.TcpServer(Log(), backend=backend)
    with contextlib.ExitStack() as stack:
        sock = make(stack)
        before = state(sock) if isinstance(sock, socket.socket) else ()
        with pytest.raises(standard) as caught:
            server.start(sock=sock)
        assert isinstance(caught.value, wawo.StartError)
        assert f"cannot start: {text}" in str(caught.value) or text in str(caught.value)
        assert server.state is wawo.ServiceState.STOPPED
        assert before == (state(sock) if isinstance(sock, socket.socket) else ())


@pytest.mark.parametrize("arguments", [("127.0.0.1", 80), ("127.0.0.1",), ("unix:/p",), (None, 0)])
def test_not_together_with_an_address(backend: str, arguments: Any) -> None:
    with bound("IPv4") as sock:
        before = state(sock)
        with pytest.raises(TypeError, match="give sock= or host and port, not both"):
            wawo.TcpServer(Log(), backend=backend).start(*arguments, sock=sock)
        assert state(sock) == before


@pytest.mark.parametrize("timeout", [None, 5.0, 0.0])
@pytest.mark.parametrize("how", ["refused", "running", "native", "late"])
def test_a_failed_start_leaves_it_to_the_caller(
    backend: str, how: str, timeout: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever step it fails: open, blocking as before, and good for another server."""

    def fail(*rest: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    log = Log()
    if how == "refused":
        log.OnPrepareListen = lambda server, fd: wawo.HandleResult.ERROR  # type: ignore[method-assign]
    with bound("IPv4") as sock, wawo.TcpServer(log, backend=backend) as server, monkeypatch.context() as patch:
        sock.settimeout(timeout)
        sock.set_inheritable(True)
        before = state(sock)
        if how == "native":
            patch.setattr("wawo._runs.Endpoint", fail)
        elif how == "late":
            patch.setattr("wawo._sockets.tune", fail)
        elif how == "running":
            server.start("127.0.0.1", 0)
        with pytest.raises(wawo.StateError if how == "running" else wawo.StartError):
            server.start(sock=sock)
        assert state(sock) == before
        patch.undo()
        with wawo.TcpServer(Log(OnReceive=echo), backend=backend) as second:
            address = sock.getsockname()
            second.start(sock=sock)
            echoes(socket.AF_INET, address)


@pytest.mark.skipif(WINDOWS, reason="there the second cannot even be bound, or takes the port over")
def test_a_port_that_somebody_else_got_first(backend: str) -> None:
    """Two that are bound to one port, by SO_REUSEADDR: the second that listens fails, and stays as it was."""
    port = free_port()
    with socket.socket() as one, socket.socket() as two:
        for sock in (one, two):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("127.0.0.1", port))
        one.listen()
        before = state(two)
        with pytest.raises(wawo.StartError, match="something else listens there") as caught:
            wawo.TcpServer(Log(), backend=backend).start(sock=two)
        assert caught.value.errno == errno.EADDRINUSE
        assert state(two) == before


# ---- adopt() ----
