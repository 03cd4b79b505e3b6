"""Pausing: nothing is delivered, nothing is lost, and the order stays, whoever pauses and whenever."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import struct
import threading
import time
from typing import Any

import pytest
from peers import DEADLINE_S, LINGER, Log, dial, echo, eventually, pattern, read, serving

import wawo

CLEAN = (wawo.Operation.CLOSE, 0)
WORD = struct.Struct(">BI")  # LengthPrefixed(1) around a number


def numbers(count: int) -> bytes:
    return b"".join(WORD.pack(4, number) for number in range(count))


def seen(log: Log, conn: wawo.Connection | None = None) -> list[int]:
    return [
        int.from_bytes(call.values[0], "big")
        for call in log.calls
        if call.name == "OnReceive" and (conn is None or call.conn == conn)
    ]


def test_pause_slows_the_peer_down_and_loses_nothing(backend: str) -> None:
    log = Log(OnAccept=lambda conn: conn.pause())
    with serving(log, backend) as server, dial(server) as peer:
        data = pattern(30_000_000)
        peer.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):  # the kernel's buffers are full: the peer is held up
            while sent < len(data):
                sent += peer.send(data[sent : sent + 1_000_000])
        assert 0 < sent < len(data)
        conn = log.conn()
        eventually(lambda: conn.paused)  # noted before it is done
        assert log.received() == b""
        conn.resume()
        assert not conn.paused
        peer.settimeout(DEADLINE_S)
        peer.sendall(data[sent:])
        log.until(lambda: sum(len(call.values[0]) for call in log.calls if call.name == "OnReceive") == len(data))
        assert log.received() == data


def test_events_of_the_same_batch_are_held_back(backend: str) -> None:
    log = Log(OnReceive=lambda conn, data: conn.pause())
    with serving(log, backend, framing=wawo.LengthPrefixed(1)) as server, dial(server) as peer:
        peer.sendall(numbers(5000))
        peer.shutdown(socket.SHUT_WR)
        conn = log.conn()
        for done in range(1, 40):
            if done > 1:
                conn.resume()
            log.until_count("OnReceive", done)
            eventually(lambda: conn.paused)  # it is noted before it is done
            assert seen(log) == list(range(done))
        log.actions.clear()
        conn.resume()
        log.until_count("OnClose")
        assert seen(log) == list(range(5000))
        assert log.closes() == [CLEAN]


def test_order_over_many_pauses_of_many_connections(backend: str) -> None:
    """What was held back goes before what came later, also when several have more than a batch to give back."""
    rounds = itertools.count()

    def receive(conn: wawo.Connection, data: bytes) -> None:
        if next(rounds) % 97 == 0:
            conn.pause()
            threading.Thread(target=conn.resume).start()

    log = Log(OnReceive=receive)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(log, backend, framing=wawo.LengthPrefixed(1)))
        peers = [stack.enter_context(dial(server)) for _ in range(8)]
        for peer in peers:
            peer.sendall(numbers(3000))
        log.until_count("OnReceive", 8 * 3000)
        for number in range(8):
            assert seen(log, log.conn(number)) == list(range(3000))


def test_all_hold_a_whole_batch_and_go_on_at_once(backend: str) -> None:
    """Nine connections each hold hundreds of messages; one callback resumes them all."""
    everyone: list[wawo.Connection] = []

    def receive(conn: wawo.Connection, data: bytes) -> None:
        if data == b"go":
            log.actions["OnReceive"] = again
            for other in everyone:
                other.resume()
        else:
            conn.pause()

    def again(conn: wawo.Connection, data: bytes) -> None:
        number = int.from_bytes(data, "big")
        if number in (3, 300):
            conn.pause()
            conn.component.send(everyone[-1].id, b"")  # something else in between
            conn.resume()
        elif number == 200:
            conn.pause()
            threading.Thread(target=conn.resume).start()

    log = Log(OnReceive=receive)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(log, backend, framing=wawo.LengthPrefixed(1)))
        peers = [stack.enter_context(dial(server)) for _ in range(9)]
        everyone.extend(log.conn(number) for number in range(9))
        for peer in peers:
            peer.sendall(numbers(1500))
        log.until_count("OnReceive", 9)
        eventually(lambda: all(conn.paused for conn in everyone))
        stack.enter_context(trigger := dial(server)).sendall(b"\2go")
        log.until_count("OnReceive", 9 * 1500 + 1)
        for conn in everyone:
            assert seen(log, conn) == list(range(1500))
        trigger.close()


def test_pause_and_resume_in_one_callback_changes_nothing(backend: str) -> None:
    log = Log(OnReceive=lambda conn, data: (conn.pause(), conn.resume()))
    with serving(log, backend, framing=wawo.LengthPrefixed(1)) as server, dial(server) as peer:
        peer.sendall(numbers(4000))
        log.until_count("OnReceive", 4000)
        assert seen(log) == list(range(4000))


def test_resume_twice_and_pause_twice(backend: str) -> None:
    log = Log(OnReceive=echo)
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        conn.resume()
        conn.pause()
        conn.pause()
        peer.sendall(b"x")
        conn.resume()
        conn.resume()
        assert read(peer, 1) == b"x"


def test_sending_goes_on_while_paused(backend: str) -> None:
    data = pattern(5_000_000)
    log = Log(OnAccept=lambda conn: conn.pause())
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        peer.sendall(b"unread")
        assert conn.send(data)
        assert read(peer, len(data)) == data
        assert log.received() == b""
        conn.resume()
        log.until(lambda: log.received() == b"unread")


def test_a_paused_connection_costs_nothing_when_the_peer_is_gone(backend: str) -> None:
    """Interest in nothing still reports a hang-up, without end: a paused socket is not watched at all."""
    log = Log(OnAccept=lambda conn: conn.pause())
    with serving(log, backend) as server, contextlib.ExitStack() as stack:
        for number in range(20):
            peer = stack.enter_context(dial(server))
            peer.sendall(b"x")
            log.conn(number)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(LINGER, number % 2, 0))
            peer.close()
        with dial(server) as other:
            last = log.conn(20)
            eventually(lambda: last.paused)
            last.resume()
            other.sendall(b"x")
            log.until(lambda: log.received(last) == b"x")

        def rests() -> bool:
            """A loop that has to share the GIL may turn for a while after its work."""
            before = server.stats()["loops"][0]["turns"]
            time.sleep(0.02)  # time is what passes
            return server.stats()["loops"][0]["turns"] - before < 5

        eventually(rests)
        for number in range(20):
            log.conn(number).resume()
        log.until_count("OnClose", 21)


@pytest.mark.parametrize("how", ["close", "abort"])
def test_ending_a_paused_connection_drops_what_is_held(backend: str, how: str) -> None:
    log = Log(OnReceive=lambda conn, data: conn.pause())
    with serving(log, backend, framing=wawo.LengthPrefixed(1)) as server, dial(server) as peer:
        peer.sendall(numbers(3000))
        log.until_count("OnReceive")
        getattr(log.conn(), how)()
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(1) == b""
        peer.close()
        log.until_count("OnClose")
        assert seen(log) == [0]
        assert log.closes() == [CLEAN]


def test_stop_with_paused_connections(backend: str) -> None:
    log = Log(OnReceive=lambda conn, data: conn.pause())
    with serving(log, backend, framing=wawo.LengthPrefixed(1)) as server, contextlib.ExitStack() as stack:
        for number in range(10):
            stack.enter_context(dial(server)).sendall(numbers(3000))
            log.until_count("OnReceive", number + 1)
        server.stop()
        assert log.count("OnReceive") == 10
        assert log.closes() == [CLEAN] * 10


def test_refusal_in_a_held_event(backend: str) -> None:
    def receive(conn: wawo.Connection, data: bytes) -> Any:
        number = int.from_bytes(data, "big")
        if number == 1:
            conn.pause()
        return wawo.HandleResult.ERROR if number == 700 else None

    log = Log(OnReceive=receive)
    with serving(log, backend, framing=wawo.LengthPrefixed(1)) as server, dial(server) as peer:
        peer.sendall(numbers(2000))
        log.until_count("OnReceive", 2)
        eventually(lambda: log.conn().paused)
        log.conn().resume()
        assert peer.recv(1) == b""
        peer.close()
        log.until_count("OnClose")
        assert seen(log) == list(range(701))
        assert log.closes() == [(wawo.Operation.RECEIVE, errno.ECANCELED)]


def test_bad_frame_behind_held_ones(backend: str) -> None:
    """A frame over the limit ends the connection, after everything before it was delivered."""
    log = Log(OnReceive=lambda conn, data: conn.pause())
    with serving(log, backend, framing=wawo.LengthPrefixed(1, max_size=4)) as server, dial(server) as peer:
        peer.sendall(numbers(1500) + b"\5" + bytes(100))
        log.until_count("OnReceive")
        eventually(lambda: log.conn().paused)
        log.actions.clear()
        log.conn().resume()
        assert peer.recv(1) == b""
        peer.close()
        log.until_count("OnClose")
        assert seen(log) == list(range(1500))
        assert log.closes() == [(wawo.Operation.RECEIVE, errno.EMSGSIZE)]


@pytest.mark.threads
def test_storm_of_pauses_from_another_thread(backend: str) -> None:
    log = Log()
    with serving(log, backend, framing=wawo.LengthPrefixed(1)) as server, dial(server) as peer:
        conn = log.conn()
        over = threading.Event()

        def toggle() -> None:
            while not over.wait(0.0002):
                for _ in range(10):
                    conn.pause()
                    conn.resume()

        togglers = [threading.Thread(target=toggle) for _ in range(2)]
        for thread in togglers:
            thread.start()
        try:
            for start in range(0, 40_000, 2000):
                peer.sendall(b"".join(WORD.pack(4, number) for number in range(start, start + 2000)))
            # The storm may end paused by the one and resumed by the other, in any order.
            eventually(lambda: log.count("OnReceive") > 0)
        finally:
            over.set()
            for thread in togglers:
                thread.join(DEADLINE_S)
        conn.resume()
        log.until_count("OnReceive", 40_000)
        assert seen(log) == list(range(40_000))
