"""The machine: which cores to use, and what to write beside the figures."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cores:
    server: frozenset[int]
    load: frozenset[int]
    all: frozenset[int]


def cores() -> Cores:
    """The first usable core for the server, the last for the load."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(frozenset(usable[:1]), frozenset(usable[-1:]), frozenset(usable))


def _first_line(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).partition("\n")[0]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def describe(python: str, compiler: str) -> dict[str, object]:
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": _first_line([python, "-VV"]),
        "compiler": _first_line([compiler, "--version"]),
        "load_average": round(os.getloadavg()[0], 2),
    }


def memory_bytes(pid: int) -> int:
    """Resident memory. smaps_rollup walks the pages; the sum in /proc/PID/status may lag by some hundred KiB."""
    for name, key in (("smaps_rollup", "Rss:"), ("status", "VmRSS:")):
        try:
            text = Path(f"/proc/{pid}/{name}").read_text()
        except OSError:
            continue
        for line in text.splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    return 0


def peak_memory_bytes(pid: int) -> int:
    """The most that was ever resident."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process so far."""
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid() makes of a pid
