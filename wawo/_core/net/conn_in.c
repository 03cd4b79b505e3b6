/* F4 conn, the way in: from a read through the filters to events, what a pause keeps back, and the pauses themselves. */
#include "conn.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "net.h"
#include "preamble.h"

/* ---- filters ---- */

void wawo_conn_close_filters(struct wawo_conn *c)
{
    struct wawo_filter *f;

    while ((f = c->filter) != NULL) {
        c->filter = f->up;
        f->cfg->ops->fini(f, c);
        wawo_free(f);
    }
}

/* The chain of this connection, lowest first. */
int wawo_conn_open_filters(struct wawo_conn *c)
{
    const struct wawo_endpoint *e = c->branch->endpoint;
    struct wawo_filter **link = &c->filter, *f;
    unsigned i;

    for (i = 0; i < e->filter_count; i++) {
        f = wawo_alloc(e->filters[i].ops->size);
        if (f == NULL) {
            wawo_conn_close_filters(c);
            return WAWO_ENOMEM;
        }
        f->cfg = &e->filters[i];
        f->up = NULL;
        f->cfg->ops->init(f);
        *link = f;
        link = &f->up;
    }
    if (wawo_likely(!e->options.tls))
        return 0;
    if (wawo_tls_push(c) != 0) {
        wawo_conn_close_filters(c);
        return WAWO_ENOMEM;
    }
    wawo_tls_of(c)->plain = c->sock.out; /* what was sent before it was connected */
    wawo_ring_init(&c->sock.out);
    return 0;
}

/* ---- pausing ---- */

void wawo_conn_pause(struct wawo_conn *c, unsigned reason)
{
    struct wawo_net *net = wawo_net_of(c);

    bool received = wawo_conn_receives(c);

    c->pauses |= (uint8_t)reason;
    if (received && !wawo_conn_receives(c))
        net->loop->ops->recv_stop(net->loop->backend, &c->sock);
    if (reason & (WAWO_PAUSE_WATER | WAWO_PAUSE_MEMORY))
        wawo_bump(&c->branch->stats.receive_pauses, 1);
}

void wawo_conn_unpause(struct wawo_conn *c, unsigned reason)
{
    bool received = wawo_conn_receives(c);

    if (!(c->pauses & reason))
        return;
    c->pauses &= (uint8_t)~reason;
    if (!wawo_conn_receives(c) || (received && c->backlog == NULL))
        return;
    if (c->state == WAWO_CONN_OPEN) /* else it has a limit already */
        wawo_conn_watch_silence(c);
    wawo_conn_receive_on(c);
}

void wawo_conn_receive_on(struct wawo_conn *c)
{
    if (c->backlog != NULL)
        wawo_net_touch(c); /* what was held back comes first */
    else if (c->eof || c->broken != 0)
        wawo_net_touch(c);
    else
        wawo_net_of(c)->loop->ops->recv_start(wawo_net_of(c)->loop->backend, &c->sock);
}

void wawo_conn_discard_input(struct wawo_conn *c)
{
    struct wawo_net *net = wawo_net_of(c);

    wawo_conn_drop_backlog(c);
    c->pauses = 0; /* a reset must be noticed, and unread input would turn our FIN into one */
    if (!c->eof)
        net->loop->ops->recv_start(net->loop->backend, &c->sock);
}

void wawo_conn_fed(struct wawo_conn *c)
{
    wawo_list_remove(&c->starving);
    if (c->state == WAWO_CONN_OPEN || wawo_conn_reads_on(c))
        wawo_conn_unpause(c, WAWO_PAUSE_MEMORY);
    else if (c->state != WAWO_CONN_CONNECTING && c->state < WAWO_CONN_DETACHING)
        wawo_net_of(c)->loop->ops->recv_start(wawo_net_of(c)->loop->backend, &c->sock);
}

void wawo_conn_drop_backlog(struct wawo_conn *c)
{
    struct wawo_net *net = wawo_net_of(c);
    struct wawo_backlog *b = c->backlog;
    struct wawo_held *h;

    if (b == NULL)
        return;
    while ((h = b->first) != NULL) {
        b->first = h->next;
        if (h->event.chunk != NULL)
            wawo_chunk_drop(h->event.chunk);
        wawo_slab_give(&net->helds, h);
    }
    wawo_ring_clear(&b->in, &net->loop->heap);
    wawo_conn_unkeep(b);
    wawo_slab_give(&net->backlogs, b);
    c->backlog = NULL;
}

static struct wawo_backlog *backlog_of(struct wawo_conn *c)
{
    struct wawo_backlog *b = c->backlog;

    if (b != NULL)
        return b;
    c->backlog = b = wawo_slab_take(&wawo_net_of(c)->backlogs);
    if (b != NULL) {
        memset(b, 0, sizeof *b);
        b->conn = c;
        wawo_list_init(&b->loose);
    }
    return b;
}

int wawo_conn_expect_nothing(struct wawo_conn *c)
{
    return backlog_of(c) != NULL ? 0 : WAWO_ENOMEM;
}

void wawo_conn_hold_event(struct wawo_conn *c, const struct wawo_event *e)
{
    struct wawo_backlog *b = backlog_of(c);
    struct wawo_held *h, **link;

    if (wawo_unlikely(c->secure) && wawo_tls_of(c)->starting) {
        wawo_tls_leftover(c);
        return;
    }
    h = b != NULL ? wawo_slab_take(&wawo_net_of(c)->helds) : NULL;
    if (h == NULL) {
        wawo_conn_end(c, WAWO_OP_RECEIVE, ENOMEM);
        return;
    }
    h->event = *e;
    h->event.owned = e->chunk != NULL;
    if (e->chunk != NULL)
        wawo_chunk_hold(e->chunk);
    /* Behind what this delivery held back before, but in front of what an earlier one left: all events of a batch are
     * older than what the backlog still had when they were put into it. */
    link = b->fresh != NULL ? &b->fresh->next : &b->first;
    h->next = *link;
    *link = b->fresh = h;
    c->share->holding = 1;
    wawo_conn_keep(b);
}

/* ---- receiving ---- */

bool wawo_conn_full(const struct wawo_conn *c)
{
    return wawo_net_of(c)->batch.count >= WAWO_BATCH_FULL;
}

void wawo_conn_break(struct wawo_conn *c, int error)
{
    struct wawo_net *net = wawo_net_of(c);

    c->broken = (int16_t)-error;
    net->loop->ops->recv_stop(net->loop->backend, &c->sock);
    wawo_net_touch(c);
}

/* Hands the reference of a read's chunk to the last event that shows a part of it. */
static void settle_reference(struct wawo_net *net, unsigned from, struct wawo_chunk *chunk)
{
    unsigned i;

    for (i = net->batch.count; i-- > from;) {
        struct wawo_event *e = &net->batch.events[i];

        if (e->chunk == chunk && e->kind == WAWO_ON_RECEIVE && !e->owned) {
            e->owned = 1;
            return;
        }
    }
    wawo_chunk_drop(chunk);
}

void wawo_conn_rise(struct wawo_conn *c, struct wawo_filter *from, const struct wawo_span *in, bool owned)
{
    struct wawo_event *e;
    unsigned before;
    ptrdiff_t n;

    if (from != NULL && from->up != NULL) {
        before = wawo_net_of(c)->batch.count;
        n = c->broken == 0 ? from->up->cfg->ops->input(from->up, c, in) : (ptrdiff_t)in->len;
        if (owned)
            settle_reference(wawo_net_of(c), before, in->chunk);
        if (n < 0)
            wawo_conn_break(c, (int)n);
        else
            WAWO_CHECK((size_t)n == in->len); /* only the lowest may leave a rest */
        return;
    }
    wawo_bump(&c->branch->stats.messages_in, 1);
    if (wawo_unlikely(!wawo_net_listens(c, WAWO_ON_RECEIVE))) {
        if (owned)
            wawo_chunk_drop(in->chunk);
        return;
    }
    e = wawo_event_add(wawo_net_of(c), WAWO_ON_RECEIVE, c);
    e->chunk = in->chunk;
    e->ptr = in->ptr;
    e->len = in->len;
    e->owned = owned;
}

size_t wawo_conn_offer(struct wawo_conn *c, struct wawo_filter *from, const struct wawo_span *in)
{
    struct wawo_net *net = wawo_net_of(c);
    unsigned before = net->batch.count;
    ptrdiff_t n = c->broken == 0 ? from->up->cfg->ops->input(from->up, c, in) : (ptrdiff_t)in->len;

    if (n >= 0 && (size_t)n < in->len)
        wawo_chunk_hold(in->chunk);
    settle_reference(net, before, in->chunk);
    if (n >= 0)
        return (size_t)n;
    wawo_conn_break(c, (int)n);
    return in->len;
}

/* Runs bytes up the chain until they are used up or the batch is full; takes over the chunk's reference. What is left
 * of them stays in *in, with a reference of its own. */
static bool feed(struct wawo_conn *c, struct wawo_span *in)
{
    struct wawo_net *net = wawo_net_of(c);
    unsigned before = net->batch.count;
    ptrdiff_t n;
    bool more;

    if (wawo_likely(c->filter == NULL)) {
        wawo_conn_rise(c, NULL, in, true);
        return false;
    }
    n = c->filter->cfg->ops->input(c->filter, c, in);
    more = n >= 0 && (size_t)n < in->len;
    if (more) {
        in->ptr += n;
        in->len -= (size_t)n;
        wawo_chunk_hold(in->chunk);
    }
    settle_reference(net, before, in->chunk);
    if (n < 0)
        wawo_conn_break(c, (int)n);
    return more;
}

/* Keeps bytes that arrived while paused; takes over the reference. */
static void keep_input(struct wawo_conn *c, const struct wawo_span *in)
{
    struct wawo_backlog *b = backlog_of(c);

    if (b != NULL && wawo_ring_append(&b->in, &wawo_net_of(c)->loop->heap, in->ptr, in->len, in->chunk, NULL) == 0) {
        wawo_conn_keep(b);
        return;
    }
    wawo_chunk_drop(in->chunk);
    wawo_conn_end(c, WAWO_OP_RECEIVE, ENOMEM);
}

/* Feeds and delivers in turn, so that one read full of tiny messages makes several batches of bounded size. */
static void take_input(struct wawo_conn *c, struct wawo_span *in)
{
    while (feed(c, in)) {
        if (wawo_likely(wawo_conn_full(c)))
            (void)wawo_net_deliver(wawo_net_of(c), true);
        if (c->state != WAWO_CONN_OPEN) {
            wawo_chunk_drop(in->chunk);
            return;
        }
        if ((c->pauses & (WAWO_PAUSE_USER | WAWO_PAUSE_MEMORY | WAWO_PAUSE_TLS)) ||
            c->backlog != NULL) { /* it may be resumed, with events still held */
            keep_input(c, in);
            return;
        }
    }
}

/* Of a connection that is not open, or whose stream is broken. */
static void take_late(struct wawo_conn *c, struct wawo_span *in)
{
    if (c->state == WAWO_CONN_PREAMBLE) {
        if (!wawo_preamble_take(c, in))
            wawo_chunk_drop(in->chunk);
        else if (c->secure)
            keep_input(c, in); /* it has no session yet */
        else
            take_input(c, in);
    } else if (!wawo_conn_reads_on(c)) {
        wawo_chunk_drop(in->chunk); /* closing: nobody reads it */
    } else if (c->backlog != NULL || !wawo_conn_receives(c) || feed(c, in)) {
        keep_input(c, in);
    }
}

void wawo_conn_received(struct wawo_conn *c, struct wawo_done *d)
{
    struct wawo_span in = {d->chunk, d->ptr, d->len};
    struct wawo_net *net = wawo_net_of(c);

    wawo_store_relaxed(&c->share->received_ns, net->loop->now_ns);
    wawo_bump(&c->branch->stats.bytes_in, d->len);
    if (wawo_unlikely(c->rate != NULL))
        wawo_conn_spend_rate(c, d->len);
    if (wawo_unlikely(c->state != WAWO_CONN_OPEN || c->broken != 0)) {
        take_late(c, &in);
    } else if (wawo_unlikely((c->pauses & (WAWO_PAUSE_USER | WAWO_PAUSE_TLS)) || c->backlog != NULL) &&
               (c->backlog != NULL || !wawo_conn_receives(c))) {
        keep_input(c, &in);
    } else {
        take_input(c, &in);
    }
}

void wawo_conn_receive_failed(struct wawo_conn *c, int error)
{
    struct wawo_net *net = wawo_net_of(c);

    if (error == WAWO_ENOBUFS) { /* the pool is at its limit: go on when chunks come home */
        if (c->state == WAWO_CONN_OPEN || wawo_conn_reads_on(c))
            wawo_conn_pause(c, WAWO_PAUSE_MEMORY);
        wawo_list_remove(&c->starving);
        wawo_list_push(&net->starving, &c->starving);
        return;
    }
    wawo_conn_end(c, WAWO_OP_RECEIVE, -error);
}

void wawo_conn_receive_ended(struct wawo_conn *c)
{
    c->eof = true;
    if (c->state == WAWO_CONN_LINGERING)
        wawo_conn_end(c, WAWO_OP_CLOSE, 0); /* its reason is noted */
    else
        wawo_net_touch(c); /* noticed after the batch: callbacks may still answer, and what is kept comes first */
}

/* Delivers what was held back; true when that made events, which go first. */
bool wawo_conn_run_backlog(struct wawo_conn *c)
{
    struct wawo_net *net = wawo_net_of(c);
    struct wawo_backlog *b = c->backlog;
    unsigned before = net->batch.count;
    struct wawo_held *h;
    struct wawo_span in;
    bool more;

    while ((h = b->first) != NULL && !wawo_conn_full(c)) {
        b->first = h->next;
        *wawo_event_add(net, WAWO_ON_RECEIVE, c) = h->event;
        wawo_slab_give(&net->helds, h);
    }
    while (b->first == NULL && b->in.head != NULL && c->broken == 0 && !wawo_conn_full(c) &&
           !(c->pauses & (WAWO_PAUSE_MEMORY | WAWO_PAUSE_TLS))) {
        in = (struct wawo_span){b->in.head->owner, b->in.head->ptr, b->in.head->len};
        wawo_chunk_hold(in.chunk);
        more = feed(c, &in);
        wawo_ring_consume(&b->in, &net->loop->heap, more ? (size_t)(in.ptr - b->in.head->ptr) : b->in.head->len);
        if (more)
            wawo_chunk_drop(in.chunk);
    }
    if (c->broken != 0)
        wawo_ring_clear(&b->in, &net->loop->heap);
    if (b->first == NULL && b->in.head == NULL) {
        wawo_conn_drop_backlog(c);
        if (!c->eof && c->broken == 0 && wawo_conn_receives(c))
            net->loop->ops->recv_start(net->loop->backend, &c->sock);
    }
    return net->batch.count != before;
}
