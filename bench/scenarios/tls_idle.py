"""Silent TLS connections: what each holds in user memory once its handshake and one echo are over."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import UVLOOP, WAWO
from bench.harness.measure import Bar, Case, CaseResult, Column, Scenario
from bench.harness.secure import SECURE, measure_idle

IDLE = 2000
UVLOOP_LIMIT = 0.5


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    value = results[0].ratio(WAWO.name, UVLOOP.name, "bytes_per_connection")
    return [Bar(f"user memory of wawo for each ≤ {UVLOOP_LIMIT} x uvloop", value, UVLOOP_LIMIT)]


SCENARIO = Scenario(
    name="tls_idle",
    title=f"{IDLE:,} silent TLS connections",
    cases=[
        Case(
            "{silent:,} silent ones; the figures are those of {connections} active ones before",
            {"connections": 50, "size": 64},
            SECURE,
            columns=(Column("user B\nper conn", "bytes_per_connection", "{:,.0f}"),),
            counts={"silent": IDLE},
            measure=measure_idle,
        )
    ],
    bars=bars,
)
