"""Fixtures that several folders have; the conftest.py of each imports those it wants."""

from __future__ import annotations

from pathlib import Path

import pytest
from backends import BACKENDS
from peers import pattern


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of 300,000 bytes; its content is ``pattern(300_000)``."""
    path = tmp_path / "file"
    path.write_bytes(pattern(300_000))
    return path
