"""Random scripts over two engines, which must tell the same. What is free to differ stands in support/differ/pairs.py.

``pytest tests/differential --scripts 2000 --script-seed 1``; a failure prints the seed and a script made small.

A script whose two ends disagree is run again (``by_chance``). One in CHUNK that agrees from then on, ten times, is told
at the end of the run, but fails it only with ``--every-difference``, as ``ci/test --long`` asks: a change must not wait
because a busy machine took a moment longer somewhere, and nothing that comes again is let through.
"""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from differ import pairs, scripts
from differ.pairs import BY_CHANCE, Engine, Pair, compare, script_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wawo import _core

NATIVE, PLAIN, PORTABLE = Engine("native", "epoll"), Engine("native", "poll"), Engine("portable", "epoll")
PAIRS = {"epoll-poll": (NATIVE, PLAIN), "native-portable": (NATIVE, PORTABLE)}
URING = Engine("native", "uring")
if any(name == URING.backend and works for name, works, *_ in _core.backends()):
    PAIRS["epoll-uring"] = NATIVE, URING
FEW = 40  # scripts, where nobody asks for more
CHUNK = 250
THREADS = 2  # pairs at a time

pytestmark = [
    pytest.mark.skipif(_core.ENGINE != "native", reason="compares the compiled engine with the portable one"),
    pytest.mark.slow,
]


class Seeds:
    """The scripts of one test, for several threads: the first that disagrees ends it."""

    def __init__(self, engines: tuple[Engine, Engine], folder: Path, chances: int) -> None:
        self.engines = engines
        self.folder = folder
        self.chances = chances
        """How many may disagree by chance."""
        self.stop = threading.Event()
        self.wrong: list[str] = []
        self.by_chance: list[str] = []

    def work(self, number: int, seeds: range) -> None:
        folder = self.folder / str(number)
        folder.mkdir()
        try:
            pair = Pair(*self.engines, folder)
            try:
                for seed in seeds:
                    if self.stop.is_set():
                        break
                    self._run(pair, seed)
            finally:
                pair.close()
        except BaseException as error:
            self.wrong.append(repr(error))
            raise

    def _run(self, pair: Pair, seed: int) -> None:
        script = script_of(seed)
        if URING in self.engines and script["framing"] in scripts.STREAMING:
            return  # it cuts a piece where one of its buffers ends
        found = pair.differences(script)
        if not found:
            return
        if len(self.by_chance) < self.chances and pairs.by_chance(found, lambda: pair.differences(script)):
            self.by_chance += [f"seed {seed}: {line}" for line in found]
            return
        self.stop.set()
        small = pairs.smaller(script, lambda one: bool(pair.differences(one)))
        last = pair.differences(small) or ["agrees when it is run alone"]
        self.wrong += [f"seed {seed}", *found, f"smaller: {json.dumps(small)}", *last]


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
def test_random_scripts(
    chunk: tuple[str, int, int],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    name, offset, count = chunk
    first = request.config.getoption("--script-seed", default=None)
    first = random.SystemRandom().randrange(1 << 32) if first is None else first + offset
    every = request.config.getoption("--every-difference", default=False)
    seeds = Seeds(PAIRS[name], tmp_path, chances=0 if every else 1)
    threads = [
        threading.Thread(target=seeds.work, args=(number, range(first + number, first + count, THREADS)))
        for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for line in seeds.by_chance:
        record_property(BY_CHANCE, f"{name}, {line}")
    assert not seeds.wrong, "\n".join([f"{name}, seeds from {first}", *seeds.wrong])


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
    found = pair.differences(script)
    assert not found or pairs.by_chance(found, lambda: pair.differences(script)), [found, json.dumps(script)]


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
    assert judged(taken={**good["taken"], "peer 1": 4}) != []
    assert judged(stats={**good["stats"], "accept_pauses": 3}) == []
    assert judged(peers=[["reset", "abcdE", True]]) == []
    good["peers"][0][2] = True  # or had to wait: what was sent to it is told all the same
    assert judged(taken={}) != []


def test_what_comes_again_is_no_chance() -> None:
    found = ["stats accepts: 1 | 2"]
    answers = [[], [], found, []]
    assert not pairs.by_chance(found, lambda: answers.pop(0))
    assert len(answers) == 1
    assert pairs.by_chance(found, list)
    assert not pairs.by_chance(["failed: the process ended with -11 | None"], list)


def test_a_script_is_made_small() -> None:
    script = {"steps": [["a"], ["b"], ["c"], ["d"]]}
    small = pairs.smaller(script, lambda one: ["b"] in one["steps"] and ["d"] in one["steps"])
    assert small == {"steps": [["b"], ["d"]]}


def test_the_same_seed_makes_the_same_script() -> None:
    assert script_of(7) == script_of(7) != script_of(8)
