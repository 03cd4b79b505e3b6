"""Where unix sockets have short paths."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where unix sockets have short paths."""
    monkeypatch.chdir(tmp_path)
