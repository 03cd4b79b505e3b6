"""pytest tests/differential --scripts 2000: how many scripts each pair of engines runs."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--scripts", type=int, default=None, help="random scripts that each pair of engines runs")
    parser.addoption("--script-seed", type=int, default=None, help="the seed of the first of them; random unless told")
