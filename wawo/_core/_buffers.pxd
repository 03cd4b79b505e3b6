# F5: views on chunks, and messages in pieces.
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from .c cimport wawo_chunk, wawo_event, wawo_file, wawo_part, wawo_share

cdef enum:
    LEND_MIN = 8192   # bytes: smaller ones are cheaper to copy than to keep track of
    VIEW_MIN = 2048   # bytes: smaller views would pin a whole chunk


cdef class View:
    cdef wawo_chunk *chunk
    cdef const uint8_t *ptr
    cdef Py_ssize_t len


cdef class Pieces:
    cdef wawo_part *parts
    cdef Py_buffer *buffers  # of those that are no bytes objects
    cdef list kept           # the objects themselves
    cdef unsigned count
    cdef size_t bytes        # all together

    cdef int add(self, object data, str name, Py_ssize_t index) except -1
    cdef void add_file(self, wawo_file *file, size_t length) noexcept


cdef PyObject *view_new(const wawo_event *e) noexcept
cdef void find_lender(object data, Py_buffer *buffer, wawo_part *part)
cdef int send_parts(wawo_share *s, wawo_part *parts, unsigned count) noexcept
cdef wawo_file *open_part(object path, object offset, object count, size_t *length) except? NULL
