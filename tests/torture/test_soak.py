"""The soak for half a minute, with ``--long`` for some."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from soak import soak

SECONDS = float(os.environ.get("WAWO_SOAK_S", "240" if os.environ.get("WAWO_LONG") else "20"))


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 120)
def test_memory_stays_constant_and_every_byte_arrives(tmp_path: Path) -> None:
    done = soak("epoll", SECONDS, seed=1, folder=tmp_path, tell=print).done
    assert sum(done.values()) > 100
