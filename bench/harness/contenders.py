"""Who is measured, and how each is started."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.harness.children import environment

RIVALS = Path(__file__).resolve().parent.parent / "rivals"
PROBE_SECONDS = 30

# name: the echo server and what tells it which library; none for raw C
SCRIPTS: dict[str, tuple[str, ...]] = {
    "raw": (),
    "uvloop": ("aio_server.py", "--loop", "uvloop"),
    "wawo": ("wawo_server.py",),
    "aiofastnet": ("aio_server.py", "--loop", "aiofastnet"),
    "asyncio": ("aio_server.py", "--loop", "asyncio"),
    "gevent": ("gevent_server.py",),
    "trio": ("trio_server.py",),
}
NAMES = tuple(SCRIPTS)
MAIN = ("raw", "uvloop", "wawo")  # measured in every round, the others in as many as the settings say


@dataclass(frozen=True)
class Contender:
    base: str  # one of NAMES
    label: str = ""
    extra: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.label or {"raw": "raw C"}.get(self.base, self.base)

    def command(self, python: str, echo: str, framing: str) -> list[str]:
        if self.base == "raw":
            return [echo, "--port", "0"]  # framed bytes are echoed as they are
        return [*_script(python, self.base), "--port", "0", "--framing", framing, *self.extra]


RAW = Contender("raw")
UVLOOP = Contender("uvloop")
WAWO = Contender("wawo")
AIOFASTNET = Contender("aiofastnet")
ASYNCIO = Contender("asyncio")
GEVENT = Contender("gevent")
TRIO = Contender("trio")
EVERYBODY = (RAW, UVLOOP, WAWO, AIOFASTNET, ASYNCIO, GEVENT, TRIO)


def _script(python: str, base: str) -> list[str]:
    script, *words = SCRIPTS[base]
    return [python, str(RIVALS / script), *words]


@dataclass(frozen=True)
class Availability:
    version: str = ""
    reason: str = ""  # why it cannot run; empty when it can


def probe(python: str, base: str) -> Availability:
    """Asks the server script itself, so that it is the same import as later."""
    if base == "raw":
        return Availability()
    try:
        done = subprocess.run(
            [*_script(python, base), "--probe"],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            env=environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Availability(reason=str(error))
    if done.returncode == 0:
        return Availability(version=done.stdout.partition("VERSION")[2].strip())
    last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    if last.startswith("ModuleNotFoundError") and f"'{base}'" in last:
        return Availability(reason="not installed")
    return Availability(reason=last)
