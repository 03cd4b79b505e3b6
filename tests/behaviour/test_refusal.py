"""Callbacks that raise or refuse: that connection ends, with the operation that refused, and no other."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest
from peers import Log, dial, echo, gone, read, read_all, serving

import wawo
from wawo import HandleResult, Operation

CLEAN = (Operation.CLOSE, 0)


def fail(*_: object) -> None:
    raise LookupError("asked for")


def refuse(*_: object) -> HandleResult:
    return HandleResult.ERROR


REFUSALS = [
    ("OnAccept", Operation.ACCEPT),
    ("OnHandShake", Operation.ACCEPT),
    ("OnReceive", Operation.RECEIVE),
    ("OnSend", Operation.SEND),
]


@pytest.mark.parametrize("action", [fail, refuse])
@pytest.mark.parametrize(("name", "operation"), REFUSALS)
def test_refusal_ends_that_connection_alone(
    backend: str, name: str, operation: Operation, action: Callable[..., Any]
) -> None:
    log = Log(OnReceive=echo)
    if name == "OnSend":
        log.OnSend = lambda conn, length: log._note("OnSend", conn, length)  # type: ignore[method-assign]
    with serving(log, backend) as server, dial(server) as other:
        other.sendall(b"a")
        assert read(other, 1) == b"a"
        if name == "OnSend":
            log.until_count("OnSend")
        before = len(log.calls)
        usual, log.actions[name] = log.actions.get(name), action
        with dial(server) as peer:
            conn = log.conn(1)
            with contextlib.suppress(OSError):
                peer.sendall(b"x")
            gone(peer)
            log.until_count("OnClose")
        assert log.closes() == [(operation, errno.ECANCELED)]
        assert isinstance(conn.error, OSError)
        assert name in str(conn.error)
        log.actions[name] = usual or (lambda *_: None)
        names = log.names(conn)
        assert names[-1] == "OnClose"
        assert names.index(name) == len(names) - (3 if action is fail else 2)  # nothing came after it
        assert [type(error) for error in log.raised()] == ([LookupError] if action is fail else [])
        assert [call.conn for call in log.calls[before:] if call.name == "OnException"] == [conn] * len(log.raised())
        other.sendall(b"b")
        assert read(other, 1) == b"b"


@pytest.mark.parametrize("action", [fail, refuse])
@pytest.mark.parametrize("name", ["OnConnect", "OnHandShake", "OnReceive"])
def test_refusal_of_an_outgoing_connection(backend: str, name: str, action: Callable[..., Any]) -> None:
    greeting = Log(OnAccept=lambda conn: conn.send(b"hello"))
    log = Log(**{name: action})
    with serving(greeting, backend) as server, wawo.TcpAgent(log, backend=backend) as agent:
        agent.start()
        conn = agent.connect(*server.address)
        log.until_count("OnClose")
        assert log.closes() == [
            (Operation.RECEIVE if name == "OnReceive" else Operation.CONNECT, errno.ECANCELED),
        ]
        assert name in str(conn.error)


@pytest.mark.parametrize("name", ["OnClose", "OnDrain", "OnShutdown"])
def test_what_is_raised_where_nothing_can_be_refused_is_logged(
    backend: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """OnException is not asked: OnClose stays the last callback of its connection."""
    log = Log(**{name: fail, "OnReceive": lambda conn, data: conn.send(bytes(5_000_000))})
    with caplog.at_level(logging.ERROR, "wawo"):
        with serving(log, backend) as server, dial(server) as peer:
            peer.sendall(b"x")
            read(peer, 5_000_000)
            log.until_count("OnDrain")
            assert log.conn().connected
            peer.shutdown(socket.SHUT_WR)
            assert read_all(peer) == b""
            log.until_count("OnClose")
            assert log.closes() == [CLEAN]
        assert server.state is wawo.ServiceState.STOPPED
    assert log.names()[-2:] == ["OnClose", "OnShutdown"]
    assert log.raised() == []
    (record,) = caplog.records
    assert name in record.getMessage()
    assert "LookupError" in caplog.text
    assert "asked for" in caplog.text


@pytest.mark.parametrize("name", ["OnClose", "OnDrain", "OnShutdown"])
def test_result_is_ignored_where_nothing_can_be_refused(backend: str, name: str) -> None:
    log = Log(**{name: refuse, "OnReceive": lambda conn, data: conn.send(bytes(5_000_000))})
    with serving(log, backend) as server, dial(server) as peer:
        peer.sendall(b"x")
        read(peer, 5_000_000)
        log.until_count("OnDrain")
        peer.sendall(b"x")
        read(peer, 5_000_000)
    assert log.count("OnShutdown") == 1
    assert log.closes() == [CLEAN]


def test_exception_in_on_exception_is_logged(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    def worse(conn: wawo.Connection, exception: BaseException) -> None:
        raise ArithmeticError("even this") from exception

    log = Log(OnReceive=fail, OnException=worse)
    with caplog.at_level(logging.ERROR, "wawo"), serving(log, backend) as server, dial(server) as peer:
        peer.sendall(b"x")
        gone(peer)
        log.until_count("OnClose")
    assert log.closes() == [(Operation.RECEIVE, errno.ECANCELED)]
    assert "even this" in caplog.text


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration])
def test_base_exceptions_end_the_connection_and_not_the_loop(backend: str, kind: type[BaseException]) -> None:
    def leave(conn: wawo.Connection, data: bytes) -> None:
        if data == b"x":
            raise kind("out")
        conn.send(data)

    log = Log(OnReceive=leave)
    with serving(log, backend) as server:
        for number in range(1, 4):
            with dial(server) as peer:
                peer.sendall(b"x")
                gone(peer)
            log.until_count("OnClose", number)
        with dial(server) as peer:
            peer.sendall(b"y")
            assert read(peer, 1) == b"y"
    assert [type(error) for error in log.raised()] == [kind] * 3


@pytest.mark.parametrize("answer", [None, HandleResult.OK, HandleResult.IGNORE, 0, 2, "ERROR", [], True])
def test_other_results_go_on(backend: str, answer: object) -> None:
    log = Log(OnReceive=lambda conn, data: (conn.send(data), answer)[1], OnAccept=lambda conn: answer)
    with serving(log, backend) as server, dial(server) as peer:
        for _ in range(3):
            peer.sendall(b"x")
            assert read(peer, 1) == b"x"
