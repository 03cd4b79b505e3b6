/* F4 fanout: what is done to many connections in one call. A broadcast is sealed once and written once: on a connection's own loop into the
 * shared send chunk, for those of other loops into a chunk that the endpoint keeps; all rings refer to the same bytes.
 * Messages of one turn stand one behind the other there, so a ring's last slice grows and all of them leave in one
 * write. What waits behind a slow receiver is copied, so that a few bytes never hold a chunk for long. */
#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "endpoint.h"
#include "net.h"

enum {
    CAST_BLOCK = 16 * 1024, /* what other threads broadcast shares blocks of this size */
    CAST_SMALL = CAST_BLOCK / 4, /* a longer message has a block of its own */
    COPY_MAX = 32 * 1024, /* behind a slow receiver up to this is copied; longer ones have blocks of their own */
    CALLS = 4096 /* calls to a loop that are held back at most until all are there */
};

_Static_assert(CALLS % WAWO_TABLE_WALK == 0, "a walk stops where the calls are posted");

/* One broadcast under way. */
struct fanout {
    struct wawo_endpoint *endpoint;
    struct wawo_run run; /* the message with what goes around it */
    struct wawo_cast here, away; /* for connections of this thread's loop, and of all others */
    bool evict;
    size_t accepted, skipped; /* of one loop */
    struct wawo_node *newest, *oldest; /* calls for that loop */
};

/* ---- on the loop's own thread ---- */

static bool is_behind(const struct wawo_conn *c, size_t len)
{
    const struct wawo_options *o = &c->branch->endpoint->options;

    const struct wawo_ring *out = wawo_conn_out(c);

    return out->bytes > o->high_water || out->bytes + len > o->max_pending;
}

static bool total_full(const struct fanout *f, const struct wawo_branch *b)
{
    return wawo_endpoint_overfull(b->endpoint, wawo_branch_pending_total(b), (f->accepted + 1) * f->here.len);
}

/* Into a ring that waits already: a copy, unless the message has a block of its own anyway. */
static int queue(struct fanout *f, struct wawo_conn *c)
{
    struct wawo_heap *heap = &wawo_net_of(c)->loop->heap;
    struct wawo_ring *out = wawo_conn_out(c);
    int rc;

    if (wawo_unlikely(out->bytes > 0 && !c->dirty && f->here.len <= COPY_MAX))
        return wawo_ring_copy(out, heap, f->here.ptr, f->here.len, true);
    rc = wawo_ring_share(out, heap, f->here.ptr, f->here.len, f->here.chunk);
    if (rc > 0)
        wawo_cast_refer(&f->here);
    return rc;
}

static enum wawo_cast_result offer(struct fanout *f, struct wawo_conn *c)
{
    struct wawo_share *s = c->share;

    if (wawo_unlikely(c->state != WAWO_CONN_OPEN || wawo_load_relaxed(&s->state) != WAWO_SHARE_OPEN ||
                      wawo_load_relaxed(&s->shut) || !s->shown))
        return WAWO_CAST_NONE;
    if (wawo_unlikely(wawo_load_relaxed(&s->posted) != 0))
        wawo_conn_take_posts(c);
    if (wawo_unlikely(is_behind(c, f->here.len))) {
        wawo_conn_flush(c); /* nobody is slow who was not asked */
        if (c->state != WAWO_CONN_OPEN)
            return WAWO_CAST_NONE;
        if (is_behind(c, f->here.len) && f->evict && s->parked) {
            wawo_conn_abort(c, WAWO_OP_SEND, ENOBUFS);
            return WAWO_CAST_EVICTED;
        }
        if (is_behind(c, f->here.len))
            return WAWO_CAST_SKIPPED;
    }
    if (wawo_unlikely(total_full(f, c->branch) || (f->here.len > 0 && queue(f, c) < 0)))
        return WAWO_CAST_SKIPPED;
    wawo_conn_queued(c);
    return WAWO_CAST_ACCEPTED;
}

static void tally(struct fanout *f, enum wawo_cast_result result)
{
    f->accepted += result == WAWO_CAST_ACCEPTED;
    f->skipped += result == WAWO_CAST_SKIPPED;
}

static void offer_all(struct fanout *f, struct wawo_branch *b)
{
    struct wawo_list *l;

    for (l = b->conns.next; l != &b->conns; l = l->next)
        tally(f, offer(f, wawo_container_of(l, struct wawo_conn, link)));
}

static void offer_some(struct fanout *f, struct wawo_branch *b, const uint64_t *ids, size_t n)
{
    struct wawo_sock *s;
    struct wawo_conn *c;
    size_t i;

    for (i = 0; i < n; i++) {
        s = wawo_table_find(&b->net->loop->table, ids[i]);
        c = s != NULL && s->kind == WAWO_SOCK_CONN ? wawo_container_of(s, struct wawo_conn, sock) : NULL;
        if (c != NULL && c->branch == b)
            tally(f, offer(f, c));
    }
}

static int cast_here(struct fanout *f, struct wawo_branch *b, const uint64_t *ids, size_t n)
{
    struct wawo_cast *cast = &f->here;

    if (cast->len > 0) {
        cast->ptr = wawo_heap_write(&b->net->loop->heap, &f->run, &cast->chunk);
        if (cast->ptr == NULL)
            return WAWO_ENOMEM;
    }
    if (ids == NULL)
        offer_all(f, b);
    else
        offer_some(f, b, ids, n);
    wawo_branch_account(b, (int64_t)(f->accepted * cast->len));
    wawo_bump(&b->stats.messages_out, f->accepted);
    wawo_bump(&b->stats.broadcasts_skipped, f->skipped);
    return 0;
}

/* ---- for the loops of other threads ---- */

static void post_one(void *shared, void *arg)
{
    struct wawo_share *s = shared;
    struct fanout *f = arg;
    bool call;

    if (s->endpoint != f->endpoint)
        return;
    tally(f, wawo_share_cast(s, &f->away, f->evict, &call));
    if (!call)
        return;
    s->call.node.next = f->newest;
    f->newest = &s->call.node;
    if (f->oldest == NULL)
        f->oldest = f->newest;
}

/* One wake-up for all of them, and only when all is there: else the loop would run for the first one alone. */
static void post_calls(struct fanout *f, struct wawo_loop *loop)
{
    struct wawo_node *n = f->newest, *oldest = f->oldest, *next;

    f->newest = f->oldest = NULL;
    if (n == NULL || wawo_loop_post_chain(loop, n, oldest))
        return;
    for (;; n = next) { /* the loop has ended */
        next = n->next;
        wawo_share_drop(wawo_container_of(n, struct wawo_share, call.node));
        if (n == oldest)
            return;
    }
}

/* Where the message lies for other threads' loops: behind the last one, in a block that nobody writes to twice. */
static int write_away(struct fanout *f)
{
    struct wawo_endpoint *e = f->endpoint;
    struct wawo_cast *cast = &f->away;
    const struct wawo_run *m = &f->run;
    struct wawo_chunk *c = NULL;
    uint8_t *to;

    wawo_mutex_lock(&e->lock);
    if (cast->len <= CAST_SMALL && wawo_load(&e->live_branches) > 0) {
        if (e->cast != NULL && wawo_chunk_sole(e->cast))
            e->cast->used = 0;
        if (e->cast == NULL || e->cast->cap - e->cast->used < cast->len) {
            if (e->cast != NULL)
                wawo_chunk_drop(e->cast);
            e->cast = wawo_chunk_new(CAST_BLOCK);
        }
        c = e->cast;
        if (c != NULL)
            wawo_chunk_hold(c);
    }
    to = c != NULL ? c->data + c->used : NULL;
    if (c != NULL)
        c->used += cast->len;
    wawo_mutex_unlock(&e->lock);
    if (c == NULL) {
        c = wawo_chunk_new(cast->len);
        if (c == NULL)
            return WAWO_ENOMEM;
        to = c->data;
        c->used = cast->len;
    }
    cast->chunk = c;
    cast->ptr = to;
    if (m->head_len > 0)
        memcpy(to, m->head, m->head_len);
    if (m->len > 0)
        memcpy(to + m->head_len, m->data, m->len);
    if (m->tail_len > 0)
        memcpy(to + m->head_len + m->len, m->tail, m->tail_len);
    return 0;
}

static int cast_away(struct fanout *f, struct wawo_loop *loop, const uint64_t *ids, size_t n)
{
    size_t piece;
    uint32_t slot = 0;
    bool more = ids == NULL;

    if (f->away.chunk == NULL && f->away.len > 0 && write_away(f) < 0)
        return WAWO_ENOMEM;
    for (; ids != NULL && n > 0; n -= piece, ids += piece) {
        piece = wawo_min_size(n, CALLS);
        wawo_table_visit(&loop->table, ids, piece, post_one, f);
        post_calls(f, loop);
    }
    while (more) {
        more = wawo_table_walk(&loop->table, &slot, post_one, f);
        if (!more || slot % CALLS == 0)
            post_calls(f, loop);
    }
    wawo_add_relaxed(&f->endpoint->posted_messages, f->accepted);
    wawo_add_relaxed(&f->endpoint->posted_skips, f->skipped);
    return 0;
}

/* ---- all of it ---- */

static void cast_done(struct wawo_cast *cast)
{
    if (cast->slices != NULL)
        wawo_slices_drop(cast->slices);
    if (cast->chunk == NULL)
        return;
    if (cast->spare > 0)
        wawo_chunk_drop_many(cast->chunk, cast->spare);
    wawo_chunk_drop(cast->chunk);
}

/* Each id once: a copy in a table of open addressing, and what is left of it; NULL: no memory. */
static uint64_t *distinct(const uint64_t *ids, size_t *count)
{
    size_t room = 16, n = 0, i, at;
    uint64_t *found;

    while (room < *count * 2)
        room *= 2;
    found = wawo_alloc_zero(room * sizeof *found);
    if (found == NULL)
        return NULL;
    for (i = 0; i < *count; i++) {
        at = (size_t)(ids[i] * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (room - 1);
        while (found[at] != 0 && found[at] != ids[i])
            at = (at + 1) & (room - 1);
        found[at] = ids[i];
    }
    for (i = 0; i < room; i++)
        if (found[i] != 0)
            found[n++] = found[i];
    *count = n;
    return found;
}

ptrdiff_t wawo_endpoint_broadcast(struct wawo_endpoint *e, const void *data, size_t len, const uint64_t *ids,
                                  size_t count, bool evict)
{
    struct fanout f = {.endpoint = e, .evict = evict};
    struct wawo_message m = {data, len, len};
    struct wawo_envelope env;
    uint64_t *each = NULL;
    size_t accepted = 0;
    unsigned i;
    int err = wawo_endpoint_seal(e, &m, &env);

    if (err != 0)
        return err;
    f.run = (struct wawo_run){env.head, env.head_len, data, len, env.tail, env.tail_len};
    f.here.len = f.away.len = env.head_len + len + env.tail_len;
    if (f.here.len > e->options.max_pending)
        return WAWO_ENOBUFS;
    if (ids != NULL) {
        each = distinct(ids, &count);
        if (each == NULL)
            return WAWO_ENOMEM;
    }
    for (i = 0; i < e->branch_count && err == 0; i++) {
        struct wawo_loop *loop = &e->threads->loops[i];

        f.accepted = f.skipped = 0;
        if (wawo_loop_here(loop))
            err = cast_here(&f, &e->branches[i], each, count);
        else
            err = cast_away(&f, loop, each, count);
        accepted += f.accepted;
    }
    cast_done(&f.here);
    cast_done(&f.away);
    wawo_free(each);
    return err != 0 && accepted == 0 ? err : (ptrdiff_t)accepted;
}

/* ---- closing many ---- */

struct sweep {
    const struct wawo_endpoint *endpoint;
    int64_t before_ns;
    bool silent;
    unsigned count;
    struct wawo_share *found[WAWO_TABLE_WALK];
};

static void sweep_one(void *shared, void *arg)
{
    struct wawo_share *s = shared;
    struct sweep *sweep = arg;

    if (s->endpoint != sweep->endpoint || wawo_load(&s->state) != WAWO_SHARE_OPEN)
        return;
    if (wawo_load(sweep->silent ? &s->received_ns : &s->connected_ns) > sweep->before_ns)
        return;
    wawo_share_hold(s);
    sweep->found[sweep->count++] = s;
}

size_t wawo_endpoint_disconnect(struct wawo_endpoint *e, int64_t period_ns, bool silent)
{
    struct sweep sweep = {.endpoint = e, .before_ns = wawo_os_now_ns() - period_ns, .silent = silent};
    size_t closed = 0;
    uint32_t slot;
    unsigned i, k;
    bool more;

    for (i = 0; i < e->branch_count; i++) {
        slot = 0;
        do {
            sweep.count = 0;
            more = wawo_table_walk(&e->threads->loops[i].table, &slot, sweep_one, &sweep);
            for (k = 0; k < sweep.count; k++) { /* not under the table's lock: closing may want it */
                closed += wawo_share_close(sweep.found[k]);
                wawo_share_drop(sweep.found[k]);
            }
        } while (more);
    }
    return closed;
}
