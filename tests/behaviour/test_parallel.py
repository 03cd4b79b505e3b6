"""Several loops: a listener for each, and callbacks of different loops that run at the same time without a GIL."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from peers import DEADLINE_S, Log, dial, echo, eventually, read, serving

import wawo

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
WITHOUT_GIL = pytest.mark.skipif(not FREE_THREADED, reason="here is a GIL")
LOOPS = 2


@contextlib.contextmanager
def no_switching() -> Iterator[None]:
    """Where there is a GIL, a thread that computes keeps it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Meeting:
    """Threads that wait for each other in pure Python, and give nothing up while they do."""

    def __init__(self, parties: int, seconds: float) -> None:
        self.here = [False] * parties
        self.seconds = seconds

    def meet(self, me: int) -> bool:
        self.here[me] = True
        until = time.monotonic() + self.seconds
        while not all(self.here):
            if time.monotonic() > until:
                return False
        return True


@WITHOUT_GIL
def test_the_gil_stays_off() -> None:
    """No module of wawo asks for it, and nothing warns."""
    code = (
        "import importlib, pkgutil, sys, wawo\n"
        "for found in pkgutil.walk_packages(wawo.__path__, 'wawo.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
        "print(sys._is_gil_enabled())"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert not sys._is_gil_enabled()  # type: ignore[attr-defined]  # nor did anything that the tests import


@pytest.mark.threads
@pytest.mark.parametrize("factory", [True, False])
def test_callbacks_of_different_loops_overlap(backend: str, factory: bool, record_property: Any) -> None:
    """Two callbacks can only go on when both run. With a GIL they cannot meet, which shows that this is a proof."""
    meeting = Meeting(LOOPS, DEADLINE_S if FREE_THREADED else 0.2)
    done: list[tuple[str, bool, float, float]] = []
    ended = threading.Semaphore(0)
    numbers = iter(range(LOOPS))

    def receive(conn: wawo.Connection, data: bytes) -> None:
        met = meeting.meet(data[0])
        wall, cpu = time.perf_counter(), time.thread_time()
        while time.thread_time() - cpu < 0.05:
            pass
        done.append((threading.current_thread().name, met, time.thread_time() - cpu, time.perf_counter() - wall))
        ended.release()

    listener: Any = (lambda: wawo.Listener(OnReceive=receive)) if factory else wawo.Listener(OnReceive=receive)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(listener, backend, io_threads=LOOPS))
        peers = [stack.enter_context(dial(server)) for _ in range(LOOPS)]
        eventually(lambda: server.count == LOOPS)
        with no_switching():
            for peer in peers:
                peer.sendall(bytes([next(numbers)]))
            for _ in peers:
                assert ended.acquire(timeout=2 * DEADLINE_S)
    assert len({name for name, *_ in done}) == LOOPS
    assert all(met for _, met, *_ in done) == FREE_THREADED
    record_property("cpu seconds a wall second", sum(cpu for *_, cpu, _ in done) / max(wall for *_, wall in done))


class Seat(Log):
    """Notes the threads that its callbacks ran on."""

    made: list[Seat]

    def __init__(self) -> None:
        super().__init__(OnReceive=echo)
        self.threads: set[str] = set()
        type(self).made.append(self)

    def OnReceive(self, conn: wawo.Connection, data: Any) -> Any:
        self.threads.add(threading.current_thread().name)
        return super().OnReceive(conn, data)


@pytest.mark.threads
def test_each_loop_calls_its_own(backend: str) -> None:
    class Own(Seat):
        made = []

    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(wawo.IoPool(3, backend=backend))
        server = stack.enter_context(wawo.TcpServer(Own, io=pool))
        server.start("127.0.0.1", 0)
        peers = [stack.enter_context(dial(server)) for _ in range(9)]
        for peer in peers:
            peer.sendall(b"hello")
        for peer in peers:
            assert read(peer, 5) == b"hello"
        assert len(Own.made) == 3
        assert sorted(len(each.threads) for each in Own.made) == [1, 1, 1]
        assert len(set().union(*(each.threads for each in Own.made))) == 3
        assert [each.count("OnReceive") for each in Own.made] == [3, 3, 3]
    for each in Own.made:
        calls = [call.name for call in each.calls]
        assert calls.count("OnClose") == 3
        assert calls.count("OnShutdown") == 1
        assert calls[-1] == "OnShutdown"
    assert sum(each.count("OnPrepareListen") for each in Own.made) == Own.made[0].count("OnPrepareListen")


def test_exceptions_go_to_the_listener_of_the_loop(backend: str) -> None:
    class Fails(Seat):
        made = []

        def OnReceive(self, conn: wawo.Connection, data: Any) -> Any:
            super().OnReceive(conn, data)
            raise ValueError(str(Fails.made.index(self)))

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(Fails, backend, io_threads=2))  # type: ignore[arg-type]
        peers = [stack.enter_context(dial(server)) for _ in range(4)]
        for peer in peers:
            peer.sendall(b"hello")
        for number, each in enumerate(Fails.made):
            each.until_count("OnException", 2)
            assert [str(error) for error in each.raised()] == [str(number)] * 2


def test_every_listener_hears_the_end(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    """What OnShutdown of one raises does not keep it from the others; one that serves all loops hears it once."""
    heard: list[int] = []

    def shut(number: int) -> wawo.Listener:
        def shutdown(component: object) -> None:
            heard.append(number)
            raise ValueError(number)

        return wawo.Listener(OnShutdown=shutdown)

    numbers = iter(range(3))
    with wawo.TcpServer(lambda: shut(next(numbers)), backend=backend, io_threads=3) as server:
        server.start("127.0.0.1", 0)
    assert sorted(heard) == [0, 1, 2]
    assert len(caplog.records) == 3
    heard.clear()
    one = shut(7)
    with wawo.TcpServer(lambda: one, backend=backend, io_threads=3) as server:
        server.start("127.0.0.1", 0)
    assert heard == [7]


@pytest.mark.threads
def test_one_connection_object_for_all_threads(backend: str) -> None:
    """Made on first need, by whoever is first: nobody ever holds another one."""
    threads = 4
    start = threading.Barrier(threads)

    def ask(server: wawo.TcpServer, found: list[wawo.Connection]) -> None:
        start.wait(DEADLINE_S)
        conns = server.connections()
        found.extend(conns)
        found.extend(filter(None, (server.connection(conn.id) for conn in conns)))

    with serving(wawo.Listener(), backend, io_threads=2) as server:  # no callback has made one before
        for number in range(1, 6):
            with contextlib.ExitStack() as stack:
                peers = [stack.enter_context(dial(server)) for _ in range(8)]
                eventually(lambda number=number: server.stats()["accepts"] == 8 * number)
                found: list[wawo.Connection] = []
                asking = [threading.Thread(target=ask, args=(server, found)) for _ in range(threads)]
                for thread in asking:
                    thread.start()
                for thread in asking:
                    thread.join(DEADLINE_S)
                assert len(found) == threads * len(peers) * 2
                assert len({id(conn) for conn in found}) == len(peers)
                del found
            eventually(lambda: server.count == 0)


@pytest.mark.threads
def test_extra_is_anybodys(backend: str) -> None:
    """Two threads write it, the loop and two more read it: whoever reads has a whole object."""
    stop = threading.Event()
    wrong: list[object] = []

    def check(value: object) -> None:
        if value is not None and not (isinstance(value, list) and len(value) == 1):
            wrong.append(value)

    def write(conn: wawo.Connection) -> None:
        while not stop.is_set():
            conn.extra = [object()]

    def look(conn: wawo.Connection) -> None:
        while not stop.is_set():
            check(conn.extra)

    log = Log(OnReceive=lambda conn, data: (check(conn.extra), conn.send(data)))
    with serving(log, backend) as server, dial(server) as peer:
        conn = log.conn()
        threads = [threading.Thread(target=work, args=(conn,)) for work in (write, write, look, look)]
        for thread in threads:
            thread.start()
        try:
            until = time.monotonic() + 5
            for _ in range(300 if FREE_THREADED else 10):
                if time.monotonic() > until:
                    break  # a busy machine
                peer.sendall(b"x")
                assert read(peer, 1) == b"x"
        finally:
            stop.set()
            for thread in threads:
                thread.join(DEADLINE_S)
        conn.extra = None
    assert wrong == []
