"""Short connections: connect, one echo, close in both directions."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import EVERYBODY, RAW, UVLOOP, WAWO
from bench.harness.measure import Bar, Case, CaseResult, Scenario

RAW_LIMIT = 1.15


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    raw = results[0].ratio(WAWO.name, RAW.name, "cpu_us")
    uvloop = results[0].ratio(WAWO.name, UVLOOP.name, "cpu_us")
    return [
        Bar(f"CPU of wawo ≤ {RAW_LIMIT} x raw C", raw, RAW_LIMIT),
        Bar("CPU of wawo < uvloop", uvloop, 1.0, strict=True),
    ]


SCENARIO = Scenario(
    name="connect",
    title="connect, echo of 64 B, close; a message is one such cycle",
    cases=[Case("64 in parallel", {"mode": "connect", "connections": 64, "size": 64}, EVERYBODY)],
    bars=bars,
)
