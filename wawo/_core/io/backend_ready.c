/* F2 backend over readiness: the one adapter from a poller to the completion table. Try the operation now; if it would
 * block, park it as an order; when the poller reports the fd, try the very same operation again. Interest changes are
 * applied once, just before the wait, so starting and stopping within a turn costs no system call. */
#include "../base/config.h"

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/err.h"
#include "accept.h"
#include "backend.h"
#include "poller.h"
#include "reader.h"
#include "writer.h"

enum { ORDER_RECV = 1, ORDER_SEND = 2, ORDER_ACCEPT = 4, ORDER_CONNECT = 8 };
enum {
    FLAG_CHANGED = 1, /* on the change list */
    FLAG_GONE = 2,    /* detached: its last event is due */
    FLAG_RESET = 4,   /* close with RST */
    FLAG_ANSWERED = 8, /* connect: the answer in aux is due */
    FLAG_LARGE = 16,   /* its last read was large: give it room */
    FLAGS = 31
};
enum { FIRED = 512 };

struct wawo_backend {
    const struct wawo_poller_ops *ops;
    struct wawo_poller *poller;
    const struct wawo_table *table;
    struct wawo_reader reader;
    struct wawo_writer writer;
    struct wawo_sock *changed; /* newest first */
    int fired_count, fired_next;
    struct wawo_fired fired[FIRED];
};

static int ready_probe(const struct wawo_backend_ops *ops, const char **why)
{
    const struct wawo_poller_ops *po = ops->arg;
    struct wawo_poller *p;
    int err = po->open(&p);

    *why = NULL;
    if (err == 0)
        po->close(p);
    return err;
}

static void go_on(void *arg, struct wawo_sock *s);

static int ready_open(const struct wawo_backend_ops *ops, const struct wawo_backend_env *env, struct wawo_backend **out)
{
    struct wawo_backend *b = wawo_alloc(sizeof *b);
    int err;

    if (b == NULL)
        return WAWO_ENOMEM;
    b->ops = ops->arg;
    b->table = env->table;
    wawo_reader_init(&b->reader, env->heap);
    wawo_writer_init(&b->writer, env, go_on, b);
    b->changed = NULL;
    b->fired_count = b->fired_next = 0;
    err = b->ops->open(&b->poller);
    if (err != 0) {
        wawo_free(b);
        return err;
    }
    *out = b;
    return 0;
}

static void ready_close(struct wawo_backend *b)
{
    wawo_reader_fini(&b->reader);
    b->ops->close(b->poller);
    wawo_free(b);
}

static void mark(struct wawo_backend *b, struct wawo_sock *s)
{
    if (s->flags & FLAG_CHANGED)
        return;
    s->flags |= FLAG_CHANGED;
    s->next = b->changed;
    b->changed = s;
}

/* Derives the wished readiness from the orders. */
static void rethink(struct wawo_backend *b, struct wawo_sock *s)
{
    unsigned want = (s->orders & (ORDER_RECV | ORDER_ACCEPT) ? WAWO_READABLE : 0u) |
                    (s->orders & (ORDER_SEND | ORDER_CONNECT) ? WAWO_WRITABLE : 0u);

    s->want = want & 3u;
    if (s->want != s->armed)
        mark(b, s);
}

static void order(struct wawo_backend *b, struct wawo_sock *s, unsigned set, unsigned clear)
{
    s->orders = ((s->orders | set) & ~clear) & 0x7fu;
    rethink(b, s);
}

static void ready_attach(struct wawo_backend *b, struct wawo_sock *s, int fd)
{
    (void)b;
    WAWO_CHECK(s->fd < 0 && s->flags == 0);
    s->fd = fd;
    s->want = s->armed = 0;
    s->orders = 0;
}

static void ready_detach(struct wawo_backend *b, struct wawo_sock *s, bool reset)
{
    WAWO_CHECK(!(s->flags & FLAG_GONE));
    s->flags |= FLAG_GONE | (reset ? FLAG_RESET : 0u);
    s->orders = 0;
    s->reading = 0;
    s->want = 0;
    mark(b, s);
}

static int ready_release(struct wawo_backend *b, struct wawo_sock *s)
{
    struct wawo_sock **link;
    int fd = s->fd;

    if (s->armed != 0)
        (void)b->ops->set(b->poller, fd, s->id, s->armed, 0);
    for (link = &b->changed; *link != NULL; link = &(*link)->next)
        if (*link == s) {
            *link = s->next;
            break;
        }
    s->fd = -1;
    s->orders = 0;
    s->flags = 0;
    s->want = s->armed = 0;
    return fd;
}

static void ready_accept_start(struct wawo_backend *b, struct wawo_sock *s)
{
    if (s->aux == 0)
        s->aux = 1;
    order(b, s, ORDER_ACCEPT, 0);
}

static void ready_accept_stop(struct wawo_backend *b, struct wawo_sock *s)
{
    order(b, s, 0, ORDER_ACCEPT);
}

static void ready_connect(struct wawo_backend *b, struct wawo_sock *s, const struct wawo_addr *to)
{
    int err = wawo_os_connect(s->fd, to);

    if (err == WAWO_AGAIN) {
        order(b, s, ORDER_CONNECT, 0);
        return;
    }
    s->aux = (unsigned)-err & 0xffu; /* answered from wait(), like every other */
    s->flags |= FLAG_ANSWERED;
    mark(b, s);
}

static void ready_recv_start(struct wawo_backend *b, struct wawo_sock *s)
{
    order(b, s, ORDER_RECV, 0);
}

static void ready_recv_stop(struct wawo_backend *b, struct wawo_sock *s)
{
    order(b, s, 0, ORDER_RECV);
}

static void go_on(void *arg, struct wawo_sock *s)
{
    order(arg, s, ORDER_SEND, 0);
}

static ptrdiff_t ready_send(struct wawo_backend *b, struct wawo_sock *s)
{
    ptrdiff_t n;
    bool waits;

    if ((s->orders & ORDER_SEND) || s->reading)
        return 0; /* the kernel is full, or the disk busy */
    n = wawo_writer_begin(&b->writer, s, &waits);
    if (wawo_unlikely(waits))
        order(b, s, ORDER_SEND, 0);
    return n;
}

static ptrdiff_t ready_send_bytes(struct wawo_backend *b, struct wawo_sock *s, const void *data, size_t len)
{
    ptrdiff_t n;

    (void)b;
    WAWO_CHECK(s->out.head == NULL);
    n = wawo_os_send(s->fd, data, len);
    return n == WAWO_AGAIN || n == WAWO_ENOBUFS ? 0 : n;
}

/* Applies what changed since the last wait; emits the last events of what was detached. */
static int apply_changes(struct wawo_backend *b, struct wawo_done *done, int max)
{
    struct wawo_sock *s;
    int fd, n = 0;

    while ((s = b->changed) != NULL && n < max) {
        b->changed = s->next;
        s->flags &= FLAGS ^ FLAG_CHANGED;
        if (s->want != s->armed) {
            int err = b->ops->set(b->poller, s->fd, s->id, s->armed, s->want);

            if (err == 0) {
                s->armed = s->want;
            } else if (!(s->flags & FLAG_GONE)) { /* as `refused` */
                done[n++] = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_RECV, .error = err};
                s->orders = 0;
                s->want = s->armed;
            }
        }
        if (s->flags & FLAG_GONE) {
            fd = s->fd;
            if (b->ops->forget != NULL)
                b->ops->forget(b->poller, fd);
            s->fd = -1; /* before the close: a fork in between must not close a stranger in the child */
            if (s->flags & FLAG_RESET)
                wawo_os_close_hard(fd);
            wawo_os_close(fd);
            done[n++] = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_DETACHED};
        } else if (s->flags & FLAG_ANSWERED) {
            s->flags &= FLAGS ^ FLAG_ANSWERED;
            done[n++] = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_CONNECTED, .error = -(int)s->aux};
        }
    }
    return n;
}

/* One read; 1 if it made an event. */
static int serve_recv(struct wawo_backend *b, struct wawo_sock *s, struct wawo_done *d)
{
    ptrdiff_t n = wawo_reader_read(&b->reader, s, FLAG_LARGE, d);

    if (wawo_likely(n > 0))
        return 1;
    if (n == WAWO_AGAIN)
        return 0;
    *d = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_RECV, .error = (int32_t)n};
    order(b, s, 0, ORDER_RECV);
    return 1;
}

static int serve_accept(struct wawo_backend *b, struct wawo_sock *s, struct wawo_done *done, int max)
{
    int n = wawo_accept_some(s, done, max);

    if (n > 0 && done[n - 1].error != 0)
        order(b, s, 0, ORDER_ACCEPT);
    return n;
}

/* The connection cannot be served: no memory for the poller's entry. Its orders are gone, and nothing of it is armed:
 * who orders again is told to the poller again. */
static int refused(struct wawo_backend *b, struct wawo_sock *s, int error, struct wawo_done *d)
{
    s->armed = 0;
    order(b, s, 0, s->orders);
    *d = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_RECV, .error = error};
    return 1;
}

/* Tries again what was parked on one fd; the count of events made, at most 2. */
static int serve(struct wawo_backend *b, struct wawo_sock *s, const struct wawo_fired *f, struct wawo_done *d)
{
    unsigned events = f->events;
    bool waits;
    int n = 0;

    if (wawo_likely(s->orders == ORDER_RECV && (events & WAWO_READABLE)))
        return serve_recv(b, s, d);
    if (wawo_unlikely(events == WAWO_REFUSED))
        return refused(b, s, f->error, d);
    if (s->orders & ORDER_CONNECT) {
        order(b, s, 0, ORDER_CONNECT);
        d[n++] = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_CONNECTED, .error = wawo_os_socket_error(s->fd)};
        return n;
    }
    if ((s->orders & ORDER_SEND) && (events & WAWO_WRITABLE)) {
        n += wawo_writer_resume(&b->writer, s, d, &waits);
        if (!waits)
            order(b, s, 0, ORDER_SEND);
    }
    if ((s->orders & ORDER_RECV) && (events & WAWO_READABLE))
        n += serve_recv(b, s, d + n);
    return n;
}

static int ready_wait(struct wawo_backend *b, struct wawo_done *done, int max, int64_t timeout_ns)
{
    struct wawo_sock *s;
    struct wawo_fired *f;
    int got, n = apply_changes(b, done, max);

    wawo_reader_turn(&b->reader);
    wawo_writer_turn(&b->writer);
    if (b->fired_next == b->fired_count) {
        b->fired_next = b->fired_count = 0;
        got = b->ops->wait(b->poller, b->fired, FIRED, n > 0 || b->changed != NULL ? 0 : timeout_ns);
        if (got < 0)
            return got;
        b->fired_count = got;
        wawo_writer_share(&b->writer, got);
    }
    while (b->fired_next < b->fired_count && n + 2 <= max && b->reader.bytes < WAWO_TURN_BYTES) {
        f = &b->fired[b->fired_next++];
        if (b->fired_next < b->fired_count)
            wawo_prefetch(wawo_table_find(b->table, f[1].tag));
        s = wawo_table_find(b->table, f->tag);
        if (wawo_unlikely(s == NULL || s->orders == 0))
            continue; /* closed, or paused, since the wait */
        if ((s->orders & ORDER_ACCEPT) && f->events != WAWO_REFUSED)
            n += serve_accept(b, s, done + n, max - n);
        else
            n += serve(b, s, f, done + n);
    }
    return n;
}

static void ready_wake(struct wawo_backend *b)
{
    b->ops->wake(b->poller);
}

#define READY(name_, poller_)                                                                                          \
    {.name = (name_),                                                                                                  \
     .probe = ready_probe,                                                                                             \
     .open = ready_open,                                                                                               \
     .close = ready_close,                                                                                             \
     .attach = ready_attach,                                                                                           \
     .detach = ready_detach,                                                                                           \
     .release = ready_release,                                                                                         \
     .accept_start = ready_accept_start,                                                                               \
     .accept_stop = ready_accept_stop,                                                                                 \
     .connect = ready_connect,                                                                                         \
     .recv_start = ready_recv_start,                                                                                   \
     .recv_stop = ready_recv_stop,                                                                                     \
     .send = ready_send,                                                                                               \
     .send_soon = ready_send,                                                                                          \
     .send_bytes = ready_send_bytes,                                                                                   \
     .shutdown = wawo_backend_shutdown,                                                                                \
     .wait = ready_wait,                                                                                               \
     .wake = ready_wake,                                                                                               \
     .unread = wawo_backend_unread,                                                                                    \
     .clock = wawo_backend_clock,                                                                                      \
     .arg = (poller_)}

#if defined(__linux__)
const struct wawo_backend_ops wawo_backend_epoll = READY("epoll", &wawo_poller_epoll);
#endif
#if defined(WAWO_KQUEUE)
const struct wawo_backend_ops wawo_backend_kqueue = READY("kqueue", &wawo_poller_kqueue);
#endif
const struct wawo_backend_ops wawo_backend_poll = READY("poll", &wawo_poller_poll);
