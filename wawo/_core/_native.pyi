"""The types of the compiled engine; wawo.Connection is the only class of it that people see."""

from collections.abc import Callable, Mapping
from typing import Any, final

from ._connection import Connection

@final
class Threads:
    def __init__(self, count: int, backend: str | None, pool_memory: int) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def backend(self) -> str: ...
    def stop(self, timeout: float) -> bool: ...
    def stats(self) -> list[dict[str, int]]: ...

@final
class Endpoint:
    def __init__(
        self,
        role: str,
        threads: Threads,
        component: object,
        callbacks: Mapping[str, Callable[..., object]],
        options: object,
        framing: tuple[object, ...],
    ) -> None: ...
    on_stopped: Callable[[], None] | None
    @property
    def count(self) -> int: ...
    def listen(self, fds: list[int]) -> None: ...
    def connect(
        self, host: str, port: int, extra: object, timeout: float | None, local: tuple[str, int] | None
    ) -> Connection: ...
    def stop(self, drain: float) -> None: ...
    def connections(self) -> list[Connection]: ...
    def connection(self, id: int) -> Connection | None: ...
    def stats(self) -> dict[str, int]: ...
    def in_callback(self) -> bool: ...

def setup(
    *,
    handle_error: object,
    operations: tuple[object, ...],
    log_callback: Callable[[object, BaseException, str], None],
) -> None: ...
def backends() -> list[tuple[str, bool, str]]: ...
def live() -> dict[str, int]: ...
def load(
    host: str,
    port: int,
    *,
    connections: int,
    depth: int,
    size: int,
    seconds: float,
    warmup: float,
    progress: Callable[[float, int], None] | None,
) -> dict[str, Any]:
    """Keep depth messages of size bytes in flight on each of connections to an echo server, and measure.

    Opens all connections (5 s for each), has one message answered on each, warms up for warmup seconds, measures for
    seconds, waits up to 5 s for what is in flight, closes. Answers are counted by their bytes. It runs on a native
    thread of its own; this thread waits without the GIL, and Ctrl-C ends the load.

    progress(elapsed, messages) is called on this thread some ten times a second and at both ends of measuring:
    seconds measured and messages answered so far, both 0 before. What it raises ends the load.

    The result: "messages" answered while measuring, "seconds" measured (less than asked when all connections were
    lost), "p50_ns", "p99_ns", "p999_ns" and "max_ns" from sent to answered (the percentiles to within 0.4 %), "errors",
    the connections that were refused or lost or still owed answers at the end, and "error", the errno of the first.

    Raises OSError when every connection has failed, ValueError and OverflowError for arguments out of range:
    connections 1 to 1,000,000, depth 1 to 65,536, depth * size 1 to 1 GiB, seconds and warmup up to 86,400.
    """

def after_fork_child() -> None: ...
