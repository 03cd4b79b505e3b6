"""Compiles the C core as strict C11 with the tests of tests/c, and runs them: no Python package is involved.

    python tests/c/build.py [--mode debug|release|asan|tsan] [--cc clang] [--build-only] [-l] [-v] [FILTER...]

Objects stay in build/c/<mode>/; what did not change is not compiled again. Needs only the standard library.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = Path("wawo/_core")
TESTS = Path("tests/c")
FUZZ = Path("tests/fuzz")

STRICT = [
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Werror",
    "-g",
    "-pthread",
    f"-I{CORE}",
    f"-I{TESTS}",
    f"-I{FUZZ.parent}",
]

SANITIZER = ["-O1", "-fno-omit-frame-pointer", "-DWAWO_DEBUG"]

# mode: (flags of the compiler and the linker, options of the sanitizers' run time)
MODES: dict[str, tuple[list[str], dict[str, str]]] = {
    "release": (["-O2", "-DNDEBUG"], {}),
    "debug": (["-O0", "-DWAWO_DEBUG"], {}),
    "asan": (
        [*SANITIZER, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
        {
            "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        },
    ),
    "tsan": ([*SANITIZER, "-fsanitize=thread"], {"TSAN_OPTIONS": "second_deadlock_stack=1:die_after_fork=0"}),
}


def find_compiler(wanted: str | None) -> str:
    for name in [wanted] if wanted else ["gcc", "clang", "cc"]:
        if shutil.which(name):
            return name
    raise SystemExit(f"no C compiler: {wanted or 'gcc, clang or cc'} is not on the path; install the package gcc")


def sources() -> list[Path]:
    listed = runpy.run_path(str(CORE / "manifest.py"))["SOURCES"][sys.platform]
    tests = [*sorted(TESTS.glob("support/*.c")), *sorted(TESTS.rglob("test_*.c")), *sorted(FUZZ.glob("fuzz_*.c"))]
    return [*(CORE / name for name in listed), *tests]


def is_fresh(made: Path, inputs: Iterable[Path], command: list[str], note: Path) -> bool:
    """Whether `made` is newer than all inputs and was made by this very command."""
    try:
        when = made.stat().st_mtime_ns
        return note.read_text() == json.dumps(command) and all(p.stat().st_mtime_ns < when for p in inputs)
    except OSError:
        return False


def inputs_of(rule: Path) -> list[Path]:
    """The files that a rule written by `-MMD` names."""
    words = rule.read_text().replace("\\\n", " ").split(":", 1)[1].split()
    return [Path(word) for word in words]


def run_tool(command: list[str], note: Path) -> str:
    """Runs the compiler or linker; what it complained about, or nothing."""
    note.parent.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        note.write_text(json.dumps(command))
        return done.stderr
    return done.stderr or f"{' '.join(command)}: exit status {done.returncode}\n"


def compile_one(compiler: str, flags: list[str], folder: Path, source: Path) -> tuple[Path, str]:
    made = folder / source.with_suffix(".o")
    rule, note = made.with_suffix(".d"), made.with_suffix(".cmd")
    command = [compiler, *STRICT, *flags, "-MMD", "-MF", str(rule), "-c", str(source), "-o", str(made)]
    if rule.exists() and is_fresh(made, inputs_of(rule), command, note):
        return made, ""
    return made, run_tool(command, note)


def build(compiler: str, mode: str) -> Path:
    flags = MODES[mode][0]
    folder = Path("build/c") / mode
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda source: compile_one(compiler, flags, folder, source), sources()))
    objects = [made for made, _ in results]
    complaints = "".join(text for _, text in results)
    program, note = folder / "wawo-tests", folder / "wawo-tests.cmd"
    command = [compiler, *flags, "-pthread", *map(str, objects), "-o", str(program)]
    if not complaints and not is_fresh(program, objects, command, note):
        complaints = run_tool(command, note)
    if complaints:
        sys.stderr.write(complaints)
        raise SystemExit(f"the C core does not build ({compiler}, {mode})")
    return program


def prefix(mode: str) -> list[str]:
    """gcc's thread sanitizer cannot live with much address randomization; where it may be switched off, it is."""
    if mode != "tsan" or not shutil.which("setarch"):
        return []
    command = ["setarch", os.uname().machine, "-R"]
    works = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else []


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mode", choices=MODES, default="debug")
    parser.add_argument("--cc", default=os.environ.get("CC"), help="the compiler (gcc, clang or cc)")
    parser.add_argument("--build-only", action="store_true", help="compile and link, run nothing")
    parser.add_argument("-l", "--list", action="store_true", help="list the tests")
    parser.add_argument("-v", "--verbose", action="store_true", help="print passed tests too")
    parser.add_argument("filter", nargs="*", help="run the tests whose name contains it")
    arguments = parser.parse_args()

    os.chdir(ROOT)
    program = build(find_compiler(arguments.cc), arguments.mode)
    if arguments.build_only:
        return 0
    environment = dict(os.environ)
    for name, value in MODES[arguments.mode][1].items():
        environment[name] = ":".join(filter(None, [value, os.environ.get(name)]))
    flags = ["-l"] * arguments.list + ["-v"] * arguments.verbose
    return subprocess.run(
        [*prefix(arguments.mode), str(program), *flags, *arguments.filter], env=environment
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
