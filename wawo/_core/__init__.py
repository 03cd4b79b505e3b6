"""Picks the engine: the compiled module in this folder, else the one of an installed wawo of the same version.

The second way is for a source checkout: its folder comes first on sys.path and holds no compiled module, which must
not hide the engine that ``pip install .`` has put into site-packages.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import platform
import re
import sys
from pathlib import Path

from ._version import __version__

_HERE = Path(__file__).resolve().parent


def _installed() -> list[Path]:
    """The other wawo/_core folders of this interpreter that have a compiled module which it can load."""
    found: dict[Path, None] = {}
    for place in sys.path:
        folder = Path(place or ".").resolve() / "wawo" / "_core"
        if folder != _HERE and any((folder / f"_native{s}").is_file() for s in importlib.machinery.EXTENSION_SUFFIXES):
            found[folder] = None
    return list(found)


def _version_of(folder: Path) -> str | None:
    try:
        text = (folder / "_version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    return match[1] if match else None


def _under_dash_m() -> bool:
    """Whether the interpreter is looking for what ``python -m wawo`` shall run: then nobody can catch an error."""
    looking = sys.argv[:1] == ["-m"]  # what the interpreter puts there until it has found the module
    return looking and any(re.fullmatch(r"(-\w*m)?wawo(\.\w+)*", word) for word in sys.orig_argv)


def _fail(sentence: str) -> None:
    if _under_dash_m():
        raise SystemExit(f"wawo: {sentence}")
    raise ImportError(sentence, name="wawo._core._native", path=str(_HERE))


def _find() -> None:
    """Make ``_native`` importable, or end with one sentence that says what to do."""
    if importlib.util.find_spec("._native", __name__) is not None:
        return
    others = _installed()
    for folder in others:
        if _version_of(folder) == __version__:
            __path__.append(str(folder))
            return
    root = _HERE.parent.parent
    if (root / "pyproject.toml").is_file():
        command = f"run `{sys.executable} -m pip install .` in {root}"
    else:
        command = f"run `{sys.executable} -m pip install --force-reinstall wawo=={__version__}`"
    if others:
        other = _version_of(others[0]) or "unknown"
        _fail(f"the engine installed in {others[0]} is of version {other}, this wawo is {__version__}: {command}")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    _fail(f"there is no compiled engine of wawo {__version__} for {python}: {command}")


def _add(name: str) -> None:
    """Load a further module of the shared object, which the import system looks for in a file of its own."""
    full = f"{__name__}.{name}"
    spec = importlib.util.find_spec("._native", __name__)
    if spec is None or spec.origin is None or full in sys.modules:
        return
    loader = importlib.machinery.ExtensionFileLoader(full, spec.origin)
    added = importlib.util.spec_from_file_location(full, spec.origin, loader=loader)
    assert added is not None
    module = importlib.util.module_from_spec(added)
    sys.modules[full] = module
    loader.exec_module(module)


_find()
_add("_buffers")
_add("_connection")
_add("_endpoint")
_add("_load")

from . import _endpoint, _native  # noqa: E402  (there is nothing to import before it is found)

backends = _endpoint.backends
"""(name, works here, why not) of each kernel interface, best first."""

ENGINE_PATH: str = _native.__file__ or ""
"""Where the compiled engine was loaded from."""
