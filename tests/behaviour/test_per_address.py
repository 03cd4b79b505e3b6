"""max_connections_per_address: who has that many connections is turned away, and nobody else."""

from __future__ import annotations

import contextlib
import random
import socket
import sys
import threading
from pathlib import Path

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, gone, read, reset, serving
from systems import NEEDS_UNIX

import wawo


def dial_from(server: wawo.TcpServer, host: str) -> socket.socket:
    return socket.create_connection(server.address, DEADLINE_S, (host, 0))


def served(peer: socket.socket) -> None:
    peer.sendall(b"x")
    assert read(peer, 1) == b"x"


@pytest.mark.parametrize("threads", [1, 2])
def test_each_address_has_its_own_limit(backend: str, threads: int) -> None:
    log = Log(OnReceive=echo)
    with (
        serving(log, backend, max_connections_per_address=2, io_threads=threads) as server,
        contextlib.ExitStack() as stack,
    ):
        for host in ("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.2"):
            served(stack.enter_context(dial_from(server, host)))
        for host in ("127.0.0.1", "127.0.0.2") * 3:
            gone(dial_from(server, host))
        eventually(lambda: server.stats()["rejected"] == 6)
        stats = server.stats()
        assert (stats["rejected_address"], stats["accepts"], stats["open"]) == (6, 4, 4)
        assert log.count("OnAccept") == 4
        assert log.count("OnClose") == 0


@pytest.mark.parametrize("how", ["close", "reset", "server"])
def test_room_again_after_the_end(backend: str, how: str) -> None:
    log = Log(OnReceive=echo)
    with serving(log, backend, max_connections_per_address=1) as server:
        for number in range(1, 6):
            peer = dial(server)
            served(peer)
            gone(dial(server))
            if how == "server":
                log.conn(number - 1).close()
                gone(peer)
            elif how == "reset":
                reset(peer)
            else:
                peer.close()
            log.until_count("OnClose", number)
            eventually(lambda: server.count == 0)
        assert (server.stats()["accepts"], server.stats()["rejected_address"]) == (5, 5)


def test_refused_in_on_accept_leaves_no_trace(backend: str) -> None:
    log = Log(OnAccept=lambda conn: wawo.HandleResult.ERROR)
    with serving(log, backend, max_connections_per_address=1) as server:
        for number in range(1, 11):
            gone(dial(server))
            log.until_count("OnClose", number)
            eventually(lambda: server.count == 0)
        assert server.stats()["rejected"] == 0


def test_dual_stack_counts_ipv4_as_such(backend: str) -> None:
    log = Log(OnReceive=echo)
    with wawo.TcpServer(log, backend=backend, max_connections_per_address=1) as server:
        server.start("::", 0)
        port = server.address[1]
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as first:
            served(first)
            gone(socket.create_connection(("127.0.0.1", port), DEADLINE_S))
            eventually(lambda: server.stats()["rejected_address"] == 1)
            with socket.create_connection(("127.0.0.1", port), DEADLINE_S, ("127.0.0.2", 0)) as other:
                served(other)
        assert {conn.remote_address[0] for conn in (log.conn(0), log.conn(1))} == {"127.0.0.1", "127.0.0.2"}  # type: ignore[index]


def test_a_full_component_and_a_full_address(backend: str) -> None:
    """Peers wait for room in the component, but not for room of their address."""
    log = Log(OnReceive=echo)
    with (
        serving(log, backend, max_connections=2, max_connections_per_address=1) as server,
        dial_from(server, "127.0.0.1") as one,
        dial_from(server, "127.0.0.2") as two,
    ):
        served(one)
        served(two)
        with dial_from(server, "127.0.0.1") as greedy, dial_from(server, "127.0.0.3") as patient:
            two.close()
            served(patient)
            gone(greedy)
        eventually(lambda: server.stats()["rejected_address"] == 1)


@pytest.mark.threads
def test_exact_while_many_come_and_go(backend: str) -> None:
    lock, open_now, most = threading.Lock(), 0, 0

    def enter(_: wawo.Connection) -> None:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)

    def leave(*_: object) -> None:
        nonlocal open_now
        with lock:
            open_now -= 1

    def visit(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(100):
            peers = [dial(server) for _ in range(3)]
            for peer in peers:
                (reset if rng.random() < 0.5 else socket.socket.close)(peer)

    log = Log(OnAccept=enter, OnClose=leave)
    with serving(log, backend, max_connections_per_address=4, io_threads=3) as server:
        threads = [threading.Thread(target=visit, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        if sys.platform == "linux":  # elsewhere one that is reset before it is accepted is forgotten
            eventually(lambda: server.stats()["accepts"] + server.stats()["rejected"] == 900)
        eventually(lambda: server.count == 0)
        assert server.stats()["rejected"] == server.stats()["rejected_address"]
    assert 0 < most <= 4
    assert open_now == 0


@NEEDS_UNIX
def test_unix_sockets_are_not_limited(backend: str, tmp_path: Path) -> None:
    log = Log(OnReceive=echo)
    path = str(tmp_path / "s")
    with (
        wawo.TcpServer(log, backend=backend, max_connections_per_address=1) as server,
        contextlib.ExitStack() as stack,
    ):
        server.start(f"unix:{path}")
        for _ in range(5):
            peer = stack.enter_context(socket.socket(socket.AF_UNIX))
            peer.settimeout(DEADLINE_S)
            peer.connect(path)
            served(peer)
        assert server.stats()["rejected"] == 0
