"""Components adopt connections that the program made, and what is left of them when that fails."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from given import NO_CONNECTION, UNIX, WRONG, Make, bound, dial, shown, state
from ipv6 import NEEDS_IPV6
from peers import DEADLINE_S, Log, echo, eventually, pattern, read, read_all, reset
from systems import NEEDS_UNIX

import wawo
from wawo import Operation


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
@pytest.mark.parametrize(
    "family", ["IPv4", pytest.param("IPv6", marks=NEEDS_IPV6), *UNIX, pytest.param("unnamed", marks=NEEDS_UNIX)]
)
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
                    peer.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(ConnectionResetError):
                        assert peer.recv(1) == b""  # ended: however slow the loops are, they have three at most

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
