"""The types that people's checkers and editors see: right.py passes, each line of wrong.py is reported as it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PYTHON = "3.10"  # the oldest that wawo supports: its checkers know the least
DEADLINE_S = 120

Reports = set[tuple[str, int, str]]  # file, line, code


def tool(name: str) -> str:
    """The checker beside this Python, else on the path: that of the extra `dev`."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install '.[dev]'")
    return found


def expected(column: int) -> Reports:
    """What wrong.py asks for: column 0 is mypy's codes, 1 pyright's rules."""
    found = set()
    for number, line in enumerate((HERE / "wrong.py").read_text(encoding="utf-8").splitlines(), 1):
        mark = re.search(r"  # E: (\S+) (\S+)$", line)
        if mark is not None:
            found |= {("wrong.py", number, code) for code in mark[column + 1].split(",")}
    assert len(found) >= 35
    return found


def checked(command: list[str], cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1, done.stdout + done.stderr  # it found errors; else the tool failed
    return done.stdout


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Copies, so that the checkers look at the package which this Python imports and at no configuration of ours."""
    return [shutil.copy(HERE / name, tmp_path) for name in ("right.py", "wrong.py")]


@pytest.mark.timeout(DEADLINE_S)
def test_mypy(files: list[str], tmp_path: Path) -> None:
    options = ["--strict", "--python-version", PYTHON, "--python-executable", sys.executable]
    text = checked([tool("mypy"), *options, "--config-file=", "--no-pretty", *files], tmp_path)
    found = re.findall(r"^(?:.*/)?(\w+\.py):(\d+): error: .* \[([\w-]+)\]$", text, re.M)
    assert {(file, int(line), code) for file, line, code in found} == expected(0), text


@pytest.mark.timeout(DEADLINE_S)
def test_pyright(files: list[str], tmp_path: Path) -> None:
    config = {
        "include": files,
        "typeCheckingMode": "standard",
        "pythonVersion": PYTHON,
        "reportMissingModuleSource": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    words = ["--outputjson", "--pythonpath", sys.executable, "--project", str(tmp_path)]
    text = checked([tool("basedpyright"), *words], tmp_path)
    found = json.loads(text)["generalDiagnostics"]
    errors = [row for row in found if row["severity"] == "error"]
    reports = {(Path(row["file"]).name, row["range"]["start"]["line"] + 1, row.get("rule", "?")) for row in errors}
    assert reports == expected(1), text
