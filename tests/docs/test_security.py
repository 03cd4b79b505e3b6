"""What SECURITY.md says of defaults is so."""

from __future__ import annotations

import re

import pytest
from pages import ROOT, Row, rows

import wawo

TABLE = [row for row in rows(ROOT / "SECURITY.md") if any(word.endswith("=") for word in row.code(1))]
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.cells[0])
def test_limits_are_as_said(row: Row) -> None:
    defaults = [getattr(wawo.Options(), word.rstrip("=")) for word in row.code(1) if word.endswith("=")]
    if row.cells[2] == "**no limit**":
        assert defaults == [None]
        return
    found = re.findall(r"(\d[\d,]*)(?: (KiB|MiB|GiB))?", row.cells[2])
    assert [int(number.replace(",", "")) * UNITS.get(unit, 1) for number, unit in found] == defaults
