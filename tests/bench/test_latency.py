"""The histogram of the load: percentiles of known numbers to better than 1 %."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import benches
import pytest

from bench.harness import build

PROGRAM = r"""
#include "latency.h"
#include <stdlib.h>

int main(int argc, char **argv)
{
    static struct latency all;
    unsigned long long from, to, step;

    for (int i = 1; i + 2 < argc; i += 3) {
        from = strtoull(argv[i], NULL, 10);
        to = strtoull(argv[i + 1], NULL, 10);
        step = strtoull(argv[i + 2], NULL, 10);
        for (unsigned long long ns = from; ns <= to; ns += step)
            latency_add(&all, ns);
    }
    printf("{\"total\": %llu", (unsigned long long)all.total);
    latency_report(&all);
    printf("}\n");
    return 0;
}
"""


@pytest.fixture(scope="module")
def histogram(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latency")
    source, program = folder / "latency.c", folder / "latency"
    source.write_text(PROGRAM)
    command = [build.compiler(), "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{benches.ROOT / 'bench' / 'raw'}"]
    subprocess.run([*command, "-o", str(program), str(source)], check=True, timeout=25)
    return program


def report(program: Path, *numbers: int) -> dict[str, float]:
    done = subprocess.run([str(program), *map(str, numbers)], capture_output=True, text=True, check=True, timeout=25)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_percentiles_of_one_to_a_million(histogram: Path) -> None:
    found = report(histogram, 1, 1_000_000, 1)
    assert found["total"] == 1_000_000
    assert found["p50_us"] == pytest.approx(500, rel=0.01)
    assert found["p90_us"] == pytest.approx(900, rel=0.01)
    assert found["p99_us"] == pytest.approx(990, rel=0.01)
    assert found["p999_us"] == pytest.approx(999, rel=0.01)
    assert found["max_us"] == 1000


def test_a_few_late_ones_are_in_the_tail_and_nowhere_else(histogram: Path) -> None:
    late = 3_000_000_000
    found = report(histogram, 1000, 1000 + 9989, 1, late, late + 9, 1)  # 9,990 quick ones, 10 of 3 s
    assert found["total"] == 10_000
    assert found["p50_us"] < 11
    assert found["p99_us"] < 11
    assert found["p999_us"] < 11
    assert found["max_us"] == pytest.approx(late / 1000, rel=0.001)
    worse = report(histogram, 1000, 1000 + 9979, 1, late, late + 19, 1)
    assert worse["p99_us"] < 11
    assert worse["p999_us"] == pytest.approx(late / 1000, rel=0.01)


def test_small_numbers_are_exact_and_none_is_zero(histogram: Path) -> None:
    assert report(histogram, 100, 100, 1)["p50_us"] == 0.1
    empty = report(histogram)
    assert (empty["total"], empty["p50_us"], empty["max_us"]) == (0, 0, 0)
