"""Every test here runs over each backend of this system; what several of them send."""

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


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """More than the buffers of both sides hold."""
    path = tmp_path / "large"
    path.write_bytes(pattern(24 * 1024 * 1024))
    return path
