"""What the build says when something is missing, and what WAWO_NO_EXTENSION=1 makes; pip is run as people run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import wawo

CHECKOUT = Path(__file__).resolve().parents[1]
HINT = ", or set WAWO_NO_EXTENSION=1 to install wawo with its slower pure-Python engine"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """What a build needs of the checkout, and nothing that another build has left there."""
    folder = tmp_path / "sources"
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    shutil.copytree(CHECKOUT / "wawo", folder / "wawo", ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(CHECKOUT / name, folder)
    return folder


def run(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """This interpreter where no compiler can be found, and no package index is asked."""
    nothing = cwd.parent / "empty"
    nothing.mkdir(exist_ok=True)
    unwanted = ("WAWO_", "CC", "CFLAGS", "PYTHONSAFEPATH")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    clean |= {"PATH": str(nothing), "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **environment}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=100, check=False)


def pip_wheel(sources: Path, target: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = ("-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", target, sources)
    return run(*words, cwd=sources.parent, **environment)


def said(done: subprocess.CompletedProcess[str]) -> Iterator[str]:
    """Our own sentences in the output of a build that failed."""
    assert done.returncode != 0
    for line in (done.stdout + done.stderr).splitlines():
        if line.strip().startswith("wawo: "):
            yield line.strip()


def test_without_a_compiler_one_sentence_says_what_to_do(sources: Path, tmp_path: Path) -> None:
    done = pip_wheel(sources, tmp_path / "wheels")
    (line,) = said(done)
    assert line.startswith("wawo: the C compiler '")
    assert line.endswith(f"' is missing: install the package gcc (and libc6-dev){HINT}")
    assert "copying" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("wheels/*"))


def test_without_a_compiler_when_the_extension_is_not_wanted(sources: Path, tmp_path: Path) -> None:
    done = pip_wheel(sources, tmp_path / "wheels", WAWO_NO_EXTENSION="1")
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("wheels/*")
    assert wheel.name == f"wawo-{wawo.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        tags = file.read(f"wawo-{wawo.__version__}.dist-info/WHEEL").decode().splitlines()
        file.extractall(tmp_path / "site")
    assert "Root-Is-Purelib: true" in tags
    assert [tag for tag in tags if tag.startswith("Tag:")] == ["Tag: py3-none-any"]
    assert not [name for name in names if name.endswith((".so", ".pyd", ".c"))]
    for file_name in (*CHECKOUT.glob("wawo/*.py"), *CHECKOUT.glob("wawo/_portable/*.py")):
        assert str(file_name.relative_to(CHECKOUT)) in names


def setup_with(sources: Path, change: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run setup.py on a machine that differs by a change of the modules that it asks."""
    program = f"import pathlib, platform, runpy, subprocess, sys\n{change}\n"
    program += f"sys.argv = ['setup.py', *{list(words)!r}]\nrunpy.run_path('setup.py', run_name='__main__')"
    return run("-c", program, cwd=sources, **environment)


NO_PYTHON_H = """
is_file = pathlib.Path.is_file
pathlib.Path.is_file = lambda self: self.name != "Python.h" and is_file(self)
"""


def compilers(folder: Path, status: int) -> str:
    """A PATH on which each compiler ends with that status: whether this machine has one makes no difference."""
    folder.mkdir()
    ours = sysconfig.get_config_var("CC").split()[0]  # x86_64-linux-gnu-gcc, say
    for name in {"cc", "gcc", "clang", Path(ours).name}:
        (folder / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def test_what_else_may_be_missing(sources: Path, tmp_path: Path) -> None:
    path = compilers(tmp_path / "good", 0)
    (line,) = said(setup_with(sources, NO_PYTHON_H, "build", PATH=path))
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert line.startswith(f"wawo: Python.h is missing: install the package python{version}")
    assert line.endswith(f"-dev (or python3-dev){HINT}")
    (line,) = said(setup_with(sources, "platform.python_implementation = lambda: 'PyPy'", "build", PATH=path))
    assert line.startswith(f"wawo: there is no native engine for PyPy on {sys.platform} yet: take CPython on ")
    assert line.endswith(HINT)
    (line,) = said(setup_with(sources, "", "build", PATH=compilers(tmp_path / "headless", 1)))
    assert line == f"wawo: the headers of the C library are missing: install the package libc6-dev{HINT}"


def test_a_platform_without_an_engine(sources: Path) -> None:
    with (sources / "wawo" / "_core" / "manifest.py").open("a") as manifest:
        manifest.write('\nSOURCES = LIBRARIES = {"plan9": ()}\n')
    (line,) = said(setup_with(sources, "", "build", PATH=os.environ["PATH"]))
    assert line == f"wawo: there is no native engine for CPython on {sys.platform} yet: take CPython on plan9{HINT}"


def test_wrong_values(sources: Path) -> None:
    (line,) = said(setup_with(sources, "", "build", WAWO_NO_EXTENSION="yes"))
    assert line == "wawo: WAWO_NO_EXTENSION=yes is unknown; it is 1 or not set"
    (line,) = said(setup_with(sources, "", "build", WAWO_BUILD="fast"))
    assert line.startswith("wawo: WAWO_BUILD=fast is unknown; it is one of release, ")
