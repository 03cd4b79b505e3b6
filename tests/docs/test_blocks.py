"""Every block of code in docs/ runs as it stands, but on a free port of 127.0.0.1, and prints what the page says.

What a page leaves waiting for ever (``server.wait()``) waits a moment here. What others need runs beside them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import certificates
import pytest
from pages import PAGES, Program, blocks, programs

DEADLINE_S = float(os.environ.get("WAWO_TEST_DEADLINE", "25"))
ALL = [program for page in PAGES for program in programs(page)]
PORT = "5555"


@contextlib.contextmanager
def reserved() -> Iterator[str]:
    """A port that nobody else is given, and that the program may bind: with SO_REUSEADDR, as this one, which never
    listens."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield str(sock.getsockname()[1])


def adapted(code: str, port: str, *, serves: bool) -> str:
    code = code.replace("0.0.0.0", "127.0.0.1").replace(PORT, port)
    if not serves:
        code = code.replace("server.wait()", "server.wait(0.05)")
        code = code.replace("server.serve_forever()", "asyncio.sleep(0.05)")
    return code


def tools(folder: Path) -> dict[str, str]:
    """The environment of a shell in which python and wawo are those of the test."""
    folder.mkdir()
    for name, module in (("python", ""), ("wawo", "-m wawo")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ.get('PATH', '')}", "PYTHONUNBUFFERED": "1"}


def command(program: Program, port: str, folder: Path, *, serves: bool = False) -> list[str]:
    code = adapted(program.code, port, serves=serves)
    if program.language == "sh":
        return ["sh", "-euc", code]
    file = folder / (program.name or "program.py")
    file.write_text(code, encoding="utf-8")
    strict = ["-W", "error"]
    if "asyncio" not in code:  # whose debug mode complains of every callback that a busy machine makes slow
        strict += ["-X", "dev"]
    return [sys.executable, *strict, str(file)]


def named(page: str, name: str) -> Program:
    return next(program for program in ALL if program.name == name and program.where.startswith(f"{page}:"))


@contextlib.contextmanager
def serving(program: Program, port: str, folder: Path) -> Iterator[None]:
    """The program runs until the end of the block, and somebody listens on the port; then it gets a SIGTERM."""
    pipe = subprocess.PIPE
    line = command(program, port, folder, serves=True)
    with subprocess.Popen(line, cwd=folder, stdout=subprocess.DEVNULL, stderr=pipe, text=True) as child:
        timer = threading.Timer(DEADLINE_S, child.kill)
        timer.start()
        try:
            while child.poll() is None:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), DEADLINE_S):
                    break
                time.sleep(0.002)
            yield
            child.send_signal(signal.SIGTERM)
            _, err = child.communicate()
        finally:
            timer.cancel()
            timer.join()
            child.kill()
    ends = 0 if "SIGTERM" in program.code else -signal.SIGTERM
    assert (err, child.returncode) == ("", ends), program.where


@pytest.mark.parametrize("program", ALL, ids=lambda program: program.where)
def test_runs(program: Program, tmp_path: Path) -> None:
    environment = tools(tmp_path / "tools")
    if program.where.startswith("tls.md:"):
        shutil.copytree(certificates.folder(), tmp_path, dirs_exist_ok=True)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(reserved())
        if program.beside is not None:
            stack.enter_context(serving(named(program.where.split(":")[0], program.beside), port, tmp_path))
        done = subprocess.run(
            command(program, port, tmp_path),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, ""), f"{program.where}: {done.stdout}"
    if program.prints is not None:
        assert done.stdout.replace(port, PORT) == program.prints


def test_what_is_not_run_says_why_and_is_little() -> None:
    skipped = [(block, block.asks["not run"]) for page in PAGES for block in blocks(page) if "not run" in block.asks]
    assert [block.where for block, why in skipped if not why] == []
    assert len(skipped) * 5 <= len(ALL)


def test_every_fence_has_a_language() -> None:
    known = {"python", "sh", "text", "ini", "dockerfile", "nginx", "yaml"}
    assert [block.where for page in PAGES for block in blocks(page) if block.language not in known] == []
