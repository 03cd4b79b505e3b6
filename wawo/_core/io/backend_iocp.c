/* F2 backend over a completion port of Windows.
 *
 * Facts
 * - A socket is in one port for life. Each operation that is posted is answered by the port once, also when it failed or
 *   was cancelled; its OVERLAPPED is the kernel's until then. The key that came with the association stays the same when
 *   the socket gets a new owner here, so who is meant stands in the operation.
 * - A receive of no bytes is answered when there are some, at the end of the stream or by an error, and takes nothing: an
 *   idle connection holds no memory, and a stopped one loses nothing. What there is is then read at once, into the chunk
 *   that all share. A receive that stays posted behind a stop does no harm: it is answered once.
 * - FILE_SKIP_COMPLETION_PORT_ON_SUCCESS is not used: what is answered at once would have to wait for its turn in a queue
 *   of ours, which the port is.
 * - Waits count in milliseconds and may end a little early. */
#include "iocp.h"

#include "../base/alloc.h"
#include "../base/check.h"
#include "poller.h"

enum {
    FILES_BYTES = 2 * 1024 * 1024, /* of files, sent in one turn; shared by those that are ready */
    FILE_LEAST = 64 * 1024,        /* and however many there are: less would not be worth the call */
    WAKE = 1 /* key of what wake() posts */
};
#define DRAIN_NS WAWO_SEC /* what was cancelled is home long before */

/* ---- open and close ---- */

static int find_call(SOCKET s, GUID id, void *call, size_t size)
{
    DWORD n;

    return WSAIoctl(s, SIO_GET_EXTENSION_FUNCTION_POINTER, &id, sizeof id, call, (DWORD)size, &n, NULL, NULL);
}

static int find_calls(struct wawo_iocp_calls *c)
{
    const GUID accept = WSAID_ACCEPTEX, addresses = WSAID_GETACCEPTEXSOCKADDRS, connect = WSAID_CONNECTEX,
               transmit = WSAID_TRANSMITFILE;
    int err = 0, fd = wawo_os_socket(WAWO_AF_INET);
    SOCKET s = wawo_os_handle(fd);

    if (fd < 0)
        return fd;
    if (find_call(s, accept, &c->accept, sizeof c->accept) != 0 ||
        find_call(s, addresses, &c->addresses, sizeof c->addresses) != 0 ||
        find_call(s, connect, &c->connect, sizeof c->connect) != 0 ||
        find_call(s, transmit, &c->transmit, sizeof c->transmit) != 0)
        err = wawo_os_code((DWORD)WSAGetLastError());
    wawo_os_close(fd);
    return err;
}

static int open_port(HANDLE *port, struct wawo_iocp_calls *calls)
{
    int err = wawo_os_start();

    if (err == 0)
        err = find_calls(calls);
    if (err != 0)
        return err;
    *port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    return *port != NULL ? 0 : wawo_os_code(GetLastError());
}

static int iocp_probe(const struct wawo_backend_ops *ops, const char **why)
{
    struct wawo_iocp_calls calls;
    HANDLE port;
    int err = open_port(&port, &calls);

    (void)ops;
    *why = NULL;
    if (err == 0)
        (void)CloseHandle(port);
    return err;
}

static int iocp_open(const struct wawo_backend_ops *ops, const struct wawo_backend_env *env, struct wawo_backend **out)
{
    struct wawo_backend *b = wawo_alloc_zero(sizeof *b);
    unsigned i;
    int err;

    (void)ops;
    if (b == NULL)
        return WAWO_ENOMEM;
    err = open_port(&b->port, &b->calls);
    if (err != 0) {
        wawo_free(b);
        return err;
    }
    b->table = env->table;
    b->heap = env->heap;
    wawo_reader_init(&b->reader, env->heap);
    b->file_share = FILE_LEAST;
    for (i = 0; i < sizeof b->released / sizeof *b->released; i++)
        b->released[i] = -1;
    wawo_slab_init(&b->ops, sizeof(struct wawo_iocp_op), SIZE_MAX);
    *out = b;
    return 0;
}

/* Takes what is in the port: how many, or a negative code. */
static int take_entries(struct wawo_backend *b, int64_t timeout_ns)
{
    DWORD ms = timeout_ns < 0 ? INFINITE : (DWORD)wawo_poller_ms(timeout_ns);

    b->count = b->next = 0;
    if (GetQueuedCompletionStatusEx(b->port, b->entries, WAWO_IOCP_ENTRIES, &b->count, ms, FALSE))
        return (int)b->count;
    b->count = 0;
    return GetLastError() == WAIT_TIMEOUT ? 0 : wawo_os_code(GetLastError());
}

static int complete(struct wawo_backend *b, struct wawo_iocp_op *op, size_t len, struct wawo_done *d);

/* What released socks left behind: false when it does not come home. */
static bool drain(struct wawo_backend *b)
{
    int64_t until = wawo_os_now_ns() + DRAIN_NS;
    struct wawo_done d;

    while ((b->ops.used > 0 || b->accepting > 0) && wawo_os_now_ns() < until) {
        if (b->next == b->count && take_entries(b, 10 * WAWO_MSEC) < 0)
            break;
        for (; b->next < b->count; b->next++)
            if (b->entries[b->next].lpOverlapped != NULL)
                (void)complete(b, (struct wawo_iocp_op *)(void *)b->entries[b->next].lpOverlapped, 0, &d);
    }
    return b->ops.used == 0;
}

static void iocp_close(struct wawo_backend *b)
{
    wawo_reader_fini(&b->reader);
    if (drain(b))
        wawo_slab_fini(&b->ops); /* else it is lost: the kernel may still write there */
    (void)CloseHandle(b->port);
    wawo_free(b);
}

/* ---- operations ---- */

void wawo_iocp_mark(struct wawo_backend *b, struct wawo_sock *s)
{
    if (s->flags & IOCP_CHANGED)
        return;
    s->flags |= IOCP_CHANGED;
    s->next = b->changed;
    b->changed = s;
}

struct wawo_iocp_op *wawo_iocp_take(struct wawo_backend *b, const struct wawo_sock *s, enum wawo_iocp_kind kind)
{
    struct wawo_iocp_op *op = wawo_slab_take(&b->ops);

    if (op != NULL) {
        memset(op, 0, sizeof *op);
        op->id = s->id;
        op->kind = (int32_t)kind;
    }
    return op;
}

void wawo_iocp_give(struct wawo_backend *b, struct wawo_iocp_op *op)
{
    wawo_slab_give(&b->ops, op);
}

int wawo_iocp_result(const struct wawo_sock *s, struct wawo_iocp_op *op)
{
    DWORD n, flags;

    if (wawo_likely(op->ov.Internal == 0))
        return 0;
    if (WSAGetOverlappedResult(wawo_os_handle(s->fd), &op->ov, &n, FALSE, &flags))
        return 0;
    return wawo_os_code((DWORD)WSAGetLastError());
}

static bool in_flight(const struct wawo_sock *s)
{
    return (s->flags & (IOCP_RECEIVING | IOCP_SENDING | IOCP_CONNECTING)) || ((s->armed & IOCP_LISTENS) && s->aux > 0);
}

/* ---- coming and going ---- */

/* Only for what the port refuses: the number may have had a new owner since. */
static bool was_released(struct wawo_backend *b, int fd)
{
    unsigned i;

    for (i = 0; i < sizeof b->released / sizeof *b->released; i++)
        if (b->released[i] == fd) {
            b->released[i] = -1;
            return true;
        }
    return false;
}

static void iocp_attach(struct wawo_backend *b, struct wawo_sock *s, int fd)
{
    u_long on = 1;

    WAWO_CHECK(s->fd < 0 && s->flags == 0);
    s->fd = fd;
    s->want = s->armed = 0;
    s->orders = 0;
    if (CreateIoCompletionPort((HANDLE)wawo_os_handle(fd), b->port, 0, 0) == NULL && !was_released(b, fd))
        s->want = IOCP_UNSERVED; /* it is in another port, or there is no memory */
    (void)ioctlsocket(wawo_os_handle(fd), (long)FIONBIO, &on);
}

static void iocp_detach(struct wawo_backend *b, struct wawo_sock *s, bool reset)
{
    WAWO_CHECK(!(s->flags & IOCP_GONE));
    s->flags |= IOCP_GONE | (reset ? IOCP_RESET : 0u);
    s->orders = 0;
    if (in_flight(s))
        (void)CancelIoEx((HANDLE)wawo_os_handle(s->fd), NULL);
    wawo_iocp_mark(b, s);
}

static int iocp_release(struct wawo_backend *b, struct wawo_sock *s)
{
    struct wawo_sock **link;
    int fd = s->fd;

    if (in_flight(s)) /* a receive of no bytes */
        (void)CancelIoEx((HANDLE)wawo_os_handle(fd), NULL);
    for (link = &b->changed; *link != NULL; link = &(*link)->next)
        if (*link == s) {
            *link = s->next;
            break;
        }
    s->fd = -1;
    s->orders = 0;
    s->flags = 0;
    s->want = s->armed = 0;
    b->released[b->released_next++ % (sizeof b->released / sizeof *b->released)] = fd;
    return fd;
}

static void last_event(struct wawo_sock *s, struct wawo_done *d)
{
    int fd = s->fd;

    s->fd = -1;
    if (s->flags & IOCP_RESET)
        wawo_os_close_hard(fd);
    wawo_os_close(fd);
    *d = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_DETACHED};
}

/* ---- receive ---- */

static void iocp_recv_start(struct wawo_backend *b, struct wawo_sock *s)
{
    s->orders = IOCP_RECV;
    if (!(s->flags & IOCP_RECEIVING))
        wawo_iocp_mark(b, s);
}

static void iocp_recv_stop(struct wawo_backend *b, struct wawo_sock *s)
{
    (void)b;
    s->orders = 0;
}

static int post_recv(struct wawo_backend *b, struct wawo_sock *s)
{
    struct wawo_iocp_op *op = wawo_iocp_take(b, s, WAWO_IOCP_RECV);
    static char nothing;
    WSABUF none = {0, &nothing};
    DWORD flags = 0, error;

    if (op == NULL)
        return WAWO_ENOMEM;
    if (WSARecv(wawo_os_handle(s->fd), &none, 1, NULL, &flags, &op->ov, NULL) != 0) {
        error = (DWORD)WSAGetLastError();
        if (error != WSA_IO_PENDING) {
            wawo_iocp_give(b, op);
            return wawo_os_code(error);
        }
    }
    s->flags |= IOCP_RECEIVING;
    return 0;
}

/* One read; 1 if it made an event. */
static int serve_recv(struct wawo_backend *b, struct wawo_sock *s, int result, struct wawo_done *d)
{
    ptrdiff_t n = wawo_reader_read(&b->reader, s, IOCP_LARGE, d);

    if (wawo_unlikely(result != 0) && (n == WAWO_AGAIN || n == 0))
        n = result; /* told once */
    if (n > 0 || n == WAWO_AGAIN) {
        wawo_iocp_mark(b, s);
        return n > 0;
    }
    *d = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_RECV, .error = (int32_t)n};
    s->orders = 0;
    return 1;
}

/* ---- wait ---- */

/* Posts what is missing on one sock; 1 if it made an event. */
static int apply(struct wawo_backend *b, struct wawo_sock *s, struct wawo_done *d)
{
    enum wawo_done_kind kind = s->orders & IOCP_ACCEPT ? WAWO_DONE_ACCEPTED : WAWO_DONE_RECV;
    int err = 0;

    if (s->flags & IOCP_GONE) {
        if (in_flight(s))
            return 0; /* its last operation does it */
        last_event(s, d);
        return 1;
    }
    if (s->flags & IOCP_ANSWERED) {
        s->flags &= IOCP_FLAGS ^ IOCP_ANSWERED;
        *d = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_CONNECTED, .error = -(int)s->aux};
        return 1;
    }
    if (s->orders == 0)
        return 0;
    if (s->want & IOCP_UNSERVED) {
        err = WAWO_EINVAL;
    } else if (s->orders & IOCP_ACCEPT) {
        err = wawo_iocp_accept_post(b, s);
    } else if (!(s->flags & IOCP_RECEIVING)) {
        err = post_recv(b, s);
    }
    if (err == 0)
        return 0;
    s->orders = 0;
    *d = (struct wawo_done){.id = s->id, .kind = (int32_t)kind, .error = err};
    return 1;
}

static int apply_changes(struct wawo_backend *b, struct wawo_done *done, int max)
{
    struct wawo_sock *s;
    int n = 0;

    while ((s = b->changed) != NULL && n < max) {
        b->changed = s->next;
        s->flags &= IOCP_FLAGS ^ IOCP_CHANGED;
        n += apply(b, s, &done[n]);
    }
    return n;
}

/* An operation came home; 1 if it made an event. */
static int complete(struct wawo_backend *b, struct wawo_iocp_op *op, size_t len, struct wawo_done *d)
{
    struct wawo_sock *s = wawo_table_find(b->table, op->id);
    int n = 0, result;

    switch (op->kind) {
    case WAWO_IOCP_ACCEPT:
        if (s != NULL)
            s->aux--;
        n = wawo_iocp_accepted(b, s, op, d);
        break;
    case WAWO_IOCP_RECV:
        result = s != NULL && (s->orders & IOCP_RECV) ? wawo_iocp_result(s, op) : 0;
        wawo_iocp_give(b, op);
        if (s == NULL)
            return 0;
        s->flags &= IOCP_FLAGS ^ IOCP_RECEIVING;
        if (s->orders & IOCP_RECV)
            n = serve_recv(b, s, result, d);
        break;
    case WAWO_IOCP_CONNECT:
        WAWO_CHECK(s != NULL);
        n = wawo_iocp_connected(b, s, op, d);
        break;
    default:
        WAWO_CHECK(s != NULL);
        if (s->flags & IOCP_GONE) {
            s->flags &= IOCP_FLAGS ^ IOCP_SENDING;
            wawo_iocp_give(b, op);
        } else {
            wawo_iocp_sent(b, s, op, len, d);
            n = 1;
        }
    }
    if (s != NULL && (s->flags & (IOCP_GONE | IOCP_CHANGED)) == IOCP_GONE && !in_flight(s)) {
        last_event(s, d);
        return 1;
    }
    return n;
}

/* Serves what was taken from the port; *woken: it was more than that. */
static int serve(struct wawo_backend *b, struct wawo_done *done, int max, bool *woken)
{
    struct wawo_iocp_op *op;
    OVERLAPPED_ENTRY *e;
    int n = 0;

    while ((op = b->due) != NULL && n < max) {
        b->due = op->next;
        n += complete(b, op, 0, &done[n]);
    }
    while (b->next < b->count && n < max && b->reader.bytes < WAWO_TURN_BYTES) {
        e = &b->entries[b->next++];
        if (e->lpOverlapped == NULL)
            *woken = true;
        else
            n += complete(b, (struct wawo_iocp_op *)(void *)e->lpOverlapped, e->dwNumberOfBytesTransferred, &done[n]);
    }
    return n;
}

static int iocp_wait(struct wawo_backend *b, struct wawo_done *done, int max, int64_t timeout_ns)
{
    int64_t left = timeout_ns, until = timeout_ns > 0 ? wawo_os_now_ns() + timeout_ns : 0;
    bool woken = false;
    int got, n;

    wawo_reader_turn(&b->reader);
    for (;;) {
        n = apply_changes(b, done, max);
        if (b->next == b->count) {
            got = take_entries(b, n > 0 || b->changed != NULL || b->due != NULL ? 0 : left);
            if (got < 0)
                return got;
            b->file_share = wawo_max_size(FILES_BYTES / (got > 0 ? (size_t)got : 1), FILE_LEAST);
        }
        n += serve(b, done + n, max - n, &woken);
        if (n > 0 || woken || timeout_ns == 0)
            return n;
        /* Nothing for the floors above: an operation that nobody waits for, or an early end. */
        if (timeout_ns > 0 && (left = until - wawo_os_now_ns()) <= 0)
            return 0;
    }
}

static void iocp_wake(struct wawo_backend *b)
{
    while (!PostQueuedCompletionStatus(b->port, 0, WAKE, NULL)) /* no memory: it must not be lost */
        wawo_thread_yield();
}

const struct wawo_backend_ops wawo_backend_iocp = {.name = "iocp",
                                                   .probe = iocp_probe,
                                                   .open = iocp_open,
                                                   .close = iocp_close,
                                                   .attach = iocp_attach,
                                                   .detach = iocp_detach,
                                                   .release = iocp_release,
                                                   .accept_start = wawo_iocp_accept_start,
                                                   .accept_stop = wawo_iocp_accept_stop,
                                                   .connect = wawo_iocp_connect,
                                                   .recv_start = iocp_recv_start,
                                                   .recv_stop = iocp_recv_stop,
                                                   .send = wawo_iocp_send,
                                                   .send_soon = wawo_iocp_send,
                                                   .shutdown = wawo_backend_shutdown,
                                                   .wait = iocp_wait,
                                                   .wake = iocp_wake,
                                                   .clock = wawo_backend_clock,
                                                   .unread = wawo_backend_unread};
