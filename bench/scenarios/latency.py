"""Latency at a fixed rate: messages are due by the clock, whatever the server does, and their age counts from then.

A closed loop waits for a stalled server and then asks it less: it forgives just what should be seen (coordinated
omission). The rates are parts of what uvloop can do on this machine, the same for everybody; whoever cannot keep up
with one is shown as overloaded, and its latencies then only say how long the overload lasted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bench.harness.contenders import ASYNCIO, EVERYBODY, RAW, UVLOOP, WAWO, Contender
from bench.harness.errors import BenchError
from bench.harness.measure import Bar, Bench, Case, CaseResult, Column, Sample, Scenario

PARTS = (0.2, 0.5, 0.8)
CONNECTIONS = 100
SIZE = 64
TRIES = 3  # the best says what it can do
KEPT_UP = 0.98  # of what was due within the window was answered within it
P99_LIMIT = 1.0


def capacity(bench: Bench, case: Case) -> float:
    """Messages a second of the first of these that is here, in a closed loop; measured once."""
    if "capacity" not in bench.notes:
        for contender in (UVLOOP, ASYNCIO, RAW):
            if not bench.availability[contender.base].reason:
                with bench.server(case, contender) as server:
                    bench.age(case, server)
                    tried = [bench.run_load(case, server)["per_second"] for _ in range(TRIES)]
                    bench.notes["capacity"] = float(max(tried))
                break
        else:
            raise BenchError("nobody is here whose capacity could be measured")
    return bench.notes["capacity"]


def measure(bench: Bench, case: Case, contender: Contender, part: float) -> Sample:
    rate = part * capacity(bench, case)
    with bench.server(case, contender) as server:
        bench.age(case, server)
        sample = bench.run_load(case, server, mode="rate", rate=rate)
    answered = sample["messages"] / max(1, sample["due"])
    return {**sample, "answered": answered, "overloaded": float(answered < KEPT_UP)}


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    return [
        Bar(
            f"{100 * part:.0f} % of uvloop's capacity: p99 of wawo ≤ uvloop",
            result.ratio(WAWO.name, UVLOOP.name, "p99_us"),
            P99_LIMIT,
        )
        for part, result in zip(PARTS, results, strict=True)
    ]


SCENARIO = Scenario(
    name="latency",
    title=f"{SIZE} B at a fixed rate over {CONNECTIONS} connections, in parts of what uvloop can do",
    cases=[
        Case(
            f"{100 * part:.0f} % of uvloop's capacity",
            {"connections": CONNECTIONS, "depth": 1, "size": SIZE},
            EVERYBODY,
            columns=(
                Column("asked\nmsgs/s", "rate", "{:,.0f}"),
                Column("answered\nin time", "answered", "{:.1%}"),
                Column("load late\np99 µs", "late_p99_us", "{:.1f}"),
            ),
            measure=partial(measure, part=part),
        )
        for part in PARTS
    ],
    bars=bars,
)
