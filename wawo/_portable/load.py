"""The load of ``wawo demo`` in pure Python: messages kept in flight against an echo server, on the calling thread."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from . import system
from .selecting import EVENT_READ, EVENT_WRITE, DefaultSelector

_CONNECTIONS_MAX = 1_000_000
_DEPTH_MAX = 65_536
_FLIGHT_MAX = 1 << 30
_SECONDS_MAX = 86_400
_DIALLING = 100  # connections that have not had an answer: a listener's backlog is finite
_SOURCE_PORTS = 5_000  # connections from one loopback address: its ports are finite too
_PIECE = 64 * 1024  # bytes that go out at most in one piece
_REPORT_NS = 80_000_000
_PATIENCE_NS = 5_000_000_000
_NEVER = 1 << 63

Progress = Callable[[float, int], None]


class _Histogram:
    """Times in buckets that are at most 0.4 % wide: as many as there may be, in bounded memory."""

    def __init__(self) -> None:
        self._buckets: Counter[tuple[int, int]] = Counter()
        self.max = 0

    def add(self, value: int) -> None:
        shift = max(0, value.bit_length() - 8)
        self._buckets[shift, value >> shift] += 1
        self.max = max(self.max, value)

    def percentile(self, part: float) -> int:
        rank, seen = part * self._buckets.total(), 0
        for (shift, high), count in sorted(self._buckets.items()):
            seen += count
            if seen >= rank:
                return min(self.max, (high << shift) + (1 << shift >> 1))
        return 0


class _Line:
    """One connection."""

    __slots__ = ("events", "got", "left", "ready", "sent", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.events = EVENT_WRITE  # until it is connected
        self.got = 0  # bytes of the answer that is coming in
        self.left = 0  # bytes that wait to be sent
        self.sent: deque[int] = deque()  # when each message in flight was sent, the oldest first
        self.ready = False  # known to be accepted and to answer


class _Load:
    def __init__(self, first: socket.socket, connections: int, depth: int, size: int) -> None:
        self._address = first.getpeername()
        self._family = first.family
        self._connections = connections
        self._depth = depth
        self._size = size
        self._selector: selectors.BaseSelector = DefaultSelector()
        self._lines: set[_Line] = set()
        self._buffer = bytearray(4 * _PIECE)
        self._pattern = memoryview(bytes(_PIECE))
        self._dialled = 1
        self._dialling = 1
        self._flying = 0
        self.begin = _NEVER  # when measuring begins and ends
        self.until = _NEVER
        self.answered = 0
        self.errors = 0
        self.error = 0
        self.times = _Histogram()
        self._watch(first)

    # ---- connections ----

    def dial(self) -> None:
        """As many more as may be on their way."""
        while self._dialling < _DIALLING and self._dialled < self._connections:
            self._dialled += 1
            try:
                sock = socket.socket(self._family, socket.SOCK_STREAM)
            except OSError as error:
                self._count_error(error.errno or errno.EMFILE)
                continue
            self._dialling += 1
            line = self._watch(sock)
            try:
                self._spread(sock)
                code = system.number_of(sock.connect_ex(self._address))
            except OSError as error:
                code = error.errno or errno.EINVAL
            if code not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
                self._lose(line, code)

    def _watch(self, sock: socket.socket) -> _Line:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = _Line(sock)
        self._lines.add(line)
        self._selector.register(sock, EVENT_WRITE, line)
        return line

    def _spread(self, sock: socket.socket) -> None:
        number = self._dialled // _SOURCE_PORTS
        if number and self._family == socket.AF_INET and self._address[0].startswith("127."):
            sock.bind((f"127.0.{number // 250}.{number % 250 + 1}", 0))

    def _connected(self, line: _Line) -> None:
        code = system.number_of(line.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        if code:
            self._lose(line, code)
        else:
            self._put(line, 1)

    def _lose(self, line: _Line, code: int) -> None:
        self._count_error(code)
        if not line.ready:
            self._dialling -= 1
        self._flying -= len(line.sent)
        self._forget(line)

    def _forget(self, line: _Line) -> None:
        self._selector.unregister(line.sock)
        line.sock.close()
        self._lines.discard(line)

    def _count_error(self, code: int) -> None:
        self.errors += 1
        self.error = self.error or code

    # ---- messages ----

    def _put(self, line: _Line, count: int) -> None:
        line.sent.extend([time.monotonic_ns()] * count)
        line.left += count * self._size
        self._flying += count
        self._write(line)

    def _write(self, line: _Line) -> None:
        try:
            while line.left:
                line.left -= line.sock.send(self._pattern[: line.left])
        except BlockingIOError:
            pass
        except OSError as error:
            self._lose(line, error.errno or errno.EPIPE)
            return
        events = EVENT_READ | EVENT_WRITE if line.left else EVENT_READ
        if events != line.events:
            line.events = events
            self._selector.modify(line.sock, events, line)

    def _read(self, line: _Line) -> None:
        try:
            size = line.sock.recv_into(self._buffer)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(line, error.errno or errno.EIO)
            return
        if size == 0:  # orderly, but not expected
            self._lose(line, errno.ECONNRESET)
            return
        count, line.got = divmod(line.got + size, self._size)
        count = min(count, len(line.sent))
        if count:
            self._answered(line, count)

    def _answered(self, line: _Line, count: int) -> None:
        now = time.monotonic_ns()
        self._flying -= count
        if self.begin <= now < self.until:
            self.answered += count
            for _ in range(count):
                self.times.add(now - line.sent.popleft())
        else:
            for _ in range(count):
                line.sent.popleft()
        if not line.ready:
            line.ready = True
            self._dialling -= 1
        elif now < self.until:
            self._put(line, count)

    # ---- the run ----

    def turn(self, until: int) -> None:
        """Wait for what happens, at the longest until then, and do what is to be done."""
        timeout = max(0, until - time.monotonic_ns()) / 1e9
        for key, events in self._selector.select(timeout):
            line: _Line = key.data
            if events & EVENT_WRITE and line in self._lines:
                if line.sent:
                    self._write(line)
                else:
                    self._connected(line)
            if events & EVENT_READ and line in self._lines:
                self._read(line)

    @property
    def settled(self) -> int:
        """Connections that are ready or have failed."""
        return self._dialled - self._dialling

    @property
    def all_settled(self) -> bool:
        return self.settled == self._connections

    @property
    def open(self) -> int:
        return len(self._lines)

    @property
    def flying(self) -> int:
        return self._flying

    def start(self, warmup_ns: int, measure_ns: int) -> None:
        now = time.monotonic_ns()
        self.begin, self.until = now + warmup_ns, now + warmup_ns + measure_ns
        for line in list(self._lines):
            self._put(line, self._depth)

    def close(self) -> None:
        for line in list(self._lines):
            self._forget(line)
        self._selector.close()

    def give_up(self, *, unready: bool) -> None:
        """Those that have not answered are lost: at all, or what they still owe."""
        for line in list(self._lines):
            if not line.ready if unready else line.sent:
                self._lose(line, errno.ETIMEDOUT)


def _connect(host: str, port: int) -> socket.socket:
    """A connection to the first address of host that takes one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise OSError(errno.EHOSTUNREACH, f"load of {host} port {port}: {error}") from None
    last: OSError | None = None
    for family, _, _, _, address in found:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_PATIENCE_NS / 1e9)
            sock.connect(address)
        except OSError as error:
            sock.close()
            last = error
        else:
            return sock
    code = (last.errno if last is not None else None) or errno.ETIMEDOUT
    raise OSError(code, f"load of {host} port {port}: {os.strerror(code)}")


def _check(host: str, port: int, numbers: dict[str, int], seconds: float, warmup: float) -> None:
    if not isinstance(host, str):
        raise TypeError(f"host must be a str, not {type(host).__name__}")
    for name, value in {"port": port, **numbers}.items():
        if not isinstance(value, int):
            raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    for duration in (seconds, warmup):
        if not isinstance(duration, (int, float)):
            raise TypeError(f"seconds and warmup must be numbers, not {type(duration).__name__}")
    if not 0 <= port <= 65_535:
        raise OverflowError(f"port must be 0 to 65535, not {port}")
    if not (0 < seconds <= _SECONDS_MAX and 0 <= warmup <= _SECONDS_MAX):
        raise ValueError(f"seconds must be over 0, warmup 0 or more, both up to 86,400, not {seconds} and {warmup}")
    connections, depth, size = numbers["connections"], numbers["depth"], numbers["size"]
    in_range = 0 < connections <= _CONNECTIONS_MAX and 0 < depth <= _DEPTH_MAX and size > 0
    if not in_range or depth * size > _FLIGHT_MAX:
        raise ValueError(
            f"connections must be 1 to {_CONNECTIONS_MAX:,}, depth 1 to {_DEPTH_MAX:,}, depth * size 1 to "
            f"{_FLIGHT_MAX:,}, not {connections:,}, {depth:,} and {size:,}"
        )


class _Reports:
    """Tells the caller some ten times a second."""

    def __init__(self, load: _Load, progress: Progress | None) -> None:
        self._load = load
        self._progress = progress
        self.next = time.monotonic_ns() + _REPORT_NS

    def tell(self, elapsed_ns: int) -> None:
        self.next = time.monotonic_ns() + _REPORT_NS
        if self._progress is not None:
            self._progress(elapsed_ns / 1e9, self._load.answered if elapsed_ns else 0)

    def due(self, measuring: bool = False) -> None:
        """Before it is measured no time has passed, however late that begins."""
        now = time.monotonic_ns()
        if now >= self.next:
            self.tell(max(0, min(now, self._load.until) - self._load.begin) if measuring else 0)


def load(
    host: str,
    port: int,
    *,
    connections: int,
    depth: int,
    size: int,
    seconds: float,
    warmup: float,
    progress: Progress | None,
) -> dict[str, Any]:
    """As the one of the compiled engine, see ``wawo/_core/_load.pyi``; but it runs on the thread that calls it."""
    _check(host, port, {"connections": connections, "depth": depth, "size": size}, seconds, warmup)
    run = _Load(_connect(host, port), connections, depth, size)
    try:
        reports = _Reports(run, progress)
        _open(run, reports)
        run.start(int(warmup * 1e9), int(seconds * 1e9))
        elapsed = _measure(run, reports)
        patience = time.monotonic_ns() + _PATIENCE_NS
        while run.flying and time.monotonic_ns() < patience:
            run.turn(patience)
        run.give_up(unready=False)
    finally:
        run.close()
    if run.errors == connections:
        raise OSError(run.error, f"load of {host} port {port}: {os.strerror(run.error)}")
    parts = {"p50_ns": 0.5, "p99_ns": 0.99, "p999_ns": 0.999}
    return {
        "messages": run.answered,
        "seconds": elapsed / 1e9,
        **{name: run.times.percentile(part) for name, part in parts.items()},
        "max_ns": run.times.max,
        "errors": run.errors,
        "error": run.error,
    }


def _open(run: _Load, reports: _Reports) -> None:
    """Dial all, and have one message answered on each; patient as long as one after the other comes."""
    seen, patience = 0, time.monotonic_ns() + _PATIENCE_NS
    while True:
        run.dial()
        if run.all_settled:
            return
        run.turn(min(patience, reports.next))
        reports.due()
        if run.settled != seen:
            seen, patience = run.settled, time.monotonic_ns() + _PATIENCE_NS
        elif time.monotonic_ns() >= patience:
            run.give_up(unready=True)
            patience = time.monotonic_ns() + _PATIENCE_NS


def _measure(run: _Load, reports: _Reports) -> int:
    """Until the time is over, or all connections are lost: for how long it was measured."""
    while run.open and time.monotonic_ns() < run.begin:
        run.turn(min(run.begin, reports.next))
        reports.due()
    reports.tell(0)
    while run.open and time.monotonic_ns() < run.until:
        run.turn(min(run.until, reports.next))
        reports.due(measuring=True)
    elapsed = max(0, min(time.monotonic_ns(), run.until) - run.begin)
    reports.tell(elapsed)
    return elapsed
