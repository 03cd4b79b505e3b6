"""Slow readers: water marks, automatic pause, OnDrain, limits that refuse, and totals that come back to nothing."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, pattern, read, read_all, serving

import wawo

KIB = 1024
MIB = 1024 * KIB


def test_short_writes(backend: str) -> None:
    """Sends of every size behind each other, read by a peer with a tiny window."""
    sizes = [1, 100, 4095, 4096, 4097, 8191, 8192, 70_000, 3, 1_000_000, 17]
    parts = [pattern(size, salt) for salt, size in enumerate(sizes * 5)]
    log = Log(OnAccept=lambda conn: [conn.send(part) for part in parts])
    with serving(log, backend) as server, dial(server, receive_buffer=4096) as peer:
        whole = b"".join(parts)
        assert read(peer, len(whole)) == whole
        eventually(lambda: log.conn().pending == 0)
        assert server.stats()["bytes_out"] == len(whole)
        assert server.stats()["messages_out"] == len(parts)


@pytest.mark.parametrize("auto_pause", [True, False])
def test_echo_with_a_peer_that_does_not_read(backend: str, auto_pause: bool) -> None:
    """With auto_pause the peer is held up and memory stays bounded; without it everything is taken."""
    log = Log(OnReceive=echo)
    options: dict[str, Any] = {"high_water": 256 * KIB, "low_water": 64 * KIB, "auto_pause": auto_pause}
    data = pattern(40 * MIB)
    with serving(log, backend, **options) as server, dial(server) as peer:
        conn = log.conn()
        sender = threading.Thread(target=peer.sendall, args=(data,))
        sender.start()
        if auto_pause:
            eventually(lambda: server.stats()["receive_pauses"] > 0)
            assert conn.pending < 2 * MIB
            assert not conn.paused  # that is what the user asked for
        else:
            sender.join(DEADLINE_S)
            assert not sender.is_alive()
            assert server.stats()["receive_pauses"] == 0
        assert read(peer, len(data)) == data
        sender.join(DEADLINE_S)
        eventually(lambda: conn.pending == 0)
        assert len(log.received()) == len(data)
        log.until_count("OnDrain")


def test_on_drain_after_crossing_and_only_then(backend: str) -> None:
    log = Log()
    with serving(log, backend, high_water=8 * MIB, low_water=MIB) as server, dial(server, receive_buffer=4096) as peer:
        conn = log.conn()
        for _ in range(5):  # never above high water
            assert conn.send(bytes(4 * MIB))
            read(peer, 4 * MIB)
            eventually(lambda: conn.pending == 0)
        assert log.count("OnDrain") == 0
        for number in range(1, 4):
            assert conn.send(bytes(20 * MIB))
            assert conn.pending > 8 * MIB
            assert log.count("OnDrain") == number - 1
            read(peer, 20 * MIB)
            log.until_count("OnDrain", number)
        eventually(lambda: conn.pending == 0)
        assert log.count("OnDrain") == 3


def test_on_drain_may_send_again(backend: str) -> None:
    """The usual producer: fills up to the limit, goes on when OnDrain says so."""
    total = 200
    piece = pattern(MIB // 4)
    left = [total]

    def produce(conn: wawo.Connection) -> None:
        while left[0] > 0:
            try:
                conn.send(piece)
            except wawo.SendBufferFull:
                return
            left[0] -= 1

    log = Log(OnAccept=produce, OnDrain=produce)
    options = {"high_water": MIB, "low_water": 256 * KIB, "max_pending": 2 * MIB}
    with serving(log, backend, **options) as server, dial(server) as peer:
        assert read(peer, total * len(piece)) == piece * total
    assert log.raised() == []


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("framing", [wawo.Raw(), wawo.LengthPrefixed(4, max_size=16 * MIB)])
def test_full_at_max_pending_exactly(backend: str, inside: bool, framing: wawo.Raw | wawo.LengthPrefixed) -> None:
    """To the byte, the framing's own bytes included, and nothing of what was refused is ever seen."""
    head = 0 if framing == wawo.Raw() else 4
    limit = 100 * KIB
    wire = bytearray()
    filled = threading.Event()

    def fill(conn: wawo.Connection) -> None:
        conn.flush()
        assert conn.pending == 0
        for size in (limit - 2 * head - 5_000, 5_000):
            data = pattern(size, size)
            assert conn.send(data)
            wire.extend((size.to_bytes(4, "big") if head else b"") + data)
        assert conn.pending == limit
        for size in (1, 5_000, 50_000, 10_000_000):
            with pytest.raises(wawo.SendBufferFull, match=rf"{size} bytes do not fit: {limit} bytes are pending"):
                conn.send(bytes(size))
        assert conn.pending == limit
        filled.set()

    options = {
        "high_water": 64 * KIB,
        "low_water": KIB,
        "max_pending": limit,
        "max_pending_total": limit * 3,
        "io_threads": 1,
    }
    log = Log()
    if inside:
        log.actions["OnReceive"] = lambda conn, data: fill(conn)
    with serving(log, backend, framing=framing, **options) as server, dial(server) as peer:
        conn = log.conn()
        if inside:
            peer.sendall(bytes(head - 1) + b"\1!" if head else b"!")
            assert filled.wait(DEADLINE_S)
        else:
            block = threading.Event()
            with blocked_loop(server, block):
                fill(conn)
        assert read(peer, len(wire)) == wire
        eventually(lambda: conn.pending == 0)
        assert conn.send(b"and on")
        assert read(peer, head + 6)[head:] == b"and on"
    assert log.raised() == []


@contextlib.contextmanager
def blocked_loop(server: wawo.TcpServer, release: threading.Event) -> Any:
    """The server's only loop stands still in a callback of another component on it, so that nothing is written."""
    assert len(server.stats()["loops"]) == 1
    entered = threading.Event()
    conn = server.connections()[0]

    def block(*_: object) -> None:
        entered.set()
        assert release.wait(DEADLINE_S)

    log = conn.component.listener
    log.actions["OnReceive"] = block
    with dial(server) as other:
        head = b"\0\0\0\1" if isinstance(server.framing, wawo.LengthPrefixed) else b""
        other.sendall(head + b"!")
        assert entered.wait(DEADLINE_S)
        try:
            yield
        finally:
            release.set()


@pytest.mark.parametrize("threads", [1, 2])
def test_full_at_max_pending_total(backend: str, threads: int) -> None:
    """Many connections that are each within their limit meet the one of the component."""
    step = 256 * KIB
    options = {"high_water": MIB, "low_water": KIB, "max_pending": 16 * MIB, "max_pending_total": 20 * MIB}
    log = Log()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(log, backend, io_threads=threads, **options))
        peers = [stack.enter_context(dial(server, receive_buffer=4096)) for _ in range(6)]
        by_port = {peer.getsockname()[1]: peer for peer in peers}
        conns = [log.conn(number) for number in range(6)]

        def filled() -> int:
            """What is pending when none takes more; the kernel may take some of it a moment later."""
            full: set[wawo.Connection] = set()
            while len(full) < len(set(conns)):
                for conn in conns:
                    assert conn.pending + step <= 16 * MIB, "the limit of one connection came first"
                    try:
                        assert conn.send(bytes(step))
                        full.clear()
                    except wawo.SendBufferFull:
                        full.add(conn)
            pending = sum(conn.pending for conn in set(conns))
            assert pending <= 20 * MIB
            return pending

        for round in range(3):
            eventually(lambda: filled() > 20 * MIB - 2 * step)
            ended = conns[round]  # an end of any kind gives its share back
            assert ended.remote_address is not None
            peer = by_port[ended.remote_address[1]]
            if round == 0:
                ended.abort()
            elif round == 1:
                peer.close()
            else:
                ended.close()
                assert set(read_all(peer)) == {0}
                peer.close()
            log.until_count("OnClose", round + 1)
            assert ended.pending == 0
            conns[round] = conns[5]


@pytest.mark.parametrize("inside", [True, False])
def test_total_is_exact_and_comes_back(backend: str, inside: bool) -> None:
    """After thousands of sends, drops and resets the whole total is there again, to the byte."""
    limit = 300_000
    options = {"high_water": 100_000, "low_water": 1000, "max_pending": limit, "max_pending_total": limit}
    log = Log()
    with serving(log, backend, io_threads=2 if inside else 1, **options) as server:
        for number in range(30):
            with dial(server) as peer:
                conn = log.conn(number)
                for size in (1, 999, 65_537, 70_001):
                    conn.send(bytes(size))
                if number % 3 == 0:
                    read(peer, 10)
                    conn.abort()
                elif number % 3 == 1:
                    read(peer, 136_538)
            log.until_count("OnClose", number + 1)  # its part of the total is back from here on
        log.actions["OnReceive"] = lambda conn, data: fill(conn)

        def fill(conn: wawo.Connection) -> None:
            assert conn.send(bytes(limit - 10))
            with pytest.raises(wawo.SendBufferFull):
                conn.send(bytes(11))
            assert conn.send(bytes(10))

        with dial(server) as peer:
            conn = log.conn(30)
            if inside:
                peer.sendall(b"!")
            else:
                with blocked_loop(server, threading.Event()):
                    fill(conn)
            assert read(peer, limit) == bytes(limit)
    assert log.raised() == []


def test_total_is_there_for_other_threads_when_a_connection_has_ended(backend: str) -> None:
    """However little it was that waited, and in however small parts the kernel took it."""
    limit = 300_000
    options = {"high_water": 100_000, "low_water": 1000, "max_pending": limit, "max_pending_total": limit}
    log = Log()
    with serving(log, backend, io_threads=1, **options) as server:
        with dial(server) as peer:
            assert log.conn().send(bytes(30_000))
            read(peer, 30_000)
        log.until_count("OnClose")
        with dial(server) as peer:
            assert log.conn(1).send(bytes(limit))
            assert read(peer, limit) == bytes(limit)


@pytest.mark.parametrize("inside", [True, False])
def test_total_is_there_for_others_once_the_system_took_it(backend: str, inside: bool) -> None:
    """Though the loop that wrote it keeps small amounts to itself for a while."""
    limit = 60_000
    options = {"high_water": 10_000, "low_water": 1000, "max_pending": limit, "max_pending_total": limit}
    sent: list[bool] = []

    def sends(conn: wawo.Connection) -> bool:
        with contextlib.suppress(wawo.SendBufferFull):
            return conn.send(bytes(limit))
        return False

    log = Log(OnReceive=lambda conn, data: sent.append(sends(conn)))
    with serving(log, backend, io_threads=2, **options) as server, dial(server) as one, dial(server) as two:
        first, second = log.conn(0), log.conn(1)  # on a loop each
        if first.remote_address != one.getsockname():
            first, second = second, first
        for _ in range(2):
            assert first.send(bytes(limit // 2))
            assert read(one, limit // 2) == bytes(limit // 2)
        if inside:
            eventually(lambda: two.sendall(b"!") or any(sent))
        else:
            eventually(lambda: sends(second))
        assert read(two, limit) == bytes(limit)
    assert log.raised() == []


def test_send_larger_than_the_limit_never_fits(backend: str) -> None:
    log = Log()
    with serving(log, backend, max_pending=2 * MIB) as server, dial(server) as peer:
        conn = log.conn()
        with pytest.raises(wawo.SendBufferFull):
            conn.send(bytes(2 * MIB + 1))
        assert conn.pending == 0
        assert conn.send(b"on")
        assert read(peer, 2) == b"on"


def test_hundred_megabytes_in_pieces(backend: str) -> None:
    piece = pattern(MIB)
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()

        def send() -> None:
            for _ in range(100):
                eventually(lambda: conn.pending < 32 * MIB)
                assert conn.send(piece)
            conn.close()

        sender = threading.Thread(target=send)
        sender.start()
        for _ in range(100):
            assert read(peer, MIB) == piece
        assert read_all(peer) == b""
        sender.join(DEADLINE_S)


def test_receive_memory_at_its_limit_pauses_and_goes_on(backend: str) -> None:
    """Kept views use the pool up: what comes then is a copy or waits, nothing is dropped."""
    kept: list[memoryview] = []
    log = Log(OnReceive=lambda conn, data: kept.append(data))
    data = pattern(8 * MIB)
    with serving(log, backend, view=True, pool_memory=MIB) as server, dial(server) as peer:
        peer.sendall(data)
        log.until(lambda: sum(map(len, kept)) == len(data))
        assert b"".join(kept) == data
        loop = server.stats()["loops"][0]
        assert loop["pool_bytes"] < 64 * MIB
        kept.clear()
        log.calls.clear()
