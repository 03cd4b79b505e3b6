"""The bytes on the page about wire formats are what the framings write and read."""

from __future__ import annotations

import ast
import errno
import re
import socket

import pytest
from pages import DOCS, Row, prose, rows
from peers import Log, read_all, serving

import wawo

PAGE = DOCS / "wire.md"
ROWS = list(rows(PAGE))
FRAMES = [row for row in ROWS if len(row.cells) == 3]
REFUSED = [row for row in ROWS if len(row.cells) == 4]
HEADERS = [row for row in ROWS if len(row.cells) == 2]


def framing_of(row: Row) -> wawo.Framing:
    """What `wawo.Pack(flag=0x169)` stands for: a name and literals, no other code."""
    call = ast.parse(row.code(0)[0], mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Attribute)
    kind = getattr(wawo, call.func.attr)
    keywords = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    made: wawo.Framing = kind(*map(ast.literal_eval, call.args), **keywords)
    return made


def message_of(text: str) -> bytes:
    """A literal, a literal times a number, or bytes.fromhex("...") + a literal."""
    times = re.fullmatch(r'(b".*") \* (\d+)', text)
    if times is not None:
        return bytes(ast.literal_eval(times[1])) * int(times[2])
    joined = re.fullmatch(r'bytes\.fromhex\("([\da-f ]+)"\) \+ (b".*")', text)
    if joined is not None:
        return bytes.fromhex(joined[1]) + bytes(ast.literal_eval(joined[2]))
    return bytes(ast.literal_eval(text))


def wire_of(cell: str) -> bytes:
    times = re.fullmatch(r"`([\da-f ]+)` and (\d+) times `([\da-f ]+)`", cell)
    if times is not None:
        return bytes.fromhex(times[1]) + int(times[2]) * bytes.fromhex(times[3])
    return bytes.fromhex(cell.strip("`"))


@pytest.mark.parametrize("row", FRAMES, ids=lambda row: " ".join(row.cells[:2])[:80])
def test_frames(row: Row) -> None:
    message, wire = message_of(row.code(1)[0]), wire_of(row.cells[2])
    log = Log(OnAccept=lambda conn: conn.send(message))
    with serving(log, framing=framing_of(row)) as server, socket.create_connection(server.address) as peer:
        peer.settimeout(20)
        for byte in wire:
            peer.sendall(bytes([byte]))
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer).hex(" ") == wire.hex(" ")
        log.until_count("OnClose")
    assert log.messages() == [message]
    assert log.closes() == [(wawo.Operation.CLOSE, 0)]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: " ".join(row.cells[:2])[:80])
def test_refused(row: Row) -> None:
    log = Log()
    with serving(log, framing=framing_of(row)) as server, socket.create_connection(server.address) as peer:
        peer.sendall(wire_of(row.cells[1]))
        peer.shutdown(socket.SHUT_WR)
        log.until_count("OnClose")
    assert log.messages() == []
    assert log.closes() == [(wawo.Operation.RECEIVE, getattr(errno, row.code(2)[0].removeprefix("errno.")))]


@pytest.mark.parametrize("row", HEADERS, ids=lambda row: row.cells[0][:60])
def test_proxy_headers(row: Row) -> None:
    log = Log()
    with serving(log, proxy_protocol=True) as server, socket.create_connection(server.address) as peer:
        peer.sendall(wire_of(row.cells[0]) + b"data")
        real = peer.getsockname()
        log.until_count("OnReceive")
        assert log.received() == b"data"
        said = real if row.cells[1] == "the real one" else ast.literal_eval(row.code(1)[0])
        assert log.conn().remote_address == said


def test_the_line_is_the_first_header() -> None:
    line = re.search(r"`(PROXY TCP4 [^`]*)`", prose(PAGE))
    assert line is not None
    assert wire_of(HEADERS[0].cells[0]) == line[1].encode() + b"\r\n"


def test_every_framing_is_there() -> None:
    kinds = {kind for kind in vars(wawo).values() if isinstance(kind, type) and issubclass(kind, wawo.Framing)}
    names = {kind.__name__ for kind in kinds - {wawo.Framing}}
    text = prose(PAGE)
    assert [name for name in sorted(names) if f"`wawo.{name}" not in text] == []
    assert {row.code(0)[0].split("(")[0][5:] for row in FRAMES} == names - {"Raw", "Pull"}
