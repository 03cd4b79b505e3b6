"""Connections as Python sees them: handles on what the core shares with every thread."""
import os

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from ._buffers cimport LEND_MIN, Pieces, find_lender, open_part, send_parts
from ._tls cimport Tls, tls_calls_python, tls_error, tls_new, tls_secure, tls_session, tls_setup, tls_snapshot
from .c cimport *

cdef extern from "Python.h":
    bint PyBytes_CheckExact(object o)
    PyObject *PyBytes_New "PyBytes_FromStringAndSize"(const char *v, Py_ssize_t len)
    Py_ssize_t PyNumber_AsSsize_t(object o, void *too_large) except? -1
    void Py_INCREF_RAW "Py_INCREF"(PyObject *o) nogil
    void Py_DECREF_RAW "Py_DECREF"(PyObject *o)

cdef object CLOSE_ERROR = None
cdef object SEND_BUFFER_FULL = BufferError
cdef object FRAME_TOO_BIG = ValueError
cdef object FRAME_INVALID = ValueError
cdef object STATE_ERROR = RuntimeError
cdef object CHECK_TLS = None


def setup(*, close_error, send_buffer_full, frame_too_big, frame_invalid, state_error, check_tls, tls_info):
    """Hand over what a connection raises, what makes the exception of its end, what knows of TLS. Once, at import."""
    global CLOSE_ERROR, SEND_BUFFER_FULL, FRAME_TOO_BIG, FRAME_INVALID, STATE_ERROR, CHECK_TLS
    CLOSE_ERROR, SEND_BUFFER_FULL, FRAME_TOO_BIG = close_error, send_buffer_full, frame_too_big
    FRAME_INVALID, STATE_ERROR, CHECK_TLS = frame_invalid, state_error, check_tls
    tls_setup(None, tls_info)


cdef delivered_t DELIVERED = NULL  # whose callback is running on this thread


cdef void set_delivered(delivered_t delivered) noexcept:
    global DELIVERED
    DELIVERED = delivered


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

cdef refuse(int rc, Py_ssize_t n):
    """What a message of n bytes raises that no connection of the framing could take."""
    if rc == WAWO_EMSGSIZE:
        raise FRAME_TOO_BIG(f"a message of {n} bytes is over max_size of the framing, or empty where it must not be")
    if rc == WAWO_EBADMSG:
        raise FRAME_INVALID(f"this message of {n} bytes cannot be sent with the framing: it holds its delimiter, has "
                            f"not the size that is fixed, or says another size than it has")
    if rc == WAWO_ENOBUFS:
        raise SEND_BUFFER_FULL(f"{n} bytes never fit: max_pending is less than that")
    raise MemoryError(f"no memory to send {n} bytes")


cdef void incref(void *user) noexcept nogil:
    Py_INCREF_RAW(<PyObject *>user)


@cython.final
@cython.freelist(1024)
cdef class Connection:
    """One connection, made by a component and never by itself: ``Connection()`` raises TypeError.

    Every method may be called from any thread. One that is kept stays valid for ever: after its end ``connected`` is
    False and ``send`` returns False. Connections compare and hash by id.
    """

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
        """Queue ``data`` as one message; True, or False (nothing is queued) when the connection is closing or closed.

        ``data`` is any bytes-like object, or with a Protocol whatever its ``encode`` takes. ``bytes`` of 8 KiB and more
        are borrowed, all else is copied: what the caller changes afterwards is not sent. It is written at the end of
        the batch of callbacks, or from another thread as soon as the loop turns; order holds for each sending thread.

        Raises SendBufferFull past max_pending or max_pending_total, FrameTooBig or FrameInvalid when the framing cannot
        carry it, TypeError for a str and what is not bytes-like; nothing is queued then. Any thread.
        """
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
        refuse(rc, n)

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

    def fetch(self, n, /):
        """With Pull framing: take the first ``n`` unread bytes; None, and nothing happens, when fewer are there.

        Only in callbacks of this connection, OnClose included: StateError elsewhere and with another framing.
        ValueError for less than 0 or more than max_size of the framing.
        """
        return self._take(n, True)

    def peek(self, n, /):
        """``fetch`` that leaves the bytes unread."""
        return self._take(n, False)

    cdef _take(self, asked, bint consume):
        cdef Py_ssize_t n = PyNumber_AsSsize_t(asked, NULL)  # the nearest one, where it is too large for that
        cdef size_t unread = wawo_share_unread(self.share)
        cdef PyObject *data
        cdef int rc
        if n < 0:
            raise ValueError(f"n must be 0 or more bytes, not {asked}")
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
            raise ValueError(f"{asked:,} bytes never lie unread at once: that is over max_size of the Pull framing")
        if rc == WAWO_ENOTSUP:
            raise STATE_ERROR("fetch() and peek() are for components with framing=Pull()")
        raise STATE_ERROR("fetch() and peek() work only in the callbacks of this connection")

    cdef _send_pieces(self, Pieces pieces):
        cdef int rc = send_parts(self.share, pieces.parts, pieces.count)
        return True if rc == 1 else self._refused(rc, pieces.bytes)

    def send_packets(self, buffers, /):
        """``send`` for an iterable of bytes-like objects, as one message in one envelope.

        All of it is accepted or nothing; what ``send`` would borrow is borrowed. Raises what ``send`` raises, and
        TypeError that names the index of what is not bytes-like. Any thread.
        """
        cdef Pieces pieces
        cdef Py_ssize_t i
        if isinstance(buffers, (bytes, bytearray, memoryview, str)):
            raise TypeError("send_packets() takes several bytes-like objects, as in a list, "
                            f"not {type(buffers).__name__}")
        items = list(buffers)
        pieces = Pieces(<unsigned>len(items) + 1)
        for i in range(len(items)):
            pieces.add(items[i], "buffers", i)
        if self.codec is not None or wawo_share_looks(self.share):
            return self.send(b"".join(pieces.kept))
        return self._send_pieces(pieces)

    def send_file(self, path, offset=0, count=None, *, head=b"", tail=b""):
        """Queue ``head``, ``count`` bytes of a file from ``offset`` on (None: all) and ``tail`` as one message.

        True or False as ``send``, in its order among all other messages. The file goes from the page cache to the
        socket and never through memory of ours. It is opened at the call, on the calling thread: a missing file, a
        directory or a lack of permission raises the OSError of the system; what is no regular file, and an offset or a
        count (in bytes) beyond its size, ValueError; StateError with a Protocol, which would have to see the bytes.

        The framing's limit holds for all three together; a framing that must not meet its own delimiter looks at head
        and tail, not into the file. OnSend and ``bytes_out`` count the file's bytes as the system takes them. What is
        not in memory is read by other threads, so a slow disk holds up nobody else. A file that becomes shorter while
        it is sent ends its connection: ``OnClose(conn, Operation.SEND, errno.EIO)``, and the peer sees a reset. Any
        thread.
        """
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
        except BaseException:
            if file != NULL:
                wawo_file_drop(file)
            raise
        if not sent and file != NULL:
            wawo_file_drop(file)
        return sent

    def close(self):
        """Send what is queued, then FIN; cut after close_timeout seconds. OnClose follows. Any thread.

        What still comes from the peer is dropped. Does nothing on a connection that is closing or closed.
        """
        wawo_share_close(self.share)

    def abort(self):
        """Drop what is queued and reset the connection (RST). OnClose follows. Any thread."""
        wawo_share_abort(self.share)

    def shutdown_write(self):
        """Send what is queued, then FIN; receiving goes on until the peer ends too. Any thread."""
        wawo_share_shutdown_write(self.share)

    def flush(self):
        """Write now what is queued instead of at the end of the batch. Any thread."""
        cdef wawo_share *s = self.share
        if tls_calls_python(self.secret):
            wawo_share_flush(s)
            return
        with nogil:
            wawo_share_flush(s)

    def pause(self):
        """Stop receiving until ``resume``: nothing is lost, the peer is slowed down. Any thread.

        In a callback it holds the rest of the batch too: no OnReceive of this connection comes before ``resume``.
        """
        wawo_share_pause(self.share, True)

    def resume(self):
        """Go on receiving after ``pause``; what was held comes first. Any thread."""
        wawo_share_pause(self.share, False)

    def start_tls(self, context, *, server_side=None, server_hostname=None, session=None):
        """Begin TLS on a connection without it (STARTTLS): only in a callback of this connection.

        What was sent before goes out in the clear, what is sent from here on behind the handshake. OnHandShake comes
        when that is done. ``server_side`` None: as the component, True on a TcpServer.

        Bytes of the peer that were received behind the message which is being handled are no TLS and might be an
        attacker's: the connection ends with ``OnClose(conn, Operation.RECEIVE, errno.EBADMSG)``.

        Raises StateError elsewhere than in such a callback, and when it has TLS, or a close has begun; ValueError and
        TypeError for a context that does not fit.
        """
        cdef Tls secret
        cdef int rc
        if server_side is None:
            server_side = self._endpoint.server_side
        wish = CHECK_TLS(context, server_side, server_hostname, session)
        if DELIVERED() != self.share or not wawo_share_here(self.share):
            raise STATE_ERROR("start_tls() works only in a callback of this connection")
        secret = tls_new(wish)
        rc = tls_secure(secret, self.share, True)
        if rc == WAWO_ENOMEM:
            raise MemoryError("no memory to begin TLS")
        if rc == WAWO_EINVAL:
            raise STATE_ERROR("this connection has TLS already")
        if rc != 0:
            raise STATE_ERROR("start_tls() comes too late: a close of this connection has begun")
        self.secret = secret

    @property
    def tls(self):
        """What was agreed on when the TLS handshake was done (TlsInfo), a snapshot; None before it and without TLS."""
        return None if self.secret is None else tls_snapshot(self.secret)

    @property
    def session(self):
        """The ssl.SSLSession that a later connection to this peer may resume; None without TLS and before there is one.

        In callbacks of this connection the latest one; elsewhere as it was when it was last asked there, or at the end.
        """
        return None if self.secret is None else tls_session(self.secret, self.share)

    @property
    def id(self):
        """64 bits, slot and generation: unique, never given to another connection again."""
        return wawo_share_id(self.share)

    @property
    def paused(self):
        """True after ``pause``, until ``resume``."""
        return wawo_share_paused(self.share)

    @property
    def pending(self):
        """Bytes that wait in memory to be sent; a file counts as 4096 until it is sent."""
        return wawo_share_pending(self.share)

    @property
    def connected(self):
        """True from OnAccept or OnConnect until the end begins."""
        return wawo_share_connected(self.share)

    @property
    def connect_period(self):
        """Seconds since it was made; 0.0 while it is being connected."""
        return wawo_share_connect_ns(self.share) / 1e9

    @property
    def silence_period(self):
        """Seconds since it last received."""
        return wawo_share_silence_ns(self.share) / 1e9

    @property
    def local_address(self):
        """(host, port); None before it is known.

        Over a unix socket a str: "unix:/path" on the side that listens, "unix:" on the one that connected, which has no
        name.
        """
        return self._address(True)

    @property
    def remote_address(self):
        """The address of the other side, as ``local_address``."""
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
        """The exception that ended it; None while it is open and after a clean end.

        An OSError of the standard class for its cause, ssl.SSLError, socket.gaierror, or ProtocolError.
        """
        cdef int operation = 0, gai = 0
        cdef int error = wawo_share_error(self.share, &operation, &gai)
        cdef const char *fault
        if self.codec is not None and self.codec.failure is not None:
            return self.codec.failure
        failure = None if self.secret is None else tls_error(self.secret)
        if failure is not None:
            return failure
        if not error and not gai:
            return None
        fault = wawo_share_fault(self.share)
        return CLOSE_ERROR(operation, error, gai, None if fault == NULL else fault.decode())

    @property
    def component(self):
        """The server, agent or client it belongs to; None when that is gone."""
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
