"""Every test here runs over each backend of this system; what several of them send."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures import backend, file
from peers import pattern

__all__ = ["backend", "file", "large"]


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """More than the buffers of both sides hold."""
    path = tmp_path / "large"
    path.write_bytes(pattern(24 * 1024 * 1024))
    return path
