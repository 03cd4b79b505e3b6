"""Files: what a gigabyte costs, and whether a hundred slow downloads are felt by who wants something small."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from bench.harness import build, stats
from bench.harness.children import Child, Server
from bench.harness.contenders import EVERYBODY, RAW, WAWO, Contender
from bench.harness.errors import BenchError
from bench.harness.machine import cpu_seconds, memory_bytes, peak_memory_bytes
from bench.harness.measure import Bar, Bench, Case, CaseResult, Column, Sample, Scenario

HERE = Path(__file__).resolve().parent.parent
MIB = 1 << 20
FILE_MIB = 256
DOWNLOADS = 4  # one after the other: a gigabyte
SLOW = 100
SLOW_RATE = MIB  # bytes a second
PING = {"connections": 1, "depth": 1, "size": 7, "head": "45"}  # E and seven bytes more
CPU_LIMIT = 1.1
MEMORY_LIMIT_MIB = 4.0
PING_LIMIT = 2.0
PATIENCE_SECONDS = 60.0


@cache
def file_of_the_bench(mib: int) -> Path:
    """A file on the disk where temporary files are; removed when the bench ends."""
    folder = tempfile.mkdtemp(prefix="wawo-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, "file")
    block = bytes(range(256)) * (MIB // 256)
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(block)
    return path


def file_mib(bench: Bench) -> int:
    return max(1, round(FILE_MIB * bench.settings.scale))


def start(bench: Bench, contender: Contender) -> Server:
    path = str(file_of_the_bench(file_mib(bench)))
    if contender.base == "raw":
        return Server([str(build.build("files")), "--file", path], bench.cores.server)
    script = str(HERE / "rivals" / "files.py")
    return Server([bench.python, script, "--loop", contender.base, "--file", path], bench.cores.server)


def downloader(bench: Bench, server: Server, *numbers: int) -> Child:
    words = [sys.executable, str(HERE / "harness" / "download.py"), str(server.port), *map(str, numbers)]
    return Child(words, bench.cores.load, stdin=True)


def measure_gigabyte(bench: Bench, case: Case, contender: Contender) -> Sample:
    size = file_mib(bench)
    total = DOWNLOADS * size
    with start(bench, contender) as server:
        with downloader(bench, server, 1, min(16, size) * MIB) as aging:
            aging.line(PATIENCE_SECONDS)
        before, cpu, began = memory_bytes(server.pid), cpu_seconds(server.pid), time.perf_counter()
        with downloader(bench, server, DOWNLOADS, size * MIB) as child:
            got = int(child.line(PATIENCE_SECONDS)) / MIB
        took, cpu = time.perf_counter() - began, cpu_seconds(server.pid) - cpu
        grown = peak_memory_bytes(server.pid) - before
    return {
        "per_second": got / took,
        "cpu_us": cpu * 1e6 / total,
        "server_busy": cpu / took,
        "load_busy": 1.0,
        "errors": int(got != total),
        "grown_mib": grown / MIB,
    }


def measure_ping(bench: Bench, case: Case, contender: Contender) -> Sample:
    with start(bench, contender) as server:
        bench.age(case, server)
        alone = bench.run_load(case, server)
        with downloader(bench, server, case.counts["slow"], file_mib(bench) * MIB, SLOW_RATE) as slow:
            if slow.line(PATIENCE_SECONDS) != "READY":
                raise BenchError(f"{case.counts['slow']} downloads could not be begun")
            beside = bench.run_load(case, server)
            began = time.perf_counter()
            got = int(slow.finish(PATIENCE_SECONDS).split()[-1])
    seconds = bench.settings.seconds + bench.settings.warmup
    return {
        **beside,
        "errors": alone["errors"] + beside["errors"],
        "server_waited": max(alone["server_waited"], beside["server_waited"]),
        "load_waited": max(alone["load_waited"], beside["load_waited"]),
        "p99_alone_us": alone["p99_us"],
        "p99_times": stats.over(beside["p99_us"], alone["p99_us"]),
        "slow_mib": got / MIB / (seconds + time.perf_counter() - began),
        "alone": alone,
    }


def bars(results: Sequence[CaseResult]) -> list[Bar]:
    gigabyte, ping = results
    return [
        Bar(f"CPU of wawo ≤ {CPU_LIMIT} x raw C", gigabyte.ratio(WAWO.name, RAW.name, "cpu_us"), CPU_LIMIT),
        Bar("memory of wawo beyond the start, MiB", gigabyte.median(WAWO.name, "grown_mib"), MEMORY_LIMIT_MIB),
        Bar(
            f"p99 of wawo beside {SLOW} downloads ≤ {PING_LIMIT} x alone",
            ping.median(WAWO.name, "p99_times"),
            PING_LIMIT,
        ),
    ]


SCENARIO = Scenario(
    name="sendfile",
    title=f"files of {FILE_MIB} MiB that are in memory",
    cases=[
        Case(
            f"{DOWNLOADS} downloads one after the other, in MiB instead of messages",
            {},
            EVERYBODY,
            columns=(Column("MiB\ngrown", "grown_mib", "{:.1f}"),),
            measure=measure_gigabyte,
        ),
        Case(
            "8 B, one message in flight on one connection, beside {slow} downloads at 1 MiB/s each",
            PING,
            EVERYBODY,
            columns=(Column("p99 µs\nalone", "p99_alone_us", "{:.0f}"), Column("p99\nx alone", "p99_times")),
            counts={"slow": SLOW},
            measure=measure_ping,
        ),
    ],
    bars=bars,
)
