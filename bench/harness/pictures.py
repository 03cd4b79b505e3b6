"""The pictures of a run, as small SVG files for light and for dark pages; each carries the stamp of its run."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.harness import output, stats
from bench.harness.errors import BenchError
from bench.harness.output import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {
    "raw C": "#8b949e",
    "wawo": "#e5534b",
    "uvloop": "#4184e4",
    "aiofastnet": "#1b9e9e",
    "asyncio": "#986ee2",
    "gevent": "#46954a",
    "trio": "#c69026",
}
THEMES = {  # text and axes; the ground is the page's own
    "light": {"ink": "#24292f", "faint": "#d0d7de"},
    "dark": {"ink": "#e6edf3", "faint": "#3d444d"},
}
STAMP = re.compile(r"wawo bench ([0-9a-f]{12})")
MARKED = "wawo"

# scenario, number of its case: how it is called below its group of bars
BARS = {
    ("pingpong", 1): "ping-pong\n64 B",
    ("pipeline", 0): "16 in flight\n64 B",
    ("framed", 0): "4-byte length\n64 B",
    ("sizes", 3): "one at a time\n64 KiB",
    ("fanout", 1): "broadcast\n16 a turn",
    ("connect", 0): "connect,\necho, close",
    ("tls", 0): "TLS 1.3\n64 B",
}


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise BenchError("pictures are drawn with matplotlib: pip install matplotlib") from error
    pyplot.switch_backend("svg")  # needs no screen
    return pyplot


def _subplots(*counts: int, **more: Any) -> tuple[Figure, Any]:
    found: tuple[Figure, Any] = _pyplot().subplots(*counts, **more)
    return found


def _error(found: stats.Spread) -> tuple[float, float]:
    return found.median - found.low, found.high - found.median


def _servers(cases: Sequence[dict[str, Any]]) -> list[str]:
    """Who of those with a colour has figures, in that order."""
    return [name for name in COLORS if any(output.spread(case, name, "cpu_us") for case in cases)]


def draw_cpu(run: Run) -> Figure | None:
    """CPU time of a message as a multiple of raw C's, in groups of bars."""
    groups = [
        (text, output.cases(run, name)[number])
        for (name, number), text in BARS.items()
        if number < len(output.cases(run, name))
    ]
    names = [name for name in _servers([case for _, case in groups]) if name != "raw C"]
    if not names:
        return None
    figure, axes = _subplots(figsize=(9, 3.8))
    width = 0.85 / len(names)
    for place, name in enumerate(names):
        found = [(at, output.ratio(case, name, "raw C", "cpu_us")) for at, (_, case) in enumerate(groups)]
        known = [(at + (place - (len(names) - 1) / 2) * width, ratio) for at, ratio in found if ratio is not None]
        axes.bar(
            [at for at, _ in known],
            [ratio.median for _, ratio in known],
            width,
            label=name,
            color=COLORS[name],
            yerr=list(zip(*(_error(ratio) for _, ratio in known), strict=True)) if known else None,
            error_kw={"elinewidth": 0.8},
        )
        if name == MARKED:
            for at, ratio in known:
                axes.annotate(f"{ratio.median:.2f}", (at, ratio.high), (0, 2), textcoords="offset points", ha="center")
    axes.axhline(1, color=COLORS["raw C"], linewidth=1, linestyle="--")
    _scale_log(axes)
    axes.set_xticks(range(len(groups)), [text for text, _ in groups])
    axes.set_title("CPU time of a message, raw C epoll = 1 (less is better)")
    _legend(figure, axes)
    return figure


def _lines(
    axes: Axes, cases: Sequence[dict[str, Any]], key: str, at: Callable[[dict[str, Any], str], float | None]
) -> None:
    for name in _servers(cases):
        points = []
        for case in cases:
            where, found = at(case, name), output.spread(case, name, key)
            if where is not None and found is not None:
                points.append((where, found))
        if points:
            axes.errorbar(
                [where for where, _ in points],
                [found.median for _, found in points],
                list(zip(*(_error(found) for _, found in points), strict=True)),
                label=name,
                color=COLORS[name],
                marker="o",
                markersize=3,
                linewidth=2.2 if name == MARKED else 1.2,
                elinewidth=0.8,
                capsize=2,
                zorder=3 if name == MARKED else 2,
            )


def draw_scaling(run: Run) -> Figure | None:
    """CPU time of a message over the number of connections and over its size."""
    over = (
        ("pingpong", "connections", "connections, 64 B each"),
        ("sizes", "size", "bytes of a message, 10 connections"),
    )
    if not any(output.cases(run, name) for name, _, _ in over):
        return None
    figure, both = _subplots(1, 2, figsize=(9, 3.6))
    for axes, (name, key, label) in zip(both, over, strict=True):
        cases = output.cases(run, name)
        _lines(axes, cases, "cpu_us", lambda case, server, key=key: float(case["load"][key]))  # type: ignore[misc]
        axes.set_xscale("log")
        axes.set_xticks(
            [case["load"][key] for case in cases], [case["title"].replace(" connections", "") for case in cases]
        )
        axes.minorticks_off()
        _scale_log(axes)
        axes.set_xlabel(label)
        axes.set_ylabel("CPU µs a message")
        axes.set_title(f"Scaling over {'connections' if key == 'connections' else 'sizes'}")
    _legend(figure, both[0])
    return figure


def _rate_if_kept_up(case: dict[str, Any], server: str) -> float | None:
    if stats.median(output.series(case, server, "overloaded")):
        return None
    rate = stats.median(output.series(case, server, "rate"))
    return None if rate is None else rate / 1000


def draw_latency(run: Run) -> Figure | None:
    """Percentiles over the rate that was asked; whoever did not keep up with a rate has no point there."""
    cases = output.cases(run, "latency")
    if not cases:
        return None
    figure, panels = _subplots(1, 3, figsize=(9, 3.4), sharey=True)
    for axes, (key, text) in zip(panels, (("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")), strict=True):
        _lines(axes, cases, key, _rate_if_kept_up)
        _scale_log(axes)
        axes.set_title(f"Latency, {text}")
        axes.set_xlabel("1,000 messages/s, fixed rate")
    panels[0].set_ylabel("µs from the time it was due")
    _legend(figure, panels[0])
    return figure


def draw_memory(run: Run) -> Figure | None:
    """User memory of a connection that is silent."""
    cases = output.cases(run, "idle")
    found = [(name, output.spread(case, name, "bytes_per_connection")) for case in cases for name in _servers(cases)]
    known = [(name, spread) for name, spread in found if spread is not None][::-1]
    if not known:
        return None
    figure, axes = _subplots(figsize=(9, 2.6))
    errors = list(zip(*(_error(spread) for _, spread in known), strict=True))
    names = [name for name, _ in known]
    bars = axes.barh(
        names,
        [s.median for _, s in known],
        color=[COLORS[name] for name in names],
        xerr=errors,
        error_kw={"elinewidth": 0.8},
    )
    axes.bar_label(bars, [f"{spread.median:,.0f} B" for _, spread in known], padding=6)
    axes.margins(x=0.12)
    axes.xaxis.set_major_formatter(lambda value, place: f"{value:,.0f}")
    axes.set_title("User memory of an idle connection, bytes (less is better)")
    return figure


PICTURES: dict[str, Callable[[Run], Figure | None]] = {
    "cpu": draw_cpu,
    "latency": draw_latency,
    "scaling": draw_scaling,
    "memory": draw_memory,
}


def _scale_log(axes: Axes) -> None:
    """Upwards logarithmic, with numbers that people read."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, place: f"{value:,g}")


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)


def _style(theme: dict[str, str], salt: str) -> dict[str, Any]:
    ink = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), theme["ink"])
    return {
        **ink,
        "axes.facecolor": "none",
        "axes.edgecolor": theme["faint"],
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "figure.constrained_layout.use": True,
        "font.size": 8.5,
        "grid.color": theme["faint"],
        "grid.linewidth": 0.5,
        "savefig.transparent": True,
        "svg.fonttype": "none",  # text stays text: small files
        "svg.hashsalt": salt,  # and the same files for the same figures
    }


def file_name(name: str, theme: str) -> str:
    return f"bench-{name}-{theme}.svg"


def draw(run: Run, folder: Path) -> list[Path]:
    """Draws what the run has figures for; returns the files."""
    pyplot = _pyplot()
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    about = {"Title": "wawo bench", "Description": f"wawo bench {run['stamp']}", "Date": None, "Creator": None}
    for theme, colors in THEMES.items():
        with pyplot.rc_context(_style(colors, run["stamp"])):
            for name, make in PICTURES.items():
                figure = make(run)
                if figure is not None:
                    made.append(folder / file_name(name, theme))
                    figure.savefig(made[-1], metadata=about)
                    pyplot.close(figure)
    return made


def stamp_in(picture: Path) -> str | None:
    """Of which run it is."""
    found = STAMP.search(picture.read_text(encoding="utf-8"))
    return None if found is None else found.group(1)
