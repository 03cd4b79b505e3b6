"""Interleaved rounds, the samples they give, and ratios between contenders.

Each measurement has a fresh server process that first serves one short load. A server that is kept for the whole run
carries its history along; fresh ones all start equal, and luck of memory layout becomes visible spread instead of a
bias. The short load before is fair to all: CPython's heap returns and faults in pages for each large read until some
connections have come and gone (asyncio: 18 µs a message, then 6).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.harness.children import Server, run_load
from bench.harness.contenders import Availability, Contender
from bench.harness.errors import BenchError
from bench.harness.machine import Cores

Sample = dict[str, Any]
AGING_SECONDS = 0.2
AGING_CONNECTIONS = 100
DISTURBED = 0.05  # of the window in which the server or the load was ready to run and somebody else had its core


@dataclass(frozen=True)
class Settings:
    rounds: int = 5
    seconds: float = 2.0
    warmup: float = 0.3
    retries: int = 2
    contenders: tuple[str, ...] | None = None  # None: what the scenario chooses


@dataclass
class Bench:
    """All that a scenario needs to run."""

    settings: Settings
    python: str
    echo: str
    load: str
    cores: Cores
    availability: dict[str, Availability]
    progress: Callable[[str], None] = lambda text: None

    def server(self, case: Case, contender: Contender) -> Server:
        cpus = self.cores.server if case.pinned else self.cores.all
        return Server(contender.command(self.python, self.echo, case.framing), cpus)

    def age(self, case: Case, server: Server) -> None:
        """Gives a fresh server some connections that come and go."""
        count = min(AGING_CONNECTIONS, int(str(case.load["connections"])))
        self.run_load(case, server, connections=count, seconds=AGING_SECONDS, warmup=0)

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
    """One table: the same load on several contenders."""

    title: str
    load: dict[str, object]
    contenders: tuple[Contender, ...]
    framing: str = "raw"
    pinned: bool = True
    columns: tuple[Column, ...] = ()
    measure: Callable[[Bench, Case, Contender], Sample] | None = None  # None: one server, one load


@dataclass
class CaseResult:
    case: Case
    samples: dict[str, list[Sample | None]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def values(self, name: str, key: str) -> list[float]:
        return [float(s[key]) for s in self.samples.get(name, []) if s is not None and key in s]

    def median(self, name: str, key: str) -> float | None:
        values = self.values(name, key)
        return statistics.median(values) if values else None

    def ratio(self, name: str, other: str, key: str) -> float | None:
        """The median of the ratios within each round: what drifts from round to round cancels out."""
        pairs = zip(self.samples.get(name, []), self.samples.get(other, []), strict=False)
        ratios = [float(a[key]) / float(b[key]) for a, b in pairs if a and b and a.get(key) and b.get(key)]
        return statistics.median(ratios) if ratios else None

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
    default: tuple[str, ...] = ("raw", "uvloop", "wawo")


def is_disturbed(sample: Sample) -> bool:
    return max(float(sample.get("server_waited", 0)), float(sample.get("load_waited", 0))) > DISTURBED


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
        worst = max(float(sample.get("server_waited", 0)), float(sample.get("load_waited", 0)))
        if best is None or worst < best["waited"]:
            best = {**sample, "waited": worst}
        if not is_disturbed(sample):
            break
    assert best is not None
    return best


def run_case(bench: Bench, case: Case, default: Sequence[str]) -> CaseResult:
    result = CaseResult(case)
    wanted = bench.settings.contenders or tuple(default)
    chosen = [c for c in case.contenders if c.base in wanted]
    for contender in chosen:
        reason = bench.availability[contender.base].reason
        if reason:
            result.problems[contender.name] = reason
        result.samples[contender.name] = []
    for number in range(bench.settings.rounds):
        for contender in chosen:
            if contender.name in result.problems:
                result.samples[contender.name].append(None)
                continue
            bench.progress(f"{case.title}: {contender.name}, round {number + 1} of {bench.settings.rounds}")
            try:
                sample: Sample | None = measure_calm(bench, case, contender)
            except BenchError as error:
                sample = None
                result.problems[contender.name] = str(error)
            result.samples[contender.name].append(sample)
    return result
