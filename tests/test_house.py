"""The house is as ARCHITECTURE.md and CONTRIBUTING.md say: each rule holds in this checkout, and is able to fail.

The rules stand in tests/support/house, by what they look at; their limits and exceptions at the top of each file.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from house import RULES
from house.tree import Tree

HERE = Tree(Path(__file__).resolve().parents[1])


def test_there_is_something_to_look_at() -> None:
    assert {"wawo/_core/wawo.h", "wawo/server.py", "tests/test_house.py", "pyproject.toml"} <= set(HERE.files)
    assert sum(1 for name in HERE.under("wawo/_core/", ends=".c") for _ in HERE.c_functions(name)) > 500


@pytest.mark.parametrize("rule", RULES)
def test_rule_holds(rule: str) -> None:
    assert RULES[rule].check(HERE) == []


@pytest.mark.parametrize("rule", RULES)
def test_rule_sees_a_bad_example(rule: str, tmp_path: Path) -> None:
    for name, text in RULES[rule].bad.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    found = RULES[rule].check(Tree(tmp_path))
    assert [line for line in found if RULES[rule].says in line], found
