"""Measures wawo beside raw C and its rivals: python bench/run.py [--quick] [--only scenario,...]."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

if not __package__:  # started as a script
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.harness import build, contenders, machine
from bench.harness.children import kill_all
from bench.harness.errors import BenchError
from bench.harness.measure import Bench, Scenario, Settings, run_case
from bench.scenarios import ALL

if TYPE_CHECKING:
    from rich.console import Console

QUICK = Settings(rounds=1, seconds=0.4, warmup=0.1, retries=0)


def _names(allowed: Sequence[str]) -> Any:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(allowed)}")
        return names

    return parse


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    default = Settings()
    parser = argparse.ArgumentParser(prog="wawo bench", description="Echo servers side by side on loopback.")
    parser.add_argument("--only", type=_names(tuple(ALL)), default=tuple(ALL), help=f"of {', '.join(ALL)}")
    parser.add_argument(
        "--contenders", type=_names(contenders.NAMES), help=f"of {', '.join(contenders.NAMES)} (default: by scenario)"
    )
    parser.add_argument("--rounds", type=int, help=f"default {default.rounds}")
    parser.add_argument("--seconds", type=float, help=f"of each measurement, default {default.seconds}")
    parser.add_argument("--warmup", type=float, help=f"seconds before it, default {default.warmup}")
    parser.add_argument("--retries", type=int, help=f"of a disturbed measurement, default {default.retries}")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that everything runs")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the servers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    return parser.parse_args(argv)


def read_settings(options: argparse.Namespace) -> Settings:
    given = {
        name: getattr(options, name)
        for name in ("rounds", "seconds", "warmup", "retries", "contenders")
        if getattr(options, name) is not None
    }
    return dataclasses.replace(QUICK if options.quick else Settings(), **given)


def make_bench(options: argparse.Namespace, settings: Settings) -> Bench:
    return Bench(
        settings=settings,
        python=options.python,
        echo=str(build.build("echo")),
        load=str(build.build("load")),
        cores=machine.cores(),
        availability={name: contenders.probe(options.python, name) for name in contenders.NAMES},
    )


def run_scenario(bench: Bench, scenario: Scenario, console: Console) -> dict[str, Any]:
    from bench.harness import report

    progress = report.Progress(console)
    bench.progress = lambda text: progress(f"{scenario.name}, {text}")
    try:
        results = [run_case(bench, case, scenario.default) for case in scenario.cases]
    finally:
        progress.stop()
    bars = scenario.bars(results)
    report.print_scenario(console, scenario, results, bars)
    return report.scenario_json(scenario, results, bars)


def run(options: argparse.Namespace) -> int:
    from bench.harness import report

    console = report.make_console()
    settings = read_settings(options)
    bench = make_bench(options, settings)
    described = machine.describe(options.python, build.compiler())
    report.print_machine(console, described, bench.availability)
    if bench.cores.server == bench.cores.load:
        console.print("Only one core: server and load share it, the figures say little.", style="bold")
    output: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": described,
        "settings": dataclasses.asdict(settings),
        "rivals": {name: dataclasses.asdict(found) for name, found in bench.availability.items()},
        "scenarios": {},
    }
    try:
        for name in options.only:
            output["scenarios"][name] = run_scenario(bench, ALL[name], console)
    finally:  # an interrupted run keeps what it has
        if options.json is not None:
            report.write_json(options.json, output)
    return 0


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main(argv: Sequence[str] | None = None) -> int:
    if not sys.platform.startswith("linux"):
        print("the bench needs Linux: its load generator and raw C server are epoll programs", file=sys.stderr)
        return 2
    options = parse_options(argv)
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return run(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        kill_all()
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
