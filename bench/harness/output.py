"""The JSON of a run: written after each case, stamped by what is in it, and read again for pictures and the README."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from bench.harness import stats
from bench.harness.errors import BenchError

Run = dict[str, Any]


def stamp_of(run: Run) -> str:
    """Twelve hex digits that change with any figure of the run."""
    content = {key: value for key, value in run.items() if key != "stamp"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def write_json(path: Path, run: Run) -> None:
    """Stamps the run and replaces the file at once: who is interrupted keeps the last whole one."""
    run["stamp"] = stamp_of(run)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(_text(run) + "\n", encoding="utf-8")
    fresh.replace(path)


def read_json(path: Path) -> Run:
    try:
        run: Run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchError(f"{path} is no result of the bench: {error}") from None
    return run


def _text(value: Any, indent: str = "") -> str:
    """Indented, but a list of plain values takes one line: a round more is not a page more."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        rows = [f"{inner}{json.dumps(key)}: {_text(item, inner)}" for key, item in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return "[\n" + ",\n".join(inner + _text(item, inner) for item in value) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def cases(run: Run, scenario: str) -> list[dict[str, Any]]:
    """Empty when it did not run."""
    found = run["scenarios"].get(scenario)
    return [] if found is None else list(found["cases"])


def series(case: dict[str, Any], server: str, key: str) -> list[float | None]:
    """A figure of one server in each round."""
    found = case["servers"].get(server)
    return [] if found is None else list(found["samples"].get(key, []))


def spread(case: dict[str, Any], server: str, key: str) -> stats.Spread | None:
    return stats.spread(series(case, server, key))


def ratio(case: dict[str, Any], server: str, other: str, key: str) -> stats.Spread | None:
    return stats.spread(stats.ratios(series(case, server, key), series(case, other, key)))
