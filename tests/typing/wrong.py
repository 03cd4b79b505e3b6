"""What type checkers must report, each on its line: # E: <code of mypy> <rule of pyright>; see test_typing.py."""

from __future__ import annotations

from collections.abc import Iterable

import wawo


class Wrong(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection) -> None: ...  # E: override reportIncompatibleMethodOverride

    def OnSend(self, conn: wawo.Connection, length: str) -> None: ...  # E: override reportIncompatibleMethodOverride

    def OnAccept(self, conn: wawo.Connection) -> bool:  # E: override reportIncompatibleMethodOverride
        return True

    async def OnConnect(self, conn: wawo.Connection) -> None: ...  # E: override reportIncompatibleMethodOverride


class NoDecode(wawo.Protocol):
    def encode(self, message: object) -> bytes:
        return b""


class TakesText(wawo.Protocol):
    def decode(self, data: str) -> Iterable[str]:  # E: override reportIncompatibleMethodOverride
        return [data]


def components(listener: wawo.Listener, pool: wawo.IoPool) -> None:
    wawo.TcpServer(int)  # E: arg-type reportArgumentType
    wawo.TcpServer(print)  # E: arg-type reportArgumentType
    wawo.TcpServer(listener, max_connection=5)  # E: call-arg reportCallIssue
    wawo.TcpServer(listener, on_full="drop")  # E: arg-type reportArgumentType
    wawo.TcpServer(listener, idle_timeout="60")  # E: arg-type reportArgumentType
    wawo.TcpServer(listener, framing=wawo.Pack)  # E: arg-type reportArgumentType
    wawo.TcpServer(listener, framing=wawo.LengthPrefixed(byteorder="network"))  # E: arg-type reportArgumentType
    wawo.TcpServer(listener, pool)  # E: call-arg,arg-type reportCallIssue
    wawo.TcpServer(listener, tls=True)  # E: arg-type reportArgumentType
    wawo.SslServer(listener)  # E: call-arg reportCallIssue
    wawo.TcpAgent(listener, io=4)  # E: arg-type reportArgumentType
    wawo.Listener(OnRecieve=print)  # E: call-arg reportCallIssue
    wawo.Listener(OnAccept=lambda: None)  # E: misc,arg-type reportArgumentType
    NoDecode()  # E: abstract reportAbstractUsage


def calls(server: wawo.TcpServer, client: wawo.TcpClient, agent: wawo.TcpAgent, conn: wawo.Connection) -> None:
    server.start(b"127.0.0.1", 80)  # E: arg-type reportArgumentType
    server.start("127.0.0.1", 80, 5)  # E: arg-type,call-arg reportCallIssue
    server.stop(5)  # E: call-arg reportCallIssue
    server.count = 5  # E: misc reportAttributeAccessIssue
    server.broadcast("text")  # E: arg-type reportArgumentType
    server.broadcast(b"", slow="wait")  # E: arg-type reportArgumentType
    server.connect("localhost", 80)  # E: attr-defined reportAttributeAccessIssue
    server.connection(1).close()  # E: union-attr reportOptionalMemberAccess
    client.connections()  # E: attr-defined reportAttributeAccessIssue
    client.start(port=80)  # E: call-arg reportCallIssue
    agent.connect("localhost", "80")  # E: arg-type reportArgumentType
    agent.connect("localhost", 443, server_hostname=True)  # E: arg-type reportArgumentType
    conn.start_tls()  # E: call-arg reportCallIssue
    conn.id = 5  # E: misc reportAttributeAccessIssue
    conn.sned(b"")  # E: attr-defined reportAttributeAccessIssue
    conn.send(data=b"")  # E: call-arg reportCallIssue
    conn.send_packets(b"one")  # E: arg-type reportArgumentType
    conn.send_file(5)  # E: arg-type reportArgumentType
    conn.fetch("4")  # E: arg-type reportArgumentType
    conn.fetch(4).hex()  # E: union-attr reportOptionalMemberAccess
    server.options.no_delay = False  # E: misc reportAttributeAccessIssue
