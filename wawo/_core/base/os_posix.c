/* F0 os for POSIX systems. What is different is named at the top; what is missing is made of what there is. */
#include "config.h"

#include "alloc.h"
#include "err.h"
#include "os.h"
#include "os_sockaddr.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/sockios.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/syscall.h>
#elif defined(__APPLE__)
#include <sys/random.h>
#endif

/* Two readings of one clock. CLOCK_MONOTONIC of macOS counts microseconds, and has no coarse one beside it. */
#if defined(__APPLE__)
#define CLOCK_FINE CLOCK_UPTIME_RAW
#define CLOCK_COARSE CLOCK_UPTIME_RAW_APPROX
#else
#define CLOCK_FINE CLOCK_MONOTONIC
#if defined(__linux__)
#define CLOCK_COARSE CLOCK_MONOTONIC_COARSE
#elif defined(CLOCK_MONOTONIC_FAST)
#define CLOCK_COARSE CLOCK_MONOTONIC_FAST
#else
#define CLOCK_COARSE CLOCK_MONOTONIC
#endif
#endif

/* How a send raises no SIGPIPE: macOS has it as an option of the socket alone (settle). */
#if defined(__APPLE__)
#define SEND_FLAGS 0
#else
#define SEND_FLAGS MSG_NOSIGNAL
#endif

#ifndef MAP_NORESERVE /* where memory is never reserved */
#define MAP_NORESERVE 0
#endif

_Static_assert(sizeof(struct wawo_iov) == sizeof(struct iovec), "wawo_iov is passed as iovec");
_Static_assert(offsetof(struct wawo_iov, len) == offsetof(struct iovec, iov_len), "wawo_iov is passed as iovec");
_Static_assert(WAWO_UNIX_MAX < sizeof(((struct sockaddr_un *)0)->sun_path), "a path ends with a NUL");

/* ---- sockets ---- */

#if defined(__APPLE__)
/* What other systems do as they make a descriptor: non-blocking, closed by exec; a fork in between inherits it. */
static int settle(int fd)
{
    int one = 1, err;

    (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &one, sizeof one); /* not of a pipe */
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    err = -errno;
    (void)close(fd);
    return err;
}
#endif

int wawo_os_socket(int family)
{
    int domain = family == WAWO_AF_INET ? AF_INET : family == WAWO_AF_INET6 ? AF_INET6 : AF_UNIX;
#if defined(__APPLE__)
    int fd = socket(domain, SOCK_STREAM, 0);

    return fd >= 0 ? settle(fd) : -errno;
#else
    int fd = socket(domain, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    return fd >= 0 ? fd : -errno;
#endif
}

int wawo_os_bind(int fd, const struct wawo_addr *a)
{
    union wawo_sockaddr u;
    socklen_t len = wawo_os_sockaddr(a, &u);

    return bind(fd, &u.sa, len) == 0 ? 0 : -errno;
}

int wawo_os_bind_source(int fd, const struct wawo_addr *a)
{
#ifdef IP_BIND_ADDRESS_NO_PORT
    int one = 1;

    if (a->port == 0)
        (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
#endif
    return wawo_os_bind(fd, a);
}

int wawo_os_accept(int fd, struct wawo_addr *peer)
{
    union wawo_sockaddr u = {.sa.sa_family = AF_UNSPEC};
    socklen_t len;
    int got;

    do {
        len = sizeof u;
#if defined(__APPLE__)
        got = accept(fd, &u.sa, &len);
#else
        got = accept4(fd, &u.sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
#endif
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return errno == EWOULDBLOCK ? WAWO_AGAIN : -errno;
    wawo_os_address(peer, &u.sa, len);
#if defined(__APPLE__)
    return settle(got);
#else
    return got;
#endif
}

int wawo_os_connect(int fd, const struct wawo_addr *a)
{
    union wawo_sockaddr u;
    socklen_t len = wawo_os_sockaddr(a, &u);

    if (connect(fd, &u.sa, len) == 0)
        return 0;
    if (errno == EAGAIN) /* the backlog of a unix socket is full: nothing is under way */
        return WAWO_ENOBUFS;
    /* An interrupted connect goes on in the background, as one under way does. */
    return errno == EINPROGRESS || errno == EINTR ? WAWO_AGAIN : -errno;
}

int wawo_os_socket_error(int fd)
{
    int err = 0;
    socklen_t len = sizeof err;

    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
        return -errno;
    return -err;
}

/* The two calls of every message. In a process with threads glibc wraps them in the bookkeeping of thread
 * cancellation, two locked instructions each; the loops are never cancelled. Sanitizers want to see the wrappers. */
#if defined(__linux__) && !defined(WAWO_DEBUG)
#define plain_recv(fd, buf, len) syscall(SYS_recvfrom, fd, buf, len, 0, NULL, NULL)
#define plain_send(fd, buf, len) syscall(SYS_sendto, fd, buf, len, SEND_FLAGS, NULL, 0)
#else
#define plain_recv(fd, buf, len) recv(fd, buf, len, 0)
#define plain_send(fd, buf, len) send(fd, buf, len, SEND_FLAGS)
#endif

ptrdiff_t wawo_os_recv(int fd, void *buf, size_t len)
{
    ssize_t n;

    do {
        n = plain_recv(fd, buf, len);
    } while (wawo_unlikely(n < 0) && errno == EINTR);
    return wawo_likely(n >= 0) ? n : -errno;
}

ptrdiff_t wawo_os_send(int fd, const void *buf, size_t len)
{
    ssize_t n;

    do {
        n = plain_send(fd, buf, len);
    } while (wawo_unlikely(n < 0) && errno == EINTR);
    return wawo_likely(n >= 0) ? n : -errno;
}

ptrdiff_t wawo_os_sendv(int fd, const struct wawo_iov *iov, int n, bool more)
{
#ifdef MSG_MORE
    int flags = SEND_FLAGS | (more ? MSG_MORE : 0);
#else
    int flags = SEND_FLAGS | (more ? 0 : 0);
#endif
    struct msghdr msg;
    ssize_t sent;

    memset(&msg, 0, sizeof msg);
    msg.msg_iov = (struct iovec *)(void *)iov;
    msg.msg_iovlen = (unsigned short)n; /* an int or a size_t, as the system likes */
    do {
        sent = sendmsg(fd, &msg, flags);
    } while (wawo_unlikely(sent < 0) && errno == EINTR);
    return wawo_likely(sent >= 0) ? sent : -errno;
}

int wawo_os_shutdown_write(int fd)
{
    return shutdown(fd, SHUT_WR) == 0 ? 0 : -errno;
}

int wawo_os_unacknowledged(int fd)
{
#if defined(SIOCOUTQ)
    int bytes;

    return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : -errno;
#elif defined(FIONWRITE)
    int bytes;

    return ioctl(fd, FIONWRITE, &bytes) == 0 ? bytes : -errno;
#elif defined(SO_NWRITE)
    int bytes;
    socklen_t len = sizeof bytes;

    return getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &len) == 0 ? bytes : -errno;
#else
    (void)fd;
    return WAWO_ENOTSUP;
#endif
}

int wawo_os_unread(int fd)
{
    int bytes;

    return ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : -errno;
}

void wawo_os_close_hard(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

void wawo_os_close(int fd)
{
    (void)close(fd); /* EINTR: the descriptor is gone all the same on Linux; a retry could close a stranger */
}

int wawo_os_local_addr(int fd, struct wawo_addr *a)
{
    union wawo_sockaddr u = {.sa.sa_family = AF_UNSPEC};
    socklen_t len = sizeof u;

    if (getsockname(fd, &u.sa, &len) != 0)
        return -errno;
    wawo_os_address(a, &u.sa, len);
    return 0;
}

int wawo_os_peer_addr(int fd, struct wawo_addr *a)
{
    union wawo_sockaddr u = {.sa.sa_family = AF_UNSPEC};
    socklen_t len = sizeof u;

    if (getpeername(fd, &u.sa, &len) != 0)
        return -errno;
    wawo_os_address(a, &u.sa, len);
    return 0;
}

int wawo_os_unix_path(int fd, bool peer, char path[WAWO_UNIX_TEXT])
{
    const size_t offset = offsetof(struct sockaddr_un, sun_path);
    union wawo_sockaddr u = {.sa.sa_family = AF_UNSPEC};
    socklen_t len = sizeof u;

    memset(path, 0, WAWO_UNIX_TEXT);
    if ((peer ? getpeername(fd, &u.sa, &len) : getsockname(fd, &u.sa, &len)) != 0)
        return -errno;
    if (len > offset)
        memcpy(path, u.un.sun_path, wawo_min_size(len - offset, WAWO_UNIX_TEXT - 1));
#if defined(__linux__)
    if (len > offset && path[0] == '\0')
        path[0] = '@';
#endif
    return 0;
}

#if defined(__APPLE__)
#define TCP_KEEPIDLE TCP_KEEPALIVE
#endif

static int set_number(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof value) == 0)
        return 0;
#if defined(WAWO_BSD)
    if (errno == EINVAL) /* the peer has reset it already: the next read tells */
        return 0;
#endif
    return -errno;
}

int wawo_os_tune_tcp(int fd, bool no_delay, int keepalive_idle_s, int keepalive_interval_s)
{
    int err = no_delay ? set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1) : 0;

    if (err != 0 || keepalive_idle_s == 0)
        return err;
    err = set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
#if defined(TCP_KEEPIDLE) /* else the times are the system's alone */
    if (err == 0)
        err = set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s);
    if (err == 0)
        err = set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, keepalive_interval_s);
    if (err == 0)
        err = set_number(fd, IPPROTO_TCP, TCP_KEEPCNT, 5);
#else
    (void)keepalive_interval_s;
#endif
    return err;
}

bool wawo_os_accept_transient(int code)
{
    switch (-code) { /* accept(2): errors of the new connection are passed on here */
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
        return true;
    default:
        return false;
    }
}

/* ---- wake-ups ---- */

enum { WAKEFD_READ = 128 }; /* bytes; an eventfd gives all that it has as 8 of them */

#if defined(__linux__)
int wawo_wakefd_open(struct wawo_wakefd *w)
{
    w->rd = w->wr = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->rd >= 0 ? 0 : -errno;
}
#else
int wawo_wakefd_open(struct wawo_wakefd *w)
{
    int ends[2], err = 0;

#if defined(__APPLE__)
    if (pipe(ends) != 0)
        return -errno;
    ends[0] = settle(ends[0]);
    ends[1] = settle(ends[1]);
    if (ends[0] < 0 || ends[1] < 0) {
        err = ends[0] < 0 ? ends[0] : ends[1];
        wawo_os_close(ends[0] < 0 ? ends[1] : ends[0]);
    }
#else
    err = pipe2(ends, O_NONBLOCK | O_CLOEXEC) == 0 ? 0 : -errno;
#endif
    w->rd = err == 0 ? ends[0] : -1;
    w->wr = err == 0 ? ends[1] : -1;
    return err;
}
#endif

void wawo_wakefd_close(struct wawo_wakefd *w)
{
    wawo_os_close(w->rd);
    if (w->wr != w->rd)
        wawo_os_close(w->wr);
    w->rd = w->wr = -1;
}

void wawo_wakefd_signal(const struct wawo_wakefd *w)
{
    uint64_t one = 1;
    ssize_t n;

    do {
        n = write(w->wr, &one, sizeof one);
    } while (n < 0 && errno == EINTR);
}

void wawo_wakefd_drain(const struct wawo_wakefd *w)
{
    uint64_t counts[WAKEFD_READ / sizeof(uint64_t)];
    ssize_t n;

    do {
        n = read(w->rd, counts, sizeof counts);
    } while ((n < 0 && errno == EINTR) || n == WAKEFD_READ);
}

/* ---- errors ---- */

const char *wawo_os_error_text(int error)
{
    return strerror(error);
}

/* ---- time ---- */

static int64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * WAWO_SEC + ts.tv_nsec;
}

int64_t wawo_os_now_ns(void)
{
    return clock_ns(CLOCK_FINE);
}

int64_t wawo_os_now_coarse_ns(void)
{
    return clock_ns(CLOCK_COARSE);
}

/* ---- random bytes ---- */

int wawo_os_random(void *p, size_t len)
{
    return getentropy(p, len) == 0 ? 0 : -errno;
}

/* ---- memory maps ---- */

void *wawo_os_map(size_t size)
{
    void *p;

    if (wawo_alloc_fault())
        return NULL;
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p != MAP_FAILED ? p : NULL;
}

void wawo_os_unmap(void *p, size_t size)
{
    (void)munmap(p, size);
}

/* ---- libraries ---- */

void *wawo_os_library(const char *path)
{
    return dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
}

wawo_os_function wawo_os_library_function(void *library, const char *name)
{
    void *found = dlsym(library, name);
    wawo_os_function function;

    memcpy(&function, &found, sizeof function); /* ISO C has no cast for it, POSIX wants it to work */
    return function;
}
