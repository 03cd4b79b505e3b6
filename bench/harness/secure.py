"""The TLS scenarios: their programs, which need OpenSSL's headers, their certificate, and servers that take it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.harness import build
from bench.harness.children import Child, Server, load_command, read_result, run_load
from bench.harness.contenders import AIOFASTNET, ASYNCIO, RAW, UVLOOP, WAWO, Contender
from bench.harness.errors import BenchError
from bench.harness.machine import memory_bytes
from bench.harness.measure import AGING_CONNECTIONS, Bar, Bench, Case, CaseResult, Sample

SECURE = (RAW, UVLOOP, WAWO, AIOFASTNET, ASYNCIO)
OPEN_SECONDS = 90.0
CLOSE_SECONDS = 30.0
MISSING = "OpenSSL's headers are missing: the TLS scenarios need them for raw C and for the load (Debian: libssl-dev)"


@dataclass(frozen=True)
class Tools:
    echo: str
    load: str
    certificate: str


@cache
def tools() -> Tools:
    """The programs, built, and a fresh certificate. BenchError: what is missing."""
    if not build.compiles("#include <openssl/ssl.h>\n"):
        raise BenchError(MISSING)
    echo, load = (str(build.build(name, "ssl", "crypto")) for name in ("tls_echo", "tls_load"))
    certificate = Path(tempfile.mkdtemp(prefix="wawo-bench-")) / "certificate.pem"
    subprocess.run([load, "--make-certificate", str(certificate)], check=True, timeout=20)
    return Tools(echo, load, str(certificate))


def start(bench: Bench, case: Case, contender: Contender, *, bulk: bool = False, release: bool = False) -> Server:
    made = tools()
    words = ["--tls", made.certificate]
    if contender.base == "raw":
        command = [made.echo, "--port", "0", *words, "--bulk", str(int(bulk)), "--release", str(int(release))]
    else:
        command = [*contender.command(bench.python, bench.echo, case.framing), *words, *(("--bulk",) if bulk else ())]
    return Server(command, bench.cores.server if case.pinned else bench.cores.all)


def load(bench: Bench, case: Case, server: Server, **more: object) -> Sample:
    options = {"seconds": bench.settings.seconds, "warmup": bench.settings.warmup, **case.load, **more}
    return run_load(tools().load, server, options, bench.cores.load if case.pinned else bench.cores.all)


def age(bench: Bench, case: Case, server: Server) -> None:
    """As Bench.age."""
    count = min(AGING_CONNECTIONS, int(str(case.load["connections"])))
    if bench.settings.aging > 0:
        load(bench, case, server, connections=count, seconds=bench.settings.aging, warmup=0)


def measure(bench: Bench, case: Case, contender: Contender) -> Sample:
    """One server, one load."""
    with start(bench, case, contender) as server:
        age(bench, case, server)
        return load(bench, case, server)


def bar(result: CaseResult, what: str, key: str, uvloop_limit: float, raw_limit: float) -> Bar:
    """wawo beside uvloop; beside raw C where that is above the limit itself, since both stand on the same OpenSSL."""
    raw = result.ratio(RAW.name, UVLOOP.name, key)
    if raw is None or raw <= uvloop_limit:
        return Bar(f"{what} ≤ {uvloop_limit} x uvloop", result.ratio(WAWO.name, UVLOOP.name, key), uvloop_limit)
    text = f"{what} ≤ {raw_limit} x raw C, which is {raw:.2f} x uvloop: {uvloop_limit} is out of reach"
    return Bar(text, result.ratio(WAWO.name, RAW.name, key), raw_limit)


def measure_bulk(bench: Bench, case: Case, contender: Contender) -> Sample:
    """What the server says of itself at the end is in the sample too, and how many cores it wanted: its threads ran, or
    waited for one, that much of the time."""
    with start(bench, case, contender, bulk=True) as server:
        sample = load(bench, case, server)
        server.process.terminate()
        said = server.finish(CLOSE_SECONDS).strip()
        wanted = sample["server_busy"] + sample["server_waited"]
        return {**sample, "server_wanted": wanted, **(json.loads(said) if said else {})}


def measure_idle(bench: Bench, case: Case, contender: Contender) -> Sample:
    """User memory for each silent connection; what a server allocates only once is there before."""
    silent = case.counts["silent"]
    with start(bench, case, contender, release=True) as server:
        age(bench, case, server)
        active = load(bench, case, server)
        before = memory_bytes(server.pid)
        command = load_command(tools().load, server, {"mode": "idle", "connections": silent})
        with Child(command, bench.cores.load, stdin=True) as idle:
            ready = idle.line(OPEN_SECONDS)
            if ready != "READY":
                raise BenchError(f"{silent} connections could not be opened: {read_result(ready)['error_detail']}")
            grown = memory_bytes(server.pid) - before
            ended = read_result(idle.finish(CLOSE_SECONDS))
    return {**active, "errors": active["errors"] + ended["errors"], "bytes_per_connection": grown / silent}
