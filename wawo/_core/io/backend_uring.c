/* F2 backend: io_uring.
 *
 * Facts. A request that is armed stays with the kernel until its last answer is home, the one without CQE_MORE; it holds
 * the file meanwhile, so that closing the descriptor would end nothing. A multishot receive takes a buffer only when
 * bytes are there, and ends by itself at the end of the stream, with an error, and with ENOBUFS when no buffer is lent.
 * Answers of one ring come in the order in which buffers were filled, hence reads can be packed one behind the other
 * (PBUF_INC, since 6.12). A poll is edge triggered once it is armed, but looks when it is. So is a multishot receive, and
 * where bytes come together with a reset, or on some kernels with the end of the stream, it tells of the bytes alone.
 * Hence who has received is looked at once more, a few milliseconds later and many of them in one call. (A poll that
 * watches each of them for that end was tried: it cost 3 % of the CPU of a small message.) With DEFER_TASKRUN the work of
 * the sockets is done on the loop's thread and nowhere but in its wait, a bounded number of them at a time.
 *
 * So: receiving is one standing request for each sock and no call. What is sent at the end of a turn goes out as requests
 * that wait for nothing and are not answered (io/uring_send.c), what somebody wants sent at once by the ordinary call; what
 * the kernel does not take waits for a poll. So do connecting and accepting: a multishot accept has no bounds and tells no
 * peer's address. What was asked of the kernel leaves together, with the call that waits. */
#include "../base/config.h"

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/err.h"
#include "accept.h"
#include "backend_uring.h"

enum { ARM_RECV = 1, ARM_POLL = 2 }; /* in `armed`: the kernel has it; in `want`: it was asked to end it */
enum {
    SQ_ENTRIES = 128, /* so few that they stay in the cache */
    CQ_ENTRIES = 4096,
    HUNGRY_TURN = 64,       /* those that found no buffer and try again in one turn, at most */
    TOGETHER_US = 50,       /* a wait for several answers, at most */
    TOGETHER_LEAST = 4,     /* fewer than that are no reason to wait longer */
    TOGETHER_PART = 8       /* of the socks, so many at most */
};
#define LOOK_IDLE_NS (5 * WAWO_MSEC)  /* before it sleeps for long, the loop looks once more at those */
#define PACE_NS (2 * WAWO_MSEC) /* it is counted over that time at least */
#define LOOK_BUSY_NS (50 * WAWO_MSEC) /* and so often when it does not sleep */

static struct wawo_sock *sock_of(const struct wawo_backend *b, uint64_t tagged)
{
    return wawo_table_find(b->table, (tagged & ~URING_OF_MASK) | (uint64_t)b->table->loop << URING_OF_SHIFT);
}

/* ---- open and close ---- */

static void uring_close(struct wawo_backend *b)
{
    wawo_uring_close(&b->ring);
    wawo_uring_buffers_close(&b->buffers);
    if (b->wakefd.rd >= 0)
        wawo_wakefd_close(&b->wakefd);
    wawo_free(b);
}

static int open_rings(struct wawo_backend *b, struct wawo_heap *heap, const char **why)
{
    int err = wawo_uring_open(&b->ring, SQ_ENTRIES, CQ_ENTRIES, why);

    if (err != 0)
        return err;
    err = wawo_uring_buffers_open(&b->buffers, &b->ring, heap);
    if (err != 0) {
        wawo_uring_close(&b->ring);
        if (err == WAWO_EINVAL)
            *why = "this kernel's io_uring knows no rings of buffers";
    }
    return err;
}

static void go_on(void *arg, struct wawo_sock *s);

static int uring_open(const struct wawo_backend_ops *ops, const struct wawo_backend_env *env, struct wawo_backend **out)
{
    struct wawo_backend *b = wawo_alloc_zero(sizeof *b);
    const char *why;
    int err;

    (void)ops;
    if (b == NULL)
        return WAWO_ENOMEM;
    b->table = env->table;
    b->wakefd.rd = -1;
    wawo_writer_init(&b->writer, env, go_on, b);
    err = open_rings(b, env->heap, &why);
    if (err != 0) {
        wawo_free(b);
        return err;
    }
    err = wawo_wakefd_open(&b->wakefd);
    if (err != 0) {
        b->wakefd.rd = -1;
        uring_close(b);
        return err;
    }
    *out = b;
    return 0;
}

static int uring_probe(const struct wawo_backend_ops *ops, const char **why)
{
    struct wawo_backend *b = wawo_alloc_zero(sizeof *b);
    int err;

    (void)ops;
    *why = NULL;
    if (b == NULL)
        return WAWO_ENOMEM;
    err = open_rings(b, NULL, why);
    if (err == 0) {
        wawo_uring_close(&b->ring);
        wawo_uring_buffers_close(&b->buffers);
    }
    wawo_free(b);
    return err;
}

/* ---- orders: noted, and told to the kernel with the next wait ---- */

void wawo_backend_mark(struct wawo_backend *b, struct wawo_sock *s)
{
    if (s->flags & URING_CHANGED)
        return;
    s->flags |= URING_CHANGED;
    s->next = NULL;
    if (b->changed == NULL)
        b->changed = s;
    else
        b->changed_last->next = s;
    b->changed_last = s;
}

void wawo_backend_order(struct wawo_backend *b, struct wawo_sock *s, unsigned set, unsigned clear)
{
    s->orders = ((s->orders | set) & ~clear) & 0x7fu;
    if (!(s->orders & URING_ORDER_RECV) != !(s->armed & ARM_RECV) ||
        !(s->orders & URING_ORDERS_POLL) != !(s->armed & ARM_POLL))
        wawo_backend_mark(b, s);
}

static void go_on(void *arg, struct wawo_sock *s)
{
    wawo_backend_order(arg, s, URING_ORDER_SEND, 0);
}

static void uring_attach(struct wawo_backend *b, struct wawo_sock *s, int fd)
{
    b->attached++;
    WAWO_CHECK(s->fd < 0 && s->flags == 0);
    s->fd = fd;
    s->want = s->armed = 0;
    s->orders = 0;
}

static void uring_detach(struct wawo_backend *b, struct wawo_sock *s, bool reset)
{
    WAWO_CHECK(!(s->flags & URING_GONE));
    b->attached--;
    s->flags &= URING_FLAGS ^ URING_ANSWERED;
    s->flags |= URING_GONE | (reset ? URING_RESET : 0u);
    s->orders = 0;
    s->reading = 0;
    wawo_backend_mark(b, s);
}

/* Answers that are on the way find no sock, or one that has nothing armed. */
static int uring_release(struct wawo_backend *b, struct wawo_sock *s)
{
    struct wawo_sock *before = NULL, **link;
    int fd = s->fd;

    b->attached--;
    if (wawo_unlikely(s->flags & URING_SENDING))
        wawo_uring_send_hurry(b);
    if (s->armed & ARM_RECV)
        wawo_uring_cancel_now(&b->ring, wawo_uring_tag(s->id, URING_OF_RECV));
    if (s->armed & ARM_POLL)
        wawo_uring_cancel_now(&b->ring, wawo_uring_tag(s->id, URING_OF_POLL));
    for (link = &b->changed; *link != NULL; before = *link, link = &before->next)
        if (*link == s) {
            *link = s->next;
            if (b->changed_last == s)
                b->changed_last = before;
            break;
        }
    s->fd = -1;
    s->orders = 0;
    s->flags = 0;
    s->want = s->armed = 0;
    return fd;
}

static void uring_accept_start(struct wawo_backend *b, struct wawo_sock *s)
{
    if (s->aux == 0)
        s->aux = 1;
    wawo_backend_order(b, s, URING_ORDER_ACCEPT, 0);
}

static void uring_accept_stop(struct wawo_backend *b, struct wawo_sock *s)
{
    wawo_backend_order(b, s, 0, URING_ORDER_ACCEPT);
}

static void uring_connect(struct wawo_backend *b, struct wawo_sock *s, const struct wawo_addr *to)
{
    int err = wawo_os_connect(s->fd, to);

    if (err == WAWO_AGAIN) {
        wawo_backend_order(b, s, URING_ORDER_CONNECT, 0);
        return;
    }
    s->aux = (unsigned)-err & 0xffu; /* answered from wait(), like every other */
    s->flags |= URING_ANSWERED;
    wawo_backend_mark(b, s);
}

static void uring_recv_start(struct wawo_backend *b, struct wawo_sock *s)
{
    wawo_backend_order(b, s, URING_ORDER_RECV, 0);
}

static void uring_recv_stop(struct wawo_backend *b, struct wawo_sock *s)
{
    wawo_backend_order(b, s, 0, URING_ORDER_RECV);
}

/* ---- requests ---- */

/* false, here and below: the kernel takes no more requests now. */
static bool arm_recv(struct wawo_backend *b, struct wawo_sock *s)
{
    struct uring_sqe *e = wawo_uring_request(&b->ring);

    if (e == NULL)
        return false;
    e->opcode = URING_OP_RECV;
    e->flags = URING_SQE_BUFFER_SELECT;
    e->fd = s->fd;
    /* Trying first would fail mostly, and need a buffer for that. */
    e->ioprio = s->flags & (URING_HUNGRY | URING_ENDED) ? 0 : URING_RECVSEND_POLL_FIRST;
    if (wawo_unlikely(s->aux != 0))
        e->len = 1u << s->aux; /* a read of its own each time: a standing one knows no limit */
    else if (wawo_likely(!(s->flags & URING_ENDED)))
        e->ioprio |= URING_RECV_MULTISHOT;
    e->user_data = wawo_uring_tag(s->id, URING_OF_RECV);
    s->armed |= ARM_RECV;
    s->flags &= URING_FLAGS ^ URING_HUNGRY;
    if (wawo_unlikely(!b->receives)) {
        b->receives = true;
        (void)wawo_uring_buffers_fill(&b->buffers);
    }
    return true;
}

static bool arm_poll(struct wawo_backend *b, struct wawo_sock *s)
{
    struct uring_sqe *e = wawo_uring_request(&b->ring);

    if (e == NULL)
        return false;
    e->opcode = URING_OP_POLL_ADD;
    e->fd = s->fd;
    e->op_flags = s->orders & URING_ORDER_ACCEPT ? POLLIN : POLLOUT;
    e->user_data = wawo_uring_tag(s->id, URING_OF_POLL);
    s->armed |= ARM_POLL;
    return true;
}

/* Asks the kernel to end a request of the sock. */
static bool disarm(struct wawo_backend *b, const struct wawo_sock *s, unsigned of, unsigned of_end)
{
    struct uring_sqe *e = wawo_uring_request(&b->ring);

    if (e == NULL)
        return false;
    e->opcode = URING_OP_ASYNC_CANCEL;
    e->flags = URING_SQE_CQE_SKIP_SUCCESS;
    e->fd = -1;
    e->addr = wawo_uring_tag(s->id, of);
    e->user_data = wawo_uring_tag(s->id, of_end);
    return true;
}

/* Makes what is armed what is ordered. */
static bool tell_kernel(struct wawo_backend *b, struct wawo_sock *s)
{
    bool recv = s->orders & URING_ORDER_RECV, poll = s->orders & URING_ORDERS_POLL;

    if (recv && !(s->armed & ARM_RECV)) {
        if (!arm_recv(b, s))
            return false;
    } else if ((s->armed & ~s->want & ARM_RECV) && (!recv || (s->flags & URING_ENDED))) {
        if (!disarm(b, s, URING_OF_RECV, URING_OF_RECV_END))
            return false;
        s->want |= ARM_RECV;
    }
    if (poll && !(s->armed & ARM_POLL))
        return arm_poll(b, s);
    if (!poll && (s->armed & ~s->want & ARM_POLL)) {
        if (!disarm(b, s, URING_OF_POLL, URING_OF_POLL_END))
            return false;
        s->want |= ARM_POLL;
    }
    return true;
}

/* Of one that is gone: closes it when nothing of it is in flight and nothing is left to be asked. 1: its last event. */
static int end_gone(struct wawo_sock *s, struct wawo_done *d)
{
    int fd = s->fd;

    if (s->armed != 0 || (s->flags & (URING_CHANGED | URING_SENDING)))
        return 0;
    s->fd = -1; /* before the close: a fork in between must not close a stranger in the child */
    if (s->flags & URING_RESET)
        wawo_os_close_hard(fd);
    wawo_os_close(fd);
    *d = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_DETACHED};
    return 1;
}

static struct wawo_sock *next_changed(struct wawo_backend *b)
{
    struct wawo_sock *s = b->changed;

    b->changed = s->next;
    s->flags &= URING_FLAGS ^ URING_CHANGED;
    return s;
}

/* Asks the kernel for what changed since the last wait; emits what is due without it. */
static int apply_changes(struct wawo_backend *b, struct wawo_done *done, int max)
{
    struct wawo_sock *s = NULL, *last = b->changed_last;
    bool fed = !b->receives || wawo_uring_buffers_fill(&b->buffers);
    int n = 0, hungry = 0;

    while (b->changed != NULL && s != last && n < max) {
        if (wawo_unlikely((b->changed->flags & (URING_GONE | URING_SENDING)) == (URING_GONE | URING_SENDING)))
            wawo_uring_send_hurry(b);
        s = next_changed(b);
        if ((s->flags & URING_HUNGRY) && (s->orders & URING_ORDER_RECV)) {
            if (!fed) {
                s->flags &= URING_FLAGS ^ URING_HUNGRY;
                wawo_backend_order(b, s, 0, URING_ORDER_RECV);
                done[n++] = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_RECV, .error = WAWO_ENOBUFS};
            } else if (hungry++ >= HUNGRY_TURN) {
                wawo_backend_mark(b, s);
                continue;
            }
        }
        if (!tell_kernel(b, s)) {
            wawo_backend_mark(b, s);
            break;
        }
        if (s->flags & URING_GONE) {
            n += end_gone(s, &done[n]);
        } else if (s->flags & URING_ANSWERED) {
            s->flags &= URING_FLAGS ^ URING_ANSWERED;
            done[n++] = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_CONNECTED, .error = -(int)s->aux};
        }
    }
    if (hungry > 0)
        wawo_uring_buffers_more(&b->buffers);
    return n;
}

/* ---- ends that were not told ---- */

/* Looks at those that have received: who has met its end may not have been told. */
static void look_again(struct wawo_backend *b, int64_t now)
{
    unsigned i, n = 0;
    struct wawo_sock *s;
    int got;

    b->looked_ns = now;
    for (i = 0; i < b->fresh_count; i++) {
        s = wawo_table_find(b->table, b->fresh[i]);
        if (s == NULL || !(s->flags & URING_FRESH))
            continue;
        s->flags &= URING_FLAGS ^ URING_FRESH;
        if ((s->orders & URING_ORDER_RECV) && (s->armed & ~s->want & ARM_RECV)) {
            b->fresh[n] = s->id;
            b->looked[n++] = (struct pollfd){.fd = s->fd, .events = POLLRDHUP};
        }
    }
    b->fresh_count = 0;
    got = n > 0 ? poll(b->looked, n, 0) : 0;
    if (got == 0)
        return;
    for (i = 0; i < n; i++) {
        if (got > 0 && b->looked[i].revents == 0)
            continue; /* without an answer, each of them may have */
        s = wawo_table_find(b->table, b->fresh[i]);
        s->flags |= URING_ENDED;
        wawo_backend_mark(b, s);
    }
}

/* It has received: an end that came with that is not always told. */
static void note_fresh(struct wawo_backend *b, struct wawo_sock *s)
{
    if (s->flags & URING_FRESH)
        return;
    if (wawo_unlikely(b->fresh_count == WAWO_URING_FRESH))
        look_again(b, wawo_os_now_coarse_ns());
    s->flags |= URING_FRESH;
    b->fresh[b->fresh_count++] = s->id;
}

/* ---- answers ---- */

/* An answer without bytes, after which nothing is armed. 1 if it made an event. */
static int recv_ended(struct wawo_backend *b, struct wawo_sock *s, int res, struct wawo_done *d)
{
    if (res == WAWO_ENOBUFS)
        s->flags |= URING_HUNGRY;
    if (res == WAWO_ENOBUFS || res == WAWO_ECANCELED || res == WAWO_AGAIN || res == -EINTR || res == WAWO_ENOMEM) {
        if (s->orders & URING_ORDER_RECV)
            wawo_backend_mark(b, s); /* once more */
        return 0;
    }
    /* An end of stream that nobody waits for any more is met again; an error is told only once. */
    if (res == 0 && !(s->orders & URING_ORDER_RECV))
        return 0;
    wawo_backend_order(b, s, 0, URING_ORDER_RECV);
    *d = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_RECV, .error = res};
    return 1;
}

static int recv_answer(struct wawo_backend *b, const struct uring_cqe *c, struct wawo_done *d, size_t *bytes)
{
    size_t len = c->res > 0 ? (size_t)c->res : 0;
    struct wawo_chunk *chunk = NULL;
    const uint8_t *ptr = NULL;
    struct wawo_sock *s;

    if (wawo_likely(c->flags & URING_CQE_BUFFER))
        ptr = wawo_uring_buffers_took(&b->buffers, c->flags, len, &chunk);
    s = sock_of(b, c->user_data);
    if (wawo_unlikely(s == NULL || !(s->armed & ARM_RECV))) {
        if (chunk != NULL)
            wawo_chunk_drop(chunk);
        return 0;
    }
    if (wawo_unlikely(!(c->flags & URING_CQE_MORE))) {
        s->armed &= ARM_POLL;
        s->want &= ARM_POLL;
    }
    if (wawo_unlikely(s->flags & URING_GONE)) {
        if (chunk != NULL)
            wawo_chunk_drop(chunk);
        return end_gone(s, d);
    }
    if (wawo_unlikely(chunk == NULL))
        return recv_ended(b, s, c->res, d);
    if (wawo_unlikely(!(s->armed & ARM_RECV)) && (s->orders & URING_ORDER_RECV))
        wawo_backend_mark(b, s);
    if (!(c->flags & URING_CQE_SOCK_NONEMPTY))
        note_fresh(b, s);
    d->id = s->id;
    d->kind = WAWO_DONE_RECV;
    d->error = 0;
    d->chunk = chunk;
    d->ptr = ptr;
    d->len = len;
    *bytes += len;
    return 1;
}

static int poll_answer(struct wawo_backend *b, const struct uring_cqe *c, struct wawo_done *done, int max)
{
    struct wawo_sock *s = sock_of(b, c->user_data);
    int n = 0;

    if (s == NULL || !(s->armed & ARM_POLL))
        return 0;
    s->armed &= ARM_RECV;
    s->want &= ARM_RECV;
    if (s->flags & URING_GONE)
        return end_gone(s, done);
    wawo_backend_mark(b, s); /* what is still ordered is armed anew */
    if (c->res == WAWO_ECANCELED)
        return 0;
    if (s->orders & URING_ORDER_ACCEPT) {
        n = wawo_accept_some(s, done, max);
        if (n > 0 && done[n - 1].error != 0)
            wawo_backend_order(b, s, 0, URING_ORDER_ACCEPT);
    } else if (s->orders & URING_ORDER_CONNECT) {
        wawo_backend_order(b, s, 0, URING_ORDER_CONNECT);
        done[n++] = (struct wawo_done){.id = s->id, .kind = WAWO_DONE_CONNECTED, .error = wawo_os_socket_error(s->fd)};
    } else if (s->orders & URING_ORDER_SEND) {
        n = wawo_uring_send_resume(b, s, done);
    }
    return n;
}

/* The order to end a request: told only when it failed. */
static void end_answer(struct wawo_backend *b, const struct uring_cqe *c, unsigned arm)
{
    struct wawo_sock *s = sock_of(b, c->user_data);

    if (c->res != -EALREADY || s == NULL)
        return; /* it is ending already */
    s->want &= ~arm & 3u;
    wawo_backend_mark(b, s);
}

static int answer(struct wawo_backend *b, const struct uring_cqe *c, struct wawo_done *done, int max, size_t *bytes)
{
    switch (c->user_data >> URING_OF_SHIFT & ((1u << WAWO_ID_LOOP_BITS) - 1)) {
    case URING_OF_RECV:
        return recv_answer(b, c, done, bytes);
    case URING_OF_SEND: /* known already */
        return 0;
    case URING_OF_POLL:
        return poll_answer(b, c, done, max);
    case URING_OF_RECV_END:
        end_answer(b, c, ARM_RECV);
        return 0;
    case URING_OF_POLL_END:
        end_answer(b, c, ARM_POLL);
        return 0;
    default: /* the wake-up */
        b->watching = c->flags & URING_CQE_MORE;
        return 0;
    }
}

/* An eventfd answers once for each write, and need never be read. */
static void watch_wakes(struct wawo_backend *b)
{
    struct uring_sqe *e = wawo_uring_request(&b->ring);

    if (e == NULL)
        return;
    e->opcode = URING_OP_POLL_ADD;
    e->fd = b->wakefd.rd;
    e->len = URING_POLL_ADD_MULTI;
    e->op_flags = POLLIN;
    e->user_data = wawo_uring_tag(0, URING_OF_WAKE);
    b->watching = true;
}

/* How many answers are worth a wait: to fall asleep and be woken costs the loop more than a small message does. So where
 * many come from many socks, it wakes for those that should come within TOGETHER_US; not for most that there could be, for
 * whoever waits for us would have to wait, too. */
static unsigned worth_a_wait(const struct wawo_backend *b)
{
    unsigned n = (unsigned)wawo_min_size((size_t)b->pace * TOGETHER_US / 1000, b->attached / TOGETHER_PART);

    return n < TOGETHER_LEAST ? 1 : n;
}

static int wait_some(struct wawo_backend *b, int64_t timeout_ns)
{
    return wawo_uring_wait(&b->ring, timeout_ns, worth_a_wait(b), TOGETHER_US);
}

static void keep_pace(struct wawo_backend *b)
{
    int64_t now = wawo_os_now_coarse_ns(), passed = now - b->pace_ns;

    b->pace_count += (unsigned)wawo_uring_answers(&b->ring);
    if (passed >= PACE_NS) {
        b->pace = (unsigned)(b->pace_count * (uint64_t)WAWO_MSEC / (uint64_t)passed);
        b->pace_count = 0;
        b->pace_ns = now;
    }
}

/* Waits for an answer, and looks again at the fresh ones when it is time. 0 or why not. */
static int wait_fresh(struct wawo_backend *b, int64_t timeout_ns)
{
    int64_t now = wawo_os_now_coarse_ns();
    int err;

    if (b->fresh_count == WAWO_URING_FRESH || now - b->looked_ns >= LOOK_BUSY_NS) {
        look_again(b, now);
    } else if (timeout_ns < 0 || timeout_ns > LOOK_IDLE_NS) {
        err = wait_some(b, LOOK_IDLE_NS);
        if (err != 0 || wawo_uring_answer(&b->ring) != NULL || b->fresh_count == 0)
            return err;
        look_again(b, now + LOOK_IDLE_NS);
        timeout_ns -= timeout_ns > 0 ? LOOK_IDLE_NS : 0;
    }
    return wait_some(b, b->changed != NULL ? 0 : timeout_ns);
}

static int ask_and_take(struct wawo_backend *b, struct wawo_done *done, int max, int64_t timeout_ns)
{
    int n = wawo_uring_send_back(b, done, max), err; /* before the last word on any of them */
    const struct uring_cqe *c;
    size_t bytes = 0;

    n += apply_changes(b, done + n, max - n);
    if (wawo_uring_answer(&b->ring) == NULL) {
        if (n > 0 || b->back_count > 0 || b->changed != NULL || !b->watching)
            timeout_ns = 0;
        err = b->fresh_count > 0 ? wait_fresh(b, timeout_ns) : wait_some(b, timeout_ns);
        if (err != 0)
            return err;
        keep_pace(b);
        wawo_writer_share(&b->writer, wawo_uring_answers(&b->ring));
        wawo_uring_send_settle(b);
    } else if (b->send_count > 0) {
        wawo_uring_send_hurry(b);
    }
    n += wawo_uring_send_back(b, done + n, max - n);
    while (n + WAWO_ACCEPT_BURST <= max && bytes < WAWO_TURN_BYTES && (c = wawo_uring_answer(&b->ring)) != NULL) {
        n += answer(b, c, done + n, WAWO_ACCEPT_BURST, &bytes);
        wawo_uring_pass(&b->ring);
        c = wawo_uring_answer(&b->ring);
        if (c != NULL)
            wawo_prefetch(sock_of(b, c->user_data));
    }
    return n;
}

static int uring_wait(struct wawo_backend *b, struct wawo_done *done, int max, int64_t timeout_ns)
{
    int n;

    if (wawo_unlikely(!b->ring.enabled)) {
        n = wawo_uring_enable(&b->ring);
        if (n != 0)
            return n;
    }
    if (wawo_unlikely(!b->watching))
        watch_wakes(b);
    wawo_writer_turn(&b->writer);
    n = ask_and_take(b, done, max, timeout_ns);
    if (n == 0 && b->changed != NULL) /* requests that followed from the answers: mostly they are answered at once */
        n = ask_and_take(b, done, max, 0);
    return n;
}

static void uring_wake(struct wawo_backend *b)
{
    wawo_wakefd_signal(&b->wakefd);
}

/* What has come and was not handed up is somebody's: whose, is not worth the search. */
static bool uring_unread(struct wawo_backend *b, const struct wawo_sock *s)
{
    return wawo_uring_answer(&b->ring) != NULL || wawo_os_unread(s->fd) > 0;
}

const struct wawo_backend_ops wawo_backend_uring = {.name = "uring",
                                                    .probe = uring_probe,
                                                    .open = uring_open,
                                                    .close = uring_close,
                                                    .attach = uring_attach,
                                                    .detach = uring_detach,
                                                    .release = uring_release,
                                                    .accept_start = uring_accept_start,
                                                    .accept_stop = uring_accept_stop,
                                                    .connect = uring_connect,
                                                    .recv_start = uring_recv_start,
                                                    .recv_stop = uring_recv_stop,
                                                    .send = wawo_uring_send,
                                                    .send_soon = wawo_uring_send_soon,
                                                    .shutdown = wawo_uring_send_shutdown,
                                                    .wait = uring_wait,
                                                    .wake = uring_wake,
                                                    .unread = uring_unread,
                                                    .clock = wawo_backend_clock,
                                                    .on_request = true};
