"""The messages on the page about trouble are what the program prints today: each is provoked here."""

from __future__ import annotations

import ast
import contextlib
import errno
import logging
import os
import re
import socket
import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS, ROOT, blocks
from peers import Log, echo, read, read_all, serving
from secure import client_context, server_context, shake

import wawo
from wawo.errors import close_error, start_error

PAGE = DOCS / "trouble.md"
SOURCES = ("setup.py", "wawo/_core/__init__.py")
SETUP, CHOICE = (ast.parse((ROOT / name).read_text(encoding="utf-8")) for name in SOURCES)
SHOWN = {block.text.rstrip("\n") for block in blocks(PAGE) if block.language == "text"}


class Chat(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        raise ZeroDivisionError


def started(**options: Any) -> wawo.TcpServer:
    server = wawo.TcpServer(wawo.Listener(), **options)
    server.start("127.0.0.1", 0)
    return server


def said(call: Callable[[], object]) -> str:
    with pytest.raises(Exception) as raised:  # noqa: PT011 (its text is what matters)
        call()
    error = raised.value
    return str(getattr(error, "message", error))


def starting() -> Iterator[str]:
    with started() as server:
        port = server.address[1]
        yield said(lambda: wawo.TcpServer(Chat()).start("127.0.0.1", port)).replace(str(port), "5555")
        yield said(lambda: server.start("127.0.0.1", 0))
    yield said(lambda: wawo.TcpServer(Chat()).start("192.0.2.1", 5555))
    for number, host, port in ((errno.EACCES, "0.0.0.0", 80), (errno.EMFILE, "127.0.0.1", 5555)):
        yield start_error(OSError(number, os.strerror(number)), "listen on", host, port).message
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        yield said(lambda: wawo.TcpClient(Chat()).start("127.0.0.1", port)).replace(str(port), "5555")
    for host, failure in (
        ("db.internal", close_error(wawo.Operation.CONNECT, errno.EHOSTUNREACH, socket.EAI_NONAME)),
        ("192.0.2.1", close_error(wawo.Operation.CONNECT, errno.ETIMEDOUT, 0)),
    ):
        assert failure is not None
        yield start_error(failure, "connect to", host, 5555).message
    yield said(lambda: wawo.TcpAgent(Chat()).connect("127.0.0.1", 5555))
    yield said(lambda: wawo.TcpServer(Chat()).address)


def unix(folder: Path) -> Iterator[str]:
    path = f"unix:{folder}/app.sock"
    with wawo.TcpServer(Chat()) as server:
        server.start(path)
        yield said(lambda: wawo.TcpServer(Chat()).start(path)).replace(path, "unix:/run/app.sock")
    yield said(lambda: wawo.TcpClient(Chat()).start(path)).replace(path, "unix:/run/app.sock")


def making() -> Iterator[str]:
    yield said(lambda: wawo.TcpServer(Chat(), max_conections=5))  # type: ignore[call-arg]
    yield said(lambda: wawo.TcpServer(Chat(), high_water=65_536))
    with wawo.IoPool(1) as pool:
        yield said(lambda: wawo.TcpServer(Chat(), io=pool, io_threads=2))

    async def sleepy(self: object, conn: object, data: object) -> None: ...

    def short(self, data): ...  # type: ignore[no-untyped-def]

    for name, body in (("OnRecieve", Chat.OnReceive), ("OnReceive", sleepy), ("OnReceive", short)):
        kind = type("Chat", (wawo.Listener,), {name: body})
        yield said(lambda kind=kind: wawo.TcpServer(kind()))
    with_room: Any = type("Chat", (wawo.Listener,), {"__init__": lambda self, room: None})
    yield said(lambda: wawo.TcpServer(with_room))


def calls(conn: wawo.Connection, *what: Callable[[wawo.Connection], object]) -> list[str]:
    return [said(lambda call=call: call(conn)) for call in what]


def calling(framing: wawo.Framing, *what: Callable[[wawo.Connection], object], **options: Any) -> list[str]:
    """What calls say in a callback of a connection with that framing."""
    texts: list[str] = []
    log = Log(OnAccept=lambda conn: texts.extend(calls(conn, *what)) or conn.abort())
    with serving(log, framing=framing, **options) as server:
        with contextlib.suppress(ConnectionResetError), socket.create_connection(server.address):
            log.until_count("OnClose")
        log.until_count("OnClose")  # perhaps connect() heard of it first
    assert log.raised() == []
    return texts


def sending() -> Iterator[str]:
    small = {"high_water": 1 << 20, "low_water": 0, "max_pending": 1 << 20}

    def fill(conn: wawo.Connection) -> None:
        conn.send(bytes(1 << 20))
        conn.send(bytes(65_536))

    yield from calling(wawo.Raw(), fill, **small)
    with started(**small) as server:
        yield said(lambda: server.broadcast(bytes(1 << 21)))
    lines = wawo.Delimited(b"\n", max_size=1000)
    yield from calling(lines, lambda conn: conn.send(bytes(2000)), lambda conn: conn.send(b"a\nb"))
    yield from calling(
        lines, lambda conn: conn.send("x"), lambda conn: conn.component.wait(), lambda conn: conn.fetch(1)
    )
    log = Log()
    with serving(log, framing=wawo.Pull()) as server, socket.create_connection(server.address):
        yield said(lambda: log.conn().fetch(1))


def raising(caplog: pytest.LogCaptureFixture) -> Iterator[str]:
    with wawo.TcpServer(Chat()) as server, caplog.at_level(logging.ERROR, "wawo"):
        server.start("127.0.0.1", 0)
        with socket.create_connection(server.address) as peer:
            peer.sendall(b"x")
            assert read_all(peer) == b""
        server.stop()
    text = re.search(r"a callback of .*", caplog.text)  # as it was formatted then
    assert text is not None
    yield re.sub(r"0x\w+ \('127.0.0.1', \d+\)", "0x200000001 ('127.0.0.1', 60598)", text[0])


def ended(data: bytes = b"", listener: Log | None = None, **options: Any) -> str:
    """How a connection ends that sends this and then closes its side."""
    log = listener or Log()
    with serving(log, **options) as server, socket.create_connection(server.address) as peer:
        with contextlib.suppress(ConnectionError):  # its time was over before
            peer.sendall(data)
        if not {"idle_timeout", "connect_timeout", "handshake_timeout"} & set(options):
            peer.shutdown(socket.SHUT_WR)
        log.until_count("OnClose")
    close = next(call for call in log.calls if call.name == "OnClose")
    operation, error = close.values
    return f"{operation.name} {errno.errorcode[error]}: {close.conn.error}"


def ending() -> Iterator[str]:
    yield ended(b"abcdef", framing=wawo.Delimited(max_size=2))
    yield ended(b"abc", framing=wawo.Fixed(4))
    yield ended(b"abc", listener=Log(OnReceive=lambda conn, data: wawo.HandleResult.ERROR))
    yield ended(idle_timeout=0.05)
    yield ended(b"HELLO", proxy_protocol=True)
    yield ended(b"PROXY", proxy_protocol=True, connect_timeout=0.05)
    for operation, error in (
        (wawo.Operation.CONNECT, errno.ECANCELED),
        (wawo.Operation.SEND, errno.ENOBUFS),
        (wawo.Operation.CLOSE, errno.ECONNRESET),
    ):
        yield f"{operation.name} {errno.errorcode[error]}: {close_error(operation, error, 0)}"


def securing() -> Iterator[str]:
    """What OpenSSL adds of its own source is left out, and alerts are named as 3.0 does."""

    def told(text: str) -> str:
        text = text.replace("SSL_TLS_ALERT", "SSLV3_ALERT").replace("ssl/tls alert", "sslv3 alert")
        return re.sub(r" \(_ssl\.c:\d+\)", "", text)

    yield said(lambda: wawo.TcpServer(Chat(), tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)))
    yield said(lambda: wawo.TcpServer(Chat(), tls=client_context()))
    yield said(lambda: wawo.TcpAgent(Chat(), tls=server_context()))
    yield told(ended(b"GET / HTTP/1.1\r\n\r\n", tls=server_context()))
    yield told(ended(b"", tls=server_context(), handshake_timeout=0.05))
    log, seen = Log(OnReceive=echo), Log()
    with serving(log, tls=server_context()) as server:
        with shake(server) as peer:
            peer.sendall(b"hello")
            read(peer, 5)
        log.until_count("OnClose")
        with wawo.TcpAgent(seen, tls=client_context()) as agent:
            agent.start()
            yield said(lambda: agent.connect("unix:/run/app.sock"))
            agent.connect(*server.address, server_hostname="db.internal")
            seen.until_count("OnClose")
            agent.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            agent.connect(*server.address)
            seen.until_count("OnClose", 2)
            log.until_count("OnClose", 3)
    for call in (*log.calls, *seen.calls):
        if call.name == "OnClose":
            operation, error = call.values
            yield told(f"{operation.name} {errno.errorcode[error]}: {call.conn.error}")


def warning() -> Iterator[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        server: object = started()
        del server
        pool: object = wawo.IoPool(1)
        del pool
    for one in caught:
        yield re.sub(r"port \d+", "port 5555", str(one.message))


def templates() -> list[re.Pattern[str]]:
    """What setup.py and the choice of the engine may say: their sentences are read, for they end the program."""
    ends = {"fail": "wawo: {}" + _text(SETUP, "SystemExit", "WAWO_NO_EXTENSION=1"), "_fail": "{}"}
    found = []
    for file in (SETUP, CHOICE):
        for call in _calls(file):
            name = getattr(call.func, "id", "")
            if name in ends:
                found.append(ends[name].replace("{}", _pattern(call.args[0])))
    missing = next(node.value for node in ast.walk(CHOICE) if isinstance(node, ast.Return) and _is_missing(node))
    assert missing is not None
    found.append(f"{_pattern(missing)}: .+")
    found.append(f"engine    portable: {_pattern(missing)}; from .+")
    return [re.compile(pattern) for pattern in found if len(pattern) > 30]


def _is_missing(node: ast.Return) -> bool:
    return isinstance(node.value, ast.JoinedStr) and "no compiled engine" in ast.unparse(node.value)


def _calls(file: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(file) if isinstance(node, ast.Call) and node.args]


def _text(file: ast.AST, name: str, words: str) -> str:
    """What stands behind the first placeholder in the sentence with these words that is given to name()."""
    given = [_pattern(call.args[0]) for call in _calls(file) if getattr(call.func, "id", "") == name]
    return next(text for text in given if re.escape(words) in text).partition(".+")[2]


def _pattern(node: ast.expr) -> str:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in parts)


def test_every_message_is_printed_so_and_no_other_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told = {*starting(), *unix(tmp_path), *making(), *sending(), *raising(caplog), *ending(), *securing(), *warning()}
    assert sorted(told - SHOWN) == []
    known = templates()
    assert [text for text in sorted(SHOWN - told) if not any(pattern.fullmatch(text) for pattern in known)] == []
