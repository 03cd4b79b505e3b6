"""What type checkers must accept, and what they must infer; test_typing.py runs mypy and pyright over it."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import assert_type

import wawo
from wawo import HandleResult, hpsocket


class Everything(wawo.Listener):
    """Each callback with its full type."""

    def OnPrepareListen(self, server: wawo.TcpServer, fd: int) -> HandleResult | None:
        return HandleResult.OK

    def OnPrepareConnect(self, conn: wawo.Connection, fd: int) -> HandleResult | None:
        return None

    def OnAccept(self, conn: wawo.Connection) -> HandleResult:
        return HandleResult.IGNORE

    def OnConnect(self, conn: wawo.Connection) -> None:
        assert_type(conn.id, int)

    def OnHandShake(self, conn: wawo.Connection) -> None:
        conn.extra = {"anything": 1}

    def OnReceive(self, conn: wawo.Connection, data: bytes) -> HandleResult:
        return HandleResult.OK if conn.send(data) else HandleResult.ERROR

    def OnSend(self, conn: wawo.Connection, length: int) -> None:
        assert_type(conn.pending, int)

    def OnDrain(self, conn: wawo.Connection) -> None:
        conn.resume()

    def OnClose(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> None:
        assert_type(conn.error, Exception | None)
        print(operation.name, errno.errorcode.get(error))

    def OnShutdown(self, component: wawo.Component) -> None:
        assert_type(component.state, wawo.ServiceState)

    def OnException(self, conn: wawo.Connection, exception: BaseException) -> None:
        super().OnException(conn, exception)


class OtherNames(wawo.Listener):
    """Callbacks are called by position: parameters may be named otherwise, and data typed as the framing makes it."""

    def OnReceive(self, c: wawo.Connection, message: memoryview) -> None:
        c.send(message[1:])

    def OnClose(self, c: wawo.Connection, where: wawo.Operation, number: int) -> None:
        c.abort()


class Pulling(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, length: int) -> None:
        assert_type(conn.fetch(4), bytes | None)
        while (head := conn.peek(4)) is not None:
            print(head.hex())


class Lines(wawo.Protocol):
    def __init__(self, limit: int = 100) -> None:
        self.limit = limit

    def decode(self, chunk: bytes) -> Iterable[str]:
        raise wawo.ProtocolError("too long", errno.EMSGSIZE)

    def encode(self, text: str) -> bytes:
        return text.encode()


def functions() -> wawo.Listener:
    def receive(conn: wawo.Connection, data: bytes) -> None:
        conn.close()

    return wawo.Listener(OnReceive=receive, OnClose=lambda conn, operation, error: print(conn.id, operation, error))


def servers(listener: wawo.Listener) -> None:
    with wawo.TcpServer(listener, framing=wawo.LengthPrefixed(2, "little"), no_delay=False, on_full="close") as server:
        assert_type(server, wawo.TcpServer)
        server.start("127.0.0.1", 0)
        host, port = server.address
        with wawo.TcpClient(Everything()) as client:
            client.start(*server.address)
            client.start(host, port, wait=False, extra=server)
            client.start("unix:/run/echo.sock", timeout=0.5)
            assert_type(client.connection, wawo.Connection | None)
            assert_type(client.send(bytearray(b"x")), bool)
        assert_type(server.connections(), list[wawo.Connection])
        assert_type(server.connection(1), wawo.Connection | None)
        assert_type(server.broadcast(b"to all", slow="close"), int)
        server.broadcast(memoryview(b"to some"), to=[*server.connections(), 17])
        assert_type(server.count, int)
        assert_type(server.stats(), dict[str, Any])
        assert_type(server.options, wawo.Options)
        assert_type(server.wait(1), bool)
        server.stop(drain=5)


def agents(pool: wawo.IoPool) -> None:
    agent = wawo.TcpAgent(Everything(), io=pool, idle_timeout=60, keepalive=None, framing=Lines)
    agent.start()
    conn = agent.connect("localhost", 80, extra=1, local_address=("127.0.0.1", 0))
    assert_type(conn, wawo.Connection)
    conn.send({"any": "object"})
    conn.send_packets([b"a", bytearray(b"b"), memoryview(b"c")])
    for path in ("a", b"a", Path("a")):
        conn.send_file(path, 0, None, head=b"1")
    assert_type(conn.send_file(os.devnull, count=10), bool)
    assert_type(conn.silence_period, float)
    assert {conn: 1}[conn] == (conn == agent.connection(conn.id))


def secure(context: ssl.SSLContext) -> None:
    server = wawo.TcpServer(Everything(), tls=context, handshake_timeout=5)
    assert_type(server.tls, ssl.SSLContext | None)
    server.tls = context
    agent = wawo.SslAgent(Everything(), tls=context, framing=wawo.Pack())
    conn = agent.connect("localhost", 443, server_hostname="example.org")
    agent.connect("localhost", 443, session=conn.session)
    conn.start_tls(context, server_hostname="example.org")
    info: wawo.TlsInfo | None = conn.tls
    if info is not None:
        assert_type(info.version, str)
        assert_type(info.peer_certificate, Mapping[str, Any] | None)
    wawo.SslPackServer(Everything(), tls=context, max_pack_size=100).start("127.0.0.1", 0)
    wawo.SslPullClient(Pulling(), tls=context, max_size=100).start("localhost", 443, server_hostname="example.org")


def errors() -> None:
    try:
        wawo.TcpServer(functions(), framing=wawo.Pack(flag=1)).start("0.0.0.0", 80)
        wawo.TcpServer(Everything, io_threads=4).start("0.0.0.0", 80)  # one for each loop
    except wawo.StartError as error:
        assert_type(error.errno, int | None)
        assert_type(error.host, str | None)
    except wawo.SendBufferFull:
        raise wawo.WawoError from None


def courtesy() -> None:
    server = hpsocket.TcpPackServer(functions(), max_pack_size=1000, io_threads=2)
    assert_type(server.framing, "wawo.framing.AnyFraming")
    client: wawo.TcpClient = wawo.TcpPullClient(Pulling(), max_connections=1)
    client.stop()
