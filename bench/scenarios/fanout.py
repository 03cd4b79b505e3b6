"""One message to many connections: a broadcast beside a loop of send(2) in C and beside a loop of transport.write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.harness import build
from bench.harness.children import Server, run_load
from bench.harness.contenders import EVERYBODY, RAW, UVLOOP, WAWO, Contender
from bench.harness.measure import Bar, Bench, Case, CaseResult, Sample, Scenario

CASTER = Path(__file__).resolve().parent.parent / "rivals" / "caster.py"
THREADED = Contender("wawo", "wawo, thread", ("--threaded",))
CASTERS = (*EVERYBODY, THREADED)
RAW_LIMIT = 1.1
UVLOOP_TIMES = 5.0
BURST = 16


def command(bench: Bench, contender: Contender) -> list[str]:
    if contender.base == RAW.base:
        return [str(build.build("fanout"))]
    return [bench.python, str(CASTER), "--loop", contender.base, *contender.extra]


def measure(bench: Bench, case: Case, contender: Contender) -> Sample:
    turn = ["--burst", str(case.load["burst"]), "--size", str(case.load["size"])]
    options = {"seconds": bench.settings.seconds, "warmup": bench.settings.warmup, **case.load}
    with Server([*command(bench, contender), *turn], bench.cores.server) as server:
        return run_load(str(build.build("audience")), server, options, bench.cores.load)


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    one, many = results
    found = []
    for contender in (WAWO, THREADED):
        value = one.ratio(contender.name, RAW.name, "cpu_us")
        found.append(Bar(f"1 a turn: CPU of {contender.name} ≤ {RAW_LIMIT} x raw C", value, RAW_LIMIT))
    for contender in (WAWO, THREADED):
        value = many.ratio(contender.name, UVLOOP.name, "per_second")
        text = f"{BURST} a turn: deliveries/s of {contender.name} ≥ {UVLOOP_TIMES:.0f} x uvloop"
        found.append(Bar(text, value, UVLOOP_TIMES, at_least=True))
    return found


def case(burst: int) -> Case:
    joined = " (raw C joins them)" if burst > 1 else ""
    return Case(f"{burst} a turn{joined}", {"connections": 1000, "burst": burst, "size": 64}, CASTERS, measure=measure)


SCENARIO = Scenario(
    name="fanout",
    title="64 B to each of 1,000 connections; a message is one delivery, a latency that of a whole turn",
    cases=[case(1), case(BURST)],
    bars=bars,
)
