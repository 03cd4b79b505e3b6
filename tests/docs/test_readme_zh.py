"""README.zh.md says the same as README.md, as far as a machine can tell."""

from __future__ import annotations

import re

import pytest
from pages import ROOT, prose

ENGLISH, CHINESE = (ROOT / name for name in ("README.md", "README.zh.md"))
TEXTS = [page.read_text(encoding="utf-8") for page in (ENGLISH, CHINESE)]
FIGURES = re.compile(r"<!-- figures -->.*?<!-- /figures -->", re.DOTALL)


def both(pattern: str, *, code: bool = True) -> tuple[list[str], list[str]]:
    """What the pattern finds in each, in order."""
    texts = TEXTS if code else [FIGURES.sub("", prose(page)) for page in (ENGLISH, CHINESE)]
    return re.findall(pattern, texts[0]), re.findall(pattern, texts[1])


def test_code_is_the_same() -> None:
    english, chinese = both(r"(?ms)^```\w*\n.*?^```$")
    assert english == chinese
    assert len(english) >= 5


def test_figures_are_the_same() -> None:
    """The bench writes them into both."""
    english, chinese = (FIGURES.findall(text) for text in TEXTS)
    assert english == chinese
    assert len(english) == 1


def test_headings_are_as_many() -> None:
    english, chinese = both(r"(?m)^(#+) ", code=False)
    assert english == chinese


def test_tables_have_as_many_rows() -> None:
    english, chinese = both(r"(?m)^\| .*", code=False)
    assert len(english) == len(chinese)


@pytest.mark.parametrize(
    "pattern",
    [
        r"`([^`\n]+)`",  # framings, callbacks, options, files, commands
        r"\]\(((?!#)[^)]*)\)",
        r"\d+ [KMG]iB|\d+\.\d+|\d+(?= B\b)",
    ],
    ids=["words", "links", "figures"],
)
def test_the_same_things_are_named(pattern: str) -> None:
    english, chinese = (set(found) - {"README.md", "README.zh.md"} for found in both(pattern, code=False))
    assert (sorted(english - chinese), sorted(chinese - english)) == ([], [])


def test_each_leads_to_the_other() -> None:
    assert [text.splitlines()[2] for text in TEXTS] == ["[中文说明](README.zh.md)", "[English](README.md)"]
