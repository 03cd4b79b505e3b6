"""Runs an example as people start it: a process of its own, in another folder."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from peers import bounded
from tell import python, tell

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DEADLINE_S = float(os.environ.get("WAWO_TEST_DEADLINE", "25"))


def command(name: str, *words: str) -> list[str]:
    return python(str(EXAMPLES / name), *words, options=("-X", "dev", "-W", "error"))


def run(name: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(name, *words), cwd=cwd, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


@contextlib.contextmanager
def started(name: str, *words: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """The example in the background; ended at the end, and after the deadline in any case."""
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command(name, *words), cwd=cwd, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child,
        bounded(child, DEADLINE_S),
    ):
        yield child


@contextlib.contextmanager
def server(*words: str, cwd: Path, name: str = "echo_server.py") -> Iterator[tuple[subprocess.Popen[str], str]]:
    with started(name, "--port", "0", *words, cwd=cwd) as child:
        assert child.stdout is not None
        line = child.stdout.readline()
        found = re.fullmatch(r"listening on 127\.0\.0\.1 port (\d+)\n", line)
        if found is None:
            child.kill()
            pytest.fail(f"the server said {line!r}: {child.stderr.read() if child.stderr else ''}")
        yield child, found[1]


def interrupt(child: subprocess.Popen[str]) -> str:
    """Ctrl-C; what it said after that. It must end well and say nothing on stderr."""
    tell(child, signal.SIGINT)
    out, err = child.communicate(timeout=DEADLINE_S)
    assert (child.returncode, err) == (0, "")
    return out
