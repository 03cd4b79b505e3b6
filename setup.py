"""Builds the one shared object, wawo/_core/_native; all that is static stands in pyproject.toml.

It holds the Cython modules and the C core that they call: linked once, there is one core.

WAWO_BUILD picks the flags: release (default), debug, asan, ubsan, tsan.
WAWO_NO_EXTENSION=1 builds none of it: what is installed then runs on the engine in pure Python, wawo/_portable.
"""

import os
import platform
import runpy
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

CORE = Path("wawo", "_core")
MANIFEST = runpy.run_path(str(CORE / "manifest.py"))
SYSTEM = next((name for name in MANIFEST["SOURCES"] if sys.platform.startswith(name)), sys.platform)  # freebsd14

SANITIZER = ["-O1", "-g", "-fno-omit-frame-pointer", "-UNDEBUG", "-DWAWO_DEBUG"]

# mode: (flags of the compiler, flags of the linker)
MODES = {
    "release": (["-O3", "-fno-semantic-interposition"], []),
    "debug": (["-O0", "-g3", "-UNDEBUG", "-DWAWO_DEBUG"], []),
    "asan": (
        [*SANITIZER, "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"],
        ["-fsanitize=address,undefined"],
    ),
    "ubsan": ([*SANITIZER, "-fsanitize=undefined", "-fno-sanitize-recover=all"], ["-fsanitize=undefined"]),
    "tsan": ([*SANITIZER, "-fsanitize=thread"], ["-fsanitize=thread"]),
}

DIRECTIVES = {
    "language_level": 3,
    "freethreading_compatible": True,
    "binding": True,
    "embedsignature": False,
    "auto_pickle": False,
    "boundscheck": False,
    "wraparound": False,
    "initializedcheck": False,
    "nonecheck": False,
    "cdivision": True,
}


def mode() -> str:
    name = os.environ.get("WAWO_BUILD") or "release"
    if name not in MODES:
        raise SystemExit(f"wawo: WAWO_BUILD={name} is unknown; it is one of {', '.join(MODES)}")
    return name


def wants_extension() -> bool:
    value = os.environ.get("WAWO_NO_EXTENSION") or "0"
    if value not in ("0", "1"):
        raise SystemExit(f"wawo: WAWO_NO_EXTENSION={value} is unknown; it is 1 or not set")
    return value == "0"


def fail(sentence: str) -> None:
    """Falling back by itself would leave somebody with a slow wawo who does not know why."""
    raise SystemExit(f"wawo: {sentence}, or set WAWO_NO_EXTENSION=1 to install wawo with its slower pure-Python engine")


def headers() -> list[str]:
    return sorted(str(p) for kind in ("*.h", "*.pxd") for p in CORE.rglob(kind))


def native() -> Extension:
    compile_flags, link_flags = MODES[mode()]
    return Extension(
        "wawo._core._native",
        [str(CORE / name) for name in MANIFEST["SOURCES"].get(SYSTEM, ())],
        include_dirs=[str(CORE)],
        libraries=list(MANIFEST["LIBRARIES"].get(SYSTEM, ())),
        extra_compile_args=["-std=c11", "-fvisibility=hidden", *compile_flags],
        extra_link_args=link_flags,
        depends=headers(),
    )


class Build(build):
    """The extension first: what is missing is said before anything is copied."""

    sub_commands = sorted(build.sub_commands, key=lambda command: command[0] != "build_ext")


class Wheel(bdist_wheel):
    """Without an engine for this system, a wheel in pure Python is for this system all the same.

    One for any system would be taken where a build with a compiler gives the native engine.
    """

    def finalize_options(self) -> None:
        super().finalize_options()
        self.plat_name_supplied = self.plat_name_supplied or SYSTEM not in MANIFEST["SOURCES"]


class BuildNative(build_ext):
    """Names what is missing, and compiles in parallel only what changed."""

    def build_extensions(self) -> None:
        self.check_tools()
        self.compiler.compile = self.parallel_compile(self.compiler.compile)
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        from Cython.Build import cythonize

        modules = cythonize(
            [Extension(f"wawo._core.{path.stem}", [str(path)]) for path in sorted(CORE.glob("*.pyx"))],
            build_dir=str(Path(self.build_temp, "cython")),
            compiler_directives=DIRECTIVES,
            force=bool(self.force),
        )
        ext.sources = [*(source for module in modules for source in module.sources), *ext.sources]
        super().build_extension(ext)

    def check_tools(self) -> None:
        implementation = platform.python_implementation()
        if SYSTEM not in MANIFEST["SOURCES"] or implementation != "CPython":
            known = ", ".join(MANIFEST["SOURCES"])
            fail(f"there is no native engine for {implementation} on {sys.platform} yet: take CPython on {known}")
        command = getattr(self.compiler, "compiler_so", ["cc"])
        if shutil.which(command[0]) is None:
            fail(f"the C compiler '{command[0]}' is missing: install the package gcc (and libc6-dev)")
        probe = [*command, "-E", "-x", "c", "-"]
        if subprocess.run(probe, input=b"#include <stdlib.h>\n", capture_output=True, check=False).returncode != 0:
            fail("the headers of the C library are missing: install the package libc6-dev")
        # self.include_dirs also holds the real interpreter's folder when this one is a virtual environment.
        if not any(Path(folder, "Python.h").is_file() for folder in self.include_dirs):
            package = f"python{sysconfig.get_python_version()}-dev (or python3-dev)"
            fail(f"Python.h is missing: install the package {package}")

    def parallel_compile(self, compile_one):  # type: ignore[no-untyped-def]
        def compile_all(sources, output_dir=None, depends=None, **options):  # type: ignore[no-untyped-def]
            shared = max(map(os.path.getmtime, ["setup.py", *(depends or [])]))
            objects = self.compiler.object_filenames(sources, output_dir=output_dir)
            stale = []
            for source, name in zip(sources, objects, strict=True):
                os.makedirs(os.path.dirname(name), exist_ok=True)
                made = os.path.getmtime(name) if os.path.exists(name) else 0.0
                if self.force or made <= max(shared, os.path.getmtime(source)):
                    stale.append(source)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(lambda source: compile_one([source], output_dir=output_dir, **options), stale))
            return objects

        return compile_all


setup(
    ext_modules=[native()] if wants_extension() else [],
    cmdclass={"build": Build, "build_ext": BuildNative, "bdist_wheel": Wheel},
    # One tree for each mode: an object compiled for another one must not be linked by mistake.
    options={"build": {"build_base": f"build/py-{mode() if wants_extension() else 'pure'}"}},
)
