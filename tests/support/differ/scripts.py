"""Random scripts: what a component is made with, and what then happens to it, as plain data.

A script is written so that what it must lead to does not hang on how fast somebody is:

* Raw, Pull and a Protocol get a command only as the last byte of a piece that is one read for both engines; what cuts
  messages may get any number of them in any pieces.
* Output is either so little that the system takes it at once or so much that it never takes all (LARGE), and what is
  large goes only to peers that read all the time or not at all.
* What is behind a large answer may not be read before that has gone, so it comes in one piece with the question.
* Whether a large message still fits does not hang on whether little output before it has gone (MAX_PENDING).
* Where peers wait and their addresses are counted, connections end one by one: whose place becomes free first says who
  of those that wait is turned away.
* No time limit is met (PATIENT).
* On unix sockets everybody reads, and nobody resets. Peers have no addresses there, so nobody waits or is turned away,
  and they are known by the order in which they come.
* A peer resets, or closes for good, only connections of which the engine has read all and that it has accepted: what
  meets a reset is a race.
"""

from __future__ import annotations

import random
from typing import Any

Script = dict[str, Any]
Step = list[Any]

CUTTING = (
    "length",
    "length-little",
    "varint",
    "field",
    "field-adjust",
    "field-carried",
    "pack",
    "lines",
    "between",
    "fixed",
    "packet",
)
STREAMING = ("raw", "pull", "words")
SMALL_MESSAGES = ("fixed",)
PATIENT = {"close_timeout": 80.0, "connect_timeout": 80.0}
NOT_UNIX = {"max_connections", "max_connections_per_address", "proxy_protocol"}
MAX_PENDING = (1 << 20) + (1 << 18)  # one large message and what is little, but not two, nor one behind a rest of one

# What a message asks of the listener; see reactions.py.
HARMLESS = "EEEENNSKHGFOMQJ"
ENDING = "CAXRWDY"
OUTSIDE = (
    *("send", "send", "send", "send_packets", "send_file", "send_by_id", "send_nothing", "too_big"),
    *("crowd", "crowd"),
    *("flush", "close", "abort", "shutdown_write", "disconnect", "look", "pause", "pause", "resume", "resume"),
)
OPENING = (
    *("note", "note", "note", "note", "note", "greet", "greet"),
    *("close", "abort", "error", "raise", "pause", "shutdown_write"),
)
HEADERS = ("v1", "v1", "v2", "v2", "v1 ipv6", "v2 ipv6", "v1 unknown", "v2 local", "bad", "half")
STEPS = (
    *("send", "send", "send", "send", "send", "send", "noise", "finish", "reset", "close"),
    *("stop_reading", "read", "outside", "outside", "outside", "broadcast"),
)


def make(chance: random.Random) -> Script:
    """A script of up to some twenty steps; everything random comes from ``chance``."""
    return _Maker(chance).make()


def waits_by_address(options: dict[str, Any]) -> bool:
    """Whether peers wait for a place that they may not get for their address."""
    return options.get("on_full") == "wait" and "max_connections_per_address" in options


class _Peer:
    """What the maker knows of a connection, as far as it must."""

    def __init__(self) -> None:
        self.reads = True
        self.ended = False  # by the peer, or surely by us
        self.paused = False  # perhaps


class _Maker:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.peers: list[_Peer] = []
        self.steps: list[Step] = []

    def make(self) -> Script:
        chance = self.chance
        role = "agent" if chance.random() < 0.3 else "server"
        self.role = role
        self.framing = chance.choice(CUTTING + STREAMING * 2)
        self.cuts = self.framing in CUTTING
        options = self.options = self._options()
        self.unix = not options.keys() & NOT_UNIX and chance.random() < 0.15
        self.callbacks = self._callbacks()
        self.large = options["high_water"] < 1 << 20 and self.framing not in SMALL_MESSAGES
        script = {
            "role": role,
            "transport": "unix" if self.unix else "tcp",
            "framing": self.framing,
            "options": options,
            "callbacks": self.callbacks,
            "steps": self.steps,
        }
        self._connect()
        for _ in range(chance.randint(2, 14)):
            self._step()
        self._end()
        script["tls"] = chance.random() < 0.2 and not options.get("proxy_protocol")
        return script

    def _options(self) -> dict[str, Any]:
        chance = self.chance
        options: dict[str, Any] = {"high_water": 1 << 20, "low_water": 1 << 18, **PATIENT}
        if chance.random() < 0.5:
            options |= {"high_water": 64 * 1024, "low_water": chance.choice((0, 1000, 32 * 1024))}
        if chance.random() < 0.3:
            options["max_pending"] = MAX_PENDING  # the total is for all: who gets what is left of it is free
        if chance.random() < 0.3:
            options["max_connections"] = chance.randint(1, 3)
            options["on_full"] = chance.choice(("wait", "close"))
        if chance.random() < 0.2:
            options["idle_timeout"] = 80.0
        for name, part in (("view", 0.3), ("auto_pause", 0.6)):  # no_delay stays: without it the system waits 40 ms
            options[name] = chance.random() < part
        if self.role == "server" and chance.random() < 0.1:
            options["max_connections_per_address"] = 2
        if self.role == "server" and chance.random() < 0.15:
            options["proxy_protocol"] = True
        return options

    def _callbacks(self) -> dict[str, str]:
        """Which are defined, and what they do beside being noted."""
        chance = self.chance
        found = {"OnReceive": "react", "OnClose": chance.choice(("note", "note", "send", "raise"))}
        if self.unix or chance.random() < 0.9:  # which tells them apart
            found["OnOpen"] = self._gentle(chance.choice(OPENING))
        if chance.random() < 0.6:
            found["OnHandShake"] = self._gentle(chance.choice(OPENING))
        if chance.random() < 0.3:
            found["OnSend"] = "note"
        if chance.random() < 0.7:
            found["OnDrain"] = chance.choice(("note", "note", "raise"))
        if chance.random() < 0.8:
            found["OnException"] = "note"
        return found

    def _gentle(self, what: str) -> str:
        """A reset is no more than a close on a unix socket: nobody could tell what it destroyed."""
        return {"abort": "close", "A": "C"}.get(what, what) if self.unix else what

    # ---- steps ----

    def _live(self) -> list[int]:
        return [number for number, peer in enumerate(self.peers) if not peer.ended]

    def _step(self) -> None:
        chance = self.chance
        live = self._live()
        if not live or chance.random() < 0.12:
            self._connect()
            return
        number = chance.choice(live)
        getattr(self, f"_{chance.choice(STEPS)}")(number, self.peers[number])

    def _connect(self) -> None:
        chance = self.chance
        if self.role == "agent" and chance.random() < 0.25:
            self.steps.append(["dial", chance.choice(("refused", "no name", "no path", "wrong family"))])
            return
        for _ in range(chance.randint(1, 3)):
            self.peers.append(_Peer())
            self.peers[-1].paused = "pause" in self.callbacks.values()
            self.steps.append(["connect", chance.random() < 0.15])  # with data before anybody has accepted
            if "proxy_protocol" in self.options:
                self.steps[-1] += [chance.choice(HEADERS), chance.choice((1, 1, 2))]
                self.peers[-1].ended = self.steps[-1][2] in ("bad", "half")

    def _messages(self, peer: _Peer) -> list[tuple[str, int]]:
        """(command, size) of each."""
        chance = self.chance
        count = chance.randint(1, 6) if self.cuts else 1
        found = []
        for _ in range(count):
            command = chance.choice(HARMLESS)
            if chance.random() < 0.12:
                command = self._gentle(chance.choice(ENDING))
            elif chance.random() < 0.08:
                command = "P"
            elif self.large and chance.random() < 0.15:
                command = "L"
            elif peer.reads and self.large and chance.random() < 0.06:
                command = "U"
            if command in "HM" and (self.large or self.unix):  # flush and broadcast behind it ask what was taken of it
                command = "E"
            found.append((command, chance.choice((1, 2, 5, 20, 100, 1000))))
            peer.paused |= command in "PY"
        return found

    def _send(self, number: int, peer: _Peer) -> None:
        messages = self._messages(peer)
        whole = not self.cuts or any(command in "LU" for command, _ in messages)
        pieces = 1 if whole else self.chance.choice((1, 1, 1, 2, 3, 8))
        self.steps.append(["send", number, messages, pieces, self.chance.random() < 0.5])
        if self.chance.random() < 0.1:
            self.steps[-1][4] = False
            self.steps.append(["finish", number])
            peer.ended = True

    def _noise(self, number: int, peer: _Peer) -> None:
        if self.chance.random() < 0.5:
            data = bytes(self.chance.choice(b"\0\1\2\xffabEN<>|;^!?\r\n") for _ in range(self.chance.randint(1, 40)))
            self.steps.append(["bytes", number, data.decode("latin-1")])

    def _finish(self, number: int, peer: _Peer) -> None:
        self.steps.append(["finish", number])
        peer.ended = True

    def _reset(self, number: int, peer: _Peer) -> None:
        if self._may_leave(peer):
            self.steps.append(["reset", number])
            peer.ended = True

    def _close(self, number: int, peer: _Peer) -> None:
        if self._may_leave(peer):
            self.steps.append(["close", number])
            peer.ended = True

    def _may_leave(self, peer: _Peer) -> bool:
        return peer.reads and not peer.paused and self.options.get("on_full") != "wait"

    def _stop_reading(self, number: int, peer: _Peer) -> None:
        if self.unix:
            return  # what the system takes there is neither much nor little
        self.steps.append(["stop_reading", number])
        peer.reads = False

    def _read(self, number: int, peer: _Peer) -> None:
        self.steps.append(["read", number])
        peer.reads = True

    def _outside(self, number: int, peer: _Peer) -> None:
        name = self._gentle(self.chance.choice(OUTSIDE))
        self.steps.append(["outside", number, name, self.chance.randint(0, 3)])
        if name == "pause":
            peer.paused = True

    def _broadcast(self, number: int, peer: _Peer) -> None:
        to = self.chance.choice((None, None, self._live()))
        size, slow = self.chance.choice((1, 30, 3000)), self.chance.choice(("skip", "close"))
        if waits_by_address(self.options):
            slow = "skip"  # it could end several at once
        self.steps.append(["broadcast", size, to, slow])

    def _end(self) -> None:
        """How the component comes to its end."""
        kind = self.chance.choice(("stop", "stop", "stop", "drain", "drain", "disconnect_all"))
        self.steps.append([kind])
