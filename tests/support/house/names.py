"""What a name or a header must say."""

from __future__ import annotations

import ast
import re
from pathlib import PurePosixPath

from .tree import Rule, Tree, line_of
from .unused import DECLARED

CORE = "wawo/_core/"

# What a file gives to others is called after the file; or after one of these.
NOUNS = {
    "wawo.h": None,  # the face of all
}

# Functions with names of their own: C's
C_OWN = ("wawo_realloc", "wawo_free")
# What the name alone says, on whatever it is done.
VERBS = re.compile(r"wawo_\w+_(init|fini|hold|drop|lock|unlock)$")


def nouns(name: str) -> set[str]:
    stem = PurePosixPath(name).stem
    return {stem, stem.split("_")[0], stem.rstrip("s")}


def halves(tree: Tree, name: str) -> set[str]:
    """filter.h speaks for filter_pull.c too, whose noun is pull."""
    begin = name.removesuffix(".h") + "_"
    return {file.removeprefix(begin).removesuffix(".c") for file in tree.under(begin, ends=".c")}


def functions_are_called_after_their_file(tree: Tree) -> list[str]:
    wrong = []
    for name in tree.under(CORE, ends=".h"):
        if PurePosixPath(name).name in NOUNS or PurePosixPath(name).parent == PurePosixPath(CORE):
            continue
        shown = set(re.findall(r"^struct wawo_(\w+) \{", tree.c_code(name), re.MULTILINE))
        allowed = {*nouns(name), *shown, *halves(tree, name)}
        begins = (*C_OWN, *(f"wawo_{noun}" for noun in allowed))
        wrong += [
            f"{name}: {function}() is called after none of {', '.join(sorted(allowed))}"
            for function in DECLARED.findall(tree.c_code(name))
            if not function.startswith(begins)
        ]
    return wrong


def what_stays_in_a_file_is_static(tree: Tree) -> list[str]:
    """A function that no header declares is static, a static one has no prefix, and a struct is written out."""
    declared = {word for name in tree.under(CORE, ends=".h") for word in DECLARED.findall(tree.c_code(name))}
    wrong = []
    for name in tree.under(CORE, ends=".c"):
        for function in tree.c_functions(name):
            where = f"{name}:{function.line}: {function.name}()"
            if not function.head.startswith("static "):
                wrong += [f"{where} is in no header, and not static"] if function.name not in declared else []
            elif function.name.startswith("wawo_"):
                wrong.append(f"{where} stays in its file, and has a prefix")
    for name in tree.under(CORE, ends=(".c", ".h")):
        code = tree.c_code(name)
        found = re.finditer(r"^typedef (?:struct|enum|union)\b", code, re.MULTILINE)
        wrong += [f"{name}:{line_of(code, one.start())}: {one[0]}" for one in found]
    return wrong


def headers_say_what_functions_do(tree: Tree) -> list[str]:
    """A comment stands before each declaration, or before the first of a group without an empty line in it."""
    wrong = []
    for name in tree.under(CORE, ends=".h"):
        text = tree.text(name)
        code = tree.c_code(name)
        for found in DECLARED.finditer(code):
            before = text[: found.start()].split("\n\n")[-1]
            if not VERBS.match(found[1]) and "/*" not in before and "*/" not in before:
                wrong.append(f"{name}:{line_of(text, found.start())}: {found[1]}() has no comment")
    return wrong


def files_say_what_they_are(tree: Tree) -> list[str]:
    """The first line of a file: a comment or a docstring."""
    wrong = []
    for name in tree.under("wawo/", "tests/", "bench/", "examples/", "ci/", "setup.py"):
        path = PurePosixPath(name)
        if name.startswith("tests/fuzz/seeds") or path.suffix not in (".c", ".h", ".py", ".pyx", ""):
            continue
        try:
            text = tree.text(name)
        except UnicodeDecodeError:
            continue
        first = text.lstrip().removeprefix("#!/usr/bin/env bash\n").removeprefix("#!/usr/bin/env python3\n")
        if text.strip() and not first.startswith(("/*", '"""', 'r"""', "#", "# cython")):
            wrong.append(f"{name} does not say what it is")
    return wrong


def public_names_are_documented(tree: Tree) -> list[str]:
    """Public classes, functions and methods of the thin layer."""
    wrong = []
    for name in tree.under("wawo/", ends=".py"):
        path = PurePosixPath(name)
        if len(path.parts) != 2 or path.name.startswith("_"):
            continue
        for node in tree.module(name).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
                inner = (
                    [n for n in node.body if isinstance(n, ast.FunctionDef)] if isinstance(node, ast.ClassDef) else []
                )
                for item in [node, *(n for n in inner if not n.name.startswith(("_", "On")))]:
                    overload = any(
                        "setter" in ast.unparse(d) or "overload" in ast.unparse(d) for d in item.decorator_list
                    )
                    if ast.get_docstring(item) is None and not overload:
                        wrong.append(f"{name}:{item.lineno}: {item.name} has no docstring")
    return wrong


RULES = {
    "C functions are called after their file": Rule(
        functions_are_called_after_their_file,
        {f"{CORE}io/timer.h": "/* x */\nint wawo_wheel_set(int n);\n"},
        "wawo_wheel_set() is called after none of timer",
    ),
    "what stays in a file is static": Rule(
        what_stays_in_a_file_is_static, {f"{CORE}io/a.c": "int turn(void)\n{\n}\n"}, "turn() is in no header"
    ),
    "static functions have no prefix": Rule(
        what_stays_in_a_file_is_static, {f"{CORE}io/a.c": "static int wawo_turn(void)\n{\n}\n"}, "has a prefix"
    ),
    "structs are written out": Rule(
        what_stays_in_a_file_is_static, {f"{CORE}io/a.h": "typedef struct a a_t;\n"}, "a.h:1: typedef struct"
    ),
    "headers say what functions do": Rule(
        headers_say_what_functions_do, {f"{CORE}io/timer.h": "/* F2 */\n\nint wawo_timer_set(int n);\n"}, "no comment"
    ),
    "files say what they are": Rule(files_say_what_they_are, {"wawo/a.py": "import os\n"}, "does not say what it is"),
    "public names are documented": Rule(
        public_names_are_documented,
        {"wawo/a.py": '"""A."""\nclass B:\n    """B."""\n    def f(self): ...\n'},
        "f has no",
    ),
}
