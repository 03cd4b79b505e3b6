"""The JSON of a run, the README's table and its pictures belong together; an interrupted run keeps what it has."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import benches
import pytest
from rich.console import Console

from bench import run
from bench.harness import measure, output, pictures, readme
from bench.harness.contenders import NAMES, RAW, WAWO, Availability, Contender
from bench.harness.errors import BenchError
from bench.harness.machine import Cores
from bench.harness.measure import Bench, Case, CaseResult, Sample, Scenario, Settings
from bench.harness.report import Show

FOLDER = benches.ROOT / readme.FOLDER
MACHINE = {"cpu": "a CPU", "cores": 2, "kernel": "6", "python": "3", "compiler": "cc", "load_average": 0.1}


def committed() -> output.Run:
    return output.read_json(FOLDER / readme.JSON_NAME)


def test_the_stamp_is_of_the_figures() -> None:
    found = committed()
    assert found["stamp"] == output.stamp_of(found)
    found["scenarios"]["pingpong"]["cases"][0]["servers"]["wawo"]["samples"]["cpu_us"][0] = 0.001
    assert found["stamp"] != output.stamp_of(found)


def test_the_pictures_are_of_that_run() -> None:
    wanted = {pictures.file_name(name, theme) for name in pictures.PICTURES for theme in pictures.THEMES}
    found = {path.name: pictures.stamp_in(path) for path in FOLDER.glob("bench-*.svg")}
    assert found == dict.fromkeys(wanted, committed()["stamp"])


@pytest.mark.parametrize("page", readme.PAGES)
def test_the_table_of_the_readme_is_of_that_run(page: str) -> None:
    assert readme.block_of(benches.ROOT / page) == readme.block(committed())


def test_the_readme_has_every_rival_and_says_what_is_missing() -> None:
    found = committed()
    for case in found["scenarios"]["pingpong"]["cases"]:
        assert set(case["servers"]) >= set(readme.COLUMNS)
    found["rivals"]["trio"] = {"version": "", "reason": "not installed"}
    for scenario in found["scenarios"].values():
        for case in scenario["cases"]:
            case["servers"]["trio"] = {"problem": "not installed", "disturbed": 0, "samples": {}}
    text = readme.block(found)
    assert "trio not installed" in text
    assert text.count("| not installed |") > 5


def test_an_overloaded_server_has_no_latency() -> None:
    series = {"p99_us": [9.0, 9.0], "overloaded": [1.0, 1.0], "rate": [5.0, 5.0]}
    case = {"title": "x", "servers": {"wawo": {"problem": None, "samples": series}}}
    found: output.Run = {"scenarios": {"latency": {"cases": [case]}}}
    (row,) = readme._rows(found, readme.LATENCY[1:])
    assert "| overloaded |" in row


def test_a_page_without_marks_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(BenchError, match="has no <!-- figures -->"):
        readme.block_of(page)
    page.write_text("before\n<!-- figures -->\nold<!-- /figures -->\nafter")
    readme.write_block(page, committed())
    text = page.read_text()
    assert text.startswith("before\n<!-- figures -->\n")
    assert text.endswith("<!-- /figures -->\nafter")
    assert readme.block_of(page) == readme.block(committed())


def test_json_has_lists_in_one_line_and_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "run.json"
    content: dict[str, Any] = {"a": {"b": [1.5, None], "c": {}}, "d": [{"e": "ü"}], "f": []}
    output.write_json(path, dict(content))
    text = path.read_text(encoding="utf-8")
    assert '"b": [1.5, null]' in text
    read = output.read_json(path)
    assert read.pop("stamp") == output.stamp_of(content)
    assert read == content
    assert [each.name for each in path.parent.iterdir()] == ["run.json"]
    path.write_text("{")
    with pytest.raises(BenchError, match=r"run\.json is no result of the bench"):
        output.read_json(path)


def one_run(keep: Path | None) -> tuple[run.Run, Show]:
    cores = Cores(frozenset({0}), frozenset({0}), frozenset({0}))
    bench = Bench(Settings(rounds=2), "python", "echo", "load", cores, {name: Availability() for name in NAMES})
    console = Console(file=io.StringIO(), width=150)
    return run.Run(bench, console, dict(MACHINE), keep), Show(console, 8)


def sample(bench: Bench, case: Case, contender: Contender) -> Sample:
    if case.title == "second":
        raise KeyboardInterrupt
    return {"cpu_us": 1.0, "per_second": 100.0, "errors": 0, "mode": "pingpong", "error_detail": {}}


def test_an_interrupted_run_keeps_the_finished_cases(tmp_path: Path) -> None:
    cases = [Case(title, {"connections": 1}, (RAW, WAWO), measure=sample) for title in ("first", "second")]
    kept, show = one_run(tmp_path / "kept.json")
    with pytest.raises(KeyboardInterrupt):
        kept.scenario(Scenario("some", "some", cases, lambda results: []), show)
    found = json.loads((tmp_path / "kept.json").read_text())
    (case,) = found["scenarios"]["some"]["cases"]
    assert case["title"] == "first"
    samples = case["servers"]["wawo"]["samples"]
    assert (samples["cpu_us"], samples["per_second"]) == ([1.0, 1.0], [100.0, 100.0])
    assert not {"mode", "error_detail"} & set(samples)


def test_troubles_of_a_smoke_run() -> None:
    result = CaseResult(Case("one", {}, (RAW, WAWO)))
    result.samples = {
        "raw C": [{"per_second": 5.0, "errors": 0}],
        "wawo": [{"per_second": 0.0, "errors": 0}],
        "uvloop": [None],
    }
    result.problems = {"uvloop": "not installed"}
    assert run.troubles_of([result]) == ["one: wawo: no messages", "one: uvloop: not installed"]
    result.samples["raw C"].append({"per_second": 5.0, "errors": 3})
    assert run.troubles_of([result])[0] == "one: raw C: 3 errors"


def test_wrong_words_and_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run.main(["--only", "dance"])
    assert caught.value.code == 2
    assert "'dance' is none of pingpong," in capsys.readouterr().err
    assert run.main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(run.ALL)
    assert run.main(["--from", "nowhere.json"]) == 1
    assert "nowhere.json is no result of the bench" in capsys.readouterr().err


def test_rounds_given_are_for_everybody() -> None:
    settings = run.read_settings(run.parse_options(["--rounds", "9"]))
    assert (settings.rounds, settings.rest_rounds) == (9, 9)
    settings = run.read_settings(run.parse_options(["--readme", "--rest-rounds", "2"]))
    assert (settings.rounds, settings.rest_rounds) == (run.README.rounds, 2)
    assert measure.count_measurements(run.SMOKE, run.ALL["pingpong"]) == 2 * len(NAMES)
