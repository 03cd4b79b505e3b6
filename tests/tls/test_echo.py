"""Bytes through TLS and back, in both roles, with Python's own ssl as the peer and with ourselves."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, gone, pattern, read
from secure import (
    agency,
    client_context,
    door,
    exchange,
    finish,
    pin,
    read_to_end,
    secured,
    server_context,
    shake,
    welcome,
    wrap,
)
from systems import NEEDS_UNIX

import wawo

CLEAN = (wawo.Operation.CLOSE, 0)


def test_one_message(backend: str, version: str) -> None:
    log = Log(OnReceive=echo)
    with secured(log, backend, pin(server_context(), version)) as server, shake(server) as peer:
        assert peer.version() == version
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"
        finish(peer)
        log.until_count("OnClose")
        assert server.stats()["handshakes"] == 1
    assert log.names() == ["OnAccept", "OnHandShake", "OnReceive", "OnClose", "OnShutdown"]
    assert log.closes() == [CLEAN]


@pytest.mark.threads
def test_megabytes_both_ways(backend: str, version: str) -> None:
    data = pattern(3_000_000)
    log = Log(OnReceive=echo)
    with secured(log, backend, pin(server_context(), version)) as server, shake(server) as peer:
        assert exchange(peer, memoryview(data), len(data)) == data
        finish(peer)
        log.until_count("OnClose")
    assert log.received() == data
    assert log.closes() == [CLEAN]


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, 65_536, 300_001])
def test_sizes_around_a_record(backend: str, size: int) -> None:
    data = pattern(size)
    log = Log(OnHandShake=lambda conn: conn.send(data))
    with secured(log, backend) as server, shake(server) as peer:
        assert read(peer, size) == data


def test_what_was_sent_before_the_handshake_comes_behind_it(backend: str, version: str) -> None:
    log = Log(OnAccept=lambda conn: conn.send(b"welcome"))
    with secured(log, backend, pin(server_context(), version)) as server, shake(server) as peer:
        assert read(peer, 7) == b"welcome"


def test_many_small_messages_share_records(backend: str) -> None:
    def answer(conn: wawo.Connection, data: bytes) -> None:
        for number in range(1000):
            conn.send(b"%06d" % number)

    log = Log(OnReceive=answer)
    with secured(log, backend) as server, shake(server) as peer:
        peer.sendall(b"go")
        assert read(peer, 6000) == b"".join(b"%06d" % number for number in range(1000))
        assert server.stats()["bytes_out"] < 6000 + 3000  # not 1,000 records of 22 bytes more


def test_an_agent(backend: str, version: str) -> None:
    log = Log(OnReceive=echo, OnConnect=lambda conn: conn.send(b"early"))
    with door() as sock, agency(log, backend) as agent:
        conn = agent.connect(*sock.getsockname())
        with welcome(sock, pin(server_context(), version)) as peer:
            assert read(peer, 5) == b"early"
            peer.sendall(b"hello")
            assert read(peer, 5) == b"hello"
            assert conn.tls.version == version
            assert conn.tls.server_hostname == "127.0.0.1"
            finish(peer)
        log.until_count("OnClose")
    assert log.names() == ["OnConnect", "OnHandShake", "OnReceive", "OnClose", "OnShutdown"]
    assert log.closes() == [CLEAN]


def test_a_client(backend: str, version: str) -> None:
    log = Log()
    client = wawo.TcpClient(log, backend=backend, tls=client_context())
    with secured(Log(OnReceive=echo), backend, pin(server_context(), version)) as server, client:
        client.start(*server.address, server_hostname="localhost")
        assert "OnHandShake" in log.names()
        assert client.connection is not None
        assert client.connection.tls.server_hostname == "localhost"
        client.send(b"hello")
        log.until(lambda: log.received() == b"hello")
        client.close()
        assert client.wait(DEADLINE_S)
    assert log.closes() == [CLEAN]


def test_ourselves_in_both_roles(backend: str) -> None:
    """Fifty connections, each with its own bytes."""
    server_log, log = Log(OnReceive=echo), Log()
    with secured(server_log, backend) as server, agency(log, backend) as agent:
        conns = [agent.connect(*server.address, extra=number) for number in range(50)]
        for conn in conns:
            conn.send(pattern(20_000, conn.extra))
        log.until(lambda: all(len(log.received(conn)) == 20_000 for conn in conns))
        for conn in conns:
            assert log.received(conn) == pattern(20_000, conn.extra)
            conn.close()
        log.until_count("OnClose", 50)
        server_log.until_count("OnClose", 50)
    assert set(log.closes()) == set(server_log.closes()) == {CLEAN}


def test_asyncio_as_the_peer(backend: str) -> None:
    async def talk(host: str, port: int) -> bytes:
        reader, writer = await asyncio.open_connection(host, port, ssl=client_context(), server_hostname="localhost")
        writer.write(pattern(200_000))
        data = await reader.readexactly(200_000)
        writer.close()
        await writer.wait_closed()
        return data

    log = Log(OnReceive=echo)
    with secured(log, backend) as server:
        data = asyncio.run(asyncio.wait_for(talk(*server.address), DEADLINE_S))
        log.until_count("OnClose")
    assert data == pattern(200_000)
    assert log.closes() == [CLEAN]


def test_asyncio_as_the_server(backend: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(100_000))
        await writer.drain()
        writer.close()

    async def talk() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context())
        async with server:
            agent.connect(*server.sockets[0].getsockname()).send(pattern(100_000))
            await asyncio.get_running_loop().run_in_executor(None, log.until_count, "OnClose")

    log = Log()
    with wawo.TcpAgent(log, backend=backend, tls=client_context()) as agent:
        agent.start()
        asyncio.run(asyncio.wait_for(talk(), DEADLINE_S))
    assert log.received() == pattern(100_000)
    assert log.closes() == [CLEAN]


def test_nobody_needs_to_listen_to_the_handshake(backend: str) -> None:
    seen: list[Any] = []

    class Quiet(wawo.Listener):
        def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
            seen.append(conn.tls.version)
            conn.send(data)

    with secured(Quiet(), backend) as server, shake(server) as peer:
        peer.sendall(b"hello")
        assert read(peer, 5) == b"hello"
    assert seen == ["TLSv1.3"]


def test_an_adopted_connection_shakes_hands_too(backend: str) -> None:
    log, far = Log(OnReceive=echo), Log()
    with secured(far, backend) as server, agency(log, backend) as agent:
        sock = socket.create_connection(server.address)
        with pytest.raises(ValueError, match="server_hostname is missing"):
            agent.adopt(sock)
        conn = agent.adopt(sock, server_hostname="localhost")
        far.until_count("OnHandShake")
        far.conn().send(b"hello")
        log.until(lambda: log.received(conn) == b"hello")
        left, right = socket.socketpair()
        with left, right:
            adopted = server.adopt(left)
            right.settimeout(DEADLINE_S)
            with client_context().wrap_socket(right, server_hostname="localhost") as peer:
                adopted.send(b"to you")
                assert read(peer, 6) == b"to you"


def test_behind_a_proxy_header(backend: str) -> None:
    log = Log(OnReceive=echo)
    with secured(log, backend, proxy_protocol=True) as server:
        sock = dial(server)
        sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 1000 2000\r\n")
        log.until_count("OnAccept")  # the header was a read of its own
        with wrap(sock) as peer:
            peer.sendall(b"hello")
            assert read(peer, 5) == b"hello"
        assert log.conn().remote_address == ("192.0.2.7", 1000)


@NEEDS_UNIX
def test_over_a_unix_socket(backend: str, tmp_path: Any) -> None:
    log = Log()
    with wawo.TcpServer(Log(OnReceive=echo), backend=backend, tls=server_context()) as server:
        server.start(f"unix:{tmp_path}/s")
        with wawo.TcpClient(log, backend=backend, tls=client_context()) as client:
            with pytest.raises(ValueError, match="server_hostname is missing"):
                client.start(f"unix:{tmp_path}/s")
            client.start(f"unix:{tmp_path}/s", server_hostname="localhost")
            client.send(b"hello")
            log.until(lambda: log.received() == b"hello")


def test_a_stop_says_goodbye(backend: str, version: str) -> None:
    log = Log()
    with secured(log, backend, pin(server_context(), version)) as server, shake(server) as peer:
        log.until_count("OnHandShake")
        log.conn().send(b"last words")
        server.stop()
        assert read_to_end(peer) == b"last words"


def test_what_it_counts(backend: str) -> None:
    log = Log()
    with secured(log, backend) as server:
        with shake(server) as peer:
            peer.sendall(b"hello")
            log.until_count("OnReceive")
            finish(peer)
        with pytest.raises(ssl.SSLError):
            shake(server, client_context(), server_hostname="another.name")
        eventually(lambda: server.stats()["handshakes_failed"] + server.stats()["handshakes"] == 2)
        log.until_count("OnClose", 2)
        log.actions["OnAccept"] = lambda conn: conn.close()
        gone(dial(server))  # which is no failure of its handshake
        log.until_count("OnClose", 3)
        stats = server.stats()
    assert (stats["handshakes"], stats["handshakes_failed"]) == (1, 1)
    assert stats["messages_in"] == 1
    assert stats["bytes_in"] > 5 + 22  # of the wire: records, alerts and handshakes too
    assert stats["bytes_out"] > 500
