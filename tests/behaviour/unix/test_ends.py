"""Unix sockets, by path and abstract: both ends at work, and connecting to what does not answer."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Any

import pytest
from peers import Log, echo, eventually, pattern, read_all
from systems import NEEDS_UNIX, NEEDS_WAITING
from unix import dial, listening, serving

import wawo
from wawo import Operation

pytestmark = NEEDS_UNIX


def test_server_and_agent(host: str, backend: str) -> None:
    far, near = Log(OnReceive=echo), Log(OnConnect=lambda conn: conn.send(b"hello"))
    with serving(far, host, backend) as server, wawo.TcpAgent(near, backend=backend) as agent:
        assert server.address == host
        assert f"STARTED {host}, 0 connections" in repr(server)
        agent.start()
        conn = agent.connect(host, extra="mine")
        near.until(lambda: near.received() == b"hello")
        assert (conn.local_address, conn.remote_address) == ("unix:", host)
        assert (far.conn().local_address, far.conn().remote_address) == (host, "unix:")
        conn.close()
        near.until_count("OnClose")
        far.until_count("OnClose")
        assert near.closes() == far.closes() == [(Operation.CLOSE, 0)]
        assert far.names(far.conn()) == ["OnAccept", "OnHandShake", "OnReceive", "OnClose"]
    assert (conn.local_address, conn.remote_address) == ("unix:", host)
    assert (far.conn().local_address, far.conn().remote_address) == (host, "unix:")
    assert server.address == host


def test_client(host: str, backend: str) -> None:
    far, near = Log(OnReceive=echo), Log()
    with serving(far, host, backend), wawo.TcpClient(near, backend=backend) as client:
        for _ in range(2):
            client.start(host)
            assert client.send(b"x")
            near.until(lambda: near.received())
            client.stop()
        assert client.connection is not None
        assert client.connection.remote_address == host


@pytest.mark.parametrize("framing", [wawo.Raw(), wawo.LengthPrefixed(max_size=1 << 21)])
def test_much_data_both_ways(host: str, backend: str, framing: wawo.Framing) -> None:
    """More than the kernel holds; sending before the connection stands; the close flushes."""
    data = pattern(1 << 21)
    far, near = Log(OnReceive=echo), Log()
    with (
        wawo.TcpServer(far, framing=framing, backend=backend, high_water=1 << 16, low_water=1) as server,
        wawo.TcpAgent(near, framing=framing, backend=backend, auto_pause=False) as agent,  # else both would wait
    ):
        server.start(host)
        agent.start()
        conn = agent.connect(host)
        for start in range(0, len(data), 1 << 18):
            assert conn.send(data[start : start + (1 << 18)])
        conn.shutdown_write()
        near.until_count("OnClose")
        assert near.received() == far.received() == data


def test_plain_sockets_as_peers(host: str, backend: str) -> None:
    far = Log(OnReceive=echo)
    with serving(far, host, backend, io_threads=2, on_full="close", max_connections=20) as server:
        peers = [dial(host) for _ in range(20)]
        for number, peer in enumerate(peers):
            peer.sendall(b"%d" % number)
            assert peer.recv(100) == b"%d" % number
        with dial(host) as refused:
            assert refused.recv(1) == b""
        server.connections()[0].abort()
        assert sum(peer.shutdown(socket.SHUT_WR) or read_all(peer) == b"" for peer in peers[1:]) == 19
        for peer in peers:
            peer.close()
        far.until_count("OnClose", 20)
        assert {error for _, error in far.closes()} == {0}


def test_views(path: str, backend: str) -> None:
    kept: list[memoryview] = []
    with serving(Log(OnReceive=lambda conn, data: kept.append(data)), f"unix:{path}", backend, view=True):
        with dial(path) as peer:
            peer.sendall(pattern(100_000))
        eventually(lambda: sum(map(len, kept)) == 100_000)
    assert b"".join(kept) == pattern(100_000)
    kept.clear()


# ---- the file ----


def test_nobody_there(path: str, backend: str) -> None:
    log = Log()
    with wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        conn = agent.connect(f"unix:{path}")
        log.until_count("OnClose")
        listening(path).close()
        dead = agent.connect(f"unix:{path}")
        log.until_count("OnClose", 2)
    assert log.closes() == [(Operation.CONNECT, errno.ENOENT), (Operation.CONNECT, errno.ECONNREFUSED)]
    assert isinstance(conn.error, FileNotFoundError)
    assert isinstance(dead.error, ConnectionRefusedError)
    assert conn.remote_address is None
    client = wawo.TcpClient(Log(), backend=backend)
    with pytest.raises(ConnectionRefusedError, match=f"cannot connect to unix:{path}: "):
        client.start(f"unix:{path}")
    os.unlink(path)
    with pytest.raises(FileNotFoundError, match="the socket, or a folder above it, is not there") as caught:
        client.start(f"unix:{path}")
    assert isinstance(caught.value, wawo.StartError)


class Preparing(Log):
    def OnPrepareConnect(self, conn: wawo.Connection, fd: int) -> Any:
        return self._note("OnPrepareConnect", conn, fd)


@NEEDS_WAITING
def test_full_backlog_is_waited_for(path: str, backend: str) -> None:
    """By each connection with the one socket that it prepared."""
    log = Preparing(OnConnect=lambda conn: conn.send(b"x"))
    with listening(path, 0) as far, wawo.TcpAgent(log, backend=backend) as agent, contextlib.ExitStack() as stack:
        agent.start()
        conns = [agent.connect(f"unix:{path}") for _ in range(10)]
        late = agent.connect(f"unix:{path}", timeout=0.05)
        log.until_count("OnClose")
        assert isinstance(late.error, TimeoutError)
        for _ in conns:
            peer = stack.enter_context(far.accept()[0])
            assert peer.recv(1) == b"x"
        assert (log.count("OnConnect"), log.count("OnPrepareConnect")) == (10, 11)
