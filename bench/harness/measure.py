"""Interleaved rounds, the samples they give, and ratios between contenders.

Each measurement has a fresh server process that first serves one short load. A server that is kept for the whole run
carries its history along; fresh ones all start equal, and luck of memory layout becomes visible spread instead of a
bias. The short load before is fair to all: CPython's heap returns and faults in pages for each large read until some
connections have come and gone (asyncio: 18 µs a message, then 6).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.harness import stats
from bench.harness.children import Server, run_load
from bench.harness.contenders import MAIN, NAMES, Availability, Contender
from bench.harness.errors import BenchError
from bench.harness.machine import Cores

Sample = dict[str, Any]
AGING_CONNECTIONS = 100
DISTURBED = 0.05  # of the window in which the server or the load was ready to run and somebody else had its core


@dataclass(frozen=True)
class Settings:
    rounds: int = 5
    rest_rounds: int = 5  # of those that are not in MAIN
    seconds: float = 1.0
    warmup: float = 0.2
    aging: float = 0.2  # seconds of the short load before
    retries: int = 2
    most: int | None = None  # connections; no case has more
    scale: float = 1.0  # of files and of waits that a scenario fixes itself
    contenders: tuple[str, ...] | None = None  # None: what the scenario chooses


class Watcher(Protocol):
    """Who shows what goes on."""

    def measuring(self, result: CaseResult, what: str) -> None: ...
    def measured(self) -> None: ...


@dataclass
class Bench:
    """All that a scenario needs to run."""

    settings: Settings
    python: str
    echo: str
    load: str
    cores: Cores
    availability: dict[str, Availability]
    notes: dict[str, float] = field(default_factory=dict)  # what a scenario found out once for all its cases

    def server(self, case: Case, contender: Contender) -> Server:
        cpus = self.cores.server if case.pinned else self.cores.all
        return Server(contender.command(self.python, self.echo, case.framing), cpus)

    def age(self, case: Case, server: Server) -> None:
        """Gives a fresh server some connections that come and go."""
        count = min(AGING_CONNECTIONS, int(str(case.load["connections"])))
        if self.settings.aging > 0:
            self.run_load(case, server, connections=count, seconds=self.settings.aging, warmup=0)

    def run_load(self, case: Case, server: Server, **more: object) -> Sample:
        options = {"seconds": self.settings.seconds, "warmup": self.settings.warmup, **case.load, **more}
        return run_load(self.load, server, options, self.cores.load if case.pinned else self.cores.all)


@dataclass(frozen=True)
class Column:
    """One more column of a case's table, from a key of its samples."""

    title: str
    key: str
    form: str = "{:.2f}"


@dataclass(frozen=True)
class Case:
    """One table: the same load on several contenders. The title may name what is in `load` and `counts`."""

    title: str
    load: dict[str, object]
    contenders: tuple[Contender, ...]
    framing: str = "raw"
    pinned: bool = True
    columns: tuple[Column, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)  # connections besides those of the load
    measure: Callable[[Bench, Case, Contender], Sample] | None = None  # None: one server, one load

    @property
    def name(self) -> str:
        return self.title.format(**{**self.load, **self.counts})

    def at_most(self, most: int | None) -> Case:
        """The same with no more connections than that."""
        if most is None:
            return self
        load = dict(self.load)
        if "connections" in load:
            load["connections"] = min(most, int(str(load["connections"])))
        counts = {name: min(most, count) for name, count in self.counts.items()}
        return dataclasses.replace(self, load=load, counts=counts)


@dataclass
class CaseResult:
    case: Case
    samples: dict[str, list[Sample | None]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def series(self, name: str, key: str) -> list[float | None]:
        """A figure in each round."""
        found = (None if sample is None else sample.get(key) for sample in self.samples.get(name, []))
        return [None if value is None else float(value) for value in found]

    def values(self, name: str, key: str) -> list[float]:
        return stats.known(self.series(name, key))

    def median(self, name: str, key: str) -> float | None:
        return stats.median(self.series(name, key))

    def ratio(self, name: str, other: str, key: str) -> float | None:
        return stats.median(stats.ratios(self.series(name, key), self.series(other, key)))

    def errors(self, name: str) -> int:
        return int(sum(self.values(name, "errors")))

    def disturbed(self, name: str) -> int:
        return sum(1 for s in self.samples.get(name, []) if s is not None and self.case.pinned and is_disturbed(s))


@dataclass(frozen=True)
class Bar:
    """What must hold: value <= limit, or >= when `at_least`. No value: not measured."""

    text: str
    value: float | None
    limit: float
    at_least: bool = False
    strict: bool = False

    @property
    def holds(self) -> bool | None:
        if self.value is None:
            return None
        if self.at_least:
            return self.value >= self.limit
        return self.value < self.limit if self.strict else self.value <= self.limit


@dataclass
class Scenario:
    name: str
    title: str
    cases: Sequence[Case]
    bars: Callable[[Sequence[CaseResult]], list[Bar]]
    default: tuple[str, ...] = NAMES

    def cases_for(self, settings: Settings) -> list[Case]:
        """Without those that the limit of connections makes equal."""
        chosen: list[Case] = []
        for case in (each.at_most(settings.most) for each in self.cases):
            if case not in chosen:
                chosen.append(case)
        return chosen


def is_disturbed(sample: Sample) -> bool:
    return worst_wait(sample) > DISTURBED


def worst_wait(sample: Sample) -> float:
    return max(float(sample.get("server_waited", 0)), float(sample.get("load_waited", 0)))


def _measure(bench: Bench, case: Case, contender: Contender) -> Sample:
    if case.measure is not None:
        return case.measure(bench, case, contender)
    with bench.server(case, contender) as server:
        bench.age(case, server)
        return bench.run_load(case, server)


def measure_calm(bench: Bench, case: Case, contender: Contender) -> Sample:
    """Measures again when another process took the core away; keeps the calmest."""
    best: Sample | None = None
    for _ in range(1 + (bench.settings.retries if case.pinned else 0)):
        sample = _measure(bench, case, contender)
        worst = worst_wait(sample)
        if best is None or worst < best["waited"]:
            best = {**sample, "waited": worst}
        if not is_disturbed(sample):
            break
    assert best is not None
    return best


def chosen_for(settings: Settings, scenario: Scenario, case: Case) -> list[Contender]:
    wanted = settings.contenders or scenario.default
    return [c for c in case.contenders if c.base in wanted]


def turns(settings: Settings, contenders: Sequence[Contender]) -> Iterator[tuple[int, Contender, bool]]:
    """Round after round who is measured; False: not in this round."""
    for number in range(settings.rounds):
        for contender in contenders:
            part = contender.base in MAIN or stats.takes_part(number, settings.rounds, settings.rest_rounds)
            yield number, contender, part


def count_measurements(settings: Settings, scenario: Scenario) -> int:
    cases = scenario.cases_for(settings)
    return sum(part for case in cases for _, _, part in turns(settings, chosen_for(settings, scenario, case)))


def run_case(bench: Bench, scenario: Scenario, case: Case, watcher: Watcher) -> CaseResult:
    result = CaseResult(case)
    chosen = chosen_for(bench.settings, scenario, case)
    for contender in chosen:
        reason = bench.availability[contender.base].reason
        if reason:
            result.problems[contender.name] = reason
        result.samples[contender.name] = []
    for number, contender, part in turns(bench.settings, chosen):
        sample: Sample | None = None
        if part and contender.name not in result.problems:
            watcher.measuring(result, f"{contender.name}, round {number + 1} of {bench.settings.rounds}")
            try:
                sample = measure_calm(bench, case, contender)
            except BenchError as error:
                result.problems[contender.name] = str(error)
        result.samples[contender.name].append(sample)
        if part:
            watcher.measured()
    return result
