#include "conn.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "dial.h"
#include "net.h"
#include "part.h"
#include "preamble.h"

enum { FLUSH_BYTES = 1024 * 1024 }; /* sealed and written in one go, about */

/* send of the backend, or send_soon. */
typedef ptrdiff_t (*wawo_give)(struct wawo_backend *b, struct wawo_sock *s);

static void timer_fired(struct wawo_timer *t);

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

int wawo_conn_open(struct wawo_conn *c, int fd, const struct wawo_addr *remote, const struct wawo_addr *local,
                   enum wawo_event_kind first)
{
    struct wawo_share *s = c->share;
    struct wawo_net *net = wawo_net_of(c);
    int err = wawo_conn_open_filters(c);

    if (err == 0)
        err = wawo_conn_open_rate(c);
    if (err != 0)
        return err;
    wawo_share_keep(s, local, remote);
    wawo_store_relaxed(&s->received_ns, net->loop->now_ns);
    wawo_store(&s->connected_ns, net->loop->now_ns);
    if (fd >= 0)
        net->loop->ops->attach(net->loop->backend, &c->sock, fd);
    c->state = WAWO_CONN_OPEN;
    if (!wawo_net_listens(c, first)) /* from the start: who sees that it is open may broadcast to it */
        wawo_store_relaxed(&s->shown, 1);
    wawo_share_advance(s, WAWO_SHARE_OPEN);
    wawo_conn_watch_silence(c);
    /* What was asked for before there was a connection. */
    if (wawo_load_relaxed(&s->shut))
        c->shut = true;
    if (wawo_share_paused(s))
        c->pauses |= WAWO_PAUSE_USER;
    if (wawo_net_listens(c, first))
        (void)wawo_event_add(net, first, c);
    if (wawo_unlikely(c->secure))
        wawo_tls_await(c);
    else if (wawo_net_listens(c, WAWO_ON_HANDSHAKE))
        wawo_event_add(net, WAWO_ON_HANDSHAKE, c)->len = 0;
    if (c->pauses == 0)
        net->loop->ops->recv_start(net->loop->backend, &c->sock);
    if (wawo_conn_pending(c) > 0 || c->shut)
        wawo_net_touch(c);
    return 0;
}

static inline void publish_queued(struct wawo_conn *c, const struct wawo_ring *out)
{
    if (wawo_load_relaxed(&c->share->queued) != out->bytes)
        wawo_store_relaxed(&c->share->queued, out->bytes);
}

static void drop_output(struct wawo_conn *c)
{
    struct wawo_ring *out = wawo_conn_out(c);
    bool over;

    wawo_ring_adopt(out, wawo_share_take_posts(c->share, &over));
    if (wawo_unlikely(c->secure)) {
        wawo_tls_drop_plain(c);
        wawo_branch_account(c->branch, -(int64_t)wawo_tls_sent(c, c->sock.out.bytes, 0, &(size_t){0}));
    }
    wawo_branch_account(c->branch, -(int64_t)out->bytes);
    wawo_branch_settle(c->branch);
    wawo_ring_clear(&c->sock.out, &wawo_net_of(c)->loop->heap);
    publish_queued(c, out);
}

/* Nothing of it is in flight any more. */
static void gone(struct wawo_conn *c)
{
    struct wawo_net *net = wawo_net_of(c);
    struct wawo_event *e;

    drop_output(c);
    c->bare = false;
    c->state = WAWO_CONN_GONE;
    if (wawo_unlikely(c->mute)) {
        wawo_conn_free(c);
        return;
    }
    /* Also when nobody listens: a batch that waits for its turn may hold events of this connection. */
    if (wawo_net_listens(c, WAWO_ON_CLOSE) || wawo_share_user(c->share) != NULL || net->batch.count > 0) {
        e = wawo_event_add(net, WAWO_ON_CLOSE, c);
        e->operation = c->share->operation;
        e->error = c->share->error;
    } else {
        wawo_conn_free(c);
    }
}

void wawo_conn_leave(struct wawo_conn *c)
{
    struct wawo_branch *b = c->branch;

    if (c->left)
        return;
    c->left = true;
    if (b->net->leaving == c)
        b->net->leaving = NULL;
    if (wawo_unlikely(c->counted))
        wawo_endpoint_leave(b->endpoint, &c->share->remote);
    c->missed = wawo_branch_leave(b);
}

void wawo_conn_free(struct wawo_conn *c)
{
    struct wawo_branch *b = c->branch;
    struct wawo_net *net = b->net;
    bool missed;

    WAWO_CHECK(c->state == WAWO_CONN_GONE);
    if (c->dirty) { /* settle() meets it once more and then lets it go */
        c->told = true;
        return;
    }
    wawo_conn_leave(c);
    wawo_table_close(&net->loop->table, c->sock.id);
    c->share->conn = NULL;
    wawo_share_drop(c->share);
    wawo_conn_close_filters(c);
    wawo_list_remove(&c->link);
    wawo_list_remove(&c->starving);
    wawo_sub(&live, 1);
    if (wawo_likely(!c->unseen))
        wawo_bump(&b->stats.closed, 1);
    missed = c->missed;
    wawo_slab_give(&net->conns, c);
    wawo_branch_left(b, missed);
}

/* ---- closing ---- */

static void note_reason(struct wawo_conn *c, enum wawo_operation op, int error)
{
    struct wawo_share *s = c->share;
    int before = s->error;

    /* Whether a reset or a broken pipe is met while reading or while writing is chance: both are the peer's reset. */
    if (error == EPIPE)
        error = ECONNRESET;
    if (error == ECONNRESET && c->state != WAWO_CONN_PREAMBLE)
        op = WAWO_OP_CLOSE;
    if (s->operation == WAWO_OP_UNKNOWN) {
        wawo_store_relaxed(&s->error, error);
        wawo_store_relaxed(&s->operation, (uint8_t)op);
    } else if (before == 0 &&
               (c->state == WAWO_CONN_FLUSHING || (c->state == WAWO_CONN_LINGERING && error != ECONNRESET))) {
        wawo_store_relaxed(&s->error, error); /* what was accepted did not all arrive; after our FIN many peers reset */
    }
}

static void detach(struct wawo_conn *c, bool reset)
{
    struct wawo_net *net = wawo_net_of(c);

    wawo_share_advance(c->share, WAWO_SHARE_CLOSED);
    wawo_timer_cancel(&net->loop->wheel, &c->timer);
    wawo_conn_close_rate(c);
    wawo_conn_drop_backlog(c);
    wawo_list_remove(&c->starving);
    if (wawo_unlikely(c->secure))
        wawo_tls_end(c, reset);
    c->state = WAWO_CONN_DETACHING;
    if (c->sock.fd >= 0) {
        net->loop->ops->detach(net->loop->backend, &c->sock, reset);
    } else { /* told when it is settled: thousands may end in one call, and the batch has its bounds */
        c->bare = true;
        wawo_net_touch(c);
    }
}

static void end(struct wawo_conn *c, enum wawo_operation op, int error, bool reset)
{
    if (c->state >= WAWO_CONN_DETACHING)
        return;
    if (c->state == WAWO_CONN_PREAMBLE) {
        wawo_preamble_drop(c);
    } else if (c->dial != NULL) {
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

/* Looks again after close_timeout whether there is less than what was last seen in the kernel. */
static void watch_on(struct wawo_conn *c)
{
    struct wawo_net *net = wawo_net_of(c);

    c->moved = false;
    wawo_timer_set(&net->loop->wheel, &c->timer,
                   wawo_loop_clock(net->loop) + c->branch->endpoint->options.close_timeout_ns);
}

static void watch_progress(struct wawo_conn *c)
{
    (void)wawo_conn_acknowledged(c);
    watch_on(c);
}

static void begin_close(struct wawo_conn *c, enum wawo_operation op, int error)
{
    struct wawo_net *net = wawo_net_of(c);

    wawo_share_advance(c->share, WAWO_SHARE_CLOSING);
    note_reason(c, op, error);
    wawo_conn_close_rate(c);
    c->state = WAWO_CONN_FLUSHING;
    c->shut = true;
    if (wawo_unlikely(c->secure))
        wawo_tls_doubt(c);
    if (wawo_likely(!wawo_conn_reads_on(c)))
        wawo_conn_discard_input(c);
    else if (wawo_conn_receives(c))
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
    wawo_net_touch(c);
}

/* A slow receiver may take its time, a stuck one may not: whether the kernel or the peer took anything since. The
 * kernel's own buffer may hold megabytes, so it takes nothing more for long while the peer reads on. And it is not the
 * peer's fault when a file waits for its disk. */
static bool progressed(struct wawo_conn *c)
{
    bool fewer = wawo_conn_acknowledged(c);

    return c->moved || fewer || wawo_conn_reads_file(c);
}

static void timer_fired(struct wawo_timer *t)
{
    struct wawo_conn *c = wawo_container_of(t, struct wawo_conn, timer);

    if (c->state == WAWO_CONN_CONNECTING)
        wawo_conn_end(c, WAWO_OP_CONNECT, ETIMEDOUT);
    else if (c->state == WAWO_CONN_PREAMBLE)
        wawo_preamble_expired(c);
    else if (c->state == WAWO_CONN_OPEN)
        wawo_conn_silence_due(c);
    else if (c->state != WAWO_CONN_FLUSHING && c->state != WAWO_CONN_LINGERING)
        return;
    else if (progressed(c))
        watch_on(c);
    else if (c->state == WAWO_CONN_FLUSHING)
        wawo_conn_abort(c, WAWO_OP_CLOSE, ETIMEDOUT);
    else
        detach(c, false); /* all is with the kernel, which goes on without us */
}

/* ---- sending ---- */

static inline void check_high_water(struct wawo_conn *c, const struct wawo_ring *out)
{
    if (!c->above && out->bytes > c->branch->endpoint->options.high_water)
        c->above = true;
}

void wawo_conn_take_posts(struct wawo_conn *c)
{
    bool over;
    struct wawo_slice *posts = wawo_share_take_posts(c->share, &over);
    struct wawo_ring *out = wawo_conn_out(c);

    if (wawo_likely(out->bytes == 0))
        wawo_ring_adopt(out, posts);
    else
        wawo_ring_adopt_waiting(out, &wawo_net_of(c)->loop->heap, posts);
    publish_queued(c, out);
    check_high_water(c, out);
    if (wawo_unlikely(over))
        c->above = true;
}

void wawo_conn_queued(struct wawo_conn *c)
{
    check_high_water(c, wawo_conn_out(c));
    wawo_net_touch(c);
}

static int admit(const struct wawo_conn *c, const struct wawo_ring *out, size_t bytes)
{
    const struct wawo_options *o = &c->branch->endpoint->options;

    if (wawo_unlikely(out->bytes + bytes > o->max_pending))
        return WAWO_ENOBUFS;
    if (wawo_unlikely(wawo_endpoint_overfull(c->branch->endpoint, wawo_branch_pending_total(c->branch), bytes)))
        return WAWO_ENOBUFS;
    return 1;
}

/* Whether more can be sent; brings what other threads sent before. */
static inline bool takes_more(struct wawo_conn *c)
{
    if (wawo_unlikely(wawo_load_relaxed(&c->share->state) > WAWO_SHARE_OPEN || wawo_load_relaxed(&c->share->shut)))
        return false;
    if (wawo_unlikely(wawo_load_relaxed(&c->share->posted) != 0))
        wawo_conn_take_posts(c);
    return true;
}

static inline int queued(struct wawo_conn *c, const struct wawo_ring *out, size_t bytes)
{
    wawo_branch_account(c->branch, (int64_t)bytes);
    wawo_bump(&c->branch->stats.messages_out, 1);
    check_high_water(c, out);
    wawo_net_touch(c);
    return 1;
}

int wawo_conn_send(struct wawo_conn *c, const void *data, size_t len)
{
    struct wawo_ring *out = wawo_conn_out(c);
    struct wawo_message m = {data, len, len};
    struct wawo_envelope env;
    struct wawo_run run;
    size_t total;
    int rc;

    if (wawo_unlikely(!takes_more(c)))
        return 0;
    rc = wawo_endpoint_seal(c->branch->endpoint, &m, &env);
    if (wawo_unlikely(rc < 0))
        return rc;
    total = env.head_len + len + env.tail_len;
    rc = admit(c, out, total);
    if (wawo_unlikely(rc < 0))
        return rc;
    run = (struct wawo_run){env.head, env.head_len, data, len, env.tail, env.tail_len};
    rc = wawo_ring_copy_run(out, &wawo_net_of(c)->loop->heap, &run, out->bytes > 0 && !c->dirty);
    return wawo_likely(rc == 0) ? queued(c, out, total) : rc;
}

static int put_part(struct wawo_conn *c, const struct wawo_part *p, bool own)
{
    struct wawo_heap *heap = &wawo_net_of(c)->loop->heap;
    struct wawo_ring *out = wawo_conn_out(c);

    if (p->file != NULL)
        return wawo_ring_append_file(out, heap, p->file);
    if (!wawo_part_is_plain(p))
        return wawo_ring_append(out, heap, p->data, p->len, p->chunk, p->loan);
    return wawo_ring_copy(out, heap, p->data, p->len, own);
}

int wawo_conn_send_parts(struct wawo_conn *c, const struct wawo_part *parts, unsigned count)
{
    struct wawo_heap *heap = &wawo_net_of(c)->loop->heap;
    struct wawo_ring *out = wawo_conn_out(c);
    struct wawo_ring_mark mark;
    struct wawo_envelope env = {.tail = NULL};
    struct wawo_message m;
    size_t memory;
    unsigned i;
    bool own;
    int rc;

    if (!takes_more(c))
        return 0;
    wawo_part_measure(parts, count, &m, &memory);
    rc = wawo_endpoint_seal(c->branch->endpoint, &m, &env);
    if (rc < 0)
        return rc;
    memory += env.head_len + env.tail_len;
    rc = admit(c, out, memory);
    if (rc < 0)
        return rc;
    mark = wawo_ring_mark(out);
    own = out->bytes > 0 && !c->dirty;
    rc = wawo_ring_copy(out, heap, env.head, env.head_len, own);
    for (i = 0; i < count && rc == 0; i++) {
        rc = put_part(c, &parts[i], own);
        if (rc != 0)
            break;
        own = own || parts[i].file != NULL; /* what is behind a file waits long */
    }
    if (rc == 0)
        rc = wawo_ring_copy(out, heap, env.tail, env.tail_len, own);
    if (rc == 0)
        return queued(c, out, memory);
    wawo_part_keep(parts, i);
    wawo_ring_undo(out, heap, &mark);
    return rc;
}

/* The kernel took `n` bytes. Of what waits in `out` that was `freed`, and `length` as the sender knows it. */
static inline void sent(struct wawo_conn *c, const struct wawo_ring *out, size_t n, size_t freed, size_t length)
{
    const struct wawo_options *o = &c->branch->endpoint->options;

    if (n == 0)
        return;
    c->moved = true;
    wawo_branch_account(c->branch, -(int64_t)freed);
    wawo_bump(&c->branch->stats.bytes_out, n);
    if (wawo_unlikely(wawo_net_listens(c, WAWO_ON_SEND)) && length > 0 && wawo_share_connected(c->share))
        wawo_event_add(wawo_net_of(c), WAWO_ON_SEND, c)->len = length;
    if (wawo_unlikely(c->above) && out->bytes <= o->low_water) {
        c->above = false;
        if (wawo_net_listens(c, WAWO_ON_DRAIN) && wawo_share_connected(c->share))
            (void)wawo_event_add(wawo_net_of(c), WAWO_ON_DRAIN, c);
        wawo_conn_unpause(c, WAWO_PAUSE_WATER);
    }
}

/* The same where that is ciphertext. */
static void sealed_sent(struct wawo_conn *c, size_t n, size_t freed)
{
    size_t length, weight = wawo_tls_sent(c, freed, c->sock.out.bytes, &length);

    sent(c, wawo_conn_out(c), n, weight, length);
}

/* With a reset: what was accepted did not all go, so the peer must not see a clean end. What went before the error,
 * `freed` in the ring of the sock, counts no more; with TLS it does until its records are dropped. That nobody took the
 * alert for what broke the stream is no reason of its own. */
static void send_failed(struct wawo_conn *c, size_t freed, int error)
{
    if (!c->secure)
        wawo_branch_account(c->branch, -(int64_t)freed);
    else if (wawo_tls_of(c)->fault != WAWO_TLS_FINE)
        note_reason(c, wawo_tls_operation(c), -wawo_tls_of(c)->error);
    wawo_conn_abort(c, WAWO_OP_SEND, error);
}

/* The kernel did not take all. */
static void parked(struct wawo_conn *c)
{
    wawo_store_relaxed(&c->share->parked, 1);
    if (c->above && c->branch->endpoint->options.auto_pause && !(c->pauses & WAWO_PAUSE_WATER) &&
        c->state == WAWO_CONN_OPEN)
        wawo_conn_pause(c, WAWO_PAUSE_WATER);
}

/* Ciphertext to the kernel: what it took, that which went while it was sealed among it, 0 when it is full, or a negative
 * code, and the connection is over. */
static ptrdiff_t write_sealed(struct wawo_conn *c, wawo_give give)
{
    size_t before = c->sock.out.bytes;
    ptrdiff_t went = wawo_tls_went(c), n = went < 0 ? went : 0;

    if (n == 0 && c->sock.out.head != NULL)
        n = give(wawo_net_of(c)->loop->backend, &c->sock);
    if (wawo_unlikely(n == WAWO_AGAIN)) /* of what is under way in the clear: what is sealed goes behind it */
        n = 0;
    if (wawo_unlikely(n < 0)) {
        send_failed(c, before - c->sock.out.bytes, (int)-n);
        return n;
    }
    n += went;
    sealed_sent(c, (size_t)n, (size_t)went + before - c->sock.out.bytes);
    publish_queued(c, wawo_conn_out(c));
    if (wawo_likely(c->sock.out.bytes == 0))
        return n;
    parked(c);
    return 0;
}

/* All is written: the FIN that was asked for, and what follows it. */
static void written_out(struct wawo_conn *c)
{
    struct wawo_net *net = wawo_net_of(c);

    if (!c->shut)
        return;
    if (wawo_unlikely(c->secure)) { /* close_notify goes before it */
        if (c->state == WAWO_CONN_FLUSHING)
            wawo_conn_discard_input(c);
        else if (wawo_conn_shakes(c))
            return; /* our FIN would end the handshake */
        wawo_tls_part(c);
        if (c->sock.out.head != NULL && write_sealed(c, net->loop->ops->send) <= 0)
            return;
    }
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

/* Seals and writes in turn. */
static void flush_sealed(struct wawo_conn *c, wawo_give give)
{
    size_t total = 0;
    ptrdiff_t n;

    if (wawo_unlikely(c->broken != 0) && c->state == WAWO_CONN_FLUSHING && wawo_tls_stuck(c))
        note_reason(c, wawo_tls_operation(c), -wawo_tls_of(c)->error);
    for (;;) {
        wawo_tls_proceed(c);
        if (c->state >= WAWO_CONN_DETACHING)
            return;
        if (c->sock.out.head == NULL && wawo_tls_of(c)->went == 0)
            break;
        n = write_sealed(c, give);
        if (n < 0 || c->sock.out.head != NULL)
            return;
        total += (size_t)n;
        if (total >= FLUSH_BYTES) { /* others have something to write too */
            wawo_net_touch(c);
            return;
        }
    }
    if (wawo_unlikely(c->share->parked))
        wawo_store_relaxed(&c->share->parked, 0);
    if (wawo_likely(wawo_tls_of(c)->plain.head == NULL)) /* else it waits for its peer, or for a disk */
        written_out(c);
    else
        publish_queued(c, wawo_conn_out(c));
}

static void write_ring(struct wawo_conn *c, wawo_give give)
{
    struct wawo_net *net = wawo_net_of(c);
    size_t before;
    ptrdiff_t n;

    if (c->state != WAWO_CONN_OPEN && c->state != WAWO_CONN_FLUSHING)
        return;
    if (wawo_unlikely(net->batch.count >= WAWO_BATCH_ROOM / 2)) { /* a callback that flushes thousands: later */
        wawo_net_touch(c);
        return;
    }
    if (wawo_unlikely(wawo_load_relaxed(&c->share->posted) != 0))
        wawo_conn_take_posts(c);
    if (wawo_unlikely(c->secure)) {
        flush_sealed(c, give);
        return;
    }
    /* Bytes, or only a loan of none; at the end also what is under way. */
    if (wawo_likely(c->sock.out.head != NULL) || c->shut || c->eof) {
        before = c->sock.out.bytes;
        n = give(net->loop->backend, &c->sock);
        if (wawo_unlikely(n == WAWO_AGAIN)) {
            parked(c);
            return;
        }
        if (wawo_unlikely(n < 0)) {
            send_failed(c, before - c->sock.out.bytes, (int)-n);
            return;
        }
        sent(c, &c->sock.out, (size_t)n, before - c->sock.out.bytes, (size_t)n);
        publish_queued(c, &c->sock.out);
        if (wawo_unlikely(c->sock.out.bytes > 0)) {
            parked(c);
            return;
        }
    }
    if (wawo_unlikely(c->share->parked))
        wawo_store_relaxed(&c->share->parked, 0);
    written_out(c);
}

void wawo_conn_flush(struct wawo_conn *c)
{
    write_ring(c, wawo_net_of(c)->loop->ops->send);
}

/* The end of the stream, well-formed or not, once all before it is delivered. */
static void finish_input(struct wawo_conn *c)
{
    struct wawo_filter *f;
    enum wawo_operation op;
    int err = c->broken;

    for (f = c->filter; f != NULL && err == 0; f = f->up)
        err = -f->cfg->ops->finish(f);
    op = err != 0 ? WAWO_OP_RECEIVE : WAWO_OP_CLOSE;
    if (err != 0 && c->secure)
        op = wawo_tls_operation(c);
    wawo_share_advance(c->share, WAWO_SHARE_CLOSING); /* from here on nothing is added to what is pending */
    if (c->eof && wawo_conn_pending(c) == 0 && !c->share->parked &&
        (!c->secure || err != 0 || wawo_tls_say_goodbye(c))) {
        wawo_conn_end(c, op, err); /* the common end: nothing to flush, nothing to wait for */
        return;
    }
    begin_close(c, op, err);
    wawo_conn_flush(c);
}

/* Its peer has sent its last, or its stream is broken: once the listener knows what went out it ends. For that it waits
 * once, or one that always has more to say would never end. */
static WAWO_COLD void settle_last(struct wawo_conn *c)
{
    struct wawo_net *net = wawo_net_of(c);
    unsigned before = net->batch.count;

    write_ring(c, net->loop->ops->send); /* now, to know what went */
    if (c->state != WAWO_CONN_OPEN || c->backlog != NULL ||
        ((c->pauses & WAWO_PAUSE_USER) && !wawo_conn_reads_first(c)))
        return;
    if (c->answered || c->broken != 0 || net->batch.count == before) {
        finish_input(c);
        return;
    }
    c->answered = true;
    wawo_net_touch(c);
}

/* The turn is over: no need to hurry, unless somebody acts on what has gone. */
static inline wawo_give way_out(const struct wawo_conn *c)
{
    const struct wawo_backend_ops *ops = wawo_net_of(c)->loop->ops;
    bool acts = c->shut || c->above || c->secure || wawo_net_listens(c, WAWO_ON_SEND);

    return wawo_unlikely(acts) ? ops->send : ops->send_soon;
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
    if (wawo_unlikely(c->backlog != NULL) && wawo_conn_settle_backlog(c)) {
        wawo_net_touch(c); /* those events first */
        return;
    }
    if (wawo_unlikely(c->eof || c->broken != 0))
        settle_last(c);
    else
        write_ring(c, way_out(c));
}

/* ---- orders and answers ---- */

void wawo_conn_wanted(struct wawo_conn *c, uint32_t wants)
{
    if (c->state >= WAWO_CONN_DETACHING)
        return;
    if (wants & WAWO_WANT_SEND) /* not by `posted`: a loan of no bytes waits too */
        wawo_conn_take_posts(c);
    if (wants & WAWO_WANT_PAUSE) {
        if (wawo_share_paused(c->share)) {
            if (!(c->pauses & WAWO_PAUSE_USER) && c->state <= WAWO_CONN_OPEN)
                wawo_conn_pause(c, WAWO_PAUSE_USER);
        } else {
            wawo_conn_unpause(c, WAWO_PAUSE_USER);
        }
    }
    if (wants & WAWO_WANT_SHUTDOWN)
        c->shut = true;
    if (wants & WAWO_WANT_EVICT)
        wawo_conn_abort(c, WAWO_OP_SEND, ENOBUFS);
    else if (wants & WAWO_WANT_ABORT)
        wawo_conn_abort(c, WAWO_OP_CLOSE, 0);
    else if (wants & WAWO_WANT_CLOSE)
        wawo_conn_close(c, WAWO_OP_CLOSE, 0);
    if (c->state < WAWO_CONN_DETACHING)
        wawo_net_touch(c);
}

/* Of what was told to have gone. */
static void output_back(struct wawo_conn *c, const struct wawo_done *d)
{
    wawo_branch_account(c->branch, (int64_t)d->len);
    wawo_bump(&c->branch->stats.bytes_out, 0 - (uint64_t)d->len);
    if (wawo_unlikely(c->secure))
        wawo_tls_back(c, d->len);
    if (c->state >= WAWO_CONN_DETACHING)
        return;
    if (c->state == WAWO_CONN_LINGERING)
        c->state = WAWO_CONN_FLUSHING;
    publish_queued(c, wawo_conn_out(c));
    check_high_water(c, wawo_conn_out(c));
    if (d->error != 0)
        send_failed(c, 0, -d->error);
    else
        parked(c);
}

static void output_taken(struct wawo_conn *c, const struct wawo_done *d)
{
    if (d->error != 0) {
        send_failed(c, d->freed, -d->error);
        return;
    }
    if (c->secure)
        sealed_sent(c, d->len, d->freed);
    else
        sent(c, &c->sock.out, d->len, d->freed, d->len);
    c->taken = true;
    publish_queued(c, wawo_conn_out(c));
    wawo_net_touch(c);
}

void wawo_conn_done(struct wawo_conn *c, struct wawo_done *d)
{
    switch ((enum wawo_done_kind)d->kind) {
    case WAWO_DONE_RECV:
        if (wawo_likely(d->len > 0))
            wawo_conn_received(c, d);
        else if (c->state >= WAWO_CONN_DETACHING)
            break;
        else if (c->state == WAWO_CONN_PREAMBLE && d->error != WAWO_ENOBUFS)
            wawo_preamble_broken(c, d->error);
        else if (d->error != 0)
            wawo_conn_receive_failed(c, d->error);
        else
            wawo_conn_receive_ended(c);
        break;
    case WAWO_DONE_SENT:
        if (c->state < WAWO_CONN_DETACHING)
            output_taken(c, d);
        else if (!c->secure) /* with TLS what left the ring is pending until drop_output() */
            wawo_branch_account(c->branch, -(int64_t)d->freed);
        break;
    case WAWO_DONE_BACK:
        output_back(c, d);
        break;
    case WAWO_DONE_DETACHED:
        gone(c);
        break;
    default:
        break;
    }
}
