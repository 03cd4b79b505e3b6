"""The native threads as an object."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from ._core import Threads
from ._runs import Run, in_background, pools
from .errors import ServiceState, StateError
from .options import DEFAULT_POOL_MEMORY, MIB, TIB, check_backend, check_integer

if TYPE_CHECKING:
    from typing_extensions import Self

_CLOSE_SECONDS = 5.0


def default_threads() -> int:
    """How many loops a pool has unless told: 1 with a GIL, min(4, usable cores) without."""
    if getattr(sys, "_is_gil_enabled", lambda: True)():
        return 1
    if hasattr(os, "sched_getaffinity"):
        return min(4, len(os.sched_getaffinity(0)))
    return min(4, os.cpu_count() or 1)


class IoPool:
    """Loops, each on a native thread of its own, which components may share: ``TcpServer(listener, io=pool)``.

    ``threads`` is 1 to 256; None: 1 on a Python with a GIL, min(4, cores) without. ``backend`` and ``pool_memory``
    are as in Options. The threads, named wawo-io-N, start at once; ``close()``, the end of a ``with`` block or of the
    program ends them. A component without ``io=`` makes a pool of its own in ``start`` and closes it after its stop.
    """

    def __init__(
        self, threads: int | None = None, *, backend: str | None = None, pool_memory: int = DEFAULT_POOL_MEMORY
    ) -> None:
        self._native: Threads | None = None
        self._runs: set[Run] = set()
        self._gone = "closed"
        self._closing = False
        self._lock = threading.RLock()
        if threads is not None:
            check_integer("threads", threads, 1, 256)
        check_integer("pool_memory", pool_memory, MIB, TIB, " bytes")
        if backend is None:
            backend = check_backend("WAWO_BACKEND (from the environment)", os.environ.get("WAWO_BACKEND") or None)
        else:
            check_backend("backend", backend)
        self._native = Threads(threads or default_threads(), backend, pool_memory)
        self._threads = self._native.count
        self._backend = self._native.backend
        pools.add(self)

    @property
    def native(self) -> Threads:
        """The engine's handle on the threads; StateError when closed."""
        if self._native is None:
            raise StateError(f"the IoPool is {self._gone}: make a new one")
        return self._native

    @property
    def threads(self) -> int:
        """How many loops, and native threads, there are."""
        return self._threads

    @property
    def backend(self) -> str:
        """The kernel interface that the loops use."""
        return self._backend

    @property
    def closed(self) -> bool:
        """True after close(), and in a child process after fork."""
        return self._native is None

    def stats(self) -> list[dict[str, int]]:
        """The native counters of each loop, a snapshot without locks; StateError when closed."""
        return self.native.stats()

    def close(self) -> None:
        """Stop the components that still run here, then end the threads; does nothing the second time.

        Raises StateError in a callback on one of these threads.
        """
        with self._lock:  # a component that starts on another thread has begun its run by then, or never will
            runs = list(self._runs)
            if any(run.in_callback() for run in runs):
                raise StateError("an IoPool cannot be closed in a callback that runs on it")
            if any(run.state is ServiceState.STARTING for run in runs):  # a signal came in the middle of it
                raise StateError("an IoPool cannot be closed while a component starts on it")
            self._closing = True
        for run in runs:
            run.request(0.0)
        for run in runs:
            run.wait(None)
        self._gone = "closed"
        if not self.end(_CLOSE_SECONDS):
            text = "a loop thread of an IoPool did not end in %g s and was left behind"
            logging.getLogger("wawo").warning(text, _CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        native, self._native = self._native, None
        if native is not None:
            in_background(lambda: native.stop(_CLOSE_SECONDS))
            warnings.warn("an IoPool was dropped without close()", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        state = self._gone if self.closed else f"{self.threads} threads, {self.backend}"
        return f"<IoPool {state}>"

    def enter(self, run: Run, begin: Callable[[Threads], None]) -> None:
        """A run of a component begins here, if it can: what ``begin`` raises, and StateError when closed."""
        with self._lock:
            native = self.native
            if self._closing:
                raise StateError("the IoPool is being closed: make a new one")
            self._runs.add(run)
            try:
                begin(native)
            except BaseException:
                self.leave(run)
                raise

    def leave(self, run: Run) -> None:
        """A run of a component has ended. Takes no lock, as Run._end."""
        self._runs.discard(run)

    @property
    def busy(self) -> bool:
        """Whether a component runs here."""
        return bool(self._runs)

    def end(self, timeout: float) -> bool:
        """End the threads; False if some did not end within timeout seconds and are left behind."""
        native, self._native = self._native, None
        return native is None or native.stop(timeout)

    def forked(self) -> None:
        """In a child process: forget the threads, which are the parent's."""
        self._native = None
        self._gone = "its parent process's"
        self._runs = set()
        self._lock = threading.RLock()
