"""Functions and files that can be read at one go."""

from __future__ import annotations

from .tree import Rule, Tree

FUNCTION_LINES = 70
FILE_LINES = {".c": 800, ".h": 800, ".pyx": 500, ".pxd": 500, ".py": 400, ".pyi": 500}

CODE = ("wawo/", "tests/", "bench/", "examples/", "setup.py")


def functions_are_short(tree: Tree) -> list[str]:
    found = [
        *(f for name in tree.under(*CODE, ends=(".c", ".h")) for f in tree.c_functions(name)),
        *(f for name in tree.under(*CODE, ends=".pyx") for f in tree.cython_functions(name)),
        *(f for name in tree.under(*CODE, ends=".py") for f in tree.python_functions(name)),
    ]
    return [
        f"{f.path}:{f.line}: {f.name} has {f.length} lines, over {FUNCTION_LINES}"
        for f in found
        if f.length > FUNCTION_LINES
    ]


def files_are_short(tree: Tree) -> list[str]:
    wrong = []
    for end, limit in FILE_LINES.items():
        for name in tree.under(*CODE, ends=end):
            lines = tree.text(name).count("\n")
            if lines > limit:
                wrong.append(f"{name} has {lines} lines, over {limit}")
    return wrong


LONG_C = "static int walk(int n)\n{\n" + "    n++;\n" * 70 + "    return n;\n}\n"
LONG_PYTHON = "def walk(n):\n" + "    n += 1\n" * 70 + "    return n\n"

RULES = {
    "functions of C are short": Rule(functions_are_short, {"wawo/_core/io/a.c": LONG_C}, "walk has 74 lines"),
    "functions of Cython are short": Rule(
        functions_are_short, {"wawo/_core/a.pyx": "cdef int b() noexcept:\n    return 0\n" + LONG_PYTHON}, "72 lines"
    ),
    "functions of Python are short": Rule(functions_are_short, {"wawo/a.py": LONG_PYTHON}, "walk has 72 lines"),
    "files are short": Rule(files_are_short, {"wawo/a.py": "A = 1\n" * 401}, "401 lines, over 400"),
}
