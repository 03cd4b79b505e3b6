"""The backends that tests run over: those of this platform, each skipped where the machine has an excuse for it.

What should work is judged without asking wawo: a backend that is refused where it should work fails its tests, for else
they would pass by not running. ``tests/c/support/expected.c`` is the same for the tests in C.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from wawo import _core

EXPECTED = {"linux": ("epoll", "poll"), "win32": ("iocp",)}.get(sys.platform, ("kqueue", "poll"))
"""What the compiled engine has on this platform."""


def excuse(name: str) -> str:
    """Why that backend need not work on this machine; empty: it must."""
    return ""


def _rows() -> list[Any]:
    working = {name: why for name, works, why, *_ in _core.backends() if not works}
    names = [name for name, *_ in _core.backends()]
    if _core.ENGINE == "portable":  # its selectors differ in a class of the standard library alone: two are enough
        return [name for name in names if name not in working][:2]
    rows: list[Any] = []
    for name in dict.fromkeys([*names, *EXPECTED]):
        if name in names and name in working and (why := excuse(name)):
            rows.append(pytest.param(name, marks=pytest.mark.skip(f"{working[name]} ({why})")))
        else:
            rows.append(name)
    return rows


BACKENDS = _rows()
"""For ``@pytest.fixture(params=BACKENDS)`` and ``@pytest.mark.parametrize("backend", BACKENDS)``."""
