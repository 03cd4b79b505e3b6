"""Which measurements a run makes, and what it makes of their samples."""

from __future__ import annotations

from collections.abc import Sequence

import benches  # noqa: F401
import pytest

from bench.harness import measure
from bench.harness.contenders import ASYNCIO, NAMES, RAW, UVLOOP, WAWO, Availability, Contender
from bench.harness.errors import BenchError
from bench.harness.machine import Cores
from bench.harness.measure import Bar, Bench, Case, CaseResult, Sample, Scenario, Settings
from bench.scenarios import ALL


class Silent:
    def __init__(self) -> None:
        self.count = 0

    def measuring(self, result: CaseResult, what: str) -> None: ...

    def measured(self) -> None:
        self.count += 1


def no_bars(results: Sequence[CaseResult]) -> list[Bar]:
    return []


def bench_of(settings: Settings, **reasons: str) -> Bench:
    cores = Cores(frozenset({0}), frozenset({0}), frozenset({0}))
    found = {name: Availability(reason=reasons.get(name, "")) for name in NAMES}
    return Bench(settings, "python", "echo", "load", cores, found)


def scenario_of(calls: list[str], contenders: tuple[Contender, ...] = (RAW, WAWO, ASYNCIO)) -> Scenario:
    def run(bench: Bench, case: Case, contender: Contender) -> Sample:
        calls.append(contender.name)
        return {"cpu_us": float(len(calls)), "per_second": 1.0, "errors": 0}

    return Scenario(
        "one", "one", [Case("{connections} connections", {"connections": 5}, contenders, measure=run)], no_bars
    )


def test_rounds_are_interleaved_and_the_rest_takes_part_in_fewer() -> None:
    calls: list[str] = []
    scenario, watcher = scenario_of(calls), Silent()
    bench = bench_of(Settings(rounds=3, rest_rounds=2))
    result = measure.run_case(bench, scenario, scenario.cases[0], watcher)
    assert calls == ["raw C", "wawo", "asyncio", "raw C", "wawo", "raw C", "wawo", "asyncio"]
    assert len(calls) == watcher.count == measure.count_measurements(bench.settings, scenario)
    assert result.series("asyncio", "cpu_us") == [3.0, None, 8.0]
    assert result.series("wawo", "cpu_us") == [2.0, 5.0, 7.0]
    assert result.ratio("wawo", "raw C", "cpu_us") == pytest.approx(1.25)  # of 2/1, 5/4 and 7/6
    assert result.median("asyncio", "cpu_us") == 5.5


def test_a_rival_that_is_missing_is_shown() -> None:
    calls: list[str] = []
    scenario = scenario_of(calls)
    result = measure.run_case(
        bench_of(Settings(rounds=2), asyncio="not installed"), scenario, scenario.cases[0], Silent()
    )
    assert "asyncio" not in calls
    assert result.problems == {"asyncio": "not installed"}
    assert result.samples["asyncio"] == [None, None]


def test_a_failure_ends_that_contender_and_no_other() -> None:
    def run(bench: Bench, case: Case, contender: Contender) -> Sample:
        if contender == RAW:
            raise BenchError("it broke")
        return {"cpu_us": 1.0, "errors": 0}

    scenario = Scenario("one", "one", [Case("one", {}, (RAW, WAWO), measure=run)], no_bars)
    result = measure.run_case(bench_of(Settings(rounds=3)), scenario, scenario.cases[0], Silent())
    assert result.problems == {"raw C": "it broke"}
    assert result.values("wawo", "cpu_us") == [1.0, 1.0, 1.0]


def test_a_disturbed_measurement_is_repeated_and_the_calmest_kept() -> None:
    waits = iter([0.9, 0.3, 0.5])

    def run(bench: Bench, case: Case, contender: Contender) -> Sample:
        return {"cpu_us": 1.0, "errors": 0, "server_waited": next(waits), "load_waited": 0.0}

    case = Case("one", {}, (RAW,), measure=run)
    sample = measure.measure_calm(bench_of(Settings(retries=2)), case, RAW)
    assert sample["waited"] == 0.3
    assert measure.is_disturbed(sample)


def test_the_limit_of_connections_leaves_no_case_twice() -> None:
    pingpong = ALL["pingpong"]
    assert [case.name for case in pingpong.cases_for(Settings(most=100))] == ["10 connections", "100 connections"]
    assert [case.name for case in pingpong.cases_for(Settings())][-1] == "10,000 connections"
    idle = ALL["idle"].cases_for(Settings(most=50))[0]
    assert idle.name == "50 connections beside 50 silent ones"


def test_every_scenario_can_say_its_bars_without_a_figure() -> None:
    for scenario in ALL.values():
        results = [CaseResult(case) for case in scenario.cases]
        assert all(bar.holds is not True or bar.value is not None for bar in scenario.bars(results))
        assert set(scenario.default) <= set(NAMES)


def test_bars() -> None:
    assert Bar("", 1.0, 1.0).holds is True
    assert Bar("", 1.0, 1.0, strict=True).holds is False
    assert Bar("", 0.9, 1.0, at_least=True).holds is False
    assert Bar("", None, 1.0).holds is None


def test_every_rival_is_in_the_echo_scenarios() -> None:
    for name in ("pingpong", "pipeline", "framed", "sizes", "latency", "fanout", "sendfile", "idle", "connect"):
        for case in ALL[name].cases:
            assert {contender.base for contender in case.contenders} == set(NAMES), name
    assert UVLOOP.base in NAMES
