"""The tables of the reference have all that there is, and say of it what is so."""

from __future__ import annotations

import builtins
import dataclasses
import re
from typing import Any

import pytest
from pages import DOCS, Row, rows

import wawo
from wawo.listener import PARAMETERS, ROLES
from wawo.options import OPTION_NAMES, SERVERS_ONLY

PAGE = DOCS / "reference.md"
ROWS = list(rows(PAGE))
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def table(heading: str) -> list[Row]:
    found = [row for row in ROWS if row.heading == heading]
    assert found
    return found


def numbers(text: str) -> list[float]:
    """All numbers of a text, "1 MiB" and "5,000" too."""
    return [
        float(number.replace(",", "")) * UNITS.get(unit, 1)
        for number, unit in re.findall(r"(\d[\d,]*(?:\.\d+)?)(?: (KiB|MiB|GiB|TiB)\b)?", text)
    ]


OPTIONS = {row.code(0)[0].rstrip("="): row for row in table("Options")}
FIELDS = {field.name: field for field in dataclasses.fields(wawo.Options)}


def test_options_are_all_there_in_their_order() -> None:
    assert tuple(OPTIONS) == OPTION_NAMES


@pytest.mark.parametrize("name", OPTION_NAMES)
def test_option_has_that_default(name: str) -> None:
    shown, default = OPTIONS[name].cells[1], FIELDS[name].default
    if isinstance(default, str):
        assert shown == f'"{default}"'
    elif default is None or isinstance(default, bool):
        assert shown == str(default)
    else:
        assert numbers(shown) == [float(part) for part in (default if isinstance(default, tuple) else [default])]


@pytest.mark.parametrize("name", [name for name in OPTION_NAMES if name != "backend"])
def test_option_has_that_range(name: str) -> None:
    shown = OPTIONS[name].cells[2]
    wrong: dict[str, Any] = {"keepalive": (-1, -1), "on_full": "?"}
    with pytest.raises((ValueError, TypeError)) as raised:
        wawo.Options(**{name: wrong.get(name, -1)})
    said = re.search(r"must be (.*), not", str(raised.value))
    assert said is not None
    if "True" in shown:
        assert said[1] == "True or False"
    elif '"' in shown:
        assert said[1].split(" or ") == shown.replace('"', "'").split(", ")
    else:
        assert numbers(shown) == numbers(said[1].replace("more than", "above"))
        assert ("above" in shown) == ("more than" in said[1])
    if ", None" in shown:
        wawo.Options(**{name: None})
    else:
        with pytest.raises(TypeError):
            wawo.Options(**{name: None})


def test_options_for_servers_only() -> None:
    assert {name for name, row in OPTIONS.items() if "servers only" in row.cells[3]} == set(SERVERS_ONLY)


def test_callbacks() -> None:
    found = {row.code(0)[0]: row.cells[1] for row in table("Callbacks")}
    assert list(found) == [f"{name}({', '.join(given)})" for name, given in PARAMETERS.items()]
    for text, by in found.items():
        roles = {role for role, names in ROLES.items() if text.split("(")[0] in names}
        assert set(by.split(", ")) == ({"all"} if len(roles) == 3 else roles), text


def test_ends_name_operations() -> None:
    found = {name for row in table("How a connection ended") for name in row.cells[0].split(", ")}
    assert found == set(wawo.Operation.__members__) - {"UNKNOWN"}


def test_exceptions() -> None:
    found = {row.code(0)[0].removeprefix("wawo."): row for row in table("Exceptions")}
    kinds = {name: kind for name in wawo.__all__ if isinstance(kind := getattr(wawo, name), type)}
    assert set(found) == {name for name, kind in kinds.items() if issubclass(kind, wawo.WawoError)} - {"WawoError"}
    for name in set(found) - {"StartError"}:
        bases = [base.removeprefix("wawo.") for base in found[name].code(1)] or ["WawoError"]
        assert all(issubclass(kinds[name], kinds.get(base) or getattr(builtins, base)) for base in bases), name


def public(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def test_connection_has_all() -> None:
    found = [word.removeprefix("conn.") for row in table("Connection") for word in row.code(0)]
    assert sorted(found) == sorted(public(wawo.Connection))


@pytest.mark.parametrize(
    ("cls", "roots"),
    [(wawo.TcpServer, "server|component"), (wawo.TcpAgent, "agent|component"), (wawo.TcpClient, "client")],
)
def test_components_have_all(cls: type, roots: str) -> None:
    words = [word for row in table("Server, agent, client") for word in row.code(0)]
    found = {match[1] for word in words if (match := re.fullmatch(rf"(?:{roots})\.(\w+)", word))}
    assert found == public(cls)


def test_pool_has_all() -> None:
    words = {word.removeprefix("pool.") for row in table("Server, agent, client") for word in row.code(0)}
    inner = {"native", "enter", "leave", "busy", "end", "forked"}  # for the runs of components
    assert public(wawo.IoPool) - inner <= words


def test_counters() -> None:
    with wawo.TcpServer(wawo.Listener()) as server:
        server.start("127.0.0.1", 0)
        stats = server.stats()
    found = [row.code(0)[0] for row in table("Counters")]
    assert sorted(found) == sorted([*stats, *stats["loops"][0]])
