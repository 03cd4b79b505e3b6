"""Many threads at one connection: order for each of them, every byte, and calls that race with the end."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import threading
import time
from collections.abc import Callable

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, read, serving

import wawo

pytestmark = pytest.mark.threads

SCALE = float(os.environ.get("WAWO_TEST_SCALE", "1"))  # the thread sanitizer's lane runs less
HEAD = struct.Struct(">HI")


def together(*work: Callable[[], object]) -> None:
    """Run all at the same time, each on a thread of its own, and raise what one of them raised."""
    errors: list[BaseException] = []
    gate = threading.Barrier(len(work))

    def run(job: Callable[[], object]) -> None:
        try:
            gate.wait(DEADLINE_S)
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S * 2)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def message(sender: int, number: int) -> bytes:
    """Small, middle (a block of its own) and large (borrowed), each byte known from its head."""
    size = (20, 20, 20, 3000, 20, 9000, 40_000)[number % 7]
    return HEAD.pack(sender, number) + bytes([(sender * 31 + number) & 0xFF]) * (size - HEAD.size)


@pytest.mark.parametrize("loops", [1, 2])
def test_sends_of_many_threads_keep_the_order_of_each(backend: str, loops: int) -> None:
    senders, count = 4, int(1500 * SCALE)
    log = Log()
    with serving(log, backend, framing=wawo.LengthPrefixed(4), io_threads=loops) as server, dial(server) as peer:
        conn = log.conn()

        def send(sender: int) -> None:
            for number in range(count):
                while conn.pending > 8 << 20:
                    threading.Event().wait(0.001)
                assert conn.send(message(sender, number))

        def check() -> None:
            following = [0] * senders
            for _ in range(senders * count):
                data = read(peer, int.from_bytes(read(peer, 4), "big"))
                sender, number = HEAD.unpack_from(data)
                assert data == message(sender, number)
                assert number == following[sender]
                following[sender] += 1

        together(check, *(lambda sender=sender: send(sender) for sender in range(senders)))
        eventually(lambda: conn.pending == 0)
        assert server.stats()["messages_out"] == senders * count


def test_sends_from_callbacks_and_threads_at_once(backend: str) -> None:
    """The loop's own sends and those of threads share one stream; each keeps its order."""
    count = int(3000 * SCALE)
    log = Log(OnReceive=lambda conn, data: conn.send(data))
    with serving(log, backend, framing=wawo.LengthPrefixed(4)) as server, dial(server) as peer:
        conn = log.conn()

        def ask() -> None:
            for number in range(count):
                data = message(0, number)
                peer.sendall(len(data).to_bytes(4, "big") + data)

        def push() -> None:
            for number in range(count):
                while conn.pending > 8 << 20:
                    threading.Event().wait(0.001)
                assert conn.send(message(1, number))

        def check() -> None:
            following = [0, 0]
            for _ in range(2 * count):
                data = read(peer, int.from_bytes(read(peer, 4), "big"))
                sender, number = HEAD.unpack_from(data)
                assert data == message(sender, number)
                assert number == following[sender]
                following[sender] += 1

        together(ask, push, check)


@pytest.mark.parametrize("how", ["close", "abort", "shutdown_write"])
def test_sends_race_with_the_end(backend: str, how: str) -> None:
    """What was accepted before close() arrives; after the first False nothing is accepted any more."""
    log = Log()
    with serving(log, backend, framing=wawo.LengthPrefixed(4)) as server:
        for round in range(max(3, int(30 * SCALE))):
            with dial(server) as peer:
                conn = log.conn(round)
                accepted = [0, 0]

                def send(sender: int, conn: wawo.Connection = conn, accepted: list[int] = accepted) -> None:
                    while conn.send(HEAD.pack(sender, accepted[sender])):
                        accepted[sender] += 1
                    for _ in range(20):
                        assert conn.send(b"late") is False

                def end(conn: wawo.Connection = conn, accepted: list[int] = accepted) -> None:
                    eventually(lambda: conn.pending > 0 or sum(accepted) > 50)
                    getattr(conn, how)()

                got = bytearray()

                def collect(peer=peer, got: bytearray = got) -> None:  # type: ignore[no-untyped-def]
                    with contextlib.suppress(ConnectionResetError):
                        while piece := peer.recv(1 << 16):
                            got.extend(piece)

                together(lambda: send(0), lambda: send(1), end, collect)
                following = [0, 0]
                for at in range(0, len(got) // 10 * 10, 10):
                    sender, number = HEAD.unpack_from(got, at + 4)
                    assert number == following[sender]
                    following[sender] += 1
                if how != "abort":
                    assert following == accepted
            log.until_count("OnClose", round + 1)


def test_storm_of_every_call(backend: str) -> None:
    """Connections come and go under threads that call everything on all of them, the dead ones too."""
    over = threading.Event()
    log = Log(OnReceive=echo)
    log.OnSend = lambda conn, length: None  # type: ignore[method-assign]
    with serving(log, backend, io_threads=2, close_timeout=0.5) as server:

        def call(seed: int) -> None:
            chance = random.Random(seed)
            kept: list[wawo.Connection] = []
            while not over.is_set():
                kept = (kept + server.connections())[-50:]
                for conn in kept:
                    match chance.randrange(40):
                        case 0:
                            conn.close()
                        case 1:
                            conn.abort()
                        case 2:
                            conn.shutdown_write()
                        case 3 | 4 | 5:
                            conn.pause()
                        case 6 | 7 | 8 | 9:
                            conn.resume()
                        case 10 | 11:
                            conn.flush()
                        case 12:
                            server.disconnect(conn.id)
                        case 13 | 14:
                            server.send(conn.id, bytes(3000))
                        case 15:
                            assert conn.pending >= 0
                            assert conn.remote_address is not None
                            assert repr(conn)
                            assert server.connection(conn.id) in (None, conn)
                        case _:
                            conn.send(bytes(chance.choice((1, 100, 10_000))))

        def visit(seed: int) -> None:
            chance = random.Random(seed)
            until = time.monotonic() + 8
            for _ in range(int(150 * SCALE)):
                if time.monotonic() > until:
                    break  # a busy machine
                with contextlib.suppress(OSError), dial(server) as peer:
                    peer.settimeout(0.05)
                    peer.sendall(bytes(chance.choice((1, 1000, 100_000))))
                    peer.recv(1 << 16)

        callers = [threading.Thread(target=call, args=(seed,)) for seed in range(2)]
        for thread in callers:
            thread.start()
        try:
            together(*(lambda seed=seed: visit(seed) for seed in range(3)))
        finally:
            over.set()
            for thread in callers:
                thread.join(DEADLINE_S)

        def settled() -> bool:  # the last peers may still wait to be accepted, even when no connection is left
            for conn in server.connections():
                conn.abort()
            stats = server.stats()
            told = log.count("OnAccept"), log.count("OnClose")
            return server.count == 0 and told == (stats["accepts"], stats["closed"]) and 0 < told[0] == told[1]

        eventually(settled)
        assert log.raised() == []


def test_storm_of_connects_and_stops(backend: str) -> None:
    """connect() and send() race with stop(): each connection that was given out gets its OnClose."""
    far = Log(OnReceive=echo)
    with serving(far, backend) as server:
        for _ in range(max(2, int(15 * SCALE))):
            log = Log(OnConnect=lambda conn: conn.send(b"x"))
            agent = wawo.TcpAgent(log, backend=backend, io_threads=2)
            agent.start()
            made: list[wawo.Connection] = []

            def connect(agent: wawo.TcpAgent = agent, made: list[wawo.Connection] = made) -> None:
                with contextlib.suppress(wawo.StateError):
                    for _ in range(200):
                        conn = agent.connect(*server.address)
                        made.append(conn)
                        conn.send(b"y")

            def stop(agent: wawo.TcpAgent = agent, made: list[wawo.Connection] = made) -> None:
                eventually(lambda: len(made) > 20)
                agent.stop()

            together(connect, connect, stop)
            assert agent.wait(DEADLINE_S)
            assert log.count("OnClose") == len(made)
            assert {call.conn for call in log.calls if call.name == "OnClose"} == set(made)
            assert log.names()[-1] == "OnShutdown"
            assert not any(conn.connected or conn.send(b"") for conn in made)


def test_many_threads_stop_and_wait(backend: str) -> None:
    for _ in range(max(2, int(10 * SCALE))):
        log = Log(OnReceive=echo)
        server = wawo.TcpServer(log, backend=backend)
        server.start("127.0.0.1", 0)
        with dial(server):
            log.conn()
            together(*[server.stop] * 4, *[lambda server=server: server.wait(DEADLINE_S)] * 4)
        assert server.state is wawo.ServiceState.STOPPED
        assert log.count("OnShutdown") == 1


def test_one_end_of_two_threads(backend: str) -> None:
    """close and abort from several threads and the peer's own end: one OnClose."""
    log = Log()
    with serving(log, backend) as server:
        rounds = max(5, int(60 * SCALE))
        for number in range(rounds):
            peer = dial(server)
            conn = log.conn(number)
            together(conn.close, conn.abort, peer.close, conn.close)
        log.until_count("OnClose", rounds)
        eventually(lambda: server.count == 0)
    assert log.count("OnClose") == rounds
