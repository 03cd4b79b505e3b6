# cython: language_level=3
"""The binding: handles over the C core, and deliver(), the one place where a loop thread enters Python.

A loop thread holds one thread state for life. C calls enter() once for each batch, deliver() for its events, leave();
nothing else of Python is touched on a loop thread.
"""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.long cimport PyLong_FromLong, PyLong_FromSize_t
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from .c cimport *

import os
import sys
import threading
import weakref

cdef extern from *:
    """
    #include "base/config.h"
    /* The thread state of a loop thread, its own for life; what it last took over from threading, only compared. */
    static WAWO_THREAD_LOCAL PyThreadState *loop_state;
    static WAWO_THREAD_LOCAL PyObject *loop_trace, *loop_profile;

    static void py_pin(void) /* keeps the state of this thread beyond the GILState block that we are in */
    {
        (void)PyGILState_Ensure();
        loop_state = PyThreadState_Get();
    }
    static void py_unpin(void)
    {
        PyGILState_Release(PyGILState_LOCKED);
    }
    static void py_enter(void)
    {
        PyEval_RestoreThread(loop_state);
    }
    static void py_leave(void)
    {
        (void)PyEval_SaveThread();
    }
    static int py_hook_changed(PyObject *dict, PyObject *key, int profile)
    {
        PyObject **last = profile ? &loop_profile : &loop_trace;
        PyObject *now = PyDict_GetItemWithError(dict, key);

        if (now == Py_None)
            now = NULL;
        if (now == *last)
            return 0;
        *last = now;
        return 1;
    }
    static PyObject *py_take_error(void) /* the exception that is set, with its traceback */
    {
    #if PY_VERSION_HEX >= 0x030C0000
        return PyErr_GetRaisedException();
    #else
        PyObject *type, *value, *trace;

        PyErr_Fetch(&type, &value, &trace);
        PyErr_NormalizeException(&type, &value, &trace);
        if (trace != NULL)
            PyException_SetTraceback(value, trace);
        Py_XDECREF(type);
        Py_XDECREF(trace);
        return value;
    #endif
    }
    #ifdef Py_GIL_DISABLED
    #define PY_HAS_GIL 0
    #else
    #define PY_HAS_GIL 1
    #endif
    """
    void py_pin() noexcept
    void py_unpin() noexcept
    void py_enter() noexcept nogil
    void py_leave() noexcept nogil
    bint py_hook_changed(PyObject *dict, PyObject *key, bint profile) noexcept
    object py_take_error()
    bint PY_HAS_GIL

cdef extern from "base/os.h" nogil:
    int64_t wawo_os_now_ns()

cdef extern from "Python.h":
    bint PyBytes_CheckExact(object o)
    bint PyMemoryView_Check(object o)
    PyObject *PyMemoryView_GET_BASE(object o)
    PyObject *PyMemoryView_New "PyMemoryView_FromObject"(object o)
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
    LEND_MIN = 8192   # bytes: smaller ones are cheaper to copy than to keep track of
    VIEW_MIN = 2048   # bytes: smaller views would pin a whole chunk
    CALLBACKS = 9     # the event kinds, and OnException
    ON_EXCEPTION = 8

cdef tuple NAMES = ("OnAccept", "OnConnect", "OnHandShake", "OnReceive", "OnSend", "OnDrain", "OnClose", "OnShutdown",
                    "OnException")

# What setup() is given: the Python objects that the binding needs.
cdef object HANDLE_ERROR = None
cdef tuple OPERATIONS = ()
cdef object CLOSE_ERROR = None
cdef object SEND_BUFFER_FULL = BufferError
cdef object FRAME_TOO_BIG = ValueError
cdef object LOG_CALLBACK = None

cdef dict THREADING = threading.__dict__
cdef str TRACE_HOOK = sys.intern("_trace_hook")
cdef str PROFILE_HOOK = sys.intern("_profile_hook")


def setup(*, object handle_error, tuple operations, object close_error, object send_buffer_full,
          object frame_too_big, object log_callback):
    """Hand over the Python objects that the binding raises, returns and compares with. Once, at import."""
    global HANDLE_ERROR, OPERATIONS, CLOSE_ERROR, SEND_BUFFER_FULL, FRAME_TOO_BIG, LOG_CALLBACK
    HANDLE_ERROR, OPERATIONS, CLOSE_ERROR = handle_error, operations, close_error
    SEND_BUFFER_FULL, FRAME_TOO_BIG, LOG_CALLBACK = send_buffer_full, frame_too_big, log_callback


cdef object os_error(int code, str what):
    return OSError(-code, f"{what}: {wawo_err_text(code).decode()}")


# ---- views: chunks that Python holds ----

@cython.final
@cython.freelist(64)
cdef class View:
    """Exporter of a run of bytes in a pooled chunk; the chunk goes home when the last view of it dies."""
    cdef wawo_chunk *chunk
    cdef const uint8_t *ptr
    cdef Py_ssize_t len

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, <void *>self.ptr, self.len, 1, flags)

    def __dealloc__(self):
        if self.chunk != NULL:
            wawo_chunk_drop(self.chunk)


cdef PyObject *view_new(const wawo_event *e) noexcept:
    """A read-only memoryview of a message, a new reference; NULL with an error set."""
    cdef View v
    if e.len < VIEW_MIN or not wawo_chunk_export(e.chunk):
        return view_of_copy(<const char *>e.ptr, <Py_ssize_t>e.len)
    v = View.__new__(View)
    v.chunk = e.chunk
    v.ptr = e.ptr
    v.len = <Py_ssize_t>e.len
    return PyMemoryView_New(v)


cdef PyObject *view_of_copy(const char *ptr, Py_ssize_t n) noexcept:
    cdef PyObject *copy = PyBytes_New(ptr, n)
    cdef PyObject *view
    if copy == NULL:
        return NULL
    view = PyMemoryView_New(<object>copy)
    Py_DECREF_RAW(copy)
    return view


# ---- connections ----

cdef void incref(void *user) noexcept nogil:
    Py_INCREF_RAW(<PyObject *>user)


@cython.final
@cython.freelist(1024)
cdef class Connection:
    """One connection. Made by wawo; every method may be called from any thread, and after the end of the connection."""
    cdef wawo_share *share
    cdef readonly Endpoint _endpoint
    cdef public object extra
    cdef object __weakref__

    def __init__(self):
        raise TypeError("connections are made by components, not by calling Connection()")

    def __dealloc__(self):
        if self.share != NULL:
            wawo_share_drop(self.share)

    def __hash__(self):
        return <Py_hash_t>(wawo_share_id(self.share) >> 1)

    def __eq__(self, other):
        return type(other) is Connection and (<Connection>other).share == self.share

    def __repr__(self):
        state = "connected" if self.connected else "not connected"
        return f"<Connection {self.id:#x} {self.remote_address} {state}>"

    def send(self, data, /):
        cdef int rc
        cdef Py_ssize_t n
        if not PyBytes_CheckExact(data):
            return self._send_any(data)
        n = PyBytes_GET_SIZE(data)
        if n < LEND_MIN:
            rc = wawo_share_send(self.share, PyBytes_AS_STRING(data), <size_t>n)
        else:
            Py_INCREF(data)
            rc = wawo_share_lend(self.share, PyBytes_AS_STRING(data), <size_t>n, NULL, <void *>data)
            if rc != 1:
                Py_DECREF(data)
        if rc == 1:
            return True
        return self._refused(rc, n)

    cdef _refused(self, int rc, Py_ssize_t n):
        if rc == 0:
            return False
        if rc == WAWO_ENOBUFS:
            raise SEND_BUFFER_FULL(f"{n} bytes do not fit: {self.pending} bytes are pending on this connection, "
                                   f"and max_pending or max_pending_total would be passed")
        if rc == WAWO_EMSGSIZE:
            raise FRAME_TOO_BIG(f"a message of {n} bytes is over max_size of the framing")
        raise MemoryError(f"no memory to send {n} bytes")

    cdef _send_any(self, data):
        cdef Py_buffer buffer
        cdef int rc
        cdef View v
        cdef object base
        if isinstance(data, str):
            raise TypeError("send() takes a bytes-like object, not str: encode it first, as in send(text.encode())")
        try:
            PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        except BufferError:
            return self.send(bytes(data))  # not contiguous
        except TypeError:
            raise TypeError(f"send() takes a bytes-like object, not {type(data).__name__}") from None
        try:
            base = None
            if buffer.len >= VIEW_MIN and PyMemoryView_Check(data) and PyMemoryView_GET_BASE(data) != NULL:
                base = <object>PyMemoryView_GET_BASE(data)
            if type(base) is View:
                v = <View>base
                wawo_chunk_hold(v.chunk)
                rc = wawo_share_lend(self.share, buffer.buf, <size_t>buffer.len, v.chunk, NULL)
                if rc != 1:
                    wawo_chunk_drop(v.chunk)
            elif buffer.len >= LEND_MIN and PyBytes_CheckExact(base):  # a view on bytes: as immutable as they are
                Py_INCREF(base)
                rc = wawo_share_lend(self.share, buffer.buf, <size_t>buffer.len, NULL, <void *>base)
                if rc != 1:
                    Py_DECREF(base)
            else:
                rc = wawo_share_send(self.share, buffer.buf, <size_t>buffer.len)
            return True if rc == 1 else self._refused(rc, buffer.len)
        finally:
            PyBuffer_Release(&buffer)

    def close(self):
        wawo_share_close(self.share)

    def abort(self):
        wawo_share_abort(self.share)

    def shutdown_write(self):
        return wawo_share_shutdown_write(self.share)

    def flush(self):
        cdef wawo_share *s = self.share
        with nogil:
            wawo_share_flush(s)

    def pause(self):
        wawo_share_pause(self.share, True)

    def resume(self):
        wawo_share_pause(self.share, False)

    @property
    def id(self):
        return wawo_share_id(self.share)

    @property
    def paused(self):
        return wawo_share_paused(self.share)

    @property
    def pending(self):
        return wawo_share_pending(self.share)

    @property
    def connected(self):
        return wawo_share_connected(self.share)

    @property
    def connect_period(self):
        return wawo_share_connect_ns(self.share) / 1e9

    @property
    def silence_period(self):
        return wawo_share_silence_ns(self.share) / 1e9

    @property
    def local_address(self):
        return self._address(True)

    @property
    def remote_address(self):
        return self._address(False)

    cdef _address(self, bint local):
        cdef char host[WAWO_HOST_TEXT]
        cdef int family = 0
        cdef int port = wawo_share_address(self.share, local, host, &family)
        return None if port < 0 else (host.decode(), port)

    @property
    def error(self):
        cdef int operation = 0, gai = 0
        cdef int error = wawo_share_error(self.share, &operation, &gai)
        return CLOSE_ERROR(operation, error, gai) if error or gai else None

    @property
    def component(self):
        return self._endpoint._component()


cdef Connection connection_of(wawo_share *s, Endpoint endpoint):
    """The Connection of a share, made on first need: a new reference."""
    cdef Connection c
    cdef PyObject *kept
    kept = <PyObject *>wawo_share_find_user(s, incref)
    if kept == NULL:
        c = Connection.__new__(Connection)
        wawo_share_hold(s)
        c.share = s
        c._endpoint = endpoint
        kept = <PyObject *>wawo_share_set_user(s, <void *>c, incref)
        if kept == NULL or kept == <PyObject *>c:
            return c  # the core holds the other reference, or the connection is over
    c = <Connection>kept
    Py_DECREF_RAW(kept)
    return c


# ---- deliver: from the core to the listener ----

cdef void take_hooks() noexcept:
    """A loop thread follows threading.settrace() and setprofile(), whenever they were called."""
    if py_hook_changed(<PyObject *>THREADING, <PyObject *>TRACE_HOOK, False):
        sys.settrace(threading.gettrace())
    if py_hook_changed(<PyObject *>THREADING, <PyObject *>PROFILE_HOOK, True):
        sys.setprofile(threading.getprofile())


cdef void report(Endpoint ep, Connection conn, object error, str where) noexcept:
    """A callback raised: OnException hears of it, or the log."""
    try:
        try:
            if conn is not None and ep.call[ON_EXCEPTION] != NULL:
                (<object>ep.callbacks["OnException"])(conn, error)
            else:
                LOG_CALLBACK(conn, error, where)
        except BaseException as second:
            LOG_CALLBACK(conn, second, "OnException")
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
        report(ep, connection_of(e.share, ep), py_take_error(), <str>NAMES[kind])
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
        report(ep, None, error, "OnShutdown")
    try:
        if ep.on_stopped is not None:
            ep.on_stopped()
    except BaseException as error:
        report(ep, None, error, "on_stopped")
    Py_DECREF(ep)


cdef void deliver(void *arg, const wawo_event *events, unsigned count) noexcept:
    cdef const wawo_event *e
    cdef unsigned i
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


cdef int64_t enter(void *arg) noexcept nogil:
    cdef int64_t before = wawo_os_now_ns()
    py_enter()
    return wawo_os_now_ns() - before


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
    cdef object _component
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
        cdef Connection c = Connection.__new__(Connection)
        cdef bytes c_host = host.encode(), c_local = b"" if local is None else local[0].encode()
        cdef uint16_t local_port = 0 if local is None else local[1]
        cdef int64_t ns = 0 if timeout is None else <int64_t>(timeout * 1e9)
        cdef int err
        c.extra = extra
        c._endpoint = self
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
