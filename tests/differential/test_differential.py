"""Random scripts over two engines, which must tell the same. What is free to differ stands in support/differ/pairs.py.

``pytest tests/differential --scripts 2000 --script-seed 1``; a failure prints the seed and a script made small.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from differ import pairs, scripts
from differ.pairs import Engine, Pair, compare, script_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wawo import _core

NATIVE, PLAIN, PORTABLE = Engine("native", "epoll"), Engine("native", "poll"), Engine("portable", "epoll")
PAIRS = {"epoll-poll": (NATIVE, PLAIN), "native-portable": (NATIVE, PORTABLE)}
FEW = 40  # scripts, where nobody asks for more
CHUNK = 250
THREADS = 2  # pairs at a time

pytestmark = [
    pytest.mark.skipif(_core.ENGINE != "native", reason="compares the compiled engine with the portable one"),
    pytest.mark.slow,
]


def told(engines: tuple[Engine, Engine], folder: Path, seeds: range, stop: threading.Event) -> list[str]:
    """What is wrong with the first seed that disagrees."""
    pair = Pair(*engines, folder)
    try:
        for seed in seeds:
            if stop.is_set():
                break
            script = script_of(seed)
            found = pair.differences(script)
            if found:
                stop.set()
                small = pairs.smaller(script, lambda one: bool(pair.differences(one)))
                last = pair.differences(small) or ["agrees when it is run alone"]
                return [f"seed {seed}", *found, f"smaller: {json.dumps(small)}", *last]
    finally:
        pair.close()
    return []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each CHUNK scripts, so that none takes long."""
    if "chunk" not in metafunc.fixturenames:
        return
    count = metafunc.config.getoption("--scripts", default=None) or FEW
    chunks = []
    for name, engines in PAIRS.items():
        wanted = count if PORTABLE in engines else max(FEW, count // 5)  # the pollers differ in little
        chunks += [(name, number, min(CHUNK, wanted - number)) for number in range(0, wanted, CHUNK)]
    metafunc.parametrize("chunk", chunks, ids=[f"{name}-{number}" for name, number, _ in chunks])


@pytest.mark.timeout(240)
def test_random_scripts(chunk: tuple[str, int, int], request: pytest.FixtureRequest, tmp_path: Path) -> None:
    name, offset, count = chunk
    first = request.config.getoption("--script-seed", default=None)
    first = random.SystemRandom().randrange(1 << 32) if first is None else first + offset
    wrong: list[str] = []
    stop = threading.Event()

    def work(number: int) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            wrong.extend(told(PAIRS[name], folder, range(first + number, first + count, THREADS), stop))
        except BaseException as error:
            wrong.append(repr(error))
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, "\n".join([f"{name}, seeds from {first}", *wrong])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(NATIVE, PORTABLE, tmp_path_factory.mktemp("pair"))
    yield made
    made.close()


@settings(max_examples=25, deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False))
@pytest.mark.timeout(300)
def test_scripts_that_hypothesis_looks_for(pair: Pair, chance: random.Random) -> None:
    script = scripts.make(chance)
    assert pair.differences(script) == [], json.dumps(script)


def test_a_difference_is_seen() -> None:
    """The judge itself: each thing that may differ, and the freedoms."""
    script = {"steps": [["send", 0, [["E", 5]], 1, True]], "options": {}, "callbacks": {"OnReceive": "react"}}
    good: dict[str, Any] = {
        "told": {"peer 0": [[0, "OnAccept", True], [0, "OnReceive", "abcdE"]]},
        "peers": [["eof", "abcdE", False]],
        "stats": {"accepts": 1, "bytes_in": 5, "accept_pauses": 0},
        "taken": {"peer 0": 5},
    }

    def judged(**changes: object) -> list[str]:
        return list(compare(good, {**good, **changes}, script))

    assert judged() == []
    assert judged(told={"peer 0": good["told"]["peer 0"][:1]}) != []
    assert judged(told={**good["told"], "component": [[1, "OnShutdown", True]]}) != []
    assert judged(peers=[["eof", "abcd", False]]) != []
    assert judged(peers=[["reset", "abcdE", False]]) != []
    assert judged(stats={**good["stats"], "accepts": 2}) != []
    assert judged(taken={"peer 0": 4}) != []
    assert judged(failed="a reason") != []
    assert judged(stats={**good["stats"], "accept_pauses": 3}) == []
    assert judged(peers=[["reset", "abcdE", True]]) == []


def test_a_script_is_made_small() -> None:
    script = {"steps": [["a"], ["b"], ["c"], ["d"]]}
    small = pairs.smaller(script, lambda one: ["b"] in one["steps"] and ["d"] in one["steps"])
    assert small == {"steps": [["b"], ["d"]]}


def test_the_same_seed_makes_the_same_script() -> None:
    assert script_of(7) == script_of(7) != script_of(8)
