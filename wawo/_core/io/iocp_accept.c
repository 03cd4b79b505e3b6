/* F2 backend over a completion port: how connections come about.
 *
 * Facts
 * - AcceptEx wants the socket made in advance, and tells nothing of it until SO_UPDATE_ACCEPT_CONTEXT. With no room for
 *   data it answers as soon as there is a connection.
 * - A connection that waits in the backlog is given to whatever AcceptEx is posted. One that is cancelled may have been
 *   answered before.
 * - A connection that is reset before it is accepted may never be told of, or as an error.
 * - ConnectEx wants a bound socket; shutdown and getpeername want SO_UPDATE_CONNECT_CONTEXT.
 * - A refused connect is tried again by Windows itself for a second or two, on loopback too. */
#include "iocp.h"

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/os_sockaddr.h"

enum { ACCEPTS = 16 }; /* posted for one listener: more wait in its backlog */
_Static_assert((int)ACCEPTS <= (int)WAWO_ACCEPT_BURST, "all of them may be answered in one wait, after a stop too");
enum { ADDRESS = sizeof(struct sockaddr_storage) + 16 }; /* what AcceptEx writes for each end */

struct accepting {
    struct wawo_iocp_op op;
    int fd;
    char addresses[2 * ADDRESS];
};

void wawo_iocp_accept_start(struct wawo_backend *b, struct wawo_sock *s)
{
    struct sockaddr_storage u;
    int len = sizeof u;

    if (!(s->armed & IOCP_LISTENS)) {
        s->armed = IOCP_LISTENS;
        s->aux = 0;
        if (getsockname(wawo_os_handle(s->fd), (struct sockaddr *)&u, &len) == 0 && u.ss_family == AF_INET6)
            s->want |= IOCP_INET6;
    }
    s->orders = IOCP_ACCEPT;
    wawo_iocp_mark(b, s);
}

void wawo_iocp_accept_stop(struct wawo_backend *b, struct wawo_sock *s)
{
    (void)b;
    s->orders = 0;
    if ((s->armed & IOCP_LISTENS) && s->aux > 0)
        (void)CancelIoEx((HANDLE)wawo_os_handle(s->fd), NULL);
}

static void accepting_free(struct wawo_backend *b, struct accepting *a)
{
    b->accepting--;
    if (a->fd >= 0)
        wawo_os_close(a->fd);
    wawo_free(a);
}

static int post_one(struct wawo_backend *b, struct wawo_sock *s)
{
    struct accepting *a = wawo_alloc_zero(sizeof *a);
    SOCKET fresh;
    DWORD n, error;

    if (a == NULL)
        return WAWO_ENOMEM;
    b->accepting++;
    a->op.id = s->id;
    a->op.kind = WAWO_IOCP_ACCEPT;
    fresh = WSASocketW(s->want & IOCP_INET6 ? AF_INET6 : AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0,
                       WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    a->fd = fresh != INVALID_SOCKET ? wawo_os_fd(fresh) : -1;
    if (a->fd >= 0 && b->calls.accept(wawo_os_handle(s->fd), fresh, a->addresses, 0, ADDRESS, ADDRESS, &n, &a->op.ov))
        error = 0; /* the answer is in the port all the same */
    else
        error = (DWORD)WSAGetLastError();
    if (error == 0 || error == WSA_IO_PENDING) {
        s->aux++;
        return 0;
    }
    accepting_free(b, a);
    return wawo_os_code(error);
}

int wawo_iocp_accept_post(struct wawo_backend *b, struct wawo_sock *s)
{
    int tries, err = 0;

    for (tries = 0; s->aux < ACCEPTS && tries < 2 * ACCEPTS; tries++) {
        err = post_one(b, s);
        if (err != 0 && !wawo_os_accept_transient(err)) /* else that peer gave up before we came */
            break;
    }
    return s->aux > 0 ? 0 : err;
}

/* Makes an ordinary socket of what AcceptEx has filled in; 0 or why not. */
static int adopt(const struct wawo_backend *b, const struct wawo_sock *s, struct accepting *a, struct wawo_addr *peer)
{
    SOCKET listener = wawo_os_handle(s->fd), fresh = wawo_os_handle(a->fd);
    struct sockaddr *local = NULL, *remote = NULL;
    int local_len = 0, remote_len = 0;

    if (setsockopt(fresh, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (const char *)&listener, sizeof listener) != 0)
        return wawo_os_code((DWORD)WSAGetLastError());
    b->calls.addresses(a->addresses, 0, ADDRESS, ADDRESS, &local, &local_len, &remote, &remote_len);
    wawo_os_address(peer, remote, remote_len);
    return 0;
}

int wawo_iocp_accepted(struct wawo_backend *b, struct wawo_sock *s, struct wawo_iocp_op *op, struct wawo_done *d)
{
    struct accepting *a = wawo_container_of(op, struct accepting, op);
    int err;

    if (s == NULL || (s->flags & IOCP_GONE)) {
        accepting_free(b, a);
        return 0;
    }
    if (s->orders & IOCP_ACCEPT)
        wawo_iocp_mark(b, s); /* another one in its place */
    err = wawo_iocp_result(s, op);
    if (err == 0)
        err = adopt(b, s, a, &d->peer);
    d->id = s->id;
    d->kind = WAWO_DONE_ACCEPTED;
    d->error = err;
    d->fd = err == 0 ? a->fd : -1;
    if (err == 0)
        a->fd = -1;
    accepting_free(b, a);
    if (err == 0)
        return 1;
    if (!(s->orders & IOCP_ACCEPT) || err == WAWO_ECANCELED || wawo_os_accept_transient(err))
        return 0;
    wawo_iocp_accept_stop(b, s); /* the next one would say the same at once */
    return 1;
}

/* ---- connect ---- */

static int post_connect(struct wawo_backend *b, struct wawo_sock *s, const struct wawo_addr *to, OVERLAPPED *ov)
{
    struct wawo_addr any = {.family = to->family}, bound;
    union wawo_sockaddr u;
    int len = wawo_os_sockaddr(to, &u), err = 0;
    DWORD error;

    if (len == 0)
        return WAWO_ENOTSUP;
    if (s->want & IOCP_UNSERVED)
        return WAWO_EINVAL;
    if (wawo_os_local_addr(s->fd, &bound) != 0 || bound.port == 0)
        err = wawo_os_bind_source(s->fd, &any);
    if (err != 0 && err != WAWO_EINVAL) /* it is bound, to a port that is chosen later */
        return err;
    if (b->calls.connect(wawo_os_handle(s->fd), &u.sa, len, NULL, 0, NULL, ov))
        return 0;
    error = (DWORD)WSAGetLastError();
    return error == WSA_IO_PENDING ? 0 : wawo_os_code(error);
}

void wawo_iocp_connect(struct wawo_backend *b, struct wawo_sock *s, const struct wawo_addr *to)
{
    struct wawo_iocp_op *op = wawo_iocp_take(b, s, WAWO_IOCP_CONNECT);

    if (op == NULL) {
        s->aux = ENOMEM;
        s->flags |= IOCP_ANSWERED;
        wawo_iocp_mark(b, s);
        return;
    }
    s->flags |= IOCP_CONNECTING;
    op->error = post_connect(b, s, to, &op->ov);
    if (op->error == 0)
        return;
    op->next = b->due; /* answered from wait(), like every other */
    b->due = op;
}

int wawo_iocp_connected(struct wawo_backend *b, struct wawo_sock *s, struct wawo_iocp_op *op, struct wawo_done *d)
{
    int err = op->error;

    s->flags &= IOCP_FLAGS ^ IOCP_CONNECTING;
    if (s->flags & IOCP_GONE) {
        wawo_iocp_give(b, op);
        return 0;
    }
    if (err == 0)
        err = wawo_iocp_result(s, op);
    if (err == 0 && setsockopt(wawo_os_handle(s->fd), SOL_SOCKET, SO_UPDATE_CONNECT_CONTEXT, NULL, 0) != 0)
        err = wawo_os_code((DWORD)WSAGetLastError());
    wawo_iocp_give(b, op);
    *d = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_CONNECTED, .error = err};
    return 1;
}
