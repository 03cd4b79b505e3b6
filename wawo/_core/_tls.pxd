# F5: the TLS session of a connection.
from .c cimport wawo_share, wawo_tls_ops, wawo_tls_pipe


cdef class Tls:
    cdef tuple wish           # (context, server_side, server_hostname, session to resume)
    cdef object made          # the ssl.SSLObject; None before and after
    cdef object incoming      # its ssl.MemoryBIOs, where they carry what it reads and writes
    cdef object outgoing
    cdef object info          # what tls_info made of it when the handshake was done
    cdef object latest        # the ssl.SSLSession as last seen
    cdef object error         # what ended the connection
    cdef bint shaken
    cdef bint more            # incoming has bytes that were not given out
    cdef wawo_tls_pipe *pipe

    cdef bint feed(self) except -1
    cdef int drain(self) except -2


cdef void tls_setup(object protocol_error, object info) noexcept
cdef bint tls_forked() except -1
cdef Tls tls_new(tuple wish)
cdef int tls_secure(Tls t, wawo_share *s, bint start) except? 1
cdef bint tls_calls_python(Tls t) noexcept
cdef bint tls_may_call_python() noexcept
cdef void tls_ended(Tls t, wawo_share *s, int error) noexcept
cdef object tls_leftover()
cdef int tls_shaken(Tls t) except -1
cdef object tls_snapshot(Tls t)
cdef object tls_error(Tls t)
cdef object tls_session(Tls t, wawo_share *s)
