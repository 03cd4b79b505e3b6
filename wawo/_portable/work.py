"""What may block: looking names up and reading cold files, on a few threads that nobody joins."""

from __future__ import annotations

import _thread
import errno
import threading
from collections.abc import Callable
from queue import SimpleQueue

from .system import name_thread, signals_blocked
from .words import told

_MOST = 4


class _Pool:
    """Threads are started when they are needed, and wait for work for ever; threading does not know of them."""

    def __init__(self) -> None:
        self.forked()

    def forked(self) -> None:
        """In the child after a fork: the threads are the parent's."""
        self._lock = threading.RLock()
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()  # reentrant, as the lock is
        self._threads = self._unfinished = 0

    def submit(self, job: Callable[[], None]) -> None:
        """Have it done; OSError when there is no thread and none can be started. Any thread."""
        with self._lock:
            if self._unfinished >= self._threads and self._threads < _MOST:
                try:
                    with signals_blocked():
                        _thread.start_new_thread(self._work, ())
                    self._threads += 1
                except RuntimeError as error:
                    if self._threads == 0:  # else a busy one will come to it
                        raise OSError(errno.ENOMEM, str(error)) from None
            self._unfinished += 1
            self._jobs.put(job)

    def _work(self) -> None:
        name_thread("wawo-work")
        while True:
            job = self._jobs.get()
            try:
                job()
            except BaseException as error:
                told.log_callback(self, error, "work")
            del job
            with self._lock:
                self._unfinished -= 1


pool = _Pool()
submit = pool.submit
