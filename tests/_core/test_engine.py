"""The choice of the engine: by what is there, by WAWO_ENGINE, and never one of another version. In new processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import wawo
from wawo import _core

CHECKOUT = Path(__file__).resolve().parents[2]
F6 = sorted((CHECKOUT / "wawo").glob("*.py"))
TELL = "import wawo; from wawo import _core; print(_core.ENGINE, _core.ENGINE_WHY, _core.ENGINE_PATH, sep='|')"

compiled = pytest.mark.skipif(_core.ENGINE != "native", reason="the compiled engine is not what is tested here")


def python(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """This interpreter with nothing beside the standard library but what PYTHONPATH names."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "WAWO_"))}
    command = [sys.executable, "-S", *words]
    return subprocess.run(
        command, cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=25, check=False
    )


def copy_of_the_sources(folder: Path, version: str = wawo.__version__) -> Path:
    """The Python files of the package alone, as in a fresh checkout."""
    ignore = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "*.c", "*.h")
    shutil.copytree(CHECKOUT / "wawo", folder / "wawo", ignore=ignore)
    (folder / "wawo" / "_core" / "_version.py").write_text(f'__version__ = "{version}"\n')
    return folder


def compiled_one(folder: Path) -> Path:
    """A folder as site-packages is: the sources beside the compiled module of these tests."""
    core = copy_of_the_sources(folder) / "wawo" / "_core"
    shutil.copy(_core.ENGINE_PATH, core)
    return folder


def compiled_one_of_another_version(folder: Path) -> Path:
    core = copy_of_the_sources(folder, "9.9.9") / "wawo" / "_core"
    (core / f"_native{EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    return folder


def test_what_is_told_here() -> None:
    assert _core.ENGINE in ("native", "portable")
    assert _core.ENGINE_WHY
    assert Path(_core.ENGINE_PATH).exists()
    assert bool(_core.ENGINE_SELECTORS) == (_core.ENGINE == "portable")


@compiled
def test_the_compiled_one_when_it_is_there(tmp_path: Path) -> None:
    here = compiled_one(tmp_path)
    for forced, why in (("", "the compiled engine is there"), ("native", "WAWO_ENGINE asks for it")):
        done = python("-c", TELL, cwd=here, PYTHONPATH=str(here), WAWO_ENGINE=forced)
        assert done.stderr == ""
        assert done.stdout.startswith(f"native|{why}|{here}")


@compiled
def test_a_checkout_uses_the_installed_one_of_its_version(tmp_path: Path) -> None:
    here, other = copy_of_the_sources(tmp_path / "here"), compiled_one(tmp_path / "other")
    done = python("-c", TELL, cwd=here, PYTHONPATH=os.pathsep.join((str(here), str(other))))
    assert done.stderr == ""
    assert done.stdout.startswith(f"native|the compiled engine is there|{other}")


def test_the_compiled_one_is_asked_for_and_missing(tmp_path: Path) -> None:
    here = copy_of_the_sources(tmp_path)
    (here / "pyproject.toml").touch()
    done = python("-c", TELL, cwd=here, PYTHONPATH=str(here), WAWO_ENGINE="native")
    assert f"ImportError: there is no compiled engine of wawo {wawo.__version__} for " in done.stderr
    done = python("-m", "wawo", "info", cwd=here, WAWO_ENGINE="native")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"wawo: there is no compiled engine of wawo {wawo.__version__} for ")
    assert line.endswith(f"-m pip install .` in {here}")


@pytest.mark.parametrize("forced", ["", "native"])
def test_one_of_another_version_is_an_error(tmp_path: Path, forced: str) -> None:
    here = copy_of_the_sources(tmp_path / "here")
    other = compiled_one_of_another_version(tmp_path / "other")
    done = python("-m", "wawo", "info", cwd=here, PYTHONPATH=str(other), WAWO_ENGINE=forced)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert f"is of version 9.9.9, this wawo is {wawo.__version__}: run " in line


@pytest.mark.parametrize("forced", ["", "native"])
def test_one_that_does_not_load_is_an_error(tmp_path: Path, forced: str) -> None:
    """A broken one must be mended, not be slow."""
    here = copy_of_the_sources(tmp_path)
    (here / "wawo" / "_core" / f"_native{EXTENSION_SUFFIXES[0]}").write_bytes(b"no shared object")
    done = python("-c", TELL, cwd=here, PYTHONPATH=str(here), WAWO_ENGINE=forced)
    assert done.returncode == 1
    assert "ImportError" in done.stderr


def test_an_engine_that_nobody_knows(tmp_path: Path) -> None:
    done = python("-c", TELL, cwd=tmp_path, PYTHONPATH=str(copy_of_the_sources(tmp_path)), WAWO_ENGINE="warp")
    assert "ImportError: WAWO_ENGINE must be native or portable, not 'warp'" in done.stderr


def test_the_portable_one_where_there_is_no_other(tmp_path: Path) -> None:
    here = copy_of_the_sources(tmp_path)
    done = python("-c", TELL, cwd=here, PYTHONPATH=str(here))
    assert done.stderr == ""
    name, why, path = done.stdout.strip().split("|")
    assert name == "portable"
    assert why.startswith(f"there is no compiled engine of wawo {wawo.__version__} for ")
    assert path == str(here / "wawo" / "_portable")


def test_the_portable_one_when_it_is_asked_for(tmp_path: Path) -> None:
    """Also where the compiled one is of another version, which then matters to nobody."""
    here = copy_of_the_sources(tmp_path / "here")
    other = compiled_one_of_another_version(tmp_path / "other")
    places = os.pathsep.join((str(here), str(other)))
    done = python("-c", TELL, cwd=here, PYTHONPATH=places, WAWO_ENGINE="portable")
    assert (done.stdout, done.stderr) == (f"portable|WAWO_ENGINE asks for it|{here / 'wawo' / '_portable'}\n", "")


def test_what_info_tells_of_the_portable_one(tmp_path: Path) -> None:
    here = copy_of_the_sources(tmp_path)
    asked = {"PYTHONPATH": str(here), "WAWO_ENGINE": "portable"}
    done = python("-m", "wawo", "info", cwd=here, **asked, WAWO_BACKEND="select")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"engine    portable: WAWO_ENGINE asks for it; from {here / 'wawo' / '_portable'}\n" in done.stdout
    assert "selectors selectors: the package selectors2 is not installed\n" in done.stdout
    assert "poll: yes\n" in done.stdout
    assert "select: yes, chosen (WAWO_BACKEND)\n" in done.stdout
    done = python("-m", "wawo", "info", cwd=here, **asked, WAWO_BACKEND="pigeon")
    assert done.returncode == 1
    assert re.search(r"must be one of (\w+, )*poll, select, not 'pigeon'", done.stdout)


ECHO = """
import socket, sys, wawo
class Echo(wawo.Listener):
    def OnReceive(self, conn, data):
        conn.send(data)
with wawo.TcpServer(Echo(), backend=sys.argv[1]) as server:
    server.start("127.0.0.1", 0)
    with socket.create_connection(server.address, 10) as peer:
        peer.sendall(b"hello")
        print(peer.recv(5), flush=True)
"""


@pytest.mark.parametrize("backend", ["poll", "select"])
def test_the_portable_one_serves_without_any_package(tmp_path: Path, backend: str) -> None:
    here = copy_of_the_sources(tmp_path)
    done = python("-W", "error", "-c", ECHO, backend, cwd=here, PYTHONPATH=str(here))
    assert (done.stdout, done.stderr) == ("b'hello'\n", "")


def test_both_offer_the_same(tmp_path: Path) -> None:
    """Every name of the engine, every method of its classes, and all that a connection has."""
    look = (
        "from wawo import _core\n"
        "for name in _core.__all__:\n"
        "    thing = getattr(_core, name)\n"
        "    names = [n for n in dir(thing) if n[0] != '_'] if isinstance(thing, type) else []\n"
        "    print(name, *(n for n in names if name == 'Connection' or callable(getattr(thing, n))))"
    )
    places = {"PYTHONPATH": str(Path(wawo.__file__).parents[1])}
    told = [python("-c", look, cwd=tmp_path, **places, WAWO_ENGINE=name) for name in ("native", "portable")]
    if _core.ENGINE != "native" and told[0].returncode != 0:
        pytest.skip("there is no compiled engine to compare with")
    assert told[0].stderr == told[1].stderr == ""
    for native, portable in zip(*(done.stdout.splitlines() for done in told), strict=True):
        assert set(native.split()) <= set(portable.split())


def test_the_modules_above_take_the_engine_from_one_place() -> None:
    for file in F6:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"_portable|_core\._(?!version\b)|from \._core import .*\b_\w", text), file
