"""The server of files and its client, in processes of their own."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from systems import WINDOWS

from examples import interrupt, run, server


@contextlib.contextmanager
def serving(folder: Path, cwd: Path) -> Iterator[str]:
    """The server of a folder; Ctrl-C ends it, without a word."""
    with server("serve", str(folder), cwd=cwd, name="file_download.py") as (child, port):
        yield port
        assert interrupt(child) == ""


def get(port: str, name: str, to: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run("file_download.py", "--port", port, "get", name, to, cwd=cwd)


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
        missing = "WinError 2" if WINDOWS else "No such file"
        for name, why in (("missing", missing), ("inner", "Is a directory"), ("../secret", missing)):
            done = get(port, name, "copy", tmp_path)
            assert (done.returncode, done.stderr) == (1, "")
            assert done.stdout.startswith("failed: ")
            assert why in done.stdout


def test_nobody_serves(tmp_path: Path) -> None:
    done = get("1", "file", "copy", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr
