"""A loop by itself: posts, wake-ups, a turn that fails, its end."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterator

import pytest
from peers import DEADLINE_S, eventually

from wawo._portable.loop import Loop
from wawo._portable.threads import Threads, backends

KINDS = [name for name, works, *_ in backends() if works]


@pytest.fixture(params=KINDS)
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    threads = Threads(1, request.param, 1 << 20)
    yield threads.loops[0]
    assert threads.stop(DEADLINE_S)


def test_posts_come_in_order_on_its_thread(loop: Loop) -> None:
    seen: list[tuple[int, int]] = []
    done = threading.Event()
    for number in range(1000):
        loop.post(lambda dead, number=number: seen.append((number, threading.get_ident())))  # type: ignore[misc]
    loop.post(lambda dead: done.set())
    assert done.wait(DEADLINE_S)
    assert seen == [(number, loop.ident) for number in range(1000)]


def test_a_sleeping_loop_is_woken_once(loop: Loop) -> None:
    eventually(lambda: loop._sleeping)
    before, done = loop.snapshot()["wakes"], threading.Event()
    loop.post_all([lambda dead: None] * 999 + [lambda dead: done.set()])
    assert done.wait(DEADLINE_S)
    assert loop.snapshot()["wakes"] == before + 1


def test_an_idle_loop_does_not_turn(loop: Loop) -> None:
    eventually(lambda: loop._sleeping)
    before = loop.snapshot()["turns"]
    assert not threading.Event().wait(0.1)
    assert loop.snapshot()["turns"] <= before + 1


def test_a_turn_that_fails_is_logged_and_not_the_last(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def fail(dead: bool) -> None:
        raise ZeroDivisionError("a tool is broken")

    done = threading.Event()
    with caplog.at_level(logging.ERROR, "wawo"):
        for _ in range(3):
            loop.post(fail)
            eventually(lambda: loop._sleeping)
        loop.post(lambda dead: done.set())
        assert done.wait(DEADLINE_S)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError] * 3


def test_a_call_that_fails_takes_no_other_with_it(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def fail(dead: bool) -> None:
        raise ZeroDivisionError("a tool is broken")

    seen: list[int] = []
    done = threading.Event()
    with caplog.at_level(logging.ERROR, "wawo"):
        loop.post_all([fail, lambda dead: seen.append(1), fail, lambda dead: seen.append(2), lambda dead: done.set()])
        assert done.wait(DEADLINE_S)
    assert seen == [1, 2]


def test_a_connection_that_fails_takes_no_other_with_it(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    class Fails:
        dirty = False

        def settle(self) -> None:
            raise ZeroDivisionError("a tool is broken")

    class Settles:
        dirty = False

        def settle(self) -> None:
            done.set()

    done = threading.Event()

    def touch(dead: bool) -> None:
        loop.touch(Fails())  # type: ignore[arg-type]
        loop.touch(Settles())  # type: ignore[arg-type]

    with caplog.at_level(logging.ERROR, "wawo"):
        loop.post(touch)
        assert done.wait(DEADLINE_S)


def test_here_is_only_in_callbacks(loop: Loop) -> None:
    """What the garbage collector does on a loop's thread between callbacks comes as if from another thread."""
    told: list[bool] = []
    done = threading.Event()

    def look(dead: bool) -> None:
        told.append(loop.here())
        done.set()

    loop.post(look)
    assert done.wait(DEADLINE_S)
    assert told == [False]
    assert not loop.here()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_in_the_inbox_hears_of_the_end(kind: str) -> None:
    threads = Threads(1, kind, 1 << 20)
    loop, gate, heard = threads.loops[0], threading.Event(), list[bool]()
    calls: list[Callable[[bool], object]] = [lambda dead: gate.wait(DEADLINE_S)]
    loop.post(calls[0])  # type: ignore[arg-type]
    eventually(lambda: not loop._inbox)
    loop.stop()
    loop.post(heard.append)
    gate.set()
    assert threads.stop(DEADLINE_S)
    assert heard == [True]
    assert loop.post(heard.append) is False
    assert heard == [True]


def test_a_thread_that_cannot_start_is_no_blocking_io(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(OSError, match="starting threads") as caught:
        Threads(2, KINDS[0], 1 << 20)
    assert (type(caught.value), caught.value.errno) == (OSError, errno.ENOMEM)
