"""One message to many: who gets it, in which order, what happens to those who are slow."""

from __future__ import annotations

import contextlib
import errno
import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, eventually, gone, pattern, read, read_all, serving

import wawo
from wawo._core import live

KIB = 1024
MIB = 1024 * KIB


@contextlib.contextmanager
def audience(
    log: Log, backend: str, count: int, **options: Any
) -> Iterator[tuple[wawo.TcpServer, list[socket.socket]]]:
    """A server and ``count`` peers that it has accepted; peer n belongs to log.conn(n)."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(log, backend, **options))
        peers = []
        for number in range(count):
            peers.append(stack.enter_context(dial(server)))
            log.until_count("OnAccept", number + 1)
        yield server, peers


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("framing", [wawo.Raw(), wawo.LengthPrefixed(2)])
def test_everybody_once(backend: str, threads: int, inside: bool, framing: wawo.Framing) -> None:
    messages = [b"one", b"", pattern(100), pattern(5_000), pattern(20_000), b"two"] * 5
    counts: list[int] = []

    def cast(*_: object) -> None:
        counts.extend([server.broadcast(message) for message in messages])

    log = Log()
    with audience(log, backend, 20, io_threads=threads, framing=framing) as (server, peers):
        head = 2 if framing != wawo.Raw() else 0
        if inside:
            log.actions["OnReceive"] = cast
            peers[3].sendall(b"\0\1!" if head else b"!")
        else:
            cast()
        wire = b"".join((len(message).to_bytes(2, "big") if head else b"") + message for message in messages)
        for peer in peers:
            assert read(peer, len(wire)) == wire
        assert counts == [20] * len(messages)
        assert server.stats()["messages_out"] == 20 * len(messages)
        assert server.stats()["broadcasts_skipped"] == 0
        eventually(lambda: all(conn.pending == 0 for conn in server.connections()))
    assert log.raised() == []


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("inside", [True, False])
def test_in_order_with_send(backend: str, threads: int, inside: bool) -> None:
    """What one thread sends to one and broadcasts to all arrives in that order everywhere."""

    def produce(*_: object) -> None:
        conn = log.conn(1)
        for number in range(2_000):
            if number % 3 == 0:
                assert conn.send(number.to_bytes(4, "big"))
            else:
                assert server.broadcast(number.to_bytes(4, "big")) == 3

    log = Log()
    with audience(log, backend, 3, io_threads=threads) as (server, peers):
        if inside:
            log.actions["OnReceive"] = produce
            peers[0].sendall(b"!")
        else:
            produce()
        for place, peer in enumerate(peers):
            wanted = [number for number in range(2_000) if number % 3 or place == 1]
            assert read(peer, 4 * len(wanted)) == b"".join(number.to_bytes(4, "big") for number in wanted)
    assert log.raised() == []


def test_to_some(backend: str) -> None:
    """Connections, ids or both, in any iterable; each once, and nobody for what is no open connection here."""
    log, other_log = Log(), Log()
    with audience(log, backend, 4, io_threads=2) as (server, peers), audience(other_log, backend, 1) as (_, strangers):
        a, b, c, _d = (log.conn(number) for number in range(4))
        assert server.broadcast(b"1", to=[a, b]) == 2
        assert server.broadcast(b"2", to=(a.id, c.id)) == 2
        assert server.broadcast(b"3", to={a, b.id}) == 2
        assert server.broadcast(b"4", to=(conn for conn in (a, a, a.id))) == 1
        assert server.broadcast(b"5", to=[a, a.id, other_log.conn(), 0, -1, 1 << 64, 12345, a]) == 1
        assert server.broadcast(b"6", to=[]) == 0
        assert server.broadcast(b"7", to=dict.fromkeys([b, c])) == 2
        peers[1].close()
        log.until_count("OnClose")
        assert server.broadcast(b"8", to=[b, b.id]) == 0
        assert server.broadcast(b".") == 3
        for peer, wanted in ((peers[0], b"12345."), (peers[2], b"27."), (peers[3], b".")):
            assert read(peer, len(wanted)) == wanted
        server.stop()
        assert all(read_all(peer) == b"" for peer in (peers[0], peers[2], peers[3]))
        strangers[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            strangers[0].recv(1)


def test_ids_of_another_component_on_the_same_loops(backend: str) -> None:
    log, other_log = Log(), Log()
    with (
        wawo.IoPool(2, backend=backend) as pool,
        wawo.TcpServer(log, io=pool) as server,
        wawo.TcpServer(other_log, io=pool) as other,
    ):
        server.start("127.0.0.1", 0)
        other.start("127.0.0.1", 0)
        with dial(server) as peer, dial(other) as stranger:
            assert server.broadcast(b"x", to=[log.conn(), other_log.conn(), other_log.conn().id]) == 1
            assert other.broadcast(b"y") == 1
            assert (read(peer, 1), read(stranger, 1)) == (b"x", b"y")


def test_kinds_of_data(backend: str) -> None:
    log = Log()
    with audience(log, backend, 2) as (server, peers):
        changing = bytearray(b"first")
        view = memoryview(pattern(1000))
        for data in (b"bytes", changing, memoryview(b"view"), view[::2], bytes(70_000)):
            assert server.broadcast(data) == 2
        changing[:] = b"later"
        wire = b"bytesfirstview" + bytes(view[::2]) + bytes(70_000)
        for peer in peers:
            assert read(peer, len(wire)) == wire


def test_wrong_arguments(backend: str) -> None:
    log = Log()
    with audience(log, backend, 1) as (server, _peers):
        for target in (server, wawo.TcpServer(wawo.Listener())):  # the same before a start
            wrong: Any
            for wrong in ("text", 5, None, [b"x"]):
                with pytest.raises(TypeError, match=r"broadcast\(\) takes a bytes-like object, not"):
                    target.broadcast(wrong)
            for wrong in (log.conn(), 5, "text", b"data", 1.5):
                with pytest.raises(TypeError, match="to must be None or an iterable of connections or ids, not"):
                    target.broadcast(b"x", to=wrong)
            for wrong in (None, "a", True, 1.0):
                with pytest.raises(TypeError, match=f"to must hold connections or ids, not {type(wrong).__name__}"):
                    target.broadcast(b"x", to=[log.conn(), wrong])
            with pytest.raises(ValueError, match="slow must be 'skip' or 'close', not 'drop'"):
                target.broadcast(b"x", slow="drop")  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="slow must be"):
                target.broadcast(b"x", slow=1)  # type: ignore[arg-type]
        assert log.conn().pending == 0


def test_too_big(backend: str) -> None:
    log = Log()
    options: dict[str, Any] = {"framing": wawo.LengthPrefixed(4, max_size=10 * KIB)}
    with audience(log, backend, 2, **options) as (server, peers):
        with pytest.raises(wawo.FrameTooBig, match="10241 bytes is over max_size"):
            server.broadcast(bytes(10 * KIB + 1))
        assert server.broadcast(bytes(10 * KIB)) == 2
        for peer in peers:
            assert read(peer, 4 + 10 * KIB) == (10 * KIB).to_bytes(4, "big") + bytes(10 * KIB)
    with audience(Log(), backend, 1, max_pending=2 * MIB) as (server, peers):
        with pytest.raises(wawo.SendBufferFull, match="never fit"):  # and nobody is closed for it
            server.broadcast(bytes(2 * MIB + 1), slow="close")
        assert server.broadcast(b"on", slow="close") == 1
        assert read(peers[0], 2) == b"on"


def test_only_while_open(backend: str) -> None:
    log = Log(OnAccept=lambda conn: conn.send(b"welcome ") and server.broadcast(b"all"))
    server = wawo.TcpServer(log, backend=backend)
    assert server.broadcast(b"x") == 0
    server.start("127.0.0.1", 0)
    assert server.broadcast(b"x") == 0
    with dial(server) as peer:
        assert read(peer, 11) == b"welcome all"
        conn = log.conn()
        conn.close()
        assert server.broadcast(b"x") == server.broadcast(b"x", to=[conn]) == 0
        assert read_all(peer) == b""
    server.stop()
    assert server.broadcast(b"x") == 0
    assert log.raised() == []


def test_agent(backend: str) -> None:
    """Only those that stand: a connection that is being made, or could not be, counts nothing."""
    far, near = Log(), Log()
    with serving(far, backend) as server, wawo.TcpAgent(near, backend=backend) as agent:
        agent.start()
        for _ in range(5):
            agent.connect(*server.address)
        near.until_count("OnConnect", 5)
        with socket.socket() as bound:  # nobody listens there
            bound.bind(("127.0.0.1", 0))
            agent.connect(*bound.getsockname())
            assert agent.broadcast(b"hello") == 5
            far.until(lambda: len(far.received()) == 25)
            near.until_count("OnClose", 1)
        assert agent.broadcast(b"x") == 5


# ---- the slow ones ----


@contextlib.contextmanager
def stuck_peers(server: wawo.TcpServer, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(dial(server, receive_buffer=4096)) for _ in range(count)]


@pytest.mark.parametrize("inside", [True, False])
def test_slow_ones_are_skipped(backend: str, inside: bool) -> None:
    """Those who read get everything, those who do not get what fits; what waits for them stays bounded."""
    piece = pattern(16 * KIB)
    counts: list[int] = []
    log = Log(OnReceive=lambda conn, data: counts.append(server.broadcast(piece)))
    options = {"high_water": 256 * KIB, "low_water": 64 * KIB}
    with serving(log, backend, **options) as server, stuck_peers(server, 3), dial(server) as peer:
        log.until_count("OnAccept", 4)
        for _ in range(2_000):
            if inside:
                peer.sendall(b"!")
            else:
                counts.append(server.broadcast(piece))
            assert read(peer, len(piece)) == piece
            if counts[-1] == 1:
                break
        assert (counts[0], counts[-1]) == (4, 1)
        waiting = [conn.pending for conn in server.connections()]
        assert 256 * KIB < max(waiting) <= 256 * KIB + len(piece)
        assert server.stats()["broadcasts_skipped"] == sum(4 - count for count in counts)
        assert log.count("OnClose") == 0
    assert log.raised() == []


@pytest.mark.parametrize("inside", [True, False])
def test_slow_ones_are_closed(backend: str, inside: bool) -> None:
    piece = pattern(16 * KIB)
    log = Log(OnReceive=lambda conn, data: server.broadcast(piece, slow="close") and None)
    options = {"high_water": 256 * KIB, "low_water": 64 * KIB}
    with serving(log, backend, **options) as server, stuck_peers(server, 3) as stuck, dial(server) as peer:
        log.until_count("OnAccept", 4)
        for _ in range(2_000):
            if inside:
                peer.sendall(b"!")
            else:
                server.broadcast(piece, slow="close")
            assert read(peer, len(piece)) == piece
            if log.count("OnClose") == 3:
                break
        assert log.closes() == [(wawo.Operation.SEND, errno.ENOBUFS)] * 3
        ended = next(call.conn for call in log.calls if call.name == "OnClose")
        assert isinstance(ended.error, OSError)
        assert "too slow" in str(ended.error)
        for slow in stuck:
            with pytest.raises(ConnectionResetError):  # what is lost is not hidden behind a clean end
                read_all(slow)
        assert server.broadcast(b"x") == 1
    assert log.raised() == []


def test_a_burst_from_a_callback_makes_nobody_slow(backend: str) -> None:
    """Far more than high_water at once, which the system takes: all of it is delivered, nobody is closed."""
    piece = pattern(32 * KIB)
    counts: list[int] = []
    log = Log(OnReceive=lambda *_: counts.extend(server.broadcast(piece, slow="close") for _ in range(16)))
    with audience(log, backend, 3, high_water=64 * KIB, low_water=KIB) as (server, peers):
        peers[0].sendall(b"!")
        for peer in peers:
            assert read(peer, 16 * len(piece)) == piece * 16
        assert counts == [3] * 16
        assert log.count("OnClose") == 0


def test_memory_with_stuck_receivers(backend: str) -> None:
    """Small messages, most of them for others: a stuck one holds what waits for it, not the chunks that it came in."""
    log = Log()
    options = {"high_water": 32 * MIB, "low_water": MIB, "io_threads": 1}
    with serving(log, backend, **options) as server, stuck_peers(server, 5), dial(server) as peer:
        reader = log.conn(5)
        everybody = server.connections()
        for _ in range(20):
            assert server.broadcast(bytes(MIB // 2), to=everybody[:]) == 6
            read(peer, MIB // 2)
        before = live()["chunks"]
        for _ in range(300):
            assert server.broadcast(bytes(50), to=everybody) == 6
            for _ in range(8):
                assert server.broadcast(bytes(3_000), to=[reader]) == 1
            read(peer, 50 + 24_000)
        assert live()["chunks"] <= before + 5 * (300 * 50 // 4_000 + 2) + 10


@pytest.mark.threads
@pytest.mark.parametrize("loops", [1, 2])
def test_while_connections_come_and_go(backend: str, loops: int) -> None:
    """From several threads and callbacks at once: every peer sees whole messages, each thread's in its order."""
    stop = threading.Event()
    casters = 3
    failures: list[BaseException] = []

    def cast(caster: int) -> None:
        try:
            for number in itertools.count():
                if stop.is_set():
                    return
                server.broadcast(bytes([caster]) + number.to_bytes(7, "big"), slow="close")
        except BaseException as error:
            failures.append(error)

    def check(peer: socket.socket, messages: int) -> None:
        last = [-1] * casters
        for (message,) in struct.iter_unpack("8s", read(peer, 8 * messages)):
            number = int.from_bytes(message[1:], "big")
            assert number > last[message[0]]
            assert last[message[0]] in (-1, number - 1), "a gap"
            last[message[0]] = number

    log = Log()
    with serving(log, backend, io_threads=loops, high_water=64 * MIB, close_timeout=0.1) as server:
        threads = [threading.Thread(target=cast, args=(caster,)) for caster in range(casters)]
        for thread in threads:
            thread.start()
        for _ in range(20):
            with dial(server) as one, dial(server) as two:
                check(one, 300)
                check(two, 50)
        stop.set()
        for thread in threads:
            thread.join(DEADLINE_S)
        assert failures == []
        assert log.raised() == []


def test_python_framing_encodes_once(backend: str) -> None:
    protocol = getattr(wawo, "Protocol", None)
    if protocol is None:
        pytest.skip("no framings in Python here")
    encoded: list[bytes] = []

    class Lines(protocol):  # type: ignore[misc,valid-type]
        def decode(self, data: bytes) -> list[bytes]:
            return [data]

        def encode(self, message: bytes) -> bytes:
            encoded.append(message)
            return bytes(message) + b"\n"

    log = Log()
    with audience(log, backend, 5, framing=Lines) as (server, peers):
        assert server.broadcast(b"hello") == 5
        for peer in peers:
            assert read(peer, 6) == b"hello\n"
    assert encoded == [b"hello"]


def test_peers_that_are_gone_do_not_count(backend: str) -> None:
    log = Log()
    with audience(log, backend, 3) as (server, peers):
        log.conn(1).abort()
        gone(peers[1])
        log.until_count("OnClose")
        assert server.broadcast(b"x") == 2
