/* F0 os: a socket address in the words of the system. Only the files that call sockets include it. */
#ifndef WAWO_BASE_OS_SOCKADDR_H
#define WAWO_BASE_OS_SOCKADDR_H

#include "config.h"

#if defined(_WIN32)
#include "os_win.h"
#else
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Here sockets need no start. */
static inline int wawo_os_start(void)
{
    return 0;
}
#endif

struct wawo_addr;

union wawo_sockaddr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
#if !defined(_WIN32)
    struct sockaddr_un un;
#endif
};

/* Fills in an address and returns its length; 0 for a family that is not here. */
socklen_t wawo_os_sockaddr(const struct wawo_addr *a, union wawo_sockaddr *out);
/* The other way, from as many bytes as the system gave; WAWO_AF_NONE without any. The path of a unix socket is not told. */
void wawo_os_address(struct wawo_addr *a, const struct sockaddr *sa, socklen_t len);

#endif
