"""Builds the one shared object, wawo/_core/_native; all that is static stands in pyproject.toml.

It holds the Cython modules and the C core that they call: linked once, there is one core.

WAWO_BUILD picks the flags: release (default), debug, asan, ubsan, tsan.
WAWO_NO_EXTENSION=1 builds none of it: what is installed then runs on the engine in pure Python, wawo/_portable.
WAWO_WINDOWS_PYTHON=FOLDER makes the wheel for that Windows Python (x86-64, with its include and libs) on another
system, with the C compiler of the package ziglang: python setup.py bdist_wheel, as ci/cross does.
"""

import os
import platform
import re
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
WINDOWS_PYTHON = os.environ.get("WAWO_WINDOWS_PYTHON") or ""
PLATFORM = "win32" if WINDOWS_PYTHON else sys.platform
SYSTEM = next((name for name in MANIFEST["SOURCES"] if PLATFORM.startswith(name)), PLATFORM)  # freebsd14

SANITIZER = ["-O1", "-g1", "-fno-omit-frame-pointer", "-UNDEBUG", "-DWAWO_DEBUG"]

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

# The same for Microsoft's compiler, which has none of the sanitizers.
MSVC_COMMON = ["/std:c11", "/utf-8", "/W3"]
MSVC_MODES = {
    "release": (["/O2"], []),
    "debug": (["/Od", "/Z7", "/UNDEBUG", "/DWAWO_DEBUG"], ["/DEBUG"]),
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
    return Extension(
        "wawo._core._native",
        [str(CORE / name) for name in MANIFEST["SOURCES"].get(SYSTEM, ())],
        include_dirs=[str(CORE)],
        libraries=list(MANIFEST["LIBRARIES"].get(SYSTEM, ())),
        # On Windows one pyconfig.h serves both kinds of Python.
        define_macros=[("Py_GIL_DISABLED", "1")] if os.name == "nt" and without_gil() else [],
        depends=headers(),
    )


def without_gil() -> bool:
    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def flags_of(compiler: str) -> tuple[list[str], list[str]]:
    """What the compiler and the linker are told, for a kind of compiler as distutils names it."""
    if compiler != "msvc":
        compile_flags, link_flags = MODES[mode()]
        if WINDOWS_PYTHON:  # where there is no interposition
            compile_flags = [flag for flag in compile_flags if flag != "-fno-semantic-interposition"]
        return ["-std=c11", "-fvisibility=hidden", *compile_flags], link_flags
    if mode() not in MSVC_MODES:
        raise SystemExit(
            f"wawo: WAWO_BUILD={mode()} needs gcc or clang, Microsoft's compiler has {', '.join(MSVC_MODES)}"
        )
    compile_flags, link_flags = MSVC_MODES[mode()]
    return [*MSVC_COMMON, *compile_flags], link_flags


def windows_python() -> str:
    """cp313, as the tags of wheels name it."""
    header = Path(WINDOWS_PYTHON, "include", "patchlevel.h").read_text(encoding="utf-8")
    return "cp" + "".join(re.findall(r"#define PY_M(?:AJOR|INOR)_VERSION\s+(\d+)", header))


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

    def get_tag(self) -> tuple[str, str, str]:
        return (windows_python(), windows_python(), "win_amd64") if WINDOWS_PYTHON else super().get_tag()


class BuildNative(build_ext):
    """Names what is missing, and compiles in parallel only what changed."""

    def build_extensions(self) -> None:
        if WINDOWS_PYTHON:
            self.take_zig()
        self.check_tools()
        if self.compiler.compiler_type == "msvc":
            self.compiler.initialize()  # else each thread would look for it
        self.compiler.compile = self.parallel_compile(self.compiler.compile)
        super().build_extensions()

    def take_zig(self) -> None:
        """Compile and link for Windows, with the C library that its Python has (UCRT)."""
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-windows-gnu"]
        self.compiler.set_executables(compiler_so=zig, linker_so=[*zig, "-shared"])
        self.compiler.include_dirs = self.include_dirs = [str(Path(WINDOWS_PYTHON, "include"))]
        self.compiler.library_dirs = []
        self.compiler.objects = [str(Path(WINDOWS_PYTHON, "libs", f"python{windows_python()[2:]}.lib"))]

    def get_ext_filename(self, fullname: str) -> str:
        if WINDOWS_PYTHON:
            return str(Path(*fullname.split(".")).with_suffix(f".{windows_python()}-win_amd64.pyd"))
        return str(super().get_ext_filename(fullname))

    def build_extension(self, ext: Extension) -> None:
        from Cython.Build import cythonize

        modules = cythonize(
            [Extension(f"wawo._core.{path.stem}", [str(path)]) for path in sorted(CORE.glob("*.pyx"))],
            build_dir=str(Path(self.build_temp, "cython")),
            compiler_directives=DIRECTIVES,
            force=bool(self.force),
        )
        ext.extra_compile_args, ext.extra_link_args = flags_of(self.compiler.compiler_type)
        ext.sources = [*(source for module in modules for source in module.sources), *ext.sources]
        super().build_extension(ext)

    def check_tools(self) -> None:
        implementation = platform.python_implementation()
        if SYSTEM not in MANIFEST["SOURCES"] or implementation != "CPython":
            known = ", ".join(MANIFEST["SOURCES"])
            fail(f"there is no native engine for {implementation} on {sys.platform} yet: take CPython on {known}")
        if self.compiler.compiler_type == "msvc":  # setuptools says itself where to get it
            return
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


def tree() -> str:
    return "pure" if not wants_extension() else f"{mode()}-windows" if WINDOWS_PYTHON else mode()


if __name__ == "__main__":  # ci/extension.py takes its directives from here
    setup(
        ext_modules=[native()] if wants_extension() else [],
        cmdclass={"build": Build, "build_ext": BuildNative, "bdist_wheel": Wheel},
        # One tree for each mode: an object compiled for another one must not be linked by mistake.
        options={"build": {"build_base": f"build/py-{tree()}"}},
    )
