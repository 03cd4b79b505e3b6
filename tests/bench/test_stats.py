"""What the bench makes of its samples, with numbers whose answer is known."""

from __future__ import annotations

import benches  # noqa: F401
import pytest

from bench.harness import stats


def test_spread_is_the_middle_and_the_ends() -> None:
    assert stats.spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0, 3)
    assert stats.spread([4.0, 1.0, 2.0, 3.0]) == (2.5, 1.0, 4.0, 4)


def test_a_round_without_a_figure_does_not_count() -> None:
    assert stats.spread([None, 5.0, None]) == (5.0, 5.0, 5.0, 1)
    assert stats.spread([None, None]) is None
    assert stats.median([]) is None
    assert stats.median([2.0, None, 4.0]) == 3.0


def test_ratios_are_taken_within_a_round() -> None:
    # The machine is twice as slow in the second round: the ratio of the medians would be 0.75.
    assert stats.ratios([1.0, 2.0, 1.0], [2.0, 4.0, 2.0]) == [0.5, 0.5, 0.5]
    assert stats.ratios([1.0, None, 3.0], [2.0, 4.0, None]) == [0.5]
    assert stats.ratios([1.0], [0.0]) == []
    assert stats.ratios([0.0], [2.0]) == [0.0]


@pytest.mark.parametrize("rounds", range(1, 12))
@pytest.mark.parametrize("parts", range(1, 12))
def test_takes_part_as_often_as_it_should(rounds: int, parts: int) -> None:
    chosen = [number for number in range(rounds) if stats.takes_part(number, rounds, parts)]
    assert len(chosen) == min(rounds, parts)
    assert chosen[0] == 0


def test_takes_part_evenly() -> None:
    assert [n for n in range(5) if stats.takes_part(n, 5, 3)] == [0, 2, 4]
    assert [n for n in range(6) if stats.takes_part(n, 6, 2)] == [0, 3]


def test_over_nothing_is_no_figure() -> None:
    assert stats.over(1.0, 4.0) == 0.25
    assert stats.over(0.0, 4.0) == 0.0
    assert stats.over(1.0, 0.0) is None
    assert stats.over(None, 4.0) is None
    assert stats.over(1.0, None) is None


def test_rounded() -> None:
    assert stats.rounded(1.23456789) == 1.23457
    assert stats.rounded(123456789.0) == 123457000.0
    assert stats.rounded(None) is None
