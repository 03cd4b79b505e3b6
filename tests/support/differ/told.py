"""The listener of a script: what it was told, by connection, and what it does then."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import wawo

from .reactions import Reactions, Shape, digest
from .scripts import Script
from .tls import why


class Told:
    def __init__(self, script: Script, folder: Path) -> None:
        self.script = script
        self.shape = Shape(script["framing"])
        self.step = 0
        self.count = 0
        self.told: dict[str, list[list[Any]]] = {}
        # Abstract names, which only Linux has; elsewhere such a script goes over TCP.
        self.unix = script["transport"] == "unix" and sys.platform.startswith("linux")
        self.conns: dict[str, wawo.Connection] = {}
        self.taken: dict[str, int] = {}
        self.reactions = Reactions(self.shape, script["callbacks"], self.log, folder)
        self.component: Any = None

    def listener(self) -> wawo.Listener:
        return wawo.Listener(**self._callbacks())

    def log(self, key: str, *values: Any) -> None:
        self.count += 1
        self.told.setdefault(key, []).append([self.step, *values])

    def _key(self, conn: wawo.Connection) -> str:
        """Connections are known by the address of their peer, by what was given to connect(), or by their order."""
        if self.unix and conn.extra is None:
            conn.extra = f"peer {len(self.conns)}"
        if conn.extra is not None:
            return str(conn.extra)
        address = conn.remote_address
        return f"from {address[0]}:{address[1]}" if address else "?"

    def _callbacks(self) -> dict[str, Callable[..., object]]:
        wanted = self.script["callbacks"]
        found: dict[str, Callable[..., object]] = {
            "OnReceive": self._on_receive,
            "OnClose": self._on_close,
            "OnShutdown": lambda component: self.log("component", "OnShutdown", component is self.component),
        }
        if "OnOpen" in wanted:
            name = "OnAccept" if self.script["role"] == "server" else "OnConnect"
            found[name] = self._noting("OnOpen", name)
        for name in ("OnHandShake", "OnDrain"):
            if name in wanted:
                found[name] = self._noting(name, name)
        if "OnSend" in wanted:
            found["OnSend"] = self._on_send
        if "OnException" in wanted:
            found["OnException"] = lambda conn, error: self.log(self._key(conn), "OnException", repr(error))
        return found

    def _noting(self, role: str, name: str) -> Callable[[wawo.Connection], object]:
        def callback(conn: wawo.Connection) -> object:
            key = self._key(conn)
            self.conns.setdefault(key, conn)
            self.log(key, name, conn.connected)
            return self.reactions.also(role, key, conn)

        return callback

    def _on_receive(self, conn: wawo.Connection, data: Any) -> object:
        key = self._key(conn)
        self.conns.setdefault(key, conn)
        if self.shape.name == "pull":
            return self._on_pull(key, conn, data)
        self.log(key, "OnReceive", bytes(data))
        return self.reactions.react(key, conn, bytes(data))

    def _on_pull(self, key: str, conn: wawo.Connection, length: int) -> object:
        """What lies there, in portions, and the rest behind a look at it."""
        taken = b""
        while (portion := conn.fetch(100)) is not None:
            taken += portion
        rest = length - len(taken)
        looked, more = conn.peek(rest), conn.peek(rest + 1)
        taken += conn.fetch(rest) or b""
        self.log(key, "OnReceive", taken)
        if (looked or b"") != taken[len(taken) - rest :] or more is not None:
            self.log(key, "wrong peek", digest(looked or b""), more)
        return self.reactions.react(key, conn, taken)

    def _on_send(self, conn: wawo.Connection, length: int) -> None:
        key = self._key(conn)
        self.taken[key] = self.taken.get(key, 0) + length

    def _on_close(self, conn: wawo.Connection, operation: wawo.Operation, error: int) -> object:
        key = self._key(conn)
        name = errno.errorcode.get(error, str(error))
        self.log(key, "OnClose", operation.name, name if error else "", why(conn.error), conn.connected)
        return self.reactions.also("OnClose", key, conn)
