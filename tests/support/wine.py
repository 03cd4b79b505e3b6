"""Whether this is Wine and no Windows, and what Wine cannot do: tests/wine.txt."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import Any

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
