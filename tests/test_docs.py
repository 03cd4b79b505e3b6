"""What the pages say is true as far as a machine can tell: files, names and code in them exist and work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wawo
from wawo import cli
from wawo.listener import PARAMETERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("bench/*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")])
DEADLINE_S = float(os.environ.get("WAWO_TEST_DEADLINE", "25"))

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
SUFFIX = re.compile(r"\.(c|cfg|h|json|md|pxd|py|pyi|pyx|sh|supp|toml|yaml|yml)$")
# Short forms that the pages use: `net/conn.c`, `_core/_native.pyx`, `support/harness.h`.
SHORT = ("wawo", "wawo/_core", "tests/c")
# What a build or a run makes, not the repository.
MADE = re.compile(r"^(build|\.ci-venv|\.venv)/|^result\.json$")
FLOORS = ("base", "mem", "io", "proto", "net")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def words(page: Path) -> Iterator[str]:
    """The words of what stands in backticks, outside blocks of code."""
    for code in CODE.findall(prose(page)):
        yield from (word.strip(".,;:()'\"") or word for word in code.split())


def is_path(word: str) -> bool:
    if not re.fullmatch(r"[\w.*/-]+", word) or MADE.search(word):
        return False
    if "/" not in word:
        return SUFFIX.search(word) is not None
    top = word.split("/")[0]
    return SUFFIX.search(word) is not None or word.endswith("/") or (ROOT / top).is_dir() or top in FLOORS


def exists(word: str, page: Path) -> bool:
    places = [ROOT, page.parent, *(ROOT / short for short in SHORT)]
    if any(True for place in places for _ in place.glob(word.rstrip("/"))):
        return True
    return "/" not in word and any(True for short in SHORT for _ in (ROOT / short).rglob(word))


def sources(*patterns: str) -> str:
    found = (path for pattern in patterns for path in sorted((ROOT / "wawo").rglob(pattern)))
    return "\n".join(path.read_text(encoding="utf-8") for path in found)


def python_blocks(page: Path) -> list[str]:
    return [code for language, code in FENCE.findall(page.read_text(encoding="utf-8")) if language == "python"]


README = ROOT / "README.md"
BLOCKS = list(enumerate(python_blocks(README), 1))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_files_exist(page: Path) -> None:
    programs = set(re.findall(r"<!-- file: ([\w.]+)", page.read_text(encoding="utf-8")))  # the reader writes these
    assert [word for word in words(page) if is_path(word) and not exists(word, page) and word not in programs] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)\)", prose(page))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_c_names_exist(page: Path) -> None:
    known = set(re.findall(r"\w+", sources("*.c", "*.h")))
    used = {name for code in CODE.findall(prose(page)) for name in re.findall(r"\b(?:wawo|WAWO)_[A-Za-z]\w+\b", code)}
    environment = {
        "WAWO_BUILD",
        "WAWO_BACKEND",
        "WAWO_ENGINE",
        "WAWO_TLS",
        "WAWO_NO_EXTENSION",
        "WAWO_LONG",
        "WAWO_PYTHON",
        "WAWO_DEBUG",
    }
    assert sorted(name for name in used - known - environment if not name.endswith("_")) == []


def test_functions_of_the_architecture_exist() -> None:
    known = set(re.findall(r"\w+", sources("*.c", "*.h", "*.py", "*.pyx", "*.pxd")))
    used = {word for word in words(ROOT / "ARCHITECTURE.md") if re.fullmatch(r"[a-z]\w*_\w+", word)}
    assert sorted(used - known) == []


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_public_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = []
    for dotted in set(re.findall(r"(?<![\w./-])wawo((?:\.[A-Za-z]\w*)+)", text)):
        if SUFFIX.search(f"wawo{dotted}"):
            continue  # the header
        found: object = wawo
        for name in dotted.split(".")[1:]:
            found = getattr(found, name, None)
        if found is None:
            missing.append(f"wawo{dotted}")
    assert missing == []


def test_every_callback_is_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    rows = [f"| `{name}({', '.join(given)})` |" for name, given in PARAMETERS.items()]
    assert [row for row in rows if row not in text] == []


@pytest.mark.parametrize(("number", "code"), BLOCKS)
def test_code_of_the_readme_compiles(number: int, code: str) -> None:
    compile(code, f"README.md, block {number}", "exec", dont_inherit=True)


class Echo(wawo.Listener):
    def OnReceive(self, conn: wawo.Connection, data: bytes) -> None:
        conn.send(data)


@pytest.mark.parametrize(("number", "code"), [(n, code) for n, code in BLOCKS if "import wawo" in code])
def test_code_of_the_readme_runs(number: int, code: str, tmp_path: Path) -> None:
    """As it stands, but that servers take any port and stop soon, and clients go to an echo server of this test."""
    with wawo.TcpServer(Echo()) as echo:
        echo.start("127.0.0.1", 0)
        code = code.replace('"0.0.0.0", 5555', '"127.0.0.1", 0').replace("server.wait()", "server.wait(0.05)")
        here = '"127.0.0.1", 5555'
        assert "5555" not in code.replace(here, "")  # a free port may hold these digits too
        code = code.replace(here, f'"127.0.0.1", {echo.address[1]}')
        command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_commands_of_the_readme_exist(capsys: pytest.CaptureFixture[str]) -> None:
    commands = set(re.findall(r"`wawo (\w+)", README.read_text(encoding="utf-8")))
    assert commands >= {"info", "demo", "echo"}
    for command in sorted(commands):
        with pytest.raises(SystemExit) as end:
            cli.main([command, "--help"])
        assert end.value.code == 0, command
    assert capsys.readouterr().err == ""
