"""The load in pure Python, on the tests of the compiled one: tests/_core/test_load.py over wawo/_portable/load.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wawo import _core
from wawo._portable.load import _Histogram, _Reports, load

NATIVE_TESTS = Path(__file__).resolve().parents[1] / "_core" / "test_load.py"
_spec = importlib.util.spec_from_file_location("tests_of_load", NATIVE_TESTS)
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
globals().update({name: value for name, value in vars(_module).items() if name.startswith("test_") or name == "server"})


@pytest.fixture(autouse=True)
def over_the_portable_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_core, "load", load)


def test_more_connections_than_are_dialled_at_once(server: Any) -> None:
    found = _module.load(server, connections=250)
    assert (found["errors"], server.stats()["accepts"]) == (0, 250)


def test_time_that_was_told_never_goes_back() -> None:
    """A warm-up that a busy machine draws out past its end was told as time of the measurement, and that began at 0."""
    told: list[tuple[float, int]] = []
    run: Any = SimpleNamespace(begin=0, until=10**18, answered=5)
    reports = _Reports(run, lambda elapsed, messages: told.append((elapsed, messages)))
    for measuring in (False, True):
        reports.next = 0
        reports.due(measuring)
    assert told[0] == (0.0, 0)
    assert told[1][0] > 0
    assert told[1][1] == 5


@pytest.mark.parametrize("values", [[5], [1, 2, 3, 4], [10**6] * 99 + [10**9], list(range(1, 10_000, 7))])
def test_percentiles_are_close(values: list[int]) -> None:
    histogram = _Histogram()
    for value in values:
        histogram.add(value)
    for part in (0.5, 0.99, 0.999):
        exact = sorted(values)[max(0, -int(-part * len(values) // 1) - 1)]
        assert histogram.percentile(part) == pytest.approx(exact, rel=0.004, abs=1)
    assert histogram.max == max(values)
