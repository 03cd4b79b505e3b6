"""Several buffers as one message: contiguous, in order, whole beside other senders, all of it or nothing."""

from __future__ import annotations

import array
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, eventually, pattern, read, read_all, serving

import wawo

KIB = 1024
MIB = 1024 * KIB

Act = Callable[[wawo.Connection], object]


@pytest.fixture(params=["on the loop", "from another thread"])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def perform(where: str, backend: str, act: Act, peer_does: Callable[[Any], None], **options: Any) -> Log:
    """A connection on which ``act`` runs once, in OnHandShake or in this thread."""
    inside = where == "on the loop"
    log = Log(OnHandShake=lambda conn: act(conn) and None) if inside else Log()
    with serving(log, backend, **options) as server, dial(server) as peer:
        if not inside:
            log.until_count("OnHandShake")
            act(log.conn())
        peer_does(peer)
        eventually(lambda: log.conn().pending == 0)
    assert log.raised() == []
    return log


def test_every_kind_of_buffer(where: str, backend: str) -> None:
    large = pattern(100_000)
    words = array.array("H", range(5000))
    pieces: list[Any] = [
        b"first",
        bytearray(b"array"),
        b"",
        memoryview(b"view"),
        large,
        memoryview(large)[10_000:90_000],
        bytearray(large),
        words,
        memoryview(large)[::7],  # not contiguous
        b"last",
    ]
    whole = b"".join(bytes(piece) for piece in pieces)

    def receive(peer: Any) -> None:
        assert read(peer, len(whole)) == whole

    perform(where, backend, lambda conn: conn.send_packets(pieces), receive)


def test_any_iterable(where: str, backend: str) -> None:
    def several() -> Iterator[bytes]:
        yield from (b"one ", b"two ", b"three")

    def act(conn: wawo.Connection) -> None:
        assert conn.send_packets(several()) is True
        assert conn.send_packets((b"!",)) is True
        assert conn.send_packets([]) is True
        assert conn.send_packets([b"", b""]) is True

    def receive(peer: Any) -> None:
        assert read(peer, 14) == b"one two three!"

    perform(where, backend, act, receive)


def test_what_is_changed_afterwards_is_not_sent(where: str, backend: str) -> None:
    def act(conn: wawo.Connection) -> None:
        for size in (10, 100_000):
            data = bytearray(pattern(size))
            assert conn.send_packets([b"x", data, memoryview(data).toreadonly()])
            data[:] = bytes(size)

    def receive(peer: Any) -> None:
        for size in (10, 100_000):
            assert read(peer, 2 * size + 1) == b"x" + 2 * pattern(size)

    perform(where, backend, act, receive)


def test_views_are_sent_on(backend: str) -> None:
    """What was received as views goes back without a copy, and the chunks come home."""

    def receive(conn: wawo.Connection, data: memoryview) -> None:
        assert conn.send_packets([b"<", data, b"|", data[: len(data) // 2], b">"])

    log = Log(OnReceive=receive)
    message = pattern(50_000)
    with serving(log, backend, view=True, framing=wawo.LengthPrefixed()) as server, dial(server) as peer:
        peer.sendall(struct.pack(">I", len(message)) + message)
        (length,) = struct.unpack(">I", read(peer, 4))
        assert read(peer, length) == b"<" + message + b"|" + message[:25_000] + b">"
        log.calls.clear()


def test_one_envelope(where: str, backend: str) -> None:
    def act(conn: wawo.Connection) -> None:
        assert conn.send_packets([b"ab", b"c" * 10_000, bytearray(b"d")])
        assert conn.send_packets([])

    def receive(peer: Any) -> None:
        assert read(peer, 4) == struct.pack(">I", 10_003)
        assert read(peer, 10_003) == b"ab" + b"c" * 10_000 + b"d"
        assert read(peer, 4) == bytes(4)

    log = perform(where, backend, act, receive, framing=wawo.LengthPrefixed())
    assert log.closes() != []


def test_a_framing_that_looks_sees_all_of_it(where: str, backend: str) -> None:
    """A delimiter may not hide where two buffers meet."""

    def act(conn: wawo.Connection) -> None:
        with pytest.raises(wawo.FrameInvalid):
            conn.send_packets([b"one\r", b"\ntwo"])
        assert conn.pending == 0
        assert conn.send_packets([b"one\r", b"", bytearray(b"\r"), memoryview(b"x" * 10_000)])

    def receive(peer: Any) -> None:
        assert read(peer, 10_007) == b"one\r\r" + b"x" * 10_000 + b"\r\n"

    perform(where, backend, act, receive, framing=wawo.Delimited(b"\r\n"))


def test_a_length_that_is_in_the_message(where: str, backend: str) -> None:
    """The framing writes no header of its own and finds the one that is sent, also in two pieces."""

    def act(conn: wawo.Connection) -> None:
        with pytest.raises(wawo.FrameInvalid):
            conn.send_packets([b"\0", b"\5", b"four"])
        assert conn.send_packets([b"\0", b"\4", b"four"])

    def receive(peer: Any) -> None:
        assert read(peer, 6) == b"\0\4four"

    perform(where, backend, act, receive, framing=wawo.LengthField(size=2, strip=0))


def test_a_framing_in_python_gets_one_message(where: str, backend: str) -> None:
    class Quoted(wawo.Protocol):
        def decode(self, data: bytes) -> list[bytes]:
            return [data]

        def encode(self, message: bytes) -> bytes:
            return b"<%b>" % message

    def act(conn: wawo.Connection) -> None:
        assert conn.send_packets([b"a", bytearray(b"b")])
        with pytest.raises(wawo.StateError, match="does not go through a framing in Python"):
            conn.send_file(__file__)

    def receive(peer: Any) -> None:
        assert read(peer, 4) == b"<ab>"

    perform(where, backend, act, receive, framing=Quoted)


def test_the_framings_limit_is_for_all_together(where: str, backend: str) -> None:
    def act(conn: wawo.Connection) -> None:
        with pytest.raises(wawo.FrameTooBig, match="101 bytes"):
            conn.send_packets([b"x" * 100, b"y"])
        assert conn.pending == 0
        assert conn.send_packets([b"x" * 99, b"y"])

    def receive(peer: Any) -> None:
        assert read(peer, 104) == struct.pack(">I", 100) + b"x" * 99 + b"y"

    perform(where, backend, act, receive, framing=wawo.LengthPrefixed(max_size=100))


def test_all_or_nothing(where: str, backend: str) -> None:
    def act(conn: wawo.Connection) -> None:
        with pytest.raises(wawo.SendBufferFull):
            conn.send_packets([b"small", bytes(MIB), bytes(MIB + 1)])
        assert conn.pending == 0
        assert conn.send_packets([b"on", b"e"])

    def receive(peer: Any) -> None:
        assert read(peer, 3) == b"one"

    perform(where, backend, act, receive, max_pending=2 * MIB)


@pytest.mark.parametrize(
    ("buffers", "message"),
    [
        ([b"a", "b"], r"buffers\[1\] must be a bytes-like object, not str: encode it first"),
        ([b"a", b"b", None], r"buffers\[2\] must be a bytes-like object, not NoneType"),
        ([1], r"buffers\[0\] must be a bytes-like object, not int"),
        (b"bytes", r"several bytes-like objects, as in a list, not bytes"),
        ("text", r"several bytes-like objects, as in a list, not str"),
        (bytearray(1), r"several bytes-like objects, as in a list, not bytearray"),
        (5, "int"),
    ],
)
def test_wrong_types(backend: str, buffers: Any, message: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        with pytest.raises(TypeError, match=message):
            conn.send_packets(buffers)
        assert conn.pending == 0
        assert conn.send(b"on")
        assert read(peer, 2) == b"on"


def test_an_iterator_that_raises_sends_nothing(backend: str) -> None:
    def broken() -> Iterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        with pytest.raises(ZeroDivisionError):
            log.conn().send_packets(broken())
        assert log.conn().send(b"on")
        assert read(peer, 2) == b"on"


def test_after_the_end(backend: str) -> None:
    log = Log()
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        conn.send_packets([b"a", b"b" * 10_000])
        conn.close()
        assert conn.send_packets([b"c", b"d" * 10_000]) is False
        assert read_all(peer) == b"a" + b"b" * 10_000
        log.until_count("OnClose")
        assert conn.send_packets([b"c"]) is False


@pytest.mark.threads
def test_whole_beside_other_senders(backend: str) -> None:
    """Each thread's messages arrive whole and in its order, whatever sizes they have."""
    log = Log()
    threads, each = 4, 200
    with serving(log, backend, max_pending=4 * MIB) as server, dial(server) as peer:
        conn = log.conn()

        def send(number: int) -> None:
            for count in range(each):
                size = (0, 10, 3000, 20_000)[count % 4]
                fill = bytes([number]) * size
                message = [struct.pack(">BHI", number, count, 2 * size), fill, bytearray(fill)]
                eventually(lambda: conn.pending < 2 * MIB)
                assert conn.send_packets(message)

        senders = [threading.Thread(target=send, args=(number,)) for number in range(threads)]
        for sender in senders:
            sender.start()
        following = [0] * threads
        for _ in range(threads * each):
            number, count, size = struct.unpack(">BHI", read(peer, 7))
            assert count == following[number]
            following[number] += 1
            assert read(peer, size) == bytes([number]) * size
        for sender in senders:
            sender.join(DEADLINE_S)
    assert following == [each] * threads
