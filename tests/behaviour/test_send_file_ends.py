"""Files that cannot be sent, and connections that end while one is on its way."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, eventually, open_files, pattern, read, read_all, reset, serving
from systems import NEEDS_FADVISE, WINDOWS

import wawo

KIB = 1024
MIB = 1024 * KIB


# ---- what cannot be sent ----


def refused(backend: str, kind: type[BaseException], match: str, call: Callable[[wawo.Connection], object]) -> None:
    """``call`` raises, in a callback and outside; nothing is queued and the connection goes on."""
    caught: list[BaseException] = []

    def act(conn: wawo.Connection) -> None:
        with pytest.raises(kind, match=match) as info:
            call(conn)
        caught.append(info.value)
        conn.send(b"1")

    log = Log(OnHandShake=act)
    with serving(log, backend) as server, dial(server) as peer:
        assert read(peer, 1) == b"1"
        act(log.conn())
        assert read(peer, 1) == b"1"
        assert log.raised() == []
    assert len(caught) == 2


def test_a_missing_file(backend: str, tmp_path: Path) -> None:
    refused(backend, FileNotFoundError, "missing", lambda conn: conn.send_file(tmp_path / "missing"))


def test_a_directory(backend: str, tmp_path: Path) -> None:
    refused(backend, IsADirectoryError, re.escape(repr(str(tmp_path))), lambda conn: conn.send_file(tmp_path))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="here one may read everything")
def test_no_permission(backend: str, file: Path) -> None:
    file.chmod(0)
    refused(backend, PermissionError, "file", lambda conn: conn.send_file(file))


@pytest.mark.skipif(WINDOWS, reason="this system has no FIFOs in folders")
def test_a_fifo_is_no_regular_file(backend: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    refused(backend, ValueError, "path must be a regular file: .*fifo", lambda conn: conn.send_file(tmp_path / "fifo"))
    refused(backend, ValueError, "path must be a regular file: '/dev/null'", lambda conn: conn.send_file("/dev/null"))


@pytest.mark.parametrize(
    ("positions", "kind", "match"),
    [
        ((-1,), ValueError, "offset must be at least 0, not -1"),
        ((300_001,), ValueError, "offset must be from 0 to 300000, the size of .*, not 300001"),
        ((1 << 70,), ValueError, "offset must be from 0 to 300000"),
        ((0, -1), ValueError, "count must be at least 0, not -1"),
        ((100, 299_901), ValueError, "count must be from 0 to 299900, what .* has from offset 100 on, not 299901"),
        ((0, 1 << 70), ValueError, "count must be from 0 to 300000"),
        ((1.5,), TypeError, r"offset must be an int, not float \(1.5\)"),
        ((None,), TypeError, "offset must be an int, not NoneType"),
        ((0, "7"), TypeError, "count must be an int, not str"),
    ],
)
def test_positions_out_of_range(
    backend: str, file: Path, positions: tuple[Any, ...], kind: type[Exception], match: str
) -> None:
    refused(backend, kind, match, lambda conn: conn.send_file(file, *positions))
    assert open_files(file) == 0


def test_wrong_types(backend: str, file: Path) -> None:
    path: Any = 7
    refused(backend, TypeError, "int", lambda conn: conn.send_file(path))
    text: Any = "text"
    refused(backend, TypeError, "head must be a bytes-like object, not str", lambda c: c.send_file(file, head=text))
    refused(backend, TypeError, "tail must be a bytes-like object, not str", lambda c: c.send_file(file, tail=text))
    refused(backend, ValueError, "null", lambda conn: conn.send_file("a\0b"))
    assert open_files(file) == 0


def test_no_room_for_head_and_tail(backend: str, file: Path) -> None:
    log = Log()
    with serving(log, backend, max_pending=2 * MIB) as server, dial(server) as peer:
        conn = log.conn()
        with pytest.raises(wawo.SendBufferFull):
            conn.send_file(file, head=bytes(MIB), tail=bytes(MIB))
        assert conn.pending == 0
        assert open_files(file) == 0
        assert conn.send_file(file, 0, 2)
        assert read(peer, 2) == pattern(2)


# ---- ends ----


def test_close_sends_all_of_it_first(backend: str, large: Path) -> None:
    def act(conn: wawo.Connection) -> None:
        assert conn.send_file(large)
        conn.close()
        assert conn.send_file(large) is False
        assert conn.send_packets([b"late"]) is False

    log = Log(OnHandShake=act)
    with serving(log, backend) as server, dial(server) as peer:
        assert read_all(peer) == pattern(24 * MIB)
        peer.close()
        log.until_count("OnClose")
        assert log.closes() == [(wawo.Operation.CLOSE, 0)]
        assert log.raised() == []
    assert open_files(large) == 0


def test_half_close_of_the_peer(backend: str, large: Path) -> None:
    log = Log(OnReceive=lambda conn, data: conn.send_file(large) and None)
    with serving(log, backend) as server, dial(server) as peer:
        peer.sendall(b"request")
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == pattern(24 * MIB)
        log.until_count("OnClose")
        assert log.closes() == [(wawo.Operation.CLOSE, 0)]


@pytest.mark.parametrize("how", ["abort", "reset", "stop"])
def test_an_end_in_the_middle_closes_the_file(backend: str, large: Path, how: str) -> None:
    log = Log(OnHandShake=lambda conn: conn.send_file(large) and conn.send_file(large) and None)
    with serving(log, backend) as server, dial(server, receive_buffer=4096) as peer:
        assert read(peer, 1000) == pattern(24 * MIB)[:1000]
        assert open_files(large) == (1 if WINDOWS else 2)  # there it only tells whether
        if how == "abort":
            log.conn().abort()
        elif how == "reset":
            reset(peer)
        else:
            server.stop()
        log.until_count("OnClose")
        eventually(lambda: open_files(large) == 0)


def test_stop_drains_files(backend: str, large: Path) -> None:
    def act(conn: wawo.Connection) -> None:
        assert conn.send_file(large)
        conn.close()

    log = Log(OnHandShake=act)
    with serving(log, backend) as server, dial(server) as peer:
        log.until_count("OnHandShake")
        stopper = threading.Thread(target=lambda: server.stop(drain=DEADLINE_S))
        stopper.start()
        assert read_all(peer) == pattern(24 * MIB)
        peer.close()
        stopper.join(DEADLINE_S)
        assert not stopper.is_alive()
    assert log.closes() == [(wawo.Operation.CLOSE, 0)]


def test_a_file_that_shrinks(backend: str, large: Path) -> None:
    """What is missing cannot be sent: the connection ends, and not as if all had arrived."""

    def act(conn: wawo.Connection) -> None:
        assert conn.send_file(large)
        os.truncate(large, 100_000)

    log = Log(OnHandShake=act)
    with serving(log, backend) as server:
        with pytest.raises(ConnectionResetError), dial(server) as peer:  # its connect() may hear of it already
            read_all(peer)
        log.until_count("OnClose")
        assert log.closes() == [(wawo.Operation.SEND, errno.EIO)]
        error = log.conn().error
        assert isinstance(error, OSError)
        assert error.errno == errno.EIO
        eventually(lambda: open_files(large) == 0)


def test_what_went_before_a_failure_is_counted_off(backend: str, tmp_path: Path) -> None:
    """Whatever of a connection the kernel took before its end: the whole total is there for others."""
    limit, head, rounds = 300_000, bytes(100_000), 10

    def fail(conn: wawo.Connection, data: bytes) -> None:
        path = tmp_path / str(conn.id)
        path.write_bytes(b"short")
        assert conn.send_file(path, head=head)
        os.truncate(path, 0)

    log = Log(OnReceive=fail)
    options = {"high_water": 200_000, "low_water": 1000, "max_pending": limit, "max_pending_total": limit}
    with serving(log, backend, io_threads=1, **options) as server:
        for number in range(rounds):
            with dial(server) as peer:
                peer.sendall(b"!")
                log.until_count("OnClose", number + 1)
        assert log.closes() == [(wawo.Operation.SEND, errno.EIO)] * rounds
        log.actions["OnReceive"] = lambda conn, data: conn.send(bytes(limit))
        with dial(server) as peer:
            peer.sendall(b"!")
            assert read(peer, limit) == bytes(limit)
    assert log.raised() == []


# ---- cold files ----


def make_cold(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


@NEEDS_FADVISE
def test_a_cold_file(backend: str, large: Path) -> None:
    """Dropped from memory it is read by other threads, if this file system tells, and arrives all the same."""
    make_cold(large)
    log = Log(OnHandShake=lambda conn: conn.send_file(large, head=b"<", tail=b">") and None)
    with serving(log, backend) as server, dial(server) as peer:
        assert read(peer, 24 * MIB + 2) == b"<" + pattern(24 * MIB) + b">"
        assert server.stats()["loops"][0]["file_reads"] <= 24 * MIB // (512 * KIB) + 1


def test_a_file_in_memory_makes_no_detour(backend: str) -> None:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        pytest.skip("no file system in memory")
    path = folder / f"wawo-test-{os.getpid()}"
    try:
        path.write_bytes(pattern(3 * MIB))
        log = Log(OnHandShake=lambda conn: conn.send_file(path) and None)
        with serving(log, backend) as server, dial(server) as peer:
            assert read(peer, 3 * MIB) == pattern(3 * MIB)
            assert server.stats()["loops"][0]["file_reads"] == 0
    finally:
        path.unlink(missing_ok=True)


@NEEDS_FADVISE
def test_cold_files_do_not_hold_up_others(backend: str, tmp_path: Path) -> None:
    """Beside ten downloads of cold files a ping-pong goes on; its longest pause is no read of a disk."""
    paths = [tmp_path / f"cold{number}" for number in range(10)]
    for path in paths:
        path.write_bytes(pattern(4 * MIB))
        make_cold(path)

    def receive(conn: wawo.Connection, data: bytes) -> None:
        if data == b"ping":
            conn.send(data)
        else:
            assert conn.send_file(paths[data[0]])
            conn.close()

    log = Log(OnReceive=receive)
    with serving(log, backend) as server, dial(server) as ping, contextlib.ExitStack() as opened:
        downloads = [opened.enter_context(dial(server)) for _ in paths]
        for number, download in enumerate(downloads):
            download.sendall(bytes([number]))
        got: list[bytes] = []
        readers = [threading.Thread(target=lambda peer=peer: got.append(read_all(peer))) for peer in downloads]  # type: ignore[misc]
        for reader in readers:
            reader.start()
        rounds, began = 0, time.monotonic()
        while rounds < 50 or any(reader.is_alive() for reader in readers):  # threads beside us may be done at once
            ping.sendall(b"ping")
            assert read(ping, 4) == b"ping"
            rounds += 1
        assert rounds / (time.monotonic() - began) > 20
        assert got == [pattern(4 * MIB)] * len(paths)
        assert log.raised() == []
