"""Compiles the C programs into a cache that is keyed by their source."""

from __future__ import annotations

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from bench.harness.errors import BenchError

BENCH = Path(__file__).resolve().parent.parent
SOURCES = BENCH / "raw"
MICRO = BENCH / "micro"
CORE = BENCH.parent / "wawo" / "_core"
FLAGS = ("-O2", "-std=c11")
CORE_FLAGS = (
    "-O3",
    "-DNDEBUG",
    "-std=gnu11",
    "-fPIC",
    "-fno-semantic-interposition",
    "-fvisibility=hidden",
)  # setup.py


def compiler() -> str:
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    raise BenchError("no C compiler found (cc, gcc, clang or $CC): raw C and the load generator cannot be built")


@cache
def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else Path.home() / ".cache"
    try:
        path = root / "wawo-bench"
        path.mkdir(parents=True, exist_ok=True)
        return path
    except OSError:  # no home, or a read-only one
        return Path(tempfile.mkdtemp(prefix="wawo-bench-"))


def _make(made: Path, command: list[str], what: str) -> Path:
    """Runs the compiler unless the file is there."""
    if made.exists():
        return made
    fresh = made.with_suffix(f".{os.getpid()}")
    done = subprocess.run([*command, "-o", str(fresh)], capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise BenchError(f"{what} does not compile:\n{done.stderr}")
    fresh.replace(made)  # atomic: another run may be building the same
    return made


def _digest(command: list[str], files: Iterable[Path]) -> str:
    digest = hashlib.sha256(" ".join(command).encode())
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def build(name: str, *libraries: str) -> Path:
    """Returns the program of that name; compiles it when its sources are new."""
    command = [compiler(), *FLAGS]
    program = cache_dir() / f"{name}-{_digest(command, SOURCES.glob('*.[ch]'))}"
    links = [f"-l{library}" for library in libraries]
    return _make(program, [*command, str(SOURCES / f"{name}.c"), *links], f"{name}.c")


def compiles(source: str) -> bool:
    """Whether the compiler takes that, which may be a header that is not installed."""
    command = [compiler(), *FLAGS, "-x", "c", "-fsyntax-only", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, timeout=60).returncode == 0


def build_pieces() -> tuple[Path, Path]:
    """The small pieces of the core as a library, and the program that runs one of them: `bench/micro`."""
    manifest = runpy.run_path(str(CORE / "manifest.py"))
    sources = [CORE / name for name in manifest["SOURCES"][sys.platform]]
    command = [compiler(), *CORE_FLAGS, f"-I{CORE}"]
    digest = _digest(command, [*CORE.rglob("*.[ch]"), *MICRO.glob("*.[ch]")])
    library, program = (cache_dir() / f"{name}-{digest}" for name in ("libpieces.so", "pieces"))
    words = [*map(str, (MICRO / "pieces.c", *sources)), *(f"-l{name}" for name in manifest["LIBRARIES"][sys.platform])]
    _make(library, [*command, "-shared", *words], "pieces.c")
    return library, _make(program, [*command, str(MICRO / "main.c"), str(library)], "main.c")
