"""Faults of the real kernel's calls: every byte arrives, or its connection ends; nothing hangs, nothing is left.

strace changes the answers of the bare system calls, by number (n-th and every m-th); the shim (``shim.c``) makes them
fail or do less, at rates, from a seed, and is the one that cuts reads and writes short.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from exchange import Exchange, Victim, exchanges, run_all

SIZE = 150_000
ROUNDS = 4
LONG = bool(os.environ.get("WAWO_LONG"))
STRICT = bool(os.environ.get("WAWO_FAULTS"))  # the lane: what is missing is a failure
COMPILER = next((name for name in ("gcc", "clang", "cc") if shutil.which(name)), "")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def need(tool: str) -> None:
    if not shutil.which(tool):
        (pytest.fail if STRICT else pytest.skip)(f"{tool or 'a C compiler'} is not installed")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need(COMPILER)
    made = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([COMPILER, "-O1", "-Wall", "-shared", "-fPIC", str(source), "-o", str(made), "-ldl"], check=True)
    return made


def all_arrives(ports: dict[str, int], seed: int, rounds: int) -> None:
    for number in range(seed, seed + rounds):
        made = exchanges(ports, number, SIZE)
        run_all(made, number)
        for one in made:
            one.check(whole=True)


@pytest.mark.parametrize("backend", ["epoll", "poll"])
@pytest.mark.parametrize("seed", range(1, 60 if LONG else 8))
def test_calls_fail_or_do_less(backend: str, seed: int, shim: Path, tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    env = {**os.environ, "LD_PRELOAD": str(shim), "WAWO_SHIM_SEED": str(seed), "WAWO_SHIM_COUNTS": str(counts)}
    left = Victim(backend, tmp_path, env=env).play(lambda ports: all_arrives(ports, seed, ROUNDS))
    assert not any(left.values()), left
    faults = {name: int(n) for name, n in (line.split() for line in counts.read_text().splitlines())}
    wait = "epoll_wait" if backend == "epoll" else "poll"
    assert all(faults[name] > 0 for name in ("recv", "send", wait)), faults


# call: error and when, as strace says it
PASSING = {
    "interrupted": "recvfrom:EINTR:2+3 sendto:EINTR:1+3 sendfile:EINTR:1+2 accept4:EINTR:1+2 epoll_wait:EINTR:2+3",
    "would-block": "recvfrom:EAGAIN:2+3 sendto:EAGAIN:1+3 sendfile:EAGAIN:1+2 accept4:EAGAIN:1+2",
    "no-buffers": "recvfrom:ENOBUFS:3+7 sendto:ENOBUFS:1+4 sendfile:ENOBUFS:1+3 accept4:ECONNABORTED:1+2",
    "no-descriptors": "accept4:EMFILE:1+2 sendto:EINTR:1+7",
    "no-memory": "accept4:ENOMEM:2+3 epoll_wait:EINTR:1+2",
}
BREAKING = {
    "broken-pipe": "sendto:EPIPE:9+11",
    "reset": "recvfrom:ECONNRESET:11+17",
    "no-room-in-the-poller": "epoll_ctl:ENOSPC:9+7",
    "refused": "connect:ECONNREFUSED:1+2",
}


def strace(faults: str, log: Path) -> list[str]:
    need("strace")
    rules = [fault.split(":") for fault in faults.split()]
    command = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=" + ",".join(call for call, _, _ in rules)]
    for call, error, when in rules:
        command += ["-e", f"inject={call}:error={error}:when={when}"]
    return command


def injected(log: Path) -> Counter[str]:
    return Counter(re.findall(r"(\w+)\([^\n]*\(INJECTED\)|resumed>[^\n]*\(INJECTED\)", log.read_text()))


@pytest.mark.parametrize("faults", PASSING.values(), ids=PASSING)
def test_what_passes_costs_no_byte(faults: str, tmp_path: Path) -> None:
    log = tmp_path / "strace"
    victim = Victim("epoll", tmp_path, strace(faults, log))
    left = victim.play(lambda ports: all_arrives(ports, 1, 2))
    assert not any(left.values()), left
    assert sum(injected(log).values()) >= len(faults.split()), injected(log)


@pytest.mark.parametrize("faults", BREAKING.values(), ids=BREAKING)
def test_what_breaks_ends_a_connection_and_no_other(faults: str, tmp_path: Path) -> None:
    log = tmp_path / "strace"
    ended: list[Exchange] = []

    def load(ports: dict[str, int]) -> None:
        ended.extend(exchanges(ports, 1, SIZE))
        run_all(ended, 1)
        for one in ended:
            one.check(whole=False)

    left = Victim("epoll", tmp_path, strace(faults, log)).play(load)
    assert not any(left.values()), left
    assert sum(injected(log).values()) > 0
    whole = sum(one.error is None and len(one.got) == len(one.wanted) for one in ended)
    assert 0 < whole < len(ended), f"{whole} of {len(ended)} went well"
