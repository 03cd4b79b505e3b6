"""One loop: a thread, a selector, timers, an inbox for other threads, and the batch of events for the callbacks.

A turn: wait; run what other threads posted; try again what is ready; fire timers; deliver the batch; settle the
connections that were touched, which writes their output. Only post() and what says so may be called by other threads.
"""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import secure, selecting, system
from .deliver import deliver
from .timers import Timers
from .words import BATCH_FULL, BATCH_ROOM, ON_CLOSE, ON_PREPARE_CONNECT, Event, told

if TYPE_CHECKING:
    from .link import Link
    from .share import Share
    from .sock import Sock
    from .threads import Threads

TURN_BYTES = 64 * 1024
"""Received in one turn at most, before what came is delivered; the rest that is ready has its turn next."""

_WAIT_MOST = 86_400.0
_FAILURES_MOST = 10  # turns one after the other that may fail
_SELECT_ROOM = 1024 if os.name == "posix" else 512
_COUNTERS = (
    "turns",
    "wakes",
    "batches",
    "events",
    "batch_max",
    "gil_wait_ns",
    "deliver_ns",
    "slow_batches",
    "baton_waits",
    "file_reads",
    "connections",
    "pool_limit",
    "pool_used",
    "pool_exported",
    "pool_bytes",
    "pool_starved",
    "pool_kept",
    "slab_bytes",
)

Call = Callable[[bool], None]
"""What is posted; it is given whether the loop has ended."""


class Loop:
    """Made on the thread that starts it; ``run`` is the life of its own thread."""

    def __init__(self, threads: Threads, index: int, kind: str) -> None:
        self.threads = threads
        self.index = index
        self.name = ""
        self.ident = 0
        self.selector = selecting.selector(kind)
        self._few = kind == "select"
        try:
            self._wake_in, self._wake_out = socket.socketpair()
        except BaseException:
            self.selector.close()
            raise
        for end in (self._wake_in, self._wake_out):
            end.setblocking(False)
        self.selector.register(self._wake_in, selecting.EVENT_READ, None)
        self.timers = Timers()
        self.now = time.monotonic()
        self.socks: set[Sock] = set()
        self.changed: deque[Sock] = deque()
        self.batch: list[Event] = []
        self.delivering = False
        self.serving: Share | None = None  # whose callback is running
        self.leaving: Link | None = None  # its OnClose is being called
        self.trace: Any = None  # the hooks that this thread last took over from threading
        self.profile: Any = None
        self.slow = float("inf")  # seconds of a batch from which on it is counted
        self.stats = dict.fromkeys(_COUNTERS, 0)
        self.shakes: deque[Link] = deque()  # their handshakes wait for a step
        self._dirty: deque[Link] = deque()
        self._fired: deque[Any] = deque()
        self._lock = threading.RLock()
        self._inbox: list[Call] = []
        self._calls: deque[Call] = deque()
        self._load = 0
        self._failures = 0
        self._sleeping = self._stopping = self._closed = False

    # ---- any thread ----

    def post(self, call: Call) -> bool:
        """Have it called on the loop's thread; False when that has ended."""
        return self.post_all((call,))

    def post_all(self, calls: Iterable[Call], brings: int = 0) -> bool:
        """The same for several, with one wake-up when all are there; with how many connections."""
        with self._lock:
            if self._closed:
                return False
            self._load += brings  # and the calls, or neither: a signal's handler may raise behind extend()
            self._inbox.extend(calls)
            if self._sleeping:
                self._wake()  # first: a signal's handler may end this call here
                self._sleeping = False
                self.stats["wakes"] += 1
        return True

    def stop(self) -> None:
        with self._lock:
            self._stopping = True
            if not self._closed:
                self._wake()

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"\0")
        except (BlockingIOError, InterruptedError):
            pass  # many are on their way

    @property
    def load(self) -> int:
        """Connections that live here or are on their way here."""
        return self._load

    def add_load(self, n: int) -> None:
        with self._lock:
            self._load += n

    def here(self) -> bool:
        """Whether this is a callback on this loop. What the garbage collector or a signal does on the loop's thread
        between callbacks goes through the inbox, for it comes in the middle of anything."""
        return self.delivering and self.ident == threading.get_ident()

    def snapshot(self) -> dict[str, int]:
        return {**self.stats, "connections": self._load}

    # ---- life ----

    def run(self) -> None:
        """The thread: until it is stopped."""
        self.ident = threading.get_ident()
        system.name_thread(self.name)
        while not self._stopping:
            self._turn_or_log()
        with self._lock:
            self._closed = True
            calls, self._inbox = self._inbox, []
        self._calls.extend(calls)
        while self._calls:
            self._calls.popleft()(True)
        while self.batch or self._dirty or self.changed:
            self._apply_changes()
            self.deliver()
        self.ident = 0
        self.close()

    def close(self) -> None:
        """Give back what the system has of it."""
        with self._lock:
            self._closed = True
            self.selector.close()
            self._wake_in.close()
            self._wake_out.close()

    def forked(self) -> None:
        """In the child after a fork: its descriptors are copies. EPOLL_CTL_DEL would disarm the parent's."""
        self._lock = threading.RLock()
        self._closed = True
        self.ident = 0
        for sock in list(self.socks):
            if sock.sock is not None:
                system.close(sock.sock)
        self.close()

    def check_room(self, sock: socket.socket) -> None:
        """Raise OSError when the selector can take no more: select() has a fixed size."""
        if not self._few:
            return
        used = sock.fileno() if os.name == "posix" else len(self.selector.get_map())
        if used >= _SELECT_ROOM:
            raise OSError(errno.EMFILE, "select() takes no more descriptors")

    # ---- a turn ----

    def _turn_or_log(self) -> None:
        """One that fails (a tool that traces the engine itself, no memory) costs no other connection its loop."""
        try:
            self._turn()
            self._failures = 0
        except BaseException as error:
            self._failures += 1
            if self._failures > _FAILURES_MOST:
                raise
            told.log_callback(self, error, "a turn")

    def _turn(self) -> None:
        self._apply_changes()
        if not self._fired:
            self._fired.extend(self.selector.select(self._fall_asleep()))
        with self._lock:
            self._sleeping = False
            calls, self._inbox = self._inbox, []
        self._calls.extend(calls)
        self.now = time.monotonic()
        self.stats["turns"] += 1
        while self._calls:  # one that fails leaves the rest to the next turn
            self._calls.popleft()(False)
        self._serve()
        self._shake()
        self.timers.advance(self.now)
        self.deliver()

    def _fall_asleep(self) -> float | None:
        """How long the wait may last. Says "asleep" under the lock: whoever posts from then on wakes it."""
        if self.batch or self._dirty or self.changed or self._calls or self.shakes:
            return 0
        with self._lock:
            if self._inbox or self._stopping:
                return 0
            self._sleeping = True
        at = self.timers.next()
        return None if at is None else min(max(0.0, at - time.monotonic()), _WAIT_MOST)

    def _apply_changes(self) -> None:
        """Tell the selector what changed since the last wait, and close what was detached."""
        for _ in range(len(self.changed)):
            self.changed.popleft().apply()
            self.room()

    def _serve(self) -> None:
        left = TURN_BYTES
        while self._fired and left > 0:
            key, events = self._fired.popleft()
            if key.data is None:
                self._drain_wakes()
            elif key.data.orders:  # else it was closed, or paused, since the wait
                left -= key.data.fired(events)
                self.room()

    def _shake(self) -> None:
        for _ in range(min(len(self.shakes), secure.SHAKES)):
            secure.step(self.shakes.popleft())
            self.room()

    def _drain_wakes(self) -> None:
        try:
            self._wake_in.recv(4096)
        except (BlockingIOError, InterruptedError):
            pass

    # ---- the batch ----

    @property
    def full(self) -> bool:
        """Whether the batch has no room for more messages now."""
        return len(self.batch) >= BATCH_FULL

    @property
    def crowded(self) -> bool:
        """Whether even what a callback adds must wait."""
        return len(self.batch) >= BATCH_ROOM // 2

    def room(self) -> None:
        """Deliver a full batch. For whoever is called many times a turn and adds events; not in deliver."""
        if len(self.batch) >= BATCH_FULL:
            self.deliver()

    def touch(self, link: Link) -> None:
        """Settle a connection after the batch."""
        if not link.dirty:
            link.dirty = True
            self._dirty.append(link)

    def deliver(self) -> None:
        """Call the callbacks, then write what they answered."""
        events = self.batch
        if events:
            self.batch = []
            self._deliver(events)
            for kind, share, data in events:
                if kind == ON_CLOSE:
                    share.closed()
                elif kind == ON_PREPARE_CONNECT and share.link is not None and share.link.dial is not None:
                    share.link.dial.prepared(data)
        self._settle()

    def _deliver(self, events: list[Event]) -> None:
        stats = self.stats
        began = time.monotonic()
        self.delivering = True
        try:
            deliver(self, events)
        except BaseException as error:  # a tool that traces the engine itself
            told.log_callback(self, error, "deliver")
        finally:
            self.delivering = False
        took = time.monotonic() - began
        stats["batches"] += 1
        stats["events"] += len(events)
        stats["deliver_ns"] += int(took * 1e9)
        stats["batch_max"] = max(stats["batch_max"], len(events))
        stats["slow_batches"] += took > self.slow

    def _settle(self) -> None:
        """Settle those that are on the list now; what they add waits for the next turn, and so do the rest when the
        batch is full of what settling told."""
        for _ in range(len(self._dirty)):
            if len(self.batch) >= BATCH_FULL:
                return
            self._dirty.popleft().settle()
