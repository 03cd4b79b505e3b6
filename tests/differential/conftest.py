"""pytest tests/differential --scripts 2000: how many scripts each pair of engines runs."""

from __future__ import annotations

import pytest
from differ.pairs import BY_CHANCE


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scripts", type=int, default=None, help="random scripts that each pair of engines runs")
    parser.addoption("--script-seed", type=int, default=None, help="the seed of the first of them; random unless told")
    parser.addoption("--every-difference", action="store_true", help="also those that do not come again")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    passed = terminalreporter.stats.get("passed", [])
    for line in (line for report in passed for name, line in report.user_properties if name == BY_CHANCE):
        terminalreporter.write_line(f"did not come again: {line}")
