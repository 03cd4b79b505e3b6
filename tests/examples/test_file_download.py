"""The server of files and its client, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "file_download.py"
DEADLINE_S = float(os.environ.get("WAWO_TEST_DEADLINE", "25"))
COMMAND = [sys.executable, "-X", "dev", "-W", "error", str(EXAMPLE)]


@contextlib.contextmanager
def serving(folder: Path, cwd: Path) -> Iterator[str]:
    """The server of a folder; Ctrl-C ends it, without a word on stderr."""
    words = [*COMMAND, "--port", "0", "serve", str(folder)]
    with subprocess.Popen(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        timer = threading.Timer(DEADLINE_S, child.kill)
        timer.start()
        try:
            assert child.stdout is not None
            found = re.fullmatch(r"listening on 127\.0\.0\.1 port (\d+)\n", child.stdout.readline())
            assert found is not None
            yield found[1]
            child.send_signal(signal.SIGINT)
            assert (*child.communicate(timeout=DEADLINE_S), child.returncode) == ("", "", 0)
        finally:
            timer.cancel()
            timer.join()
            child.kill()


def get(port: str, name: str, to: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, "--port", port, "get", name, to]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


@pytest.mark.parametrize("size", [0, 1, 5_000_001])
def test_a_file_is_fetched(size: int, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    content = os.urandom(size)
    (folder / "ä file").write_bytes(content)
    with serving(folder, tmp_path) as port:
        done = get(port, "ä file", "copy", tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{size} bytes in copy\n", "")
        assert (tmp_path / "copy").read_bytes() == content


def test_what_cannot_be_fetched(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    with serving(folder, tmp_path) as port:
        for name, why in (("missing", "No such file"), ("inner", "Is a directory"), ("../secret", "No such file")):
            done = get(port, name, "copy", tmp_path)
            assert (done.returncode, done.stderr) == (1, "")
            assert done.stdout.startswith("failed: ")
            assert why in done.stdout


def test_nobody_serves(tmp_path: Path) -> None:
    done = get("1", "file", "copy", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr
