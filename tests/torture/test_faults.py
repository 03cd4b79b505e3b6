"""Faults of the real kernel's calls: every byte arrives, or its connection ends; nothing hangs, nothing is left.

strace changes the answers of the bare system calls, by number (n-th and every m-th); the shim (``shim.c``) makes them
fail or do less, at rates, from a seed, and is the one that cuts reads and writes short. The requests of io_uring are no
calls: strace sees those that bring them in, the shim also what is in the ring by then.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from backends import BACKENDS, excuse
from exchange import Exchange, Victim, exchanges, run_all

SIZE = 150_000
ROUNDS = 4
LONG = bool(os.environ.get("WAWO_LONG"))
STRICT = bool(os.environ.get("WAWO_FAULTS"))  # the lane: what is missing is a failure
CORE = Path(__file__).resolve().parents[2] / "wawo" / "_core"
COMPILER = next((name for name in ("gcc", "clang", "cc") if shutil.which(name)), "")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def need(tool: str) -> None:
    if not shutil.which(tool):
        (pytest.fail if STRICT else pytest.skip)(f"{tool or 'a C compiler'} is not installed")


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need(COMPILER)
    made = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    flags = ["-O1", "-Wall", "-shared", "-fPIC", f"-I{CORE}"]
    subprocess.run([COMPILER, *flags, str(source), "-o", str(made), "-ldl"], check=True)
    return made


def all_arrives(ports: dict[str, int], seed: int, rounds: int) -> None:
    for number in range(seed, seed + rounds):
        made = exchanges(ports, number, SIZE)
        run_all(made, number)
        for one in made:
            one.check(whole=True)


# What must have been met, or the shim does not see the calls any more.
SEEN = {"epoll": {"recv", "send", "epoll_wait"}, "poll": {"recv", "send", "poll"}}
SEEN["uring"] = {"enter", "request", "send"}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", range(1, 60 if LONG else 8))
def test_calls_fail_or_do_less(backend: str, seed: int, shim: Path, tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    env = {**os.environ, "LD_PRELOAD": str(shim), "WAWO_SHIM_SEED": str(seed), "WAWO_SHIM_COUNTS": str(counts)}
    left = Victim(backend, tmp_path, env=env).play(lambda ports: all_arrives(ports, seed, ROUNDS))
    assert not any(left.values()), left
    faults = {name: int(n) for name, n in (line.split() for line in counts.read_text().splitlines())}
    assert all(faults[name] > 0 for name in SEEN[backend]), faults


# call:error:when, as strace says it; each thread counts its own calls
PASSING = {
    "interrupted": "recvfrom:EINTR:2+3 sendto:EINTR:1+3 sendfile:EINTR:1+2 accept4:EINTR:1+2 epoll_wait:EINTR:2+3",
    "would-block": "recvfrom:EAGAIN:2+3 sendto:EAGAIN:1+3 sendfile:EAGAIN:1+2 accept4:EAGAIN:1+2",
    "no-buffers": "recvfrom:ENOBUFS:3+7 sendto:ENOBUFS:1+4 sendfile:ENOBUFS:1+3 accept4:ECONNABORTED:1+2",
    "no-descriptors": "accept4:EMFILE:1+2 sendto:EINTR:1+7",
    "no-memory": "accept4:ENOMEM:2+3 epoll_wait:EINTR:1+2",
}
PASSING_URING = {
    "uring-interrupted": "io_uring_enter:EINTR:2+3 sendto:EINTR:1+3 sendfile:EINTR:1+2 accept4:EINTR:1+2",
    "uring-no-memory": "io_uring_enter:EAGAIN:2+3 sendfile:ENOBUFS:1+3 accept4:ENOMEM:2+3 poll:ENOMEM:1+2",
    "uring-answers-first": "io_uring_enter:EBUSY:1+2 sendto:EAGAIN:1+3 accept4:ECONNABORTED:1+2",
    "uring-not-registered": "io_uring_register:EINVAL:2+3 accept4:EMFILE:1+2",
}
BREAKING = {
    "broken-pipe": "sendto:EPIPE:9+11",
    "reset": "recvfrom:ECONNRESET:11+17",
    "no-room-in-the-poller": "epoll_ctl:ENOSPC:9+7",
    "refused": "connect:ECONNREFUSED:1+2",
}
BREAKING_URING = {
    "uring-broken-pipe": "sendto:EPIPE:3+5",
    "uring-refused": "connect:ECONNREFUSED:1+2",
}


def cases(backends: dict[str, dict[str, str]]) -> list[Any]:
    """The backend and the faults of each case, where they can be met."""
    made = []
    for backend, faults in backends.items():
        marks = [pytest.mark.skip(why)] if (why := excuse(backend)) else []
        made += [pytest.param(backend, rules, id=name, marks=marks) for name, rules in faults.items()]
    return made


def strace(faults: str, log: Path) -> list[str]:
    need("strace")
    rules = [fault.split(":") for fault in faults.split()]
    command = ["strace", "-f", "-qq", "-o", str(log), "-e", "trace=" + ",".join(call for call, _, _ in rules)]
    for call, error, when in rules:
        command += ["-e", f"inject={call}:error={error}:when={when}"]
    return command


def injected(log: Path) -> Counter[str]:
    return Counter(re.findall(r"(\w+)(?:\(| resumed>)[^\n]*\(INJECTED\)", log.read_text()))


@pytest.mark.parametrize(("backend", "faults"), cases({"epoll": PASSING, "uring": PASSING_URING}))
def test_what_passes_costs_no_byte(backend: str, faults: str, tmp_path: Path) -> None:
    log = tmp_path / "strace"
    victim = Victim(backend, tmp_path, strace(faults, log))
    left = victim.play(lambda ports: all_arrives(ports, 1, 2))
    assert not any(left.values()), left
    assert {rule.partition(":")[0] for rule in faults.split()} <= set(injected(log)), injected(log)


@pytest.mark.parametrize(("backend", "faults"), cases({"epoll": BREAKING, "uring": BREAKING_URING}))
def test_what_breaks_ends_a_connection_and_no_other(backend: str, faults: str, tmp_path: Path) -> None:
    log = tmp_path / "strace"
    ended: list[Exchange] = []

    def load(ports: dict[str, int]) -> None:
        ended.extend(exchanges(ports, 1, SIZE))
        run_all(ended, 1)
        for one in ended:
            one.check(whole=False)

    left = Victim(backend, tmp_path, strace(faults, log)).play(load)
    assert not any(left.values()), left
    assert sum(injected(log).values()) > 0
    whole = sum(one.error is None and len(one.got) == len(one.wanted) for one in ended)
    assert 0 < whole < len(ended), f"{whole} of {len(ended)} went well"


# The first ring is that of the probe; each loop makes another.
SETUP = {
    "uring-no-memory": ("io_uring_setup:ENOMEM:1", ("ValueError", None)),
    "uring-no-descriptors": ("io_uring_setup:EMFILE:2", ("OSError", "EMFILE")),
    "uring-forbidden": ("io_uring_setup:EPERM:3", ("PermissionError", "EPERM")),
    "uring-no-memory-for-buffers": ("io_uring_register:ENOMEM:2", ("OSError", "ENOMEM")),
}
TWO_STARTS = """
import errno, os, sys, wawo
def descriptors():
    return len(os.listdir("/proc/self/fd"))
before = descriptors()
for attempt in range(2):
    try:
        wawo.IoPool(2, backend="uring").close()
        print("works", None, descriptors() - before)
    except (OSError, ValueError) as error:
        print(type(error).__name__, errno.errorcode.get(getattr(error, "errno", 0)), descriptors() - before)
"""


@pytest.mark.skipif(bool(excuse("uring")), reason=excuse("uring"))
@pytest.mark.parametrize(("fault", "said"), SETUP.values(), ids=SETUP)
def test_a_ring_that_cannot_be_made_is_an_error_and_leaves_nothing(
    fault: str, said: tuple[str, str | None], tmp_path: Path
) -> None:
    command = [*strace(fault, tmp_path / "strace"), sys.executable, "-c", TWO_STARTS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [f"{said[0]} {said[1]} 0", "works None 0"], done.stderr
