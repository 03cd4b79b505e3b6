"""Whether the words in which pages speak of the API exist.

``server.start(sock=)``, ``conn.extra``, ``max_connections=``, ``OnReceive(conn, data)``, ``wawo.Pack.flag``,
``errno.EMSGSIZE``: each is looked up in what it speaks of.
"""

from __future__ import annotations

import ast
import errno
import functools
import inspect
import re
import ssl
from pathlib import Path
from typing import Any

import wawo
from wawo.listener import PARAMETERS
from wawo.options import OPTION_NAMES

ROOTS: dict[str, list[Any]] = {
    "server": [wawo.TcpServer],
    "agent": [wawo.TcpAgent],
    "client": [wawo.TcpClient],
    "component": [wawo.TcpServer, wawo.TcpAgent],
    "conn": [wawo.Connection],
    "pool": [wawo.IoPool],
    "wawo": [wawo],
    "errno": [errno],
    "ssl": [ssl],
}
WORD = re.compile(rf"(?:{'|'.join(ROOTS)})\.[A-Za-z_][\w.]*(?:\([\w=, ]*\))?|\w+=|On[A-Z]\w*\([^)]*\)")
"""What check() understands; anything else in backticks is code, a file or a value."""


def check(word: str) -> None:
    """Fail unless the word exists."""
    callback = re.fullmatch(r"(On\w+)\((.*)\)", word)
    if callback is not None:
        given = tuple(callback[2].split(", "))
        if callback[1] == "OnClose" and given[1:] != ("operation", "error"):  # with what it was called
            assert (given[0], given[1] in wawo.Operation.__members__, hasattr(errno, given[2])) == ("conn", True, True)
            return
        pull = callback[1] == "OnReceive" and given == ("conn", "length")
        assert pull or given == PARAMETERS[callback[1]], word
        return
    if word.endswith("="):
        assert word[:-1] in _all_keywords(), word
        return
    found = re.fullmatch(r"(\w+)\.([\w.]+)(?:\(([\w=, ]*)\))?", word)
    assert found is not None, word
    for root in ROOTS[found[1]]:
        value = _attribute(root, found[2])
        for name in re.findall(r"\w+(?==)", found[3] or ""):
            assert name in _keywords(value), word


def _attribute(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
        if name == "connection" and isinstance(root, property):
            root = wawo.Connection
    return root


def _keywords(function: Any) -> set[str]:
    if function is wawo.Listener:
        return set(PARAMETERS)
    try:
        return set(inspect.signature(function).parameters)
    except ValueError:  # compiled: the stub knows
        given = _stub()[function.__name__].args
        return {arg.arg for arg in [*given.posonlyargs, *given.args, *given.kwonlyargs]}


@functools.cache
def _all_keywords() -> set[str]:
    """Options, what components are made with, and what their methods take."""
    found = {*OPTION_NAMES, *inspect.signature(wawo.Component).parameters}
    for cls in (wawo.TcpServer, wawo.TcpAgent, wawo.TcpClient):
        for _, method in inspect.getmembers(cls, inspect.isfunction):
            found.update(inspect.signature(method).parameters)
    return found


@functools.cache
def _stub() -> dict[str, ast.FunctionDef]:
    text = (Path(wawo.__file__).with_name("_core") / "_connection.pyi").read_text()
    return {node.name: node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
