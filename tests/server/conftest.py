"""A server on each backend, and what it told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from backends import BACKENDS
from servers import Log

import wawo


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def server(log: Log, backend: str) -> Iterator[wawo.TcpServer]:
    with wawo.TcpServer(log, backend=backend, io_threads=1) as server:
        server.start("127.0.0.1", 0)
        yield server
