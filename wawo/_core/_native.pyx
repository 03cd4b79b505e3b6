# cython: language_level=3
"""The binding: handles over the C core, and deliver(), the one place where a loop thread enters Python.

A loop thread holds one thread state for life. C calls enter() once for each batch, deliver() for its events, leave();
nothing else of Python is touched on a loop thread.
"""
cimport cython
from cpython.long cimport PyLong_FromLong, PyLong_FromSize_t
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from ._connection cimport Connection, connection_new, connection_of, incref, view_new
from .c cimport *

import os
import sys
import threading
import weakref

cdef extern from "<binding.h>":
    void py_pin() noexcept
    void py_unpin() noexcept
    void py_enter() noexcept nogil
    void py_leave() noexcept nogil
    bint py_hook_changed(PyObject *dict, PyObject *key, bint profile) noexcept
    object py_take_error()
    bint PY_HAS_GIL

cdef extern from "Python.h":
    bint PyMethod_Check(object o)
    PyObject *PyMethod_GET_FUNCTION(object o)
    PyObject *PyMethod_GET_SELF(object o)
    PyObject *PyObject_Vectorcall(PyObject *func, PyObject *const *args, size_t nargsf, PyObject *kwnames)
    enum:
        PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject *PyBytes_New "PyBytes_FromStringAndSize"(const char *v, Py_ssize_t len)
    void Py_INCREF_RAW "Py_INCREF"(PyObject *o) nogil
    void Py_DECREF_RAW "Py_DECREF"(PyObject *o)
    void Py_XDECREF_RAW "Py_XDECREF"(PyObject *o)
    void PyErr_WriteUnraisable(PyObject *o)
    PyObject *Py_None_RAW "Py_None"

cdef enum:
    CALLBACKS = 9     # the event kinds, and OnException
    ON_EXCEPTION = 8

cdef tuple NAMES = ("OnAccept", "OnConnect", "OnHandShake", "OnReceive", "OnSend", "OnDrain", "OnClose", "OnShutdown",
                    "OnException")

# What setup() is given: the Python objects that the binding needs.
cdef object HANDLE_ERROR = None
cdef tuple OPERATIONS = ()
cdef object LOG_CALLBACK = None

cdef dict THREADING = threading.__dict__
cdef str TRACE_HOOK = sys.intern("_trace_hook")
cdef str PROFILE_HOOK = sys.intern("_profile_hook")


def setup(*, object handle_error, tuple operations, object log_callback):
    """Hand over the Python objects that deliver() compares with and passes on. Once, at import."""
    global HANDLE_ERROR, OPERATIONS, LOG_CALLBACK
    HANDLE_ERROR, OPERATIONS, LOG_CALLBACK = handle_error, operations, log_callback


cdef object os_error(int code, str what):
    return OSError(-code, f"{what}: {wawo_err_text(code).decode()}")


# ---- deliver: from the core to the listener ----

cdef void take_hooks() noexcept:
    """A loop thread follows threading.settrace() and setprofile(), whenever they were called."""
    if py_hook_changed(<PyObject *>THREADING, <PyObject *>TRACE_HOOK, False):
        sys.settrace(threading.gettrace())
    if py_hook_changed(<PyObject *>THREADING, <PyObject *>PROFILE_HOOK, True):
        sys.setprofile(threading.getprofile())


cdef void report(Endpoint ep, object subject, object error, str where, bint ends) noexcept:
    """A callback raised: OnException hears of it when that ends the connection, else only the log."""
    try:
        try:
            if ends and ep.call[ON_EXCEPTION] != NULL:
                (<object>ep.callbacks["OnException"])(subject, error)
            else:
                LOG_CALLBACK(subject, error, where)
        except BaseException as second:
            LOG_CALLBACK(subject, second, "OnException")
    except BaseException:
        PyErr_WriteUnraisable(<PyObject *>ep)


cdef wawo_operation operation_of(Endpoint ep, int kind) noexcept:
    """What a connection is closed with when the callback of that kind refused."""
    if kind == WAWO_ON_ACCEPT:
        return WAWO_OP_ACCEPT
    if kind == WAWO_ON_CONNECT:
        return WAWO_OP_CONNECT
    if kind == WAWO_ON_HANDSHAKE:
        return WAWO_OP_ACCEPT if ep.role == WAWO_SERVER else WAWO_OP_CONNECT
    return WAWO_OP_SEND if kind == WAWO_ON_SEND else WAWO_OP_RECEIVE


cdef void answer(Endpoint ep, const wawo_event *e, PyObject *result) noexcept:
    """What a callback answered that is not None: it raised, refused, or returned something without a meaning."""
    cdef int kind = e.kind
    cdef bint refuses = result == NULL or result == <PyObject *>HANDLE_ERROR
    if result == NULL:
        report(ep, connection_of(e.share, ep), py_take_error(), <str>NAMES[kind], kind <= WAWO_ON_SEND)
    else:
        Py_DECREF_RAW(result)
    if refuses and kind <= WAWO_ON_SEND:
        wawo_share_refuse(e.share, operation_of(ep, kind))


cdef inline PyObject *call(Endpoint ep, int kind, size_t n, PyObject *a, PyObject *b, PyObject *c) noexcept:
    """callback(a, b, c)[:n]. A bound method is called as function and self, which spares a call."""
    cdef PyObject *args[5]
    args[1] = ep.self[kind]
    args[2] = a
    args[3] = b
    args[4] = c
    if args[1] != NULL:
        return PyObject_Vectorcall(ep.call[kind], &args[1], (n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
    return PyObject_Vectorcall(ep.call[kind], &args[2], n | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)


cdef void deliver_message(Endpoint ep, const wawo_event *e) noexcept:
    cdef PyObject *conn = <PyObject *>wawo_share_user(e.share)
    cdef PyObject *data
    cdef PyObject *result = NULL
    if conn == NULL:
        made = connection_of(e.share, ep)
        conn = <PyObject *>made
    Py_INCREF_RAW(conn)  # the callback may end what else holds it
    data = view_new(e) if ep.view else PyBytes_New(<const char *>e.ptr, <Py_ssize_t>e.len)
    if data != NULL:
        result = call(ep, WAWO_ON_RECEIVE, 2, conn, data, NULL)
        Py_DECREF_RAW(data)
    if result == Py_None_RAW:
        Py_DECREF_RAW(result)
    else:
        answer(ep, e, result)
    Py_DECREF_RAW(conn)


cdef void deliver_other(Endpoint ep, const wawo_event *e) noexcept:
    """OnAccept, OnConnect, OnHandShake, OnSend, OnDrain."""
    cdef Connection conn = connection_of(e.share, ep)
    cdef PyObject *result
    if e.kind == WAWO_ON_SEND:
        length = PyLong_FromSize_t(e.len)
        result = call(ep, e.kind, 2, <PyObject *>conn, <PyObject *>length, NULL)
    else:
        result = call(ep, e.kind, 1, <PyObject *>conn, NULL, NULL)
    if result == Py_None_RAW:
        Py_DECREF_RAW(result)
    else:
        answer(ep, e, result)


cdef void deliver_close(Endpoint ep, const wawo_event *e) noexcept:
    """The last event of a connection: the core's reference of its Connection ends here."""
    cdef Connection conn = connection_of(e.share, ep)
    cdef PyObject *result
    if ep.call[<int>WAWO_ON_CLOSE] != NULL:
        error = PyLong_FromLong(e.error)
        result = call(ep, WAWO_ON_CLOSE, 3, <PyObject *>conn, <PyObject *>OPERATIONS[e.operation], <PyObject *>error)
        answer(ep, e, result)
    Py_XDECREF_RAW(<PyObject *>wawo_share_take_user(e.share))


cdef void deliver_shutdown(Endpoint ep) noexcept:
    """The endpoint has stopped: tells the listener and who waits, then lets go of the core's reference."""
    try:
        if ep.call[<int>WAWO_ON_SHUTDOWN] != NULL:
            (<object>ep.callbacks["OnShutdown"])(ep._component())
    except BaseException as error:
        report(ep, ep._component(), error, "OnShutdown", False)
    try:
        if ep.on_stopped is not None:
            ep.on_stopped()
    except BaseException as error:
        report(ep, ep._component(), error, "on_stopped", False)
    Py_DECREF(ep)


cdef void end_forked() noexcept:
    """A callback forked, and the child has returned from it: as on any other thread, that ends the child."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        pass
    os._exit(0)


cdef void deliver(void *arg, const wawo_event *events, unsigned count) noexcept:
    cdef const wawo_event *e
    cdef unsigned i, epoch = EPOCH
    take_hooks()
    for i in range(count):
        e = &events[i]
        if e.kind == WAWO_ON_RECEIVE:
            if wawo_event_due(e):
                deliver_message(<Endpoint>e.owner, e)
        elif e.kind == WAWO_ON_CLOSE:
            deliver_close(<Endpoint>e.owner, e)
        elif e.kind == WAWO_ON_SHUTDOWN:
            deliver_shutdown(<Endpoint>e.owner)
        elif wawo_event_due(e):
            deliver_other(<Endpoint>e.owner, e)
    if epoch != EPOCH:
        end_forked()


cdef void give_back(void *loan) noexcept:
    Py_DECREF_RAW(<PyObject *>loan)


# ---- loop threads ----

cdef void thread_start(void *arg, const char *name) noexcept with gil:
    py_pin()
    try:
        threading.current_thread().name = name.decode()
    except BaseException:
        PyErr_WriteUnraisable(NULL)


cdef void thread_stop(void *arg) noexcept with gil:
    try:
        sys.settrace(None)
        sys.setprofile(None)
        threading._active.pop(threading.get_ident(), None)  # it never learns that a foreign thread has ended
    except BaseException:
        PyErr_WriteUnraisable(NULL)
    py_unpin()


cdef void enter(void *arg) noexcept nogil:
    py_enter()


cdef void leave(void *arg) noexcept nogil:
    py_leave()


cdef wawo_sink SINK
SINK.thread_start = thread_start
SINK.thread_stop = thread_stop
SINK.enter = enter
SINK.leave = leave
SINK.deliver = deliver
SINK.give_back = give_back
SINK.baton = PY_HAS_GIL

cdef unsigned EPOCH = 0  # forks that this process comes from: handles of an earlier one are dead


@cython.final
cdef class Threads:
    """N loops on N native threads, started at once. Any thread."""
    cdef wawo_threads *threads
    cdef bint running
    cdef unsigned epoch
    cdef object __weakref__

    def __init__(self, unsigned count, backend, size_t pool_memory):
        cdef int err = 0
        cdef bytes name = None if backend is None else backend.encode()
        cdef const char *c_name = NULL if name is None else <const char *>name
        if self.threads != NULL:
            raise RuntimeError("Threads are started once")
        self.threads = wawo_engine_new(count, c_name, pool_memory, &SINK, NULL, &err)
        if self.threads == NULL and err == WAWO_EINVAL:
            raise ValueError(f"backend must be one of {[row[0] for row in backends()]}, not {backend!r}")
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
        cdef bint ended
        cdef int64_t ns = <int64_t>(timeout * 1e9)
        if not self.running or self.epoch != EPOCH:
            return True
        self.running = False
        with nogil:
            ended = wawo_engine_stop(self.threads, ns)
        return ended

    def stats(self):
        cdef wawo_loop_stats s
        cdef unsigned i
        if not self.running or self.epoch != EPOCH:
            return []
        found = []
        for i in range(wawo_engine_count(self.threads)):
            wawo_engine_stats(self.threads, i, &s)
            found.append(s)
        return found

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
    cdef wawo_endpoint *endpoint
    cdef PyObject *call[CALLBACKS]   # borrowed from callbacks, or from their bound methods; NULL: not listened to
    cdef PyObject *self[CALLBACKS]   # of bound methods, else NULL
    cdef bint view
    cdef int role
    cdef unsigned epoch
    cdef dict callbacks
    cdef Threads threads
    cdef readonly object _component
    cdef public object on_stopped
    cdef object __weakref__

    def __init__(self, str role, Threads threads, component, dict callbacks, options, tuple framing):
        cdef wawo_options o
        cdef wawo_framing f
        cdef unsigned mask = 0
        cdef int err = 0, kind
        if self.endpoint != NULL:
            raise RuntimeError("an Endpoint is made once")
        self.role = ("server", "agent", "client").index(role)
        self.epoch = EPOCH
        self.threads = threads
        self._component = weakref.ref(component)
        self.callbacks = dict(callbacks)
        self.view = options.view
        for kind, name in enumerate(NAMES):
            if name in self.callbacks:
                self.listen_to(kind, <PyObject *>self.callbacks[name])
                mask |= 1u << kind
        read_options(&o, options)
        f.kind = WAWO_FRAMING_RAW
        if framing[0] == "length":
            f.kind = WAWO_FRAMING_LENGTH
            f.length_size, f.length_little, f.max_size = framing[1], framing[2] == "little", framing[3]
        self.endpoint = wawo_endpoint_new(threads.threads, <wawo_role>self.role, &o, &f, mask, <void *>self, &err)
        if self.endpoint == NULL:
            raise os_error(err, "making the endpoint")
        wawo_engine_slow_ns(threads.threads, <int64_t>(options.slow_callback * 1e9))
        Py_INCREF(self)  # the core's

    cdef listen_to(self, int kind, PyObject *callback):
        if PyMethod_Check(<object>callback):
            self.call[kind] = PyMethod_GET_FUNCTION(<object>callback)
            self.self[kind] = PyMethod_GET_SELF(<object>callback)
        else:
            self.call[kind] = callback

    def listen(self, fds):
        cdef int err = 0, i
        left = list(fds)
        for i in range(len(left)):
            err = wawo_endpoint_listen(self.endpoint, left[i], -1 if len(left) == 1 else i)
            if err != 0:
                for fd in left[i:]:
                    os.close(fd)
                raise os_error(err, "listening")

    def connect(self, str host, uint16_t port, extra, timeout, local):
        cdef Connection c = connection_new(self, extra)
        cdef bytes c_host = host.encode(), c_local = b"" if local is None else local[0].encode()
        cdef uint16_t local_port = 0 if local is None else local[1]
        cdef int64_t ns = 0 if timeout is None else <int64_t>(timeout * 1e9)
        cdef int err
        err = wawo_endpoint_connect(self.endpoint, c_host, port, c_local, local_port, ns, <made_t>bind_connection,
                                    <void *>c)
        if err != 0:
            raise os_error(err, f"connecting to {host} port {port}")
        return c

    def stop(self, double drain):
        if self.epoch == EPOCH:
            wawo_endpoint_stop(self.endpoint, <int64_t>(drain * 1e9))

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
        if self.endpoint != NULL and self.epoch == EPOCH:
            wawo_endpoint_drop(self.endpoint)


cdef read_options(wawo_options *o, options):
    idle, interval = options.keepalive or (0, 0)
    o.max_connections = options.max_connections
    o.close_when_full = options.on_full == "close"
    o.auto_pause = options.auto_pause
    o.no_delay = options.no_delay
    o.keepalive_idle_s, o.keepalive_interval_s = round(idle), round(interval)
    o.high_water, o.low_water = options.high_water, options.low_water
    o.max_pending, o.max_pending_total = options.max_pending, options.max_pending_total
    o.close_timeout_ns = <int64_t>(options.close_timeout * 1e9)
    o.connect_timeout_ns = <int64_t>(options.connect_timeout * 1e9)


def backends():
    """(name, works here, why not) of each backend, best first."""
    cdef const char *name
    cdef int err = 0
    cdef unsigned rank = 0
    rows = []
    while True:
        name = wawo_backend_at(rank, &err)
        if name == NULL:
            return rows
        rows.append((name.decode(), err == 0, "" if err == 0 else wawo_err_text(err).decode()))
        rank += 1


def live():
    """What is alive in the process: connections, loop threads, chunks."""
    return {"conns": wawo_live_conns(), "threads": wawo_live_threads(), "chunks": wawo_live_chunks()}


def after_fork_child():
    """In the child after a fork: close every descriptor of the parent's loops; their handles are dead from then on."""
    global EPOCH
    EPOCH += 1
    wawo_after_fork_child()
