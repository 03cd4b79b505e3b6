"""Our own ways to the kernel beside each other: what io_uring saves."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import WAWO, Contender
from bench.harness.measure import Bar, Case, CaseResult, Scenario

URING = Contender("wawo", "wawo uring", ("--backend", "uring"))
LOADS = {
    "64 B, 100 connections": ({"connections": 100, "depth": 1, "size": 64}, 1.1),
    "64 B, 1,000 connections": ({"connections": 1000, "depth": 1, "size": 64}, 0.92),
    "64 B, 16 in flight, 100 connections": ({"connections": 100, "depth": 16, "size": 64}, 1.1),
    "64 KiB, 50 connections": ({"connections": 50, "depth": 1, "size": 1 << 16}, 1.1),
}


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    found = []
    for (name, (_, limit)), result in zip(LOADS.items(), results, strict=True):
        value = result.ratio(URING.name, WAWO.name, "cpu_us")
        found.append(Bar(f"{name}: CPU of io_uring ≤ {limit} x epoll", value, limit))
    return found


SCENARIO = Scenario(
    name="backends",
    title="epoll and io_uring under the same server",
    cases=[Case(name, dict(load), (WAWO, URING)) for name, (load, _) in LOADS.items()],
    bars=bars,
)
