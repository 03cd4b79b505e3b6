"""Framings in Python: paused, closed or stopped in the middle of what one decode made."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from peers import ROLES, Log, meeting, read_all
from protocols import Bytewise, letters

import wawo
from wawo import HandleResult, Operation


@pytest.mark.parametrize("role", ROLES)
def test_pause_in_the_middle(backend: str, role: str) -> None:
    """The rest of what one decode made waits, and comes on resume before what came meanwhile."""
    log = Log(OnReceive=lambda conn, letter: conn.pause() if letter in "bcg" else None)
    with meeting(role, log, backend, framing=Bytewise) as met:
        met.send(b"abcde")
        for seen in ("ab", "abc"):
            log.until(lambda seen=seen: letters(log) == seen and log.conn().paused)
            met.peer.sendall(b"fg" if seen == "ab" else b"hi")
            log.conn().resume()
        log.until(lambda: letters(log) == "abcdefg" and log.conn().paused)
        log.conn().resume()
        log.until(lambda: letters(log) == "abcdefghi")
        met.peer.shutdown(socket.SHUT_WR)
        log.until_count("OnClose")
    assert log.closes() == [(Operation.CLOSE, 0)]


@pytest.mark.parametrize("role", ROLES)
def test_paused_at_the_end_of_the_stream(backend: str, role: str) -> None:
    """The FIN comes after what waits."""
    log = Log(OnReceive=lambda conn, letter: conn.pause())
    with meeting(role, log, backend, framing=Bytewise) as (_, peer):
        peer.sendall(b"abcd")
        peer.shutdown(socket.SHUT_WR)
        for count in range(1, 5):
            log.until_count("OnReceive", count)
            log.until(lambda: log.conn().paused)
            assert log.count("OnClose") == 0
            log.conn().resume()
        log.until_count("OnClose")
    assert letters(log) == "abcd"
    assert log.closes() == [(Operation.CLOSE, 0)]


def test_paused_and_resumed_in_one_callback(backend: str) -> None:
    def both(conn: wawo.Connection, letter: str) -> None:
        conn.pause()
        conn.resume()

    log = Log(OnReceive=both)
    with meeting("server", log, backend, framing=Bytewise) as met:
        met.send(b"abc", b"def")
        log.until(lambda: letters(log) == "abcdef")


def test_paused_where_it_then_fails(backend: str) -> None:
    """The error comes when its turn has come."""
    log = Log(OnReceive=lambda conn, letter: conn.pause())
    with meeting("server", log, backend, framing=Bytewise) as (_, peer):
        peer.sendall(b"ab!")
        for count in (1, 2):
            log.until_count("OnReceive", count)
            assert log.count("OnClose") == 0
            log.until(lambda: log.conn().paused)
            log.conn().resume()
        assert read_all(peer) == b""
        peer.close()
        log.until_count("OnClose")
    assert log.closes() == [(Operation.RECEIVE, errno.EBADMSG)]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("end", "operation", "error"),
    [
        (lambda conn: conn.close(), Operation.CLOSE, 0),
        (lambda conn: conn.abort(), Operation.CLOSE, 0),
        (lambda conn: HandleResult.ERROR, Operation.RECEIVE, errno.ECANCELED),
    ],
)
def test_close_in_the_middle(backend: str, role: str, end: Any, operation: Operation, error: int) -> None:
    """The rest is dropped and only OnClose follows."""
    log = Log(OnReceive=lambda conn, letter: end(conn) if letter == "b" else None)
    with meeting(role, log, backend, framing=Bytewise) as (_, peer):
        peer.sendall(b"abcde!")
        log.until_count("OnReceive", 2)
        try:
            assert read_all(peer) == b""
        except ConnectionResetError:
            pass
        peer.close()
        log.until_count("OnClose")
    assert letters(log) == "ab"
    assert log.closes() == [(operation, error)]
    assert log.names()[-2:] == ["OnClose", "OnShutdown"]


def test_closed_while_paused_in_the_middle(backend: str) -> None:
    log = Log(OnReceive=lambda conn, letter: conn.pause())
    with meeting("server", log, backend, framing=Bytewise) as (_, peer):
        peer.sendall(b"abc")
        log.until(lambda: log.conn().paused)
        log.conn().close()
        assert read_all(peer) == b""
        peer.close()
        log.until_count("OnClose")
    assert letters(log) == "a"
    assert log.closes() == [(Operation.CLOSE, 0)]


def test_stopped_while_paused_in_the_middle(backend: str) -> None:
    log = Log(OnReceive=lambda conn, letter: conn.pause())
    with meeting("server", log, backend, framing=Bytewise) as (server, peer):
        peer.sendall(b"abc")
        log.until(lambda: log.conn().paused)
        server.stop()
    assert letters(log) == "a"
    assert log.names()[-2:] == ["OnClose", "OnShutdown"]
