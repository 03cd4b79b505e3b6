"""Dialling: what answers, what refuses, what does not answer, several addresses, and oneself."""

from __future__ import annotations

import contextlib
import enum
import errno
import re
import socket
import threading
import time
import weakref
from collections.abc import Iterator

import pytest
from ipv6 import NEEDS_IPV6
from peers import DEADLINE_S, Log, dial, echo, eventually, free_port, read, serving
from punctual import punctual

import wawo
from wawo import Operation


@contextlib.contextmanager
def agent_of(log: Log, backend: str, **options: object) -> Iterator[wawo.TcpAgent]:
    with wawo.TcpAgent(log, backend=backend, **options) as agent:  # type: ignore[arg-type]
        agent.start()
        yield agent


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An address that lets a connect hang: its backlog is full and nobody accepts."""
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listening.getsockname())
        yield listening.getsockname()


def test_refused_by_many_at_once(backend: str) -> None:
    log = Log()
    port = free_port()
    with agent_of(log, backend) as agent:
        conns = [agent.connect("127.0.0.1", port) for _ in range(100)]
        log.until_count("OnClose", 100)
        assert {call.conn for call in log.calls} == set(conns)
        assert set(log.closes()) == {(Operation.CONNECT, errno.ECONNREFUSED)}
        assert all(isinstance(conn.error, ConnectionRefusedError) for conn in conns)
        assert all(conn.local_address is None and not conn.connected for conn in conns)
        eventually(lambda: agent.count == 0)


@punctual
def test_timeout_of_one_connect_and_of_the_option(backend: str, silent: tuple[str, int]) -> None:
    log = Log()
    with agent_of(log, backend, connect_timeout=0.2) as agent:
        start = time.monotonic()
        conn = agent.connect(*silent)
        slow = agent.connect(*silent, timeout=0.5)
        log.until_count("OnClose")
        assert 0.15 < time.monotonic() - start < 0.45
        assert log.calls[0].conn == conn
        log.until_count("OnClose", 2)
        assert 0.45 < time.monotonic() - start < 5
        assert log.closes() == [(Operation.CONNECT, errno.ETIMEDOUT)] * 2
        assert isinstance(slow.error, TimeoutError)
        assert "connect timeout" in str(slow.error)


def test_timeout_of_a_client(backend: str, silent: tuple[str, int]) -> None:
    client = wawo.TcpClient(Log(), backend=backend)
    with pytest.raises(TimeoutError) as caught:
        client.start(*silent, timeout=0.1)
    assert isinstance(caught.value, wawo.StartError)
    assert client.state is wawo.ServiceState.STOPPED


@pytest.mark.parametrize("how", ["close", "abort", "stop"])
def test_given_up_while_connecting(backend: str, silent: tuple[str, int], how: str) -> None:
    log = Log()
    with agent_of(log, backend) as agent:
        conn = agent.connect(*silent)
        assert conn.send(b"never sent")
        if how == "stop":
            agent.stop()
        else:
            getattr(conn, how)()
            assert conn.send(b"x") is False
        log.until_count("OnClose")
        assert log.closes() == [(Operation.CONNECT, errno.ECANCELED)]
        eventually(lambda: conn.pending == 0)


def test_self_connect_is_refused(backend: str) -> None:
    """A port that connects to itself would stand, by TCP's simultaneous open; nobody listens there."""
    log = Log()
    with agent_of(log, backend) as agent:
        for number in range(1, 11):
            port = free_port()
            agent.connect("127.0.0.1", port, local_address=("127.0.0.1", port))
            log.until_count("OnClose", number)
    assert log.closes() == [(Operation.CONNECT, errno.ECONNREFUSED)] * 10
    assert "OnConnect" not in log.names()


class Hosts(str, enum.Enum):
    HERE = "127.0.0.1"


def test_a_host_that_is_a_member_of_an_enumeration(backend: str) -> None:
    log = Log()
    with serving(Log(), backend) as server, agent_of(log, backend) as agent:
        conn = agent.connect(Hosts.HERE, server.address[1])
        log.until_count("OnConnect")
        assert weakref.ref(conn)() is conn
        assert conn.remote_address == server.address


def test_local_address(backend: str) -> None:
    log = Log(OnConnect=lambda conn: conn.send(b"x"))
    far = Log()
    with serving(far, backend) as server, agent_of(log, backend) as agent:
        port = free_port()
        agent.connect(*server.address, local_address=("127.0.0.9", port))
        agent.connect(*server.address, local_address=("127.0.0.8", 0))
        agent.connect(*server.address, local_address=("", free_port()))
        hosts = {far.conn(number).remote_address for number in range(3)}
        assert ("127.0.0.9", port) in hosts
        assert {host for host, _ in filter(None, hosts)} == {"127.0.0.9", "127.0.0.8", "127.0.0.1"}
        log.until_count("OnConnect", 3)
        assert {log.conn(number).local_address for number in range(3)} == hosts


@NEEDS_IPV6
def test_local_address_ipv6(backend: str) -> None:
    log, far = Log(), Log()
    with wawo.TcpServer(far, backend=backend) as server, agent_of(log, backend) as agent:
        server.start("::1", 0)
        ports = [0, free_port()]
        agent.connect(*server.address, local_address=("::1", 0))
        agent.connect(*server.address, local_address=("::1", ports[1]))
        agent.connect(*server.address, local_address=("", port := free_port()))
        hosts = {far.conn(number).remote_address for number in range(3)}
        log.until_count("OnConnect", 3)
    assert {("::1", ports[1]), ("::1", port)} < hosts
    assert {host for host, _ in filter(None, hosts)} == {"::1"}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_local_address_that_is_not_ours(backend: str, host: str) -> None:
    log = Log()
    with agent_of(log, backend) as agent:
        agent.connect(host, free_port(), local_address=("192.0.2.1" if host == "127.0.0.1" else "2001:db8::1", 0))
        log.until_count("OnClose")
    assert log.closes() == [(Operation.CONNECT, errno.EADDRNOTAVAIL)]


@pytest.mark.parametrize(("host", "local", "kind"), [("127.0.0.1", "::1", "IPv4"), ("::1", "127.0.0.1", "IPv6")])
def test_local_address_of_another_family(backend: str, host: str, local: str, kind: str) -> None:
    text = re.escape(f"local_address must hold an {kind} address to connect to '{host}', not '{local}'")
    with agent_of(Log(), backend) as agent:
        with pytest.raises(ValueError, match=text):
            agent.connect(host, free_port(), local_address=(local, 0))
        with pytest.raises(ValueError, match=text):
            wawo.TcpClient(Log(), backend=backend).start(host, free_port(), local_address=(local, 0))
        assert agent.count == 0


def test_local_address_of_a_family_that_a_name_has_not(backend: str) -> None:
    families = {family for family, *_ in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    if len(families) == 2:
        pytest.skip("localhost has both kinds of addresses on this machine")
    log = Log()
    with agent_of(log, backend) as agent:
        local = "::1" if socket.AF_INET in families else "127.0.0.1"
        conn = agent.connect("localhost", free_port(), local_address=(local, 0))
        log.until_count("OnClose")
    assert log.closes() == [(Operation.CONNECT, errno.EAFNOSUPPORT)]
    assert "no address of the kind that local_address is" in str(conn.error)


def test_local_address_in_use(backend: str) -> None:
    log = Log()
    with socket.socket() as taken, agent_of(log, backend) as agent:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        agent.connect("127.0.0.1", free_port(), local_address=taken.getsockname())
        log.until_count("OnClose")
    assert log.closes() == [(Operation.CONNECT, errno.EADDRINUSE)]


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1"])
def test_all_addresses_of_a_name_are_tried(backend: str, listening: str) -> None:
    """localhost is both here and only one of them answers."""
    families = {family for family, *_ in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    if len(families) < 2 and listening == "::1":
        pytest.skip("localhost has one address on this machine")
    log, far = Log(OnReceive=echo), Log(OnAccept=lambda conn: conn.send(b"hello"))
    with wawo.TcpServer(far, backend=backend) as server, agent_of(log, backend) as agent:
        server.start(listening, 0)
        conn = agent.connect("localhost", server.address[1])
        log.until(lambda: far.count("OnAccept") and conn.connected)
        assert conn.remote_address == (listening, server.address[1])
        assert conn.error is None


def test_no_address_of_a_name_answers(backend: str) -> None:
    log = Log()
    with agent_of(log, backend) as agent:
        conn = agent.connect("localhost", free_port())
        log.until_count("OnClose")
    assert log.closes() == [(Operation.CONNECT, errno.ECONNREFUSED)]
    assert isinstance(conn.error, ConnectionRefusedError)


@pytest.mark.parametrize("name", ["no such host", "a" * 64, "a..b", "nothing here", "256.256.256.256"])
def test_names_that_do_not_resolve(backend: str, name: str) -> None:
    log = Log()
    with agent_of(log, backend) as agent:
        conn = agent.connect(name, 80)
        log.until_count("OnClose")
    assert log.closes() == [(Operation.CONNECT, errno.EHOSTUNREACH)]
    assert isinstance(conn.error, socket.gaierror)
    assert str(conn.error)


def test_lookups_do_not_hold_up_the_loop(backend: str) -> None:
    """Many names at once, given up at once: the echo beside them goes on, and each one gets its end."""
    log = Log(OnReceive=echo)
    with serving(Log(OnReceive=echo), backend) as server, agent_of(log, backend) as agent, dial(server) as peer:
        for number in range(60):
            agent.connect(f"no such host {number}", 80)
        for _ in range(50):
            peer.sendall(b"x")
            assert read(peer, 1) == b"x"
        agent.stop()
    assert log.count("OnClose") == 60


@NEEDS_IPV6
def test_ipv6(backend: str) -> None:
    log, far = Log(), Log(OnReceive=echo)
    with wawo.TcpServer(far, backend=backend) as server, agent_of(log, backend) as agent:
        server.start("::1", 0)
        conn = agent.connect("::1", server.address[1])
        log.until_count("OnConnect")
        assert conn.remote_address == ("::1", server.address[1])
        assert far.conn().remote_address == conn.local_address
        assert conn.send(b"six")
        log.until(lambda: log.received() == b"six")


def test_ipv4_peer_of_a_dual_stack_server(backend: str) -> None:
    """Its address is told as IPv6 sees it, and can be read by ipaddress."""
    far = Log(OnReceive=echo)
    with wawo.TcpServer(far, backend=backend) as server:
        server.start("::", 0)
        with socket.create_connection(("127.0.0.1", server.address[1]), DEADLINE_S) as peer:
            peer.sendall(b"x")
            assert read(peer, 1) == b"x"
            address = far.conn().remote_address
            assert address is not None
            assert address[0] in ("127.0.0.1", "::ffff:127.0.0.1")
            assert address[1] == peer.getsockname()[1]


def test_agent_to_server_in_one_pool(backend: str) -> None:
    """Both ends on one loop, thousands of messages through it."""
    left = [5000]
    done = threading.Event()

    def bounce(conn: wawo.Connection, data: bytes) -> None:
        left[0] -= 1
        if left[0] <= 0:
            done.set()
        else:
            conn.send(data)

    with wawo.IoPool(1, backend=backend) as pool, wawo.TcpServer(Log(OnReceive=echo), io=pool) as server:
        server.start("127.0.0.1", 0)
        near = wawo.Listener(OnConnect=lambda conn: conn.send(b"ball"), OnReceive=bounce)
        with wawo.TcpAgent(near, io=pool) as agent:
            agent.start()
            agent.connect(*server.address)
            assert done.wait(DEADLINE_S)


def test_max_connections_of_an_agent(backend: str, silent: tuple[str, int]) -> None:
    """A connect beyond the limit raises; one that ended makes room."""
    log = Log()
    with agent_of(log, backend, max_connections=3) as agent:
        conns = [agent.connect(*silent) for _ in range(3)]
        with pytest.raises(OSError) as caught:  # noqa: PT011
            agent.connect(*silent)
        assert caught.value.errno == errno.ENOBUFS
        conns[0].close()
        eventually(lambda: agent.count == 2)
        agent.connect(*silent)
        assert agent.count == 3
