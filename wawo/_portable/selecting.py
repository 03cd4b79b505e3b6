"""Selectors for the engine in pure Python: those of selectors2, else those of the standard library.

selectors2 2.0.2 takes ``Mapping`` from ``collections``, where Python 3.10 and later have it no more: the name is lent
to it while it is imported, here and nowhere else. Three of its ways differ from the standard module's: an fd that could
not be registered stays in the map (unregister it), SelectSelector and KqueueSelector do not wait while they have no fd
(the engine always has one, to be woken by), and ``DefaultSelector`` is a function, no class. In both a timeout of more
than 24 days is an OverflowError.
"""

from __future__ import annotations

import collections
import collections.abc
import importlib
import select
import selectors
import sys
from collections.abc import Callable
from types import ModuleType

_KINDS = {
    "kqueue": "KqueueSelector",
    "devpoll": "DevpollSelector",
    "epoll": "EpollSelector",
    "poll": "PollSelector",
    "select": "SelectSelector",
}


def _lend_and_import(name: str) -> ModuleType:
    """Import a module that still looks for Mapping in collections; afterwards it is not there, as before."""
    if hasattr(collections, "Mapping"):
        return importlib.import_module(name)
    setattr(collections, "Mapping", collections.abc.Mapping)  # noqa: B010  (mypy knows that it has none)
    try:
        return importlib.import_module(name)
    finally:
        delattr(collections, "Mapping")


def _choose() -> tuple[ModuleType, str, str]:
    if sys.platform == "win32":
        return selectors, "selectors", "selectors2 does not see a connect fail on Windows"
    try:
        module = _lend_and_import("selectors2")
        module.DefaultSelector().close()
        return module, f"selectors2 {module.__version__}", "the package selectors2 is installed and works"
    except ModuleNotFoundError as error:
        if error.name != "selectors2":
            return selectors, "selectors", f"the package selectors2 fails here: {error}"
        return selectors, "selectors", "the package selectors2 is not installed"
    except Exception as error:
        return selectors, "selectors", f"the package selectors2 fails here: {type(error).__name__}: {error}"


_module, NAME, WHY = _choose()
"""Which module serves, "selectors2 2.0.2" or "selectors", and why, in a few words."""

EVENT_READ: int = _module.EVENT_READ
EVENT_WRITE: int = _module.EVENT_WRITE
DefaultSelector: Callable[[], selectors.BaseSelector] = _module.DefaultSelector


def selector(name: str) -> selectors.BaseSelector:
    """A new selector of that kind ("epoll"); OSError in the system's words where it does not work, KeyError unknown."""
    maker: Callable[[], selectors.BaseSelector] | None = getattr(_module, _KINDS[name], None)
    if maker is None or not hasattr(select, name):
        raise OSError(f"{name} is not in this Python")
    return maker()


def kinds() -> list[tuple[str, bool, str]]:
    """(name, works here, why not) of each kind that this Python has, best first."""
    rows = []
    for name in _KINDS:
        if not hasattr(select, name):
            continue
        try:
            selector(name).close()
            rows.append((name, True, ""))
        except OSError as error:
            rows.append((name, False, str(error)))
    return rows
