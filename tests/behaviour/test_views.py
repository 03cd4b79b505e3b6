"""view=True, and what send() borrows and copies: no byte changes, no chunk and no reference is lost."""

from __future__ import annotations

import array
import gc
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, eventually, pattern, read, serving

import wawo
from wawo._core import live

MIB = 1 << 20


def chunks() -> int:
    return live()["chunks"]


def exported(server: wawo.TcpServer) -> int:
    """Chunks held by views, and perhaps the one that is read into just now."""
    return int(server.stats()["loops"][0]["pool_exported"])


def poke(peer: socket.socket, log: Keep) -> None:
    """The loop runs Python: without a GIL what it made and others dropped is freed then."""
    size = log.size
    peer.sendall(b"!")
    log.until(lambda: log.size > size)
    log.kept.clear()


class Keep(Log):
    """Keeps the very objects that OnReceive got."""

    def __init__(self, **actions: Callable[..., object]) -> None:
        super().__init__(**actions)
        self.kept: list[Any] = []
        self.size = 0

    def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
        with self.changed:
            self.kept.append(data)
            self.size += len(data)
            self.changed.notify_all()


@pytest.mark.parametrize("size", [1, 2047, 2048, 60_000, 3_000_000])
def test_views_are_safe_to_keep(backend: str, size: int) -> None:
    """After the callback, after the connection, after the server: what was received stays."""
    before = chunks()
    log = Keep()
    data = pattern(size)
    with serving(log, backend, view=True) as server:
        with dial(server) as peer:
            peer.sendall(data)
            log.until(lambda: log.size == size)
            peer.sendall(bytes(100_000))  # runs over whatever was given back too early
            log.until(lambda: log.size == size + 100_000)
            assert b"".join(log.kept)[:size] == data
        log.until_count("OnClose")
        assert b"".join(log.kept)[:size] == data
    assert b"".join(log.kept)[:size] == data
    for view in log.kept:
        assert type(view) is memoryview
        assert view.readonly
        assert (view.format, view.itemsize, view.ndim, view.contiguous) == ("B", 1, 1, True)
    with pytest.raises(TypeError):
        log.kept[0][0] = 1
    part = log.kept[0][:1]
    del view
    log.kept.clear()
    assert bytes(part) == data[:1]
    del part
    gc.collect()
    assert chunks() <= before


def test_without_view_it_is_bytes(backend: str) -> None:
    log = Keep()
    with serving(log, backend) as server, dial(server) as peer:
        peer.sendall(bytes(200_000))
        log.until(lambda: log.size == 200_000)
        assert {type(data) for data in log.kept} == {bytes}


def test_views_of_messages(backend: str) -> None:
    """Several messages of one chunk, one that spans chunks, empty ones: each stays for itself."""
    sizes = [3000, 0, 10, 5000, 2048, 300_000, 0, 4000] * 5
    messages = [pattern(size, salt) for salt, size in enumerate(sizes)]
    log = Keep()
    with serving(log, backend, view=True, framing=wawo.LengthPrefixed(3)) as server, dial(server) as peer:
        peer.sendall(b"".join(len(data).to_bytes(3, "big") + data for data in messages))
        log.until(lambda: len(log.kept) == len(messages))
        for number in range(1, len(messages), 2):
            log.kept[number] = bytes(log.kept[number])
        peer.sendall(b"".join(len(data).to_bytes(3, "big") + data for data in messages))
        log.until(lambda: len(log.kept) == 2 * len(messages))
    assert [bytes(data) for data in log.kept] == messages * 2


def test_kept_views_beyond_the_quota_are_copies(backend: str) -> None:
    """Whoever keeps everything gets everything, and receiving does not stop for it."""
    log = Keep()
    data = pattern(24 * MIB)
    with serving(log, backend, view=True, pool_memory=2 * MIB) as server, dial(server) as peer:
        for start in range(0, len(data), MIB):
            peer.sendall(data[start : start + MIB])
        log.until(lambda: log.size == len(data))
        assert b"".join(log.kept) == data
        loop = server.stats()["loops"][0]
        assert loop["pool_bytes"] <= 24 * MIB
        log.kept.clear()
        poke(peer, log)
        eventually(lambda: exported(server) <= 1)


def test_sending_a_view_back(backend: str) -> None:
    def receive(conn: wawo.Connection, data: memoryview) -> None:
        assert conn.send(data)
        assert conn.send(data[: len(data) // 2])
        half.append(bytes(data[: len(data) // 2]))

    half: list[bytes] = []
    log = Log(OnReceive=receive)
    data = pattern(MIB)
    options: dict[str, Any] = {"view": True, "framing": wawo.LengthPrefixed(4)}
    with serving(log, backend, **options) as server, dial(server) as peer:
        for _ in range(10):
            peer.sendall(len(data).to_bytes(4, "big") + data + b"\0\0\x20\0" + data[:8192])
            for wanted in (data, data[: len(data) // 2], data[:8192], data[:4096]):
                assert int.from_bytes(read(peer, 4), "big") == len(wanted)
                assert read(peer, len(wanted)) == wanted
    assert log.raised() == []


def test_views_die_on_other_threads(backend: str) -> None:
    before = chunks()
    log = Keep()
    with serving(log, backend, view=True) as server, dial(server) as peer:
        for _ in range(20):
            start = log.size
            peer.sendall(bytes(500_000))
            log.until(lambda start=start: log.size == start + 500_000)
            mine, log.kept = log.kept, []
            killers = [threading.Thread(target=mine[number::3].clear) for number in range(3)]
            del mine
            for thread in killers:
                thread.start()
            for thread in killers:
                thread.join(DEADLINE_S)
            del killers, thread
        log.kept.clear()
        poke(peer, log)
        eventually(lambda: exported(server) <= 1)
    gc.collect()
    assert chunks() <= before


@pytest.mark.parametrize("inside", [True, False])
def test_every_kind_of_buffer(backend: str, inside: bool) -> None:
    raw = pattern(40_000)
    for big in (False, True):
        part = raw if big else raw[:4000]
        kinds: list[Any] = [
            part,
            bytearray(part),
            memoryview(part),
            memoryview(bytearray(part)),
            memoryview(part)[100:],
            memoryview(part)[::2],
            memoryview(part)[::-1],
            memoryview(part).cast("I"),
            memoryview(part).cast("B", (len(part) // 100, 100)),
            array.array("H", part),
            type("Sub", (bytes,), {})(part),
            memoryview(type("Sub", (bytes,), {})(part)),
        ]
        wanted = b"".join(kind.tobytes() if isinstance(kind, memoryview) else bytes(kind) for kind in kinds)

        def send(conn: wawo.Connection, data: object = None, kinds: list[Any] = kinds) -> None:
            for kind in kinds:
                assert conn.send(kind)

        log = Log(OnReceive=send) if inside else Log()
        with serving(log, backend) as server, dial(server) as peer:
            if inside:
                peer.sendall(b"!")
            else:
                send(log.conn())
            assert read(peer, len(wanted)) == wanted
        assert log.raised() == []


@pytest.mark.parametrize("wrong", ["text", 5, None, [1, 2], object(), wawo.Listener])
def test_what_is_no_buffer(backend: str, wrong: Any) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        with pytest.raises(TypeError, match=r"send\(\) takes a bytes-like object, not"):
            conn.send(wrong)
        assert conn.send(b"x")
        assert read(peer, 1) == b"x"


@pytest.mark.parametrize("size", [10, 5000, 100_000, 3_000_000])
@pytest.mark.parametrize("view", [False, True])
def test_what_changes_after_send_is_not_seen(backend: str, size: int, view: bool) -> None:
    """A bytearray, and a read-only view on one, are copied: they still change."""
    log = Log()
    with serving(log, backend) as server, dial(server, receive_buffer=4096) as peer:
        conn = log.conn()
        data = bytearray(pattern(size))
        wanted = bytes(data)
        assert conn.send(memoryview(data).toreadonly() if view else data)
        data[:] = bytes(size)
        data.clear() if not view else None
        assert read(peer, size) == wanted


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("size", [100, 8192, 2_000_000])
@pytest.mark.parametrize("how", ["read", "abort", "stop"])
def test_borrowed_bytes_are_given_back(backend: str, inside: bool, size: int, how: str) -> None:
    """Also when they were never sent: then with the end of the connection."""
    data = pattern(size)
    view = memoryview(data)
    usual = sys.getrefcount(data)

    def send(conn: wawo.Connection, _: object = None) -> None:
        for _ in range(5):
            assert conn.send(data)
            assert conn.send(view)

    log = Log(OnReceive=send) if inside else Log()
    with serving(log, backend) as server, dial(server, receive_buffer=4096) as peer:
        conn = log.conn()
        if inside:
            peer.sendall(b"!")
            eventually(lambda: server.stats()["messages_out"] == 10)
        else:
            send(conn)
        if how == "read":
            assert read(peer, 10 * size) == data * 10
        elif how == "abort":
            conn.abort()
        else:
            server.stop()
        eventually(lambda: sys.getrefcount(data) == usual)
        eventually(lambda: conn.pending == 0)
    assert sys.getrefcount(data) == usual


def test_refused_sends_borrow_nothing(backend: str) -> None:
    data = pattern(MIB)
    usual = sys.getrefcount(data)
    log = Log()
    with serving(log, backend, high_water=1000, low_water=1, max_pending=MIB - 1) as server, dial(server):
        conn = log.conn()
        for _ in range(10):
            with pytest.raises(wawo.SendBufferFull):
                conn.send(data)
            with pytest.raises(wawo.SendBufferFull):
                conn.send(memoryview(data))
        conn.close()
        assert conn.send(data) is False
        assert sys.getrefcount(data) == usual
