/* F4 conn, what is kept back: a paused connection may hold a whole chunk of the pool for a few bytes, and some of them all
 * chunks of a loop. So a few bytes are moved into a block of their own as soon as they have to wait, more when chunks are
 * short. Those blocks have a limit too: as much again as the pool. */
#include "conn.h"

#include "../base/atomic.h"
#include "net.h"

enum {
    FEW = 4 * 1024, /* bytes: to copy them costs less than to ask what it would spare */
    SOME_EVENTS = 64, /* that a session which has to read on adds to in a pause */
    SOME_BYTES = 64 * 1024
};

struct packing {
    struct wawo_chunk *to; /* NULL: what there is to be moved is only counted */
    size_t bytes;
    unsigned parts;
};

/* A part of what is kept; the chunk that it lies in from now on. */
static struct wawo_chunk *pack_part(struct packing *p, struct wawo_chunk *from, const uint8_t **ptr, size_t len)
{
    struct wawo_chunk *to = p->to;

    if (from == NULL || from->pool == NULL || from->exported)
        return from;
    if (to == NULL) {
        p->bytes += len;
        p->parts++;
        return from;
    }
    memcpy(to->data + to->used, *ptr, len);
    *ptr = to->data + to->used;
    to->used += len;
    wawo_chunk_hold(to);
    wawo_chunk_drop(from);
    return to;
}

static void pack_each(struct wawo_backlog *b, struct packing *p)
{
    struct wawo_span *rest = b->conn->secure ? &wawo_tls_of(b->conn)->rest : NULL;
    struct wawo_slice *s;
    struct wawo_held *h;

    for (h = b->first; h != NULL; h = h->next)
        h->event.chunk = pack_part(p, h->event.chunk, &h->event.ptr, h->event.len);
    for (s = b->in.head; s != NULL; s = s->next)
        s->owner = pack_part(p, s->owner, &s->ptr, s->len);
    if (rest != NULL)
        rest->chunk = pack_part(p, rest->chunk, &rest->ptr, rest->len);
}

/* Moves what lies in chunks of the pool, if it is at most that much. false: it stays there. */
static bool pack(struct wawo_net *net, struct wawo_backlog *b, size_t most)
{
    struct packing p = {NULL, 0, 0};
    struct wawo_pool_stats pool;

    pack_each(b, &p);
    wawo_pool_stats(net->loop->heap.pool, &pool);
    if (p.bytes > most || net->stats.pool_kept + p.bytes > pool.limit * WAWO_CHUNK_DATA)
        return false;
    if (p.parts > 0) {
        p.to = wawo_chunk_new(p.bytes);
        if (p.to == NULL)
            return false;
        pack_each(b, &p);
        wawo_chunk_drop(p.to);
        b->packed += p.bytes;
        wawo_bump(&net->stats.pool_kept, p.bytes);
    }
    wawo_list_remove(&b->loose);
    return true;
}

void wawo_conn_keep(struct wawo_backlog *b)
{
    wawo_list_remove(&b->loose);
    wawo_list_push(&wawo_net_of(b->conn)->loose, &b->loose);
    b->grown = true;
    wawo_net_touch(b->conn);
}

bool wawo_conn_keeps_enough(const struct wawo_conn *c)
{
    const struct wawo_held *h = c->backlog != NULL ? c->backlog->first : NULL;
    size_t bytes = 0;
    unsigned n = 0;

    if (c->state != WAWO_CONN_OPEN)
        return false;
    for (; h != NULL && n < SOME_EVENTS; h = h->next, n++)
        bytes += h->event.len;
    return n == SOME_EVENTS || bytes + wawo_pull_over(c) > SOME_BYTES;
}

/* Whether it is time for what is kept; of a session that needs to read, not for nothing but events of a paused listener. */
static bool runs(const struct wawo_conn *c)
{
    const struct wawo_backlog *b = c->backlog;
    bool waits = b->first != NULL && b->in.head == NULL && (c->pauses & WAWO_PAUSE_USER) && c->state == WAWO_CONN_OPEN;

    return wawo_conn_receives(c) && !waits;
}

bool wawo_conn_settle_backlog(struct wawo_conn *c)
{
    c->backlog->fresh = NULL;
    c->share->holding = 0;
    if (c->secure && wawo_tls_of(c)->starting && c->state == WAWO_CONN_OPEN)
        wawo_tls_start(c);
    if (c->backlog == NULL)
        return false;
    if (runs(c))
        return wawo_conn_run_backlog(c);
    if (c->backlog->grown)
        (void)pack(wawo_net_of(c), c->backlog, FEW);
    c->backlog->grown = false;
    return false;
}

void wawo_conn_pack_all(struct wawo_net *net)
{
    struct wawo_list some;

    wawo_list_init(&some);
    wawo_list_splice(&some, &net->loose);
    while (!wawo_list_empty(&some) && pack(net, wawo_container_of(some.next, struct wawo_backlog, loose), SIZE_MAX))
        continue;
    wawo_list_splice(&net->loose, &some);
}

void wawo_conn_unkeep(struct wawo_backlog *b)
{
    wawo_list_remove(&b->loose);
    wawo_bump(&wawo_net_of(b->conn)->stats.pool_kept, 0 - (wawo_u64)b->packed);
}
