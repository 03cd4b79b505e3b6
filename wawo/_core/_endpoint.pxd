from cpython.object cimport PyObject

from .c cimport *

cdef enum:
    CALLBACKS = 10    # the event kinds, and OnException

cdef enum Shape:      # what OnReceive is given
    BYTES
    VIEW
    LENGTH            # Pull: how much lies unread
    DECODED           # what a Protocol made of it


cdef struct Seat:     # a listener as loops call it; all borrowed
    PyObject *call[CALLBACKS]   # its functions, or those of its bound methods; NULL: not listened to
    PyObject *self[CALLBACKS]   # of bound methods, else NULL
    PyObject *on_exception


cdef class Threads:
    cdef wawo_threads *threads
    cdef bint running
    cdef unsigned epoch
    cdef object __weakref__


cdef class Endpoint:
    cdef wawo_endpoint *endpoint
    cdef Seat *seats                 # one for all loops, or one for each
    cdef unsigned seat_count
    cdef Shape shape
    cdef readonly object protocol    # makes the Protocol of a connection; None for native framings
    cdef int role
    cdef unsigned epoch
    cdef list callbacks              # a dict for each seat, which borrows from it
    cdef Threads threads
    cdef tuple wish                  # for the TLS of each accepted connection; None: without
    cdef readonly tuple unix_names   # (local, remote) of connections that were accepted on a unix socket
    cdef readonly object _component
    cdef public object on_stopped
    cdef object __weakref__

    cdef tuple accepted(self)
    cdef unsigned sit(self, list callbacks) except *
    cdef read_framing(self, wawo_framing *f, tuple framing)


cdef void set_sink(wawo_sink *sink) noexcept
cdef unsigned fork_count() noexcept
cdef void count_fork() noexcept
cdef str callback_name(int kind)
