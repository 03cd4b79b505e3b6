"""Every framing beside LengthPrefixed: the same messages, each in its own wire form."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from bench.harness.contenders import RAW, Contender
from bench.harness.measure import Bar, Bench, Case, CaseResult, Sample, Scenario

SIZE = 64
LIMIT = 1.2
PREFIX = SIZE.to_bytes(4, "big")
HEADER_OF_FIELD = b"\x01\x02" + SIZE.to_bytes(2, "big")

# framing of bench/rivals/wawo_server.py: what stands around each message
WIRES = {
    "length": (PREFIX, b""),
    "field": (HEADER_OF_FIELD, b""),
    "varint": (bytes([SIZE]), b""),
    "pack": (SIZE.to_bytes(4, "little"), b""),
    "delimited": (b"", b"\r\n"),
    "between": (b"<<", b">>"),
    "fixed": (b"", b""),
    "packet": (b"^^" + PREFIX, b""),
    "pull": (PREFIX, b""),
    "protocol": (PREFIX, b""),
}
IN_PYTHON = "protocol"

CONTENDERS = {framing: Contender("wawo", f"wawo, {framing}", ("--framing", framing)) for framing in WIRES}


def measure(bench: Bench, case: Case, contender: Contender) -> Sample:
    framing = contender.extra[1] if contender.extra else "length"
    head, tail = WIRES[framing]
    load = dict(case.load)
    for name, around in (("head", head), ("tail", tail)):
        if around:
            load[name] = around.hex()
    own = dataclasses.replace(case, load=load)
    with bench.server(own, contender) as server:
        bench.age(own, server)
        return bench.run_load(own, server)


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    base = CONTENDERS["length"].name
    return [
        Bar(f"CPU of {framing} ≤ {LIMIT} x length", results[0].ratio(contender.name, base, "cpu_us"), LIMIT)
        for framing, contender in CONTENDERS.items()
        if framing not in ("length", IN_PYTHON)
    ]


SCENARIO = Scenario(
    name="framings",
    title=f"{SIZE} B messages in every framing, 16 in flight on each of 100 connections",
    cases=[
        Case(
            "raw C echoes the bytes unframed; pull fetches all that is there; protocol is written in Python",
            {"connections": 100, "depth": 16, "size": SIZE},
            (RAW, *CONTENDERS.values()),
            measure=measure,
        )
    ],
    bars=bars,
    default=("raw", "wawo"),
)
