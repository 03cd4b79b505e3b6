"""Debuggers, coverage and profilers see what runs on the loop threads, whenever they are switched on."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from peers import Log, dial, read, run_program, serving

import wawo


@pytest.fixture(autouse=True)
def hooks_as_before() -> Iterator[None]:
    """pytest's own coverage, if any, goes on after these tests."""
    trace, profile = threading.gettrace(), threading.getprofile()
    yield
    threading.settrace(trace)  # type: ignore[arg-type]
    threading.setprofile(profile)


def receive(conn: wawo.Connection, data: bytes) -> None:
    answer = bytes(reversed(data))
    conn.send(answer)


def visit(server: wawo.TcpServer, word: bytes) -> None:
    with dial(server) as peer:
        peer.sendall(word)
        assert read(peer, len(word)) == word[::-1]


@pytest.mark.parametrize("kind", ["settrace", "setprofile"])
@pytest.mark.parametrize("early", [True, False])
def test_hooks_see_callbacks(backend: str, kind: str, early: bool) -> None:
    seen: set[tuple[str, str, str]] = set()

    def hook(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code is receive.__code__:
            seen.add((event, frame.f_code.co_name, threading.current_thread().name[:8]))
        return hook

    install: Callable[[Any], None] = getattr(threading, kind)
    if early:
        install(hook)
    with serving(wawo.Listener(OnReceive=receive), backend) as server:
        visit(server, b"warm")
        if not early:
            assert seen == set()
            install(hook)
        visit(server, b"abc")
        events = {event for event, _, _ in seen}
        assert {"call", "return"} <= events
        assert ("line" in events) is (kind == "settrace")
        assert {name for _, _, name in seen} == {"wawo-io-"}
        install(None)
        visit(server, b"switches")
        seen.clear()
        visit(server, b"off")
        assert seen == set()


@pytest.mark.parametrize("name", ["settrace", "setprofile"])
def test_hook_set_inside_a_callback(backend: str, name: str) -> None:
    """As a debugger does at a breakpoint; it ends with the thread at the latest."""
    lines: list[str] = []

    def hook(frame: FrameType, event: str, arg: object) -> Any:
        lines.append(event)
        return hook

    def breakpoint_like(conn: wawo.Connection, data: bytes) -> None:
        getattr(sys, name)(hook)
        receive(conn, data)

    with serving(wawo.Listener(OnReceive=breakpoint_like), backend) as server:
        for _ in range(5):
            visit(server, b"abc")
    assert "call" in lines
    assert "return" in lines


def test_hook_that_raises(backend: str) -> None:
    """Python drops a trace function that raises; the error is the callback's."""

    def hook(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code is receive.__code__:
            raise ZeroDivisionError("the tool is broken")
        return None

    log = Log(OnReceive=receive)
    with serving(log, backend) as server:
        threading.settrace(hook)
        log.actions["OnReceive"] = receive
        with dial(server) as peer:
            peer.sendall(b"x")
            assert peer.recv(1) == b""
        log.until_count("OnClose")
        threading.settrace(None)  # type: ignore[arg-type]
        visit(server, b"on")
    assert [type(error) for error in log.raised()] == [ZeroDivisionError]


def test_locals_and_frames_of_a_blocked_callback(backend: str) -> None:
    """sys._current_frames() shows where each loop thread stands, as py-spy and faulthandler do."""
    entered, release = threading.Event(), threading.Event()

    def block(conn: wawo.Connection, data: bytes) -> None:
        secret = 42
        entered.set()
        assert release.wait(20)
        conn.send(bytes([secret]))

    with serving(wawo.Listener(OnReceive=block), backend) as server, dial(server) as peer:
        peer.sendall(b"x")
        assert entered.wait(20)
        ours = {thread.ident for thread in threading.enumerate() if thread.name.startswith("wawo-io-")}
        frames = [frame for ident, frame in sys._current_frames().items() if ident in ours]
        names = set()
        for frame in frames:
            walk: FrameType | None = frame
            while walk is not None:
                names.add(walk.f_code.co_name)
                if walk.f_code is block.__code__:
                    assert walk.f_locals["secret"] == 42
                walk = walk.f_back
        assert "block" in names
        release.set()
        assert read(peer, 1) == b"*"
        del frames, frame, walk


def test_coverage_style_monitoring(backend: str) -> None:
    """sys.monitoring (3.12) is for all threads at once."""
    if not hasattr(sys, "monitoring"):
        pytest.skip("needs sys.monitoring")
    done = run_program(
        """
import socket, sys, threading, wawo
seen, idents = set(), set()
def receive(conn, data):
    idents.add(threading.get_ident())
    conn.send(data)
def note(code, at):
    if code is receive.__code__:
        seen.add(threading.get_ident())
m = sys.monitoring
m.use_tool_id(m.PROFILER_ID, "test")
m.register_callback(m.PROFILER_ID, m.events.PY_START, note)
m.set_events(m.PROFILER_ID, m.events.PY_START)
with wawo.TcpServer(wawo.Listener(OnReceive=receive), backend=sys.argv[1]) as server:
    server.start("127.0.0.1", 0)
    with socket.create_connection(server.address) as peer:
        peer.sendall(b"x")
        peer.recv(1)
m.set_events(m.PROFILER_ID, 0)
m.free_tool_id(m.PROFILER_ID)
print(len(seen), seen == idents)
""",
        backend,
    )
    assert (done.stderr, done.stdout.strip()) == ("", "1 True")
