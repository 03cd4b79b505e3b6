"""Signals for a child: ``python(...)`` is the command to start it with, ``tell(child, signal.SIGINT)`` sends one.

On Windows a signal from outside ends a process. There the child runs in this very file, which raises what its standard
input says, as the system does on Ctrl-C: on a thread of its own. So the child needs ``stdin=subprocess.PIPE``.
"""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading

WINDOWS = sys.platform == "win32"


def python(*words: str, options: tuple[str, ...] = ("-W", "error")) -> list[str]:
    """words: a file, or ``-m`` and a module, or ``-c`` and code; then its arguments."""
    return [sys.executable, *options, *([__file__] if WINDOWS else []), *words]


def tell(child: subprocess.Popen[str], number: int) -> None:
    if not WINDOWS:
        child.send_signal(number)
        return
    assert child.stdin is not None
    child.stdin.write(f"{int(number)}\n")
    child.stdin.flush()


def _listen() -> None:
    while number := os.read(0, 100):
        for one in number.split():
            signal.raise_signal(int(one))


def _main() -> None:
    threading.Thread(target=_listen, daemon=True).start()
    first, *rest = sys.argv[1:]
    sys.path[0] = os.getcwd() if first.startswith("-") else os.path.dirname(first)
    sys.argv = [first, *rest]
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    _main()
