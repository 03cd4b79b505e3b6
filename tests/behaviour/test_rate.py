"""receive_rate: never faster, nothing lost, and whatever else pauses goes on beside it."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, eventually, pattern, read_all, serving
from punctual import punctual

import wawo

MB = 1_000_000


@contextlib.contextmanager
def pushing(peer: Any, data: bytes) -> Any:
    thread = threading.Thread(target=peer.sendall, args=(data,))
    thread.start()
    try:
        yield
    finally:
        thread.join(DEADLINE_S)


@pytest.mark.parametrize(("rate", "size"), [(100_000, 200_000), (2 * MB, 4 * MB)])
@punctual
def test_average_and_every_byte(backend: str, rate: int, size: int) -> None:
    """Over two seconds: at most 5 % more than the rate; how much less a busy machine makes of it is its own affair."""
    data = pattern(size)
    log = Log()
    with serving(log, backend, receive_rate=rate) as server, dial(server) as peer:
        since = time.monotonic()
        with pushing(peer, data):
            log.until(lambda: sum(len(call.values[0]) for call in log.calls if call.name == "OnReceive") == size)
            took = time.monotonic() - since
        assert log.received() == data
        assert size / took <= rate * 1.05
        stats = server.stats()
        assert stats["rate_pauses"] > 10
        assert stats["receive_pauses"] == 0
        assert not log.conn().paused


@punctual
def test_each_connection_has_its_own(backend: str) -> None:
    """Ten of them: ten times as much."""
    log = Log()
    with serving(log, backend, receive_rate=MB) as server, contextlib.ExitStack() as stack:
        since = time.monotonic()
        for _ in range(10):
            peer = stack.enter_context(dial(server))
            stack.enter_context(pushing(peer, bytes(MB // 2)))
        log.until(lambda: sum(len(call.values[0]) for call in log.calls if call.name == "OnReceive") == 5 * MB)
        assert 0.4 <= time.monotonic() - since < 4


@punctual
def test_below_the_rate_nothing_pauses(backend: str) -> None:
    log = Log(OnReceive=lambda conn, data: conn.send(data) and None)
    with serving(log, backend, receive_rate=100 * MB) as server, dial(server) as peer:
        for number in range(200):
            peer.sendall(pattern(100, number))
            assert peer.recv(100, 0x100) == pattern(100, number)  # MSG_WAITALL
        assert server.stats()["rate_pauses"] == 0


@punctual
def test_framed_and_paused_by_the_user_too(backend: str) -> None:
    """A message that spans many slow reads; a callback that pauses after each; what is held back comes first."""
    messages = [pattern(30_000 + number, number) for number in range(20)]
    log = Log(OnReceive=lambda conn, data: conn.pause())
    with serving(log, backend, receive_rate=2 * MB, framing=wawo.LengthPrefixed(4)) as server, dial(server) as peer:
        with pushing(peer, b"".join(len(message).to_bytes(4, "big") + message for message in messages)):
            for count in range(1, len(messages) + 1):
                log.until_count("OnReceive", count)
                eventually(lambda: log.conn().paused)
                assert log.count("OnReceive") == count
                log.conn().resume()
        assert log.messages() == messages


@pytest.mark.parametrize("end", ["close", "abort", "stop", "peer"])
@punctual
def test_ends_while_it_is_held(backend: str, end: str) -> None:
    log = Log()
    with serving(log, backend, receive_rate=1024) as server, dial(server) as peer:
        conn = log.conn()
        peer.sendall(bytes(40_000))
        eventually(lambda: server.stats()["rate_pauses"] > 0)
        if end == "close":
            conn.close()
            assert read_all(peer) == b""
            peer.close()
        elif end == "abort":
            conn.abort()
        elif end == "stop":
            server.stop()
        else:
            peer.close()
            conn.abort()  # the end of the stream lies behind 40 seconds of bytes
        log.until_count("OnClose")
    assert log.count("OnClose") == 1


@punctual
def test_agent_and_client(backend: str) -> None:
    far, near = Log(OnAccept=lambda conn: conn.send(bytes(MB // 2)) and None), Log()
    with (
        serving(far, backend) as server,
        wawo.TcpAgent(near, backend=backend, receive_rate=MB) as agent,
        wawo.TcpClient(near, backend=backend, receive_rate=MB) as client,
    ):
        since = time.monotonic()
        agent.start()
        agent.connect(*server.address)
        client.start(*server.address)
        near.until(lambda: len(near.received()) == MB)
        assert time.monotonic() - since >= 0.4
        assert agent.stats()["rate_pauses"] > 0
        assert client.stats()["rate_pauses"] > 0
