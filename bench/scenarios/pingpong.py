"""One small message at a time on each connection: what an event costs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import EVERYBODY, RAW, UVLOOP, WAWO
from bench.harness.measure import Bar, Case, CaseResult, Scenario

CONNECTIONS = (10, 100, 1000, 10_000)
RAW_LIMIT = 1.12
UVLOOP_LIMITS = {100: 0.93, 1000: 0.88}


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    found = []
    for result in results:
        count = int(str(result.case.load["connections"]))
        value = result.ratio(WAWO.name, RAW.name, "cpu_us")
        found.append(Bar(f"{count} connections: CPU of wawo ≤ {RAW_LIMIT} x raw C", value, RAW_LIMIT))
        if count in UVLOOP_LIMITS:
            limit = UVLOOP_LIMITS[count]
            value = result.ratio(WAWO.name, UVLOOP.name, "cpu_us")
            found.append(Bar(f"{count} connections: CPU of wawo ≤ {limit} x uvloop", value, limit))
    return found


SCENARIO = Scenario(
    name="pingpong",
    title="64 B, one message in flight on each connection",
    cases=[
        Case("{connections:,} connections", {"connections": n, "depth": 1, "size": 64}, EVERYBODY) for n in CONNECTIONS
    ],
    bars=bars,
)
