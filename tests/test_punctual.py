"""The decorator of tests about time tries again only when the machine was late, and not for ever."""

from __future__ import annotations

import threading

import punctual
import pytest


@pytest.mark.parametrize(("late", "tries"), [(-1.0, punctual.TRIES), (1e9, 1)])
def test_a_failure_counts_when_the_machine_was_punctual(
    late: float, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(punctual, "LATE_S", late)
    tried = []

    @punctual.punctual
    def test(given: int) -> None:
        tried.append(given)
        raise AssertionError("always")

    with pytest.raises(AssertionError, match="always"):
        test(5)
    assert tried == [5] * tries


def test_the_second_try_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(punctual, "LATE_S", -1.0)
    tried = []

    @punctual.punctual
    def test() -> None:
        tried.append(1)
        assert len(tried) == 2

    test()
    assert len(tried) == 2


def test_lateness_is_of_the_block() -> None:
    with punctual.lateness() as late:
        assert late() >= 0.0
        before = threading.active_count()
    assert threading.active_count() == before - 1
