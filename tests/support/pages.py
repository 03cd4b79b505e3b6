"""The pages as tests read them: their fences with what is asked of each, and their tables.

A comment on the line before a fence, with an empty line between, says how its code is run; see ``Block``::

    <!-- file: echo.py; beside: other.py -->

Without one a block of Python or shell is a program of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.glob("*.md")), ROOT / "SECURITY.md"]

_FENCE = re.compile(r"(?:^<!-- (?P<asks>[^\n]*) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_ASKS = {"file", "beside", "continues", "prints", "not run"}


@dataclass
class Block:
    page: str
    line: int
    language: str
    text: str
    heading: str
    asks: dict[str, str] = field(default_factory=dict)
    """``file``: the name that the program has; ``beside``: the one that runs meanwhile; ``continues``: it goes on where
    the block before ended; ``prints``: no code, but what the program before prints; ``not run``: why it is not."""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        asks = {}
        for ask in filter(None, (match["asks"] or "").split("; ")):
            name, _, value = ask.partition(": ")
            assert name in _ASKS, f"{page.name}: {ask!r} is none of {sorted(_ASKS)}"
            asks[name] = value
        line = text.count("\n", 0, match.start("language")) + 1
        above = [heading[1] for heading in _HEADING.finditer(text, 0, match.start("language"))]
        found.append(Block(page.name, line, match["language"], match["text"], above[-1], asks))
    return found


@dataclass
class Program:
    """A block and those that continue it; ``prints`` is what it must print, None when the page does not say."""

    where: str
    language: str
    code: str
    name: str | None
    beside: str | None
    prints: str | None = None


def programs(page: Path) -> list[Program]:
    """What of the page is run, in its order."""
    found: list[Program] = []
    for block in blocks(page):
        if "prints" in block.asks:
            assert block.language == "text", f"{block.where}: what a program prints is a block of text"
            found[-1].prints = (found[-1].prints or "") + block.text
        elif block.language not in ("python", "sh") or "not run" in block.asks:
            continue
        elif "continues" in block.asks:
            assert found[-1].language == block.language, f"{block.where} continues another language"
            found[-1].code += "\n" + block.text
        else:
            asks = block.asks
            found.append(Program(block.where, block.language, block.text, asks.get("file"), asks.get("beside")))
    return found


@dataclass
class Row:
    heading: str
    cells: list[str]

    def code(self, cell: int) -> list[str]:
        """What stands in backticks in that cell."""
        return re.findall(r"`([^`]+)`", self.cells[cell])


def rows(page: Path) -> Iterator[Row]:
    """The rows of all tables, without their heads, below the heading they stand under."""
    heading, last = "", ""
    for line in re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S).splitlines():
        title = _HEADING.match(line)
        if title:
            heading = title[1]
        if line.startswith("|") and last.startswith("|") and not line.startswith("| ---"):
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
            yield Row(heading, cells)
        last = line


def prose(page: Path) -> str:
    """The page without its fences."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))
