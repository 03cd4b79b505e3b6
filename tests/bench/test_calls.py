"""Counting the system calls of a process that runs."""

from __future__ import annotations

import shutil
import subprocess
import sys

import benches  # noqa: F401
import pytest

from bench.harness.calls import Calls, read_summary

SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.465312          71      6475         1 io_uring_enter
 30.00    0.011167           9      1131           close
 10.00    0.005490         171        32           poll
------ ----------- ----------- --------- --------- ----------------
100.00    0.481969          63      7638         1 total
"""


def test_a_summary_is_read() -> None:
    assert read_summary(SUMMARY) == 6475 + 32
    assert read_summary("") is None


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_calls_are_counted_while_a_process_runs() -> None:
    program = "import os, sys\nos.write(1, b'!')\nfor line in sys.stdin:\n    os.write(1, b'.' * 10)"
    child = subprocess.Popen([sys.executable, "-u", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.read(1) == b"!"  # or what Python does to start would be counted
        with Calls(child.pid) as calls:
            for _ in range(5):
                child.stdin.write(b"\n")
                child.stdin.flush()
                assert len(child.stdout.read(10)) == 10
        if calls.count is None:
            pytest.skip("nobody may trace here")
        assert 8 <= calls.count <= 30  # strace may miss how the first begins, and how the last ends
    finally:
        child.kill()
        child.communicate()


def test_without_strace_there_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with Calls(1) as calls:
        pass
    assert calls.count is None
