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
    scripts = re.findall(r"\bci/[\w.-]+", text)
    assert [name for name in scripts if not (ROOT / name).is_file()] == []
    assert "permissions:\n  contents: read\n" in text


# ---- hooks ----

HOOKS = re.findall(r"^      - id: (.+)$", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"), re.M)
NEEDED = ("pre-commit", "git", "ruff", "mypy", "basedpyright", "clang-format", "clang-tidy", "cython-lint")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of its own with all files of the checkout."""
    folder = tmp_path_factory.mktemp("hooks") / "repository"
    made = ("__pycache__", "*.so", "build", ".ci-venv", ".venv", ".*_cache", ".hypothesis", "*.egg-info")
    ignore = shutil.ignore_patterns(".git", *made)
    shutil.copytree(ROOT, folder, ignore=ignore)
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run([tool("git"), *words], cwd=folder, timeout=25, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.parametrize("hook", [name for name in HOOKS if name != "clang-tidy"])  # it costs a minute; ci/lint runs it
def test_a_hook_runs_offline(hook: str, repository: Path) -> None:
    """`pre-commit run --all-files`, without an index to fetch anything from."""
    folders = {str(Path(tool(name)).parent): None for name in NEEDED}
    environment = {
        "HOME": str(repository.parent),
        "PATH": ":".join([sysconfig.get_path("scripts"), *folders, "/usr/bin", "/bin"]),
        "PIP_NO_INDEX": "1",
        "https_proxy": "http://127.0.0.1:9",  # nothing listens there
    }
    command = [tool("pre-commit"), "run", hook, "--all-files", "--color", "never"]
    done = subprocess.run(
        command, cwd=repository, env=environment, capture_output=True, text=True, timeout=140, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\.Passed$", done.stdout, re.M), "it looked at no file"


def test_each_hook_is_local_and_fetches_nothing() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (.+)", text) == ["local"]
    assert set(re.findall(r"language: (.+)", text)) == {"system"}
    assert "additional_dependencies" not in text
