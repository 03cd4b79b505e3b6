"""Connections as Python sees them: handles on what the core shares with every thread."""
import os

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from ._buffers cimport LEND_MIN, Pieces, find_lender, open_part, send_parts
from .c cimport *

cdef extern from "Python.h":
    bint PyBytes_CheckExact(object o)
    PyObject *PyBytes_New "PyBytes_FromStringAndSize"(const char *v, Py_ssize_t len)
    void Py_INCREF_RAW "Py_INCREF"(PyObject *o) nogil
    void Py_DECREF_RAW "Py_DECREF"(PyObject *o)

cdef object CLOSE_ERROR = None
cdef object SEND_BUFFER_FULL = BufferError
cdef object FRAME_TOO_BIG = ValueError
cdef object FRAME_INVALID = ValueError
cdef object STATE_ERROR = RuntimeError


def setup(*, close_error, send_buffer_full, frame_too_big, frame_invalid, state_error):
    """Hand over what a connection raises, and what makes the exception of its end. Once, at import."""
    global CLOSE_ERROR, SEND_BUFFER_FULL, FRAME_TOO_BIG, FRAME_INVALID, STATE_ERROR
    CLOSE_ERROR, SEND_BUFFER_FULL, FRAME_TOO_BIG = close_error, send_buffer_full, frame_too_big
    FRAME_INVALID, STATE_ERROR = frame_invalid, state_error


# ---- framings in Python ----

@cython.final
cdef class Codec:
    cdef get(self):
        """The Protocol of the connection, made on first need."""
        if self.protocol is None:
            made = self.make()
            with cython.critical_section(self):
                if self.protocol is None:  # else another thread was faster
                    self.protocol = made
        return self.protocol


cdef Codec codec_new(endpoint):
    cdef Codec codec
    make = endpoint.protocol
    if make is None:
        return None
    codec = Codec.__new__(Codec)
    codec.make = make
    return codec


# ---- connections ----

cdef void incref(void *user) noexcept nogil:
    Py_INCREF_RAW(<PyObject *>user)


@cython.final
@cython.freelist(1024)
cdef class Connection:
    """One connection. Made by wawo; every method may be called from any thread, and after the end of the connection."""
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
        if self.codec is not None:
            data = self.codec.get().encode(data)
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

    cdef _refused(self, int rc, size_t n):
        if rc == 0:
            return False
        if rc == WAWO_ENOBUFS:
            raise SEND_BUFFER_FULL(f"{n} bytes do not fit: {self.pending} bytes are pending on this connection, "
                                   f"and max_pending or max_pending_total would be passed")
        if rc == WAWO_EMSGSIZE:
            raise FRAME_TOO_BIG(f"a message of {n} bytes is over max_size of the framing, or empty where it must not be")
        if rc == WAWO_EBADMSG:
            raise FRAME_INVALID(f"this message of {n} bytes cannot be sent with the framing: it holds its delimiter, has "
                                f"not the size that is fixed, or says another size than it has")
        raise MemoryError(f"no memory to send {n} bytes")

    cdef _send_any(self, data):
        cdef Py_buffer buffer
        cdef wawo_part part
        cdef int rc
        if isinstance(data, str):
            raise TypeError("send() takes a bytes-like object, not str: encode it first, as in send(text.encode())")
        try:
            PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        except BufferError:
            return self._send_any(bytes(data))  # not contiguous
        except TypeError:
            raise TypeError(f"send() takes a bytes-like object, not {type(data).__name__}") from None
        try:
            part = wawo_part(buffer.buf, <size_t>buffer.len, NULL, NULL, NULL)
            find_lender(data, &buffer, &part)
            if part.loan == NULL and part.chunk == NULL:
                rc = wawo_share_send(self.share, part.data, part.len)
            else:
                rc = send_parts(self.share, &part, 1)
            return True if rc == 1 else self._refused(rc, buffer.len)
        finally:
            PyBuffer_Release(&buffer)

    def fetch(self, Py_ssize_t n, /):
        return self._take(n, True)

    def peek(self, Py_ssize_t n, /):
        return self._take(n, False)

    cdef _take(self, Py_ssize_t n, bint consume):
        cdef size_t unread = wawo_share_unread(self.share)
        cdef PyObject *data
        cdef int rc
        if n < 0:
            raise ValueError(f"n must be 0 or more bytes, not {n}")
        if <size_t>n > unread:
            rc = wawo_share_fetch(self.share, NULL, <size_t>n, False)
        else:
            data = PyBytes_New(NULL, n)
            if data == NULL:
                raise MemoryError(f"no memory for {n} bytes")
            found = <object>data
            Py_DECREF_RAW(data)
            rc = wawo_share_fetch(self.share, PyBytes_AS_STRING(found), <size_t>n, consume)
            if rc == 1:
                return found
        if rc == 0:
            return None
        if rc == WAWO_EMSGSIZE:
            raise ValueError(f"{n:,} bytes never lie unread at once: that is over max_size of the Pull framing")
        if rc == WAWO_ENOTSUP:
            raise STATE_ERROR("fetch() and peek() are for components with framing=Pull()")
        raise STATE_ERROR("fetch() and peek() work only in the callbacks of this connection")

    cdef _send_pieces(self, Pieces pieces):
        cdef int rc = send_parts(self.share, pieces.parts, pieces.count)
        return True if rc == 1 else self._refused(rc, pieces.bytes)

    def send_packets(self, buffers, /):
        cdef Pieces pieces
        cdef Py_ssize_t i
        if isinstance(buffers, (bytes, bytearray, memoryview, str)):
            raise TypeError(f"send_packets() takes several bytes-like objects, as in a list, not {type(buffers).__name__}")
        items = list(buffers)
        pieces = Pieces(<unsigned>len(items) + 1)
        for i in range(len(items)):
            pieces.add(items[i], "buffers", i)
        if self.codec is not None or wawo_share_looks(self.share):
            return self.send(b"".join(pieces.kept))
        return self._send_pieces(pieces)

    def send_file(self, path, offset=0, count=None, *, head=b"", tail=b""):
        cdef Pieces pieces = Pieces(3)
        cdef wawo_file *file
        cdef size_t length = 0
        if self.codec is not None:
            raise STATE_ERROR("send_file() does not go through a framing in Python: read the file, and send() it")
        pieces.add(head, "head", -1)
        file = open_part(path, offset, count, &length)
        try:
            if file != NULL:
                pieces.add_file(file, length)
            pieces.add(tail, "tail", -1)
            sent = self._send_pieces(pieces)
        except:
            if file != NULL:
                wawo_file_drop(file)
            raise
        if not sent and file != NULL:
            wawo_file_drop(file)
        return sent

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
        cdef bytes text
        if port < 0:
            return None
        text = host
        if text.startswith(b"unix:"):
            return os.fsdecode(text)
        return (text.decode(), port) if text else self._endpoint.unix_names[0 if local else 1]

    @property
    def error(self):
        cdef int operation = 0, gai = 0
        cdef int error = wawo_share_error(self.share, &operation, &gai)
        if self.codec is not None and self.codec.failure is not None:
            return self.codec.failure
        return CLOSE_ERROR(operation, error, gai) if error or gai else None

    @property
    def component(self):
        return self._endpoint._component()


cdef Connection connection_of(wawo_share *s, endpoint):
    """The Connection of a share, made on first need: a new reference."""
    cdef Connection c
    cdef PyObject *kept
    kept = <PyObject *>wawo_share_find_user(s, incref)
    if kept == NULL:
        c = Connection.__new__(Connection)
        wawo_share_hold(s)
        c.share = s
        c._endpoint = endpoint
        c.codec = codec_new(endpoint)
        kept = <PyObject *>wawo_share_set_user(s, <void *>c, incref)
        if kept == NULL or kept == <PyObject *>c:
            return c  # the core holds the other reference, or the connection is over
    c = <Connection>kept
    Py_DECREF_RAW(kept)
    return c


cdef Connection connection_new(endpoint, extra):
    """A Connection that is to be dialled: it has no share yet."""
    cdef Connection c = Connection.__new__(Connection)
    c._endpoint = endpoint
    c.codec = codec_new(endpoint)
    c.extra = extra
    return c
