"""Two engines side by side, each in a process of its own."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import wawo

from . import scripts
from .scripts import Script

SUPPORT = Path(__file__).resolve().parents[1]
SCRIPT_SECONDS = 90.0
FAILED = "failed"
BY_CHANCE = "by chance"
AGAIN = 10
ENDS = ("close", "abort", "shutdown_write", "disconnect")


class Engine(NamedTuple):
    name: str
    """native or portable"""
    backend: str


class Worker:
    """A process that runs scripts over one engine."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        places = [str(Path(wawo.__file__).parents[1]), str(SUPPORT)]
        environment = {**os.environ, "WAWO_ENGINE": engine.name, "PYTHONPATH": os.pathsep.join(places)}
        program = "from differ.worker import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", program, engine.backend, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=folder,
            env=environment,
            text=True,
        )

    def begin(self, script: Script) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(script) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        watch = threading.Timer(SCRIPT_SECONDS, self.process.kill)
        watch.start()
        try:
            line = self.process.stdout.readline()
        finally:
            watch.cancel()
        if not line:
            return {"failed": f"the process ended with {self.process.wait(10)}"}
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


class Pair:
    """Runs each script over both engines at the same time."""

    def __init__(self, first: Engine, second: Engine, folder: Path) -> None:
        self._engines = (first, second)
        self._folder = folder
        self._workers = [self._worker(number) for number in range(2)]

    def _worker(self, number: int) -> Worker:
        return Worker(self._engines[number], self._folder / f"{number}")

    def differences(self, script: Script) -> list[str]:
        """Where the two do not tell the same; empty: they agree."""
        for worker in self._workers:
            worker.begin(script)
        a, b = (worker.answer() for worker in self._workers)
        for number, answer in enumerate((a, b)):
            if "failed" in answer:  # what it left behind must not be met by the next script
                self._workers[number].kill()
                self._workers[number] = self._worker(number)
        return list(compare(a, b, script))

    def close(self) -> None:
        for worker in self._workers:
            worker.close()


def compare(a: dict[str, Any], b: dict[str, Any], script: Script) -> Any:
    """Each difference in a line."""
    if "failed" in a or "failed" in b:
        yield f"{FAILED}: {a.get('failed')} | {b.get('failed')}"
        return
    for key in sorted({*a["told"], *b["told"]}):
        one, other = (_drains_last(told.get(key, [])) for told in (a["told"], b["told"]))
        for number in range(max(len(one), len(other))):
            left, right = one[number : number + 1], other[number : number + 1]
            if left != right:
                yield f"{key}, entry {number}: {left} | {right}"
                break
    peers = list(zip(a["peers"], b["peers"], strict=False))
    for number, (left, right) in enumerate(peers):
        if _seen(left, right) != _seen(right, left):
            yield f"peer {number} saw {left} | {right}"
    free = _free_counters(peers, script)
    for name in a["stats"]:
        if name not in free and a["stats"][name] != b["stats"].get(name):
            yield f"stats {name}: {a['stats'][name]} | {b['stats'].get(name)}"
    for key in {**a["taken"], **b["taken"]} if not free & {"bytes_out", "OnSend"} else ():
        if a["taken"].get(key) != b["taken"].get(key):
            yield f"{key}, sum of OnSend: {a['taken'].get(key)} | {b['taken'].get(key)}"


def _drains_last(entries: list[Any]) -> list[Any]:
    """Freedom: when in a step the system has taken much output, and whether it had when the connection ended there."""
    found = []
    for _, group in itertools.groupby(entries, key=lambda entry: entry[0]):
        step = list(group)
        drains = [entry for entry in step if entry[1] == "OnDrain"]
        found += [entry for entry in step if entry[1] != "OnDrain"]
        if not any(entry[1] == "OnClose" for entry in step):
            found += drains[:1]
    return found


def _seen(one: list[Any], other: list[Any]) -> list[Any]:
    """How the stream ended for a peer, and its bytes. Freedoms: what a reset destroys on its way; whether input that
    nobody will read lies there when a connection is closed, which makes a reset of its FIN.
    """
    end, data, untidy = one
    reset = "reset" in (end, other[0])
    ended = "ended" if end in ("eof", "cut", "reset") and (untidy or other[2]) else end
    return [ended, None if reset else data]


def _free_counters(peers: list[tuple[list[Any], list[Any]]], script: Script) -> set[str]:
    """Counters that may differ, and "OnSend" when what it tells of may."""
    found = {"accept_pauses"}  # the system may have room for another peer a moment sooner
    if any(left[2] or right[2] for left, right in peers):
        found |= {"messages_in", "bytes_in"}  # how much was read of what nobody gets
    if any("reset" in (left[0], right[0]) for left, right in peers):
        found |= {"bytes_out", "messages_in", "bytes_in"}  # how much of what a reset destroys
    if script.get("tls"):
        found |= {"bytes_in", "bytes_out"}  # how plaintext is cut into records
    commands = {message[0] for step in script["steps"] if step[0] == "send" for message in step[2]}
    names = {step[2] for step in script["steps"] if step[0] == "outside"}
    if commands & {"L", "U"} or "too_big" in names:  # which is large where nothing cuts
        found |= {"receive_pauses", "bytes_out"}  # what the system takes at once is not waited for
    if script["options"].get("on_full") == "wait":
        found.add("rejected")  # at the end: those that the system had, or who were accepted and waited
    told = set(script["callbacks"].values())
    if commands & set(scripts.ENDING) or names & set(ENDS) or told & {*ENDS, "error", "raise"}:
        found |= {"OnSend", "bytes_out"}  # what is written while a connection ends is not told; what is left is dropped
    return found


def by_chance(found: list[str], again: Callable[[], list[str]]) -> bool:
    """Whether a disagreement was one of the moment: both came to the end of the script, and agree whenever they run it
    again. What the engines do differently, they do differently most times; what a busy system did between two steps
    is met once in ten thousand scripts. An end that is none (a crash, a hang) is never chance."""
    return not found[0].startswith(FAILED) and not any(again() for _ in range(AGAIN))


def smaller(script: Script, disagrees: Any, tries: int = 200) -> Script:
    """The same disagreement with fewer steps: each one that is not needed is left out."""
    at = 0
    while at < len(script["steps"]) and tries > 0:
        rest = script["steps"][:at] + script["steps"][at + 1 :]
        candidate = {**script, "steps": rest}
        tries -= 1
        if rest and disagrees(candidate):
            script = candidate
        else:
            at += 1
    return script


def script_of(seed: int) -> Script:
    return scripts.make(random.Random(seed))
