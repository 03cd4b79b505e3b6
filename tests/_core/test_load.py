"""The native load: what it counts, reports and raises. The C tests beside tests/c/net/test_load.c go deeper."""

from __future__ import annotations

import errno
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from punctual import punctual

import wawo
from wawo import _core


class Echo(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        conn.send(data)


@pytest.fixture
def server() -> Iterator[wawo.TcpServer]:
    with wawo.TcpServer(Echo()) as server:
        server.start("127.0.0.1", 0)
        yield server


def load(server: wawo.TcpServer | None = None, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.address[1] if server is not None else 1,
        "connections": 8,
        "depth": 2,
        "size": 100,
        "seconds": 0.1,
        "warmup": 0.02,
        "progress": None,
    }
    return _core.load(**(given | more))


def served(server: wawo.TcpServer, seconds: float = 0.1, **more: Any) -> dict[str, Any]:
    """A load that had answers, and what it was to the server: on a busy machine there may be none in a short one."""
    while True:
        before = server.stats()
        found = load(server, seconds=seconds, **more)
        assert found["seconds"] == pytest.approx(seconds)
        if found["messages"] > 0 or seconds > 2:
            return found | {name: server.stats()[name] - before[name] for name in ("accepts", "bytes_in")}
        seconds *= 5


@pytest.mark.threads
@pytest.mark.parametrize(("connections", "depth", "size"), [(1, 1, 1), (8, 2, 100), (200, 1, 64), (3, 7, 30_000)])
def test_counts_are_plausible(server: wawo.TcpServer, connections: int, depth: int, size: int) -> None:
    found = served(server, connections=connections, depth=depth, size=size)
    assert found["errors"] == 0
    assert found["error"] == 0
    assert found["messages"] > 0
    assert 0 < found["p50_ns"] <= found["p99_ns"] <= found["p999_ns"] <= found["max_ns"]
    assert found["accepts"] == connections
    assert found["bytes_in"] >= (found["messages"] + connections) * size
    assert found["bytes_in"] % size == 0


def test_latency_and_count_fit_together(server: wawo.TcpServer) -> None:
    found = served(server, connections=1, depth=1, seconds=0.3)
    mean_ns = found["seconds"] * 1e9 / found["messages"]  # one is always under way
    assert found["p50_ns"] < 2 * mean_ns
    assert found["max_ns"] > mean_ns / 2


def test_host_is_a_name(server: wawo.TcpServer) -> None:
    assert served(server, host="localhost")["messages"] > 0


@punctual
def test_progress(server: wawo.TcpServer) -> None:
    calls: list[tuple[float, int]] = []
    threads = set()

    def progress(elapsed: float, messages: int) -> None:
        calls.append((elapsed, messages))
        threads.add(threading.get_ident())

    found = load(server, seconds=0.35, progress=progress)
    assert threads == {threading.get_ident()}
    assert calls == sorted(calls)
    assert calls[0] == (0.0, 0)
    assert calls[-1] == (found["seconds"], found["messages"])
    during = [elapsed for elapsed, _ in calls if 0 < elapsed < 0.35]
    assert len(during) >= 3
    assert during[0] < 0.1


@pytest.mark.parametrize("call", [1, 2, 3])
def test_progress_that_raises_ends_the_load(server: wawo.TcpServer, call: int) -> None:
    left = call

    def progress(elapsed: float, messages: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        load(server, seconds=3600, progress=progress)
    assert left == 0


def test_interrupt_ends_the_load(server: wawo.TcpServer) -> None:
    def progress(elapsed: float, messages: int) -> None:
        if elapsed > 0:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        load(server, seconds=3600, progress=progress)


def test_refused_port() -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionRefusedError, match=f"load of 127.0.0.1 port {port}"):
            load(port=port)


def test_unknown_name() -> None:
    with pytest.raises(OSError, match=r"no such host") as caught:
        load(host="no such host")
    assert caught.value.errno == errno.EHOSTUNREACH


def test_some_connections_are_lost() -> None:
    class Choosy(Echo):
        def OnAccept(self, conn: wawo.Connection) -> wawo.HandleResult:
            return wawo.HandleResult.ERROR if next(numbers) % 2 else wawo.HandleResult.OK

    numbers = iter(range(100))
    with wawo.TcpServer(Choosy()) as server:
        server.start("127.0.0.1", 0)
        found = served(server, connections=10)
    assert found["errors"] == 5
    assert found["error"] == errno.ECONNRESET
    assert found["messages"] > 0


def test_all_connections_are_lost() -> None:
    class Refuse(wawo.Listener):
        def OnReceive(self, conn: wawo.Connection, data: bytes) -> wawo.HandleResult:
            return wawo.HandleResult.ERROR

    with wawo.TcpServer(Refuse()) as server:
        server.start("127.0.0.1", 0)
        with pytest.raises(ConnectionResetError):
            load(server, seconds=3600)


@pytest.mark.parametrize(
    "wrong",
    [
        {"connections": 0},
        {"connections": 1_000_001},
        {"connections": -1},
        {"depth": 0},
        {"depth": 65_537},
        {"size": 0},
        {"size": -1},
        {"size": (1 << 30) + 1, "depth": 1},
        {"size": 1 << 20, "depth": 1025},
        {"seconds": 0.0},
        {"seconds": -1.0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"warmup": -0.1},
        {"warmup": float("nan")},
        {"port": -1},
        {"port": 65_536},
    ],
)
def test_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        load(**wrong)


@pytest.mark.parametrize("wrong", [{"host": None}, {"host": b"localhost"}, {"port": "80"}, {"seconds": "1"}])
def test_wrong_types(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        load(**wrong)
