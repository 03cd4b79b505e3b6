"""Silent TLS connections: what each holds in user memory once its handshake and one echo are over.

Raw C gives its record buffers back after each call here: what is left is OpenSSL's session, which all must have.
"""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.measure import Bar, Case, CaseResult, Column, Scenario
from bench.harness.secure import SECURE, bar, measure_idle

IDLE = 2000
UVLOOP_LIMIT = 0.5
RAW_LIMIT = 1.1


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    return [bar(results[0], "user memory of wawo for each", "bytes_per_connection", UVLOOP_LIMIT, RAW_LIMIT)]


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
