"""One message at a time, small to large: what copying costs."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import EVERYBODY, RAW, UVLOOP, WAWO, Contender
from bench.harness.measure import Bar, Case, CaseResult, Scenario

SIZES = {64: "64 B", 1 << 10: "1 KiB", 1 << 14: "16 KiB", 1 << 16: "64 KiB", 1 << 18: "256 KiB", 1 << 20: "1 MiB"}
WAWO_VIEW = Contender("wawo", "wawo view", ("--view",))
BYTES_LIMIT = 1.0
VIEW_LIMIT = 1.1
LARGE = (1 << 16, 1 << 18, 1 << 20)


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    found = []
    for size, result in zip(SIZES, results, strict=True):
        if size in LARGE:
            with_bytes = result.ratio(WAWO.name, UVLOOP.name, "cpu_us")
            found.append(Bar(f"{SIZES[size]}: CPU of wawo with bytes ≤ uvloop", with_bytes, BYTES_LIMIT))
        with_view = result.ratio(WAWO_VIEW.name, RAW.name, "cpu_us")
        found.append(Bar(f"{SIZES[size]}: CPU of wawo with view=True ≤ {VIEW_LIMIT} x raw C", with_view, VIEW_LIMIT))
    return found


SCENARIO = Scenario(
    name="sizes",
    title="64 B to 1 MiB, one message in flight on each of 10 connections",
    cases=[
        Case(text, {"connections": 10, "depth": 1, "size": size}, (*EVERYBODY, WAWO_VIEW))
        for size, text in SIZES.items()
    ],
    bars=bars,
)
