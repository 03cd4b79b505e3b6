"""What people import: complete, documented, typed, and nothing else."""

from __future__ import annotations

import ast
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import types
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import wawo
from wawo import _core

PACKAGE = Path(wawo.__file__ or "").parent
CLASSES = [name for name in wawo.__all__ if isinstance(getattr(wawo, name), type)]
MODULES = sorted(module.name for module in pkgutil.iter_modules([str(PACKAGE)]) if not module.name.startswith("_"))
COMPILED = sorted(path.stem for path in (PACKAGE / "_core").glob("*.pyi"))
compiled = pytest.mark.skipif(_core.ENGINE != "native", reason="about the compiled modules")

INTERNAL = {
    "Callbacks": "the keywords of Listener, for type checkers",
    "OptionNames": "the keywords of components, for type checkers",
    "Hub": "what TcpServer and TcpAgent share; Component is the base that people name",
    "Echo": "the listener of `wawo echo`",
}
"""Public classes of public modules that people need no name for."""

HEAVY = {"asyncio", "concurrent.futures", "multiprocessing", "rich", "ssl", "typing_extensions"}
"""What `import wawo` must not bring: slow to import, and not needed."""

IMPORT_RATIO = {"native": 2.0, "portable": 4.0}[_core.ENGINE]  # the latter is as many lines of Python as the core of C
"""The longest that `import wawo` may take, in times of `import asyncio`."""


def names_of(value: Any) -> list[str]:
    """The public attributes of a class that wawo defines."""
    ours = [base for base in value.__mro__ if base.__module__.startswith("wawo")]
    return sorted({name for base in ours for name in vars(base) if not name.startswith("_")})


def test_all_is_sorted_and_exists() -> None:
    assert wawo.__all__ == sorted(set(wawo.__all__))
    assert [name for name in wawo.__all__ if not hasattr(wawo, name)] == []


def test_star_import_brings_exactly_that() -> None:
    space: dict[str, Any] = {}
    exec("from wawo import *", space)
    assert set(space) - {"__builtins__"} == set(wawo.__all__)


def test_nothing_else_is_seen_in_the_package() -> None:
    public = {name for name in dir(wawo) if not name.startswith("_")}
    assert public - set(wawo.__all__) <= set(MODULES)
    for name in public - set(wawo.__all__):
        assert isinstance(getattr(wawo, name), types.ModuleType)


@pytest.mark.parametrize("name", MODULES)
def test_no_public_class_is_missing(name: str) -> None:
    module = import_module(f"wawo.{name}")
    defined = {
        key
        for key, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not key.startswith("_")
    }
    assert defined <= {*wawo.__all__, *getattr(module, "__all__", ()), *INTERNAL}


def test_each_internal_name_is_still_there() -> None:
    modules = [import_module(f"wawo.{name}") for name in MODULES]
    assert [name for name in INTERNAL if not any(hasattr(module, name) for module in modules)] == []


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_and_all_that_it_has_is_documented(name: str) -> None:
    value = getattr(wawo, name)
    assert value.__doc__
    assert not value.__doc__.startswith(f"{name}("), "the docstring that dataclass writes"
    bare = []
    for attribute in names_of(value):
        found = inspect.getattr_static(value, attribute)
        if isinstance(found, types.FunctionType | property | classmethod | staticmethod) or callable(found):
            bare += [attribute] if not inspect.getdoc(getattr(value, attribute)) else []
    assert bare == []


@pytest.mark.parametrize("name", CLASSES)
def test_each_class_can_be_asked_for_its_signatures(name: str) -> None:
    """Editors and help() show them; those of compiled methods too."""
    value = getattr(wawo, name)
    for attribute in names_of(value):
        found = getattr(value, attribute)
        if callable(found) and not isinstance(found, type):
            assert inspect.signature(found).parameters


def docstrings(tree: ast.Module) -> dict[str, str]:
    """name or Class.name -> docstring, of all that has one in a stub."""
    found = {}
    for top in tree.body:
        if isinstance(top, ast.ClassDef | ast.FunctionDef):
            found[top.name] = ast.get_docstring(top)
        if isinstance(top, ast.ClassDef):
            for node in top.body:
                if isinstance(node, ast.FunctionDef):
                    found[f"{top.name}.{node.name}"] = ast.get_docstring(node)
    return {name: text for name, text in found.items() if text}


@compiled
@pytest.mark.parametrize("name", COMPILED)
def test_stub_and_runtime_say_the_same(name: str) -> None:
    module = import_module(f"wawo._core.{name}")
    stub = docstrings(ast.parse((PACKAGE / "_core" / f"{name}.pyi").read_text(encoding="utf-8")))
    for path, text in stub.items():
        value: Any = module
        for part in path.split("."):
            value = getattr(value, part)
        assert inspect.getdoc(value) == text, path
    if name == "_connection":
        assert len(stub) >= 20


@compiled
def test_each_compiled_module_has_a_stub() -> None:
    compiled = {name.rpartition(".")[2] for name in sys.modules if re.fullmatch(r"wawo\._core\._\w+", name)}
    assert compiled - {"_version"} == set(COMPILED)
    assert (PACKAGE / "py.typed").is_file()


def test_help_shows_what_a_method_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    help(wawo.Connection.send)
    shown = capsys.readouterr().out
    assert re.search(r"send\(self, data\b.*, /\)", shown)
    assert "SendBufferFull" in shown


# ---- what an import costs ----


def python(code: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_import_brings_nothing_heavy(tmp_path: Path) -> None:
    # What the interpreter brings by itself (a .pth file may import anything) is not ours.
    code = "import sys; before = set(sys.modules); import wawo; print(*(set(sys.modules) - before))"
    brought = set(python(code, tmp_path).split())
    assert "wawo" in brought
    assert brought & HEAVY == set()


@pytest.mark.skipif(bool(os.environ.get("LD_PRELOAD")), reason="a sanitizer costs more here than there")
def test_import_is_quick(tmp_path: Path) -> None:
    def cpu_seconds(name: str) -> float:
        code = f"import time; t = time.process_time(); import {name}; print(time.process_time() - t)"
        return min(float(python(code, tmp_path)) for _ in range(5))

    ours, other = cpu_seconds("wawo"), cpu_seconds("asyncio")
    assert ours < other * IMPORT_RATIO, f"{ours * 1e3:.1f} ms, asyncio {other * 1e3:.1f} ms"


def test_version_is_that_of_the_package() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+([a-z]+\d+)?", wawo.__version__)
