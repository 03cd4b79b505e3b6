# F5: what a loop thread needs of connections.
from ._buffers cimport Pieces
from ._tls cimport Tls
from .c cimport wawo_share


cdef class Codec:
    """What a connection has of a framing in Python."""
    cdef object make       # makes the Protocol
    cdef object protocol   # None before it is needed
    cdef object rest       # messages that wait behind a pause
    cdef object failure    # the ProtocolError that ended the connection

    cdef get(self)


cdef class Connection:
    cdef wawo_share *share
    cdef readonly object _endpoint  # the Endpoint; it knows the component
    cdef public object extra
    cdef Codec codec                # None: the framing is native
    cdef Tls secret                 # None: without TLS
    cdef object __weakref__

    cdef _refused(self, int rc, size_t n)
    cdef _send_any(self, data)
    cdef _send_pieces(self, Pieces pieces)
    cdef _address(self, bint local)
    cdef _take(self, asked, bint consume)


ctypedef wawo_share *(*delivered_t)() noexcept

cdef void set_delivered(delivered_t delivered) noexcept
cdef refuse(int rc, Py_ssize_t n)
cdef void incref(void *user) noexcept nogil
cdef Connection connection_of(wawo_share *s, endpoint)
cdef Connection connection_new(endpoint, extra)
