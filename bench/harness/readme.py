"""The block of figures in README.md and in the Chinese one, made of a run: nobody types a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.harness import output, pictures, stats
from bench.harness.errors import BenchError
from bench.harness.output import Run

PAGES = ("README.md", "README.zh.md")
BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->"
COLUMNS = ("raw C", "wawo", "uvloop", "aiofastnet", "asyncio", "gevent", "trio")
FOLDER = "docs/img"
JSON_NAME = "bench.json"


@dataclass(frozen=True)
class Row:
    """One row for each case of a scenario. `wawo` is the row of its table that stands for wawo."""

    scenario: str
    text: str
    key: str = "cpu_us"
    unit: str = "µs"
    wawo: str = "wawo"
    only: tuple[int, ...] = ()  # numbers of cases; none: all


CPU = (
    Row("pingpong", "64 B ping-pong, {title}"),
    Row("pipeline", "64 B, 16 in flight, {title}"),
    Row("framed", "the same with a 4-byte length, one call a message"),
    Row("sizes", "{title} ping-pong, 10 connections", only=(1, 2, 3, 5)),
    Row("sizes", "{title}, `view=True`", wawo="wawo view", only=(3, 5)),
    Row("fanout", "broadcast to 1,000 connections, {title}, each delivery"),
    Row("connect", "connect, one echo, close"),
    Row("tls", "TLS 1.3, {title} ping-pong, 50 connections"),
)
LATENCY = (Row("latency", "p50 at {title}", "p50_us"), Row("latency", "p99 at {title}", "p99_us"))
MEMORY = (
    Row("idle", "user memory of an idle connection", "bytes_per_connection", "B"),
    Row("tls_idle", "the same with TLS 1.3", "bytes_per_connection", "B"),
)

ALT = {
    "cpu": "CPU time of a message as a multiple of raw C's, by scenario and library",
    "latency": "Latency percentiles over the offered rate, by library",
    "scaling": "CPU time of a message over the number of connections and over the size of a message, by library",
    "memory": "User memory of an idle connection, by library",
}


def _number(value: float) -> str:
    """Three digits, or all of a large one."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def _amount(value: float, unit: str) -> str:
    if unit == "B":
        return f"{value:,.0f} B"
    return f"{_number(value)} µs" if value < 1000 else f"{_number(value / 1000)} ms"


def _cell(case: dict[str, Any], server: str, row: Row) -> str:
    found = output.spread(case, server, row.key)
    if found is not None and stats.median(output.series(case, server, "overloaded")):
        return "overloaded"
    if found is not None:
        return _amount(found.median, row.unit)
    problem = (case["servers"].get(server) or {}).get("problem")
    return problem or "-"


def _ratio(case: dict[str, Any], row: Row, other: str) -> str:
    if any(stats.median(output.series(case, server, "overloaded")) for server in (row.wawo, other)):
        return ""
    found = output.ratio(case, row.wawo, other, row.key)
    return "" if found is None else f"{found.median:.2f} ({found.low:.2f} to {found.high:.2f})"


def _rows(run: Run, rows: tuple[Row, ...]) -> Iterator[str]:
    for row in rows:
        for number, case in enumerate(output.cases(run, row.scenario)):
            if row.only and number not in row.only:
                continue
            cells = [row.text.format(title=case["title"])]
            cells += [_cell(case, row.wawo if name == "wawo" else name, row) for name in COLUMNS]
            cells += ["" if row.unit == "B" else _ratio(case, row, "raw C"), _ratio(case, row, "uvloop")]
            yield f"| {' | '.join(cells)} |"


def _table(run: Run, what: str, rows: tuple[Row, ...]) -> list[str]:
    body = list(_rows(run, rows))
    heads = [what, *COLUMNS, "wawo / raw C", "wawo / uvloop"]
    return ["", f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads), *body] if body else []


def _picture(name: str) -> list[str]:
    light, dark = (f"{FOLDER}/{pictures.file_name(name, theme)}" for theme in ("light", "dark"))
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{dark}">'
    return ["", f'<picture>{source}<img alt="{ALT[name]}" src="{light}"></picture>']


def _about(run: Run) -> list[str]:
    machine, settings = run["machine"], run["settings"]
    servers = [server for s in run["scenarios"].values() for case in s["cases"] for server in case["servers"].values()]
    taken = sum(len(stats.known(server["samples"].get("cpu_us", []))) for server in servers)
    disturbed = sum(server["disturbed"] for server in servers)
    rest = settings["rest_rounds"]
    plural = "s" if settings["rounds"] > 1 else ""
    rounds = f"{settings['rounds']} interleaved round{plural} of {settings['seconds']:g} s"
    if rest < settings["rounds"]:
        rounds += f" ({rest} for the rivals beside uvloop)"
    versions = [
        f"{name} {found['version'] or found['reason']}" for name, found in run["rivals"].items() if name != "raw"
    ]
    python = str(machine["python"]).partition(" (")[0]
    where = f"{machine['cores']} cores of {machine['cpu']}, Linux {machine['kernel']}, {python}"
    noise = f"load average {machine['load_average']:g} at the start"
    return [
        f"Run `{run['stamp']}` of {run['date']}: {where}, {machine['compiler']}; {noise}.",
        f"{', '.join(versions)}.",
        f"{rounds}; in {disturbed} of {taken} measurements another process had one of the cores for over 5 % of it.",
        "Cells are medians; ratios are medians of the ratios within each round, with the smallest and the largest;",
        "error bars reach from the smallest to the largest round. On another machine only the ratios mean something.",
    ]


def block(run: Run) -> str:
    """What stands between the marks."""
    lines = ["", *_about(run)]
    lines += [*_picture("cpu"), *_table(run, "CPU time of the server for a message", CPU)]
    lines += [*_picture("scaling"), *_picture("latency"), *_table(run, "latency, at a fixed rate", LATENCY)]
    lines += [*_picture("memory"), *_table(run, "memory", MEMORY)]
    lines += ["", f"`python bench/run.py --readme` made all of this; every sample is in `{FOLDER}/{JSON_NAME}`.", ""]
    return "\n".join(lines) + "\n"


def block_of(page: Path) -> str:
    """What stands there now."""
    _, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    text, end, _ = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"{page} has no {BEGIN.strip()} ... {END}")
    return text


def write_block(page: Path, run: Run) -> None:
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace(BEGIN + block_of(page) + END, BEGIN + block(run) + END), encoding="utf-8")
