#include "dial.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/err.h"
#include "../io/work.h"
#include "net.h"

#define ATTEMPT_DELAY_NS (250 * WAWO_MSEC) /* RFC 8305 section 5, Connection Attempt Delay */
#define CROWDED_MIN_NS (2 * WAWO_MSEC) /* the backlog of a unix socket is full: no event tells when there is room */
#define CROWDED_MAX_NS (64 * WAWO_MSEC)

struct attempt {
    struct wawo_sock sock;
    struct wawo_dial *dial; /* NULL: given up, waits for DETACHED */
    struct wawo_branch *branch; /* counts it: loops end only when the kernel is done with it */
    struct wawo_addr to;
    struct attempt *next;
};

struct wawo_dial {
    struct wawo_conn *conn;
    struct wawo_addr local;
    struct wawo_addr *list;
    int count, next; /* addresses, and the next to try */
    struct attempt *attempts;
    struct wawo_timer stagger;
    int64_t crowded_ns; /* how long to wait for a full backlog; doubles */
    int error; /* of the last attempt that failed */
};

/* A look-up on its way through the work pool; finds the connection again by its share. */
struct lookup {
    struct wawo_work work;
    struct wawo_call call;
    struct wawo_share *share; /* a reference */
    struct wawo_addr *list;
    int count, gai;
    uint16_t port;
    char host[];
};

static void start_next(struct wawo_dial *d);

/* ---- ordering ---- */

void wawo_dial_order(struct wawo_addr *list, int count)
{
    struct wawo_addr moved;
    int i, j, want;

    /* The resolver sorted by RFC 6724; here the families take turns, each in its own order. */
    for (i = 1; i < count; i++) {
        want = list[i - 1].family == WAWO_AF_INET6 ? WAWO_AF_INET : WAWO_AF_INET6;
        for (j = i; j < count && list[j].family != want; j++)
            continue;
        if (j == count || j == i)
            continue;
        moved = list[j];
        memmove(&list[i + 1], &list[i], (size_t)(j - i) * sizeof *list);
        list[i] = moved;
    }
}

/* ---- attempts ---- */

static void attempt_free(struct attempt *a)
{
    struct wawo_branch *b = a->branch;

    wawo_table_close(&b->net->loop->table, a->sock.id);
    wawo_free(a);
    wawo_branch_unlist(b);
}

static void attempt_give_up(struct attempt *a)
{
    struct wawo_loop *loop = a->branch->net->loop;

    a->dial = NULL;
    loop->ops->detach(loop->backend, &a->sock, false);
}

static void unlink_attempt(struct wawo_dial *d, struct attempt *a)
{
    struct attempt **link;

    for (link = &d->attempts; *link != NULL; link = &(*link)->next)
        if (*link == a) {
            *link = a->next;
            return;
        }
}

static void dial_free(struct wawo_dial *d)
{
    struct wawo_conn *c = d->conn;
    struct wawo_loop *loop = c->branch->net->loop;
    struct attempt *a;

    while ((a = d->attempts) != NULL) {
        d->attempts = a->next;
        attempt_give_up(a);
    }
    wawo_timer_cancel(&loop->wheel, &d->stagger);
    wawo_free(d->list);
    wawo_free(d);
    c->dial = NULL;
}

void wawo_dial_drop(struct wawo_conn *c)
{
    dial_free(c->dial);
}

/* A socket on its way to `to`: 0, or why not even that. */
static int attempt_new(struct wawo_dial *d, const struct wawo_addr *to)
{
    struct wawo_net *net = d->conn->branch->net;
    const struct wawo_options *o = &d->conn->branch->endpoint->options;
    struct wawo_addr from = d->local;
    struct attempt *a;
    int err = 0, fd;

    if (from.family == WAWO_AF_NONE)
        from.family = to->family; /* a port alone: any address */
    if (from.family != to->family)
        return -EAFNOSUPPORT;
    fd = wawo_os_socket(to->family);
    if (fd < 0)
        return fd;
    if (d->local.family != WAWO_AF_NONE || from.port != 0)
        err = wawo_os_bind_source(fd, &from);
    if (err == 0 && to->family != WAWO_AF_UNIX)
        err = wawo_os_tune_tcp(fd, o->no_delay, o->keepalive_idle_s, o->keepalive_interval_s);
    a = err == 0 ? wawo_alloc_zero(sizeof *a) : NULL;
    if (a == NULL) {
        wawo_os_close(fd);
        return err != 0 ? err : WAWO_ENOMEM;
    }
    wawo_sock_init(&a->sock, WAWO_SOCK_ATTEMPT);
    a->sock.id = wawo_table_open(&net->loop->table);
    if (a->sock.id == 0) {
        wawo_os_close(fd);
        wawo_free(a);
        return WAWO_ENOBUFS;
    }
    wawo_table_bind(&net->loop->table, a->sock.id, &a->sock);
    a->dial = d;
    a->branch = d->conn->branch;
    wawo_add_relaxed(&a->branch->assigned, 1);
    a->to = *to;
    a->next = d->attempts;
    d->attempts = a;
    net->loop->ops->attach(net->loop->backend, &a->sock, fd);
    if (wawo_net_listens(d->conn, WAWO_ON_PREPARE_CONNECT))
        wawo_event_add(net, WAWO_ON_PREPARE_CONNECT, d->conn)->error = fd;
    else
        net->loop->ops->connect(net->loop->backend, &a->sock, to);
    return 0;
}

void wawo_dial_prepared(struct wawo_conn *c, int fd)
{
    struct wawo_loop *loop = c->branch->net->loop;
    struct attempt *a = c->dial != NULL ? c->dial->attempts : NULL;

    while (a != NULL && a->sock.fd != fd)
        a = a->next;
    if (a != NULL)
        loop->ops->connect(loop->backend, &a->sock, &a->to);
}

static void fail(struct wawo_dial *d, int error)
{
    wawo_conn_end(d->conn, WAWO_OP_CONNECT, error);
}

/* Tries addresses until one is under way; fails the dial when none is left. */
static void start_next(struct wawo_dial *d)
{
    struct wawo_loop *loop = d->conn->branch->net->loop;
    int err;

    while (d->next < d->count) {
        err = attempt_new(d, &d->list[d->next++]);
        if (err == 0) {
            if (d->next < d->count)
                wawo_timer_set(&loop->wheel, &d->stagger, loop->now_ns + ATTEMPT_DELAY_NS);
            return;
        }
        if (err != -EAFNOSUPPORT || d->error == 0) /* what was tried says more than what could not be */
            d->error = -err;
    }
    if (d->attempts == NULL)
        fail(d, d->error != 0 ? d->error : EHOSTUNREACH);
}

static void stagger_fired(struct wawo_timer *t)
{
    struct wawo_dial *d = wawo_container_of(t, struct wawo_dial, stagger);
    struct wawo_net *net = wawo_net_of(d->conn);

    if (d->crowded_ns > 0) {
        net->loop->ops->connect(net->loop->backend, &d->attempts->sock, &d->attempts->to);
        return;
    }
    start_next(d);
    wawo_net_room(net); /* thousands may fire in one tick */
}

/* The unix socket listens, but its backlog is full: its only attempt connects again, until the time is up. */
static void wait_in_the_crowd(struct wawo_dial *d)
{
    struct wawo_loop *loop = d->conn->branch->net->loop;

    d->crowded_ns = d->crowded_ns == 0 ? CROWDED_MIN_NS : d->crowded_ns * 2;
    if (d->crowded_ns > CROWDED_MAX_NS)
        d->crowded_ns = CROWDED_MAX_NS;
    wawo_timer_set(&loop->wheel, &d->stagger, loop->now_ns + d->crowded_ns);
}

static void attempt_failed(struct wawo_dial *d, struct attempt *a, int error)
{
    struct wawo_loop *loop = a->branch->net->loop;

    if (error == ENOBUFS && a->to.family == WAWO_AF_UNIX) {
        wait_in_the_crowd(d);
        return;
    }
    d->error = error;
    unlink_attempt(d, a);
    attempt_give_up(a);
    wawo_timer_cancel(&loop->wheel, &d->stagger); /* no need to wait for it any more */
    start_next(d);
}

static void attempt_stands(struct wawo_dial *d, struct attempt *a)
{
    struct wawo_conn *c = d->conn;
    struct wawo_branch *b = c->branch;
    struct wawo_addr local, to = a->to, *list;
    int err, fd;

    err = wawo_os_local_addr(a->sock.fd, &local);
    if (err != 0 || wawo_addr_equal(&local, &to)) { /* TCP's simultaneous open with oneself: nobody listens there */
        attempt_failed(d, a, err != 0 ? -err : ECONNREFUSED);
        return;
    }
    if (local.family == WAWO_AF_UNIX)
        local.path = ""; /* it was not bound */
    list = d->list; /* `to` borrows from it */
    d->list = NULL;
    unlink_attempt(d, a);
    fd = b->net->loop->ops->release(b->net->loop->backend, &a->sock);
    attempt_free(a);
    dial_free(d);
    wawo_timer_cancel(&b->net->loop->wheel, &c->timer);
    err = wawo_conn_open(c, fd, &to, &local, WAWO_ON_CONNECT);
    wawo_free(list);
    if (err != 0) {
        wawo_os_close(fd);
        wawo_conn_end(c, WAWO_OP_CONNECT, -err);
        return;
    }
    wawo_bump(&b->stats.connects, 1);
}

void wawo_dial_done(struct wawo_sock *sock, struct wawo_done *done)
{
    struct attempt *a = wawo_container_of(sock, struct attempt, sock);
    struct wawo_dial *d = a->dial;

    if (done->kind == WAWO_DONE_DETACHED) {
        attempt_free(a);
        return;
    }
    if (d == NULL)
        return;
    if (done->kind == WAWO_DONE_CONNECTED && done->error == 0)
        attempt_stands(d, a);
    else
        attempt_failed(d, a, -done->error);
}

/* ---- looking up ---- */

static void lookup_free(struct lookup *l)
{
    wawo_free(l->list);
    wawo_share_drop(l->share);
    wawo_free(l);
}

static void lookup_answered(struct wawo_call *call, struct wawo_loop *loop, bool dead)
{
    struct lookup *l = wawo_container_of(call, struct lookup, call);
    struct wawo_conn *c = l->share->conn;

    if (!dead && c != NULL && c->dial != NULL) { /* else it was closed or timed out meanwhile */
        if (l->count > 0) {
            c->dial->list = l->list;
            c->dial->count = l->count;
            l->list = NULL;
            wawo_dial_order(c->dial->list, c->dial->count);
            start_next(c->dial);
        } else {
            wawo_store_relaxed(&l->share->gai, l->gai);
            fail(c->dial, l->count < 0 ? -l->count : EHOSTUNREACH);
        }
        wawo_net_room(loop->upper);
    }
    lookup_free(l);
}

static void lookup_run(struct wawo_work *w)
{
    struct lookup *l = wawo_container_of(w, struct lookup, work);

    struct wawo_loop *loop = l->share->loop;
    struct wawo_threads *threads = loop->threads;

    l->count = wawo_os_resolve(l->host, l->port, &l->list, &l->gai);
    wawo_threads_hold(threads); /* once posted, the last reference of the share may go before the post is over */
    if (!wawo_loop_post(loop, &l->call))
        lookup_free(l);
    wawo_threads_drop(threads);
}

static int lookup_start(struct wawo_share *share, const char *host, uint16_t port)
{
    size_t len = strlen(host) + 1;
    struct lookup *l = wawo_alloc_zero(sizeof *l + len);
    int err;

    if (l == NULL)
        return WAWO_ENOMEM;
    l->work.run = lookup_run;
    l->call.run = lookup_answered;
    l->share = share;
    l->port = port;
    memcpy(l->host, host, len);
    wawo_share_hold(share);
    err = wawo_work_submit(&l->work);
    if (err != 0)
        lookup_free(l);
    return err;
}

/* ---- requests ---- */

/* A list of the one address that needs no look-up; NULL: no memory. */
static struct wawo_addr *list_of_one(const struct wawo_addr *a)
{
    size_t len = a->family == WAWO_AF_UNIX ? strlen(a->path) + 1 : 0;
    struct wawo_addr *list = wawo_alloc(sizeof *list + len);

    if (list == NULL)
        return NULL;
    *list = *a;
    if (len > 0)
        list->path = memcpy(list + 1, a->path, len); /* borrowed from the request, which goes first */
    return list;
}

static int dial_start(struct wawo_conn *c, const struct wawo_dial_request *r)
{
    struct wawo_loop *loop = c->branch->net->loop;
    struct wawo_dial *d = wawo_alloc_zero(sizeof *d);
    struct wawo_addr known;
    int err;

    if (d == NULL)
        return WAWO_ENOMEM;
    d->conn = c;
    d->local = r->local;
    wawo_timer_init(&d->stagger, stagger_fired);
    c->dial = d;
    wawo_timer_set(&loop->wheel, &c->timer, loop->now_ns + r->timeout_ns);
    err = wawo_addr_parse(&known, r->host, r->port);
    if (err == WAWO_EINVAL)
        return lookup_start(c->share, r->host, r->port);
    if (err != 0)
        return err;
    d->list = list_of_one(&known);
    if (d->list == NULL)
        return WAWO_ENOMEM;
    d->count = 1;
    start_next(d);
    return 0;
}

WAWO_COLD void wawo_conn_fail(struct wawo_branch *b, struct wawo_share *s, enum wawo_operation op, int error)
{
    struct wawo_event *e = wawo_event_add(b->net, WAWO_ON_CLOSE, NULL);
    struct wawo_loop *loop = b->net->loop;
    struct wawo_ring posts;
    bool over;

    wawo_store_relaxed(&s->operation, (uint8_t)op);
    wawo_store_relaxed(&s->error, error);
    wawo_share_advance(s, WAWO_SHARE_CLOSED);
    wawo_ring_init(&posts);
    wawo_ring_adopt(&posts, wawo_share_take_posts(s, &over));
    wawo_branch_account(b, -(int64_t)posts.bytes);
    wawo_ring_clear(&posts, &loop->heap);
    wawo_table_close(&loop->table, s->id);
    e->owner = b->endpoint->user;
    e->operation = (uint8_t)op;
    e->error = error;
    e->share = s;
    wawo_share_hold(s); /* until the event was delivered */
    wawo_branch_unbook(b);
}

static void request_run(struct wawo_call *call, struct wawo_loop *loop, bool dead)
{
    struct wawo_dial_request *r = wawo_container_of(call, struct wawo_dial_request, call);
    struct wawo_share *s = r->share;
    struct wawo_conn *c;
    int err;

    (void)loop;
    (void)dead; /* the endpoint is stopped before its loops: a booking keeps it alive until this has run */
    wawo_net_room(r->branch->net);
    c = wawo_conn_new(r->branch, s);
    if (c == NULL) {
        wawo_conn_fail(r->branch, s, WAWO_OP_CONNECT, ENOMEM);
    } else if (r->branch->stopping || wawo_load(&s->state) != WAWO_SHARE_CONNECTING) {
        /* closed before this came to run: that call found no connection */
        wawo_conn_end(c, WAWO_OP_CONNECT, ECANCELED);
    } else {
        err = dial_start(c, r);
        if (err != 0)
            wawo_conn_end(c, WAWO_OP_CONNECT, -err);
    }
    wawo_share_drop(s);
    wawo_free(r);
}

struct wawo_dial_request *wawo_dial_request_new(struct wawo_branch *branch, struct wawo_share *share, const char *host,
                                                uint16_t port, const struct wawo_addr *local, int64_t timeout_ns)
{
    size_t len = strlen(host) + 1;
    struct wawo_dial_request *r = wawo_alloc_zero(sizeof *r + len);

    if (r == NULL)
        return NULL;
    r->call.run = request_run;
    r->branch = branch;
    r->share = share;
    r->port = port;
    r->timeout_ns = timeout_ns;
    if (local != NULL)
        r->local = *local;
    memcpy(r->host, host, len);
    return r;
}
