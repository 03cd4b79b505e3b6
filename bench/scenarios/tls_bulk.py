"""TLS one way, to clients that finish the handshake and then throw the ciphertext away: sealing alone, on one loop and
on two, where nothing but the GIL could keep them from sealing at the same time."""

from __future__ import annotations

from collections.abc import Sequence

from bench.harness.contenders import AIOFASTNET, RAW, UVLOOP, WAWO, Contender
from bench.harness.measure import Bar, Case, CaseResult, Column, Scenario
from bench.harness.secure import measure_bulk

TWO_LOOPS = Contender("wawo", "wawo, 2 loops", ("--threads", "2"))
RAW_LIMIT = 1.08
BUSY_LIMIT = 1.6
GIL_LIMIT = 0.05


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    one, two = results
    wanted, waits = two.median(TWO_LOOPS.name, "server_wanted"), two.median(TWO_LOOPS.name, "gil_wait")
    return [
        Bar(f"CPU of wawo ≤ {RAW_LIMIT} x raw C", one.ratio(WAWO.name, RAW.name, "cpu_us"), RAW_LIMIT),
        Bar(f"two loops run, or wait for a core, ≥ {BUSY_LIMIT} x the wall's time", wanted, BUSY_LIMIT, at_least=True),
        Bar(f"of which they wait for the GIL ≤ {GIL_LIMIT}", waits, GIL_LIMIT),
    ]


SCENARIO = Scenario(
    name="tls_bulk",
    title="TLS 1.3, one way; a message is 16 KiB of the wire",
    cases=[
        Case(
            "{connections} connections, one loop",
            {"mode": "bulk", "connections": 2},
            (RAW, UVLOOP, WAWO, AIOFASTNET),
            measure=measure_bulk,
        ),
        Case(
            "{connections} connections, nothing pinned",
            {"mode": "bulk", "connections": 2},
            (WAWO, TWO_LOOPS),
            pinned=False,
            columns=(
                Column("cores\nwanted", "server_wanted", "{:.2f}"),
                Column("waits for\nthe GIL", "gil_wait", "{:.3f}"),
            ),
            measure=measure_bulk,
        ),
    ],
    bars=bars,
)
