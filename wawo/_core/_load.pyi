from collections.abc import Callable
from typing import Any

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
