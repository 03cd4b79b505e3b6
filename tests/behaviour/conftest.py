"""Every test here runs over each backend that works on this machine and is asked for."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["epoll", "poll"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
