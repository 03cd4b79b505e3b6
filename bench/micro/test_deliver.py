"""From the socket into `OnReceive`: a block of framed messages, sent by this thread, until the last one was delivered.

What it costs is the read, the cutting, the batch and the callback; no instruction counts, for Python is in it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import wawo

MESSAGES, SIZE = 10_000, 64
PATIENCE_S = 10.0


class Count(wawo.Listener):
    """Does no more than it must to know the last message of a block."""

    def __init__(self) -> None:
        self.left = MESSAGES
        self.done = threading.Event()

    def OnReceive(self, conn: wawo.Connection, data: Any) -> None:
        self.left -= 1
        if not self.left:
            self.left = MESSAGES
            self.done.set()


@pytest.fixture
def sender(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    listener = Count()
    block = (SIZE.to_bytes(4, "big") + bytes(SIZE)) * MESSAGES
    with wawo.TcpServer(listener, framing=wawo.LengthPrefixed(4), view=request.param) as server:
        server.start("127.0.0.1", 0)
        with socket.create_connection(server.address, timeout=PATIENCE_S) as sock:

            def send() -> None:
                listener.done.clear()
                sock.sendall(block)
                assert listener.done.wait(PATIENCE_S)

            yield send


@pytest.mark.parametrize("sender", [False, True], indirect=True, ids=["bytes", "views"])
def test_deliver(sender: Callable[[], None], benchmark: Any, note: Callable[[int, float | None], None]) -> None:
    benchmark.pedantic(sender, rounds=20, warmup_rounds=1)
    if benchmark.enabled:
        note(MESSAGES, None)
