"""The files of a checkout, and the little that the rules must understand of C, Cython and Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

PLACES = ("wawo", "tests", "bench", "examples", "ci", "docs")
MADE = {"__pycache__", "build", ".ci-venv", ".venv"}

# Comments, strings and characters of C; what is a comment or a literal is blanked, lines stay where they are.
C_LITERAL = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)
# The style of clang-format here: a function begins in column 0 and its braces stand in column 0.
C_FUNCTION = re.compile(r"^(?P<head>[A-Za-z_][^;{}#]*?\b(?P<name>\w+)\([^;{}]*\))\n\{\n(?P<body>.*?)^\}", re.M | re.S)
CYTHON_FUNCTION = re.compile(r"^(?P<indent> *)(?:cdef|cpdef|def)\b[^\n]*\(", re.MULTILINE)


class Function(NamedTuple):
    path: str
    name: str
    line: int
    length: int
    """Lines, from its first to its last."""
    head: str


def blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", found[0])


def line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


@dataclass
class Tree:
    root: Path
    texts: dict[str, str] = field(default_factory=dict)
    functions: dict[str, list[Function]] = field(default_factory=dict)
    modules: dict[str, ast.Module] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[str]:
        """All that people wrote, by its path from the root."""
        found = [
            path for path in self.root.iterdir() if path.is_file() and path.suffix in (".py", ".md", ".toml", ".yml")
        ]
        for place in PLACES:
            found += [path for path in (self.root / place).rglob("*") if path.is_file()]
        names = (path.relative_to(self.root) for path in found)
        return sorted(str(name) for name in names if not MADE & set(name.parts) and name.suffix not in (".so", ".pyc"))

    def under(self, *folders: str, ends: str | tuple[str, ...] = "") -> list[str]:
        return [name for name in self.files if name.startswith(folders) and name.endswith(ends)]

    def text(self, name: str) -> str:
        if name not in self.texts:
            self.texts[name] = (self.root / name).read_text(encoding="utf-8")
        return self.texts[name]

    def c_code(self, name: str) -> str:
        """A C file without comments and literals."""
        key = f"{name}\0"
        if key not in self.texts:
            self.texts[key] = C_LITERAL.sub(blank, self.text(name))
        return self.texts[key]

    def module(self, name: str) -> ast.Module:
        if name not in self.modules:
            self.modules[name] = ast.parse(self.text(name), name)
        return self.modules[name]

    def c_functions(self, name: str) -> list[Function]:
        if name not in self.functions:
            code = self.c_code(name)
            self.functions[name] = [
                Function(name, found["name"], line_of(code, found.start()), found[0].count("\n") + 1, found["head"])
                for found in C_FUNCTION.finditer(code)
            ]
        return self.functions[name]

    def cython_functions(self, name: str) -> Iterator[Function]:
        """Each ends before the next line that is indented no deeper."""
        text = self.text(name)
        lines = text.splitlines()
        for found in CYTHON_FUNCTION.finditer(text):
            first = line_of(text, found.start())
            deep, last = len(found["indent"]), first
            for number in range(first + 1, len(lines) + 1):
                line = lines[number - 1]
                if line.strip() and len(line) - len(line.lstrip()) <= deep and not line.lstrip().startswith(")"):
                    break
                last = number if line.strip() else last
            word = re.findall(r"(\w+)\($", found[0])
            yield Function(name, word[0] if word else "?", first, last - first + 1, found[0])

    def python_functions(self, name: str) -> Iterator[Function]:
        for node in ast.walk(self.module(name)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield Function(name, node.name, node.lineno, (node.end_lineno or 0) - node.lineno + 1, "")


class Rule(NamedTuple):
    check: Callable[[Tree], list[str]]
    bad: dict[str, str]
    """A tree, path and text, in which it must find something."""
    says: str
    """What must stand in what it says of that."""
