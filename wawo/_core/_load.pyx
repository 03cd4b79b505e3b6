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
    """Keep depth messages of size bytes in flight on each connection to an echo server; what was measured."""
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
