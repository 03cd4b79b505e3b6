"""Compiles and links the extension for a system that is not here, with ziglang and Cython, and looks at what came out.

    python ci/extension.py aarch64-macos [TARGET...]      those of tests/c/build.py

The headers are of this machine's Python, so what comes out is checked and never used: it is a shared object of that
system, its module is offered, and it asks others for nothing of wawo's own.
"""

from __future__ import annotations

import argparse
import os
import runpy
import struct
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORE = Path("wawo", "_core")
# Nobody runs it.
FLAGS = ["-std=c11", "-O0", "-g0", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
GENERATED = ["-w"]  # Cython's own words
LINK = {"macos": ["-undefined", "dynamic_lookup"], "freebsd": [], "openbsd": []}


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def cython(folder: Path) -> list[Path]:
    """The C files of the modules: the same for each system."""
    directives = [f"-X{name}={value}" for name, value in runpy.run_path("setup.py")["DIRECTIVES"].items()]
    made = []
    for source in sorted(CORE.glob("*.pyx")):
        made.append(folder / source.with_suffix(".c").name)
        run([sys.executable, "-m", "cython", *directives, str(source), "-o", str(made[-1])])
    return made


def text_at(table: bytes, offset: int) -> str:
    return table[offset : table.index(b"\0", offset)].decode()


def symbols_of_macho(data: bytes) -> list[tuple[str, bool, bool]]:
    count, at = struct.unpack_from("<I", data, 16)[0], 32
    found: list[tuple[str, bool, bool]] = []
    for _ in range(count):
        kind, size = struct.unpack_from("<2I", data, at)
        if kind == 2:  # LC_SYMTAB
            offset, entries, names, length = struct.unpack_from("<4I", data, at + 8)
            for n in range(entries):
                at_name, type_, _, flags, _ = struct.unpack_from("<IBBHQ", data, offset + 16 * n)
                if type_ & 1 and not type_ & 0xE0:  # external, and not for a debugger
                    missing = type_ & 0x0E == 0
                    # Bound to a library that was there to link, or looked up by its name alone.
                    by_name = missing and flags >> 8 != 1
                    found.append((text_at(data[names : names + length], at_name)[1:], missing, by_name))
        at += size
    return found


def symbols_of_elf(data: bytes) -> list[tuple[str, bool, bool]]:
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<2H", data, 58)
    sections = [struct.unpack_from("<2I4Q2I2Q", data, table + size * n) for n in range(count)]
    found: list[tuple[str, bool, bool]] = []
    for section in sections:
        if section[1] == 11:  # SHT_DYNSYM
            names = data[sections[section[6]][4] :]
            for at in range(section[4] + 24, section[4] + section[5], 24):
                name, _, _, where = struct.unpack_from("<IBBH", data, at)
                found.append((text_at(names, name), where == 0, where == 0))
    return found


def look_at(made: Path, system: str) -> int:
    """How many symbols it wants from Python; complains about all that should not be so."""
    data = made.read_bytes()
    mac = data[:4] == b"\xcf\xfa\xed\xfe"
    if mac != (system == "macos") or not (mac or data[:4] == b"\x7fELF"):
        raise SystemExit(f"{made}: not for {system}")
    symbols = symbols_of_macho(data) if mac else symbols_of_elf(data)
    if ("PyInit__native", False, False) not in symbols:
        raise SystemExit(f"{made}: no PyInit__native")
    strange = [name for name, missing, _ in symbols if missing and "wawo" in name]
    if mac:  # there the linker says which of them no library had
        strange += [name for name, _, by_name in symbols if by_name and not name.startswith(("Py", "_Py"))]
    if strange:
        raise SystemExit(f"{made}: nobody has {', '.join(strange)}")
    return sum(missing and name.startswith(("Py", "_Py")) for name, missing, _ in symbols)


def make(zig: str, name: str, flags: list[str], core: tuple[str, ...], modules: list[Path]) -> None:
    folder, system = Path("build", "cross", name), name.split("-")[1]
    folder.mkdir(parents=True, exist_ok=True)
    compiler = [zig, "cc", *flags, *FLAGS, f"-I{CORE}", f"-I{sysconfig.get_path('include')}"]
    sources = [*((path, GENERATED) for path in modules), *((CORE / path, []) for path in core)]

    def compile_one(source: tuple[Path, list[str]]) -> str:
        made = folder / f"{source[0].parent.name}-{source[0].stem}.o"
        run([*compiler, *source[1], "-c", str(source[0]), "-o", str(made)])
        return str(made)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
    made = folder / "_native.so"
    run([*compiler, "-shared", *LINK[system], *objects, "-o", str(made)])
    print(f"{name}: {len(objects)} objects, {made} wants {look_at(made, system)} symbols of Python")


def main() -> int:
    suite = runpy.run_path(str(ROOT / "tests" / "c" / "build.py"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", nargs="+", choices=[name for name in suite["TARGETS"] if name.split("-")[1] in LINK])
    arguments = parser.parse_args()
    os.chdir(ROOT)
    folder = Path("build", "cross")
    folder.mkdir(parents=True, exist_ok=True)
    modules = cython(folder)
    for name in arguments.target:
        target = suite["TARGETS"][name]
        make(suite["find_zig"](), name, target.flags, suite["row"]("SOURCES", target.platform), modules)
    return 0


if __name__ == "__main__":
    sys.exit(main())
