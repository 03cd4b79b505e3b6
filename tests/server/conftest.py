"""A server on each backend, and what it told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fixtures import backend
from servers import Log

import wawo

__all__ = ["backend", "log", "server"]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def server(log: Log, backend: str) -> Iterator[wawo.TcpServer]:
    with wawo.TcpServer(log, backend=backend, io_threads=1) as server:
        server.start("127.0.0.1", 0)
        yield server
