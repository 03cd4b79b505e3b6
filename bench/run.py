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

from bench.harness import build, contenders, machine, output
from bench.harness.children import kill_all
from bench.harness.errors import BenchError
from bench.harness.measure import Bench, CaseResult, Scenario, Settings, count_measurements, run_case
from bench.scenarios import ALL

if TYPE_CHECKING:
    from rich.console import Console

    from bench.harness.report import Show

ROOT = Path(__file__).resolve().parent.parent
QUICK = Settings(
    rounds=1, rest_rounds=1, seconds=0.3, warmup=0.1, retries=0, most=1000, scale=0.25, contenders=contenders.MAIN
)
SMOKE = Settings(rounds=1, rest_rounds=1, seconds=0.05, warmup=0, aging=0, retries=0, most=100, scale=0.1)
README = Settings(rounds=5, rest_rounds=3, seconds=0.4, warmup=0.1, aging=0.1, retries=1)
README_SCENARIOS = (
    "pingpong",
    "pipeline",
    "framed",
    "sizes",
    "latency",
    "fanout",
    "connect",
    "tls",
    "idle",
    "tls_idle",
)
START_SECONDS = 0.3  # of a server and a load


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
    parser = argparse.ArgumentParser(prog="wawo bench", description="Servers side by side on loopback.")
    parser.add_argument("--only", type=_names(tuple(ALL)), help=f"of {', '.join(ALL)}")
    parser.add_argument(
        "--contenders", type=_names(contenders.NAMES), help=f"of {', '.join(contenders.NAMES)} (default: by scenario)"
    )
    parser.add_argument("--rounds", type=int, help=f"default {default.rounds}")
    parser.add_argument(
        "--rest-rounds", type=int, help=f"of all but {', '.join(contenders.MAIN)}; default as many as the others"
    )
    parser.add_argument("--seconds", type=float, help=f"of each measurement, default {default.seconds}")
    parser.add_argument("--warmup", type=float, help=f"seconds before it, default {default.warmup}")
    parser.add_argument("--retries", type=int, help=f"of a disturbed measurement, default {default.retries}")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--quick", action="store_true", help=f"one short round of {', '.join(contenders.MAIN)}: no verdict"
    )
    kind.add_argument(
        "--smoke", action="store_true", help="the shortest run of everything; fails where there is no figure"
    )
    kind.add_argument(
        "--readme", action="store_true", help="the run of README.md and README.zh.md: writes their tables and docs/img"
    )
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the servers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there, after each case")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="draw the figures there, and put the JSON beside")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing: take this JSON")
    parser.add_argument("--list", action="store_true", help="say which scenarios there are")
    return parser.parse_args(argv)


def read_settings(options: argparse.Namespace) -> Settings:
    base = QUICK if options.quick else SMOKE if options.smoke else README if options.readme else Settings()
    names = ("rounds", "rest_rounds", "seconds", "warmup", "retries", "contenders")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if "rounds" in given and "rest_rounds" not in given:
        given["rest_rounds"] = given["rounds"]
    return dataclasses.replace(base, **given)


def make_bench(options: argparse.Namespace, settings: Settings) -> Bench:
    return Bench(
        settings=settings,
        python=options.python,
        echo=str(build.build("echo")),
        load=str(build.build("load")),
        cores=machine.cores(),
        availability={name: contenders.probe(options.python, name) for name in contenders.NAMES},
    )


def troubles_of(results: Sequence[CaseResult]) -> list[str]:
    """What a smoke run must not have: a contender without messages, or with errors."""
    found = []
    for result in results:
        for name in result.samples:
            where = f"{result.case.name}: {name}"
            if name in result.problems:
                found.append(f"{where}: {result.problems[name]}")
            elif result.errors(name):
                found.append(f"{where}: {result.errors(name)} errors")
            elif not result.median(name, "per_second"):
                found.append(f"{where}: no messages")
    return found


class Run:
    """One run: what was measured so far, and where it is kept."""

    def __init__(self, bench: Bench, console: Console, described: dict[str, object], keep: Path | None) -> None:
        self.bench = bench
        self.console = console
        self.keep = keep
        self.troubles: list[str] = []
        self.output: output.Run = {
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "machine": described,
            "settings": dataclasses.asdict(bench.settings),
            "rivals": {name: dataclasses.asdict(found) for name, found in bench.availability.items()},
            "scenarios": {},
        }

    def scenario(self, scenario: Scenario, show: Show) -> None:
        from bench.harness import report

        results: list[CaseResult] = []
        show.begin(scenario)
        for case in scenario.cases_for(self.bench.settings):
            results.append(run_case(self.bench, scenario, case, show))
            self.output["scenarios"][scenario.name] = report.scenario_json(scenario, results, [])
            self.save()
        bars = scenario.bars(results)
        self.output["scenarios"][scenario.name] = report.scenario_json(scenario, results, bars)
        self.save()
        self.troubles += [f"{scenario.name}: {trouble}" for trouble in troubles_of(results)]
        report.print_scenario(self.console, scenario, results, bars)

    def save(self) -> None:
        if self.keep is not None:
            output.write_json(self.keep, self.output)


def where_to_keep(options: argparse.Namespace) -> Path | None:
    if options.json is not None:
        return Path(options.json)
    return ROOT / "build" / "bench" / "last.json" if options.readme or options.pictures else None


def measure(options: argparse.Namespace) -> Run:
    from bench.harness import report

    console = report.make_console()
    settings = read_settings(options)
    bench = make_bench(options, settings)
    described = machine.describe(options.python, build.compiler())
    report.print_machine(console, described, bench.availability)
    if bench.cores.server == bench.cores.load:
        console.print("Only one core: server and load share it, the figures say little.", style="bold")
    chosen = [ALL[name] for name in options.only or (README_SCENARIOS if options.readme else ALL)]
    total = sum(count_measurements(settings, scenario) for scenario in chosen)
    minutes = total * (settings.seconds + settings.warmup + settings.aging + START_SECONDS) / 60
    console.print(f"{total} measurements: {max(1, round(minutes))} min or more", style="dim")
    run = Run(bench, console, described, where_to_keep(options))
    show = report.Show(console, total)
    try:
        for scenario in chosen:
            run.scenario(scenario, show)
    finally:  # each finished case is in the file by now
        show.stop()
    return run


def publish(options: argparse.Namespace, run: output.Run) -> None:
    """Pictures and the README, made of the JSON that lies beside them and of nothing else."""
    from bench.harness import pictures, readme

    folder = options.pictures or (ROOT / readme.FOLDER if options.readme else None)
    if folder is not None:
        output.write_json(folder / readme.JSON_NAME, run)
        run = output.read_json(folder / readme.JSON_NAME)
        for made in pictures.draw(run, folder):
            print(f"drawn: {made}")
    if options.readme:
        for page in readme.PAGES:
            readme.write_block(ROOT / page, run)
            print(f"written: {page}")


def work(options: argparse.Namespace) -> int:
    if options.list:
        for scenario in ALL.values():
            print(f"{scenario.name:10} {scenario.title}")
        return 0
    if options.source is not None:
        publish(options, output.read_json(options.source))
        return 0
    run = measure(options)
    publish(options, run.output)
    if options.smoke and run.troubles:
        raise BenchError("\n".join(["without a figure:", *run.troubles]))
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
        return work(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = where_to_keep(options)
        print(f"bench: interrupted{f'; finished cases are in {kept}' if kept else ''}", file=sys.stderr)
        return 130
    finally:
        kill_all()
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
