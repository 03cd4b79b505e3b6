"""The runs of components: what must outlive the component object, and what happens to it at exit and after fork.

A run begins with ``start`` and ends after OnShutdown. The registry below keeps it alive that long, so that a component
may be dropped while its last connections close.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from . import tls as contexts
from ._core import Endpoint, Threads, after_fork_child
from .errors import ServiceState, StateError
from .listener import log_exception

if TYPE_CHECKING:
    import ssl
    from types import FrameType

    from .component import Component

EXIT_SECONDS = 1.0
"""At exit all components have this long together; JOIN_SECONDS of it are kept for the threads to end."""
JOIN_SECONDS = 0.2
_ENGINE = Threads.__module__.rpartition(".")[0]
SIGNAL_SECONDS = 0.5 if os.name == "posix" else 0.05  # Windows: a signal never ends a wait, only this does
"""The longest that a signal may have to wait for a waiting main thread."""


class Pool(Protocol):
    """What a run needs of an IoPool."""

    @property
    def native(self) -> Threads: ...
    def enter(self, run: Run, begin: Callable[[Threads], None]) -> None: ...
    def leave(self, run: Run) -> None: ...
    def close(self) -> None: ...
    def end(self, timeout: float) -> bool: ...
    @property
    def busy(self) -> bool: ...
    def forked(self) -> None: ...


running: set[Run] = set()
components: weakref.WeakSet[Component] = weakref.WeakSet()
pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_lost: list[object] = []
_reapers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_exiting = threading.Event()


class Run:
    """One run of a component; ``_on_stopped`` comes on a loop thread, everything else from any thread."""

    def __init__(self, component: Component) -> None:
        self.component: weakref.ReferenceType[Component] = weakref.ref(component)
        self._phase: ServiceState = ServiceState.STARTING
        self._endpoint: Endpoint | None = None
        self._pool: Pool | None = None
        self._owned = False
        self._aborted = False
        self.release: Callable[[], None] | None = None
        """What goes when accepting ends: the file of a unix socket."""
        self._last: dict[str, Any] = {}
        self._renew_locks()

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()
        self._reaping = threading.RLock()
        self._stopped = Latch()
        self._waiters = 0

    @property
    def state(self) -> ServiceState:
        return ServiceState.STOPPED if self._stopped.is_set() else self._phase

    @property
    def endpoint(self) -> Endpoint | None:
        """The native side, from open() until the run has stopped."""
        return self._endpoint

    def open(
        self,
        role: str,
        callbacks: list[dict[str, Callable[..., object]]],
        options: object,
        framing: tuple[object, ...],
        pool: Pool,
        owned: bool,
        tls: ssl.SSLContext | None,
    ) -> Endpoint:
        """Make the native side; from here on callbacks may come. An owned pool is closed at the end of the run."""
        self._pool = pool
        self._owned = owned
        if "OnShutdown" in callbacks[0]:
            last = dict.fromkeys(found["OnShutdown"] for found in callbacks)  # a factory may make the same twice
            callbacks = [{**found, "OnShutdown": self._unless_aborted(list(last))} for found in callbacks]

        def begin(threads: Threads) -> None:
            endpoint = Endpoint(role, threads, self.component(), callbacks, options, framing, tls)
            endpoint.on_stopped = self._on_stopped
            running.add(self)
            self._endpoint = endpoint
            self._phase = ServiceState.STARTED

        pool.enter(self, begin)
        endpoint = self._endpoint
        if endpoint is None:  # the pool was closed as soon as it had begun
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return endpoint

    def abort(self) -> None:
        """Undo a start that failed: it never was a run for the listener, so OnShutdown does not come."""
        self._aborted = True
        if self._endpoint is None:
            self._end()
            self.reap()
        else:
            self.request(0.0)
            if not self.in_callback():
                self.wait(None)

    def _unless_aborted(self, callbacks: list[Callable[..., object]]) -> Callable[..., object]:
        """OnShutdown of each listener; what one raises does not keep it from the others."""
        its_run = weakref.ref(self)  # the run holds the endpoint, which holds this function

        def on_shutdown(component: object) -> None:
            run = its_run()
            if run is not None and run._aborted:
                return
            for callback in callbacks[:-1]:
                try:
                    callback(component)
                except BaseException as error:  # noqa: PERF203
                    log_exception(component, error, "OnShutdown")
            callbacks[-1](component)

        return on_shutdown

    def request(self, drain: float) -> bool:
        """Ask for the end of the run; returns False if it has ended. Any thread, also in callbacks."""
        with self._lock:
            endpoint = self._endpoint
            if self.state is ServiceState.STOPPED:
                return False
            if self.state is ServiceState.STARTING:
                raise StateError("a component cannot be stopped while it starts; let OnPrepareListen return ERROR")
            self._phase = ServiceState.STOPPING
            release, self.release = self.release, None
        if release is not None:
            release()
        if endpoint is not None:  # else it is in its last steps
            endpoint.stop(drain)
        return True

    def in_callback(self) -> bool:
        """Whether the calling thread is one of the loop threads of this run."""
        endpoint = self._endpoint
        return endpoint is not None and endpoint.in_callback()

    def counters(self) -> dict[str, Any]:
        """The native counters; those of its last moment when the run has ended."""
        endpoint, pool = self._endpoint, self._pool
        if endpoint is not None and pool is not None:
            with contextlib.suppress(StateError):  # the pool was closed meanwhile
                found = {**endpoint.stats(), "loops": pool.native.stats()}
                if self._endpoint is endpoint:  # else the loops may have ended in between
                    return found
        return dict(self._last)

    def _on_stopped(self) -> None:
        self._last = self.counters()
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.on_stopped = None
        alone = self._end()
        if self._owned and alone and not _exiting.is_set():
            in_background(self.reap)

    def _end(self) -> bool:
        """Takes no lock: a signal handler may wait for this in the middle of whatever its thread was doing."""
        if self._pool is not None:
            self._pool.leave(self)
        running.discard(self)
        self._stopped.set()
        return self._waiters == 0  # in this order: who leaves now sees that it has stopped

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end of the run and of its own threads; Ctrl-C interrupts. Not in a callback of this run."""
        if inside_engine():
            return self._stopped.is_set()
        with self._lock:
            self._waiters += 1
        try:
            wait_for(self._stopped, timeout)
        finally:
            with self._lock:
                self._waiters -= 1
                stopped = self._stopped.is_set()
            if stopped:
                self.reap()
        return stopped

    def reap(self) -> None:
        """Close the run's own pool. A loop thread cannot join itself: this runs on any other thread, once."""
        with self._reaping:
            if self._owned and self._pool is not None:
                self._owned = False
                self._pool.close()

    def forked(self) -> None:
        """In a child after fork: the threads are the parent's; forget the native side without touching it."""
        self._renew_locks()
        _lost.extend((self._endpoint, self._pool))
        self.release = None
        self._endpoint = None
        self._pool = None
        self._owned = False
        self._stopped.set()


class Latch:
    """An event that a signal handler may wait for, also in the middle of the same wait.

    threading.Event has a lock: a handler that came while its own thread held that would wait for ever.
    """

    def __init__(self) -> None:
        self._done = False
        self._waiting: list[threading.Lock] = []

    def is_set(self) -> bool:
        return self._done

    def set(self) -> None:
        self._done = True
        for one in list(self._waiting):
            with contextlib.suppress(RuntimeError):  # set twice
                one.release()

    def wait(self, timeout: float) -> bool:
        mine = threading.Lock()
        mine.acquire()
        self._waiting.append(mine)
        try:
            return self._done or mine.acquire(timeout=timeout) or self._done
        finally:
            self._waiting.remove(mine)


def wait_for(event: Latch, timeout: float | None = None) -> bool:
    """``event.wait``, which Ctrl-C surely interrupts: a signal just before the thread sleeps would else be missed."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while not event.is_set():
        rest = SIGNAL_SECONDS if deadline is None else deadline - time.monotonic()
        if rest <= 0:
            break
        event.wait(min(rest, SIGNAL_SECONDS))
    return event.is_set()


def inside_engine() -> bool:
    """Whether a signal came in the middle of an engine of Python: its handler cannot wait, for the loops may need what
    the interrupted call holds. Only such an engine has frames."""
    if threading.get_ident() != threading.main_thread().ident:  # others run no handlers, but callbacks
        return False
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__package__") != _ENGINE:
        frame = frame.f_back
    return frame is not None


def in_callback() -> bool:
    """Whether the calling thread is a loop thread of any running component."""
    return any(run.in_callback() for run in list(running))


def in_background(work: Callable[[], object]) -> None:
    """Do work on a thread of its own; at the very end of the interpreter nobody can, and nobody needs to."""
    thread = threading.Thread(target=work, name="wawo-reaper")
    try:
        thread.start()
    except RuntimeError:
        _lost.append(work)
    else:
        _reapers.add(thread)


def _at_exit() -> None:
    """Loop threads end before the interpreter does: a free-threaded one and a thread that ends wait for each other."""
    _exiting.set()
    deadline = time.monotonic() + EXIT_SECONDS
    last = list(running)
    for run in last:
        if run.endpoint is not None:
            run.request(0.0)
    for run in last:
        run._stopped.wait(max(0.0, deadline - JOIN_SECONDS - time.monotonic()))
    for pool in sorted(pools, key=lambda pool: pool.busy):  # what a callback blocks comes last, with the time left
        pool.end(max(0.0, deadline - time.monotonic()))
    for reaper in list(_reapers):  # which ended one of them meanwhile
        reaper.join(max(0.0, deadline - time.monotonic()))


def _after_fork_in_child() -> None:
    for component in list(components):  # a start, or the end of a run, may be under way on another thread
        component._forked()
    for run in list(running):  # whose component is gone
        run.forked()
    running.clear()
    for pool in list(pools):
        pool.forked()
    contexts.after_fork_child()
    after_fork_child()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
