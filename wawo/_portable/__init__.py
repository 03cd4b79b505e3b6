"""The engine in pure Python: the same handles as those of the compiled one, over selectors.

``wawo/_core/__init__.py`` takes from here what stands in __all__, each with the type in the stubs of the compiled
modules. The parts have the names of those in wawo/_core where they do the same; ARCHITECTURE.md says how they fit.
"""

from __future__ import annotations

from .connection import Connection
from .connection import setup as setup_connections
from .endpoint import Endpoint
from .fanout import broadcast, disconnect
from .load import load
from .secure import tls_engine
from .system import check_interpreter
from .threads import Threads, after_fork_child, backends, live
from .words import setup as setup_callbacks

__all__ = [
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

check_interpreter()
