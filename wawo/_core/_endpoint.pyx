# cython: language_level=3
"""Handles on loop threads and on endpoints, one run of a component each. What they report goes through deliver()."""
cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.string cimport memcpy, memset

from ._connection cimport Connection, connection_new, connection_of, incref
from ._tls cimport tls_new
from .c cimport *

import _socket
import os
import weakref

cdef extern from "Python.h":
    bint PyMethod_Check(object o)
    PyObject *PyMethod_GET_FUNCTION(object o)
    PyObject *PyMethod_GET_SELF(object o)

cdef tuple NAMES = ("OnPrepareConnect", "OnAccept", "OnConnect", "OnHandShake", "OnReceive", "OnSend", "OnDrain",
                    "OnClose", "OnShutdown", "OnException")

cdef dict KINDS = {
    "raw": WAWO_FRAMING_RAW, "length": WAWO_FRAMING_LENGTH, "field": WAWO_FRAMING_FIELD, "pack": WAWO_FRAMING_PACK,
    "delimited": WAWO_FRAMING_MARKS, "between": WAWO_FRAMING_MARKS, "fixed": WAWO_FRAMING_FIXED,
    "packet": WAWO_FRAMING_PACKET, "pull": WAWO_FRAMING_PULL,
}

cdef object DETACH = _socket.socket.detach  # of C: no signal handler comes between the core's taking and this
cdef str UNNAMED = "unix:"

cdef unsigned EPOCH = 0         # forks that this process comes from: handles of an earlier one are dead
cdef wawo_sink *SINK = NULL     # where the loops report to


cdef void set_sink(wawo_sink *sink) noexcept:
    global SINK
    SINK = sink


cdef unsigned fork_count() noexcept:
    return EPOCH


cdef void count_fork() noexcept:
    global EPOCH
    EPOCH += 1


cdef str callback_name(int kind):
    return <str>NAMES[kind]


cdef int64_t ns_of(double seconds) noexcept:
    """The core's 0 is no time at all, or for ever: a time that is there is at least 1."""
    return max(<int64_t>1, <int64_t>(seconds * 1e9)) if seconds > 0 else 0


cdef object os_error(int code, str what):
    return OSError(-code, f"{what}: {wawo_err_text(code).decode()}")


@cython.final
cdef class Threads:
    """N loops on N native threads, started at once. Any thread."""
    def __init__(self, unsigned count, backend, size_t pool_memory):
        cdef int err = 0
        cdef bytes name = None if backend is None else backend.encode()
        cdef const char *c_name = NULL if name is None else <const char *>name
        if self.threads != NULL:
            raise RuntimeError("Threads are started once")
        self.threads = wawo_engine_new(count, c_name, pool_memory, SINK, NULL, &err)
        if self.threads == NULL and backend is not None and backend not in (names := [row[0] for row in backends()]):
            raise ValueError(f"backend must be one of {names}, not {backend!r}")
        if self.threads == NULL:
            raise os_error(err, f"backend {backend or 'default'} does not work here" if backend else "starting threads")
        self.running = True
        self.epoch = EPOCH

    @property
    def count(self):
        return wawo_engine_count(self.threads)

    @property
    def backend(self):
        return wawo_engine_backend(self.threads).decode()

    def stop(self, double timeout):
        cdef bint ended, mine
        cdef int64_t ns = ns_of(timeout)
        with cython.critical_section(self):  # stats() on another thread is over with the loops, or finds that they end
            mine = self.running and self.epoch == EPOCH
            self.running = False
        if not mine:
            return True
        with nogil:
            ended = wawo_engine_stop(self.threads, ns)
        return ended

    def stats(self):
        cdef unsigned i, n = wawo_engine_count(self.threads)
        cdef bint runs
        cdef wawo_loop_stats *each = <wawo_loop_stats *>PyMem_Malloc(n * sizeof(wawo_loop_stats))
        if each == NULL:
            raise MemoryError()
        try:
            with cython.critical_section(self):  # and no Python in it: that could let a stop() in
                runs = self.running and self.epoch == EPOCH
                for i in range(n if runs else 0):
                    wawo_engine_stats(self.threads, i, &each[i])
            return [each[i] for i in range(n)] if runs else []
        finally:
            PyMem_Free(each)

    def __dealloc__(self):
        if self.threads == NULL or self.epoch != EPOCH:
            return
        if self.running:
            self.stop(1.0)
        wawo_engine_drop(self.threads)


# ---- endpoints ----

ctypedef void (*made_t)(wawo_share *s, void *arg) noexcept nogil

cdef void bind_connection(wawo_share *s, void *arg) noexcept:
    cdef Connection c = <Connection>arg
    wawo_share_hold(s)
    c.share = s
    wawo_share_set_user(s, arg, incref)


@cython.final
cdef class Endpoint:
    """One run of a component: a new start makes a new one. The core holds a reference until OnShutdown was told."""

    def __init__(self, str role, Threads threads, component, list callbacks, options, tuple framing, tls=None):
        cdef wawo_options o
        cdef wawo_framing f
        cdef unsigned mask
        cdef int err = 0
        if self.endpoint != NULL:
            raise RuntimeError("an Endpoint is made once")
        self.unix_names = (UNNAMED, UNNAMED)
        self.role = ("server", "agent", "client").index(role)
        self.epoch = EPOCH
        self.threads = threads
        self._component = weakref.ref(component)
        self.shape = VIEW if options.view else BYTES
        self.tls = tls
        mask = self.sit(callbacks)
        memset(&o, 0, sizeof(o))
        read_options(&o, options)
        o.tls = tls is not None
        self.read_framing(&f, framing)
        self.endpoint = wawo_endpoint_new(threads.threads, <wawo_role>self.role, &o, &f, mask, <void *>self, &err)
        if self.endpoint == NULL:
            raise os_error(err, "making the endpoint")
        wawo_engine_slow_ns(threads.threads, ns_of(options.slow_callback))
        Py_INCREF(self)  # the core's

    cdef unsigned sit(self, list callbacks) except *:
        """Makes a seat of each dict, which have the same keys; the kinds of events that are listened to."""
        cdef Seat *seat
        cdef dict found
        cdef unsigned mask = 0
        cdef int kind
        if len(NAMES) != CALLBACKS:
            raise SystemError("CALLBACKS in _endpoint.pxd is not the number of NAMES")
        self.callbacks = [dict(each) for each in callbacks]
        self.seats = <Seat *>PyMem_Calloc(len(callbacks), sizeof(Seat))
        if self.seats == NULL:
            raise MemoryError()
        for found in self.callbacks:
            seat = &self.seats[self.seat_count]
            for kind, name in enumerate(NAMES):
                if name in found:
                    callback = found[name]
                    seat.call[kind] = <PyObject *>callback
                    if PyMethod_Check(callback):
                        seat.call[kind] = PyMethod_GET_FUNCTION(callback)
                        seat.self[kind] = PyMethod_GET_SELF(callback)
                    mask |= 1u << kind
            if "OnException" in found:
                seat.on_exception = <PyObject *>found["OnException"]
            self.seat_count += 1
        return mask

    cdef read_framing(self, wawo_framing *f, tuple framing):
        """What _native() of a framing says; see wawo/framing.py."""
        cdef bytes start, end
        cdef str kind = framing[0]
        memset(f, 0, sizeof(f[0]))
        if kind == "protocol":
            self.shape, self.protocol, kind = DECODED, framing[1], "raw"
        f.kind = KINDS[kind]
        f.max_size = framing[len(framing) - 1] if f.kind != WAWO_FRAMING_RAW else 0
        if kind == "length":
            f.field_size, f.little = framing[1], framing[2] == "little"
        elif kind == "field":
            f.offset, f.field_size, f.little, f.adjust, f.strip = (
                framing[1], framing[2], framing[3] == "little", framing[4], framing[5])
        elif kind == "pack":
            f.flag = framing[1]
        elif kind == "delimited" or kind == "between":
            start, end = (b"", framing[1]) if kind == "delimited" else (framing[1], framing[2])
            if len(start) > WAWO_MARK_MAX or len(end) > WAWO_MARK_MAX:
                raise ValueError(f"marks have at most {WAWO_MARK_MAX} bytes")
            f.start_len, f.end_len = len(start), len(end)
            memcpy(f.start, <const char *>start, len(start))
            memcpy(f.end, <const char *>end, len(end))
        elif kind == "pull":
            self.shape = LENGTH

    def listen(self, sock, int loop, address):
        cdef int err
        if type(address) is str:
            self.unix_names = (address, UNNAMED)
        err = wawo_endpoint_listen(self.endpoint, sock.fileno(), loop)
        if err != 0:
            raise os_error(err, "listening")
        DETACH(sock)

    @property
    def tls(self):
        """The context of connections that are accepted; None: of none. May be set where there is one, any thread."""
        with cython.critical_section(self):
            return None if self.wish is None else self.wish[0]

    @tls.setter
    def tls(self, context):
        wish = None if context is None else (context, True, None, None)
        with cython.critical_section(self):
            self.wish = wish

    cdef tuple accepted(self):
        """What tls_new is told of an accepted connection."""
        with cython.critical_section(self):
            return self.wish

    @property
    def server_side(self):
        return self.role == WAWO_SERVER

    def connect(self, str host, uint16_t port, extra, timeout, local, tuple tls=None):
        """``tls`` is there where the Endpoint has a context, and nowhere else."""
        cdef Connection c = connection_new(self, extra)
        cdef bytes c_host = os.fsencode(host), c_local = b"" if local is None else local[0].encode()
        cdef uint16_t local_port = 0 if local is None else local[1]
        cdef int64_t ns = 0 if timeout is None else ns_of(timeout)
        cdef int err
        c.secret = None if tls is None else tls_new(tls)
        err = wawo_endpoint_connect(self.endpoint, c_host, port, c_local, local_port, ns, <made_t>bind_connection,
                                    <void *>c)
        if err != 0:
            raise os_error(err, f"connecting to {host}" + (f" port {port}" if port else ""))
        return c

    def adopt(self, sock, extra, tuple tls=None):
        """``tls`` as in ``connect``."""
        cdef Connection c = connection_new(self, extra)
        cdef int err
        c.secret = None if tls is None else tls_new(tls)
        err = wawo_endpoint_adopt(self.endpoint, sock.fileno(), <made_t>bind_connection, <void *>c)
        if err != 0:
            raise os_error(err, "taking the socket over")
        DETACH(sock)
        return c

    def stop(self, double drain):
        if self.epoch == EPOCH:
            wawo_endpoint_stop(self.endpoint, ns_of(drain))

    def connections(self):
        cdef size_t n, i, room = wawo_endpoint_count(self.endpoint) + 64
        cdef wawo_share **found = <wawo_share **>PyMem_Malloc(room * sizeof(wawo_share *))
        if found == NULL:
            raise MemoryError()
        try:
            n = min(room, wawo_endpoint_list(self.endpoint, found, room))
            result = []
            for i in range(n):
                result.append(connection_of(found[i], self))
                wawo_share_drop(found[i])
            return result
        finally:
            PyMem_Free(found)

    def connection(self, uint64_t id):
        cdef wawo_share *s = wawo_endpoint_find(self.endpoint, id)
        if s == NULL:
            return None
        try:
            return connection_of(s, self)
        finally:
            wawo_share_drop(s)

    @property
    def count(self):
        return wawo_endpoint_count(self.endpoint)

    def stats(self):
        cdef wawo_endpoint_stats s
        wawo_endpoint_stats_read(self.endpoint, &s)
        found = dict(s)
        found["open"] = wawo_endpoint_count(self.endpoint)
        return found

    def in_callback(self):
        return wawo_engine_current(self.threads.threads)

    def __dealloc__(self):
        PyMem_Free(self.seats)
        if self.endpoint != NULL and self.epoch == EPOCH:
            wawo_endpoint_drop(self.endpoint)


cdef read_options(wawo_options *o, options):
    idle, interval = options.keepalive or (0, 0)
    o.max_connections = options.max_connections
    o.max_per_address = options.max_connections_per_address or 0
    o.close_when_full = options.on_full == "close"
    o.proxy_protocol = options.proxy_protocol
    o.auto_pause = options.auto_pause
    o.no_delay = options.no_delay
    o.keepalive_idle_s, o.keepalive_interval_s = round(idle), round(interval)
    o.high_water, o.low_water = options.high_water, options.low_water
    o.max_pending, o.max_pending_total = options.max_pending, options.max_pending_total
    o.close_timeout_ns = ns_of(options.close_timeout)
    o.connect_timeout_ns = ns_of(options.connect_timeout)
    o.idle_timeout_ns = ns_of(options.idle_timeout or 0)
    o.receive_rate = options.receive_rate or 0
    o.handshake_timeout_ns = ns_of(options.handshake_timeout)


def backends():
    """(name, works here, why not, only on request) of each backend, best first."""
    cdef wawo_backend_info info
    cdef unsigned rank = 0
    rows = []
    while wawo_backend_at(rank, &info):
        rows.append((info.name.decode(), info.why == NULL, "" if info.why == NULL else info.why.decode(),
                     bool(info.on_request)))
        rank += 1
    return rows
