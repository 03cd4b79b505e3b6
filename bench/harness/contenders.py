"""Who is measured, and how each is started."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

RIVALS = Path(__file__).resolve().parent.parent / "rivals"
NAMES = ("raw", "uvloop", "wawo", "asyncio", "aiofastnet")
DEFAULT = ("raw", "uvloop", "wawo")
PROBE_SECONDS = 30


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
ASYNCIO = Contender("asyncio")
AIOFASTNET = Contender("aiofastnet")
EVERYBODY = (RAW, UVLOOP, WAWO, ASYNCIO, AIOFASTNET)


def _script(python: str, base: str) -> list[str]:
    if base == "wawo":
        return [python, str(RIVALS / "wawo_server.py")]
    return [python, str(RIVALS / "aio_server.py"), "--loop", base]


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
            [*_script(python, base), "--probe"], capture_output=True, text=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Availability(reason=str(error))
    if done.returncode == 0:
        return Availability(version=done.stdout.partition("VERSION")[2].strip())
    last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit code {done.returncode}"
    if last.startswith("ModuleNotFoundError") and f"'{base}'" in last:
        return Availability(reason="not installed")
    return Availability(reason=last)
