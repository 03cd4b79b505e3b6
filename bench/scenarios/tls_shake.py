"""TLS handshakes: P-256, no resumption, one echo on each connection, a goodbye from both sides."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.measure import Bar, Case, CaseResult, Scenario
from bench.harness.secure import SECURE, bar, measure

UVLOOP_LIMIT = 0.67  # 1.5 times as many handshakes in a second of CPU: the load has as much to compute as the server
RAW_LIMIT = 1.1


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    return [bar(results[0], "CPU of wawo", "cpu_us", UVLOOP_LIMIT, RAW_LIMIT)]


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
