"""LengthPrefixed against bytes on the wire: however they are cut, whatever the size and order of the length."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import threading
from typing import Literal

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, pattern, read, read_all, serving

import wawo
from wawo import LengthPrefixed, Operation

Order = Literal["big", "little"]
ORDERS: tuple[Order, Order] = ("big", "little")
SHAPES = [(size, order) for size in (1, 2, 3, 4, 8) for order in ORDERS]


def frame(data: bytes, size: int = 4, order: Order = "big") -> bytes:
    return len(data).to_bytes(size, order) + data


def wait_read(log: Log, server: wawo.TcpServer, total: int) -> None:
    """Until the server has read so many bytes: what comes next is a read of its own."""
    eventually(lambda: server.stats()["bytes_in"] >= total)


@pytest.mark.parametrize(("size", "order"), SHAPES)
def test_every_shape_split_at_every_byte(backend: str, size: int, order: Order) -> None:
    messages = [b"", b"a", b"", b"hello", pattern(20), b"\0" * 9]
    wire = b"".join(frame(data, size, order) for data in messages)
    log = Log()
    with serving(log, backend, framing=LengthPrefixed(size, byteorder=order)) as server, dial(server) as peer:
        sent = 0
        for cut in range(1, len(wire)):
            for piece in (wire[:cut], wire[cut:]):
                peer.sendall(piece)
                sent += len(piece)
                wait_read(log, server, sent)
        log.until_count("OnReceive", len(messages) * (len(wire) - 1))
    assert log.messages() == messages * (len(wire) - 1)
    assert log.closes() == [(Operation.CLOSE, 0)]


@pytest.mark.parametrize(("size", "order"), SHAPES)
def test_byte_by_byte_and_back(backend: str, size: int, order: Order) -> None:
    messages = [b"", pattern(200), b"x", b"", pattern(255)]
    wire = b"".join(frame(data, size, order) for data in messages)
    log = Log(OnReceive=echo)
    with serving(log, backend, framing=LengthPrefixed(size, byteorder=order)) as server, dial(server) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in wire:
            peer.sendall(bytes([byte]))
        assert read(peer, len(wire)) == wire
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b""
    assert log.messages() == messages


def test_many_messages_in_one_read(backend: str) -> None:
    """More than one batch can take, empty ones too; their order stays."""
    count = 50_000
    messages = [number.to_bytes(3, "big") if number % 3 else b"" for number in range(count)]
    wire = b"".join(frame(data, 1) for data in messages)
    log = Log(OnReceive=echo)
    with serving(log, backend, framing=LengthPrefixed(1)) as server, dial(server) as peer:
        sender = threading.Thread(target=peer.sendall, args=(wire,))
        sender.start()
        assert read(peer, len(wire)) == wire
        sender.join(DEADLINE_S)
        stats = server.stats()
        assert stats["messages_in"] == stats["messages_out"] == count
    assert log.messages() == messages


def test_random_sizes_cut_at_random(backend: str) -> None:
    chance = random.Random(7)
    sizes = [chance.choice((0, 1, 3, 100, 4000, 16_384, 70_000, 300_000)) for _ in range(200)]
    messages = [pattern(size, salt) for salt, size in enumerate(sizes)]
    wire = b"".join(frame(data) for data in messages)
    log = Log(OnReceive=echo)
    with serving(log, backend, framing=LengthPrefixed(4)) as server, dial(server) as peer:

        def send() -> None:
            at = 0
            while at < len(wire):
                step = chance.choice((1, 2, 3, 5, 1000, 65_536, 200_000))
                peer.sendall(wire[at : at + step])
                at += step

        sender = threading.Thread(target=send)
        sender.start()
        assert read(peer, len(wire)) == wire
        sender.join(DEADLINE_S)
    assert log.messages() == messages


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("cut", [False, True])
def test_max_size_exactly_and_one_more(backend: str, size: int, cut: bool) -> None:
    """One byte too many ends that connection after all before it was delivered, and no other."""
    limit = 200
    log = Log(OnReceive=echo)
    with (
        serving(log, backend, framing=LengthPrefixed(size, max_size=limit)) as server,
        dial(server) as other,
        dial(server) as peer,
    ):
        other.sendall(frame(b"before", size))
        assert read(other, size + 6) == frame(b"before", size)
        good = frame(bytes(limit), size) + frame(b"last", size)
        bad = frame(bytes(limit + 1), size)
        if cut:
            peer.sendall(good + bad[: size - 1])
            assert read(peer, len(good)) == good
            peer.sendall(bad[size - 1 :])
            assert read_all(peer) == b""
        else:
            peer.sendall(good + bad + frame(b"never seen", size) * 100)
            assert read_all(peer) == good
        peer.close()
        log.until_count("OnClose")
        assert log.closes() == [(Operation.RECEIVE, errno.EMSGSIZE)]
        assert b"never seen" not in log.messages()
        conn = next(call.conn for call in log.calls if call.name == "OnClose")
        assert isinstance(conn.error, wawo.ProtocolError)
        other.sendall(frame(b"after", size))
        assert read(other, size + 5) == frame(b"after", size)


@pytest.mark.parametrize("size", [2, 3, 4, 8])
@pytest.mark.parametrize("order", ["big", "little"])
def test_largest_length_of_the_wire_is_refused(backend: str, size: int, order: Order) -> None:
    """All bits set, which is negative in a signed word, and larger than any memory."""
    log = Log()
    framing = LengthPrefixed(size, byteorder=order, max_size=1000)
    with serving(log, backend, framing=framing) as server, dial(server) as peer:
        peer.sendall(b"\xff" * size + b"x" * 100)
        assert read_all(peer) == b""
        peer.close()
        log.until_count("OnClose")
    assert log.closes() == [(Operation.RECEIVE, errno.EMSGSIZE)]
    assert log.count("OnReceive") == 0


def test_announced_but_not_sent_costs_no_memory(backend: str) -> None:
    """Two hundred peers that announce 1 GiB each and send ten bytes of it."""
    log = Log()
    with serving(log, backend, framing=LengthPrefixed(4, max_size=1 << 30)) as server, contextlib.ExitStack() as stack:
        before = resident()
        peers = [stack.enter_context(dial(server)) for _ in range(200)]
        for peer in peers:
            peer.sendall((1 << 30).to_bytes(4, "big") + bytes(10))
        wait_read(log, server, len(peers) * 14)
        assert resident() - before < 50 << 20
        for peer in peers:
            peer.close()
        log.until_count("OnClose", 200)
    assert set(log.closes()) == {(Operation.RECEIVE, errno.EBADMSG)}


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


@pytest.mark.parametrize("left", [1, 3, 4, 5, 9])
def test_truncated_at_the_end(backend: str, left: int) -> None:
    """A stream that ends inside a frame is a bad one; what was whole is delivered and answered."""
    log = Log(OnReceive=echo)
    with serving(log, backend, framing=LengthPrefixed(4)) as server, dial(server) as peer:
        peer.sendall(frame(b"whole") + frame(b"hello!")[:left])
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == frame(b"whole")
        log.until_count("OnClose")
    assert log.messages() == [b"whole"]
    assert log.closes() == [(Operation.RECEIVE, errno.EBADMSG)]
    error = log.conn().error
    assert isinstance(error, wawo.ProtocolError)
    assert error.errno == errno.EBADMSG


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(("size", "limit", "most"), [(1, 1 << 20, 255), (2, 1 << 20, 65_535), (4, 1000, 1000)])
def test_own_message_over_the_limit(backend: str, inside: bool, size: int, limit: int, most: int) -> None:
    """Raises, queues nothing and keeps the connection; the largest one goes."""

    def send(conn: wawo.Connection, _: object = None) -> None:
        for too_big in (bytes(most + 1), bytearray(most + 1), memoryview(bytes(most + 20_000))):
            with pytest.raises(wawo.FrameTooBig, match=f"{len(too_big)} bytes is over max_size"):
                conn.send(too_big)
            with pytest.raises(ValueError, match="max_size"):
                conn.send(too_big)
        assert conn.send(bytes(most))

    log = Log(OnReceive=send) if inside else Log()
    with serving(log, backend, framing=LengthPrefixed(size, max_size=limit)) as server, dial(server) as peer:
        if inside:
            peer.sendall(frame(b"!", size))
        else:
            send(log.conn())
        assert read(peer, size + most) == frame(bytes(most), size)
        assert log.conn().connected
    assert log.raised() == []


def test_messages_of_megabytes(backend: str) -> None:
    data = pattern(30 << 20)
    log = Log(OnReceive=echo)
    with serving(log, backend, framing=LengthPrefixed(8, max_size=32 << 20)) as server, dial(server) as peer:
        for size in (len(data), 1, 5 << 20, 0):
            sender = threading.Thread(target=peer.sendall, args=(frame(data[:size], 8),))
            sender.start()
            assert read(peer, 8 + size) == frame(data[:size], 8)
            sender.join(DEADLINE_S)
    assert [len(message) for message in log.messages()] == [len(data), 1, 5 << 20, 0]


def test_client_and_server_of_our_own(backend: str) -> None:
    """Both ends native: a message is a message."""
    messages = [pattern(size, size) for size in (0, 1, 255, 256, 65_535, 65_536, 1_000_000)]
    far = Log(OnReceive=echo)
    near = Log(OnConnect=lambda conn: [conn.send(data) for data in messages])
    framing = LengthPrefixed(3, byteorder="little")
    with serving(far, backend, framing=framing) as server, wawo.TcpClient(near, framing=framing) as client:
        client.start(*server.address)
        near.until_count("OnReceive", len(messages))
        client.close()
        assert client.wait(DEADLINE_S)
    assert far.messages() == near.messages() == messages
