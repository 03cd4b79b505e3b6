"""Our own ways to the kernel beside each other: what io_uring saves."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness import stats
from bench.harness.calls import Calls
from bench.harness.contenders import WAWO, Contender
from bench.harness.measure import Bar, Bench, Case, CaseResult, Column, Sample, Scenario

URING = Contender("wawo", "wawo uring", ("--backend", "uring"))
LOADS = {
    "64 B, 100 connections": ({"connections": 100, "depth": 1, "size": 64}, 1.1),
    "64 B, 1,000 connections": ({"connections": 1000, "depth": 1, "size": 64}, 0.92),
    "64 B, 16 in flight, 100 connections": ({"connections": 100, "depth": 16, "size": 64}, 1.1),
    "64 KiB, 50 connections": ({"connections": 50, "depth": 1, "size": 1 << 16}, 1.1),
}
FEWER_CALLS = 1.5
COUNTED_SECONDS = 0.3


def measure(bench: Bench, case: Case, contender: Contender) -> Sample:
    """The calls are counted in a load of its own afterwards: counting makes each of them slow."""
    with bench.server(case, contender) as server:
        bench.age(case, server)
        sample = bench.run_load(case, server)
        with Calls(server.pid) as calls:
            counted = bench.run_load(case, server, seconds=min(COUNTED_SECONDS, bench.settings.seconds), warmup=0)
    return {
        **sample,
        "errors": sample["errors"] + counted["errors"],
        "calls": stats.over(calls.count, counted["messages"] + counted["connections"]),  # each had one to begin with
    }


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    found = []
    for (name, (_, limit)), result in zip(LOADS.items(), results, strict=True):
        cpu = result.ratio(URING.name, WAWO.name, "cpu_us")
        found.append(Bar(f"{name}: CPU of io_uring ≤ {limit} x epoll", cpu, limit))
        calls = result.ratio(WAWO.name, URING.name, "calls")
        text = f"{name}: system calls of epoll ≥ {FEWER_CALLS} x io_uring"
        found.append(Bar(text, calls, FEWER_CALLS, at_least=True))
    return found


SCENARIO = Scenario(
    name="backends",
    title="epoll and io_uring under the same server",
    cases=[
        Case(
            name,
            dict(load),
            (WAWO, URING),
            columns=(Column("calls\na message", "calls", "{:.3f}"),),
            measure=measure,
        )
        for name, (load, _) in LOADS.items()
    ],
    bars=bars,
)
