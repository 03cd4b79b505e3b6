"""What is made of the samples: plain arithmetic on lists, in which None is a round without a figure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

Series = Sequence["float | None"]


class Spread(NamedTuple):
    """The middle of some figures and their ends."""

    median: float
    low: float
    high: float
    rounds: int


def known(series: Series) -> list[float]:
    return [value for value in series if value is not None]


def spread(series: Series) -> Spread | None:
    """None without figures."""
    values = known(series)
    return Spread(statistics.median(values), min(values), max(values), len(values)) if values else None


def median(series: Series) -> float | None:
    found = spread(series)
    return None if found is None else found.median


def ratios(series: Series, others: Series) -> list[float]:
    """Within each round that has both: what drifts from round to round cancels out."""
    return [a / b for a, b in zip(series, others, strict=False) if a is not None and b]


def over(value: float | None, other: float | None) -> float | None:
    """None where one of them is missing, or there is nothing to compare with."""
    return value / other if value is not None and other else None


def takes_part(number: int, rounds: int, parts: int) -> bool:
    """Whether round `number` (from 0) is one of `parts` that lie evenly among all `rounds`; the first always is."""
    return parts >= rounds or (number * parts) % rounds < parts


def rounded(value: float | None) -> float | None:
    """To six significant digits: more than any of these figures has."""
    return None if value is None else float(f"{value:.6g}")
