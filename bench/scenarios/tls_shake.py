"""TLS handshakes: P-256, no resumption, one echo on each connection, a goodbye from both sides."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import RAW, UVLOOP, WAWO
from bench.harness.measure import Bar, Case, CaseResult, Scenario
from bench.harness.secure import SECURE, measure

UVLOOP_LIMIT = 1.5
RAW_LIMIT = 1.25


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    rate = results[0].ratio(UVLOOP.name, WAWO.name, "cpu_us")  # the load has as much to compute as the server
    cpu = results[0].ratio(WAWO.name, RAW.name, "cpu_us")
    return [
        Bar(f"handshakes in a second of wawo's CPU ≥ {UVLOOP_LIMIT} x uvloop", rate, UVLOOP_LIMIT, at_least=True),
        Bar(f"CPU of wawo ≤ {RAW_LIMIT} x raw C", cpu, RAW_LIMIT),
    ]


SCENARIO = Scenario(
    name="tls_shake",
    title="TLS 1.3: connect, handshake, echo of 64 B, close; a message is one such cycle",
    cases=[
        Case(
            "{connections} in parallel",
            {"mode": "shake", "connections": 16, "size": 64},
            SECURE,
            measure=measure,
        )
    ],
    bars=bars,
)
