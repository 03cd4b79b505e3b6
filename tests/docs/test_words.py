"""Every wawo word on a page exists, and every word of asyncio that the page about it translates."""

from __future__ import annotations

import asyncio
import errno
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from pages import DOCS, PAGES, ROOT, prose, rows
from words import WORD, check

import wawo

OTHERS = sorted(ROOT.glob("README*.md"))
OPERATIONS = "|".join(wawo.Operation.__members__)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_every_word_exists(page: Path) -> None:
    found = set(re.findall(r"`([^`\n]+)`", prose(page)))
    words = sorted(word for word in found if WORD.fullmatch(word) and word != "name=")
    for word in words:
        check(word)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_error_names_exist(page: Path) -> None:
    names = set(re.findall(r"\b(?:E[A-Z]{3,}[0-9]?)\b", prose(page))) - {"EPOLL", "ERROR"}
    assert sorted(name for name in names if not hasattr(errno, name)) == []


ASYNCIO = DOCS / "asyncio.md"
TABLE = list(rows(ASYNCIO))


def translated(heading: str) -> set[str]:
    return {name for row in TABLE if row.heading == heading for name in row.code(0)}


def public(*classes: type) -> set[str]:
    return {name for cls in classes for name in dir(cls) if not name.startswith("_")}


def parameters(*functions: Any) -> set[str]:
    return {name for function in functions for name in inspect.signature(function).parameters} - {"self", "kwds"}


LOOP = asyncio.AbstractEventLoop
WHOLE: list[tuple[str, Iterable[str]]] = [
    ("Protocol", public(asyncio.Protocol, asyncio.BufferedProtocol)),
    ("Transport", public(asyncio.Transport)),
    ("Streams", public(asyncio.StreamReader, asyncio.StreamWriter)),
    ("Servers", parameters(LOOP.create_server, asyncio.start_server) | public(asyncio.Server)),
    ("Connecting", parameters(LOOP.create_connection, asyncio.open_connection)),
]


@pytest.mark.parametrize(("heading", "names"), WHOLE, ids=[heading for heading, _ in WHOLE])
def test_the_tables_of_asyncio_have_all(heading: str, names: Iterable[str]) -> None:
    assert set(names) <= translated(heading)


def test_what_the_table_of_the_loop_names_exists() -> None:
    assert [name for name in translated("The loop") if not hasattr(LOOP, name)] == []


def test_where_there_is_no_word_the_page_says_why() -> None:
    assert [
        row.cells for row in TABLE if row.cells[1] == "none" and row.heading != "Servers" and not row.cells[2]
    ] == []
    assert [row.cells for row in TABLE if not row.code(1) and row.cells[1] != "none"] == []
