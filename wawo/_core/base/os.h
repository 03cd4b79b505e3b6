/* F0 os: everything wawo asks of the operating system except waiting for events, which the backends do.
 * One implementation file for each family of systems (os_posix.c, os_win.c), and one of addresses for all (os_addr.c).
 * Results: 0 or a count, or a negative WAWO_E…, which is minus the errno value. EINTR never leaves this floor. Any thread
 * unless said otherwise. */
#ifndef WAWO_BASE_OS_H
#define WAWO_BASE_OS_H

#include "config.h"
#include "os_thread.h"

/* ---- addresses ---- */

enum wawo_family { WAWO_AF_NONE = 0, WAWO_AF_INET = 4, WAWO_AF_INET6 = 6, WAWO_AF_UNIX = 1 };

/* A socket address in one size. */
struct wawo_addr {
    union {
        uint8_t ip[16];   /* network order; IPv4 uses the first four bytes */
        const char *path; /* of a unix socket, "@name" is abstract, "" unnamed; borrowed; NULL: not told */
    };
    uint16_t family; /* enum wawo_family */
    uint16_t port;   /* host order */
    uint32_t scope;  /* IPv6 zone, 0 = none */
};

/* The longest path of a unix socket, and the longest abstract name behind its '@'; room for either, and the NUL. */
#if defined(WAWO_BSD)
enum { WAWO_UNIX_MAX = 103 };
#else
enum { WAWO_UNIX_MAX = 107 };
#endif
enum { WAWO_UNIX_TEXT = WAWO_UNIX_MAX + 2 };

/* Room for any address as text, and the NUL. */
#define WAWO_ADDR_TEXT 120

/* Reads a numeric host ("127.0.0.1", "::1", "fe80::1%eth0") or a unix socket ("unix:/path", "unix:@name"), which then
 * borrows from `host`. WAWO_EINVAL when `host` is a name, -ENAMETOOLONG for a unix path that no address holds,
 * WAWO_ENOTSUP for an abstract one where there are none. */
int wawo_addr_parse(struct wawo_addr *a, const char *host, uint16_t port);
/* Writes the host part as text; that of a unix socket as above, nothing when the path is not told. */
void wawo_addr_text(const struct wawo_addr *a, char text[WAWO_ADDR_TEXT]);
bool wawo_addr_equal(const struct wawo_addr *a, const struct wawo_addr *b);

/* Looks a name up; blocks for as long as the resolver likes. *list (wawo_free) holds the count that is returned;
 * a failure is 0 with *gai set to the EAI_… code, or WAWO_ENOMEM. */
int wawo_os_resolve(const char *host, uint16_t port, struct wawo_addr **list, int *gai);

/* ---- sockets: non-blocking, close-on-exec, never SIGPIPE ----
 * A socket is an int everywhere. On Windows it is the value of its handle, which is small: handles have 32 significant
 * bits, so that 32-bit and 64-bit programs can share them, and the system counts them from 4 upwards. */

/* Same layout as the kernel's vector on POSIX. */
struct wawo_iov {
    void *base;
    size_t len;
};
#define WAWO_IOV_MAX 64 /* entries in one gathered write */

/* A new stream socket. */
int wawo_os_socket(int family);
int wawo_os_bind(int fd, const struct wawo_addr *a);
/* Binds what will connect. Port 0 is chosen no sooner than by the connect, which shares ports between destinations: a
 * bind alone would keep the port from all others, and search long for a free one. */
int wawo_os_bind_source(int fd, const struct wawo_addr *a);
/* The new fd; *peer may be left with WAWO_AF_NONE for families without addresses, and tells no path. */
int wawo_os_accept(int fd, struct wawo_addr *peer);
/* 0 when connected at once, WAWO_AGAIN when under way. WAWO_ENOBUFS: the backlog of a unix socket is full. */
int wawo_os_connect(int fd, const struct wawo_addr *a);
/* The pending error of a socket as a negative code, 0 when none. */
int wawo_os_socket_error(int fd);
/* Bytes read, 0 at the end of the stream. */
ptrdiff_t wawo_os_recv(int fd, void *buf, size_t len);
ptrdiff_t wawo_os_send(int fd, const void *buf, size_t len);
/* `more`: more will be written at once, the system may wait for it to fill a packet. */
ptrdiff_t wawo_os_sendv(int fd, const struct wawo_iov *iov, int n, bool more);
int wawo_os_shutdown_write(int fd);
/* Bytes that the kernel took and the peer has not acknowledged; a negative code where the system does not tell. */
int wawo_os_unacknowledged(int fd);
/* Bytes that have come and were not received yet; a negative code where the system does not tell. */
int wawo_os_unread(int fd);
/* Makes the next close send RST. */
void wawo_os_close_hard(int fd);
void wawo_os_close(int fd);
int wawo_os_local_addr(int fd, struct wawo_addr *a);
int wawo_os_peer_addr(int fd, struct wawo_addr *a);
/* The path of a unix socket as struct wawo_addr has it, of the other end with `peer`. */
int wawo_os_unix_path(int fd, bool peer, char path[WAWO_UNIX_TEXT]);
/* idle_s 0 leaves keepalive off. */
int wawo_os_tune_tcp(int fd, bool no_delay, int keepalive_idle_s, int keepalive_interval_s);
/* An accept failed for that peer alone: the next one may come. All else (no descriptors, no memory, a broken listener)
 * would fail again at once. */
bool wawo_os_accept_transient(int code);

/* ---- wake-ups: a descriptor that another thread can make readable; where pollers run, so not on Windows ---- */

struct wawo_wakefd {
    int rd, wr;
};
/* 0 or why not. */
int wawo_wakefd_open(struct wawo_wakefd *w);
void wawo_wakefd_close(struct wawo_wakefd *w);
/* Makes it readable, once however often it is called. Any thread. */
void wawo_wakefd_signal(const struct wawo_wakefd *w);
/* Makes it unreadable again. */
void wawo_wakefd_drain(const struct wawo_wakefd *w);

/* ---- errors ---- */

/* The system's text for an errno value, in UTF-8; never NULL, valid until this thread asks again. */
const char *wawo_os_error_text(int error);

/* ---- time ---- */

/* Nanoseconds; the coarse one costs less. */
int64_t wawo_os_now_ns(void);        /* monotonic */
int64_t wawo_os_now_coarse_ns(void); /* monotonic, a few ms behind */

/* ---- random bytes, that nobody can guess: at most 256 at a time ---- */

/* 0 or why not. */
int wawo_os_random(void *p, size_t len);

/* ---- memory maps ---- */

/* Zeroed, page aligned, not resident until touched. NULL when refused. */
void *wawo_os_map(size_t size);
void wawo_os_unmap(void *p, size_t size);

/* ---- libraries that others have loaded ---- */

typedef void (*wawo_os_function)(void);

/* The shared object that was loaded from that path, held from then on; NULL: none was, or the system does not tell. */
void *wawo_os_library(const char *path);
/* A function that it exports, or one of those that it was linked with; NULL: none. */
wawo_os_function wawo_os_library_function(void *library, const char *name);

#endif
