"""The tools around the code: each dependency has its reason, the hooks run offline, the wheels are those promised."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "pyproject.toml"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

PYTHONS = ("cp310", "cp311", "cp312", "cp313", "cp313t", "cp314", "cp314t")
PLATFORMS = {
    "linux": [
        f"{libc}_{cpu}" for libc in ("manylinux", "musllinux") for cpu in ("x86_64", "i686", "aarch64", "armv7l")
    ],
    "macos": ["macosx_x86_64", "macosx_arm64"],
    "windows": ["win32", "win_amd64", "win_arm64"],
}


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    return found


def dependencies() -> list[str]:
    """All of them: to build, to run, and of each extra."""
    table = project()
    lists = [table["build-system"]["requires"], table["project"]["dependencies"]]
    return [one for group in [*lists, *table["project"]["optional-dependencies"].values()] for one in group]


def tool(name: str) -> str:
    """A tool of an extra, beside this Python or on the path."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install '.[dev,wheels]'")
    return found


@pytest.mark.parametrize("dependency", sorted(set(dependencies())))
def test_each_dependency_has_its_reason_beside_it(dependency: str) -> None:
    lines = [line for line in PROJECT.read_text(encoding="utf-8").splitlines() if f'"{dependency}"' in line]
    assert lines
    for line in lines:
        found = re.fullmatch(r' +"[^"]+", *# (\S.*)', line)
        assert found is not None, line
        assert len(found[1].split()) >= 3, "a reason is a sentence"


def test_no_url_is_invented() -> None:
    assert "urls" not in project()["project"]


@pytest.mark.parametrize("system", PLATFORMS)
def test_a_wheel_for_each_platform(system: str, tmp_path: Path) -> None:
    """What cibuildwheel itself makes of the configuration."""
    command = [tool("cibuildwheel"), "--print-build-identifiers", "--platform", system, str(ROOT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=25, check=False)
    assert done.returncode == 0, done.stderr
    wanted = {f"{python}-{platform}" for python in PYTHONS for platform in PLATFORMS[system]}
    assert set(done.stdout.split()) == wanted


def test_the_workflow_builds_what_is_configured() -> None:
    text = (ROOT / ".github" / "workflows" / "wheels.yml").read_text(encoding="utf-8")
    rows = re.findall(r"system: (\w+), archs: ([\w ]+)", text)
    for system, table in project()["tool"]["cibuildwheel"].items():
        if system in PLATFORMS:
            assert sorted(" ".join(archs for name, archs in rows if name == system).split()) == sorted(table["archs"])
    (pinned,) = re.findall(r'pip install "(cibuildwheel[^"]+)"', text)
    assert pinned in dependencies()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_scripts_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    uses = re.findall(r"uses: (\S+)", text)
    assert uses
    assert [name for name in uses if not re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", name)] == []
    scripts = re.findall(r"\bci/[\w.]+", text)
    assert [name for name in scripts if not (ROOT / name).is_file()] == []
    assert "permissions:\n  contents: read\n" in text


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_hooks_run_offline(tmp_path: Path) -> None:
    """`pre-commit run --all-files` in a repository of its own, without an index to fetch anything from."""
    precommit, git = tool("pre-commit"), tool("git")
    for name in ("ruff", "mypy", "basedpyright", "clang-format", "clang-tidy", "cython-lint", "check-jsonschema"):
        tool(name)
    repository = tmp_path / "repository"
    ignore = shutil.ignore_patterns("__pycache__", "*.so", ".git", "build", ".ci-venv", ".*_cache", "*.egg-info")
    shutil.copytree(ROOT, repository, ignore=ignore)
    environment = {
        "HOME": str(tmp_path),
        "PATH": f"{sysconfig.get_path('scripts')}:{Path(tool('ruff')).parent}:{Path(precommit).parent}:/usr/bin:/bin",
        "PIP_NO_INDEX": "1",
        "https_proxy": "http://127.0.0.1:9",  # nothing listens there
        "SKIP": "clang-tidy",  # a minute that ci/lint spends anyway; its hook is checked below
    }

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=repository, env=environment, capture_output=True, text=True, timeout=100, check=False
        )

    for words in (["init", "-q"], ["add", "-A"]):
        assert run(git, *words).returncode == 0
    done = run(precommit, "run", "--all-files", "--color", "never")
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.findall(r"^([\w -]+?)\.+Passed$", done.stdout, re.M)
    hooks = re.findall(r"^        name: (.+)$", (ROOT / ".pre-commit-config.yaml").read_text(), re.M)
    assert sorted([*passed, "clang-tidy"]) == sorted(hooks)
    assert run(git, "diff", "--quiet").returncode == 0  # no hook rewrote anything
