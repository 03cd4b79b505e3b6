"""max_connections: when the place of a connection that ended is free again."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from collections.abc import Iterator

import pytest
from peers import DEADLINE_S, Log, dial, eventually, read, serving

import wawo


@pytest.fixture
def door() -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()


def refused(agent: wawo.TcpAgent, door: tuple[str, int]) -> int:
    """The errno that connect() raises, 0: none."""
    try:
        agent.connect(*door)
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.mark.threads
@pytest.mark.parametrize("threads", [1, 2])
def test_on_close_may_connect_again(backend: str, threads: int, door: tuple[str, int]) -> None:
    answers = []
    one_at_a_time = threading.Lock()  # the one that it connects may have its OnClose on another loop

    def closed(*_: object) -> None:
        with one_at_a_time:
            if len(answers) < 6:
                answers.extend([refused(agent, door), refused(agent, door)])

    log = Log(OnConnect=lambda conn: conn.abort(), OnClose=closed)
    with wawo.TcpAgent(log, backend=backend, max_connections=1, io_threads=threads) as agent:
        agent.start()
        agent.connect(*door)
        log.until(lambda: log.count("OnClose") >= 4 and len(answers) == 6)
        assert answers == [0, errno.ENOBUFS] * 3
        eventually(lambda: agent.count == 0)


def test_on_close_may_adopt(backend: str) -> None:
    left, right = socket.socketpair()
    with left, right:
        answers: list[object] = []
        log = Log(OnClose=lambda *_: answers or answers.append(server.adopt(right)))
        with serving(log, backend, max_connections=1) as server, dial(server) as peer:
            peer.close()
            log.until_count("OnAccept", 2)
            assert server.count == 1


def abort_all(conns: list[wawo.Connection]) -> None:
    for conn in conns:
        conn.abort()


class Blocking:
    """OnClose: the first returns, the second goes on when it is told to."""

    def __init__(self) -> None:
        self.entered, self.leave = threading.Event(), threading.Event()
        self._count = 0

    def __call__(self, *_: object) -> None:
        self._count += 1
        if self._count == 2:
            self.entered.set()
            assert self.leave.wait(DEADLINE_S)


def test_free_when_on_close_has_returned(backend: str, door: tuple[str, int]) -> None:
    """Also while the batch that it was in goes on."""
    close = Blocking()
    conns: list[wawo.Connection] = []

    def opened(conn: wawo.Connection) -> None:
        conns.append(conn)
        if len(conns) == 2:
            abort_all(conns)

    log = Log(OnClose=close, OnConnect=opened)
    with wawo.TcpAgent(log, backend=backend, max_connections=2, io_threads=1) as agent:
        agent.start()
        for _ in range(2):
            agent.connect(*door)
        assert close.entered.wait(DEADLINE_S)
        try:
            assert refused(agent, door) == 0
            assert refused(agent, door) == errno.ENOBUFS
        finally:
            close.leave.set()


@pytest.mark.threads
def test_a_peer_that_comes_after_on_close_is_not_turned_away(backend: str) -> None:
    close = Blocking()
    loops: dict[wawo.Connection, str] = {}

    def received(conn: wawo.Connection, data: bytes) -> None:
        if data == b"abort":
            abort_all([other for other, loop in loops.items() if loop == loops[conn]])
        conn.send(data)

    def accepted(conn: wawo.Connection) -> None:
        loops[conn] = threading.current_thread().name

    log = Log(OnAccept=accepted, OnClose=close, OnReceive=received)
    options = {"max_connections": 4, "on_full": "close", "io_threads": 2}
    with serving(log, backend, **options) as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server)) for _ in range(4)]
        log.until(lambda: len(loops) == 4)
        second = max(loops.values(), key=lambda name: int(name.rpartition("-")[2]))  # the first accepts
        names = {peer.getsockname(): peer for peer in peers}
        names[next(conn.remote_address for conn, loop in loops.items() if loop == second)].sendall(b"abort")
        assert close.entered.wait(DEADLINE_S)
        try:
            assert server.count == 3
            late = stack.enter_context(dial(server))
            late.sendall(b"x")
            eventually(lambda: server.count == 4 or server.stats()["rejected"])
        finally:
            close.leave.set()
        assert server.stats()["rejected"] == 0
        assert read(late, 1) == b"x"
