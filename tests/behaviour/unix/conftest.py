"""Names for unix sockets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from systems import NEEDS_ABSTRACT


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Short whatever the folder of the test is called."""
    monkeypatch.chdir(tmp_path)
    return "socket"


@pytest.fixture(params=["path", pytest.param("abstract", marks=NEEDS_ABSTRACT)])
def host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return "unix:socket" if request.param == "path" else f"unix:@wawo-tests-{os.getpid()}-{tmp_path.name}"
