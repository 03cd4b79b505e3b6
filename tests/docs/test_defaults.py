"""What SECURITY.md and the page about back-pressure say of defaults is so."""

from __future__ import annotations

import re

import pytest
from pages import DOCS, ROOT, Row, rows

import wawo
from wawo.options import OPTION_NAMES

UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
NAMES = {f"{name}=" for name in OPTION_NAMES}
BOUNDS = [(row, row.code(1)) for row in rows(ROOT / "SECURITY.md") if NAMES & set(row.code(1))]
LIMITS = [(row, row.code(0)) for row in rows(DOCS / "backpressure.md") if NAMES & set(row.code(0))]


def test_there_are_tables() -> None:
    assert len(BOUNDS) >= 8
    assert len(LIMITS) >= 12


@pytest.mark.parametrize(("row", "words"), [*BOUNDS, *LIMITS], ids=lambda value: getattr(value, "cells", [""])[0])
def test_default_is_as_said(row: Row, words: list[str]) -> None:
    defaults = [getattr(wawo.Options(), word.rstrip("=")) for word in words if word in NAMES]
    said = row.cells[2] if row in [bound for bound, _ in BOUNDS] else row.cells[1]
    if said in ("**no limit**", "none"):
        assert defaults == [None]
        return
    wanted = defaults[0] if isinstance(defaults[0], tuple) else defaults
    found = re.findall(r"(\d[\d,]*(?:\.\d+)?)(?: (KiB|MiB|GiB))?", said)
    assert [float(number.replace(",", "")) * UNITS.get(unit, 1) for number, unit in found] == list(wanted)
