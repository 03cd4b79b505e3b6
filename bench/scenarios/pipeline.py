"""Many small messages in one read: what a batch costs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import EVERYBODY, RAW, UVLOOP, WAWO
from bench.harness.measure import Bar, Case, CaseResult, Scenario

RAW_LIMIT = 1.1
UVLOOP_LIMIT = 0.9


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    raw = results[0].ratio(WAWO.name, RAW.name, "cpu_us")
    uvloop = results[0].ratio(WAWO.name, UVLOOP.name, "cpu_us")
    return [
        Bar(f"CPU of wawo ≤ {RAW_LIMIT} x raw C", raw, RAW_LIMIT),
        Bar(f"CPU of wawo ≤ {UVLOOP_LIMIT} x uvloop", uvloop, UVLOOP_LIMIT),
    ]


SCENARIO = Scenario(
    name="pipeline",
    title="64 B, 16 messages in flight on each connection",
    cases=[Case("100 connections", {"connections": 100, "depth": 16, "size": 64}, EVERYBODY)],
    bars=bars,
)
