"""The loops of one pool with their threads, and what is alive in the process."""

from __future__ import annotations

import errno
import itertools
import threading
import time
import weakref
from typing import TYPE_CHECKING, final

from . import files, selecting, system, work
from .loop import Loop
from .words import told

if TYPE_CHECKING:
    from .endpoint import Endpoint

_POOL_CHUNK = 64 * 1024


class _Process:
    """What is counted once for the process."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.forks = 0  # that this process comes from: handles of an earlier one are dead
        self.links = 0
        self.threads = 0
        self.numbers = itertools.count()
        self.pools: weakref.WeakSet[Threads] = weakref.WeakSet()

    def add_link(self, n: int) -> None:
        with self.lock:
            self.links += n

    def add_thread(self, n: int) -> None:
        with self.lock:
            self.threads += n


process = _Process()


@final
class Threads:
    """N loops on N threads, started at once. Any thread."""

    def __init__(self, count: int, backend: str | None, pool_memory: int) -> None:
        kinds = backends()
        names = [name for name, *_ in kinds]
        if backend is not None and backend not in names:
            raise ValueError(f"backend must be one of {names}, not {backend!r}")
        if backend is None:
            backend = next(name for name, works, *_ in kinds if works)
        self._backend = backend
        self._forks = process.forks
        self._lock = threading.RLock()
        self.endpoints: set[Endpoint] = set()
        self.loops: list[Loop] = []
        self._threads: list[threading.Thread] = []
        try:
            for index in range(count):
                self.loops.append(Loop(self, index, backend))
                self.loops[-1].stats["pool_limit"] = pool_memory // _POOL_CHUNK
        except BaseException:
            self._close()
            raise
        process.pools.add(self)
        self._running = True
        self._start()

    def _start(self) -> None:
        for loop in self.loops:
            loop.name = f"wawo-io-{next(process.numbers) % 1_000_000}"
            thread = threading.Thread(target=_life, args=(loop,), name=loop.name, daemon=True)
            process.add_thread(1)
            try:
                with system.signals_blocked():
                    thread.start()
            except BaseException as error:
                process.add_thread(-1)
                self.stop(5.0)
                self._close()
                if isinstance(error, RuntimeError):
                    raise OSError(errno.ENOMEM, f"starting threads: {error}") from None
                raise
            self._threads.append(thread)

    def _close(self) -> None:
        for loop in self.loops[len(self._threads) :]:
            loop.close()

    @property
    def count(self) -> int:
        return len(self.loops)

    @property
    def backend(self) -> str:
        return self._backend

    def stop(self, timeout: float) -> bool:
        """Stop and join; False: some thread did not end in time, and is left behind. Not on a loop."""
        if not self._running or self._forks != process.forks:
            return True
        self._running = False
        deadline = time.monotonic() + timeout
        for loop in self.loops[: len(self._threads)]:
            loop.stop()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def stats(self) -> list[dict[str, int]]:
        if not self._running or self._forks != process.forks:
            return []
        return [loop.snapshot() for loop in self.loops]

    # ---- for the engine ----

    @staticmethod
    def add_link(n: int) -> None:
        process.add_link(n)

    @staticmethod
    def forks() -> int:
        return process.forks

    def least_loaded(self) -> Loop:
        return min(self.loops, key=_load_of)

    def current(self) -> bool:
        """Whether this is one of the loops' threads."""
        ident = threading.get_ident()
        return any(loop.ident == ident for loop in self.loops)

    def enlist(self, endpoint: Endpoint, present: bool) -> None:
        with self._lock:
            (self.endpoints.add if present else self.endpoints.discard)(endpoint)

    def forked(self) -> None:
        """In the child after a fork."""
        self._lock = threading.RLock()
        for loop in self.loops:
            loop.forked()
        for endpoint in list(self.endpoints):
            endpoint.forked()


def _load_of(loop: Loop) -> int:
    return loop.load


def _life(loop: Loop) -> None:
    try:
        loop.run()
    except BaseException as error:
        told.log_callback(loop, error, "a loop")
    finally:
        process.add_thread(-1)


def backends() -> list[tuple[str, bool, str, bool]]:
    """(name, works here, why not, only on request: never) of each kind of selector, best first."""
    return [(*row, False) for row in selecting.kinds()]


def live() -> dict[str, int]:
    """What is alive in the process: connections, loop threads, chunks (there are none), files on their way out."""
    return {"conns": process.links, "threads": process.threads, "chunks": 0, "files": files.live()}


def after_fork_child() -> None:
    """In the child after a fork: close every descriptor of the parent's loops; their handles are dead from then on."""
    process.lock = threading.RLock()
    process.forks += 1
    process.threads = 0
    pools, process.pools = list(process.pools), weakref.WeakSet()
    for pool in pools:
        pool.forked()
    files.forked()
    work.pool.forked()
