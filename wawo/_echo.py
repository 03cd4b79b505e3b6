"""The listener that ``wawo echo`` and ``wawo demo`` serve."""

from __future__ import annotations

from .connection import Connection
from .listener import Listener


class Echo(Listener):
    """Sends back what it receives."""

    def OnReceive(self, conn: Connection, data: bytes) -> None:
        conn.send(data)
