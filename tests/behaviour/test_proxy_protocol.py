"""proxy_protocol: the header in front of each connection, as proxies send it and as others might."""

from __future__ import annotations

import contextlib
import errno
import random
import select
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, gone, pattern, read, read_all, reset, serving
from proxy_headers import DESTINATION, HEADERS, MALFORMED, SOURCE, V1, V2, Address, addresses, v2
from punctual import punctual
from systems import NEEDS_UNIX

import wawo
from wawo import Operation


def told(conn: wawo.Connection) -> tuple[Address | None, Address | None]:
    return conn.remote_address, conn.local_address


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("view", [False, True])
def test_addresses_and_the_data_behind(backend: str, name: str, view: bool) -> None:
    header, remote, local = HEADERS[name]
    data = pattern(100_000)
    seen: list[Any] = []
    log = Log(OnAccept=lambda conn: seen.append(told(conn)), OnReceive=echo)
    with serving(log, backend, proxy_protocol=True, view=view) as server, dial(server) as peer:
        peer.sendall(header + data)
        assert read(peer, len(data)) == data
        assert seen == [(remote or peer.getsockname(), local or server.address)]
        assert told(log.conn()) == seen[0]
        assert log.names()[:3] == ["OnAccept", "OnHandShake", "OnReceive"]
        peer.shutdown(socket.SHUT_WR)
        assert read_all(peer) == b""
        log.until_count("OnClose")
        assert log.closes() == [(Operation.CLOSE, 0)]
        assert told(log.conn()) == seen[0]
        stats = server.stats()
        assert (stats["accepts"], stats["rejected"], stats["bytes_in"]) == (1, 0, len(header) + len(data))


@pytest.mark.parametrize("name", ["v1", "v2 extended"])
def test_split_at_every_byte(backend: str, name: str) -> None:
    """In two segments, the second one with data; nothing is told before the header is whole."""
    header = HEADERS[name][0]
    log = Log(OnReceive=echo)
    with serving(log, backend, proxy_protocol=True) as server:
        for at in range(1, len(header) + 1):
            with dial(server) as peer:
                received = server.stats()["bytes_in"] + at
                peer.sendall(header[:at])
                eventually(lambda received=received: server.stats()["bytes_in"] == received)
                if at < len(header):
                    assert log.count("OnAccept") == at - 1
                peer.sendall(header[at:] + b"data")
                assert read(peer, 4) == b"data"
                assert log.conn(at - 1).remote_address == SOURCE
        assert log.count("OnAccept") == len(header)


def test_byte_for_byte(backend: str) -> None:
    log = Log(OnReceive=echo)
    with serving(log, backend, proxy_protocol=True) as server, dial(server) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in V2 + b"data":
            peer.sendall(bytes((byte,)))
        assert read(peer, 4) == b"data"
        assert log.conn().remote_address == SOURCE


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed(backend: str, fault: str) -> None:
    log = Log()
    with serving(log, backend, proxy_protocol=True) as server, dial(server) as peer:
        peer.sendall(MALFORMED[fault])
        log.until_count("OnClose")
        (call,) = log.calls
        conn = call.conn
        assert call.values == (Operation.ACCEPT, errno.EBADMSG)
        assert type(conn.error) is wawo.ProtocolError
        assert str(conn.error) == f"PROXY header: {fault}"
        assert told(conn) == (peer.getsockname(), server.address)
        assert not conn.connected
        assert conn.send(b"x") is False
        gone(peer)
        eventually(lambda: server.count == 0)
        stats = server.stats()
        assert (stats["accepts"], stats["closed"], stats["rejected"], stats["rejected_proxy"]) == (0, 0, 1, 1)


@punctual
def test_too_slow(backend: str) -> None:
    """Half a header, and none at all: both have connect_timeout, and a peer that goes on sending has no more."""
    log = Log()
    start = time.monotonic()
    with (
        serving(log, backend, proxy_protocol=True, connect_timeout=0.3) as server,
        dial(server) as silent,
        dial(server) as slow,
    ):
        slow.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionError):
            for byte in V1[:-1]:
                slow.sendall(bytes((byte,)))
                select.select([silent], [], [], 0.01)
        log.until_count("OnClose", 2)
        assert 0.25 < time.monotonic() - start < 5
        assert log.names() == ["OnClose"] * 2
        assert log.closes() == [(Operation.ACCEPT, errno.ETIMEDOUT)] * 2
        for call in log.calls:
            assert isinstance(call.conn.error, TimeoutError)
            assert "no whole PROXY header" in str(call.conn.error)
        gone(silent)
        gone(slow)
        assert server.stats()["rejected_proxy"] == 2


@punctual
def test_connect_timeout_is_no_limit_behind_the_header(backend: str) -> None:
    log = Log(OnReceive=echo)
    with serving(log, backend, proxy_protocol=True, connect_timeout=0.1) as server, dial(server) as peer:
        peer.sendall(V1)
        log.until_count("OnAccept")
        with dial(server):  # this one ends by it
            log.until_count("OnClose")
        peer.sendall(b"data")
        assert read(peer, 4) == b"data"
        assert log.count("OnClose") == 1


@pytest.mark.parametrize("end", [socket.socket.close, reset])
def test_probes_are_only_counted(backend: str, end: Any) -> None:
    log = Log()
    with serving(log, backend, proxy_protocol=True) as server:
        for number in range(1, 11):
            peer = dial(server)
            eventually(lambda: server.count == 1)  # else the system may keep to itself who was gone at once
            end(peer)
            eventually(lambda number=number: server.stats()["rejected"] == number and server.count == 0)
        assert server.stats()["rejected_proxy"] == 0
    assert log.names() == ["OnShutdown"]


def test_ended_inside(backend: str) -> None:
    log = Log()
    with serving(log, backend, proxy_protocol=True) as server:
        with dial(server) as peer:
            peer.sendall(V1[:10])
            peer.shutdown(socket.SHUT_WR)
            log.until_count("OnClose")
            assert log.closes() == [(Operation.ACCEPT, errno.EBADMSG)]
            assert str(log.calls[0].conn.error) == "PROXY header: the connection ended inside it"
            gone(peer)
        other = dial(server)
        other.sendall(V2[:10])
        eventually(lambda: server.stats()["bytes_in"] == 20)
        reset(other)
        log.until_count("OnClose", 2)
        assert log.closes()[1] == (Operation.ACCEPT, errno.ECONNRESET)
        assert isinstance(log.calls[1].conn.error, ConnectionResetError)


def test_nobody_finds_it_before_its_header(backend: str) -> None:
    log = Log()
    with serving(log, backend, proxy_protocol=True, max_connections=2) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(3)]
        eventually(lambda: server.stats()["accept_pauses"] == 1)
        assert (server.count, server.connections()) == (2, [])
        peers[0].sendall(V1)
        conn = log.conn()
        assert server.connections() == [conn]
        assert server.connection(conn.id) == conn
        conn.close()  # room for the third
        gone(peers[0])
        peers[2].sendall(V2)
        log.until_count("OnAccept", 2)


def test_the_address_of_the_header_counts(backend: str) -> None:
    log = Log()
    with (
        serving(log, backend, proxy_protocol=True, max_connections_per_address=1) as server,
        contextlib.ExitStack() as stack,
    ):
        for number in range(1, 6):
            peer = stack.enter_context(dial(server))
            peer.sendall(v2(0x11, addresses((f"192.0.2.{number}", 1), DESTINATION)))
            log.until_count("OnAccept", number)
        for header in (V1, V2, HEADERS["v1 mapped"][0]):
            with dial(server) as late:
                late.sendall(header)
                gone(late)
        eventually(lambda: server.stats()["rejected_address"] == 3)
        assert (server.stats()["rejected"], server.stats()["rejected_proxy"]) == (3, 0)
        eventually(lambda: server.count == 5)  # what was turned away leaves a little later
        assert (log.count("OnAccept"), log.count("OnClose")) == (5, 0)


@pytest.mark.parametrize("pieces", [1, 2])
def test_framing_behind_it(backend: str, pieces: int) -> None:
    log = Log(OnReceive=echo)
    framing = wawo.LengthPrefixed(2)
    with serving(log, backend, proxy_protocol=True, framing=framing) as server, dial(server) as peer:
        data = V1 + b"".join(len(text).to_bytes(2, "big") + text for text in (b"one", b"two", b""))
        half = len(V1) + 3 if pieces == 2 else len(data)
        peer.sendall(data[:half])
        if pieces == 2:
            log.until_count("OnHandShake")
            peer.sendall(data[half:])
        assert read(peer, 12) == data[len(V1) :]
        assert log.messages() == [b"one", b"two", b""]


def test_refusal_in_on_accept(backend: str) -> None:
    log = Log(OnAccept=lambda conn: wawo.HandleResult.ERROR)
    with serving(log, backend, proxy_protocol=True) as server, dial(server) as peer:
        peer.sendall(V1 + b"data")
        gone(peer)
        log.until_count("OnClose")
        assert log.names() == ["OnAccept", "OnClose"]
        assert log.closes() == [(Operation.ACCEPT, errno.ECANCELED)]
        assert "OnAccept" in str(log.conn().error)


def test_sends_and_pause_in_on_accept(backend: str) -> None:
    def welcome(conn: wawo.Connection) -> None:
        conn.pause()
        conn.send(b"hello")

    log = Log(OnAccept=welcome)
    with serving(log, backend, proxy_protocol=True) as server, dial(server) as peer:
        peer.sendall(V1 + b"data")
        assert read(peer, 5) == b"hello"
        assert log.received() == b""
        log.conn().resume()
        log.until(lambda: log.received() == b"data")


def test_without_a_listener_for_it(backend: str) -> None:
    """Nobody hears of ends or of beginnings; all is counted."""
    with serving(wawo.Listener(), backend, proxy_protocol=True) as server:
        for header in (V1, b"GET /", V2[:5]):
            with dial(server) as peer:
                peer.sendall(header)
                peer.shutdown(socket.SHUT_WR)
                gone(peer)
        eventually(lambda: server.count == 0)
        stats = server.stats()
        assert (stats["accepts"], stats["closed"], stats["rejected_proxy"]) == (1, 1, 2)


@pytest.mark.threads
def test_two_hundred_at_once(backend: str) -> None:
    log = Log(OnReceive=echo)
    names = list(HEADERS)

    def visit(first: int) -> None:
        rng = random.Random(first)
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(dial(server)) for _ in range(50)]
            rest = {peer: HEADERS[names[n % len(names)]][0] + b"data" for n, peer in enumerate(peers)}
            while rest:
                peer = rng.choice(list(rest))
                size = rng.randrange(1, 40)
                peer.sendall(rest[peer][:size])
                rest[peer] = rest[peer][size:]
                if not rest[peer]:
                    del rest[peer]
            for peer in peers:
                assert read(peer, 4) == b"data"
                peer.shutdown(socket.SHUT_WR)
                assert read_all(peer) == b""

    with serving(log, backend, proxy_protocol=True, io_threads=2) as server:
        threads = [threading.Thread(target=visit, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE_S)
        log.until_count("OnClose", 200)
        assert log.closes() == [(Operation.CLOSE, 0)] * 200
        assert server.stats()["accepts"] == 200
        assert server.stats()["rejected"] == 0


def test_stop_in_the_middle(backend: str) -> None:
    """Those that wait for their header end unheard."""
    log = Log()
    with serving(log, backend, proxy_protocol=True, io_threads=2) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(40)]
        for number, peer in enumerate(peers):
            peer.sendall(V1[:number])
        whole = stack.enter_context(dial(server))
        whole.sendall(V1)
        log.until_count("OnAccept")
        eventually(lambda: server.count == 41)
        server.stop()
        for peer in (*peers, whole):
            gone(peer)
        assert log.names() == ["OnAccept", "OnHandShake", "OnClose", "OnShutdown"]
        assert (server.stats()["rejected"], server.stats()["rejected_proxy"]) == (40, 0)
        server.start("127.0.0.1", 0)
        with dial(server) as peer:
            peer.sendall(V1)
            log.until_count("OnAccept", 2)


def test_a_header_may_come_while_the_server_drains(backend: str) -> None:
    log = Log(OnReceive=echo)
    with serving(log, backend, proxy_protocol=True) as server, dial(server) as late, dial(server) as silent:
        late.sendall(V1[:10])
        eventually(lambda: server.stats()["bytes_in"] == 10)
        eventually(lambda: server.count == 2)
        stopper = threading.Thread(target=lambda: server.stop(drain=60))
        stopper.start()
        eventually(lambda: server.state is wawo.ServiceState.STOPPING)
        late.sendall(V1[10:] + b"data")
        assert read(late, 4) == b"data"
        late.close()
        silent.close()
        stopper.join(DEADLINE_S)
        assert log.names()[-2:] == ["OnClose", "OnShutdown"]
        assert log.count("OnClose") == 1


@NEEDS_UNIX
def test_on_a_unix_socket(backend: str, tmp_path: Path) -> None:
    """A proxy on the same machine: the addresses are the header's, or those of the unix socket."""
    log = Log(OnReceive=echo)
    path = str(tmp_path / "s")
    with wawo.TcpServer(log, backend=backend, proxy_protocol=True, max_connections_per_address=1) as server:
        server.start(f"unix:{path}")
        for number, header in enumerate((V1, b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN\r\n")):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(DEADLINE_S)
                peer.connect(path)
                peer.sendall(header + b"data")
                assert read(peer, 4) == b"data"
                conn = log.conn(number)
                assert told(conn)[1] == (DESTINATION if header is V1 else f"unix:{path}")
                if header is V1:
                    assert told(conn)[0] == SOURCE


def test_pull_behind_it(backend: str) -> None:
    log = Log(OnReceive=lambda conn, _: conn.send(conn.fetch(4)))
    framing = wawo.Pull(max_size=64)
    with serving(log, backend, proxy_protocol=True, framing=framing) as server, dial(server) as peer:
        peer.sendall(V2 + b"data")
        assert read(peer, 4) == b"data"
        assert log.conn().remote_address == SOURCE
