"""What nobody uses: functions, constants, files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from .tree import Rule, Tree

CORE = "wawo/_core/"
CODE = (".c", ".h", ".py", ".pyx", ".pxd", ".pyi")

# name: why it may be there with no caller in the core or the package
C_KEPT = {
    "wawo_alloc_fail_at": "tests of what happens without memory",
    "wawo_alloc_calls": "the same",
    "wawo_alloc_live": "tests ask it at their end",
    "wawo_live_shares": "the same",
    "wawo_os_file_pretend": "tests of files that are not in memory",
    "wawo_uring_buffers_pretend": "tests of kernels that pack no reads",
    "wawo_dial_order": "the order of addresses, RFC 8305, is tested without a network",
    "wawo_net_dirty": "called by an inline function of its own header",
}

# The rows of net/filter_frame.c name a codec, and the preprocessor its functions.
CODEC = re.compile(r"^FRAMING\((\w+)", re.MULTILINE)
DECLARED = re.compile(r"^(?!static|typedef|#|return|else)[A-Za-z_][\w \*]*?\b\*?(wawo_\w+)\([^;{]*\);", re.MULTILINE)
INLINE = re.compile(r"^static (?:inline|wawo_inline) [^;{]*?\b(\w+)\(", re.MULTILINE)
# The beginning of names that are put together at run time: getattr(self, f"_do_{verb}").
GLUED = re.compile(r"""getattr\(\w+, f"(\w+)\{""")
MACRO = re.compile(r"^#[ \t]*define[ \t]+(\w+)", re.MULTILINE)


def words_of(tree: Tree, names: list[str]) -> dict[str, int]:
    """How often each word stands in these files."""
    counts: dict[str, int] = {}
    for name in names:
        text = tree.c_code(name) if name.endswith((".c", ".h")) else tree.text(name)
        for word in re.findall(r"\w+", text):
            counts[word] = counts.get(word, 0) + 1
    return counts


def c_functions_are_called(tree: Tree) -> list[str]:
    """What crosses a file is called in another one than its own; a test is no caller."""
    kept = {*C_KEPT, *(f"wawo_{codec}_{verb}" for codec in codecs(tree) for verb in ("cut", "seal"))}
    counted = {name: words_of(tree, [name]) for name in tree.under(CORE, ends=(".c", ".h", ".pyx"))}
    wrong = []
    for name in tree.under(CORE, ends=".h"):
        for function in DECLARED.findall(tree.c_code(name)):
            own = name.removesuffix(".h") + ".c"
            uses = sum(words.get(function, 0) for where, words in counted.items() if where not in (name, own))
            uses += counted[name][function] - 1  # macros and inline functions
            defined = sum(
                f.name == function for where in counted if where.endswith(".c") for f in tree.c_functions(where)
            )
            elsewhere = defined and not (own in counted and counted[own].get(function, 0))
            if uses - (1 if elsewhere else 0) <= 0 and function not in kept:
                wrong.append(f"{name}: {function}() has no caller in another file")
    return wrong


def codecs(tree: Tree) -> list[str]:
    rows = f"{CORE}net/filter_frame.c"
    return CODEC.findall(tree.text(rows)) if rows in tree.files else []


def c_helpers_are_used(tree: Tree) -> list[str]:
    """Inline functions and macros of the headers."""
    kept = {*C_KEPT, *(f"wawo_{codec}_cut" for codec in codecs(tree))}
    counts = words_of(tree, tree.under(CORE, ends=(".c", ".h", ".pyx", ".pxd")))
    wrong = []
    for name in tree.under(CORE, ends=".h"):
        text = tree.c_code(name)
        defined = [*INLINE.findall(text), *(w for w in MACRO.findall(text) if not w.endswith("_H"))]
        wrong += [
            f"{name}: {word} is used nowhere"
            for word in sorted(set(defined))
            if counts.get(word, 0) <= defined.count(word) and word not in kept and not word.startswith("_")
        ]
    return wrong


def definitions(module: ast.Module) -> Iterator[tuple[str, int]]:
    """What a module defines at its top, and the private methods and attributes of its classes."""
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, node.lineno) for target in targets if isinstance(target, ast.Name))
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and re.match(r"_[a-z]", inner.name):
                    yield inner.name, inner.lineno


def python_definitions_are_used(tree: Tree) -> list[str]:
    """In the package: by the package, or public by wawo.__all__. In tests/support and bench: anywhere there."""
    package = tree.under("wawo/", ends=CODE)
    counts = words_of(tree, package)
    around = words_of(
        tree, [n for n in tree.files if n.endswith((".py", ".toml", ".md", ".yml")) or n.startswith("ci/")]
    )
    wrong = []
    for name in tree.under("wawo/", "tests/support/", "bench/", ends=".py"):
        inside = name.startswith("wawo/")
        glued = GLUED.findall(tree.text(name))
        for word, line in definitions(tree.module(name)):
            if re.fullmatch(r"__\w+__|test_\w+|Test\w+|pytest_\w+", word):
                continue
            begins = [begin for begin in glued if word.startswith(begin)]
            if any(len(begin) > 2 or word.removeprefix(begin) in around for begin in begins):
                continue
            if (counts if inside else around).get(word, 0) < 2:
                wrong.append(f"{name}:{line}: {word} is used nowhere")
    return wrong


def files_are_named_somewhere(tree: Tree) -> list[str]:
    """A module by an import, a program or a page by a page, a script or a test."""
    everything = {n: tree.text(n) for n in tree.files if n.endswith((".py", ".md", ".toml", ".yml", ".yaml", ".in"))}
    everything |= {name: tree.text(name) for name in tree.under("ci/") if "." not in PurePosixPath(name).name}
    wrong = []
    for name in tree.files:
        path = PurePosixPath(name)
        if path.suffix not in (".py", ".md", ".sh") or re.match(r"(test_\w+|conftest|__init__|__main__)$", path.stem):
            continue
        if len(path.parts) == 1 or name.startswith("tests/typing/"):
            continue
        if not any(
            re.search(rf"\b{re.escape(path.stem)}\b", text) for other, text in everything.items() if other != name
        ):
            wrong.append(f"{name} is named nowhere")
    return wrong


RULES = {
    "C functions are called": Rule(
        c_functions_are_called,
        {
            f"{CORE}io/a.h": "int wawo_a_open(int n);\nint wawo_a_close(int n);\n",
            f"{CORE}io/a.c": "int wawo_a_open(int n)\n{\n}\nint wawo_a_close(int n)\n{\n}\n",
            f"{CORE}io/b.c": "int x = wawo_a_open(1); /* wawo_a_close */\n",
            "tests/c/io/test_a.c": "wawo_a_close(1);\n",
        },
        "wawo_a_close() has no caller",
    ),
    "C helpers are used": Rule(
        c_helpers_are_used, {f"{CORE}io/a.h": "#define WAWO_OLD 1\n"}, "WAWO_OLD is used nowhere"
    ),
    "Python definitions are used": Rule(
        python_definitions_are_used, {"wawo/a.py": "def old():\n    return 1\n"}, "old is used nowhere"
    ),
    "files are named somewhere": Rule(files_are_named_somewhere, {"wawo/old.py": ""}, "wawo/old.py is named nowhere"),
}
