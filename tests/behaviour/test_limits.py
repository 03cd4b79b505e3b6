"""max_connections, the options that reach the sockets, and the counters that must add up."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Iterator

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, pattern, read, read_all, serving
from systems import NEEDS_PROC

import wawo


@contextlib.contextmanager
def socket_of(conn: wawo.Connection) -> Iterator[socket.socket]:
    """The engine's own socket of a connection, by a copy of its descriptor."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.stat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.family != socket.AF_INET or sock.getsockname() != conn.local_address:
                    continue
                if sock.getpeername() == conn.remote_address:
                    yield sock
                    return
    raise AssertionError(f"no descriptor belongs to {conn!r}")


def options_of(conn: wawo.Connection) -> tuple[int, ...]:
    """no_delay, keepalive, its idle time and its interval, as the system has them."""
    with socket_of(conn) as sock:
        return (
            int(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0),
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
        )


@NEEDS_PROC
@pytest.mark.parametrize("threads", [1, 2])
def test_options_of_accepted_and_dialled_sockets(backend: str, threads: int) -> None:
    far, near = Log(), Log()
    with (
        serving(far, backend, keepalive=(11, 5), io_threads=threads) as server,
        wawo.TcpAgent(near, backend=backend, keepalive=(13, 7), io_threads=threads) as agent,
    ):
        agent.start()
        agent.connect(*server.address)
        near.until_count("OnConnect")
        assert options_of(far.conn()) == (1, 1, 11, 5)
        assert options_of(near.conn()) == (1, 1, 13, 7)
        with socket_of(far.conn()) as sock, socket_of(near.conn()) as other:
            assert not os.get_blocking(sock.fileno())
            assert not os.get_blocking(other.fileno())


@NEEDS_PROC
def test_options_switched_off(backend: str) -> None:
    far, near = Log(), Log()
    with (
        serving(far, backend, keepalive=None, no_delay=False) as server,
        wawo.TcpAgent(near, backend=backend, keepalive=None, no_delay=False) as agent,
    ):
        agent.start()
        agent.connect(*server.address)
        near.until_count("OnConnect")
        assert options_of(far.conn())[:2] == (0, 0)
        assert options_of(near.conn())[:2] == (0, 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_full_and_waiting(backend: str, threads: int) -> None:
    """Those that are too many wait in the system's queue: nobody is turned away, each is served in the end."""
    log = Log(OnReceive=echo)
    with serving(log, backend, max_connections=5, io_threads=threads) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(40)]
        for peer in peers:
            peer.sendall(b"x")
        for peer in peers:
            assert read(peer, 1) == b"x"
            assert server.count <= 5
            peer.shutdown(socket.SHUT_WR)
            assert read_all(peer) == b""
            peer.close()
        log.until_count("OnClose", 40)
        stats = server.stats()
        assert (stats["accepts"], stats["rejected"]) == (40, 0)
        assert stats["accept_pauses"] > 0


def test_full_and_closing(backend: str) -> None:
    """Those that are too many are closed unseen; when there is room, the next one is served."""
    log = Log(OnReceive=echo)
    with serving(log, backend, max_connections=3, on_full="close") as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(3)]
        log.until_count("OnAccept", 3)
        for number in range(1, 11):
            with dial(server) as late, contextlib.suppress(ConnectionResetError):
                assert read_all(late) == b""
            eventually(lambda number=number: server.stats()["rejected"] == number)
        eventually(lambda: server.count == 3)  # what was turned away leaves a little later
        assert (log.count("OnAccept"), log.count("OnClose")) == (3, 0)
        peers[0].close()
        eventually(lambda: server.count == 2)
        with dial(server) as next_one:
            next_one.sendall(b"x")
            assert read(next_one, 1) == b"x"


def test_stop_while_full(backend: str) -> None:
    log = Log()
    with serving(log, backend, max_connections=2) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(10)]
        log.until_count("OnAccept", 2)
        server.stop()
        assert log.count("OnClose") == log.count("OnAccept")
        for peer in peers:
            with contextlib.suppress(ConnectionResetError):
                assert read_all(peer) == b""


@pytest.mark.parametrize("framing", [wawo.Raw(), wawo.LengthPrefixed(4)])
def test_counters_add_up(backend: str, framing: wawo.Raw | wawo.LengthPrefixed) -> None:
    """Both ends count the same bytes, the component and its loops the same connections."""
    far, near = Log(OnReceive=echo), Log(OnConnect=lambda conn: [conn.send(pattern(size)) for size in sizes])
    sizes = [1, 100, 5000, 100_000]
    head = 4 if isinstance(framing, wawo.LengthPrefixed) else 0
    total = 10 * (sum(sizes) + head * len(sizes))
    with (
        serving(far, backend, framing=framing, io_threads=2) as server,
        wawo.TcpAgent(near, backend=backend, framing=framing) as agent,
    ):
        agent.start()
        for _ in range(10):
            agent.connect(*server.address)
        near.until(lambda: len(near.received()) == 10 * sum(sizes))
        eventually(lambda: agent.stats()["bytes_in"] == total == server.stats()["bytes_out"])
        mine, its = agent.stats(), server.stats()
        assert (mine["connects"], its["accepts"], mine["open"], its["open"]) == (10, 10, 10, 10)
        assert (mine["accepts"], its["connects"], mine["closed"], its["closed"]) == (0, 0, 0, 0)
        assert mine["bytes_out"] == its["bytes_in"] == total
        assert mine["messages_out"] == 40
        assert its["messages_out"] == its["messages_in"] == far.count("OnReceive")
        assert mine["messages_in"] == near.count("OnReceive")
        if head:
            assert its["messages_in"] == mine["messages_in"] == 40
        assert sum(loop["connections"] for loop in its["loops"]) == 10
        assert len(its["loops"]) == 2
        events = sum(loop["events"] for loop in its["loops"])
        assert events == len(far.calls)
        for loop in its["loops"]:
            assert loop["batches"] <= loop["turns"] * 2
            assert loop["batch_max"] <= loop["events"]
            assert loop["pool_used"] <= loop["pool_limit"]
        agent.stop()
        far.until_count("OnClose", 10)
        eventually(lambda: server.stats()["closed"] == 10)
        assert server.stats()["open"] == server.count == 0
        last = agent.stats()
        assert (last["closed"], last["open"], last["bytes_in"]) == (10, 0, total)
        server.stop()
        assert server.stats()["accepts"] == server.stats()["closed"] == 10
        server.start("127.0.0.1", 0)
        assert server.stats()["accepts"] == 0  # a new run counts from nothing


def test_counters_of_what_nobody_listens_to(backend: str) -> None:
    """A listener without callbacks: all is counted, Python is never entered for it."""
    with serving(wawo.Listener(), backend) as server:
        for _ in range(5):
            with dial(server) as peer:
                peer.sendall(bytes(1000))
                peer.shutdown(socket.SHUT_WR)
                assert read_all(peer) == b""
        eventually(lambda: server.stats()["closed"] == 5)
        stats = server.stats()
        assert (stats["accepts"], stats["bytes_in"], stats["bytes_out"]) == (5, 5000, 0)
        assert stats["loops"][0]["events"] == 0


def test_on_send_tells_what_the_kernel_took(backend: str) -> None:
    lengths: list[int] = []
    log = Log(OnReceive=echo)
    log.OnSend = lambda conn, length: lengths.append(length)  # type: ignore[method-assign]
    data = pattern(5_000_000)
    with serving(log, backend) as server, dial(server) as peer:
        sender = threading.Thread(target=peer.sendall, args=(data,))
        sender.start()
        assert read(peer, len(data)) == data
        sender.join(DEADLINE_S)
        eventually(lambda: sum(lengths) == len(data))
    assert min(lengths) > 0


def test_thousand_connections_at_once(backend: str) -> None:
    log = Log(OnReceive=echo)
    with serving(log, backend, io_threads=2) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(1000)]
        for number, peer in enumerate(peers):
            peer.sendall(number.to_bytes(4, "big"))
        for number, peer in enumerate(peers):
            assert read(peer, 4) == number.to_bytes(4, "big")
        assert server.count == len(server.connections()) == 1000
        assert len({conn.id for conn in server.connections()}) == 1000
