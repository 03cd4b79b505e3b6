"""Compiles the C core as strict C11 with the tests of tests/c, and runs them: no Python package is involved.

    python tests/c/build.py [--mode debug|release|asan|tsan] [--cc clang] [--build-only] [-l] [-v] [FILTER...]
    python tests/c/build.py --strict [--cc clang]      compiles every file for its warnings alone
    python tests/c/build.py --cpu aarch64 [FILTER...]  for another CPU, with ziglang and qemu-user-static
    python tests/c/build.py --target x86_64-windows [--cc zig] [FILTER...]   for another system: with mingw-w64 and Wine
    python tests/c/build.py --mode sim [-v] -- [--first SEED] [--count SEEDS] [--backend NAME]
    python tests/c/build.py --target aarch64-macos     the same for macOS or a BSD: with ziglang, only built
    python tests/c/build.py --mode kqueue [FILTER...]  the poller of macOS and BSD over a look-alike of kqueue

The simulation over a fake kernel: tests/c/sim/sim.h. The look-alike: tests/c/support/kqueue/sys/event.h.
Objects stay in build/c/<mode>/; what did not change is not compiled again. Needs only the standard library.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
CORE = Path("wawo/_core")
TESTS = Path("tests/c")
SIM = TESTS / "sim"
FUZZ = Path("tests/fuzz")
KQUEUE = TESTS / "support" / "kqueue"

# Tests of what only POSIX systems have, beside those whose names say it.
POSIX_ONLY = [TESTS / "io" / "test_poller.c"]

STRICT = [
    "-std=c11",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wconversion",
    "-Wcast-align",
    "-Wformat=2",
    "-Wpointer-arith",
    "-Wundef",
    "-Wvla",
    "-Wwrite-strings",
    "-Werror",
    "-g",
    "-pthread",
    f"-I{CORE}",
    f"-I{TESTS}",
    f"-I{FUZZ.parent}",
]

SANITIZER = ["-O1", "-g1", "-fno-omit-frame-pointer", "-DWAWO_DEBUG"]

ASAN: tuple[list[str], dict[str, str]] = (
    [*SANITIZER, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    {
        "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:abort_on_error=1",
    },
)

TSAN: tuple[list[str], dict[str, str]] = (
    [*SANITIZER, "-fsanitize=thread"],
    {"TSAN_OPTIONS": "second_deadlock_stack=1:die_after_fork=0"},
)

# At last: the linker tells the look-alike what is closed.
LOOKALIKE = ["-DWAWO_KQUEUE=1", f"-I{KQUEUE}", "-Wl,--wrap=close"]

# mode: (flags of the compiler and the linker, options of the sanitizers' run time)
MODES: dict[str, tuple[list[str], dict[str, str]]] = {
    "release": (["-O2", "-DNDEBUG"], {}),
    "debug": (["-O0", "-DWAWO_DEBUG"], {}),
    "asan": ASAN,
    "sim": ([*ASAN[0], *LOOKALIKE[:2], "-DWAWO_URING_FRESH=4"], ASAN[1]),  # limits that its few connections meet
    "tsan": TSAN,
    "kqueue": ([*ASAN[0], *LOOKALIKE], ASAN[1]),
    "kqueue-tsan": ([*TSAN[0], *LOOKALIKE], TSAN[1]),
}


# As Microsoft's compiler, as far as clang can be taken for it: no header of Windows is here.
MSVC = ["-fms-extensions", "-fms-compatibility-version=19.40", "-U__clang__", "-U__GNUC__", "-ffreestanding", "-msse2"]
MSVC += [f"-I{TESTS}/msvc", "-Wno-unused-command-line-argument", "-Wno-pedantic", "-Wno-language-extension-token"]
MSVC_SOURCE = TESTS / "msvc" / "headers.c"
MSVC_TARGETS = ["x86_64-pc-windows-msvc", "i686-pc-windows-msvc", "aarch64-pc-windows-msvc"]

# cpu: (flags of zig cc, what runs the program). Statically linked with musl, so that nothing of that CPU need be here.
# A trap is all that is left of UBSan: it has no run time for them.
CPUS: dict[str, tuple[list[str], list[str]]] = {
    "aarch64": (["-target", "aarch64-linux-musl"], ["qemu-aarch64-static"]),
    "armv7": (["-target", "arm-linux-musleabihf", "-mcpu=cortex_a7"], ["qemu-arm-static"]),
    "i686": (["-target", "x86-linux-musl", "-mcpu=pentium4"], []),
    "s390x": (["-target", "s390x-linux-musl"], ["qemu-s390x-static"]),  # big-endian
}
UB_TRAP = ["-fsanitize=undefined", "-fsanitize-trap=undefined"]
CPU_FLAGS = ["-O1", "-g1", "-DWAWO_DEBUG", *UB_TRAP, "-static"]  # with -O2 zig needs more than twice as long
# Slower, but how much is not known: a deadline that is hit for that says nothing.
EMULATED = {"WAWO_TEST_DEADLINE": "90"}
# The names of tests that qemu's translation of system calls, or Wine, cannot run, each with what is missing.
QEMU_UNABLE = TESTS / "qemu.txt"
WINE_UNABLE = TESTS / "wine.txt"


class Target(NamedTuple):
    platform: str  # as the manifest has it
    flags: list[str]  # of zig cc
    compiler: str = "zig"  # that is used unless --cc names another; flags of its own
    compiler_flags: Sequence[str] = ()
    runner: Sequence[str] = ()  # none: nothing here can run it
    unable: Path | None = None


TARGETS = {
    "x86_64-windows": Target(
        "win32",
        ["-target", "x86_64-windows-gnu", *UB_TRAP],
        "x86_64-w64-mingw32-gcc",
        ["-static"],
        ["ci/wine", "run"],
        WINE_UNABLE,
    ),
    "aarch64-macos": Target("darwin", ["-target", "aarch64-macos.11.0"]),
    "x86_64-macos": Target("darwin", ["-target", "x86_64-macos.11.0"]),
    "x86_64-freebsd": Target("freebsd", ["-target", "x86_64-freebsd"]),
    "x86_64-openbsd": Target("openbsd", ["-target", "x86_64-openbsd"]),
}


def find_zig() -> str:
    found = importlib.util.find_spec("ziglang")
    if found is None or found.origin is None:
        raise SystemExit("compiling for another CPU needs ziglang: pip install '.[cross]'")
    return str(Path(found.origin).with_name("zig"))


def find_compiler(wanted: str | None) -> str:
    for name in [wanted] if wanted else ["gcc", "clang", "cc"]:
        if shutil.which(name):
            return name
    raise SystemExit(f"no C compiler: {wanted or 'gcc, clang or cc'} is not on the path; install the package gcc")


def is_for(source: Path, platform: str, core: Iterable[Path]) -> bool:
    """Whether a file of the tests is for that system: what it tests is, or its name ends as those of `base/os_*` do."""
    if source.stem.endswith("_linux"):
        return platform == "linux"
    if source.stem.endswith(("_posix", "_win")) or source in POSIX_ONLY:
        return source.stem.endswith("_win") == (platform == "win32")
    subject = CORE / source.relative_to(source.parents[1]).with_name(source.name.removeprefix("test_"))
    return not subject.exists() or not {subject, subject.with_stem(f"{subject.stem}_win")}.isdisjoint(core)


def row(table: str, platform: str) -> tuple[str, ...]:
    """What a table of the manifest has for a system."""
    rows: dict[str, tuple[str, ...]] = runpy.run_path(str(CORE / "manifest.py"))[table]
    return next(names for system, names in rows.items() if platform.startswith(system))


def sources(mode: str, platform: str = sys.platform) -> list[Path]:
    core = [CORE / name for name in row("SOURCES", platform)]
    if mode.startswith(("sim", "kqueue")):
        core.append(CORE / "io/poller_kqueue.c")
    if mode == "sim":
        return [*core, *sorted(SIM.glob("*.c")), TESTS / "support" / "toysession.c"]
    tests = [*sorted(TESTS.glob("support/*.c")), *sorted(TESTS.rglob("test_*.c")), *sorted(FUZZ.glob("fuzz_*.c"))]
    if mode.startswith("kqueue"):
        tests += sorted(KQUEUE.glob("*.c"))
    return [*core, *(test for test in tests if is_for(test, platform, core))]


def wrapped() -> list[str]:
    """The system calls that the fake kernel answers, for the linker."""
    text = "".join(path.read_text() for path in SIM.glob("*.c"))
    calls = re.findall(r"^WRAP\([^,]+, (\w+)", text, re.M)
    calls += [f"{call}64" for call in re.findall(r"^WRAP64\((\w+)", text, re.M)]
    return [f"-Wl,--wrap={call}" for call in sorted(calls)]


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


def compile_one(compiler: list[str], flags: list[str], folder: Path, source: Path) -> tuple[Path, str]:
    made = folder / source.with_suffix(".o")
    rule, note = made.with_suffix(".d"), made.with_suffix(".cmd")
    command = [*compiler, *STRICT, *flags, "-MMD", "-MF", str(rule), "-c", str(source), "-o", str(made)]
    if rule.exists() and is_fresh(made, inputs_of(rule), command, note):
        return made, ""
    return made, run_tool(command, note)


def build(compiler: list[str], name: str, flags: list[str], platform: str = sys.platform) -> Path:
    folder = Path("build/c") / name
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda source: compile_one(compiler, flags, folder, source), sources(name, platform)))
    objects = [made for made, _ in results]
    complaints = "".join(text for _, text in results)
    program = folder / (("wawo-sim" if name == "sim" else "wawo-tests") + (".exe" if platform == "win32" else ""))
    note = program.with_suffix(".cmd")
    last = [*wrapped(), "-ldl"] if name == "sim" else []
    last += [f"-l{library}" for library in row("LIBRARIES", platform) if library != "pthread"]
    command = [*compiler, *flags, "-pthread", *map(str, objects), *last, "-o", str(program)]
    if not complaints and not is_fresh(program, objects, command, note):
        complaints = run_tool(command, note)
    if complaints:
        sys.stderr.write(complaints)
        raise SystemExit(f"the C core does not build ({' '.join(compiler)}, {name})")
    return program


def check(compiler: str) -> int:
    """Compiles every file and keeps nothing: how many have complaints."""
    plain = sources("debug")
    commands = [[compiler, *STRICT, str(source)] for source in plain]
    others = dict.fromkeys([*sources("sim"), *sources("kqueue")])
    commands += [[compiler, *STRICT, *LOOKALIKE[:2], str(source)] for source in others if source not in plain]
    if "clang" in Path(compiler).name:
        commands += [[compiler, *STRICT, *MSVC, "-target", target, str(MSVC_SOURCE)] for target in MSVC_TARGETS]

    def check_one(command: list[str]) -> str:
        done = subprocess.run([*command, "-fsyntax-only"], capture_output=True, text=True)
        return done.stderr or ("" if done.returncode == 0 else f"{' '.join(command)}: exit status {done.returncode}\n")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [text for text in pool.map(check_one, commands) if text]
    sys.stderr.write("".join(complaints))
    print(f"{compiler}: {len(commands)} compiled, {len(complaints)} with complaints")
    return len(complaints)


def unable(listed: Path, program: list[str]) -> list[str]:
    """What leaves out the tests that cannot run there. A name that no test has any more must go from the list."""
    lines = [line.split(None, 1) for line in listed.read_text().splitlines() if line and not line.startswith("#")]
    known = subprocess.run([*program, "-l"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    for name, *reason in lines:
        if not reason or name not in known:
            raise SystemExit(f"{listed}: {name}: " + ("no test has that name" if reason else "the reason is missing"))
    return [word for name, _ in lines for word in ("-x", name)]


def run_on_cpu(cpu: str, filters: list[str], *, build_only: bool) -> int:
    flags, runner = CPUS[cpu]
    program = [*runner, str(build([find_zig(), "cc", *flags], cpu, CPU_FLAGS))]
    if build_only:
        return 0
    if runner and not shutil.which(runner[0]):
        raise SystemExit(f"{runner[0]} is missing: install the package qemu-user-static")
    options = unable(QEMU_UNABLE, program) if runner else []
    return subprocess.run([*program, *options, *filters], env={**EMULATED, **os.environ}).returncode


def run_on_target(name: str, wanted: str | None, filters: list[str], *, build_only: bool) -> int:
    target = TARGETS[name]
    flags = ["-O1" if target.runner else "-O0", "-g1", "-DWAWO_DEBUG"]
    if (wanted or target.compiler) == "zig":
        compiler, folder = [find_zig(), "cc", *target.flags], f"{name}-zig"
    else:
        compiler, folder = [find_compiler(wanted or target.compiler), *target.compiler_flags], name
    program = build(compiler, folder, flags, target.platform)
    if build_only or target.unable is None:
        print(f"{name}: built {program}")
        return 0
    command = [*target.runner, str(program)]
    options = unable(target.unable, command)
    return subprocess.run([*command, *options, *filters], env={**EMULATED, **os.environ}).returncode


def prefix(mode: str) -> list[str]:
    """gcc's thread sanitizer cannot live with much address randomization; where it may be switched off, it is."""
    if "tsan" not in mode or not shutil.which("setarch"):
        return []
    command = ["setarch", os.uname().machine, "-R"]
    works = subprocess.run([*command, "true"], capture_output=True).returncode == 0
    return command if works else []


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mode", choices=MODES, default="debug")
    parser.add_argument("--strict", action="store_true", help="compile every file for its warnings, run nothing")
    parser.add_argument("--cpu", choices=CPUS, help="compile with zig for that CPU, run it under qemu")
    parser.add_argument("--target", choices=TARGETS, help="compile for that system; run it under Wine if it is Windows")
    parser.add_argument("--cc", default=os.environ.get("CC"), help="the compiler (gcc, clang or cc)")
    parser.add_argument("--build-only", action="store_true", help="compile and link, run nothing")
    parser.add_argument("-l", "--list", action="store_true", help="list the tests")
    parser.add_argument("-v", "--verbose", action="store_true", help="print passed tests too, or each step")
    parser.add_argument("filter", nargs="*", help="run the tests whose name contains it; options of the simulation")
    arguments = parser.parse_args()

    os.chdir(ROOT)
    flags = ["-l"] * arguments.list + ["-v"] * arguments.verbose
    if arguments.strict:
        return 1 if check(find_compiler(arguments.cc)) else 0
    if arguments.cpu:
        return run_on_cpu(arguments.cpu, [*flags, *arguments.filter], build_only=arguments.build_only)
    if arguments.target:
        filters = [*flags, *arguments.filter]
        return run_on_target(arguments.target, arguments.cc, filters, build_only=arguments.build_only)
    program = build([find_compiler(arguments.cc)], arguments.mode, MODES[arguments.mode][0])
    if arguments.build_only:
        return 0
    environment = dict(os.environ)
    for name, value in MODES[arguments.mode][1].items():
        environment[name] = ":".join(filter(None, [value, os.environ.get(name)]))
    return subprocess.run(
        [*prefix(arguments.mode), str(program), *flags, *arguments.filter], env=environment
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
