"""Whether this is Wine and no Windows, what Wine cannot do (tests/wine.txt), and what it does at the second try."""

from __future__ import annotations

import ctypes
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

ERROR_INTERNAL_ERROR = 1359  # <winerror.h>
TRIES = 5
LIST = Path(__file__).resolve().parents[1] / "wine.txt"


def is_here() -> bool:
    if sys.platform != "win32":
        return False
    ntdll: Any = ctypes.WinDLL("ntdll")
    return hasattr(ntdll, "wine_get_version")


def unable() -> dict[str, str]:
    """``path::test``: the name of its reason, which is that of a test in tests/wine/test_proofs.py."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    found = dict(rows)
    assert len(found) == len(rows), "a test stands twice in tests/wine.txt"
    return found


def ask_again() -> None:
    """A program that does not come up in time, on a busy machine, is no fault of the test that starts it: Wine calls
    that an internal error of CreateProcess, and a moment later it can."""
    windows: Any = import_module("_winapi")
    create = windows.CreateProcess

    def patient(*given: Any) -> Any:
        for _ in range(TRIES - 1):
            try:
                return create(*given)
            except OSError as error:
                if getattr(error, "winerror", 0) != ERROR_INTERNAL_ERROR:
                    raise
            time.sleep(0.5)  # time is what passes
        return create(*given)

    windows.CreateProcess = patient
