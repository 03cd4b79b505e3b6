"""What the micro benches share: the built pieces, the counter of instructions, and a table at the end."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # at the end: for `bench`; wawo is the one that is installed

from bench.harness import build  # noqa: E402
from bench.harness.errors import BenchError  # noqa: E402

ROWS: list[tuple[str, float, str]] = []
COUNTED = 2000  # operations


@pytest.fixture(scope="session")
def pieces() -> ctypes.CDLL:
    """The pieces of the core as a library."""
    try:
        library = ctypes.CDLL(str(build.build_pieces()[0]))
    except BenchError as error:
        pytest.skip(str(error))
    library.pieces_name.restype = ctypes.c_char_p
    library.pieces_run.argtypes = [ctypes.c_int, ctypes.c_size_t]
    return library


def _perf(command: list[str]) -> int | None:
    done = subprocess.run(
        ["perf", "stat", "-x,", "-e", "instructions:u", *command], capture_output=True, text=True, timeout=60
    )
    found = re.search(r"^(\d+),[^,]*,instructions", done.stderr, re.MULTILINE)
    return int(found.group(1)) if found else None


def _callgrind(command: list[str]) -> int | None:
    words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run([*words, *command], capture_output=True, text=True, timeout=60)
    found = re.search(r"Collected : (\d+)", done.stderr)
    return int(found.group(1)) if found else None


COUNTERS: dict[str, Callable[[list[str]], int | None]] = {"perf": _perf, "valgrind": _callgrind}


@cache
def counter() -> str:
    """The first of the tools that counts on this machine; empty when none does."""
    for name, count in COUNTERS.items():
        if shutil.which(name) and count(["true"]) is not None:
            return name
    return ""


@pytest.fixture(scope="session")
def instructions() -> Callable[[str], float | None]:
    """instructions(piece): of one operation. Of so many more of them, which leaves out what the start costs."""

    def count(piece: str) -> float | None:
        if not counter():
            return None
        program = str(build.build_pieces()[1])
        some, more = (COUNTERS[counter()]([program, piece, str(times * COUNTED)]) for times in (1, 2))
        return None if some is None or more is None else (more - some) / COUNTED

    return count


@pytest.fixture
def note(benchmark: Any) -> Callable[[int, float | None], None]:
    """note(operations, instructions): writes down what one operation of this bench cost."""

    def write(operations: int, counted: float | None) -> None:
        nanoseconds = benchmark.stats.stats.median / operations * 1e9
        benchmark.extra_info.update(ns=nanoseconds, instructions=counted, counter=counter() or "none")
        ROWS.append((benchmark.name, nanoseconds, "" if counted is None else f"{counted:,.1f}"))

    return write


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ROWS:
        return
    by = (
        f"instructions, by {counter()}" if counter() else "instructions: missing, neither perf nor valgrind counts here"
    )
    terminalreporter.section("one operation")
    terminalreporter.write_line(f"{'':44}{'ns, median':>12}  {by}")
    for name, nanoseconds, counted in ROWS:
        terminalreporter.write_line(f"{name:44}{nanoseconds:12.2f}  {counted:>12}")
