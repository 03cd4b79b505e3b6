"""What waits to be sent through TLS counts against the total of a component, and no longer than it waits."""

from __future__ import annotations

import contextlib

import pytest
from peers import Log, dial, eventually, read
from secure import secured, wrap

import wawo


def test_total_comes_back(backend: str) -> None:
    """After connections that were aborted with records under way the whole total is there again, to the byte."""
    limit = 300_000
    options = {"high_water": 100_000, "low_water": 1000, "max_pending": limit, "max_pending_total": limit}
    log = Log()
    with secured(log, backend, **options) as server:

        def is_full(conn: wawo.Connection, before: int) -> bool:
            with contextlib.suppress(wawo.SendBufferFull):
                while conn.send(bytes(20_000)):
                    pass
            return bool(server.stats()["receive_pauses"] > before)

        for number in range(5):
            with wrap(dial(server, receive_buffer=8192)):
                conn, before = log.conn(number), server.stats()["receive_pauses"]
                eventually(lambda conn=conn, before=before: is_full(conn, before))
                conn.abort()
                log.until_count("OnClose", number + 1)

        def fill(conn: wawo.Connection) -> None:
            assert conn.send(bytes(limit - 10))
            with pytest.raises(wawo.SendBufferFull):
                conn.send(bytes(11))
            assert conn.send(bytes(10))

        log.actions["OnReceive"] = lambda conn, data: fill(conn)
        with wrap(dial(server)) as peer:
            peer.sendall(b"!")
            assert read(peer, limit) == bytes(limit)
    assert log.raised() == []
