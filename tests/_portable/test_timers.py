"""Timers: each once, in order, and what is cancelled is forgotten."""

from __future__ import annotations

import random
from functools import partial

from wawo._portable.timers import Timer, Timers


def test_order_and_once() -> None:
    timers, fired = Timers(), list[int]()
    made = [Timer(partial(fired.append, number)) for number in range(5)]
    for number, at in enumerate((5.0, 1.0, 3.0, 1.0, 9.0)):
        timers.set(made[number], at)
    assert timers.next() == 1.0
    timers.advance(4.0)
    assert fired == [1, 3, 2]
    timers.advance(4.0)
    assert fired == [1, 3, 2]
    timers.advance(100.0)
    assert fired == [1, 3, 2, 0, 4]
    assert timers.next() is None


def test_setting_anew_and_cancelling() -> None:
    timers, fired = Timers(), list[str]()
    one, two = Timer(lambda: fired.append("one")), Timer(lambda: fired.append("two"))
    timers.set(one, 1.0)
    timers.set(one, 5.0)
    timers.set(two, 2.0)
    timers.cancel(two)
    timers.cancel(two)
    timers.advance(4.0)
    assert fired == []
    timers.advance(5.0)
    assert fired == ["one"]


def test_one_that_sets_itself_again() -> None:
    timers, fired = Timers(), list[float]()

    def fire() -> None:
        fired.append(len(fired))
        if len(fired) < 3:
            timers.set(timer, len(fired) * 10.0)

    timer = Timer(fire)
    timers.set(timer, 0.0)
    timers.advance(0.0)
    assert len(fired) == 1
    timers.advance(100.0)
    assert len(fired) == 3


def test_cancelled_ones_take_no_room() -> None:
    timers = Timers()
    many = [Timer(lambda: None) for _ in range(10)]
    for turn in range(10_000):
        timers.set(many[turn % 10], float(turn))
    assert len(timers._heap) < 500


def test_against_a_sorted_list() -> None:
    for seed in range(50):
        chance, timers, fired = random.Random(seed), Timers(), list[int]()
        made = [Timer(partial(fired.append, number)) for number in range(40)]
        due: dict[int, tuple[float, int]] = {}
        for step in range(200):
            number = chance.randrange(40)
            if chance.random() < 0.3:
                timers.cancel(made[number])
                due.pop(number, None)
            else:
                at = float(chance.randrange(20))
                timers.set(made[number], at)
                due[number] = (at, step)
        for now in range(21):
            fired.clear()
            wanted = sorted((number for number, (at, _) in due.items() if at <= now), key=due.__getitem__)
            timers.advance(float(now))
            assert fired == wanted, seed
            for number in wanted:
                del due[number]


def test_one_that_sets_itself_for_now_waits_for_the_next_turn() -> None:
    timers, fired = Timers(), list[float]()

    def fire() -> None:
        fired.append(5.0)
        assert len(fired) < 10
        timers.set(timer, 5.0)

    timer = Timer(fire)
    timers.set(timer, 4.0)
    timers.advance(5.0)
    assert len(fired) == 1
    assert timers.next() == 5.0
