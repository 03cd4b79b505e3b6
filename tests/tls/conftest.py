"""Every test here runs over each backend; those about the protocol over both versions of TLS too."""

from __future__ import annotations

import pytest
from fixtures import backend, file
from secure import VERSIONS

__all__ = ["backend", "file", "version"]


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)
