"""The command line: ``wawo info | demo | echo | bench``, also as ``python -m wawo``."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import _core
from ._core._version import __version__
from ._echo import Echo
from ._sockets import is_unix, text_of
from .errors import WawoError
from .framing import Framing, LengthPrefixed, Raw
from .iopool import IoPool
from .server import TcpServer

OK, FAILED, USAGE = 0, 1, 2

FRAMINGS: dict[str, Callable[[], Framing]] = {"raw": Raw, "length": LengthPrefixed}

# Where each backend is: `wawo info` also names those that other systems have.
SYSTEMS = {
    "kqueue": "macOS and the BSDs",
    "uring": "Linux, by the compiled engine",
    "epoll": "Linux",
    "iocp": "Windows, by the compiled engine",
    "poll": "systems other than Windows",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 failed, 2 wrong usage."""
    arguments, rest = _parser().parse_known_args(argv)
    if rest and arguments.run is not _bench:
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    arguments.rest = rest
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except KeyboardInterrupt:
        print("wawo: interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader went away; the last flush must not complain
        return FAILED
    except (WawoError, OSError, ValueError) as error:
        print(f"wawo: {error}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wawo", description="A reactor networking framework on native threads.")
    parser.add_argument("--version", action="version", version=f"wawo {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    info = commands.add_parser("info", help="show version, engine, backends and Python")
    info.set_defaults(run=_info)

    text = "Run an echo server in a process of its own, load it natively from this one, and show what it does."
    demo = commands.add_parser("demo", help="measure an echo server on this machine", description=text)
    demo.add_argument("--connections", type=_between(1, 50_000), default=100, metavar="N", help="default 100")
    demo.add_argument(
        "--depth", type=_between(1, 1024), default=1, metavar="N", help="messages under way on each; default 1"
    )
    demo.add_argument("--size", type=_between(1, 1 << 20), default=64, metavar="BYTES", help="of a message; default 64")
    demo.add_argument("--seconds", type=_seconds, default=5.0, metavar="S", help="how long to measure; default 5")
    demo.set_defaults(run=_demo)

    echo = commands.add_parser("echo", help="run an echo server until Ctrl-C")
    text = "address or name to listen on; '' for all; unix:/path for a unix socket; default 127.0.0.1"
    echo.add_argument("--host", default="127.0.0.1", help=text)
    echo.add_argument("--port", type=_between(0, 65_535), help="0 takes any free one; default 5555")
    echo.add_argument("--framing", choices=FRAMINGS, default="raw", help="length: 4 bytes big-endian in front")
    echo.set_defaults(run=_echo)

    text = "Run bench/run.py of the source checkout around the current folder; all other arguments go to it."
    bench = commands.add_parser("bench", help="run the benchmarks of a source checkout", description=text)
    bench.set_defaults(run=_bench)
    return parser


def _between(low: int, high: int) -> Callable[[str], int]:
    def integer(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be {low:,} to {high:,}, not {value:,}")
        return value

    return integer


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError(f"must be 0.1 to 3,600 seconds, not {text}")
    return value


def _tls() -> str:
    try:
        name, why, version = _core.tls_engine()
    except ImportError as error:  # a Python without ssl, or a wish that cannot be fulfilled
        return f"no: {error}"
    where = "without the GIL" if name == "openssl" else "under the GIL"
    return f"{name}, {where}: {why}; {version}"


def _info(arguments: argparse.Namespace) -> int:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"wawo      {__version__}, from {Path(__file__).parent}")
    print(f"engine    {_core.ENGINE}: {_core.ENGINE_WHY}; from {_core.ENGINE_PATH}")
    print(f"tls       {_tls()}")
    if _core.ENGINE_SELECTORS:
        print(f"selectors {_core.ENGINE_SELECTORS}")
    chosen, threads, failure = None, 0, None
    try:
        with IoPool() as pool:
            chosen, threads = pool.backend, pool.threads
    except (ValueError, OSError) as error:
        failure = error
    reason = "WAWO_BACKEND" if os.environ.get("WAWO_BACKEND") else "the best that works here"
    here = _core.backends()
    for position, (name, works, why, on_request) in enumerate(here):
        mark = f"no ({why})" if not works else f"yes, chosen ({reason})" if name == chosen else "yes"
        note = ", only on request" if works and on_request and name != chosen else ""
        print(f"{'' if position else 'backends':10}{name}: {mark}{note}")
    for name in sorted(SYSTEMS.keys() - {row[0] for row in here}):
        print(f"{'':10}{name}: no (only on {SYSTEMS[name]})")
    if failure is not None:
        print(f"{'':10}none chosen: {failure}")
    else:
        print(f"threads   {threads} for each component unless told")
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"python    {python}, GIL {'on' if gil else 'off'}, from {sys.executable}")
    print(f"system    {system}, {os.cpu_count()} cores")
    return OK if failure is None else FAILED


def _demo(arguments: argparse.Namespace) -> int:
    from . import _demo as demo

    return demo.run(arguments.connections, arguments.depth, arguments.size, arguments.seconds)


def _echo(arguments: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
    with TcpServer(Echo(), framing=FRAMINGS[arguments.framing]()) as server:
        port = arguments.port
        server.start(arguments.host, 5555 if port is None and not is_unix(arguments.host) else port)
        text = f"echo on {text_of(server.address)}, framing {arguments.framing}; Ctrl-C ends it"
        try:
            print(text, flush=True)
            server.wait()
        except KeyboardInterrupt:
            print()
        server.stop()
        stats = server.stats()
        print(f"{stats['accepts']:,} connections, {stats['messages_in']:,} messages, {stats['bytes_in']:,} bytes")
    return OK


def _bench(arguments: argparse.Namespace) -> int:
    installed = Path(__file__).resolve().parent.parent
    for folder in (Path.cwd(), *Path.cwd().parents, installed):
        script = folder / "bench" / "run.py"
        if script.is_file() and (folder / "wawo" / "_core").is_dir():
            break
    else:
        text = "the benchmarks are bench/run.py of a source checkout (they are in the sdist, not in the wheel): "
        print(f"wawo: {text}run `wawo bench` inside one", file=sys.stderr)
        return FAILED
    environment = dict(os.environ)
    if folder == installed:  # built in place: the servers shall find this very package
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    before = signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the bench, which keeps what it has
    try:
        command = [sys.executable, str(script), *arguments.rest]
        return subprocess.run(command, check=False, env=environment).returncode
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())
