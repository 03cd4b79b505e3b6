"""The threads for what blocks: as many as there is work for, up to a few."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from peers import DEADLINE_S

from wawo._portable.work import _Pool


class _Slow:
    """A queue whose thread is held up between taking a job and doing it."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.taken, self.gate = threading.Semaphore(0), threading.Event()

    def put(self, job: Callable[[], None]) -> None:
        self.jobs.put(job)

    def qsize(self) -> int:
        return self.jobs.qsize()

    def get(self) -> Callable[[], None]:
        job = self.jobs.get()
        self.taken.release()
        self.gate.wait(DEADLINE_S)
        return job


def test_a_job_never_waits_behind_one_while_a_thread_may_be_started() -> None:
    pool, queue, done = _Pool(), _Slow(), threading.Semaphore(0)
    pool._jobs = queue  # type: ignore[assignment]
    pool.submit(lambda: None)
    assert queue.taken.acquire(timeout=DEADLINE_S)
    pool.submit(lambda: None)
    assert queue.taken.acquire(timeout=DEADLINE_S)  # by another thread, for the first one is busy
    queue.gate.set()
    for _ in range(2):
        pool.submit(lambda: done.release())
    for _ in range(2):
        assert done.acquire(timeout=DEADLINE_S)


def test_it_starts_a_few_threads_and_no_more() -> None:
    pool, gate, busy = _Pool(), threading.Event(), threading.Semaphore(0)

    def work() -> None:
        busy.release()
        gate.wait(DEADLINE_S)

    for _ in range(9):
        pool.submit(work)
    for _ in range(4):
        assert busy.acquire(timeout=DEADLINE_S)
    assert not busy.acquire(timeout=0.05)
    gate.set()
    for _ in range(5):
        assert busy.acquire(timeout=DEADLINE_S)
