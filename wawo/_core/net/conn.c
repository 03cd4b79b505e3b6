#include "conn.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "dial.h"
#include "net.h"

static void timer_fired(struct wawo_timer *t);

static inline struct wawo_net *net_of(const struct wawo_conn *c)
{
    return c->branch->net;
}

static inline const struct wawo_backend_ops *backend_of(const struct wawo_conn *c)
{
    return net_of(c)->loop->ops;
}

static inline bool listened(const struct wawo_conn *c, enum wawo_event_kind kind)
{
    return (c->branch->endpoint->mask & wawo_event_bit(kind)) != 0;
}

static void touch(struct wawo_conn *c)
{
    if (!c->dirty)
        wawo_net_dirty(net_of(c), c);
}

/* ---- birth and death ---- */

static size_t live; /* atomic */

size_t wawo_live_conns(void)
{
    return wawo_load(&live);
}

struct wawo_conn *wawo_conn_new(struct wawo_branch *branch, struct wawo_share *share)
{
    struct wawo_conn *c = wawo_slab_take(&branch->net->conns);

    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    wawo_sock_init(&c->sock, WAWO_SOCK_CONN);
    c->share = share;
    c->branch = branch;
    c->state = WAWO_CONN_CONNECTING;
    wawo_timer_init(&c->timer, timer_fired);
    wawo_list_init(&c->starving);
    wawo_list_push(&branch->conns, &c->link);
    wawo_share_hold(share);
    share->conn = c;
    wawo_table_bind(&branch->net->loop->table, share->id, &c->sock);
    wawo_add_relaxed(&live, 1);
    return c;
}

static void close_filters(struct wawo_conn *c)
{
    struct wawo_filter *f;

    while ((f = c->filter) != NULL) {
        c->filter = f->up;
        f->cfg->ops->fini(f);
        wawo_free(f);
    }
}

/* The chain of this connection, lowest first. */
static int open_filters(struct wawo_conn *c)
{
    const struct wawo_endpoint *e = c->branch->endpoint;
    struct wawo_filter **link = &c->filter, *f;
    unsigned i;

    for (i = 0; i < e->filter_count; i++) {
        f = wawo_alloc(e->filters[i].ops->size);
        if (f == NULL) {
            close_filters(c);
            return WAWO_ENOMEM;
        }
        f->cfg = &e->filters[i];
        f->up = NULL;
        f->cfg->ops->init(f);
        *link = f;
        link = &f->up;
    }
    return 0;
}

int wawo_conn_open(struct wawo_conn *c, int fd, const struct wawo_addr *remote, const struct wawo_addr *local,
                   enum wawo_event_kind first)
{
    struct wawo_share *s = c->share;
    struct wawo_net *net = net_of(c);
    int err = open_filters(c);

    if (err != 0)
        return err;
    s->remote = *remote;
    s->local = *local;
    wawo_store_relaxed(&s->received_ns, net->loop->now_ns);
    wawo_store(&s->connected_ns, net->loop->now_ns);
    net->loop->ops->attach(net->loop->backend, &c->sock, fd);
    c->state = WAWO_CONN_OPEN;
    wawo_share_advance(s, WAWO_SHARE_OPEN);
    /* What was asked for before there was a connection. */
    if (wawo_load_relaxed(&s->shut))
        c->shut = true;
    if (wawo_share_paused(s))
        c->pauses |= WAWO_PAUSE_USER;
    if (listened(c, first))
        (void)wawo_event_add(net, first, c);
    if (listened(c, WAWO_ON_HANDSHAKE))
        (void)wawo_event_add(net, WAWO_ON_HANDSHAKE, c);
    if (c->pauses == 0)
        net->loop->ops->recv_start(net->loop->backend, &c->sock);
    if (c->sock.out.bytes > 0 || wawo_load_relaxed(&s->posted) > 0 || c->shut)
        touch(c);
    return 0;
}

static void drop_backlog(struct wawo_conn *c)
{
    struct wawo_net *net = net_of(c);
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
    wawo_slab_give(&net->backlogs, b);
    c->backlog = NULL;
}

static void publish_queued(struct wawo_conn *c)
{
    if (wawo_load_relaxed(&c->share->queued) != c->sock.out.bytes)
        wawo_store_relaxed(&c->share->queued, c->sock.out.bytes);
}

static void drop_output(struct wawo_conn *c)
{
    wawo_ring_adopt(&c->sock.out, wawo_share_take_posts(c->share));
    wawo_branch_account(c->branch, -(int64_t)c->sock.out.bytes);
    wawo_ring_clear(&c->sock.out, &net_of(c)->loop->heap);
    publish_queued(c);
}

/* Nothing of it is in flight any more. */
static void gone(struct wawo_conn *c)
{
    struct wawo_event *e;

    drop_output(c);
    c->bare = false;
    c->state = WAWO_CONN_GONE;
    if (listened(c, WAWO_ON_CLOSE) || wawo_share_user(c->share) != NULL) {
        e = wawo_event_add(net_of(c), WAWO_ON_CLOSE, c);
        e->operation = c->share->operation;
        e->error = c->share->error;
    } else {
        wawo_conn_free(c);
    }
}

void wawo_conn_free(struct wawo_conn *c)
{
    struct wawo_branch *b = c->branch;
    struct wawo_net *net = b->net;

    WAWO_CHECK(c->state == WAWO_CONN_GONE);
    if (c->dirty) { /* settle() meets it once more and then lets it go */
        c->told = true;
        return;
    }
    wawo_table_close(&net->loop->table, c->sock.id);
    c->share->conn = NULL;
    wawo_share_drop(c->share);
    close_filters(c);
    wawo_list_remove(&c->link);
    wawo_list_remove(&c->starving);
    wawo_slab_give(&net->conns, c);
    wawo_sub(&live, 1);
    wawo_bump(&b->stats.closed, 1);
    wawo_branch_unbook(b);
}

void wawo_conn_forget(struct wawo_conn *c)
{
    wawo_share_advance(c->share, WAWO_SHARE_CLOSED);
    c->state = WAWO_CONN_GONE;
    wawo_conn_free(c);
}

/* ---- closing ---- */

static void note_reason(struct wawo_conn *c, enum wawo_operation op, int error)
{
    struct wawo_share *s = c->share;
    int before = s->error;

    /* Whether a reset or a broken pipe is met while reading or while writing is chance: both are the peer's reset. */
    if (error == EPIPE)
        error = ECONNRESET;
    if (error == ECONNRESET)
        op = WAWO_OP_CLOSE;
    if (s->operation == WAWO_OP_UNKNOWN) {
        wawo_store_relaxed(&s->error, error);
        wawo_store_relaxed(&s->operation, (uint8_t)op);
    } else if (before == 0 && c->state == WAWO_CONN_FLUSHING) {
        wawo_store_relaxed(&s->error, error); /* what was accepted did not all arrive */
    }
}

static void detach(struct wawo_conn *c, bool reset)
{
    struct wawo_net *net = net_of(c);

    wawo_share_advance(c->share, WAWO_SHARE_CLOSED);
    wawo_timer_cancel(&net->loop->wheel, &c->timer);
    drop_backlog(c);
    wawo_list_remove(&c->starving);
    c->state = WAWO_CONN_DETACHING;
    if (c->sock.fd >= 0) {
        net->loop->ops->detach(net->loop->backend, &c->sock, reset);
    } else { /* told when it is settled: thousands may end in one call, and the batch has its bounds */
        c->bare = true;
        touch(c);
    }
}

static void end(struct wawo_conn *c, enum wawo_operation op, int error, bool reset)
{
    if (c->state >= WAWO_CONN_DETACHING)
        return;
    if (c->dial != NULL) {
        op = WAWO_OP_CONNECT;
        if (error == 0)
            error = ECANCELED;
        wawo_dial_drop(c);
    }
    note_reason(c, op, error);
    detach(c, reset);
}

void wawo_conn_abort(struct wawo_conn *c, enum wawo_operation op, int error)
{
    end(c, op, error, true);
}

void wawo_conn_end(struct wawo_conn *c, enum wawo_operation op, int error)
{
    end(c, op, error, false);
}

/* Looks again after close_timeout. */
static void watch_progress(struct wawo_conn *c)
{
    struct wawo_net *net = net_of(c);

    c->moved = false;
    c->unacknowledged = wawo_os_unacknowledged(c->sock.fd);
    wawo_timer_set(&net->loop->wheel, &c->timer, net->loop->now_ns + c->branch->endpoint->options.close_timeout_ns);
}

static void begin_close(struct wawo_conn *c, enum wawo_operation op, int error)
{
    struct wawo_net *net = net_of(c);

    wawo_share_advance(c->share, WAWO_SHARE_CLOSING);
    note_reason(c, op, error);
    drop_backlog(c);
    c->state = WAWO_CONN_FLUSHING;
    c->shut = true;
    c->pauses = 0; /* a reset must be noticed, and unread input would turn our FIN into one */
    if (!c->eof)
        net->loop->ops->recv_start(net->loop->backend, &c->sock);
    watch_progress(c);
}

void wawo_conn_close(struct wawo_conn *c, enum wawo_operation op, int error)
{
    if (c->state >= WAWO_CONN_FLUSHING)
        return;
    if (c->state == WAWO_CONN_CONNECTING) {
        wawo_conn_end(c, WAWO_OP_CONNECT, error != 0 ? error : ECANCELED);
        return;
    }
    begin_close(c, op, error);
    touch(c);
}

/* A slow receiver may take its time, a stuck one may not: whether the kernel or the peer took anything since. The
 * kernel's own buffer may hold megabytes, so it takes nothing more for long while the peer reads on. */
static bool progressed(const struct wawo_conn *c)
{
    int left = wawo_os_unacknowledged(c->sock.fd);

    return c->moved || (left >= 0 && left < c->unacknowledged);
}

static void timer_fired(struct wawo_timer *t)
{
    struct wawo_conn *c = wawo_container_of(t, struct wawo_conn, timer);

    if (c->state == WAWO_CONN_CONNECTING)
        wawo_conn_end(c, WAWO_OP_CONNECT, ETIMEDOUT);
    else if (c->state != WAWO_CONN_FLUSHING && c->state != WAWO_CONN_LINGERING)
        return;
    else if (progressed(c))
        watch_progress(c);
    else if (c->state == WAWO_CONN_FLUSHING)
        wawo_conn_abort(c, WAWO_OP_CLOSE, ETIMEDOUT);
    else
        detach(c, false); /* all is with the kernel, which goes on without us */
}

/* ---- pausing ---- */

static void pause_for(struct wawo_conn *c, unsigned reason)
{
    struct wawo_net *net = net_of(c);

    if (c->pauses == 0 && c->state == WAWO_CONN_OPEN)
        net->loop->ops->recv_stop(net->loop->backend, &c->sock);
    c->pauses |= (uint8_t)reason;
    if (reason != WAWO_PAUSE_USER)
        wawo_bump(&c->branch->stats.receive_pauses, 1);
}

static void unpause_for(struct wawo_conn *c, unsigned reason)
{
    struct wawo_net *net = net_of(c);

    if (!(c->pauses & reason))
        return;
    c->pauses &= (uint8_t)~reason;
    if (c->pauses != 0 || c->state != WAWO_CONN_OPEN)
        return;
    if (c->backlog != NULL)
        touch(c); /* what was held back comes first */
    else if (c->eof || c->broken != 0)
        touch(c);
    else
        net->loop->ops->recv_start(net->loop->backend, &c->sock);
}

void wawo_conn_fed(struct wawo_conn *c)
{
    wawo_list_remove(&c->starving);
    if (c->state == WAWO_CONN_OPEN)
        unpause_for(c, WAWO_PAUSE_MEMORY);
    else if (c->state == WAWO_CONN_FLUSHING || c->state == WAWO_CONN_LINGERING)
        backend_of(c)->recv_start(net_of(c)->loop->backend, &c->sock);
}

static struct wawo_backlog *backlog_of(struct wawo_conn *c)
{
    if (c->backlog == NULL) {
        c->backlog = wawo_slab_take(&net_of(c)->backlogs);
        if (c->backlog != NULL)
            memset(c->backlog, 0, sizeof *c->backlog);
    }
    return c->backlog;
}

void wawo_conn_hold_event(struct wawo_conn *c, const struct wawo_event *e)
{
    struct wawo_backlog *b = backlog_of(c);
    struct wawo_held *h = b != NULL ? wawo_slab_take(&net_of(c)->helds) : NULL, **link;

    if (h == NULL) {
        wawo_conn_end(c, WAWO_OP_RECEIVE, ENOMEM);
        return;
    }
    h->event = *e;
    h->event.owned = 1;
    if (e->chunk != NULL)
        wawo_chunk_hold(e->chunk);
    /* Behind what this delivery held back before, but in front of what an earlier one left: all events of a batch are
     * older than what the backlog still had when they were put into it. */
    link = b->fresh != NULL ? &b->fresh->next : &b->first;
    h->next = *link;
    *link = b->fresh = h;
    c->share->holding = 1;
    touch(c);
}

/* ---- receiving ---- */

bool wawo_conn_full(const struct wawo_conn *c)
{
    return net_of(c)->batch.count >= WAWO_BATCH_FULL;
}

/* Nothing after this point of the stream can be read; what came before it is delivered, then the close begins. */
static void break_stream(struct wawo_conn *c, int error)
{
    struct wawo_net *net = net_of(c);

    c->broken = (int16_t)-error;
    net->loop->ops->recv_stop(net->loop->backend, &c->sock);
    touch(c);
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
        before = net_of(c)->batch.count;
        n = c->broken == 0 ? from->up->cfg->ops->input(from->up, c, in) : (ptrdiff_t)in->len;
        if (owned)
            settle_reference(net_of(c), before, in->chunk);
        if (n < 0)
            break_stream(c, (int)n);
        else
            WAWO_CHECK((size_t)n == in->len); /* only the lowest may leave a rest */
        return;
    }
    wawo_bump(&c->branch->stats.messages_in, 1);
    if (wawo_unlikely(!listened(c, WAWO_ON_RECEIVE))) {
        if (owned)
            wawo_chunk_drop(in->chunk);
        return;
    }
    e = wawo_event_add(net_of(c), WAWO_ON_RECEIVE, c);
    e->chunk = in->chunk;
    e->ptr = in->ptr;
    e->len = in->len;
    e->owned = owned;
}

/* Runs bytes up the chain until they are used up or the batch is full; takes over the chunk's reference. What is left
 * of them stays in *in, with a reference of its own. */
static bool feed(struct wawo_conn *c, struct wawo_span *in)
{
    struct wawo_net *net = net_of(c);
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
        break_stream(c, (int)n);
    return more;
}

/* Keeps bytes that arrived while paused; takes over the reference. */
static void keep_input(struct wawo_conn *c, const struct wawo_span *in)
{
    struct wawo_backlog *b = backlog_of(c);

    if (b != NULL && wawo_ring_append(&b->in, &net_of(c)->loop->heap, in->ptr, in->len, in->chunk, NULL) == 0)
        return;
    wawo_chunk_drop(in->chunk);
    wawo_conn_end(c, WAWO_OP_RECEIVE, ENOMEM);
}

/* Feeds and delivers in turn, so that one read full of tiny messages makes several batches of bounded size. */
static void take_input(struct wawo_conn *c, struct wawo_span *in)
{
    while (feed(c, in)) {
        (void)wawo_net_deliver(net_of(c), true);
        if (c->state != WAWO_CONN_OPEN) {
            wawo_chunk_drop(in->chunk);
            return;
        }
        if ((c->pauses & WAWO_PAUSE_USER) || c->backlog != NULL) { /* it may be resumed, with events still held */
            keep_input(c, in);
            return;
        }
    }
}

static void received(struct wawo_conn *c, struct wawo_done *d)
{
    struct wawo_span in = {d->chunk, d->ptr, d->len};
    struct wawo_net *net = net_of(c);

    wawo_store_relaxed(&c->share->received_ns, net->loop->now_ns);
    wawo_bump(&c->branch->stats.bytes_in, d->len);
    if (wawo_unlikely(c->state != WAWO_CONN_OPEN || c->broken != 0))
        wawo_chunk_drop(d->chunk); /* closing: nobody reads it */
    else if (wawo_unlikely((c->pauses & WAWO_PAUSE_USER) || c->backlog != NULL))
        keep_input(c, &in);
    else
        take_input(c, &in);
}

static void receive_failed(struct wawo_conn *c, int error)
{
    struct wawo_net *net = net_of(c);

    if (error == WAWO_ENOBUFS) { /* the pool is at its limit: go on when chunks come home */
        if (c->state == WAWO_CONN_OPEN)
            pause_for(c, WAWO_PAUSE_MEMORY);
        wawo_list_remove(&c->starving);
        wawo_list_push(&net->starving, &c->starving);
        return;
    }
    wawo_conn_end(c, WAWO_OP_RECEIVE, -error);
}

static void end_of_stream(struct wawo_conn *c)
{
    c->eof = true;
    if (c->state == WAWO_CONN_LINGERING)
        detach(c, false);
    else
        touch(c); /* noticed after the batch: callbacks may still answer */
}

/* Delivers what was held back; true when that made events, which go first. */
static bool run_backlog(struct wawo_conn *c)
{
    struct wawo_net *net = net_of(c);
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
    while (b->first == NULL && b->in.head != NULL && c->broken == 0 && !wawo_conn_full(c)) {
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
        drop_backlog(c);
        if (!c->eof && c->broken == 0 && c->pauses == 0)
            net->loop->ops->recv_start(net->loop->backend, &c->sock);
    }
    return net->batch.count != before;
}

/* ---- sending ---- */

size_t wawo_conn_pending(const struct wawo_conn *c)
{
    return c->sock.out.bytes + wawo_load_relaxed(&c->share->posted);
}

static void check_high_water(struct wawo_conn *c)
{
    if (!c->above && c->sock.out.bytes > c->branch->endpoint->options.high_water)
        c->above = true;
}

/* What other threads queued goes behind what is queued already. */
static void take_posts(struct wawo_conn *c)
{
    wawo_ring_adopt(&c->sock.out, wawo_share_take_posts(c->share));
    publish_queued(c);
    check_high_water(c);
}

static int admit(const struct wawo_conn *c, size_t bytes)
{
    const struct wawo_options *o = &c->branch->endpoint->options;

    if (wawo_unlikely(c->sock.out.bytes + bytes > o->max_pending))
        return WAWO_ENOBUFS;
    if (wawo_unlikely(wawo_branch_pending_total(c->branch) + (int64_t)bytes > (int64_t)o->max_pending_total))
        return WAWO_ENOBUFS;
    return 1;
}

int wawo_conn_send(struct wawo_conn *c, const void *data, size_t len, struct wawo_chunk *chunk, void *loan)
{
    struct wawo_endpoint *e = c->branch->endpoint;
    struct wawo_heap *heap = &net_of(c)->loop->heap;
    struct wawo_ring *out = &c->sock.out;
    struct wawo_envelope env;
    bool parked;
    int rc;

    if (wawo_unlikely(wawo_load_relaxed(&c->share->state) > WAWO_SHARE_OPEN || wawo_load_relaxed(&c->share->shut)))
        return 0;
    if (wawo_unlikely(wawo_load_relaxed(&c->share->posted) != 0))
        take_posts(c);
    rc = wawo_endpoint_seal(e, len, &env);
    if (wawo_unlikely(rc < 0))
        return rc;
    rc = admit(c, env.head_len + len);
    if (wawo_unlikely(rc < 0))
        return rc;
    parked = out->bytes > 0 && !c->dirty;
    if (wawo_likely(chunk == NULL && loan == NULL)) {
        rc = wawo_ring_copy_message(out, heap, env.head, env.head_len, data, len, parked);
        if (wawo_unlikely(rc < 0))
            return rc;
    } else {
        rc = wawo_ring_copy(out, heap, env.head, env.head_len, parked);
        if (wawo_unlikely(rc < 0))
            return rc;
        rc = wawo_ring_append(out, heap, data, len, chunk, loan);
        if (wawo_unlikely(rc < 0)) { /* half a message is on its way: nothing can follow it */
            wawo_branch_account(c->branch, (int64_t)env.head_len);
            wawo_conn_end(c, WAWO_OP_SEND, -rc);
            return rc;
        }
    }
    wawo_branch_account(c->branch, (int64_t)(env.head_len + len));
    wawo_bump(&c->branch->stats.messages_out, 1);
    check_high_water(c);
    touch(c);
    return 1;
}

/* The kernel took `n` bytes. */
static void sent(struct wawo_conn *c, size_t n)
{
    const struct wawo_options *o = &c->branch->endpoint->options;

    if (n == 0)
        return;
    c->moved = true;
    wawo_branch_account(c->branch, -(int64_t)n);
    wawo_bump(&c->branch->stats.bytes_out, n);
    if (wawo_unlikely(listened(c, WAWO_ON_SEND)) && wawo_share_connected(c->share))
        wawo_event_add(net_of(c), WAWO_ON_SEND, c)->len = n;
    if (wawo_unlikely(c->above) && c->sock.out.bytes <= o->low_water) {
        c->above = false;
        if (listened(c, WAWO_ON_DRAIN) && wawo_share_connected(c->share))
            (void)wawo_event_add(net_of(c), WAWO_ON_DRAIN, c);
        unpause_for(c, WAWO_PAUSE_WATER);
    }
}

/* All is written: the FIN that was asked for, and what follows it. */
static void written_out(struct wawo_conn *c)
{
    struct wawo_net *net = net_of(c);

    if (!c->shut)
        return;
    if (c->state == WAWO_CONN_FLUSHING && c->eof) {
        detach(c, false); /* both sides are done: the close sends the FIN */
        return;
    }
    if (!c->fin) {
        c->fin = true;
        net->loop->ops->shutdown(net->loop->backend, &c->sock);
    }
    if (c->state == WAWO_CONN_FLUSHING) {
        c->state = WAWO_CONN_LINGERING;
        watch_progress(c);
    }
}

void wawo_conn_flush(struct wawo_conn *c)
{
    struct wawo_net *net = net_of(c);
    ptrdiff_t n;

    if (c->state != WAWO_CONN_OPEN && c->state != WAWO_CONN_FLUSHING)
        return;
    if (wawo_unlikely(net->batch.count >= WAWO_BATCH_ROOM / 2)) { /* a callback that flushes thousands: later */
        touch(c);
        return;
    }
    if (wawo_unlikely(wawo_load_relaxed(&c->share->posted) != 0))
        take_posts(c);
    if (c->sock.out.head != NULL) { /* bytes, or only a loan of none */
        n = backend_of(c)->send(net->loop->backend, &c->sock);
        if (wawo_unlikely(n < 0)) {
            wawo_conn_end(c, WAWO_OP_SEND, (int)-n);
            return;
        }
        sent(c, (size_t)n);
        publish_queued(c);
        if (wawo_unlikely(c->sock.out.bytes > 0)) {
            if (c->above && c->branch->endpoint->options.auto_pause && !(c->pauses & WAWO_PAUSE_WATER) &&
                c->state == WAWO_CONN_OPEN)
                pause_for(c, WAWO_PAUSE_WATER);
            return;
        }
    }
    written_out(c);
}

/* The end of the stream, well-formed or not, once all before it is delivered. */
static void finish_input(struct wawo_conn *c)
{
    struct wawo_filter *f;
    int err = c->broken;

    for (f = c->filter; f != NULL && err == 0; f = f->up)
        err = -f->cfg->ops->finish(f);
    begin_close(c, err != 0 ? WAWO_OP_RECEIVE : WAWO_OP_CLOSE, err);
    wawo_conn_flush(c);
}

void wawo_conn_settle(struct wawo_conn *c)
{
    c->dirty = false;
    if (c->state == WAWO_CONN_GONE) {
        if (c->told)
            wawo_conn_free(c);
        return;
    }
    if (wawo_unlikely(c->bare)) {
        gone(c);
        return;
    }
    if (wawo_unlikely(c->backlog != NULL)) { /* the delivery is over */
        c->backlog->fresh = NULL;
        c->share->holding = 0;
    }
    if (c->backlog != NULL && c->pauses == 0 && c->state == WAWO_CONN_OPEN && run_backlog(c)) {
        touch(c); /* those events first */
        return;
    }
    wawo_conn_flush(c);
    if ((c->eof || c->broken != 0) && c->state == WAWO_CONN_OPEN && c->backlog == NULL &&
        !(c->pauses & WAWO_PAUSE_USER))
        finish_input(c);
}

/* ---- orders and answers ---- */

void wawo_conn_wanted(struct wawo_conn *c, uint32_t wants)
{
    if (c->state >= WAWO_CONN_DETACHING)
        return;
    if (wants & WAWO_WANT_SEND) /* not by `posted`: a loan of no bytes waits too */
        take_posts(c);
    if (wants & WAWO_WANT_PAUSE) {
        if (wawo_share_paused(c->share)) {
            if (!(c->pauses & WAWO_PAUSE_USER) && c->state <= WAWO_CONN_OPEN)
                pause_for(c, WAWO_PAUSE_USER);
        } else {
            unpause_for(c, WAWO_PAUSE_USER);
        }
    }
    if (wants & WAWO_WANT_SHUTDOWN)
        c->shut = true;
    if (wants & WAWO_WANT_ABORT)
        wawo_conn_abort(c, WAWO_OP_CLOSE, 0);
    else if (wants & WAWO_WANT_CLOSE)
        wawo_conn_close(c, WAWO_OP_CLOSE, 0);
    if (c->state < WAWO_CONN_DETACHING)
        touch(c);
}

void wawo_conn_done(struct wawo_conn *c, struct wawo_done *d)
{
    switch ((enum wawo_done_kind)d->kind) {
    case WAWO_DONE_RECV:
        if (wawo_likely(d->len > 0))
            received(c, d);
        else if (c->state >= WAWO_CONN_DETACHING)
            break;
        else if (d->error != 0)
            receive_failed(c, d->error);
        else
            end_of_stream(c);
        break;
    case WAWO_DONE_SENT:
        if (c->state >= WAWO_CONN_DETACHING)
            break;
        if (d->error != 0) {
            wawo_conn_end(c, WAWO_OP_SEND, -d->error);
            break;
        }
        sent(c, d->len);
        publish_queued(c);
        touch(c);
        break;
    case WAWO_DONE_DETACHED:
        gone(c);
        break;
    default:
        break;
    }
}
