"""The handle on loop threads: its counters against its end."""

from __future__ import annotations

import threading

import pytest
from peers import DEADLINE_S

from wawo._core import Threads


@pytest.mark.threads
def test_counters_while_it_stops() -> None:
    """Asked from two threads until there are none: never of loops that are gone."""
    for _ in range(50):
        threads = Threads(8, None, 1 << 24)
        looking = threading.Event()

        def look(threads: Threads = threads, looking: threading.Event = looking) -> None:
            while found := threads.stats():
                assert len(found) == 8
                looking.set()

        lookers = [threading.Thread(target=look) for _ in range(2)]
        for looker in lookers:
            looker.start()
        assert looking.wait(DEADLINE_S)
        assert threads.stop(DEADLINE_S)
        for looker in lookers:
            looker.join(DEADLINE_S)
            assert not looker.is_alive()
