"""Many silent connections: what each holds in memory, and whether the active ones feel them."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness import stats
from bench.harness.children import Child, load_command, read_result
from bench.harness.contenders import EVERYBODY, WAWO, Contender
from bench.harness.errors import BenchError
from bench.harness.machine import memory_bytes
from bench.harness.measure import Bar, Bench, Case, CaseResult, Column, Sample, Scenario

IDLE = 15_000
BYTES_LIMIT = 512
SPEED_LIMIT = 0.9
OPEN_SECONDS = 60.0
CLOSE_SECONDS = 30.0


def measure(bench: Bench, case: Case, contender: Contender) -> Sample:
    """The active load alone first: it also makes the server allocate what it allocates only once."""
    silent = case.counts["silent"]
    with bench.server(case, contender) as server:
        bench.age(case, server)
        alone = bench.run_load(case, server)
        before = memory_bytes(server.pid)
        command = load_command(bench.load, server, {"mode": "idle", "connections": silent})
        with Child(command, bench.cores.load, stdin=True) as idle:
            ready = idle.line(OPEN_SECONDS)
            if ready != "READY":
                raise BenchError(f"{silent} connections could not be opened: {read_result(ready)['error_detail']}")
            grown = memory_bytes(server.pid) - before
            beside = bench.run_load(case, server)
            ended = read_result(idle.finish(CLOSE_SECONDS))
    return {
        **beside,
        "errors": alone["errors"] + beside["errors"] + ended["errors"],
        "server_waited": max(alone["server_waited"], beside["server_waited"]),
        "load_waited": max(alone["load_waited"], beside["load_waited"]),
        "bytes_per_connection": grown / silent,
        "speed_beside": stats.over(beside["per_second"], alone["per_second"]),
        "cpu_beside": stats.over(beside.get("cpu_us"), alone.get("cpu_us")),
        "alone": alone,
    }


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    size = results[0].median(WAWO.name, "bytes_per_connection")
    speed = results[0].median(WAWO.name, "speed_beside")
    return [
        Bar(f"wawo holds ≤ {BYTES_LIMIT} B of user memory for each idle connection", size, BYTES_LIMIT),
        Bar(f"messages/s of wawo beside them ≥ {SPEED_LIMIT} x without them", speed, SPEED_LIMIT, at_least=True),
    ]


SCENARIO = Scenario(
    name="idle",
    title=f"{IDLE:,} silent connections, 100 active ones with 64 B beside them",
    cases=[
        Case(
            "{connections} connections beside {silent:,} silent ones",
            {"connections": 100, "depth": 1, "size": 64},
            EVERYBODY,
            columns=(
                Column("user B\nper conn", "bytes_per_connection", "{:,.0f}"),
                Column("msgs/s\nx alone", "speed_beside"),
                Column("CPU\nx alone", "cpu_beside"),
            ),
            counts={"silent": IDLE},
            measure=measure,
        )
    ],
    bars=bars,
)
