"""Several loops, where server and load may both use every core; a Python thread that never rests, where the server has
one core and the load the other."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import UVLOOP, WAWO, Contender
from bench.harness.measure import Bar, Case, CaseResult, Scenario

ONE_LOOP = Contender("wawo", "wawo, 1 loop", ("--threads", "1"))
TWO_LOOPS = Contender("wawo", "wawo, 2 loops", ("--threads", "2"))
WAWO_BURN = Contender("wawo", "wawo, busy thread", ("--burn",))
UVLOOP_BURN = Contender("uvloop", "uvloop, busy thread", ("--burn",))
LOAD: dict[str, object] = {"connections": 100, "depth": 1, "size": 64}
LOOPS_LIMIT = 0.95
BURN_LIMIT = 0.4


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    loops = results[0].ratio(TWO_LOOPS.name, ONE_LOOP.name, "per_second")
    burn = results[1].ratio(WAWO_BURN.name, WAWO.name, "per_second")
    return [
        Bar(f"messages/s with 2 loops ≥ {LOOPS_LIMIT} x 1 loop", loops, LOOPS_LIMIT, at_least=True),
        Bar(f"messages/s beside a busy thread ≥ {BURN_LIMIT} x without", burn, BURN_LIMIT, at_least=True),
    ]


SCENARIO = Scenario(
    name="threads",
    title="64 B, 100 connections",
    cases=[
        Case("one loop and two, nothing pinned", LOAD, (ONE_LOOP, TWO_LOOPS), pinned=False),
        Case(
            "a CPU-bound Python thread in the server (its CPU time is in the figure)",
            LOAD,
            (UVLOOP, UVLOOP_BURN, WAWO, WAWO_BURN),
        ),
    ],
    bars=bars,
)
