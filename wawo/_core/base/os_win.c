/* F0 os for Windows: sockets. What is none stands in os_win_base.c.
 *
 * Facts
 * - A socket is overlapped unless it is asked for otherwise, and calls without an OVERLAPPED obey FIONBIO all the same:
 *   so one socket takes both, at once and by the port.
 * - What POSIX calls EPIPE is WSAESHUTDOWN after a shutdown of ours and WSAECONNABORTED or WSAECONNRESET after the end
 *   of the peer. */
#include "os_win.h"

#include "os.h"
#include "os_sockaddr.h"

#ifndef SO_REUSE_UNICASTPORT
#define SO_REUSE_UNICASTPORT 0x3007
#endif
#ifndef TCP_KEEPCNT
#define TCP_KEEPCNT 16
#endif

enum { SEND_MOST = 1 << 30 }; /* of one call: its lengths are 32 bits */

/* ---- the library and its errors ---- */

static BOOL CALLBACK start_once(INIT_ONCE *once, void *arg, void **context)
{
    WSADATA data;

    (void)once, (void)context;
    *(int *)arg = WSAStartup(MAKEWORD(2, 2), &data);
    return *(int *)arg == 0; /* FALSE: the next one tries again */
}

int wawo_os_start(void)
{
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    int err = 0;

    return InitOnceExecuteOnce(&once, start_once, &err, NULL) ? 0 : -err;
}

int wawo_os_code(DWORD error)
{
    switch (error) {
    case WSAEWOULDBLOCK:
    case WSA_IO_PENDING:
        return WAWO_AGAIN;
    case WSAECONNABORTED: /* never of a listener: os_accept asks for itself */
    case ERROR_NETNAME_DELETED:
    case ERROR_CONNECTION_ABORTED:
    case ERROR_GRACEFUL_DISCONNECT:
        return WAWO_ERESET;
    case WSAENETRESET: /* keepalive found nobody */
    case ERROR_SEM_TIMEOUT:
        return WAWO_ETIMEDOUT;
    case WSAESHUTDOWN:
    case WSAEDISCON:
    case ERROR_BROKEN_PIPE:
        return -EPIPE;
    case ERROR_CONNECTION_REFUSED:
    case ERROR_PORT_UNREACHABLE:
        return WAWO_EREFUSED;
    case ERROR_NETWORK_UNREACHABLE:
        return -ENETUNREACH;
    case ERROR_HOST_UNREACHABLE:
        return WAWO_EUNREACH;
    case ERROR_OPERATION_ABORTED:
        return WAWO_ECANCELED;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_WORKING_SET_QUOTA:
    case ERROR_COMMITMENT_LIMIT:
        return WAWO_ENOMEM;
    case ERROR_INVALID_PARAMETER:
    case WSAEINVAL:
        return WAWO_EINVAL;
    case ERROR_INVALID_HANDLE:
        return -ENOTSOCK;
    case WSAEINTR:
        return -EINTR;
    case WSAEBADF:
        return -EBADF;
    case ERROR_ACCESS_DENIED:
    case WSAEACCES:
        return -EACCES;
    case WSAEFAULT:
        return -EFAULT;
    case WSAEMFILE:
    case ERROR_TOO_MANY_OPEN_FILES:
        return -EMFILE;
    default: /* Winsock's values are Python's; what is left has no name there */
        return error > WSABASEERR && error < WSABASEERR + 1000 ? -(int)error : WAWO_EIO;
    }
}

static int last_code(void)
{
    return wawo_os_code((DWORD)WSAGetLastError());
}

/* ---- sockets ---- */

static int unblock(SOCKET s)
{
    u_long on = 1;

    return ioctlsocket(s, (long)FIONBIO, &on) == 0 ? 0 : last_code();
}

/* What becomes a descriptor: not blocking, and no other process's. */
static int own(SOCKET s)
{
    int err;

    if (s == INVALID_SOCKET)
        return last_code();
    (void)SetHandleInformation((HANDLE)s, HANDLE_FLAG_INHERIT, 0);
    err = unblock(s);
    if (err != 0) {
        (void)closesocket(s);
        return err;
    }
    return wawo_os_fd(s);
}

int wawo_os_socket(int family)
{
    int err = wawo_os_start();

    if (err != 0)
        return err;
    if (family != WAWO_AF_INET && family != WAWO_AF_INET6)
        return WAWO_ENOTSUP;
    return own(WSASocketW(family == WAWO_AF_INET ? AF_INET : AF_INET6, SOCK_STREAM, IPPROTO_TCP, NULL, 0,
                          WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT));
}

int wawo_os_bind(int fd, const struct wawo_addr *a)
{
    union wawo_sockaddr u;
    int len = wawo_os_sockaddr(a, &u);

    if (len == 0)
        return WAWO_ENOTSUP;
    return bind(wawo_os_handle(fd), &u.sa, len) == 0 ? 0 : last_code();
}

int wawo_os_bind_source(int fd, const struct wawo_addr *a)
{
    DWORD one = 1;

    if (a->port == 0) /* Windows 10 */
        (void)setsockopt(wawo_os_handle(fd), SOL_SOCKET, SO_REUSE_UNICASTPORT, (const char *)&one, sizeof one);
    return wawo_os_bind(fd, a);
}

int wawo_os_accept(int fd, struct wawo_addr *peer)
{
    union wawo_sockaddr u = {.sa.sa_family = AF_UNSPEC};
    int len = sizeof u;
    SOCKET got = accept(wawo_os_handle(fd), &u.sa, &len);

    if (got == INVALID_SOCKET)
        return WSAGetLastError() == WSAECONNABORTED ? -ECONNABORTED : last_code();
    wawo_os_address(peer, &u.sa, len);
    return own(got);
}

int wawo_os_connect(int fd, const struct wawo_addr *a)
{
    union wawo_sockaddr u;
    int len = wawo_os_sockaddr(a, &u);

    if (len == 0)
        return WAWO_ENOTSUP;
    return connect(wawo_os_handle(fd), &u.sa, len) == 0 ? 0 : last_code();
}

int wawo_os_socket_error(int fd)
{
    int err = 0, len = sizeof err;

    if (getsockopt(wawo_os_handle(fd), SOL_SOCKET, SO_ERROR, (char *)&err, &len) != 0)
        return last_code();
    return err == 0 ? 0 : wawo_os_code((DWORD)err);
}

ptrdiff_t wawo_os_recv(int fd, void *buf, size_t len)
{
    int n = recv(wawo_os_handle(fd), buf, (int)wawo_min_size(len, SEND_MOST), 0);

    return wawo_likely(n >= 0) ? n : last_code();
}

ptrdiff_t wawo_os_send(int fd, const void *buf, size_t len)
{
    int n = send(wawo_os_handle(fd), buf, (int)wawo_min_size(len, SEND_MOST), 0);

    return wawo_likely(n >= 0) ? n : last_code();
}

ptrdiff_t wawo_os_sendv(int fd, const struct wawo_iov *iov, int n, bool more)
{
    WSABUF vector[WAWO_IOV_MAX];
    size_t left = SEND_MOST;
    DWORD sent, count = 0;

    (void)more;
    for (; n > 0 && left > 0; n--, iov++) {
        vector[count].buf = iov->base;
        vector[count].len = (ULONG)wawo_min_size(iov->len, left);
        left -= vector[count++].len;
    }
    if (WSASend(wawo_os_handle(fd), vector, count, &sent, 0, NULL, NULL) != 0)
        return last_code();
    return (ptrdiff_t)sent;
}

int wawo_os_shutdown_write(int fd)
{
    return shutdown(wawo_os_handle(fd), SD_SEND) == 0 ? 0 : last_code();
}

/* SIO_TCP_INFO (Windows 10) has what is under way, which is nothing while the peer's window is shut and all of it waits;
 * Wine 8 has no such call. */
int wawo_os_unacknowledged(int fd)
{
    (void)fd;
    return WAWO_ENOTSUP;
}

int wawo_os_unread(int fd)
{
    u_long bytes;

    if (ioctlsocket(wawo_os_handle(fd), (long)FIONREAD, &bytes) != 0)
        return last_code();
    return (int)wawo_min_size(bytes, INT_MAX);
}

void wawo_os_close_hard(int fd)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};

    (void)setsockopt(wawo_os_handle(fd), SOL_SOCKET, SO_LINGER, (const char *)&hard, sizeof hard);
}

void wawo_os_close(int fd)
{
    (void)closesocket(wawo_os_handle(fd));
}

int wawo_os_local_addr(int fd, struct wawo_addr *a)
{
    union wawo_sockaddr u = {.sa.sa_family = AF_UNSPEC};
    int len = sizeof u;

    if (getsockname(wawo_os_handle(fd), &u.sa, &len) != 0)
        return last_code();
    wawo_os_address(a, &u.sa, len);
    return 0;
}

int wawo_os_peer_addr(int fd, struct wawo_addr *a)
{
    union wawo_sockaddr u = {.sa.sa_family = AF_UNSPEC};
    int len = sizeof u;

    if (getpeername(wawo_os_handle(fd), &u.sa, &len) != 0)
        return last_code();
    wawo_os_address(a, &u.sa, len);
    return 0;
}

int wawo_os_unix_path(int fd, bool peer, char path[WAWO_UNIX_TEXT])
{
    (void)fd, (void)peer;
    memset(path, 0, WAWO_UNIX_TEXT);
    return WAWO_ENOTSUP;
}

int wawo_os_tune_tcp(int fd, bool no_delay, int keepalive_idle_s, int keepalive_interval_s)
{
    SOCKET s = wawo_os_handle(fd);
    BOOL on = TRUE;
    DWORD count = 5, got;
    struct tcp_keepalive alive = {.onoff = 1,
                                  .keepalivetime = (ULONG)keepalive_idle_s * 1000,
                                  .keepaliveinterval = (ULONG)keepalive_interval_s * 1000};

    if (no_delay && setsockopt(s, IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof on) != 0)
        return last_code();
    if (keepalive_idle_s == 0)
        return 0;
    if (WSAIoctl(s, SIO_KEEPALIVE_VALS, &alive, sizeof alive, NULL, 0, &got, NULL, NULL) != 0)
        return last_code();
    (void)setsockopt(s, IPPROTO_TCP, TCP_KEEPCNT, (const char *)&count, sizeof count); /* Windows 10: else 10 */
    return 0;
}

bool wawo_os_accept_transient(int code)
{
    switch (-code) { /* that peer was gone before it was accepted */
    case ECONNABORTED:
    case ECONNRESET:
    case ENOTCONN:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}
