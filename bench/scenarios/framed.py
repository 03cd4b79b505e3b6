"""Messages with a length in front, one call for each: framing in C beside framing in Python.

The asyncio loops answer each message with a write; `uvloop, joined`, gevent and trio join the answers to one read."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import EVERYBODY, RAW, UVLOOP, WAWO, Contender
from bench.harness.measure import Bar, Case, CaseResult, Scenario

RAW_LIMIT = 1.6
UVLOOP_TIMES = 10.0
UVLOOP_JOINED = Contender("uvloop", "uvloop, joined", ("--joined",))


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    rate = results[0].ratio(WAWO.name, UVLOOP.name, "per_second")
    cpu = results[0].ratio(WAWO.name, RAW.name, "cpu_us")
    return [
        Bar(f"messages/s of wawo ≥ {UVLOOP_TIMES:.0f} x uvloop with struct", rate, UVLOOP_TIMES, at_least=True),
        Bar(f"CPU of wawo ≤ {RAW_LIMIT} x raw C, which echoes the same bytes unframed", cpu, RAW_LIMIT),
    ]


SCENARIO = Scenario(
    name="framed",
    title="4-byte length and 64 B, 16 messages in flight on each connection",
    cases=[
        Case(
            "100 connections",
            {"connections": 100, "depth": 16, "size": 64, "header": 4},
            (*EVERYBODY, UVLOOP_JOINED),
            framing="length",
        )
    ],
    bars=bars,
)
