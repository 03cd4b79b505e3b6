"""Files on their way out. What is in memory already is read at once; what a disk has to bring is read by the threads
for what blocks, so that no loop waits for it."""

from __future__ import annotations

import errno
import operator
import os
import stat
import threading
from collections.abc import Callable

from . import system, work

WEIGHT = 4096
"""What a file counts in what is pending, whatever its size."""

_ROOM = 64 * 1024  # of a file in memory of ours
_COLD_ROOM = 256 * 1024  # the same when a disk has to bring it
_STEP = 128 * 1024
_MEMORY_MOST = 256
_AHEAD = 2 * 1024 * 1024  # what the disk is told to bring next

_MOUNTS = "/proc/self/mountinfo"

_lock = threading.RLock()
_all: set[File] = set()
_memory: dict[int, bool] = {}  # devices that were asked for: whether they are memory


def _is_memory(device: int) -> bool:
    """Whether a file system has no disk behind it: those tell of no page that it is there, and none is ever missing."""
    found = _memory.get(device)
    if found is None:
        name = f"{os.major(device)}:{os.minor(device)}" if hasattr(os, "major") else ""
        try:
            with open(_MOUNTS, encoding="utf-8", errors="replace") as mounts:
                rows = [line.partition(" - ") for line in mounts if line.split()[2] == name]
        except OSError:
            rows = []
        if len(_memory) >= _MEMORY_MOST:
            _memory.clear()
        found = _memory[device] = any(row[2].split()[0] in ("tmpfs", "ramfs", "devtmpfs") for row in rows)
    return found


class File:
    """The part of a file that is still to be sent, open for as long as a ring or a read needs it."""

    __slots__ = ("_dropped", "_fd", "_never_waits", "_offset", "_reading", "chunk", "error", "left")

    def __init__(self, fd: int, device: int, offset: int, count: int) -> None:
        self._fd = fd
        self._never_waits = _is_memory(device)
        self._offset = offset  # behind the chunk
        self.left = count  # with the chunk
        self.chunk = memoryview(b"")
        self.error = 0
        self._reading = self._dropped = False
        with _lock:
            _all.add(self)

    def take(self, n: int) -> None:
        """n bytes of the chunk are gone."""
        self.chunk = self.chunk[n:]
        self.left -= n

    def look(self) -> bool:
        """Have a chunk if that needs no waiting."""
        if not hasattr(os, "preadv") or not hasattr(os, "RWF_NOWAIT"):
            return False
        buffer = bytearray(min(_ROOM, self.left))
        try:
            n = os.preadv(self._fd, [buffer], self._offset, 0 if self._never_waits else os.RWF_NOWAIT)
        except OSError:  # it would wait, or the file system cannot tell
            return False
        if n == 0:  # the end, but some systems say so also when it would wait
            return False
        self._have(buffer[:n])
        return True

    def fetch(self, done: Callable[[], None]) -> None:
        """Have a chunk, or an error, when done() is called by another thread. OSError when there is no thread."""
        self._reading = True

        def read() -> None:
            try:
                data = self._read(min(_COLD_ROOM, self.left))
                if data:
                    self._have(data)
                else:
                    self.error = errno.EIO  # it was longer when it was opened
            except OSError as error:
                self.error = error.errno or errno.EIO
            with _lock:
                self._reading = False
                if self._dropped:
                    self._close()
            done()

        try:
            work.submit(read)
        except BaseException:
            self._reading = False
            raise

    def _read(self, size: int) -> bytes:
        if hasattr(os, "posix_fadvise"):  # in steps, for the system takes no more at once than its own read-ahead
            for step in range(0, min(_AHEAD, self.left), _STEP):
                os.posix_fadvise(self._fd, self._offset + step, _STEP, os.POSIX_FADV_WILLNEED)
        if hasattr(os, "pread"):
            return os.pread(self._fd, size, self._offset)
        os.lseek(self._fd, self._offset, os.SEEK_SET)
        return os.read(self._fd, size)

    def _have(self, data: bytes | bytearray) -> None:
        self._offset += len(data)
        self.chunk = memoryview(data)
        if len(data) == self.left:  # nothing more is read: who receives the last byte finds it closed
            with _lock:
                self._close()

    def drop(self) -> None:
        """Close it, or let the read that is under way do so."""
        with _lock:
            if self._dropped:
                return
            self._dropped = True
            if not self._reading:
                self._close()

    def _close(self) -> None:
        if self in _all:
            _all.discard(self)
            system.close_fd(self._fd)


def live() -> int:
    return len(_all)


def forked() -> None:
    """In the child after a fork: they are the parent's."""
    global _lock
    _lock = threading.RLock()
    for file in list(_all):
        file._close()


# ---- what a caller gives ----


def integer(value: object, name: str, most: int | None, why: str) -> int:
    """A number of bytes from 0 to most, None being no limit yet."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__} ({value!r})") from None
    if number < 0 or (most is not None and number > most):
        span = "at least 0" if most is None else f"from 0 to {most}, {why}"
        raise ValueError(f"{name} must be {span}, not {number}")
    return number


_FLAGS = os.O_RDONLY
for _name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):  # a FIFO is refused, not waited for
    _FLAGS |= getattr(os, _name, 0)


def open_part(path: object, offset: object, count: object) -> File | None:
    """Open a file to send a part of it; None when that part is empty."""
    integer(offset, "offset", None, "")
    if count is not None:
        integer(count, "count", None, "")
    name = os.fspath(path)  # type: ignore[call-overload]
    try:
        fd = os.open(name, _FLAGS)
    except PermissionError:
        if os.name == "nt" and os.path.isdir(name):  # elsewhere a folder can be opened
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name) from None
        raise
    file = None
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"path must be a regular file: {name!r} is none")
        size = status.st_size
        start = integer(offset, "offset", size, f"the size of {name!r}")
        n = size - start
        if count is not None:
            n = integer(count, "count", n, f"what {name!r} has from offset {start} on")
        if n > 0:
            file = File(fd, status.st_dev, start, n)
    finally:
        if file is None:
            os.close(fd)
    return file
