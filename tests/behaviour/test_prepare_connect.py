"""OnPrepareConnect: the socket of each attempt before it connects."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from peers import Log, borrowed, echo, eventually, serving

import wawo
from wawo import HandleResult, Operation


class Preparing(Log):
    """A Log that notes OnPrepareConnect too."""

    def OnPrepareConnect(self, conn: wawo.Connection, fd: int) -> Any:
        return self._note("OnPrepareConnect", conn, fd)


def fail(*_: object) -> None:
    raise LookupError("asked for")


def refuse(*_: object) -> HandleResult:
    return HandleResult.ERROR


def test_before_the_connect_with_the_raw_descriptor(backend: str) -> None:
    seen: list[tuple[Any, ...]] = []

    def prepare(conn: wawo.Connection, fd: int) -> None:
        sock = socket.socket(fileno=fd)
        try:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x10)
            unconnected = sock.getsockname()[0]
            with pytest.raises(OSError) as caught:  # noqa: PT011  (the text is the system's)
                sock.getpeername()
            assert caught.value.errno == errno.ENOTCONN
        finally:
            assert sock.detach() == fd
        seen.append((unconnected, conn.extra, conn.connected, conn.remote_address, threading.current_thread().name[:8]))

    far = Log(OnReceive=echo)
    near = Preparing(OnPrepareConnect=prepare, OnConnect=lambda conn: conn.send(b"hello"))
    with serving(far, backend) as server, wawo.TcpAgent(near, backend=backend) as agent:
        agent.start()
        conn = agent.connect(*server.address, extra="mine", local_address=("127.0.0.5", 0))
        near.until(lambda: near.received() == b"hello")
        assert near.names(conn)[:3] == ["OnPrepareConnect", "OnConnect", "OnHandShake"]
        assert seen == [("127.0.0.5", "mine", False, None, "wawo-io-")]
        fd = near.calls[0].values[0]
        with borrowed(fd) as sock:
            assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0x10
            assert sock.getpeername() == server.address


def test_of_a_client(backend: str) -> None:
    far, near = Log(), Preparing()
    with serving(far, backend) as server, wawo.TcpClient(near, backend=backend) as client:
        client.start(*server.address)
        assert near.names() == ["OnPrepareConnect", "OnConnect", "OnHandShake"]
        assert near.calls[0].conn is client.connection


def test_once_for_each_attempt(backend: str) -> None:
    """Every address of localhost, and all of them refuse."""
    addresses = {info[4][0] for info in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}
    near = Preparing()
    with socket.socket() as unheard, wawo.TcpAgent(near, backend=backend) as agent:
        unheard.bind(("127.0.0.1", 0))  # nobody listens there
        agent.start()
        agent.connect("localhost", unheard.getsockname()[1])
        near.until_count("OnClose")
        assert near.names() == ["OnPrepareConnect"] * len(addresses) + ["OnClose"]
        assert near.closes() == [(Operation.CONNECT, errno.ECONNREFUSED)]


@pytest.mark.parametrize("action", [fail, refuse])
def test_refusal_ends_the_connect(backend: str, action: Callable[..., Any]) -> None:
    far, near = Log(), Preparing(OnPrepareConnect=action)
    with serving(far, backend) as server, wawo.TcpAgent(near, backend=backend) as agent:
        agent.start()
        conn = agent.connect(*server.address)
        near.until_count("OnClose")
        raised = ["OnException"] if action is fail else []
        assert near.names(conn) == ["OnPrepareConnect", *raised, "OnClose"]
        assert near.closes() == [(Operation.CONNECT, errno.ECANCELED)]
        assert [type(error) for error in near.raised()] == [LookupError] * len(raised)
        assert isinstance(conn.error, OSError)
        assert "OnPrepareConnect" in str(conn.error)
        del near.actions["OnPrepareConnect"]
        other = agent.connect(*server.address)
        near.until(lambda: other.connected)
        far.until_count("OnAccept")
    assert far.count("OnAccept") == 1


def test_refusal_fails_the_start_of_a_client(backend: str) -> None:
    far, near = Log(), Preparing(OnPrepareConnect=refuse)
    client = wawo.TcpClient(near, backend=backend)
    why = "ended by the listener in OnPrepareConnect"
    with serving(far, backend) as server, pytest.raises(wawo.StartError, match=why):
        client.start(*server.address)
    assert near.names() == ["OnPrepareConnect", "OnClose", "OnShutdown"]


@pytest.mark.parametrize("how", ["close", "abort", "stop"])
def test_ended_in_the_callback(backend: str, how: str) -> None:
    def prepare(conn: wawo.Connection, _: int) -> None:
        if how == "stop":
            conn.component.stop()
        else:
            getattr(conn, how)()

    far, near = Log(), Preparing(OnPrepareConnect=prepare)
    with serving(far, backend) as server, wawo.TcpAgent(near, backend=backend) as agent:
        agent.start()
        agent.connect(*server.address)
        near.until_count("OnClose")
        assert near.closes() == [(Operation.CONNECT, errno.ECANCELED)]
        assert "OnConnect" not in near.names()
        eventually(lambda: agent.count == 0)


@pytest.mark.threads
def test_many_at_once(backend: str) -> None:
    far, near = Log(), Preparing(OnConnect=lambda conn: conn.close())
    with serving(far, backend) as server, wawo.TcpAgent(near, backend=backend, io_threads=2) as agent:
        agent.start()
        conns = [agent.connect(*server.address) for _ in range(300)]
        near.until_count("OnClose", 300)
        assert all(near.names(conn)[:2] == ["OnPrepareConnect", "OnConnect"] for conn in conns[::50])
        assert near.count("OnPrepareConnect") == near.count("OnConnect") == 300


def test_data_that_waits_goes_out_after_it(backend: str) -> None:
    far, near = Log(), Preparing()
    with serving(far, backend) as server, wawo.TcpAgent(near, backend=backend) as agent:
        agent.start()
        conn = agent.connect(*server.address)
        assert conn.send(b"early")
        far.until(lambda: far.received() == b"early")
