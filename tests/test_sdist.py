"""The source distribution holds what the repository holds, so that whoever has it can build, test and read it all."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import wawo

ROOT = Path(__file__).resolve().parents[1]
MADE = {"PKG-INFO", "setup.cfg"}
"""What setuptools adds, beside the folder of its egg-info."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def in_repository() -> list[str]:
    """The files of the checkout that git knows."""
    words = ["git", "ls-files", "--cached"]
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs the repository")
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    return [name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made in a copy of the repository, for setuptools writes beside the sources."""
    copy = tmp_path_factory.mktemp("copy")
    for name in in_repository():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("WAWO_", "PYTHON"))}
    command = [sys.executable, "setup.py", "-q", "sdist"]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy / "dist" / f"wawo-{wawo.__version__}.tar.gz"


def names_in(sdist: Path) -> set[str]:
    with tarfile.open(sdist) as file:
        found = {member.name.partition("/")[2] for member in file if member.isfile()}
    return {name for name in found if not name.startswith("wawo.egg-info/")}


def test_no_file_is_missing_and_none_too_many(sdist: Path) -> None:
    assert names_in(sdist) - MADE == set(in_repository())


def test_scripts_can_be_run(sdist: Path) -> None:
    with tarfile.open(sdist) as file:
        modes = {member.name.partition("/")[2]: member.mode for member in file}
    scripts = [name for name in in_repository() if os.access(ROOT / name, os.X_OK)]
    assert scripts
    assert [name for name in scripts if not modes[name] & 0o100] == []


def test_metadata(sdist: Path) -> None:
    with tarfile.open(sdist) as file:
        member = file.extractfile(f"wawo-{wawo.__version__}/PKG-INFO")
        assert member is not None
        text = member.read().decode()
    head, _, readme = text.partition("\n\n")
    assert f"\nVersion: {wawo.__version__}\n" in head
    assert "\nLicense-Expression: MIT\n" in head
    assert "\nTyping :: Typed" in head.replace("\nClassifier: ", "\n")
    assert re.search(r"^Requires-Python: >=3\.10$", head, re.M)
    assert readme == (ROOT / "README.md").read_text(encoding="utf-8")
