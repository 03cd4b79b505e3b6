"""Compiles the C programs into a cache that is keyed by their source."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.harness.errors import BenchError

SOURCES = Path(__file__).resolve().parent.parent / "raw"
FLAGS = ("-O2", "-std=c11")


def compiler() -> str:
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and shutil.which(name):
            return name
    raise BenchError("no C compiler found (cc, gcc, clang or $CC): raw C and the load generator cannot be built")


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    root = Path(base) if base else Path.home() / ".cache"
    try:
        path = root / "wawo-bench"
        path.mkdir(parents=True, exist_ok=True)
        return path
    except OSError:  # no home, or a read-only one
        return Path(tempfile.mkdtemp(prefix="wawo-bench-"))


def build(name: str) -> Path:
    """Returns the program of that name; compiles it when its sources are new."""
    cc = compiler()
    digest = hashlib.sha256(" ".join((cc, *FLAGS)).encode())
    for source in sorted(SOURCES.glob("*.[ch]")):
        digest.update(source.read_bytes())
    program = cache_dir() / f"{name}-{digest.hexdigest()[:16]}"
    if program.exists():
        return program
    fresh = program.with_suffix(f".{os.getpid()}")
    done = subprocess.run(
        [cc, *FLAGS, "-o", str(fresh), str(SOURCES / f"{name}.c")], capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        raise BenchError(f"{name}.c does not compile:\n{done.stderr}")
    fresh.replace(program)  # atomic: another run may be building the same
    return program
