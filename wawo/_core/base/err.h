/* F0 err: results. 0 or a count is good, a negative value is one of these. WAWO_AGAIN is an answer, not an error.
 * Codes that stand for an OS error carry it as the errno value that Python's `errno` module knows. */
#ifndef WAWO_BASE_ERR_H
#define WAWO_BASE_ERR_H

#include "os_errno.h"

/* X(name, errno value, text): the one table of errors. */
#define WAWO_ERR_TABLE(X)                                                                                              \
    X(AGAIN, EAGAIN, "would block: wait for the kernel")                                                               \
    X(NOMEM, ENOMEM, "out of memory")                                                                                  \
    X(NOBUFS, ENOBUFS, "a pool or a queue is at its limit")                                                            \
    X(INVAL, EINVAL, "invalid argument")                                                                               \
    X(MSGSIZE, EMSGSIZE, "a frame is over its limit")                                                                  \
    X(BADMSG, EBADMSG, "a frame is malformed")                                                                         \
    X(PROTO, EPROTO, "TLS failed")                                                                                     \
    X(CANCELED, ECANCELED, "a callback refused")                                                                       \
    X(TIMEDOUT, ETIMEDOUT, "timed out")                                                                                \
    X(RESET, ECONNRESET, "connection reset by peer")                                                                   \
    X(REFUSED, ECONNREFUSED, "connection refused")                                                                     \
    X(UNREACH, EHOSTUNREACH, "host not found or unreachable")                                                          \
    X(CLOSED, ENOTCONN, "closing or closed")                                                                           \
    X(IO, EIO, "a file ended before all of it was sent")                                                               \
    X(NOTSUP, ENOTSUP, "not supported on this system")

enum {
#define X(name, value, text) WAWO_E##name = -(value),
    WAWO_ERR_TABLE(X)
#undef X
};
#define WAWO_AGAIN WAWO_EAGAIN

/* The text of a result, for logs and exceptions; never NULL. Any thread. */
const char *wawo_err_text(int code);

#endif
