"""Large messages: what copying costs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import EVERYBODY, RAW, UVLOOP, WAWO, Contender
from bench.harness.measure import Bar, Case, CaseResult, Scenario

WAWO_VIEW = Contender("wawo", "wawo view", ("--view",))
BYTES_LIMIT = 1.0
VIEW_LIMIT = 1.1


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    with_bytes = results[0].ratio(WAWO.name, UVLOOP.name, "cpu_us")
    with_view = results[0].ratio(WAWO_VIEW.name, RAW.name, "cpu_us")
    return [
        Bar(f"CPU of wawo with bytes ≤ {BYTES_LIMIT} x uvloop", with_bytes, BYTES_LIMIT),
        Bar(f"CPU of wawo with view=True ≤ {VIEW_LIMIT} x raw C", with_view, VIEW_LIMIT),
    ]


SCENARIO = Scenario(
    name="large",
    title="64 KiB, one message in flight on each connection",
    cases=[Case("10 connections", {"connections": 10, "depth": 1, "size": 65536}, (*EVERYBODY, WAWO_VIEW))],
    bars=bars,
)
