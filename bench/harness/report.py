"""Tables for people, live and at the end; what of them goes into the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.harness import stats
from bench.harness.contenders import RAW, UVLOOP, Availability
from bench.harness.errors import BenchError
from bench.harness.measure import Bar, CaseResult, Scenario

try:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console, Group
    from rich.live import Live
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.table import Table
except ImportError as error:
    raise BenchError("the bench shows its results with rich: pip install rich") from error

WIDTH = 150  # at least: figures cut to fit a narrow terminal would be worth nothing
ROUNDS_FOR_A_VERDICT = 3
PERCENTILES = (("p50", "p50_us"), ("p99", "p99_us"), ("p99.9", "p999_us"))
NOT_KEPT = {"mode", "connections", "depth", "size", "header", "burst", "setup_seconds", "error_detail", "alone"}
NOT_KEPT |= {"seconds", "server_waited", "load_waited"}


def make_console() -> Console:
    console = Console(highlight=False)
    return Console(highlight=False, width=WIDTH) if console.width < WIDTH else console


class Show:
    """How far the run is and the table that grows; without a terminal it stays silent between the finished tables."""

    def __init__(self, console: Console, total: int) -> None:
        columns = (
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            Remaining(),
            TextColumn(""),
        )
        self._bar = Progress(*columns, TextColumn("{task.description}"), auto_refresh=False)
        self._task = self._bar.add_task("", total=total)
        self._scenario = ""
        # no refresh thread: children are forked here, and a fork beside other threads is asking for trouble
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        if self._live is not None:
            self._live.start()

    def begin(self, scenario: Scenario) -> None:
        self._scenario = scenario.name

    def measuring(self, result: CaseResult, what: str) -> None:
        if self._live is not None:
            self._bar.update(self._task, description=f"{self._scenario}: {what}")
            self._live.update(Group(case_table(result), self._bar), refresh=True)

    def measured(self) -> None:
        self._bar.advance(self._task)

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()


def _time(us: float | None) -> str:
    if us is None:
        return ""
    return f"{us:.1f} µs" if us < 100 else f"{us:.0f} µs" if us < 10_000 else f"{us / 1000:.1f} ms"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _spread(series: stats.Series) -> str:
    found = stats.spread(series)
    if found is None:
        return ""
    digits = 3 if found.median < 10 else 1
    return f"{found.median:.{digits}f} ({found.low:.{digits}f}-{found.high:.{digits}f})"


def _row(result: CaseResult, name: str, ratios: Sequence[str]) -> list[str]:
    rate = result.median(name, "per_second")
    server, load = result.median(name, "server_busy"), result.median(name, "load_busy")
    row = [name, f"{rate:,.0f}" if rate is not None else "", _spread(result.series(name, "cpu_us"))]
    row += [_ratio(result.ratio(name, other, "cpu_us")) for other in ratios]
    if UVLOOP.name in ratios:
        row.append(_ratio(result.ratio(name, UVLOOP.name, "per_second")))
    row += [_time(result.median(name, key)) for _, key in PERCENTILES]
    row.append("" if server is None or load is None else f"{100 * server:.0f} / {100 * load:.0f}")
    for column in result.case.columns:
        value = result.median(name, column.key)
        row.append("" if value is None else column.form.format(value))
    return [*row, "; ".join(_notes(result, name))]


def _notes(result: CaseResult, name: str) -> list[str]:
    notes = [escape(result.problems[name])] if name in result.problems else []
    if result.errors(name):
        notes.append(f"[bold red]{result.errors(name)} errors[/]")
    if result.median(name, "overloaded"):
        notes.append("[red]overloaded[/]")
    if result.disturbed(name):
        notes.append(f"disturbed in {result.disturbed(name)} of {len(result.values(name, 'cpu_us'))}")
    return notes


def case_table(result: CaseResult) -> Table:
    ratios = [c.name for c in (RAW, UVLOOP) if result.values(c.name, "cpu_us")]
    table = Table(title=result.case.name, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("server", no_wrap=True)
    table.add_column("msgs/s", justify="right", no_wrap=True)
    table.add_column("CPU µs/msg", justify="right", no_wrap=True)
    for other in ratios:
        table.add_column(f"CPU\nx {other}", justify="right", no_wrap=True)
    if UVLOOP.name in ratios:
        table.add_column(f"msgs/s\nx {UVLOOP.name}", justify="right", no_wrap=True)
    for title, _ in PERCENTILES:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("busy %\nsrv/load", justify="right", no_wrap=True)
    for column in result.case.columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    table.add_column("note")
    for name in result.samples:
        table.add_row(*_row(result, name, ratios))
    return table


def _bar_text(bar: Bar) -> str:
    word = {True: "[green]holds[/]", False: "[bold red]missed[/]", None: "[dim]not measured[/]"}[bar.holds]
    value = "" if bar.value is None else f" ({bar.value:.3g})"
    return f"  {word}  {escape(bar.text)}{value}"


def print_scenario(console: Console, scenario: Scenario, results: Sequence[CaseResult], bars: Sequence[Bar]) -> None:
    console.rule(f"[bold]{scenario.name}[/]: {escape(scenario.title)}", align="left")
    for result in results:
        console.print(case_table(result))
    held = [bar.holds for bar in bars]
    counts = [(held.count(True), "hold"), (held.count(False), "missed"), (held.count(None), "not measured")]
    rounds = max((len(samples) for result in results for samples in result.samples.values()), default=0)
    doubt = "" if rounds >= ROUNDS_FOR_A_VERDICT else f" (of {rounds} rounds: noise, no verdict)"
    console.print("Bars: " + ", ".join(f"{n} {word}" for n, word in counts if n) + doubt)
    for bar in bars:
        console.print(_bar_text(bar))
    console.print()


def print_machine(console: Console, machine: dict[str, object], rivals: dict[str, Availability]) -> None:
    said = ((key.replace("_", " "), str(value)) for key, value in machine.items())
    words = [value if value.lower().startswith(key) else f"{key} {value}" for key, value in said]  # "Python 3.13.0 ..."
    console.print(escape(", ".join(words)), style="dim")
    shown = [f"{name} {found.reason or found.version}".strip() for name, found in rivals.items() if name != "raw"]
    console.print(escape("; ".join(shown)), style="dim")


def scenario_json(scenario: Scenario, results: Sequence[CaseResult], bars: Sequence[Bar]) -> dict[str, Any]:
    return {
        "title": scenario.title,
        "cases": [_case_json(result) for result in results],
        "bars": [{"text": b.text, "limit": b.limit, "value": b.value, "holds": b.holds} for b in bars],
    }


def _case_json(result: CaseResult) -> dict[str, Any]:
    servers: dict[str, Any] = {}
    for name, samples in result.samples.items():
        keys = {key: None for sample in samples if sample is not None for key in sample if key not in NOT_KEPT}
        servers[name] = {
            "problem": result.problems.get(name),
            "disturbed": result.disturbed(name),
            "samples": {key: [stats.rounded(value) for value in result.series(name, key)] for key in keys},
        }
    case = result.case
    return {"title": case.name, "load": case.load, "counts": case.counts, "pinned": case.pinned, "servers": servers}
