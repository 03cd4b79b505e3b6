"""Picks the engine: the compiled one if there is one, else the one in pure Python. ``WAWO_ENGINE`` forces either.

The compiled one is the module in this folder, else that of an installed wawo of the same version. The second way is for
a source checkout: its folder comes first on sys.path and holds no compiled module, which must not hide the engine that
``pip install .`` has put into site-packages. One of another version is an error, and so is one that does not load.

What both engines offer is named here, and the modules above take it from here alone.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

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


def _fail(sentence: str) -> NoReturn:
    if _under_dash_m():
        raise SystemExit(f"wawo: {sentence}")
    raise ImportError(sentence, name="wawo._core._native", path=str(_HERE))


def _command() -> str:
    root = _HERE.parent.parent
    if (root / "pyproject.toml").is_file():
        return f"run `{sys.executable} -m pip install .` in {root}"
    return f"run `{sys.executable} -m pip install --force-reinstall wawo=={__version__}`"


def _find() -> str | None:
    """Make ``_native`` importable and return None, or a sentence why not. Fails for an engine of another version."""
    if importlib.util.find_spec("._native", __name__) is not None:
        return None
    others = _installed()
    for folder in others:
        if _version_of(folder) == __version__:
            __path__.append(str(folder))
            return None
    if others:
        other = _version_of(others[0]) or "unknown"
        _fail(f"the engine installed in {others[0]} is of version {other}, this wawo is {__version__}: {_command()}")
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"there is no compiled engine of wawo {__version__} for {python}"


def _choose() -> tuple[str, str]:
    """The name of the engine, and why it is that one."""
    forced = os.environ.get("WAWO_ENGINE") or None
    if forced not in (None, "native", "portable"):
        _fail(f"WAWO_ENGINE must be native or portable, not {forced!r}")
    if forced == "portable":
        return forced, "WAWO_ENGINE asks for it"
    missing = _find()
    if missing is None:
        return "native", "WAWO_ENGINE asks for it" if forced else "the compiled engine is there"
    if forced:
        _fail(f"{missing}: {_command()}")
    return "portable", missing


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


ENGINE, ENGINE_WHY = _choose()
"""Which engine runs, "native" (the compiled one) or "portable" (the one in pure Python), and why, in a few words."""

ENGINE_PATH: str
"""Where it was loaded from."""

ENGINE_SELECTORS = ""
"""Which module's selectors the portable engine waits with, and why: "selectors2 2.0.2: ..."."""

if TYPE_CHECKING or ENGINE == "native":
    for _name in ("_buffers", "_tls", "_connection", "_endpoint", "_fanout", "_load"):
        _add(_name)
    from . import _native
    from ._connection import Connection
    from ._connection import setup as setup_connections
    from ._endpoint import Endpoint, Threads, backends
    from ._fanout import broadcast, disconnect
    from ._load import load
    from ._native import after_fork_child, live
    from ._native import setup as setup_callbacks
    from ._tls import tls_engine

    if TYPE_CHECKING:
        from ._endpoint import _TlsWish

        TlsWish = _TlsWish

    ENGINE_PATH = _native.__file__ or ""
else:
    from .. import _portable
    from .._portable import (
        Connection,
        Endpoint,
        Threads,
        after_fork_child,
        backends,
        broadcast,
        disconnect,
        live,
        load,
        setup_callbacks,
        setup_connections,
        tls_engine,
    )
    from .._portable.selecting import NAME, WHY

    ENGINE_PATH = os.path.dirname(_portable.__file__)
    ENGINE_SELECTORS = f"{NAME}: {WHY}"

__all__ = [
    "ENGINE",
    "ENGINE_PATH",
    "ENGINE_SELECTORS",
    "ENGINE_WHY",
    "Connection",
    "Endpoint",
    "Threads",
    "after_fork_child",
    "backends",
    "broadcast",
    "disconnect",
    "live",
    "load",
    "setup_callbacks",
    "setup_connections",
    "tls_engine",
]
