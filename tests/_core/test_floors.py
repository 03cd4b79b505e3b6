"""An include of the C core goes down or stays on its floor, never up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "wawo" / "_core"

# floor: the floors that it may include
MAY_SEE = {
    "base": {"base"},
    "mem": {"mem", "base"},
    "io": {"io", "mem", "base"},
    "proto": {"proto", "mem", "base"},
    "net": {"net", "proto", "io", "mem", "base"},
}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def includes(file: Path) -> list[Path]:
    """The files of the core that `file` includes, beside it or from the root, as the compiler looks them up."""
    found = []
    for name in INCLUDE.findall(file.read_text(encoding="utf-8")):
        beside = (file.parent / name).resolve()
        found.append(beside if beside.exists() else (CORE / name).resolve())
    return found


@pytest.mark.parametrize("floor", MAY_SEE)
def test_includes_never_go_up(floor: str) -> None:
    wrong = [
        f"{file.relative_to(CORE)} includes {target.relative_to(CORE)}"
        for file in sorted(CORE.glob(f"{floor}/*.[ch]"))
        for target in includes(file)
        # wawo.h is the face of the top floor: only what implements it may see it.
        if not (floor == "net" and target == CORE / "wawo.h") and target.parent.name not in MAY_SEE[floor]
    ]
    assert wrong == []


def test_no_unknown_floor() -> None:
    assert {file.parent.name for file in CORE.glob("*/*.[ch]")} <= set(MAY_SEE)
