"""The backends that tests run over: those of this platform, each skipped where the machine has an excuse for it.

What should work is judged without asking wawo: a backend that is refused where it should work fails its tests, for else
they would pass by not running. ``tests/c/support/expected.c`` is the same for the tests in C.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import re
import sys
from typing import Any

import pytest

from wawo import _core

IO_URING_SETUP = 425  # with a bad address it cannot succeed, and tells whether it is allowed

EXPECTED = {"linux": ("uring", "epoll", "poll"), "win32": ("iocp",)}.get(sys.platform, ("kqueue", "poll"))
"""What the compiled engine has on this platform."""


def excuse(name: str) -> str:
    """Why that backend need not work on this machine; empty: it must."""
    if name != "uring":
        return ""
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    if found and (int(found[1]), int(found[2])) < (6, 1):
        return "a kernel before 6.1"
    call = ctypes.CDLL(None, use_errno=True).syscall
    if call(IO_URING_SETUP, 1, None) < 0 and ctypes.get_errno() != errno.EFAULT:
        return f"io_uring_setup is refused: {errno.errorcode[ctypes.get_errno()]}"
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
