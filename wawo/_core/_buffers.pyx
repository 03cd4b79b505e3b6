"""Bytes between Python and the core: chunks that Python holds as views, and the pieces of a message that is sent."""
import errno
import operator
import os
import stat

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject

from .c cimport *

cdef extern from "Python.h":
    bint PyBytes_CheckExact(object o)
    bint PyMemoryView_Check(object o)
    PyObject *PyMemoryView_GET_BASE(object o)
    PyObject *PyMemoryView_New "PyMemoryView_FromObject"(object o)
    PyObject *PyBytes_New "PyBytes_FromStringAndSize"(const char *v, Py_ssize_t len)
    void Py_INCREF_RAW "Py_INCREF"(PyObject *o) nogil
    void Py_DECREF_RAW "Py_DECREF"(PyObject *o)

cdef object SIZE_MAX = <size_t>-1
cdef int FLAGS = os.O_RDONLY
for name in ("O_CLOEXEC", "O_NONBLOCK", "O_NOCTTY", "O_BINARY"):  # a FIFO is refused, not waited for
    FLAGS |= getattr(os, name, 0)
del name


# ---- views: chunks that Python holds ----

@cython.final
@cython.freelist(64)
cdef class View:
    """Exporter of a run of bytes in a pooled chunk; the chunk goes home when the last view of it dies."""

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


# ---- pieces of a message on their way to the core ----

cdef void find_lender(object data, Py_buffer *buffer, wawo_part *part):
    """Whether what is in the buffer can be borrowed: a view on a chunk, or on bytes, which are as immutable."""
    if buffer.len < VIEW_MIN or not PyMemoryView_Check(data) or PyMemoryView_GET_BASE(data) == NULL:
        return
    base = <object>PyMemoryView_GET_BASE(data)
    if type(base) is View:
        part.chunk = (<View>base).chunk
    elif buffer.len >= LEND_MIN and PyBytes_CheckExact(base):
        part.loan = <void *>base


cdef int send_parts(wawo_share *s, wawo_part *parts, unsigned count) noexcept:
    """Gives the core the references that it takes over, and has them back when it does not."""
    cdef unsigned i
    cdef int rc
    for i in range(count):
        if parts[i].loan != NULL:
            Py_INCREF_RAW(<PyObject *>parts[i].loan)
        elif parts[i].chunk != NULL:
            wawo_chunk_hold(parts[i].chunk)
    rc = wawo_share_send_parts(s, parts, count)
    if rc != 1:
        for i in range(count):
            if parts[i].loan != NULL:
                Py_DECREF_RAW(<PyObject *>parts[i].loan)
            elif parts[i].chunk != NULL:
                wawo_chunk_drop(parts[i].chunk)
    return rc


@cython.final
cdef class Pieces:
    """The pieces of one message: holds what is copied or borrowed until the core has it."""

    def __cinit__(self, unsigned room):
        self.kept = []
        self.parts = <wawo_part *>PyMem_Calloc(room, sizeof(wawo_part))
        self.buffers = <Py_buffer *>PyMem_Calloc(room, sizeof(Py_buffer))
        if self.parts == NULL or self.buffers == NULL:
            raise MemoryError(f"no memory for a message in {room} pieces")

    cdef int add(self, object data, str name, Py_ssize_t index) except -1:
        """The next piece; an error calls it name[index], or name."""
        cdef wawo_part *part = &self.parts[self.count]
        cdef Py_buffer *buffer = &self.buffers[self.count]
        if PyBytes_CheckExact(data):
            part.data = PyBytes_AS_STRING(data)
            part.len = <size_t>PyBytes_GET_SIZE(data)
            if part.len >= LEND_MIN:
                part.loan = <void *>data
        else:
            try:
                PyObject_GetBuffer(data, buffer, PyBUF_SIMPLE)
            except BufferError:
                return self.add(bytes(data), name, index)  # not contiguous
            except TypeError:
                where = name if index < 0 else f"{name}[{index}]"
                hint = ": encode it first" if isinstance(data, str) else ""
                raise TypeError(f"{where} must be a bytes-like object, not {type(data).__name__}{hint}") from None
            part.data = buffer.buf
            part.len = <size_t>buffer.len
            find_lender(data, buffer, part)
        self.kept.append(data)
        self.count += 1
        self.bytes += part.len
        return 0

    cdef void add_file(self, wawo_file *file, size_t length) noexcept:
        """The next piece; the reference is taken over by what sends it."""
        self.parts[self.count].file = file
        self.count += 1
        self.bytes += length

    def __dealloc__(self):
        cdef unsigned i
        for i in range(self.count):
            PyBuffer_Release(&self.buffers[i])  # nothing where there is none
        PyMem_Free(self.buffers)
        PyMem_Free(self.parts)


cdef size_t integer(object value, str name, object most, str why) except? <size_t>-1:
    """A number of bytes from 0 to most, None being no limit yet."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {type(value).__name__} ({value!r})") from None
    if number < 0 or (most is not None and number > most):
        span = "at least 0" if most is None else f"from 0 to {most}, {why}"
        raise ValueError(f"{name} must be {span}, not {number}")
    return min(number, SIZE_MAX)


cdef wawo_file *open_part(object path, object offset, object count, size_t *length) except? NULL:
    """Opens a file to send a part of it; NULL also when that part is empty."""
    cdef wawo_file *file = NULL
    cdef size_t start = integer(offset, "offset", None, ""), n = 0
    cdef int fd
    if count is not None:
        integer(count, "count", None, "")
    name = os.fspath(path)
    try:
        fd = os.open(name, FLAGS)
    except PermissionError:
        if os.name == "nt" and os.path.isdir(name):  # elsewhere a folder can be opened
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name) from None
        raise
    try:
        status = os.fstat(fd)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"path must be a regular file: {name!r} is none")
        size = status.st_size
        integer(offset, "offset", size, f"the size of {name!r}")
        n = size - start
        if count is not None:
            n = integer(count, "count", size - start, f"what {name!r} has from offset {start} on")
        if n > 0:
            with nogil:
                file = wawo_file_new(fd, start, n)
            if file == NULL:
                raise MemoryError(f"no memory to send {name!r}")
    finally:
        if file == NULL:
            os.close(fd)
    length[0] = n
    return file
