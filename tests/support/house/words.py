"""Words that have one place, or none: calls, tests for a system, notes to oneself, code that is switched off."""

from __future__ import annotations

import ast
import re

from .tree import Rule, Tree, line_of

CORE = "wawo/_core/"

# pattern of C: (where it may stand, why nowhere else)
C_BANNED = {
    r"\b(malloc|calloc|realloc|free|strdup|strndup|aligned_alloc|posix_memalign)\(": (
        (f"{CORE}base/alloc.c",),
        "memory goes through base/alloc.h, which counts and can fail",
    ),
    r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|alloca|setjmp|longjmp|system|popen)\(": ((), "never"),
    r"\b(printf|fprintf|puts|perror)\(": (
        (f"{CORE}base/err.c",),
        "the core prints nothing; a broken invariant does, there",
    ),
    r"\b(sleep|usleep)\(": ((), "a loop never sleeps but in its backend"),
    r"\b(socket|accept4?|recv|recvmsg|send|sendmsg|writev|connect|bind|listen|open|read|write|close|ioctl|fcntl)\(": (
        (f"{CORE}base/os_", f"{CORE}io/poller_", f"{CORE}io/uring.c"),
        "the system is called in base/os_* and the pollers only",
    ),
}
# Where a test for a system may stand.
SYSTEM_PLACES = (f"{CORE}base/os_", f"{CORE}base/config.h", f"{CORE}base/atomic.h", f"{CORE}io/backend.c")
SYSTEM_TABLE = f"{CORE}io/backend_ready.c"  # the rows of the pollers, at its end
SYSTEM = re.compile(
    r"^[ \t]*#[ \t]*(?:el)?if.*(__linux__|_WIN32|__APPLE__|__\w+BSD__|__sun|_AIX|__unix__|_MSC_VER)", re.MULTILINE
)

# Written so that this line is none itself.
NOTES = re.compile(r"\b(FIX[M]E|XX[X]|TO[D]O|HA[C]K)\b")
# A comment that is a statement: it ends as only code does.
DEAD_C = re.compile(r"^[ \t]*(?://[^\n]*[;{}]|/\*[^\n]*[;{}] ?\*/)[ \t]*$", re.MULTILINE)
DEAD_PYTHON = re.compile(
    r"^[ \t]*# *(?:(?:return|import|from|if|for|while|def|class|assert)\b.*[:)\]]|\w[\w.]* = .*[)\]\"])$"
)

# Python calls: (places, why)
PYTHON_BANNED = {
    "print": (("wawo/cli.py", "wawo/_demo.py", "wawo/_portable/deliver.py"), "only the command line does"),
    "eval": ((), "never"),
    "exec": ((), "never"),
    "breakpoint": ((), "never"),
}
# Tests that let time pass because time is what they test, or to be slow on purpose.
MAY_SLEEP = "# time is what passes"


def c_calls_have_their_place(tree: Tree) -> list[str]:
    wrong = []
    for name in tree.under(CORE, ends=(".c", ".h")):
        code = tree.c_code(name)
        for pattern, (places, why) in C_BANNED.items():
            if name.startswith(places):
                continue
            # Declarations and members are not calls: `->send(`, `.close(`, `int close(`.
            found = re.finditer(rf"(?<![\w>.*])(?<!int ){pattern}", code)
            wrong += [f"{name}:{line_of(code, call.start())}: {call[1]}(): {why}" for call in found]
    return wrong


def systems_are_known_in_few_places(tree: Tree) -> list[str]:
    wrong = []
    for name in tree.under(CORE, ends=(".c", ".h")):
        if name.startswith(SYSTEM_PLACES):
            continue
        text = tree.text(name)
        for found in SYSTEM.finditer(text):
            line = line_of(text, found.start())
            if name == SYSTEM_TABLE and line > text.count("\n") * 0.9:
                continue
            wrong.append(f"{name}:{line}: asks for a system: {found[0].strip()}")
    return wrong


def notes_are_issues(tree: Tree) -> list[str]:
    wrong = []
    for name in tree.under("wawo/", "tests/", "bench/", "examples/", "ci/", "setup.py"):
        if name.startswith("tests/fuzz/seeds"):
            continue
        try:
            text = tree.text(name)
        except UnicodeDecodeError:
            continue
        wrong += [f"{name}:{line_of(text, found.start())}: {found[0]}" for found in NOTES.finditer(text)]
    return wrong


def no_code_is_switched_off(tree: Tree) -> list[str]:
    wrong = []
    for name in tree.under("wawo/", "tests/", "bench/", "examples/"):
        if not name.endswith((".c", ".h", ".py", ".pyx")) or name.startswith("tests/support/house/"):
            continue
        text = tree.text(name)
        dead = DEAD_C if name.endswith((".c", ".h")) else None
        if dead is not None:
            wrong += [f"{name}:{line_of(text, f.start())}: {f[0].strip()}" for f in dead.finditer(text)]
            wrong += [f"{name}:{line_of(text, f.start())}: #if 0" for f in re.finditer(r"^#\s*if 0\b", text, re.M)]
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if DEAD_PYTHON.match(line):
                wrong.append(f"{name}:{number}: {line.strip()}")
    return wrong


def python_calls_have_their_place(tree: Tree) -> list[str]:
    wrong = []
    for name in tree.under("wawo/", ends=".py"):
        for node in ast.walk(tree.module(name)):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name) and node.func.id in PYTHON_BANNED:
                places, why = PYTHON_BANNED[node.func.id]
                if name not in places:
                    wrong.append(f"{name}:{node.lineno}: {node.func.id}(): {why}")
            called = ast.unparse(node.func)
            if re.match(r"logging\.[a-z]\w*$", called) and not names_wawo(node):
                wrong.append(f"{name}:{node.lineno}: {called}(): use the logger 'wawo'")
    return wrong


def names_wawo(call: ast.Call) -> bool:
    return [ast.unparse(argument) for argument in call.args] == ["'wawo'"]


def tests_do_not_sleep(tree: Tree) -> list[str]:
    """But for a millisecond between two looks at a condition, in a loop that has a deadline."""
    wrong = []
    for name in tree.under("tests/", ends=".py"):
        lines = tree.text(name).splitlines()
        for node in ast.walk(tree.module(name)):
            if not isinstance(node, ast.Call) or ast.unparse(node.func) not in ("time.sleep", "sleep"):
                continue
            argument = node.args[0] if node.args else None
            short = isinstance(argument, ast.Constant) and isinstance(argument.value, float) and argument.value <= 0.01
            if not short and MAY_SLEEP not in lines[node.lineno - 1]:
                wrong.append(f"{name}:{node.lineno}: {lines[node.lineno - 1].strip()}")
    return wrong


def each_dependency_has_its_reason(tree: Tree) -> list[str]:
    """In pyproject.toml, behind it on its line."""
    text = tree.text("pyproject.toml")
    wrong = []
    for table in re.finditer(r"^(dependencies|\w+) = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL):
        inside = text.rfind("\n[", 0, table.start())
        section = text[inside + 1 : text.find("\n", inside + 1)]
        if section == "[project.optional-dependencies]" or table[1] == "dependencies":
            lines = [line.strip() for line in table[2].splitlines() if line.strip().startswith('"')]
            wrong += [f"pyproject.toml: no reason: {line}" for line in lines if not re.search(r'",\s+# \w', line)]
    return wrong


BAD_PYPROJECT = '[project.optional-dependencies]\ntest = [\n    "pytest>=9",  # the runner\n    "leftpad",\n]\n'

RULES = {
    "malloc has one door": Rule(
        c_calls_have_their_place, {f"{CORE}net/a.c": "/* free() */\nvoid f(void *p) { free(p); }\n"}, "a.c:2: free()"
    ),
    "the system is called in few places": Rule(
        c_calls_have_their_place, {f"{CORE}net/a.c": "int f(int fd) { return close(fd); }\n"}, "close()"
    ),
    "systems are known in few places": Rule(
        systems_are_known_in_few_places, {f"{CORE}net/a.c": "#if defined(__linux__)\n#endif\n"}, "asks for a system"
    ),
    "no notes to oneself": Rule(notes_are_issues, {"wawo/a.py": "# TO" + "DO: later\n"}, "a.py:1"),
    "no C is switched off": Rule(no_code_is_switched_off, {"wawo/a.c": "/* x = 1; */\n"}, "a.c:1"),
    "no Python is switched off": Rule(no_code_is_switched_off, {"wawo/a.py": "# return f(x)\n"}, "a.py:1"),
    "the package does not print": Rule(python_calls_have_their_place, {"wawo/a.py": "print(1)\n"}, "print()"),
    "the package has one logger": Rule(
        python_calls_have_their_place, {"wawo/a.py": "logging.warning('x')\n"}, "logging.warning"
    ),
    "tests do not sleep": Rule(tests_do_not_sleep, {"tests/test_a.py": "time.sleep(1)\n"}, "test_a.py:1"),
    "each dependency has its reason": Rule(
        each_dependency_has_its_reason, {"pyproject.toml": BAD_PYPROJECT}, 'no reason: "leftpad"'
    ),
}
