"""TcpServer: its connections, by id and in its counters."""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
from typing import Any

import pytest
from servers import DEADLINE_S, Log, dial, read

import wawo


@pytest.mark.parametrize(("word", "logged"), [(b"refuse", False), (b"raise", True)])
def test_refusal_ends_that_connection_alone(
    server: wawo.TcpServer, log: Log, caplog: pytest.LogCaptureFixture, word: bytes, logged: bool
) -> None:
    with caplog.at_level(logging.ERROR, "wawo"), dial(server) as other, dial(server) as peer:
        peer.sendall(word)
        assert log.closed.wait(DEADLINE_S)
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""
        other.sendall(b"still here")
        assert read(other, 10) == b"still here"
    operation, number, error = next(value for name, value in log.calls if name == "OnClose")
    assert (operation, number) == (wawo.Operation.RECEIVE, errno.ECANCELED)
    assert isinstance(error, OSError)
    assert ("LookupError" in caplog.text) is logged


def test_connections_by_id(server: wawo.TcpServer, log: Log) -> None:
    with dial(server) as peer:
        assert log.opened.wait(DEADLINE_S)
        (conn,) = server.connections()
        assert server.count == 1
        assert server.connection(conn.id) == conn
        assert conn.component is server
        assert conn.remote_address == peer.getsockname()
        assert server.send(conn.id, b"pushed")
        assert read(peer, 6) == b"pushed"
        assert "1 connections" in repr(server)
        assert server.disconnect(conn.id)
        assert peer.recv(1) == b""
    assert log.closed.wait(DEADLINE_S)
    server.stop()
    assert not conn.connected
    assert conn.send(b"late") is False
    assert server.connection(conn.id) is None
    assert server.send(conn.id, b"late") is False
    assert server.disconnect(conn.id) is False
    assert server.connections() == []
    assert server.count == 0


def test_id_is_an_int(server: wawo.TcpServer) -> None:
    wrong: Any = "1"
    with pytest.raises(TypeError, match="id must be an int, not str"):
        server.connection(wrong)
    with pytest.raises(TypeError, match="id must be an int, not bool"):
        server.send(True, b"")


def test_send_wants_bytes(server: wawo.TcpServer, log: Log) -> None:
    with dial(server):
        assert log.opened.wait(DEADLINE_S)
        (conn,) = server.connections()
        text: Any = "text"
        with pytest.raises(TypeError, match="str"):
            conn.send(text)


def test_stats_live_and_after_the_end(server: wawo.TcpServer, log: Log) -> None:
    with dial(server) as peer:
        peer.sendall(b"12345")
        assert read(peer, 5) == b"12345"
        stats = server.stats()
        assert (stats["accepts"], stats["bytes_in"], stats["messages_in"]) == (1, 5, 1)
        assert len(stats["loops"]) == 1
    server.stop()
    assert server.stats()["accepts"] == 1
    assert server.stats()["closed"] == 1


def test_stats_while_the_run_ends(server: wawo.TcpServer) -> None:
    """The end comes between the counters of the component and those of its loops: these are the last ones then."""
    run: Any = server._run
    native = run._endpoint

    class EndsMeanwhile:
        def __getattr__(self, name: str) -> Any:
            return getattr(native, name)

        def stats(self) -> Any:
            run._endpoint = native
            found = native.stats()
            stopper = threading.Thread(target=server.stop)
            stopper.start()
            stopper.join(DEADLINE_S)
            return found

    run._endpoint = EndsMeanwhile()
    stats = server.stats()
    assert server.state is wawo.ServiceState.STOPPED
    assert stats == server.stats()
    assert len(stats["loops"]) == 1
