"""The manifest names every C file of the core exactly once, and only files that exist."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

CORE = Path(__file__).resolve().parents[2] / "wawo" / "_core"
SOURCES: dict[str, tuple[str, ...]] = runpy.run_path(str(CORE / "manifest.py"))["SOURCES"]


@pytest.mark.parametrize("platform", SOURCES)
def test_lists_each_file_once(platform: str) -> None:
    names = SOURCES[platform]
    assert sorted(set(names)) == sorted(names)


def test_lists_what_is_there() -> None:
    there = {str(path.relative_to(CORE)) for path in CORE.glob("*/*.c")}
    assert {name for names in SOURCES.values() for name in names} == there
