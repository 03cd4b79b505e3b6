# cython: language_level=3
"""TLS sessions: an ssl.SSLObject for each connection, and who does its cryptography.

Natively it is the SSL inside that object, which the filter of the connection drives on the loop's thread without the
GIL, see net/tls_openssl.c. Where that cannot be, and for a context whose objects are not quite those of the ssl module,
it is the object itself with two MemoryBIOs, under the GIL. The connection's Tls holds the object until its OnClose;
nobody else may use it meanwhile.
"""
cimport cython
from cpython.buffer cimport PyBUF_WRITE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.object cimport PyObject

from .c cimport *

import errno
import os
import re
import threading

cdef object ssl = None            # the module, once it was asked for
cdef object PLAIN_OBJECT = None   # ssl.SSLObject
cdef object INNER = None          # _ssl._SSLSocket
cdef object WANT_READ = None      # ssl.SSLWantReadError
cdef tuple ENGINE = ()            # (name, why, version)
cdef object CHOOSING = threading.Lock()
cdef bint MEMORY_USED = False     # a session over MemoryBIOs was made
cdef tuple BIOS = ()              # that a native session is made with, and never uses
cdef object MESSAGES = None       # SSLContext._msg_callback, without the property that ssl.py lays over it
cdef object OPTIONS = None        # SSLContext.options as a plain int: to make a flag of it takes as long as a session
cdef int64_t LENIENT = 0          # ssl.OP_IGNORE_UNEXPECTED_EOF
cdef object PROTOCOL_ERROR = ValueError
cdef object INFO = None

# Where CPython keeps them behind the head of the object: the SSL of an _SSLSocket between what it stands on, nothing
# with MemoryBIOs, and its SSLContext; the SSL_CTX of an SSLContext.
cdef enum:
    SOCKET_AT = 0
    SSL_AT = 1
    OWNER_AT = 2
    CONTEXT_AT = 0


cdef void tls_setup(object protocol_error, object info) noexcept:
    """What plaintext behind a start_tls ends with, and what makes the snapshot of a session; None: as it is."""
    global PROTOCOL_ERROR, INFO
    PROTOCOL_ERROR = PROTOCOL_ERROR if protocol_error is None else protocol_error
    INFO = INFO if info is None else info


# ---- which engine ----

cdef void *py_word(PyObject *o, Py_ssize_t index) noexcept:
    """Of what a type of C keeps behind the head of its objects."""
    return (<void **>(<char *>o + sizeof(PyObject)))[index]


cdef void *ssl_of(object made) except NULL:
    """The SSL of an ssl.SSLObject, if that is where it was found by the self-test."""
    inner = made._sslobj
    cdef PyObject *o = <PyObject *>inner
    cdef void *found
    if type(made) is not PLAIN_OBJECT or type(inner) is not INNER:
        raise TypeError(f"{type(made).__name__} is no object of the ssl module")
    found = py_word(o, SSL_AT)
    # Known facts first, for a wrong pointer must not be followed.
    if py_word(o, SOCKET_AT) != NULL or py_word(o, OWNER_AT) != <void *><PyObject *>made.context or found == NULL:
        raise TypeError("an _SSLSocket of this Python is laid out in another way")
    if wawo_openssl_maker(found) != <void *>o:
        raise TypeError("the session of an _SSLSocket does not know its object")
    return found


cdef str fault_of_native():
    """None, or why the cryptography cannot run natively; the self-test."""
    cdef const char *missing = NULL
    cdef void *found
    cdef bytes path
    import _ssl
    file = getattr(_ssl, "__file__", None)
    if file is None:
        return "the ssl module is a part of this Python and shows no OpenSSL"
    path = os.fsencode(file)
    if wawo_openssl_find(path, &missing) != 0:
        return f"the ssl module shows no {missing.decode()}"
    seen = set()
    for host in ("one.wawo.invalid", "two.wawo.invalid"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        made = context.wrap_bio(incoming, outgoing, False, host)
        try:
            found = ssl_of(made)
        except TypeError as error:
            return str(error)
        seen.add(<size_t>found)
        if wawo_openssl_context(found) != py_word(<PyObject *>context, CONTEXT_AT):
            return "a session does not know its context"
        if not wawo_openssl_try(found) or host.encode() not in outgoing.read():
            return "a session that was found does not shake hands"
    return None if len(seen) == 2 else "two sessions are one"


cdef tuple choose():
    global ssl, PLAIN_OBJECT, INNER, WANT_READ, ENGINE, BIOS, MESSAGES, OPTIONS, LENIENT
    import _ssl
    import ssl as module
    forced = os.environ.get("WAWO_TLS") or None
    if forced not in (None, "openssl", "memorybio"):
        raise ImportError(f"WAWO_TLS must be openssl or memorybio, not {forced!r}")
    ssl, PLAIN_OBJECT, INNER, WANT_READ = module, module.SSLObject, _ssl._SSLSocket, module.SSLWantReadError
    BIOS = (module.MemoryBIO(), module.MemoryBIO())
    MESSAGES = _ssl._SSLContext._msg_callback
    OPTIONS, LENIENT = _ssl._SSLContext.options, getattr(module, "OP_IGNORE_UNEXPECTED_EOF", 0)
    fault = None if forced == "memorybio" else fault_of_native()
    if fault is not None and forced == "openssl":
        raise ImportError(f"WAWO_TLS=openssl does not work here: {fault}")
    if forced is not None:
        return forced, "WAWO_TLS asks for it", module.OPENSSL_VERSION
    if fault is not None:
        return "memorybio", fault, module.OPENSSL_VERSION
    return "openssl", "the ssl module's own OpenSSL passed the self-test", module.OPENSSL_VERSION


def tls_engine():
    """(name, why, version of OpenSSL): "openssl" seals on the loop threads without the GIL, "memorybio" with it.

    ``WAWO_TLS=memorybio`` or ``openssl`` forces either; the latter is an error (ImportError) where it does not work.
    Asked for the first time it imports ssl and tries.
    """
    global ENGINE
    if not ENGINE:
        with CHOOSING:  # without a GIL two loops may come here at once
            if not ENGINE:
                ENGINE = choose()
    return ENGINE


cdef bint tls_forked() except -1:
    """In a child after fork: another thread of the parent may have been choosing."""
    global CHOOSING
    CHOOSING = threading.Lock()
    return True


# ---- sessions ----

@cython.final
cdef class Tls:
    """The TLS session of a connection."""

    cdef bint feed(self) except -1:
        """What came goes into the incoming BIO, all of it."""
        if self.pipe.len > 0:
            self.incoming.write((<const char *>self.pipe.ptr)[:self.pipe.len])
            self.pipe.len = 0
        return True

    cdef int drain(self) except -2:
        """What was written goes to the peer; notes whether there is more to read."""
        cdef bytes data
        self.more = self.incoming.pending > 0 or self.made.pending() > 0
        if self.outgoing.pending == 0:
            return 0
        data = self.outgoing.read()
        return wawo_tls_put(self.pipe, PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))


cdef Tls tls_new(tuple wish):
    cdef Tls t = Tls.__new__(Tls)
    t.wish = wish
    return t


cdef bint is_plain(object context):
    """Its sessions are those of the ssl module, and nothing of theirs is done in Python. What a message callback raises
    is kept for the next call through the ssl module, so to be heard it takes such calls."""
    return (context.sslobject_class is PLAIN_OBJECT
            and MESSAGES.__get__(context) is None
            and getattr(type(context), "wrap_bio", None) is ssl.SSLContext.wrap_bio)


cdef int tls_secure(Tls t, wawo_share *s, bint start) except? 1:
    """Makes the session and gives it to the connection; what wawo_share_secure or, with `start`, _start_tls says."""
    global MEMORY_USED
    cdef const wawo_tls_ops *ops = &MEMORY
    cdef void *session = <void *>t
    native = tls_engine()[0] == "openssl"
    context, server_side, host, latest = t.wish
    cdef unsigned how = 0 if server_side else WAWO_TLS_CLIENT
    cdef int rc
    if OPTIONS.__get__(context) & LENIENT:
        how |= WAWO_TLS_LENIENT
    if native and is_plain(context):
        t.made = context.wrap_bio(BIOS[0], BIOS[1], server_side, host, latest)
        ops, session = &wawo_tls_openssl, ssl_of(t.made)
    else:
        MEMORY_USED = True
        t.incoming, t.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        t.made = context.wrap_bio(t.incoming, t.outgoing, server_side, host, latest)
    rc = wawo_share_start_tls(s, ops, session, how) if start else wawo_share_secure(s, ops, session, how)
    if rc != 0:
        t.made = t.incoming = t.outgoing = None
    return rc


cdef bint tls_may_call_python() noexcept:
    """Whether there has been a session whose writing calls Python: so may that to anybody."""
    return MEMORY_USED


cdef bint tls_calls_python(Tls t) noexcept:
    """Whether writing calls Python, and so needs the GIL that a callback has: that the core takes it for granted."""
    return t is not None and t.outgoing is not None


cdef object session_error(unsigned long code, long verify, host):
    """What the ssl module would have raised for an error in OpenSSL's queue; code 0: for a goodbye in the handshake."""
    if code == 0:  # and OpenSSL's functions are not even looked for where all sessions are under the GIL
        return ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "TLS/SSL connection has been closed (EOF)")
    cdef const char *text = wawo_openssl_reason(code)
    cdef const char *place = wawo_openssl_library(code)
    reason = "unknown error" if text == NULL else text.decode()
    library = "SSL" if place == NULL else place.decode().split()[0].upper()
    name = re.sub(r"\W+", "_", reason).upper()
    if name != "CERTIFICATE_VERIFY_FAILED":
        error = ssl.SSLError(1, f"[{library}: {name}] {reason}")
    else:
        why = wawo_openssl_verify_text(verify).decode()
        if verify == 62:  # X509_V_ERR_HOSTNAME_MISMATCH
            why = f"Hostname mismatch, certificate is not valid for '{host}'."
        elif verify == 64:  # X509_V_ERR_IP_ADDRESS_MISMATCH
            why = f"IP address mismatch, certificate is not valid for '{host}'."
        error = ssl.SSLCertVerificationError(1, f"[{library}: {name}] {reason}: {why}")
        error.verify_code, error.verify_message = verify, why
    error.library, error.reason = library, name
    return error


cdef object tls_leftover():
    return PROTOCOL_ERROR("the peer sent bytes in the clear behind the message after which start_tls() was called")


cdef object error_of(Tls t, wawo_share *s, int error):
    """The exception for the end of a connection; None where TLS was not to blame."""
    cdef unsigned long code = 0
    cdef long verify = 0
    cdef wawo_tls_fault fault = wawo_share_tls_fault(s, &code, &verify)
    if fault == WAWO_TLS_FAILED and error == -WAWO_EPROTO and t.error is None:
        return session_error(code, verify, t.wish[2])
    if fault == WAWO_TLS_CUT and error == -WAWO_EPROTO:
        return cut_error()
    if fault == WAWO_TLS_LATE:
        return TimeoutError(errno.ETIMEDOUT, "no TLS handshake within handshake_timeout")
    return tls_leftover() if fault == WAWO_TLS_LEFTOVER else t.error


cdef str CUT_REASON = "UNEXPECTED_EOF_WHILE_READING"


cdef object cut_error():
    """As the ssl module says it."""
    made = ssl.SSLEOFError(ssl.SSL_ERROR_EOF, f"[SSL: {CUT_REASON}] EOF occurred in violation of protocol")
    made.library, made.reason = "SSL", CUT_REASON
    return made


cdef void tls_ended(Tls t, wawo_share *s, int error) noexcept:
    """Before OnClose: why it ended, and the session to resume; the object goes."""
    latest = failure = None
    try:
        if error != 0:
            failure = error_of(t, s, error)
        if t.made is not None and t.shaken and not t.wish[1]:
            latest = t.made.session
    except BaseException as second:
        failure = second
    t.made = t.incoming = t.outgoing = None
    with cython.critical_section(t):
        t.error = failure
        t.latest = t.latest if latest is None else latest


# ---- the session under the GIL ----

cdef int memory_attach(void *session, wawo_tls_pipe *pipe) noexcept:
    (<Tls>session).pipe = pipe
    return 0


cdef ptrdiff_t failed(Tls t, object error) noexcept:
    """What an exception of the SSLObject means; an alert for the peer may be there all the same."""
    t.more = False
    try:
        if isinstance(error, WANT_READ):
            return t.drain()
        t.drain()
        if isinstance(error, ssl.SSLZeroReturnError):
            return WAWO_ECLOSED
        # CPython 3.11.2 knows no SSLEOFError for this one.
        t.error = cut_error() if getattr(error, "reason", None) == CUT_REASON else error
    except BaseException as second:
        t.error = second
    return WAWO_EPROTO


cdef int memory_handshake(void *session) noexcept:
    cdef Tls t = <Tls>session
    cdef int rc
    try:
        t.feed()
        t.made.do_handshake()
        rc = t.drain()
        return 1 if rc == 0 else rc
    except BaseException as error:
        rc = <int>failed(t, error)
        return WAWO_EPROTO if rc == WAWO_ECLOSED else rc


cdef ptrdiff_t memory_read(void *session, void *to, size_t room) noexcept:
    cdef Tls t = <Tls>session
    cdef Py_ssize_t n
    cdef int rc
    try:
        t.feed()
        n = t.made.read(<Py_ssize_t>room, PyMemoryView_FromMemory(<char *>to, <Py_ssize_t>room, PyBUF_WRITE))
        rc = t.drain()
        if rc != 0:
            return rc
        return n if n > 0 else WAWO_ECLOSED
    except BaseException as error:
        return failed(t, error)


cdef int memory_pending(void *session) noexcept nogil:
    return (<Tls>session).more


cdef ptrdiff_t memory_write(void *session, const void *data, size_t len) noexcept:
    cdef Tls t = <Tls>session
    cdef Py_ssize_t n
    cdef bint more = t.more
    cdef int rc
    try:
        n = t.made.write((<const char *>data)[:len])
        rc = t.drain()
        t.more = more
        return n if rc == 0 else rc
    except BaseException as error:
        rc = <int>failed(t, error)
        if rc == 0:
            return WAWO_AGAIN
        return rc if rc != WAWO_ECLOSED else WAWO_EPROTO


cdef int memory_shutdown(void *session) noexcept:
    cdef Tls t = <Tls>session
    try:
        try:
            t.made.unwrap()
        except ssl.SSLError:
            pass  # it waits for the other one's
        return t.drain()
    except BaseException as error:
        t.error = error
        return WAWO_EPROTO


cdef wawo_tls_ops MEMORY
MEMORY.name = b"memorybio"
MEMORY.enters = True
MEMORY.attach = memory_attach
MEMORY.handshake = memory_handshake
MEMORY.read = memory_read
MEMORY.pending = memory_pending
MEMORY.write = memory_write
MEMORY.shutdown = memory_shutdown


# ---- for Connection and deliver ----

cdef int tls_shaken(Tls t) except -1:
    """The handshake is done: the snapshot, on the loop, before anybody hears of it."""
    info = INFO(t.made)
    with cython.critical_section(t):
        t.info = info
        t.shaken = True
    return 0


cdef object tls_snapshot(Tls t):
    with cython.critical_section(t):
        return t.info


cdef object tls_error(Tls t):
    """What ended the connection; None: it was not TLS, or nothing yet."""
    with cython.critical_section(t):
        return t.error


cdef object tls_session(Tls t, wawo_share *s):
    """The session to resume: asked of the object on its loop alone."""
    if wawo_share_here(s) and t.made is not None and t.shaken:
        latest = t.made.session
        with cython.critical_section(t):
            t.latest = latest
    with cython.critical_section(t):
        return t.latest
