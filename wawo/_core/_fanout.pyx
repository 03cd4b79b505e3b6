# cython: language_level=3
"""What is done to many connections of an endpoint in one call."""
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Free, PyMem_Realloc

from ._connection cimport Connection, refuse
from ._endpoint cimport Endpoint
from ._tls cimport tls_may_call_python
from .c cimport *

cdef enum:
    FEW = 16             # connections: for more the GIL is released
    MANY = 4096          # the same in a callback: whoever gives it up beside a thread that computes has it back late
    LARGE = 64 * 1024    # bytes: and for longer messages


@cython.final
cdef class Ids:
    """Ids of connections as C wants them."""
    cdef uint64_t *items
    cdef size_t count, room

    cdef add(self, uint64_t id):
        cdef uint64_t *grown
        if self.count == self.room:
            grown = <uint64_t *>PyMem_Realloc(self.items, (self.room * 2 + 16) * sizeof(uint64_t))
            if grown == NULL:
                raise MemoryError()
            self.items, self.room = grown, self.room * 2 + 16
        self.items[self.count] = id
        self.count += 1

    def __dealloc__(self):
        PyMem_Free(self.items)


cdef Ids ids_of(Endpoint endpoint, to):
    """Those of `to` that this endpoint may have; what is no connection and no id raises TypeError."""
    cdef Ids ids = Ids()
    if isinstance(to, (Connection, int, str, bytes, bytearray, memoryview)):
        raise TypeError(f"to must be None or an iterable of connections or ids, not {type(to).__name__}: pass [it]")
    try:
        items = iter(to)
    except TypeError:
        raise TypeError(f"to must be None or an iterable of connections or ids, not {type(to).__name__}") from None
    for item in items:
        if type(item) is Connection:
            if (<Connection>item)._endpoint is endpoint and endpoint is not None:
                ids.add(wawo_share_id((<Connection>item).share))
        elif not isinstance(item, int) or isinstance(item, bool):
            raise TypeError(f"to must hold connections or ids, not {type(item).__name__} ({item!r})")
        elif 0 < item < 1 << 64:
            ids.add(item)
    return ids


cdef Py_ssize_t cast(Endpoint endpoint, const void *data, size_t size, Ids ids, bint evict) except -1:
    cdef wawo_endpoint *e = endpoint.endpoint
    cdef const uint64_t *items = NULL
    cdef uint64_t nobody = 0
    cdef size_t count = wawo_endpoint_count(e)
    cdef ptrdiff_t accepted
    if ids is not None:
        items, count = ids.items if ids.count > 0 else &nobody, ids.count
    cdef bint inside = wawo_engine_current(endpoint.threads.threads)
    if inside and tls_may_call_python():  # in this very call: it takes the callback's GIL for granted
        accepted = wawo_endpoint_broadcast(e, data, size, items, count, evict)
    elif count > (MANY if inside else FEW) or size > LARGE:
        with nogil:
            accepted = wawo_endpoint_broadcast(e, data, size, items, count, evict)
    else:
        accepted = wawo_endpoint_broadcast(e, data, size, items, count, evict)
    if accepted < 0:
        refuse(<int>accepted, <Py_ssize_t>size)
    return accepted


cdef int contiguous(data, Py_buffer *buffer) except -1:
    """The bytes of data in one piece: those that do not lie so are copied."""
    try:
        return PyObject_GetBuffer(data, buffer, PyBUF_SIMPLE)
    except BufferError:
        return PyObject_GetBuffer(bytes(data), buffer, PyBUF_SIMPLE)
    except TypeError:
        raise TypeError(f"broadcast() takes a bytes-like object, not {type(data).__name__}") from None


def broadcast(Endpoint endpoint, data, to, bint evict):
    """How many connections accepted data. Without an endpoint only the arguments are checked."""
    cdef Py_buffer buffer
    cdef Ids ids
    if isinstance(data, str):
        raise TypeError("broadcast() takes a bytes-like object, not str: encode it first, as in text.encode()")
    if endpoint is not None and endpoint.protocol is not None:
        data = endpoint.protocol().encode(data)
    contiguous(data, &buffer)
    try:
        ids = None if to is None else ids_of(endpoint, to)
        return 0 if endpoint is None else cast(endpoint, buffer.buf, <size_t>buffer.len, ids, evict)
    finally:
        PyBuffer_Release(&buffer)


def disconnect(Endpoint endpoint not None, double seconds, bint silent):
    """How many connections were closed that are older than that, or silent for longer."""
    cdef wawo_endpoint *e = endpoint.endpoint
    cdef int64_t ns = <int64_t>(seconds * 1e9)
    cdef size_t closed
    with nogil:
        closed = wawo_endpoint_disconnect(e, ns, silent)
    return closed
