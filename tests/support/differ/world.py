"""Runs one script over the engine of this process: a component, plain sockets as its peers, and what was told.

After each step it waits until the engine has nothing more to say. A second component on the same loop is the barrier: a
byte that comes back through it was handled in a turn behind what lay in the sockets before, so two of them mean that
everything that came before was delivered and answered. When a round of barriers changes nothing any more, neither at
the peers nor in the log and the counters, the step is over.
"""

from __future__ import annotations

import os
import socket
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import wawo

from .reactions import MIB, attempt, digest, filler, joined
from .scripts import Script, waits_by_address
from .tls import context_of, peer_of
from .told import Told
from .wire import DEADLINE_S, HOME, Barrier, Peer, ask, crowd, peer_socket

STABLE_ROUNDS = 2
T = TypeVar("T")


class World(Told):
    def __init__(self, script: Script, pool: wawo.IoPool, barrier: Barrier, folder: Path) -> None:
        super().__init__(script, folder)
        self.barrier = barrier
        self.peers: list[Peer] = []
        self.doors: list[socket.socket] = []
        self.dials = 0
        self._lost = (0, 0)
        self._door = f"wawo-{os.getpid()}"
        self._one_by_one = waits_by_address(script["options"])
        kind = wawo.TcpServer if script["role"] == "server" else wawo.TcpAgent
        options = {**script["options"], "tls": context_of(script)}
        self.component: Any = kind(self.listener(), framing=self.shape.framing, io=pool, **options)
        self.reactions.component = self.component

    # ---- the run ----

    def run(self) -> dict[str, Any]:
        try:
            if self.script["role"] == "server":
                self.component.start(*((f"unix:@{self._door}",) if self.unix else (HOME, 0)))
            else:
                self.component.start()
            for number, (name, *arguments) in enumerate(self.script["steps"]):
                self.step = number
                getattr(self, f"_step_{name}")(*arguments)
                self.settle()
                self._look_for_untidy()
        finally:
            self.component.stop()
            for sock in [*self.doors, *(peer.sock for peer in self.peers)]:
                sock.close()
        return self.result()

    def settle(self) -> None:
        """Until nothing more happens."""
        deadline = time.monotonic() + DEADLINE_S
        stable, before = 0, None
        while stable < STABLE_ROUNDS or self._something_is_on_its_way():
            if time.monotonic() > deadline:
                raise TimeoutError(f"step {self.step} does not come to rest: {self._restless()}")
            moved = False
            for peer in self.peers:
                moved |= peer.pump()
            self.barrier.cross()
            stats = {name: value for name, value in self.component.stats().items() if name != "loops"}
            now = (self.count, stats, [peer.heard() for peer in self.peers])
            stable = 0 if moved or now != before else stable + 1
            before = now
        self._lost = self._losses()

    def _something_is_on_its_way(self) -> bool:
        """What a barrier does not wait for: files that are read, and the system where it is slow to hand bytes over."""
        for number, peer in enumerate(self.peers):
            conn = self._conn(number)
            if conn is not None and conn.pending and peer.reads and not peer.end:
                return True
            if self.unix:
                continue  # what is sent is there at once
            if conn is not None and conn.connected and not peer.end and ask(peer.sock, termios.TIOCOUTQ):
                return True
        if not all(peer.reads for peer in self.peers):
            return False  # the system holds bytes on either side
        ended, lost = self._losses()
        return ended == self._lost[0] and lost > self._lost[1]

    def _restless(self) -> object:
        conns = {key: (conn.connected, conn.pending) for key, conn in list(self.conns.items())}
        peers = [(peer.end, peer.reads, ask(peer.sock, termios.TIOCOUTQ)) for peer in self.peers]
        return conns, peers, self._losses(), self._lost

    def _losses(self) -> tuple[int, int]:
        """How many ended, and how much of what the engine has written is not at its peers: that may be lost then."""
        ended = sum(bool(peer.end or peer.broken) for peer in self.peers)
        ended += sum(not conn.connected for conn in list(self.conns.values()))
        here = sum(peer.heard() + ask(peer.sock, termios.FIONREAD) for peer in self.peers)
        return ended, self.component.stats().get("bytes_out", 0) - here

    def _look_for_untidy(self) -> None:
        """Who sent in this step to a connection that is not there, that is paused, or that has begun to end."""
        for number, peer in enumerate(self.peers):
            conn = self._conn(number)
            if peer.sending and (conn is None or not conn.connected or conn.paused):
                peer.untidy = True
            peer.sending = bool(peer.out)

    def until(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not happened():
            if time.monotonic() > deadline:
                raise TimeoutError(f"step {self.step}: {happened}")
            for peer in self.peers:
                peer.pump()
            self.barrier.cross()

    def _peer(self, number: int) -> Peer | None:
        """None: it has left, or a smaller script has it no more."""
        return self.peers[number] if number < len(self.peers) and self.peers[number].sock.fileno() >= 0 else None

    def _conn(self, number: int) -> wawo.Connection | None:
        return self.conns.get(self._name(number)) if number < len(self.peers) else None

    def _name(self, number: int) -> str:
        return f"peer {number}" if self.unix or self.script["role"] == "agent" else self.peers[number].name

    # ---- steps ----

    def _step_connect(self, at_once: bool, header: str = "", pieces: int = 1) -> None:
        number = len(self.peers)
        if self.script["role"] == "agent":
            self._dial_open(number)
        else:
            self._dial_in()
        peer = self.peers[-1]
        if peer.sock.fileno() >= 0:
            if not self.unix:
                peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.sock.setblocking(False)
        if header and not peer.end:
            data = peer.header(header, len(self.peers))
            for part in (data[: len(data) // pieces], data[len(data) // pieces :]):
                peer.out += part
                self.settle()
        if at_once and header not in ("bad", "half") and not peer.end:
            peer.out += self.shape.wire(self.shape.message("E", 10))

    def _dial_in(self) -> None:
        """Each from an address of its own, for a port may soon be taken again; where they count, three share one."""
        if self.unix:
            self.peers.append(peer_of(self.script, socket.socket(socket.AF_UNIX)))
            self.peers[-1].sock.connect(f"\0{self._door}")
            return
        number = len(self.peers) + 1
        if "max_connections_per_address" in self.script["options"]:
            number = -(-number // 3)
        sock = self._socket_at(f"127.0.1.{number}")
        self.peers.append(peer_of(self.script, sock))
        self.peers[-1].name = "from {}:{}".format(*sock.getsockname())
        try:
            sock.connect(self.component.address)
        except ConnectionResetError:  # they were fast
            self.peers[-1].end = "reset"

    def _socket_at(self, address: str) -> socket.socket:
        """With a port that none of its peers had: by that they are told apart."""
        taken = {peer.name for peer in self.peers}
        while True:
            sock = peer_socket()
            sock.bind((address, 0))
            if "from {}:{}".format(*sock.getsockname()) not in taken:
                return sock
            sock.close()

    def _dial_open(self, number: int) -> None:
        door = socket.socket(socket.AF_UNIX) if self.unix else peer_socket()
        door.bind("" if self.unix else (HOME, 0))
        door.listen()
        self.doors.append(door)
        door.settimeout(DEADLINE_S)
        key = f"peer {number}"
        where = (f"unix:@{door.getsockname()[1:].decode()}",) if self.unix else door.getsockname()
        named = {"server_hostname": "localhost"} if self.script.get("tls") else {}
        answer = attempt(self.component.connect, *where, extra=key, **named)
        if isinstance(answer, str):
            self.log(key, "refused", answer)
            self.peers.append(Peer(socket.socket()))
            self.peers[-1].close("refused")
            return
        assert isinstance(answer, wawo.Connection)
        self.conns[key] = answer
        sock, _ = door.accept()
        sock.setblocking(False)
        self.peers.append(peer_of(self.script, sock))
        self.until(lambda: answer.local_address is not None)

    def _step_dial(self, target: str) -> None:
        """Somewhere where nobody is."""
        self.dials += 1
        key = f"dial {self.dials}"
        taken = socket.socket()  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        self.doors.append(taken)
        port = taken.getsockname()[1]
        places: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
            "refused": (("127.0.0.1", port), {}),
            "no name": (("no such host", 1), {}),
            "no path": (("unix:/no/such/socket",), {}),
            "wrong family": (("127.0.0.1", port), {"local_address": ("::1", 0)}),
        }
        where, more = places[target]
        answer = attempt(self.component.connect, *where, extra=key, **more)
        if isinstance(answer, str):
            self.log(key, "refused", answer)
            return
        self.until(lambda: any(entry[1] == "OnClose" for entry in self.told.get(key, [])))

    def _step_send(self, number: int, messages: list[tuple[str, int]], pieces: int, apart: bool) -> None:
        peer = self._peer(number)
        if peer is None:
            return
        wire = b"".join(self.shape.wire(self.shape.message(command, size)) for command, size in messages)
        size = max(1, -(-len(wire) // pieces))
        for at in range(0, len(wire), size):
            peer.out += wire[at : at + size]
            peer.pump()
            if apart:
                self.settle()

    def _step_bytes(self, number: int, text: str) -> None:
        if peer := self._peer(number):
            peer.out += text.encode("latin-1")

    def _step_finish(self, number: int) -> None:
        if peer := self._peer(number):
            peer.finishing = True

    def _step_reset(self, number: int) -> None:
        if peer := self._peer(number):
            peer.close("reset", reset=True)

    def _step_close(self, number: int) -> None:
        if peer := self._peer(number):
            peer.close("closed")

    def _step_stop_reading(self, number: int) -> None:
        if peer := self._peer(number):
            peer.reads = False

    def _step_read(self, number: int) -> None:
        if peer := self._peer(number):
            peer.reads = True

    def _step_outside(self, number: int, name: str, choice: int) -> None:
        """From this thread, which is none of the engine's."""
        conn = self._conn(number)
        if conn is None:
            return
        key = self._name(number)
        if name == "send_file":
            self.reactions.send_file(key, conn)
            return
        self.log(key, "outside", name, answers := [])  # first: a loop may tell of the end before the call is over
        message = self.shape.message("o", (1, 50, 2000, 60_000)[choice])
        if name == "send_packets":
            answer = attempt(conn.send_packets, [message[:1], message[1:]])
        elif name == "disconnect":
            answer = attempt(self.component.disconnect, conn.id)
        elif name == "look":
            answer = [self.component.connection(conn.id) is conn, conn.connected, conn.paused, repr(conn.error)]
        elif name == "too_big":
            answer = attempt(conn.send, filler(20 * MIB) + b"<<>>\r\n;")
        elif name == "send_by_id":
            answer = attempt(self.component.send, conn.id, message)
        elif name == "crowd":
            answer = crowd(conn, self.shape.message("c", 50))
        else:
            given = {"send": [message], "send_nothing": [b""]}.get(name, [])
            answer = attempt(getattr(conn, name.removesuffix("_nothing")), *given)
        answers.append(answer)

    def _step_broadcast(self, size: int, to: list[int] | None, slow: str) -> None:
        message = self.shape.message("b", size)
        chosen = None if to is None else [conn for number in to if (conn := self._conn(number)) is not None]
        self.log("component", "broadcast", attempt(self.component.broadcast, message, chosen, slow))

    def _step_stop(self) -> None:
        self.component.stop()

    def _step_disconnect_all(self) -> None:
        if self._one_by_one:
            self._disconnect_each()
        self.log("component", "disconnected", self.component.disconnect_long(0))
        for peer in self.peers:
            peer.reads = True
        self.settle()
        self._everybody_leaves(lambda: self.component.count == 0 and all(peer.end for peer in self.peers))
        self._step_stop()

    def _step_drain(self) -> None:
        """A stop that lets them finish; then they do. Asked for on the loop: when that call is over it has begun, which
        nobody knows of a thread that waits for its end."""
        self.barrier.on_loop(lambda: self.component.stop(drain=DEADLINE_S))
        self.settle()
        for peer in self.peers:
            peer.reads = True
        self.settle()
        self._everybody_leaves(lambda: self.component.state is wawo.ServiceState.STOPPED)

    def _disconnect_each(self) -> None:
        """Also those that get a place by it."""
        for peer in self._in_turn(self.peers):
            peer.reads = True
        ended = 0
        while more := list(self.conns.values())[ended:]:
            for conn in self._in_turn(more):
                self.component.disconnect(conn.id)
            ended += len(more)

    def _everybody_leaves(self, all_gone: Callable[[], bool]) -> None:
        """Each with a FIN; who is paused has to be resumed to hear of it."""
        for peer in self._in_turn(self.peers):
            peer.finishing = True
        self.settle()

        def gone() -> bool:
            for conn in self._in_turn(list(self.conns.values())):
                self.barrier.on_loop(conn.resume)  # not in the middle of a callback that pauses it
            return all_gone()

        self.until(gone)

    def _in_turn(self, things: list[T]) -> Iterator[T]:
        """Each, and what it leads to is over before the next, where it matters whose place becomes free first."""
        for thing in things:
            yield thing
            if self._one_by_one:
                self.settle()

    # ---- the result ----

    def result(self) -> dict[str, Any]:
        for number, peer in enumerate(self.peers):
            peer.untidy |= self._name(number) not in self.told
        names = {self._name(number): f"peer {number}" for number in range(len(self.peers))}
        told = {names.get(key, key): entries for key, entries in self.told.items()}
        assert not any(key.startswith("from") for key in told), told.keys()
        stats = {name: value for name, value in self.component.stats().items() if name != "loops"}
        return {
            "told": {key: joined(entries, self.shape.cuts) for key, entries in sorted(told.items())},
            "taken": {names.get(key, key): size for key, size in self.taken.items()},
            "peers": [[peer.end, digest(bytes(peer.kept)), peer.untidy] for peer in self.peers],
            "stats": stats,
        }
