"""An include or an import goes down or stays on its floor, never up (ARCHITECTURE.md, The floors)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from .tree import Rule, Tree

CORE = "wawo/_core"

# floor of the C core: the floors that it may include
MAY_SEE = {
    "base": {"base"},
    "mem": {"mem", "base"},
    "io": {"io", "mem", "base"},
    "proto": {"proto", "mem", "base"},
    "net": {"net", "proto", "io", "mem", "base"},
}
# All of C that the binding may see.
BINDING_SEES = {"wawo.h", "base/err.h", "binding.h", "Python.h"}

# The modules of the binding; each cimports from those before it.
BINDING = ("c", "_buffers", "_tls", "_connection", "_endpoint", "_fanout", "_load", "_native")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
EXTERN = re.compile(r'cdef extern from "<?([^">]+)>?"')
CIMPORT = re.compile(r"^from (\S+) cimport", re.MULTILINE)


def included(tree: Tree, name: str) -> Iterator[str]:
    """What a C file of the core includes, beside it or from the core's root, as the compiler looks it up."""
    folder = PurePosixPath(name).parent
    for target in INCLUDE.findall(tree.text(name)):
        beside = folder / target
        parts: list[str] = []
        for part in beside.parts:
            parts = parts[:-1] if part == ".." else [*parts, part]
        path = "/".join(parts)
        yield path if path in tree.files else f"{CORE}/{target}"


def includes_go_down(tree: Tree) -> list[str]:
    wrong = []
    for name in tree.under(f"{CORE}/", ends=(".c", ".h")):
        inside = PurePosixPath(name).relative_to(CORE)
        if len(inside.parts) == 1:
            continue
        floor = inside.parts[0]
        if floor not in MAY_SEE:
            wrong.append(f"{name}: '{floor}' is no floor")
            continue
        for target in included(tree, name):
            top = PurePosixPath(target).relative_to(CORE).parts[0] if target.startswith(CORE) else target
            # wawo.h is the face of the top floor: only what implements it may see it.
            if top not in MAY_SEE[floor] and not (floor == "net" and top == "wawo.h"):
                wrong.append(f"{name} includes {target}")
    return wrong


def binding_sees_one_header(tree: Tree) -> list[str]:
    wrong = []
    for name in tree.under(f"{CORE}/", ends=(".pyx", ".pxd")):
        wrong += [f"{name} declares {head}" for head in EXTERN.findall(tree.text(name)) if head not in BINDING_SEES]
        for module in CIMPORT.findall(tree.text(name)):
            if not re.match(r"\.\w+$|cpython\.|libc\.", module):
                wrong.append(f"{name} cimports from {module}")
            elif module[0] == "." and module[1:] not in BINDING[: place(name) + 1]:
                wrong.append(f"{name} cimports from {module}, which stands above it")
    return wrong


def place(name: str) -> int:
    stem = PurePosixPath(name).stem
    return BINDING.index(stem) if stem in BINDING else -1


def imports(tree: Tree, name: str) -> Iterator[tuple[str, bool]]:
    """(absolute name of a module of wawo, only for types?) of each import in a Python file of the package."""
    package = name.removesuffix("/__init__.py").removesuffix(".py").split("/")
    if not name.endswith("__init__.py"):
        package = package[:-1]

    def walk(node: ast.AST, typing: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                for inner in child.body:
                    yield from walk(ast.Module([inner], []), True)
            elif isinstance(child, ast.ImportFrom) and child.level:
                base = package[: len(package) - child.level + 1]
                if child.module:
                    yield ".".join([*base, child.module]), typing
                    continue
                for alias in child.names:
                    yield ".".join([*base, alias.name]), typing
            else:
                yield from walk(child, typing)

    return walk(tree.module(name), False)


def module_of(tree: Tree, dotted: str) -> str | None:
    path = dotted.replace(".", "/")
    for name in (f"{path}.py", f"{path}/__init__.py"):
        if name in tree.files:
            return name
    return None


def imports_go_down(tree: Tree) -> list[str]:
    """The thin layer knows the engine by wawo._core alone, and no engine knows the thin layer."""
    wrong = []
    for name in tree.under("wawo/", ends=".py"):
        floor = PurePosixPath(name).parts[1]
        for module, _ in imports(tree, name):
            part = module.split(".")[1] if "." in module else ""
            engine = part in ("_core", "_portable")
            if floor in ("_core", "_portable"):
                if not engine or (floor == "_portable" and part == "_core"):
                    wrong.append(f"{name} imports {module}")
            elif part == "_portable" or (part == "_core" and module not in ("wawo._core", "wawo._core._version")):
                if not module_of(tree, module) and module.rpartition(".")[0] == "wawo._core":
                    continue  # a name of wawo._core, not a module
                wrong.append(f"{name} imports {module}")
    return wrong


def imports_go_in_no_circle(tree: Tree) -> list[str]:
    """At run time; what only types need may look back."""
    graph: dict[str, set[str]] = {}
    for name in tree.under("wawo/", ends=".py"):
        if not name.endswith("__init__.py"):
            graph[name] = {
                found for module, types in imports(tree, name) if not types and (found := module_of(tree, module))
            }
    wrong: list[str] = []
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            wrong.append(" -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            for target in sorted(graph.get(name, ())):
                visit(target, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])
    return wrong


def every_c_file_is_compiled(tree: Tree) -> list[str]:
    listed = re.findall(r'"([\w/]+\.c)"', tree.text(f"{CORE}/manifest.py"))
    there = [name.removeprefix(f"{CORE}/") for name in tree.under(f"{CORE}/", ends=".c")]
    twice = {name for name in listed if listed.count(name) > 1}
    return [
        *(f"{name} is not in manifest.py" for name in there if name not in listed),
        *(f"manifest.py lists {name}, which is not there" for name in listed if name not in there),
        *(f"manifest.py lists {name} twice" for name in sorted(twice)),
    ]


RULES = {
    "includes go down": Rule(
        includes_go_down,
        {f"{CORE}/mem/ring.c": '#include "../net/conn.h"\n', f"{CORE}/net/conn.h": ""},
        "mem/ring.c includes wawo/_core/net/conn.h",
    ),
    "an unknown floor": Rule(includes_go_down, {f"{CORE}/attic/old.c": ""}, "'attic' is no floor"),
    "the binding sees one header": Rule(
        binding_sees_one_header,
        {f"{CORE}/_native.pyx": 'cdef extern from "<net/conn.h>" nogil:\n    pass\n'},
        "declares net/conn.h",
    ),
    "cimports go down": Rule(
        binding_sees_one_header,
        {f"{CORE}/_buffers.pyx": "from ._endpoint cimport Endpoint\n"},
        "_buffers.pyx cimports from ._endpoint, which stands above it",
    ),
    "imports go down": Rule(
        imports_go_down,
        {"wawo/server.py": "from ._core._endpoint import Endpoint\n", f"{CORE}/_endpoint.py": ""},
        "wawo/server.py imports wawo._core._endpoint",
    ),
    "no engine imports the thin layer": Rule(
        imports_go_down, {"wawo/_portable/loop.py": "from ..server import TcpServer\n"}, "imports wawo.server"
    ),
    "imports go in no circle": Rule(
        imports_go_in_no_circle,
        {"wawo/a.py": "from .b import B\n", "wawo/b.py": "def f():\n    from . import a\n"},
        "wawo/a.py -> wawo/b.py -> wawo/a.py",
    ),
    "every C file is compiled": Rule(
        every_c_file_is_compiled, {f"{CORE}/manifest.py": "BASE = ()\n", f"{CORE}/base/new.c": ""}, "base/new.c is not"
    ),
}
