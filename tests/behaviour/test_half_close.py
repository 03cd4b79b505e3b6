"""Half-close: one side has no more to say, the other one still has."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, echo, pattern, read, read_all, serving

import wawo

CLEAN = (wawo.Operation.CLOSE, 0)


class Teller(Log):
    def OnSend(self, conn: wawo.Connection, length: int) -> Any:
        return self._note("OnSend", conn, length)


def test_calls_that_ask_for_an_end_answer_nothing(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server):
        log.until_count("OnAccept")
        conn = log.conn()
        calls = (conn.pause, conn.resume, conn.flush, conn.shutdown_write, conn.close, conn.abort)
        assert [call() for call in (*calls, *calls)] == [None] * 12


def test_peer_first_everything_is_delivered_and_answered(backend: str) -> None:
    log = Log(OnReceive=echo)
    data = pattern(3_000_000)
    with serving(log, backend) as server, dial(server) as peer:
        sender = threading.Thread(target=lambda: (peer.sendall(data), peer.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_all(peer) == data
        sender.join(DEADLINE_S)
        log.until_count("OnClose")
    assert log.received() == data
    assert log.closes() == [CLEAN]


@pytest.mark.parametrize("framing", [wawo.Raw(), wawo.LengthPrefixed(2)])
def test_peer_first_with_the_data_in_one_segment(backend: str, framing: wawo.Raw | wawo.LengthPrefixed) -> None:
    wire = b"\0\5hello" if framing != wawo.Raw() else b"hello"
    log = Log(OnReceive=echo)
    with serving(log, backend, framing=framing) as server:
        for number in range(1, 51):
            with dial(server) as peer:
                peer.sendall(wire)
                peer.shutdown(socket.SHUT_WR)
                assert read_all(peer) == wire
            log.until_count("OnClose", number)
    assert log.messages() == [b"hello"] * 50
    assert log.closes() == [CLEAN] * 50


def test_peer_first_the_answer_to_its_last_word_is_told(backend: str) -> None:
    """Its FIN is met together with what is answered, or in the turn behind it."""
    said = threading.Event()

    def wait(conn: wawo.Connection) -> None:
        assert said.wait(DEADLINE_S)

    log = Teller(OnAccept=wait, OnReceive=echo)
    with serving(log, backend) as server, dial(server) as peer:
        peer.sendall(b"hello")
        peer.shutdown(socket.SHUT_WR)
        said.set()
        assert read_all(peer) == b"hello"
        log.until_count("OnClose")
    assert log.names()[2:5] == ["OnReceive", "OnSend", "OnClose"]


def test_peer_first_who_answers_on_send_too_is_ended_all_the_same(backend: str) -> None:
    def more(conn: wawo.Connection, length: int) -> None:
        conn.send(b"more")

    log = Teller(OnReceive=echo, OnSend=more)
    with serving(log, backend) as server, dial(server) as peer:
        peer.sendall(b"hello")
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer).startswith(b"hello")
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_peer_first_replies_of_megabytes_still_flow(backend: str) -> None:
    """The answer is far larger than what the kernel takes, and the FIN is there before the first byte of it."""
    answer = pattern(20_000_000)
    log = Log(OnReceive=lambda conn, data: conn.send(answer))
    with serving(log, backend) as server, dial(server, receive_buffer=8192) as peer:
        peer.sendall(b"all of it, please")
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == answer
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_peer_first_without_a_word(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b""
        log.until_count("OnClose")
    assert log.names()[:3] == ["OnAccept", "OnHandShake", "OnClose"]
    assert log.closes() == [CLEAN]


def test_sent_in_on_accept_arrives_though_the_peer_has_closed_its_side(backend: str) -> None:
    log = Log(OnAccept=lambda conn: conn.send(b"greeting"))
    with serving(log, backend) as server, dial(server) as peer:
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b"greeting"


def test_peer_first_while_paused_is_told_after_resume(backend: str) -> None:
    """A pause keeps the connection open for an answer that comes later."""
    log = Log(OnReceive=lambda conn, data: conn.pause())
    with serving(log, backend) as server, dial(server) as peer:
        peer.sendall(b"question")
        peer.shutdown(socket.SHUT_WR)
        log.until_count("OnReceive")
        conn = log.conn()
        assert conn.connected
        assert conn.send(b"late answer")
        assert read(peer, 11) == b"late answer"
        assert log.count("OnClose") == 0
        conn.resume()
        assert read_all(peer) == b""
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_ours_first_receiving_goes_on(backend: str) -> None:
    log = Log()
    data = pattern(2_000_000)
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        assert conn.send(b"last words")
        conn.shutdown_write()
        assert read_all(peer) == b"last words"
        assert conn.connected
        assert conn.send(b"more") is False
        peer.sendall(data)
        log.until(lambda: len(log.received()) >= len(data))
        peer.shutdown(socket.SHUT_WR)
        log.until_count("OnClose")
    assert log.received() == data
    assert log.closes() == [CLEAN]


@pytest.mark.parametrize("inside", [True, False])
def test_ours_while_megabytes_are_pending(backend: str, inside: bool) -> None:
    data = pattern(20_000_000)

    def answer(conn: wawo.Connection) -> None:
        assert conn.send(data)
        conn.shutdown_write()
        assert conn.pending > 1_000_000
        assert conn.send(b"too late") is False

    log = Log(OnHandShake=answer) if inside else Log()
    with serving(log, backend) as server, dial(server, receive_buffer=8192) as peer:
        conn = log.conn()
        if not inside:
            answer(conn)
        assert read_all(peer) == data
        peer.sendall(b"got it")
        log.until(lambda: log.received() == b"got it")
        assert conn.connected
    log.until_count("OnClose")
    assert log.raised() == []


def test_ours_then_close(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        conn.shutdown_write()
        assert read_all(peer) == b""
        conn.close()
        assert not conn.connected
        peer.shutdown(socket.SHUT_WR)
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]


def test_both_at_the_same_time(backend: str) -> None:
    log = Log(OnReceive=lambda conn, data: conn.shutdown_write())
    with serving(log, backend) as server:
        for _ in range(100):
            with dial(server) as peer:
                peer.sendall(b"x")
                peer.shutdown(socket.SHUT_WR)
                assert read_all(peer) == b""
        log.until_count("OnClose", 100)
    assert log.closes() == [CLEAN] * 100


def test_of_an_agent_before_it_is_connected(backend: str) -> None:
    """shutdown_write() on a connection that is still being made takes effect when it stands."""
    with socket.create_server(("127.0.0.1", 0)) as listening, wawo.TcpAgent(log := Log(), backend=backend) as agent:
        listening.settimeout(DEADLINE_S)
        agent.start()
        conn = agent.connect(*listening.getsockname())
        assert conn.send(b"early")
        conn.shutdown_write()
        far, _ = listening.accept()
        with far:
            far.settimeout(DEADLINE_S)
            assert read_all(far) == b"early"
            far.sendall(b"answer")
            log.until(lambda: log.received() == b"answer")
            assert conn.connected
        log.until_count("OnClose")
    assert log.closes() == [CLEAN]
