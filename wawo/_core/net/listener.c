/* F4 listener: the one way in. Accepted sockets go to the least loaded loop, or stay where SO_REUSEPORT put them. */
#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "endpoint.h"
#include "net.h"
#include "preamble.h"

#define BACKOFF_MIN_NS (10 * WAWO_MSEC)
#define BACKOFF_MAX_NS WAWO_SEC

/* An accepted socket on its way to another loop. */
struct adopted {
    struct wawo_call call;
    struct wawo_branch *branch; /* booked */
    struct wawo_addr peer;
    int fd;
};

static inline struct wawo_loop *loop_of(const struct wawo_listener *l)
{
    return l->branch->net->loop;
}

/* ---- accepted ones ---- */

/* Who is counted when a connection is booked; behind a proxy that is known later. */
static const struct wawo_addr *counted(const struct wawo_endpoint *e, const struct wawo_addr *peer)
{
    return e->options.proxy_protocol ? NULL : peer;
}

/* The booking came to nothing. */
static void give_up(struct wawo_branch *b, int fd, const struct wawo_addr *peer)
{
    wawo_os_close(fd);
    wawo_endpoint_leave(b->endpoint, counted(b->endpoint, peer));
    wawo_branch_unbook(b);
}

void wawo_listener_welcome(struct wawo_conn *c)
{
    wawo_table_publish(&wawo_net_of(c)->loop->table, c->share->id, c->share);
    wawo_bump(&c->branch->stats.accepts, 1);
}

/* Frees one that was never opened nor told of. */
static void forget(struct wawo_conn *c)
{
    wawo_share_advance(c->share, WAWO_SHARE_CLOSED);
    c->state = WAWO_CONN_GONE;
    c->unseen = true;
    wawo_conn_free(c);
}

static void establish(struct wawo_branch *b, int fd, const struct wawo_addr *peer)
{
    struct wawo_loop *loop = b->net->loop;
    struct wawo_share *s = wawo_share_new(loop, b->endpoint);
    struct wawo_conn *c = NULL;
    struct wawo_addr local;

    memset(&local, 0, sizeof local);
    (void)wawo_os_local_addr(fd, &local); /* a peer that is gone again has none: noticed at the first read */
    if (s != NULL)
        s->id = wawo_table_open(&loop->table);
    if (s != NULL && s->id != 0) {
        c = wawo_conn_new(b, s);
        if (c == NULL)
            wawo_table_close(&loop->table, s->id);
    }
    if (s != NULL)
        wawo_share_drop(s); /* the connection holds it now */
    if (c == NULL) {
        wawo_bump(&b->stats.rejected, 1);
        give_up(b, fd, peer);
        return;
    }
    s->remote = *peer;
    s->local = local;
    if (b->endpoint->options.proxy_protocol) {
        wawo_preamble_start(c, fd);
        return;
    }
    c->counted = b->endpoint->census.limit > 0;
    if (wawo_conn_open(c, fd, peer, &local, WAWO_ON_ACCEPT) != 0) {
        wawo_os_close(fd);
        wawo_bump(&b->stats.rejected, 1);
        forget(c);
        return;
    }
    wawo_listener_welcome(c);
}

static void adopt(struct wawo_call *call, struct wawo_loop *loop, bool dead)
{
    struct adopted *a = wawo_container_of(call, struct adopted, call);

    (void)loop;
    wawo_net_room(a->branch->net);
    if (dead || (a->branch->stopping && wawo_endpoint_over(a->branch->endpoint)))
        give_up(a->branch, a->fd, &a->peer);
    else
        establish(a->branch, a->fd, &a->peer);
    wawo_free(a);
}

/* false: there is no memory for the way, and the socket is closed. */
static bool hand_over(struct wawo_branch *b, int fd, const struct wawo_addr *peer)
{
    struct adopted *a = wawo_alloc(sizeof *a);

    if (a != NULL) {
        *a = (struct adopted){.call = {.run = adopt}, .branch = b, .peer = *peer, .fd = fd};
        if (wawo_loop_post(b->net->loop, &a->call))
            return true;
        wawo_free(a);
    }
    wawo_os_close(fd);
    wawo_endpoint_leave(b->endpoint, counted(b->endpoint, peer));
    wawo_branch_cancel(b);
    return false;
}

/* ---- pausing ---- */

static void pause_accepting(struct wawo_listener *l, bool retry)
{
    struct wawo_loop *loop = loop_of(l);

    loop->ops->accept_stop(loop->backend, &l->sock);
    l->paused = true;
    wawo_bump(&l->branch->stats.accept_pauses, 1);
    if (!retry)
        return; /* goes on when a connection ends */
    l->backoff_ns = l->backoff_ns == 0 ? BACKOFF_MIN_NS : l->backoff_ns * 2;
    if (l->backoff_ns > BACKOFF_MAX_NS)
        l->backoff_ns = BACKOFF_MAX_NS;
    wawo_timer_set(&loop->wheel, &l->retry, loop->now_ns + l->backoff_ns);
}

static void retry_fired(struct wawo_timer *t)
{
    wawo_listener_resume(wawo_container_of(t, struct wawo_listener, retry));
}

/* ---- events ---- */

static void reject(struct wawo_listener *l, int fd)
{
    wawo_os_close(fd);
    wawo_bump(&l->branch->stats.rejected, 1);
}

/* Gives an accepted socket to its loop, or closes it; false: the endpoint is full and the socket still the caller's. */
static bool place(struct wawo_listener *l, int fd, const struct wawo_addr *peer)
{
    struct wawo_branch *b = l->branch;
    struct wawo_endpoint *e = b->endpoint;
    struct wawo_loop *to = l->stays ? loop_of(l) : wawo_threads_least_loaded(e->threads);
    struct wawo_branch *target = wawo_endpoint_branch(e, to);
    int err = wawo_endpoint_book(e, target, counted(e, peer));

    if (wawo_unlikely(err == WAWO_ECLOSED)) {
        target = b; /* another branch may be done */
        err = wawo_endpoint_book_late(e, b, counted(e, peer));
    }
    if (err == WAWO_ENOBUFS)
        return false;
    if (err == WAWO_EREFUSED)
        wawo_bump(&b->stats.rejected_address, 1);
    if (err != 0)
        reject(l, fd);
    else if (target == b)
        establish(b, fd, peer);
    else if (!hand_over(target, fd, peer))
        wawo_bump(&b->stats.rejected, 1);
    return true;
}

static void accepted(struct wawo_listener *l, int fd, const struct wawo_addr *peer)
{
    const struct wawo_options *o = &l->branch->endpoint->options;

    l->backoff_ns = 0;
    if (l->waiting_count > 0 || !place(l, fd, peer)) {
        if (!o->close_when_full && l->waiting_count < WAWO_ACCEPT_BURST)
            l->waiting[l->waiting_count++] = (struct wawo_waiting){fd, *peer};
        else
            reject(l, fd);
    }
    if (o->close_when_full || l->paused)
        return;
    /* Room may have come meanwhile from another loop: whoever waits needs the pause, which that loop's call ends. */
    if (l->waiting_count > 0 || wawo_endpoint_count(l->branch->endpoint) >= o->max_connections)
        pause_accepting(l, false);
}

void wawo_listener_resume(struct wawo_listener *l)
{
    struct wawo_loop *loop = loop_of(l);
    struct wawo_waiting w;

    if (!l->paused || l->branch->stopping || l->sock.fd < 0)
        return;
    while (l->waiting_count > 0) {
        w = l->waiting[0]; /* taken out first: one that fails makes room, and comes here again */
        memmove(l->waiting, l->waiting + 1, --l->waiting_count * sizeof w);
        if (place(l, w.fd, &w.peer))
            continue;
        memmove(l->waiting + 1, l->waiting, l->waiting_count++ * sizeof w);
        l->waiting[0] = w;
        return; /* full again */
    }
    wawo_timer_cancel(&loop->wheel, &l->retry);
    l->paused = false;
    loop->ops->accept_start(loop->backend, &l->sock);
}

void wawo_listener_done(struct wawo_listener *l, struct wawo_done *d)
{
    if (d->kind == WAWO_DONE_DETACHED) {
        struct wawo_branch *b = l->branch;
        struct wawo_listener **link;

        wawo_table_close(&b->net->loop->table, l->sock.id);
        for (link = &b->listeners; *link != l; link = &(*link)->next)
            continue;
        *link = l->next;
        wawo_free(l);
        wawo_branch_unlist(b);
        return;
    }
    if (d->error != 0) {
        if (!l->branch->stopping)
            pause_accepting(l, true);
    } else if (l->branch->stopping) { /* it came before the stop did */
        if (!place(l, d->fd, &d->peer))
            reject(l, d->fd);
    } else {
        accepted(l, d->fd, &d->peer);
    }
}

void wawo_listener_stop(struct wawo_listener *l)
{
    struct wawo_loop *loop = loop_of(l);

    wawo_timer_cancel(&loop->wheel, &l->retry);
    while (l->waiting_count > 0)
        reject(l, l->waiting[--l->waiting_count].fd);
    if (l->sock.fd >= 0)
        loop->ops->detach(loop->backend, &l->sock, false);
}

static void listener_start(struct wawo_call *call, struct wawo_loop *loop, bool dead)
{
    struct wawo_listener *l = wawo_container_of(call, struct wawo_listener, call);

    l->next = l->branch->listeners;
    l->branch->listeners = l;
    wawo_table_bind(&loop->table, l->sock.id, &l->sock);
    loop->ops->attach(loop->backend, &l->sock, l->fd);
    if (dead || l->branch->stopping)
        wawo_listener_stop(l);
    else
        loop->ops->accept_start(loop->backend, &l->sock);
}

int wawo_listener_new(struct wawo_branch *b, int fd, bool stays)
{
    struct wawo_listener *l = wawo_alloc_zero(sizeof *l);
    struct wawo_loop *loop = b->net->loop;

    if (l == NULL)
        return WAWO_ENOMEM;
    wawo_sock_init(&l->sock, WAWO_SOCK_LISTENER);
    l->branch = b;
    l->fd = fd;
    l->stays = stays;
    l->call.run = listener_start;
    wawo_timer_init(&l->retry, retry_fired);
    l->sock.id = wawo_table_open(&loop->table);
    if (l->sock.id == 0) {
        wawo_free(l);
        return WAWO_ENOBUFS;
    }
    WAWO_CHECK(wawo_loop_post(loop, &l->call)); /* an endpoint's loops outlive it */
    return 0;
}
