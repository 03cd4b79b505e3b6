"""The native load of `wawo demo`."""
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from .c cimport *


cdef int load_progress(void *arg, int64_t elapsed_ns, uint64_t messages) noexcept with gil:
    """On the thread that called load(): signals, and the caller's progress. Not 0 ends the load."""
    cdef list state = <list>arg  # progress, and what was raised
    try:
        PyErr_CheckSignals()
        if state[0] is not None:
            state[0](elapsed_ns / 1e9, messages)
        return 0
    except BaseException as error:
        state[1] = error
        return 1


def load(str host not None, uint16_t port, *, uint32_t connections, uint32_t depth, size_t size, double seconds,
         double warmup, progress):
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
    cdef wawo_load_options o
    cdef wawo_load_result r
    cdef int rc
    cdef bytes c_host = host.encode()
    cdef list state = [progress, None]
    if not (0 < seconds <= 86_400 and 0 <= warmup <= 86_400):
        raise ValueError(f"seconds must be over 0, warmup 0 or more, both up to 86,400, not {seconds} and {warmup}")
    o.host, o.port, o.connections, o.depth, o.size = c_host, port, connections, depth, size
    o.warmup_ns, o.measure_ns, o.patience_ns = <int64_t>(warmup * 1e9), <int64_t>(seconds * 1e9), 0
    o.progress, o.arg = load_progress, <void *>state
    with nogil:
        rc = wawo_load_run(&o, &r)
    if state[1] is not None:
        raise state[1]
    if rc == WAWO_EINVAL and r.errors == 0:
        raise ValueError(f"connections must be 1 to {WAWO_LOAD_CONNECTIONS_MAX:,}, depth 1 to {WAWO_LOAD_DEPTH_MAX:,}, "
                         f"depth * size 1 to {WAWO_LOAD_FLIGHT_MAX:,}, not {connections:,}, {depth:,} and {size:,}")
    if rc != 0:
        raise OSError(-rc, f"load of {host} port {port}: {wawo_err_text(rc).decode()}")
    return {"messages": r.messages, "seconds": r.elapsed_ns / 1e9, "p50_ns": r.p50_ns, "p99_ns": r.p99_ns,
            "p999_ns": r.p999_ns, "max_ns": r.max_ns, "errors": r.errors, "error": r.error}
