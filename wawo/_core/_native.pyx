# cython: language_level=3
"""The binding's deliver(), the one place where a loop thread enters Python; the handles stand in _endpoint.

A loop thread holds one thread state for life. C calls enter() once for each batch, deliver() for its events, leave();
nothing else of Python is touched on a loop thread.
"""
from cpython.long cimport PyLong_FromLong, PyLong_FromSize_t
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from ._buffers cimport view_new
from ._connection cimport Connection, connection_of, set_delivered
from ._tls cimport tls_ended, tls_forked, tls_leftover, tls_new, tls_secure, tls_setup, tls_shaken
from ._endpoint cimport BYTES, DECODED, VIEW, Endpoint, Seat, callback_name, count_fork, fork_count, set_sink
from .c cimport *

import os
import sys
import threading

cdef extern from "<binding.h>":
    void py_pin() noexcept
    void py_unpin() noexcept
    void py_enter() noexcept nogil
    void py_leave() noexcept nogil
    const wawo_event **py_delivered() noexcept nogil
    bint py_hook_changed(PyObject *dict, PyObject *key, bint profile) noexcept
    object py_take_error()
    bint PY_HAS_GIL

cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(PyObject *func, PyObject *const *args, size_t nargsf, PyObject *kwnames)
    enum:
        PY_VECTORCALL_ARGUMENTS_OFFSET
    PyObject *PyBytes_New "PyBytes_FromStringAndSize"(const char *v, Py_ssize_t len)
    PyObject *PyLong_New "PyLong_FromSize_t"(size_t v)
    void Py_INCREF_RAW "Py_INCREF"(PyObject *o) nogil
    void Py_DECREF_RAW "Py_DECREF"(PyObject *o)
    void Py_XDECREF_RAW "Py_XDECREF"(PyObject *o)
    void PyErr_WriteUnraisable(PyObject *o)
    PyObject *Py_None_RAW "Py_None"

# What setup() is given: the Python objects that the binding needs.
cdef object HANDLE_ERROR = None
cdef tuple OPERATIONS = ()
cdef object LOG_CALLBACK = None
cdef object PROTOCOL_ERROR = None

cdef dict THREADING = threading.__dict__
cdef str TRACE_HOOK = sys.intern("_trace_hook")
cdef str PROFILE_HOOK = sys.intern("_profile_hook")


def setup(*, object handle_error, tuple operations, object log_callback, object protocol_error):
    """Hand over the Python objects that deliver() compares with and passes on. Once, at import."""
    global HANDLE_ERROR, OPERATIONS, LOG_CALLBACK, PROTOCOL_ERROR
    HANDLE_ERROR, OPERATIONS, LOG_CALLBACK = handle_error, operations, log_callback
    PROTOCOL_ERROR = protocol_error
    tls_setup(protocol_error, None)


# ---- deliver: from the core to the listener ----

cdef void take_hooks() noexcept:
    """A loop thread follows threading.settrace() and setprofile(), whenever they were called."""
    if py_hook_changed(<PyObject *>THREADING, <PyObject *>TRACE_HOOK, False):
        sys.settrace(threading.gettrace())
    if py_hook_changed(<PyObject *>THREADING, <PyObject *>PROFILE_HOOK, True):
        sys.setprofile(threading.getprofile())


cdef inline Seat *seat_of(const wawo_event *e) noexcept:
    """The listener of a connection. No reference of the Endpoint is taken: all loops would write into its count."""
    if (<Endpoint>e.owner).seat_count == 1:
        return (<Endpoint>e.owner).seats
    return &(<Endpoint>e.owner).seats[wawo_share_loop(e.share) % (<Endpoint>e.owner).seat_count]


cdef void report(Endpoint ep, Seat *seat, object subject, object error, str where) noexcept:
    """A callback raised: OnException of the seat hears of it, as that ends the connection; without one only the log."""
    try:
        try:
            if seat != NULL and seat.on_exception != NULL:
                (<object>seat.on_exception)(subject, error)
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
    if kind == WAWO_ON_CONNECT or kind == WAWO_ON_PREPARE_CONNECT:
        return WAWO_OP_CONNECT
    if kind == WAWO_ON_HANDSHAKE:
        return WAWO_OP_ACCEPT if ep.role == WAWO_SERVER else WAWO_OP_CONNECT
    return WAWO_OP_SEND if kind == WAWO_ON_SEND else WAWO_OP_RECEIVE


cdef void answer(Endpoint ep, const wawo_event *e, PyObject *result) noexcept:
    """What a callback answered that is not None: it raised, refused, or returned something without a meaning."""
    cdef int kind = e.kind
    cdef bint refuses = result == NULL or result == <PyObject *>HANDLE_ERROR
    if result == NULL:
        report(ep, seat_of(e) if kind <= WAWO_ON_SEND else NULL, connection_of(e.share, ep), py_take_error(),
               callback_name(kind))
    else:
        Py_DECREF_RAW(result)
    if refuses and kind <= WAWO_ON_SEND:
        wawo_share_refuse(e.share, operation_of(ep, kind), -WAWO_ECANCELED)


cdef inline PyObject *call(const wawo_event *e, int kind, size_t n, PyObject *a, PyObject *b, PyObject *c) noexcept:
    """callback(a, b, c)[:n]. A bound method is called as function and self, which spares a call."""
    cdef Seat *seat = seat_of(e)
    cdef PyObject *args[5]
    args[1] = seat.self[kind]
    args[2] = a
    args[3] = b
    args[4] = c
    if args[1] != NULL:
        return PyObject_Vectorcall(seat.call[kind], &args[1], (n + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
    return PyObject_Vectorcall(seat.call[kind], &args[2], n | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)


cdef void decode_failed(Endpoint ep, const wawo_event *e, Connection conn, object error) noexcept:
    """A ProtocolError is the peer's fault and ends the connection as a bad native frame does; all else is a bug."""
    cdef bint big = False
    if isinstance(error, PROTOCOL_ERROR):
        conn.codec.failure = error
        try:
            big = getattr(error, "errno", None) == -WAWO_EMSGSIZE  # one that is derived may not set it
        except BaseException:
            pass
        wawo_share_refuse(e.share, WAWO_OP_RECEIVE, -WAWO_EMSGSIZE if big else -WAWO_EBADMSG)
    else:
        report(ep, seat_of(e), conn, error, "decode")
        wawo_share_refuse(e.share, WAWO_OP_RECEIVE, -WAWO_ECANCELED)


cdef void deliver_decoded(Endpoint ep, const wawo_event *e) noexcept:
    """OnReceive for each message that the connection's Protocol makes of the bytes. When a callback pauses, the rest of
    them waits in the Connection, and an event without bytes among those that are kept back marks its turn."""
    cdef Connection conn = connection_of(e.share, ep)
    cdef wawo_event turn = e[0]
    turn.ptr, turn.chunk, turn.len = NULL, NULL, 0
    try:
        rest, conn.codec.rest = conn.codec.rest, None
        if e.len > 0:
            rest = iter(conn.codec.get().decode((<const char *>e.ptr)[:e.len]))
        for message in rest:
            answer_decoded(ep, e, conn, message)
            if conn.secret is not None and not conn.secret.shaken:
                for _ in rest:
                    raise tls_leftover()
                return
            if not wawo_event_due(&turn):
                conn.codec.rest = rest
                return
    except BaseException as error:
        decode_failed(ep, e, conn, error)


cdef void deliver_message(const wawo_event *e) noexcept:
    cdef PyObject *conn = <PyObject *>wawo_share_user(e.share)
    cdef PyObject *data
    cdef PyObject *result = NULL
    cdef size_t unread
    if conn == NULL:
        made = connection_of(e.share, <Endpoint>e.owner)
        conn = <PyObject *>made
    Py_INCREF_RAW(conn)  # the callback may end what else holds it
    if (<Endpoint>e.owner).shape == BYTES:
        data = PyBytes_New(<const char *>e.ptr, <Py_ssize_t>e.len)
    elif (<Endpoint>e.owner).shape == VIEW:
        data = view_new(e)
    else:
        unread = wawo_share_unread(e.share)
        if unread == 0:  # an earlier callback of this batch fetched it all
            Py_DECREF_RAW(conn)
            return
        data = PyLong_New(unread)
    if data != NULL:
        result = call(e, WAWO_ON_RECEIVE, 2, conn, data, NULL)
        Py_DECREF_RAW(data)
    if result == Py_None_RAW:
        Py_DECREF_RAW(result)
    else:
        answer(<Endpoint>e.owner, e, result)
    Py_DECREF_RAW(conn)


cdef void answer_decoded(Endpoint ep, const wawo_event *e, Connection conn, object message) noexcept:
    cdef PyObject *result = call(e, WAWO_ON_RECEIVE, 2, <PyObject *>conn, <PyObject *>message, NULL)
    if result == Py_None_RAW:
        Py_DECREF_RAW(result)
    else:
        answer(ep, e, result)


cdef void deliver_other(Endpoint ep, const wawo_event *e) noexcept:
    """OnPrepareConnect, OnAccept, OnConnect, OnHandShake, OnSend, OnDrain."""
    cdef Connection conn = connection_of(e.share, ep)
    cdef PyObject *result
    if e.kind == WAWO_ON_SEND or e.kind == WAWO_ON_PREPARE_CONNECT:
        number = PyLong_FromSize_t(e.len) if e.kind == WAWO_ON_SEND else PyLong_FromLong(e.error)
        result = call(e, e.kind, 2, <PyObject *>conn, <PyObject *>number, NULL)
    else:
        result = call(e, e.kind, 1, <PyObject *>conn, NULL, NULL)
    if result == Py_None_RAW:
        Py_DECREF_RAW(result)
    else:
        answer(ep, e, result)


cdef void deliver_wrap(Endpoint ep, const wawo_event *e) noexcept:
    """The connection is established and needs its TLS session."""
    cdef Connection conn = connection_of(e.share, ep)
    cdef int rc = WAWO_EPROTO
    if conn.secret is None:
        conn.secret = tls_new(ep.accepted())
    try:
        rc = tls_secure(conn.secret, e.share, False)
    except BaseException as error:
        conn.secret.error = error
    if rc != 0 and rc != WAWO_ECLOSED:
        wawo_share_leave_bare(e.share, rc)


cdef void deliver_handshake(Endpoint ep, const wawo_event *e) noexcept:
    cdef Connection conn = connection_of(e.share, ep)
    try:
        if e.len > 0:
            tls_shaken(conn.secret)
    except BaseException as error:  # a certificate that was verified and yet cannot be read
        conn.secret.error = error
        wawo_share_refuse(e.share, operation_of(ep, WAWO_ON_HANDSHAKE), -WAWO_EPROTO)
        return
    if seat_of(e).call[<int>WAWO_ON_HANDSHAKE] != NULL:
        deliver_other(ep, e)


cdef void deliver_close(Endpoint ep, const wawo_event *e) noexcept:
    """The last event of a connection: the core's reference of its Connection ends here."""
    cdef Connection conn = connection_of(e.share, ep)
    cdef PyObject *result
    if conn.secret is not None:
        tls_ended(conn.secret, e.share, e.error)
    if ep.seats[0].call[<int>WAWO_ON_CLOSE] != NULL and wawo_event_due(e):
        error = PyLong_FromLong(e.error)
        result = call(e, WAWO_ON_CLOSE, 3, <PyObject *>conn, <PyObject *>OPERATIONS[e.operation], <PyObject *>error)
        answer(ep, e, result)
    wawo_event_closed(e)
    Py_XDECREF_RAW(<PyObject *>wawo_share_take_user(e.share))


cdef void deliver_shutdown(Endpoint ep) noexcept:
    """The endpoint has stopped: tells the listener and who waits, then lets go of the core's reference."""
    try:
        if ep.seats[0].call[<int>WAWO_ON_SHUTDOWN] != NULL:
            ep.callbacks[0]["OnShutdown"](ep._component())
    except BaseException as error:
        report(ep, NULL, ep._component(), error, "OnShutdown")
    try:
        if ep.on_stopped is not None:
            ep.on_stopped()
    except BaseException as error:
        report(ep, NULL, ep._component(), error, "on_stopped")
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
    cdef const wawo_event **at = py_delivered()
    cdef unsigned i, forks = fork_count()
    take_hooks()
    for i in range(count):
        if forks != fork_count():
            break  # the rest is the parent's
        e = at[0] = &events[i]
        if e.kind == WAWO_ON_RECEIVE:
            if wawo_event_due(e):
                if (<Endpoint>e.owner).shape != DECODED:
                    deliver_message(e)
                else:
                    deliver_decoded(<Endpoint>e.owner, e)
        elif e.kind == WAWO_ON_CLOSE:
            deliver_close(<Endpoint>e.owner, e)
        elif e.kind == WAWO_ON_SHUTDOWN:
            deliver_shutdown(<Endpoint>e.owner)
        elif not wawo_event_due(e):
            continue
        elif e.kind == WAWO_ON_HANDSHAKE:
            deliver_handshake(<Endpoint>e.owner, e)
        elif e.kind == WAWO_ON_WRAP:
            deliver_wrap(<Endpoint>e.owner, e)
        else:
            deliver_other(<Endpoint>e.owner, e)
    at[0] = NULL
    if forks != fork_count():
        end_forked()


cdef wawo_share *delivered() noexcept:
    """Whose callback is running on this thread; NULL: none."""
    cdef const wawo_event *e = py_delivered()[0]
    return NULL if e == NULL else e.share


set_delivered(delivered)


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
        if sys.gettrace() is not None:  # to set it stops all threads on a free-threaded Python
            sys.settrace(None)
        if sys.getprofile() is not None:
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
set_sink(&SINK)


def live():
    """What is alive in the process: connections, loop threads, chunks, files on their way out."""
    return {
        "conns": wawo_live_conns(),
        "threads": wawo_live_threads(),
        "chunks": wawo_live_chunks(),
        "files": wawo_live_files(),
    }


def after_fork_child():
    """In the child after a fork: close every descriptor of the parent's loops; their handles are dead from then on."""
    count_fork()
    tls_forked()
    wawo_after_fork_child()
