"""Files: every byte in its place, whatever the reader does; what cannot be sent raises at the call; nothing is left
open."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, eventually, open_files, pattern, read, serving
from systems import NEEDS_UNIX, WINDOWS

import wawo

KIB = 1024
MIB = 1024 * KIB


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
    assert len(sent) > 6  # a part of it a turn


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
        eventually(lambda: open_files(file) == 0)


@pytest.mark.skipif(WINDOWS, reason="there a file that is open is not removed")
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
        assert client.send_file(file) is False
        assert client.send_packets([b"x"]) is False
        client.start(*server.address)
        assert client.send_file(file, 10, head=b"<")
        assert client.send_packets([b"x", b">"])
        log.until(lambda: log.received() == b"<" + pattern(300_000)[10:] + b"x>")


def test_with_a_delimiter(backend: str, file: Path) -> None:
    """Its limit and its ends are around all; what is in the file is not looked at, what is in front of it is."""

    def act(conn: wawo.Connection) -> None:
        with pytest.raises(wawo.FrameInvalid):
            conn.send_file(file, 0, 10, head=b"a\r\nb")
        assert conn.send_file(file, 0, 10, head=b"ab")

    log = Log(OnHandShake=act)
    with serving(log, backend, framing=wawo.Delimited(b"\r\n")) as server, dial(server) as peer:
        assert read(peer, 14) == b"ab" + pattern(10) + b"\r\n"
        assert log.raised() == []


@NEEDS_UNIX
def test_over_a_unix_socket(backend: str, large: Path) -> None:
    log = Log(OnHandShake=lambda conn: conn.send_file(large, head=b"<", tail=b">") and None)
    with (
        tempfile.TemporaryDirectory() as folder,  # where paths are short
        wawo.TcpServer(log, backend=backend) as server,
        socket.socket(socket.AF_UNIX) as peer,
    ):
        server.start(f"unix:{folder}/socket")
        peer.settimeout(DEADLINE_S)
        peer.connect(f"{folder}/socket")
        assert read(peer, 24 * MIB + 2) == b"<" + pattern(24 * MIB) + b">"


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
        eventually(lambda: open_files(file) == 0)  # the last byte may be read before its loop lets go
