/* F0 os: the names of errors have the values that Python's `errno` module gives them on this system. */
#ifndef WAWO_BASE_OS_ERRNO_H
#define WAWO_BASE_OS_ERRNO_H

#include <errno.h>

#if defined(_WIN32)
/* For what sockets report, Python prefers Winsock's values to those that errno.h has, so we do: a code is the same number
 * wherever it comes from. All others (EAGAIN, EINVAL, ENOMEM, EIO, EPIPE, ECANCELED, EBADMSG, ENOTSUP) stay. */
#undef EADDRINUSE
#undef EADDRNOTAVAIL
#undef EAFNOSUPPORT
#undef ECONNABORTED
#undef ECONNREFUSED
#undef ECONNRESET
#undef EHOSTDOWN
#undef EHOSTUNREACH
#undef EISCONN
#undef EMSGSIZE
#undef ENETDOWN
#undef ENETRESET
#undef ENETUNREACH
#undef ENOBUFS
#undef ENOPROTOOPT
#undef ENOTCONN
#undef ENOTSOCK
#undef EOPNOTSUPP
#undef ETIMEDOUT
#define EADDRINUSE 10048
#define EADDRNOTAVAIL 10049
#define EAFNOSUPPORT 10047
#define ECONNABORTED 10053
#define ECONNREFUSED 10061
#define ECONNRESET 10054
#define EHOSTDOWN 10064
#define EHOSTUNREACH 10065
#define EISCONN 10056
#define EMSGSIZE 10040
#define ENETDOWN 10050
#define ENETRESET 10052
#define ENETUNREACH 10051
#define ENOBUFS 10055
#define ENOPROTOOPT 10042
#define ENOTCONN 10057
#define ENOTSOCK 10038
#define EOPNOTSUPP 10045
#define ETIMEDOUT 10060
#endif

#endif
