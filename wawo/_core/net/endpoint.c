#include "endpoint.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "dial.h"
#include "net.h"
#include "preamble.h"

enum { ACCOUNT_STEP = 64 * 1024 }; /* bytes a branch keeps to itself before it tells the endpoint */

static void look(struct wawo_call *call, struct wawo_loop *loop, bool dead);
static void drain_fired(struct wawo_timer *t);
static void post_look(struct wawo_branch *b);

/* ---- life ---- */

struct wawo_endpoint *wawo_endpoint_new(struct wawo_threads *t, enum wawo_role role, const struct wawo_options *options,
                                        const struct wawo_framing *framing, unsigned mask, void *user, int *err)
{
    struct wawo_filter_config cfg;
    struct wawo_endpoint *e;
    unsigned i;

    *err = wawo_filter_config(&cfg, framing);
    if (*err != 0)
        return NULL;
    e = wawo_alloc_zero(sizeof *e + t->count * sizeof e->branches[0]);
    if (e == NULL) {
        *err = WAWO_ENOMEM;
        return NULL;
    }
    e->options = *options;
    if (cfg.ops != NULL) {
        e->filters[e->filter_count++] = cfg;
        e->looks = cfg.looks;
    }
    e->role = role;
    e->mask = mask;
    e->user = user;
    e->threads = t;
    wawo_threads_hold(t);
    e->branch_count = t->count;
    e->refs = 1 + t->count;
    e->live_branches = t->count;
    wawo_mutex_init(&e->lock);
    wawo_census_init(&e->census, options->max_per_address);
    for (i = 0; i < t->count; i++) {
        struct wawo_branch *b = &e->branches[i];

        b->endpoint = e;
        b->net = t->loops[i].upper;
        wawo_list_init(&b->conns);
        wawo_timer_init(&b->drain, drain_fired);
        b->look.run = look;
    }
    return e;
}

static void endpoint_unref(struct wawo_endpoint *e)
{
    if (wawo_sub(&e->refs, 1) != 1)
        return;
    wawo_census_fini(&e->census);
    wawo_mutex_fini(&e->lock);
    wawo_threads_drop(e->threads);
    wawo_free(e);
}

void wawo_endpoint_drop(struct wawo_endpoint *e)
{
    endpoint_unref(e);
}

struct wawo_branch *wawo_endpoint_branch(struct wawo_endpoint *e, const struct wawo_loop *loop)
{
    return &e->branches[loop->index];
}

/* ---- booking ---- */

/* Under the lock. */
static bool drained(const struct wawo_endpoint *e)
{
    return e->stopping && e->stop_at_ns <= wawo_os_now_ns();
}

static int book(struct wawo_endpoint *e, struct wawo_branch *b, const struct wawo_addr *peer, bool late)
{
    int err = 0;

    wawo_mutex_lock(&e->lock);
    if (wawo_unlikely(e->stopping) && (!late || drained(e)))
        err = WAWO_ECLOSED;
    else if (wawo_load_relaxed(&e->count) >= e->options.max_connections)
        err = WAWO_ENOBUFS;
    else if (peer != NULL)
        err = wawo_census_enter(&e->census, peer);
    if (err == 0) {
        wawo_add_relaxed(&e->count, 1);
        wawo_add_relaxed(&b->assigned, 1);
        wawo_add_relaxed(&b->net->loop->load, 1);
    }
    wawo_mutex_unlock(&e->lock);
    return err;
}

int wawo_endpoint_book(struct wawo_endpoint *e, struct wawo_branch *b, const struct wawo_addr *peer)
{
    return book(e, b, peer, false);
}

int wawo_endpoint_book_late(struct wawo_endpoint *e, struct wawo_branch *b, const struct wawo_addr *peer)
{
    return book(e, b, peer, true);
}

/* Whether this is the OnClose of one of its connections that still had its place. */
static bool take_place(struct wawo_endpoint *e)
{
    unsigned i;

    for (i = 0; i < e->branch_count; i++) {
        struct wawo_net *net = e->branches[i].net;
        struct wawo_conn *c;

        if (!wawo_loop_here(net->loop))
            continue;
        c = net->leaving;
        if (c == NULL || c->branch->endpoint != e || c->left)
            return false;
        wawo_conn_leave(c);
        return true;
    }
    return false;
}

int wawo_endpoint_book_own(struct wawo_endpoint *e, struct wawo_branch *b)
{
    int err = book(e, b, NULL, false);

    if (wawo_unlikely(err == WAWO_ENOBUFS) && take_place(e))
        err = book(e, b, NULL, false);
    return err;
}

bool wawo_endpoint_over(struct wawo_endpoint *e)
{
    bool over;

    wawo_mutex_lock(&e->lock);
    over = drained(e);
    wawo_mutex_unlock(&e->lock);
    return over;
}

int wawo_endpoint_enter(struct wawo_endpoint *e, const struct wawo_addr *peer)
{
    int err;

    if (wawo_likely(e->census.limit == 0))
        return 0;
    wawo_mutex_lock(&e->lock);
    err = wawo_census_enter(&e->census, peer);
    wawo_mutex_unlock(&e->lock);
    return err;
}

void wawo_endpoint_leave(struct wawo_endpoint *e, const struct wawo_addr *peer)
{
    if (wawo_likely(peer == NULL || e->census.limit == 0))
        return;
    wawo_mutex_lock(&e->lock);
    wawo_census_leave(&e->census, peer);
    wawo_mutex_unlock(&e->lock);
}

/* Nobody is left who could be broadcast to: a Connection that somebody keeps holds the endpoint, but no chunk. */
static void drop_cast(struct wawo_endpoint *e)
{
    struct wawo_chunk *cast;

    wawo_mutex_lock(&e->lock);
    cast = e->cast;
    e->cast = NULL;
    wawo_mutex_unlock(&e->lock);
    if (cast != NULL)
        wawo_chunk_drop(cast);
}

/* The branch has nothing left: the last one of the endpoint says so. */
static void check_done(struct wawo_branch *b)
{
    struct wawo_endpoint *e = b->endpoint;
    struct wawo_event *ev;

    if (!b->stopping || b->done || wawo_load(&b->assigned) != 0)
        return;
    b->done = true;
    wawo_timer_cancel(&b->net->loop->wheel, &b->drain);
    if (wawo_sub(&e->live_branches, 1) == 1) {
        drop_cast(e);
        ev = wawo_event_add(b->net, WAWO_ON_SHUTDOWN, NULL);
        ev->owner = e->user;
    }
    endpoint_unref(e);
}

/* The endpoint has room again: `b`'s listeners go on. On any loop of the endpoint, `here`. */
static void make_room(struct wawo_branch *b, const struct wawo_loop *here)
{
    struct wawo_listener *l;

    if (b->net->loop != here) {
        post_look(b);
        return;
    }
    for (l = b->listeners; l != NULL; l = l->next)
        wawo_listener_resume(l);
}

bool wawo_branch_leave(struct wawo_branch *b)
{
    struct wawo_endpoint *e = b->endpoint;

    wawo_sub(&b->net->loop->load, 1);
    return wawo_sub(&e->count, 1) == e->options.max_connections;
}

void wawo_branch_left(struct wawo_branch *b, bool room)
{
    struct wawo_endpoint *e = b->endpoint;
    uint32_t i;

    if (wawo_unlikely(room && !b->stopping)) {
        for (i = 0; i < e->branch_count; i++)
            make_room(&e->branches[i], b->net->loop);
    }
    wawo_branch_unlist(b);
}

void wawo_branch_unbook(struct wawo_branch *b)
{
    wawo_branch_left(b, wawo_branch_leave(b));
}

void wawo_branch_unlist(struct wawo_branch *b)
{
    wawo_sub(&b->assigned, 1);
    check_done(b);
}

void wawo_branch_account(struct wawo_branch *b, int64_t bytes)
{
    int64_t sum = wawo_load_relaxed(&b->unsettled) + bytes;

    wawo_store_relaxed(&b->unsettled, sum);
    if (wawo_unlikely(sum > ACCOUNT_STEP || sum < -ACCOUNT_STEP))
        wawo_branch_settle(b);
}

void wawo_branch_settle(struct wawo_branch *b)
{
    wawo_add_relaxed(&b->endpoint->pending, wawo_load_relaxed(&b->unsettled));
    wawo_store_relaxed(&b->unsettled, 0);
}

int64_t wawo_branch_pending_total(const struct wawo_branch *b)
{
    return wawo_load_relaxed(&b->endpoint->pending) + wawo_load_relaxed(&b->unsettled);
}

bool wawo_endpoint_overfull(const struct wawo_endpoint *e, int64_t known, size_t more)
{
    int64_t limit = (int64_t)e->options.max_pending_total - (int64_t)more;
    unsigned i;

    if (wawo_likely(known <= limit))
        return false;
    known = wawo_load_relaxed(&e->pending);
    for (i = 0; i < e->branch_count; i++)
        known += wawo_load_relaxed(&e->branches[i].unsettled);
    return known > limit;
}

/* ---- starting ---- */

int wawo_endpoint_listen(struct wawo_endpoint *e, int fd, int loop)
{
    struct wawo_branch *b = &e->branches[loop < 0 ? 0 : (unsigned)loop % e->branch_count];
    int err = 0;

    wawo_mutex_lock(&e->lock);
    if (e->stopping)
        err = WAWO_ECLOSED;
    else
        wawo_add_relaxed(&b->assigned, 1);
    wawo_mutex_unlock(&e->lock);
    if (err == 0) {
        err = wawo_listener_new(b, fd, loop >= 0);
        if (err != 0) {
            wawo_sub(&b->assigned, 1);
            post_look(b); /* a stop may wait for this one */
        }
    }
    return err;
}

void wawo_branch_cancel(struct wawo_branch *b)
{
    struct wawo_endpoint *e = b->endpoint;
    bool room = wawo_branch_leave(b);
    uint32_t i;

    wawo_sub(&b->assigned, 1);
    for (i = 0; i < e->branch_count; i++)
        if (room || &e->branches[i] == b) /* a stop may wait for this one */
            post_look(&e->branches[i]);
}

int wawo_endpoint_announce(struct wawo_branch *b, struct wawo_share *s, void *block, struct wawo_call *call,
                           void (*made)(struct wawo_share *s, void *arg), void *arg)
{
    struct wawo_loop *loop = b->net->loop;

    if (block != NULL)
        s->id = wawo_table_open(&loop->table);
    if (block == NULL || s->id == 0) {
        wawo_free(block);
        if (s != NULL)
            wawo_share_drop(s);
        wawo_branch_cancel(b);
        return WAWO_ENOMEM;
    }
    made(s, arg); /* our reference is the call's from here on */
    wawo_table_publish(&loop->table, s->id, s);
    WAWO_CHECK(wawo_loop_post(loop, call)); /* an endpoint's loops outlive it */
    return 0;
}

int wawo_endpoint_connect(struct wawo_endpoint *e, const char *host, uint16_t port, const char *local,
                          uint16_t local_port, int64_t timeout_ns, void (*made)(struct wawo_share *s, void *arg),
                          void *arg)
{
    struct wawo_loop *loop = wawo_threads_least_loaded(e->threads);
    struct wawo_branch *b = wawo_endpoint_branch(e, loop);
    struct wawo_addr from = {.family = WAWO_AF_NONE};
    struct wawo_dial_request *r = NULL;
    struct wawo_share *s;
    int err = local != NULL && local[0] != '\0' ? wawo_addr_parse(&from, local, local_port) : 0;

    from.port = local_port;
    if (from.family == WAWO_AF_UNIX)
        err = WAWO_EINVAL;
    if (err == 0)
        err = wawo_endpoint_book_own(e, b);
    if (err != 0)
        return err;
    if (timeout_ns <= 0)
        timeout_ns = e->options.connect_timeout_ns;
    s = wawo_share_new(loop, e);
    if (s != NULL)
        r = wawo_dial_request_new(b, s, host, port, &from, timeout_ns);
    return wawo_endpoint_announce(b, s, r, r != NULL ? &r->call : NULL, made, arg);
}

/* ---- stopping ---- */

static void end_all(struct wawo_branch *b)
{
    struct wawo_list *l, *next;
    struct wawo_conn *c;

    for (l = b->conns.next; l != &b->conns; l = next) {
        next = l->next;
        c = wawo_container_of(l, struct wawo_conn, link);
        if (c->state == WAWO_CONN_PREAMBLE) {
            wawo_preamble_end(c);
            continue;
        }
        wawo_conn_time_up(c, 0);
    }
}

static void drain_fired(struct wawo_timer *t)
{
    end_all(wawo_container_of(t, struct wawo_branch, drain));
}

/* May be called again: with an earlier time, or for nothing. */
static void stop_branch(struct wawo_branch *b, int64_t until_ns)
{
    struct wawo_loop *loop = b->net->loop;
    struct wawo_listener *l;

    if (!b->stopping)
        for (l = b->listeners; l != NULL; l = l->next)
            wawo_listener_stop(l);
    b->stopping = true;
    if (until_ns > loop->now_ns)
        wawo_timer_set(&loop->wheel, &b->drain, until_ns);
    else
        end_all(b);
    check_done(b);
}

/* Something changed that this branch must act on. */
static void look(struct wawo_call *call, struct wawo_loop *loop, bool dead)
{
    struct wawo_branch *b = wawo_container_of(call, struct wawo_branch, look);
    struct wawo_endpoint *e = b->endpoint;
    struct wawo_listener *l;
    int64_t until;
    bool stopping;

    (void)loop;
    wawo_store_full(&b->look_posted, 0); /* before looking: what changes from here on posts again */
    wawo_mutex_lock(&e->lock);
    stopping = e->stopping;
    until = dead ? 0 : e->stop_at_ns;
    wawo_mutex_unlock(&e->lock);
    if (!b->done) {
        if (stopping)
            stop_branch(b, until);
        else
            for (l = b->listeners; l != NULL; l = l->next)
                wawo_listener_resume(l);
    }
    endpoint_unref(e); /* the call's */
}

static void post_look(struct wawo_branch *b)
{
    struct wawo_endpoint *e = b->endpoint;

    if (wawo_exchange(&b->look_posted, 1) != 0)
        return;
    wawo_add(&e->refs, 1); /* the call's */
    /* Not by b->net: another stop may have ended, and the threads with it, while this one was on its way. */
    if (!wawo_loop_post(&e->threads->loops[b - e->branches], &b->look))
        endpoint_unref(e);
}

void wawo_endpoint_stop(struct wawo_endpoint *e, int64_t drain_ns)
{
    int64_t until = drain_ns > INT64_MAX / 2 ? INT64_MAX : drain_ns > 0 ? wawo_os_now_ns() + drain_ns : 0;
    unsigned i;

    wawo_mutex_lock(&e->lock);
    if (!e->stopping || until < e->stop_at_ns)
        e->stop_at_ns = until;
    e->stopping = true;
    wawo_mutex_unlock(&e->lock);
    for (i = 0; i < e->branch_count; i++)
        post_look(&e->branches[i]);
}

/* ---- asking ---- */

uint32_t wawo_endpoint_count(const struct wawo_endpoint *e)
{
    return wawo_load_relaxed(&e->count);
}

static void hold_share(void *share)
{
    wawo_share_hold(share);
}

struct wawo_share *wawo_endpoint_find(struct wawo_endpoint *e, uint64_t id)
{
    struct wawo_loop *loop = wawo_threads_loop_of(e->threads, id);
    struct wawo_share *s = loop != NULL ? wawo_table_shared(&loop->table, id, hold_share) : NULL;

    /* A connection of another component on the same threads; or one that ended, and whose batch is not over. */
    if (s != NULL && (s->endpoint != e || wawo_load(&s->state) == WAWO_SHARE_CLOSED)) {
        wawo_share_drop(s);
        return NULL;
    }
    return s;
}

struct listing {
    struct wawo_endpoint *endpoint;
    struct wawo_share **out;
    size_t max, count;
};

static void list_one(void *shared, void *arg)
{
    struct wawo_share *s = shared;
    struct listing *l = arg;

    if (s->endpoint != l->endpoint || wawo_load(&s->state) == WAWO_SHARE_CLOSED)
        return;
    if (l->count < l->max) {
        wawo_share_hold(s);
        l->out[l->count] = s;
    }
    l->count++;
}

size_t wawo_endpoint_list(struct wawo_endpoint *e, struct wawo_share **out, size_t max)
{
    struct listing l = {e, out, max, 0};
    unsigned i;

    for (i = 0; i < e->branch_count; i++)
        wawo_table_each(&e->threads->loops[i].table, list_one, &l);
    return l.count;
}

void wawo_endpoint_stats(struct wawo_endpoint *e, struct wawo_endpoint_stats *out)
{
    unsigned i;

    memset(out, 0, sizeof *out);
    for (i = 0; i < e->branch_count; i++) {
        const struct wawo_endpoint_stats *s = &e->branches[i].stats;

#define X(name, text) out->name += wawo_load_relaxed(&s->name);
        WAWO_ENDPOINT_STATS(X)
#undef X
    }
    out->messages_out += wawo_load_relaxed(&e->posted_messages);
    out->broadcasts_skipped += wawo_load_relaxed(&e->posted_skips);
}
