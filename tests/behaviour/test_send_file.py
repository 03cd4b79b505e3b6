"""Files: every byte in its place, whatever the reader does; what cannot be sent raises at the call; nothing is left
open."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, eventually, open_files, pattern, read, read_all, reset, serving

import wawo

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 300,000 bytes; its content is ``pattern(300_000)``."""
    path = tmp_path / "file"
    path.write_bytes(pattern(300_000))
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """More than the buffers of both sides hold."""
    path = tmp_path / "large"
    path.write_bytes(pattern(24 * MIB))
    return path


# ---- what arrives ----


@pytest.mark.parametrize("inside", [True, False], ids=["on the loop", "from another thread"])
def test_parts_heads_and_tails(backend: str, file: Path, inside: bool) -> None:
    whole = pattern(300_000)
    calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], bytes]] = [
        (file, (), {}, whole),
        (str(file), (100,), {}, whole[100:]),
        (os.fsencode(file), (0, 5), {"head": b"head"}, b"head" + whole[:5]),
        (file, (299_999, 1), {"head": bytearray(b"h"), "tail": memoryview(b"t")}, b"h" + whole[-1:] + b"t"),
        (file, (300_000,), {"head": b"none of it", "tail": b"!"}, b"none of it!"),
        (file, (7, 0), {}, b""),
        (file, (), {"head": whole, "tail": whole}, whole * 3),
        (file, (4096, None), {"tail": b"end"}, whole[4096:] + b"end"),
    ]

    def act(conn: wawo.Connection) -> None:
        for path, positions, names, _ in calls:
            assert conn.send(b"[")
            assert conn.send_file(path, *positions, **names) is True
            assert conn.send(b"]")

    log = Log(OnHandShake=act) if inside else Log()
    with serving(log, backend) as server, dial(server) as peer:
        if not inside:
            log.until_count("OnHandShake")
            act(log.conn())
        for *_, expected in calls:
            assert read(peer, len(expected) + 2) == b"[" + expected + b"]"
        eventually(lambda: log.conn().pending == 0)
        sent = sum(len(expected) + 2 for *_, expected in calls)
        assert server.stats()["bytes_out"] == sent
        assert server.stats()["messages_out"] == 3 * len(calls)
        assert log.raised() == []
        assert open_files(file) == 0


def test_one_envelope(backend: str, file: Path) -> None:
    def act(conn: wawo.Connection) -> None:
        with pytest.raises(wawo.FrameTooBig, match="300008 bytes"):
            conn.send_file(file, head=b"four", tail=b"four")
        assert conn.send_file(file, 0, 100_000, head=b"head", tail=b"tail")
        assert conn.send_file(file, 5, 10)
        assert conn.send_file(file, 0, 0)

    log = Log(OnHandShake=act)
    with serving(log, backend, framing=wawo.LengthPrefixed(max_size=300_007)) as server, dial(server) as peer:
        assert read(peer, 4) == struct.pack(">I", 100_008)
        assert read(peer, 100_008) == b"head" + pattern(100_000) + b"tail"
        assert read(peer, 14) == struct.pack(">I", 10) + pattern(15)[5:]
        assert read(peer, 4) == bytes(4)
        assert log.raised() == []
        assert open_files(file) == 0


def test_beyond_two_and_four_gigabytes(backend: str, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    marks = {3 << 30: b"three", 5 << 30: b"five", (6 << 30) - 3: b"end"}
    with path.open("wb") as sparse:
        for offset, mark in marks.items():
            sparse.seek(offset)
            sparse.write(mark)

    def act(conn: wawo.Connection) -> None:
        for offset in marks:
            assert conn.send_file(path, offset - 100_000, 100_010 if offset < 5 << 30 else None)

    def expect(peer: socket.socket, size: int, mark: bytes) -> None:
        assert read(peer, size) == bytes(100_000) + mark.ljust(size - 100_000, b"\0")

    log = Log(OnHandShake=act)
    with serving(log, backend) as server, dial(server) as peer:
        expect(peer, 100_010, b"three")
        log.until_count("OnHandShake")
        rest = (6 << 30) - (5 << 30) + 100_000
        assert log.conn().pending > 0  # more than a gigabyte to go: nobody waits for that
        assert read(peer, 100_005) == bytes(100_000) + b"five\0"
        assert rest > 1 << 30
        log.conn().abort()
    eventually(lambda: open_files(path) == 0)  # a part of it may still be read


def test_a_slow_reader(backend: str, large: Path) -> None:
    whole = pattern(24 * MIB)

    def act(conn: wawo.Connection) -> None:
        assert conn.send_file(large, head=b"head", tail=b"tail")
        assert conn.send(b"behind")
        assert conn.pending <= 2 * 4096 + 14  # what waits in memory, not what waits in the file

    log = Log(OnHandShake=act)
    with serving(log, backend, high_water=64 * KIB, low_water=16 * KIB) as server:
        with dial(server, receive_buffer=4096) as peer:
            log.until_count("OnHandShake")
            peer.sendall(b"still heard")
            log.until(lambda: log.received() == b"still heard")
            assert read(peer, len(whole) + 14) == b"head" + whole + b"tailbehind"
            eventually(lambda: log.conn().pending == 0)
            assert log.count("OnDrain") == 0
            assert log.raised() == []
        assert open_files(large) == 0


def test_on_send_tells_of_file_bytes(backend: str, large: Path) -> None:
    sent: list[int] = []

    class Counting(Log):
        def OnSend(self, conn: wawo.Connection, length: int) -> None:
            with self.changed:
                sent.append(length)
                self.changed.notify_all()

    log = Counting(OnHandShake=lambda conn: conn.send_file(large, tail=b"t") and None)
    with serving(log, backend) as server, dial(server) as peer:
        assert len(read(peer, 24 * MIB + 1)) == 24 * MIB + 1
        log.until(lambda: sum(sent) == 24 * MIB + 1)
    assert len(sent) > 20


def test_many_files_in_one_go(backend: str, file: Path) -> None:
    """One message after the other, on one connection: more than fit into one gathered write."""

    def act(conn: wawo.Connection) -> None:
        for number in range(200):
            assert conn.send_file(file, number * 1000, 1000, head=b"%03d" % number)

    log = Log(OnHandShake=act)
    with serving(log, backend) as server, dial(server) as peer:
        for number in range(200):
            assert read(peer, 1003) == b"%03d" % number + pattern(300_000)[number * 1000 : (number + 1) * 1000]
        assert log.raised() == []
        assert open_files(file) == 0


def test_a_file_is_opened_at_the_call(backend: str, large: Path) -> None:
    """Removed and replaced afterwards: what was there at the call is sent."""

    def act(conn: wawo.Connection) -> None:
        assert conn.send_file(large)
        large.unlink()
        large.write_bytes(b"another")

    log = Log(OnHandShake=act)
    with serving(log, backend) as server, dial(server) as peer:
        assert read(peer, 24 * MIB) == pattern(24 * MIB)
        assert log.raised() == []


def test_a_file_that_grows_is_not_sent_further(backend: str, file: Path) -> None:
    def act(conn: wawo.Connection) -> None:
        assert conn.send_file(file)
        with file.open("ab") as more:
            more.write(b"grown")
        assert conn.send(b"end")

    log = Log(OnHandShake=act)
    with serving(log, backend) as server, dial(server) as peer:
        assert read(peer, 300_003) == pattern(300_000) + b"end"


def test_clients_and_agents_send_files_too(backend: str, file: Path) -> None:
    log = Log()
    with serving(log, backend) as server, wawo.TcpClient(Log(), backend=backend) as client:
        client.start(*server.address)
        assert client.connection is not None
        assert client.connection.send_file(file, tail=b".")
        log.until(lambda: log.received() == pattern(300_000) + b".")


@pytest.mark.threads
def test_from_many_threads(backend: str, file: Path) -> None:
    """Whole messages of file and head, beside messages of the loop's own."""
    log = Log()
    whole = pattern(300_000)
    threads, each = 3, 30
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()

        def send(number: int) -> None:
            for count in range(each):
                size = 50_000 * number + count
                assert conn.send_file(file, count, size, head=struct.pack(">BHI", number, count, size))

        senders = [threading.Thread(target=send, args=(number,)) for number in range(threads)]
        for sender in senders:
            sender.start()
        following = [0] * threads
        for _ in range(threads * each):
            number, count, size = struct.unpack(">BHI", read(peer, 7))
            assert count == following[number]
            following[number] += 1
            assert read(peer, size) == whole[count : count + size]
        for sender in senders:
            sender.join(DEADLINE_S)
        assert following == [each] * threads
        assert open_files(file) == 0


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
    refused(backend, IsADirectoryError, str(tmp_path), lambda conn: conn.send_file(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(backend: str, file: Path) -> None:
    file.chmod(0)
    refused(backend, PermissionError, "file", lambda conn: conn.send_file(file))


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
        assert open_files(large) == 2
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
    log = Log(OnHandShake=lambda conn: conn.send_file(large) and None)
    with serving(log, backend) as server, dial(server) as peer:
        log.until_count("OnHandShake")
        os.truncate(large, 100_000)
        with pytest.raises(ConnectionResetError):
            read_all(peer)
        log.until_count("OnClose")
        assert log.closes() == [(wawo.Operation.SEND, errno.EIO)]
        error = log.conn().error
        assert isinstance(error, OSError)
        assert error.errno == errno.EIO
        eventually(lambda: open_files(large) == 0)


# ---- cold files ----


def make_cold(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


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
        while any(reader.is_alive() for reader in readers):
            ping.sendall(b"ping")
            assert read(ping, 4) == b"ping"
            rounds += 1
        assert rounds / (time.monotonic() - began) > 20
        assert got == [pattern(4 * MIB)] * len(paths)
        assert log.raised() == []
