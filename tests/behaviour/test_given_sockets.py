"""Sockets that the program made itself: a server listens with one, components adopt connections, and what is left of
them when that fails."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from peers import DEADLINE_S, Log, echo, eventually, free_port, pattern, read, read_all, reset

import wawo
from wawo import Operation


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where unix sockets have short paths."""
    monkeypatch.chdir(tmp_path)


@contextlib.contextmanager
def made(family: int, kind: int, address: Any) -> Iterator[socket.socket]:
    with socket.socket(family, kind) as sock:
        if address is not None:
            sock.bind(address)
        yield sock


def bound(family: str, kind: int = socket.SOCK_STREAM) -> contextlib.AbstractContextManager[socket.socket]:
    if family == "IPv4":
        return made(socket.AF_INET, kind, ("127.0.0.1", 0))
    if family == "IPv6":
        return made(socket.AF_INET6, kind, ("::1", 0))
    return made(socket.AF_UNIX, kind, "\0wawo-tests-" + os.getcwd() if family == "abstract" else "socket")


def shown(sock: socket.socket) -> tuple[str, int] | str:
    name = sock.getsockname()
    if isinstance(name, tuple):
        return name[:2]
    return f"unix:@{name[1:].decode()}" if isinstance(name, bytes) else f"unix:{name}"


def dial(family: int, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(DEADLINE_S)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def echoes(family: int, address: Any) -> None:
    with dial(family, address) as peer:
        peer.sendall(b"hello")
        assert peer.recv(5, socket.MSG_WAITALL) == b"hello"


def state(sock: socket.socket) -> tuple[object, ...]:
    """What must be the same after a start that failed."""
    if sock.fileno() < 0:
        return (-1,)
    return sock.fileno(), sock.gettimeout(), os.get_blocking(sock.fileno()), os.get_inheritable(sock.fileno())


# ---- start(sock=) ----


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("family", ["IPv4", "IPv6", "path", "abstract"])
def test_a_server_takes_over_a_socket(backend: str, family: str, listens: bool) -> None:
    server = wawo.TcpServer(Log(OnReceive=echo), backend=backend)
    with bound(family) as sock:
        if listens:
            sock.listen()
        kind, address, expected, fd = sock.family, sock.getsockname(), shown(sock), sock.fileno()
        server.start(sock=sock)
        assert sock.fileno() == -1
        assert server.address == expected
        assert not os.get_inheritable(fd)
        for _ in range(3):
            echoes(kind, address)
        server.stop()
    with pytest.raises(ConnectionRefusedError):
        dial(kind, address)
    assert os.path.exists("socket") is (family == "path")  # whoever made the file removes it


def test_another_socket_at_each_start(backend: str) -> None:
    server = wawo.TcpServer(Log(OnReceive=echo), backend=backend)
    for family in ("IPv4", "abstract", "IPv4"):
        with bound(family) as sock:
            kind, address = sock.family, sock.getsockname()
            server.start(sock=sock)
            echoes(kind, address)
            server.stop()
    server.start("127.0.0.1", 0)
    server.stop()


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


def of_a_closed_one(stack: contextlib.ExitStack) -> socket.socket:
    sock = stack.enter_context(bound("IPv4"))
    sock.close()
    return sock


def of_a_connected_one(stack: contextlib.ExitStack) -> socket.socket:
    one, other = socket.socketpair()
    stack.enter_context(other)
    return stack.enter_context(one)


def of_a_tls_one(stack: contextlib.ExitStack) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    return stack.enter_context(context.wrap_socket(stack.enter_context(bound("IPv4")), server_side=True))


def of_another_family(stack: contextlib.ExitStack) -> socket.socket:
    """By what it says of itself: the system may have no other streams."""
    sock = stack.enter_context(bound("IPv4"))
    return stack.enter_context(socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM, fileno=sock.detach()))


Make = Callable[[contextlib.ExitStack], Any]
WRONG: list[tuple[Make, type[Exception], str]] = [
    (lambda stack: 5, TypeError, "sock must be a socket.socket, not int (5)"),
    (lambda stack: "unix:/p", TypeError, "sock must be a socket.socket, not str ('unix:/p')"),
    (of_a_closed_one, ValueError, "sock is closed"),
    (of_a_tls_one, TypeError, "sock must be a plain socket: the state of an ssl.SSLSocket cannot be taken over"),
    (
        lambda stack: stack.enter_context(bound("IPv4", socket.SOCK_DGRAM)),
        ValueError,
        "a stream socket, not SOCK_DGRAM",
    ),
    (
        lambda stack: stack.enter_context(bound("path", socket.SOCK_SEQPACKET)),
        ValueError,
        "sock must be a stream socket, not SOCK_SEQPACKET",
    ),
    (of_another_family, ValueError, "sock must be of AF_INET, AF_INET6 or AF_UNIX, not AF_VSOCK"),
]
NO_LISTENER: list[tuple[Make, type[Exception], str]] = [
    (of_a_connected_one, ValueError, "sock is connected: a server listens with one that is bound; adopt() takes"),
    (lambda stack: stack.enter_context(socket.socket()), ValueError, "sock is not bound: call its bind() before"),
    (lambda stack: stack.enter_context(socket.socket(socket.AF_UNIX)), ValueError, "sock is not bound"),
]


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
        os.set_inheritable(sock.fileno(), True)
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


def pair(family: str) -> tuple[socket.socket, socket.socket]:
    """Connected: one to give away, and its peer."""
    if family == "unnamed":
        one, other = socket.socketpair()
    else:
        with bound(family) as listening:
            listening.listen()
            other = dial(listening.family, listening.getsockname())
            one, _ = listening.accept()
    other.settimeout(DEADLINE_S)
    return one, other


@contextlib.contextmanager
def component(kind: str, log: wawo.Listener, backend: str, **options: Any) -> Iterator[wawo.TcpServer | wawo.TcpAgent]:
    if kind == "server":
        with wawo.TcpServer(log, backend=backend, **options) as server:
            server.start("127.0.0.1", 0)
            yield server
    else:
        with wawo.TcpAgent(log, backend=backend, **options) as agent:
            agent.start()
            yield agent


both = pytest.mark.parametrize("kind", ["server", "agent"])


@both
@pytest.mark.parametrize("family", ["IPv4", "IPv6", "path", "abstract", "unnamed"])
def test_a_component_adopts(backend: str, kind: str, family: str) -> None:
    log = Log(OnReceive=echo)
    sock, peer = pair(family)
    local, remote = (shown(sock), sock.getpeername()[:2] if family.startswith("IP") else "unix:")
    peer.sendall(b"early")
    with peer, component(kind, log, backend) as owner:
        conn = owner.adopt(sock, extra="mine")
        assert sock.fileno() == -1
        assert conn.extra == "mine"
        assert owner.connection(conn.id) is conn
        assert owner.count == 1
        assert read(peer, 5) == b"early"
        assert (conn.local_address, conn.remote_address) == (local, remote)
        assert conn.component is owner
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b""
        log.until_count("OnClose")
        first = "OnAccept" if kind == "server" else "OnConnect"
        assert [name for name in log.names(conn) if name != "OnReceive"] == [first, "OnHandShake", "OnClose"]
        assert log.closes() == [(Operation.CLOSE, 0)]
        stats = owner.stats()
        assert (stats["accepts"], stats["connects"]) == ((1, 0) if kind == "server" else (0, 1))


@both
def test_with_framing_and_many_bytes(backend: str, kind: str) -> None:
    sock, peer = pair("unnamed")
    data = pattern(1_000_000)
    with peer, component(kind, Log(), backend, framing=wawo.LengthPrefixed(max_size=len(data))) as owner:
        assert owner.adopt(sock).send(data)
        assert read(peer, len(data) + 4) == len(data).to_bytes(4, "big") + data


@both
def test_what_is_done_to_it_at_once_holds(backend: str, kind: str) -> None:
    log = Log()
    with component(kind, log, backend) as owner:
        for number in range(10):
            sock, peer = pair("IPv4")
            conn = owner.adopt(sock)
            assert conn.send(b"bye %d" % number)
            conn.close()
            with peer:
                assert read_all(peer) == b"bye %d" % number
        log.until_count("OnClose", 10)
    assert log.closes() == [(Operation.CLOSE, 0)] * 10


@both
def test_peer_that_is_gone(backend: str, kind: str) -> None:
    log = Log()
    with component(kind, log, backend) as owner:
        sock, peer = pair("IPv4")
        peer.close()
        owner.adopt(sock)
        log.until_count("OnClose")
        sock, peer = pair("IPv4")
        reset(peer)
        with contextlib.suppress(OSError), sock:  # the system may know it already
            owner.adopt(sock)
            log.until_count("OnClose", 2)
    assert log.closes()[0] == (Operation.CLOSE, 0)
    assert log.closes()[1:] in ([], [(Operation.CLOSE, errno.ECONNRESET)])


def test_a_listener_may_refuse_it(backend: str) -> None:
    for kind, name, operation in (("server", "OnAccept", Operation.ACCEPT), ("agent", "OnConnect", Operation.CONNECT)):
        log = Log(**{name: lambda conn: wawo.HandleResult.ERROR})
        sock, peer = pair("unnamed")
        with peer, component(kind, log, backend) as owner:
            owner.adopt(sock)
            assert read_all(peer) == b""
            peer.close()
            log.until_count("OnClose")
            assert log.closes() == [(operation, errno.ECANCELED)]


def test_adopted_in_a_callback(backend: str) -> None:
    """From one component to another: the server takes what the agent's callback hands it."""
    far = Log(OnReceive=echo)
    sock, peer = pair("unnamed")
    inner, outer = pair("unnamed")
    with peer, outer, component("server", far, backend) as server:
        near = wawo.Listener(OnReceive=lambda conn, data: server.adopt(inner) and None)
        with component("agent", near, backend) as agent:
            agent.adopt(sock)
            peer.sendall(b"x")
            outer.sendall(b"hello")
            assert read(outer, 5) == b"hello"


NO_CONNECTION: list[tuple[Make, type[Exception], str]] = [
    (lambda stack: stack.enter_context(socket.create_server(("127.0.0.1", 0))), ValueError, "sock listens: a server"),
    (lambda stack: stack.enter_context(bound("IPv4")), OSError, "sock is not connected"),
    (lambda stack: stack.enter_context(socket.socket(socket.AF_UNIX)), OSError, "sock is not connected"),
]


@both
@pytest.mark.parametrize(("make", "error", "text"), WRONG + NO_CONNECTION)
def test_adopt_says_what_is_wrong_with_it(
    backend: str, kind: str, make: Make, error: type[Exception], text: str
) -> None:
    with contextlib.ExitStack() as stack, component(kind, Log(), backend) as owner:
        sock = make(stack)
        before = state(sock) if isinstance(sock, socket.socket) else ()
        with pytest.raises(error) as caught:
            owner.adopt(sock)
        assert text in str(caught.value)
        if error is OSError:
            assert isinstance(caught.value, OSError)
            assert caught.value.errno == errno.ENOTCONN
        assert before == (state(sock) if isinstance(sock, socket.socket) else ())
        assert owner.count == 0


@both
def test_at_max_connections(backend: str, kind: str) -> None:
    log = Log()
    with component(kind, log, backend, max_connections=1) as owner, contextlib.ExitStack() as stack:
        socks = [tuple(map(stack.enter_context, pair("IPv4"))) for _ in range(2)]
        conn = owner.adopt(socks[0][0])
        before = state(socks[1][0])
        with pytest.raises(OSError, match="there are 1 connections, which is max_connections") as caught:
            owner.adopt(socks[1][0])
        assert caught.value.errno == errno.ENOBUFS
        assert state(socks[1][0]) == before
        assert socks[1][0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
        conn.close()
        socks[0][1].close()
        eventually(lambda: owner.count == 0)
        assert owner.adopt(socks[1][0]).extra is None


@both
def test_not_started(backend: str, kind: str) -> None:
    sock, peer = pair("unnamed")
    before = state(sock)
    with sock, peer:
        owner = (wawo.TcpServer if kind == "server" else wawo.TcpAgent)(Log(), backend=backend)
        with pytest.raises(wawo.StateError, match=r"is stopped: call start\(\) before adopt\(\)"):
            owner.adopt(sock)
        with component(kind, Log(), backend) as other:
            other.stop()
            with pytest.raises(wawo.StateError):
                other.adopt(sock)
        assert state(sock) == before


@pytest.mark.threads
@both
def test_adopt_against_stop(backend: str, kind: str) -> None:
    """From several threads while another stops and starts it: each either is taken, and hears its end, or stays."""
    log = Log()
    taken, kept = [0, 0, 0], [0, 0, 0]
    over = threading.Event()

    def give(number: int) -> None:
        while not over.is_set():
            sock, peer = socket.socketpair()
            peer.settimeout(DEADLINE_S)
            with sock, peer:
                try:
                    owner.adopt(sock)
                except wawo.StateError:
                    kept[number] += 1
                    sock.sendall(b"still ours")
                    assert peer.recv(10) == b"still ours"
                else:
                    taken[number] += 1
                    assert sock.fileno() == -1

    with component(kind, log, backend, io_threads=2) as owner:
        givers = [threading.Thread(target=give, args=(number,)) for number in range(3)]
        for giver in givers:
            giver.start()
        for turn in range(6):
            before = sum(taken)
            eventually(lambda before=before: sum(taken) > before + 10)
            owner.stop(drain=turn % 2 * 0.05)
            owner.start(*(("127.0.0.1", 0) if kind == "server" else ()))
        over.set()
        for giver in givers:
            giver.join()
    assert log.count("OnClose") == sum(taken)
    assert log.count("OnShutdown") == 7
