"""TLS, one message in flight on each connection: what a record costs beside the system calls."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import AIOFASTNET, RAW, WAWO
from bench.harness.measure import Bar, Case, CaseResult, Scenario
from bench.harness.secure import SECURE, bar, measure

SIZES = {64: "64 B", 1 << 14: "16 KiB"}
RAW_LIMITS = {64: 1.15, 1 << 14: 1.08}
AIOFASTNET_LIMIT = 1.0
UVLOOP_LIMIT = 0.3
NEAR_RAW = 1.1


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    found = []
    for (size, text), result in zip(SIZES.items(), results, strict=True):
        value = result.ratio(WAWO.name, RAW.name, "cpu_us")
        found.append(Bar(f"{text}: CPU of wawo ≤ {RAW_LIMITS[size]} x raw C", value, RAW_LIMITS[size]))
    value = results[0].ratio(WAWO.name, AIOFASTNET.name, "cpu_us")
    found.append(Bar(f"64 B: CPU of wawo ≤ {AIOFASTNET_LIMIT} x {AIOFASTNET.name}", value, AIOFASTNET_LIMIT))
    found.append(bar(results[0], "64 B: CPU of wawo", "cpu_us", UVLOOP_LIMIT, NEAR_RAW))
    return found


SCENARIO = Scenario(
    name="tls",
    title="TLS 1.3, one message in flight on each of 50 connections",
    cases=[Case(text, {"connections": 50, "size": size}, SECURE, measure=measure) for size, text in SIZES.items()],
    bars=bars,
)
