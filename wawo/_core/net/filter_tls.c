/* F4 filter: TLS. A read is opened record by record into a chunk that all connections of the loop share, and what came of
 * it rises as one run. On the way out small messages are joined into one record; a bounded amount is sealed at once. */
#include "tls.h"

#include "../base/atomic.h"
#include "../base/err.h"
#include "../io/warm.h"
#include "conn.h"
#include "net.h"

enum {
    SEALED_MAX = 64 * 1024, /* ciphertext that waits for the kernel, about */
    ANSWERS_MAX = 256 * 1024, /* beside what was accepted: alerts, new keys; files, which count little */
    JOIN_MAX = 4 * 1024, /* a longer run has a record of its own */
    READ_BYTES = 1024 * 1024, /* of a file that is not in memory: read and read ahead */
    READ_AHEAD = 1024 * 1024
};

/* ---- the way in ---- */

/* Hands opened bytes up, with the reference of their chunk; false: some are left, and kept. */
static bool raise_run(struct wawo_tls *t, struct wawo_conn *c, struct wawo_span *run)
{
    size_t taken;

    if (wawo_unlikely(c->state != WAWO_CONN_OPEN)) { /* closing: nobody reads it */
        wawo_chunk_drop(run->chunk);
        return true;
    }
    if (t->base.up == NULL) {
        wawo_conn_rise(c, &t->base, run, true);
        return true;
    }
    taken = wawo_conn_offer(c, &t->base, run);
    if (taken == run->len)
        return true;
    t->rest = (struct wawo_span){run->chunk, run->ptr + taken, run->len - taken};
    return false;
}

static bool raise_rest(struct wawo_tls *t, struct wawo_conn *c)
{
    struct wawo_span run = t->rest;

    t->rest.chunk = NULL;
    return raise_run(t, c, &run);
}

static bool has_input(const struct wawo_tls *t)
{
    return t->pipe.len > 0 || t->ops->pending(t->session) != 0;
}

/* Whether the peer asks for answers and takes none. */
static bool flooded(const struct wawo_tls *t)
{
    return t->conn->sock.out.bytes > t->sealed + ANSWERS_MAX;
}

/* Opens what is there, as far as there is room; 1: there may be more, 0: more must come, or a negative code. */
static int open_run(struct wawo_tls *t, struct wawo_conn *c)
{
    struct wawo_chunk *chunk = wawo_tls_room(wawo_net_of(c));
    struct wawo_span run;
    ptrdiff_t n;
    bool inside;

    if (wawo_unlikely(chunk == NULL)) {
        wawo_conn_receive_failed(c, WAWO_ENOBUFS);
        return 0;
    }
    run = (struct wawo_span){chunk, chunk->data + chunk->used, 0};
    inside = wawo_tls_enter(c);
    do {
        n = t->ops->read(t->session, chunk->data + chunk->used, chunk->cap - chunk->used);
        if (n <= 0)
            break;
        chunk->used += (size_t)n;
        run.len += (size_t)n;
    } while (chunk->cap - chunk->used >= WAWO_TLS_RECORD && has_input(t));
    wawo_tls_leave(c, inside);
    if (n == WAWO_ECLOSED)
        t->ended = true;
    else if (n < 0)
        (void)wawo_tls_fail(c, WAWO_TLS_FAILED, flooded(t) ? WAWO_ENOBUFS : (int)n);
    if (run.len > 0) {
        wawo_chunk_hold(chunk);
        if (!raise_run(t, c, &run))
            return 0;
    }
    return n != 0;
}

/* The same, behind what was left and before what follows. */
static int step(struct wawo_tls *t, struct wawo_conn *c)
{
    if (wawo_unlikely(t->rest.chunk != NULL) && !raise_rest(t, c))
        return 0;
    if (wawo_unlikely(c->broken != 0)) { /* by the filter above, in what came first */
        t->pipe.len = 0;
        return 0;
    }
    if (wawo_unlikely(t->fault != WAWO_TLS_FINE))
        return t->error;
    if (wawo_unlikely(t->ended)) {
        t->pipe.len = 0;
        c->eof = true;
        wawo_net_touch(c);
        return 0;
    }
    if (wawo_unlikely(wawo_conn_full(c)) || !has_input(t))
        return 0;
    if (wawo_unlikely(t->untold)) { /* a session that fails over this would not tell any more what was agreed on */
        wawo_conn_pause(c, WAWO_PAUSE_TLS);
        return 0;
    }
    return open_run(t, c);
}

static int shake(struct wawo_tls *t, struct wawo_conn *c)
{
    bool inside;
    int rc;

    if (!wawo_tls_may_shake(c))
        return 0;
    t->begun = true;
    inside = wawo_tls_enter(c);
    rc = t->ops->handshake(t->session);
    wawo_tls_leave(c, inside);
    if (c->sock.out.head != NULL)
        wawo_net_touch(c);
    if (rc < 0)
        return wawo_tls_fail(c, WAWO_TLS_FAILED, rc);
    if (rc > 0)
        wawo_tls_stands(c);
    return rc;
}

int wawo_tls_begin(struct wawo_conn *c)
{
    return shake(wawo_tls_of(c), c) < 0 ? wawo_tls_of(c)->error : 0;
}

static bool goes_on(const struct wawo_tls *t)
{
    return t->ready && t->fault == WAWO_TLS_FINE && !t->ended;
}

/* How much of the input was used. What comes of it may have to wait though all of it was: then its last byte is given
 * back, so that it comes again, and is skipped. */
static ptrdiff_t give_back(struct wawo_tls *t, const struct wawo_conn *c, const struct wawo_span *in)
{
    size_t left = t->pipe.len;

    t->pipe.ptr = NULL;
    t->pipe.len = 0;
    if (left == 0 && c->broken == 0 && (t->rest.chunk != NULL || (goes_on(t) && t->ops->pending(t->session) != 0))) {
        t->held = true;
        return (ptrdiff_t)in->len - 1;
    }
    return (ptrdiff_t)(in->len - left);
}

static ptrdiff_t tls_input(struct wawo_filter *f, struct wawo_conn *c, const struct wawo_span *in)
{
    struct wawo_tls *t = (struct wawo_tls *)f;
    size_t skip = t->held;
    int rc = 1;

    t->held = false;
    if (wawo_unlikely(t->session == NULL || c->broken != 0))
        return (ptrdiff_t)in->len;
    t->pipe.ptr = in->ptr + skip;
    t->pipe.len = in->len - skip;
    if (wawo_unlikely(!t->ready))
        rc = shake(t, c);
    wawo_tls_use(c, in->len);
    while (rc > 0)
        rc = step(t, c);
    if (wawo_unlikely(c->sock.out.head != NULL || t->midway)) /* reading wrote (an alert, new keys); it may write now */
        wawo_net_touch(c);
    return rc < 0 ? rc : give_back(t, c, in);
}

/* ---- the way out ---- */

static void sealed(struct wawo_tls *t, size_t weight, size_t length)
{
    t->plain.bytes += weight; /* it left the ring, and is pending still */
    t->sealed += weight;
    t->sealed_length += length;
}

/* Bytes for one record: those of the first slice, or of several small ones. Notes whether any stay behind. */
static const uint8_t *next_run(struct wawo_tls *t, struct wawo_net *net, size_t *len)
{
    const struct wawo_slice *s = t->plain.head;
    size_t n = 0;

    *len = wawo_min_size(s->len, WAWO_TLS_RECORD);
    t->last = s->next == NULL && *len == s->len;
    if (s->len >= JOIN_MAX || s->next == NULL || !wawo_tls_scratch(net))
        return s->ptr;
    for (; s != NULL && s->kind != WAWO_SLICE_FILE && n < WAWO_TLS_RECORD; s = s->next)
        n += s->len;
    *len = wawo_min_size(n, WAWO_TLS_RECORD);
    t->last = s == NULL && *len == n;
    wawo_ring_peek(&t->plain, net->tls.scratch->data, *len);
    return net->tls.scratch->data;
}

static ptrdiff_t seal_bytes(struct wawo_tls *t, struct wawo_net *net)
{
    const uint8_t *data;
    ptrdiff_t n = 0;
    size_t len;

    if (wawo_likely(t->plain.head->len > 0)) {
        data = next_run(t, net, &len);
        n = t->ops->write(t->session, data, len);
        t->last = false;
        if (wawo_unlikely(n < 0))
            return n;
    }
    wawo_ring_consume(&t->plain, &net->loop->heap, (size_t)n);
    sealed(t, (size_t)n, (size_t)n);
    return n;
}

/* A part of a file was read for a connection that may be gone by now. */
static void file_read(void *arg, uint64_t id, struct wawo_file *f, size_t len, int error)
{
    struct wawo_net *net = arg;
    struct wawo_sock *s = wawo_table_find(&net->loop->table, id);
    struct wawo_conn *c = s != NULL ? wawo_container_of(s, struct wawo_conn, sock) : NULL;

    if (c == NULL || !c->secure || !wawo_tls_of(c)->reading)
        return;
    wawo_tls_of(c)->reading = false;
    f->error = error;
    f->warm_end = f->offset + len;
    f->warm_ns = wawo_os_now_coarse_ns();
    c->moved = c->taken = true;
    wawo_net_touch(c);
}

/* 0: it is read first. */
static ptrdiff_t seal_file(struct wawo_tls *t, struct wawo_net *net)
{
    struct wawo_file *f = t->plain.head->owner;
    size_t want = f->left < WAWO_TLS_SCRATCH ? (size_t)f->left : WAWO_TLS_SCRATCH, ahead;
    ptrdiff_t got, at, n;

    if (t->reading || f->error != 0)
        return f->error;
    if (!wawo_tls_scratch(net))
        return WAWO_ENOMEM;
    want = wawo_warm_cached(f, want);
    if (want == 0) {
        want = f->left < READ_BYTES ? (size_t)f->left : READ_BYTES;
        ahead = f->left - want < READ_AHEAD ? (size_t)(f->left - want) : READ_AHEAD;
        t->reading = true;
        return wawo_warm_start(net->loop, t->conn->sock.id, f, want, ahead, file_read, net);
    }
    got = wawo_os_file_read(f->fd, net->tls.scratch->data, f->offset, want);
    if (got <= 0)
        return got < 0 ? got : WAWO_EIO; /* it was longer when it was opened */
    for (at = 0; at < got; at += n) {
        n = t->ops->write(t->session, net->tls.scratch->data + at, (size_t)(got - at));
        if (n < 0) /* again: it is the first, for nothing is read between them */
            return n;
    }
    f->offset += (uint64_t)got;
    f->left -= (uint64_t)got;
    sealed(t, 0, (size_t)got);
    if (f->left == 0) {
        wawo_ring_pop(&t->plain, &net->loop->heap);
        sealed(t, WAWO_FILE_WEIGHT, 0);
    }
    return got;
}

void wawo_tls_drop_plain(struct wawo_conn *c)
{
    struct wawo_tls *t = wawo_tls_of(c);

    t->plain.bytes -= t->sealed;
    wawo_branch_account(c->branch, -(int64_t)t->plain.bytes);
    wawo_ring_clear(&t->plain, &wawo_net_of(c)->loop->heap);
    t->plain.bytes = t->sealed;
}

void wawo_tls_seal(struct wawo_conn *c)
{
    struct wawo_tls *t = wawo_tls_of(c);
    struct wawo_slice *head;
    ptrdiff_t n = 0;
    bool inside;

    if (wawo_unlikely(!t->ready || t->fault != WAWO_TLS_FINE || t->parted || t->session == NULL)) {
        if (t->fault != WAWO_TLS_FINE || (c->state != WAWO_CONN_OPEN && !wawo_conn_reads_on(c))) {
            t->lost = t->lost || t->plain.head != NULL;
            wawo_tls_drop_plain(c);
        }
        return;
    }
    if (t->plain.head == NULL)
        return;
    wawo_tls_use(c, t->plain.head->len);
    inside = wawo_tls_enter(c);
    while ((head = t->plain.head) != NULL && (c->sock.out.bytes < SEALED_MAX || t->midway) && n >= 0) {
        n = head->kind == WAWO_SLICE_FILE ? seal_file(t, wawo_net_of(c)) : seal_bytes(t, wawo_net_of(c));
        if (n != 0)
            t->midway = n == WAWO_AGAIN;
        if (t->reading)
            break;
    }
    wawo_tls_leave(c, inside);
    if (t->reading && c->state == WAWO_CONN_OPEN) /* behind a file nobody knows */
        t->midway = false;
    if (wawo_likely(n >= 0 || n == WAWO_AGAIN))
        return;
    if (n == WAWO_EPROTO)
        wawo_conn_break(c, wawo_tls_fail(c, WAWO_TLS_FAILED, (int)n));
    else
        wawo_conn_abort(c, WAWO_OP_SEND, (int)-n);
}

size_t wawo_tls_sent(struct wawo_conn *c, size_t freed, size_t left, size_t *length)
{
    struct wawo_tls *t = wawo_tls_of(c);
    size_t all = freed + left, weight = t->sealed;

    *length = t->sealed_length;
    if (left > 0) { /* in proportion: what a record costs is the same for all */
        weight = (size_t)((uint64_t)weight * freed / all);
        *length = (size_t)((uint64_t)*length * freed / all);
    }
    t->sealed -= weight;
    t->sealed_length -= *length;
    t->plain.bytes -= weight;
    return weight;
}

void wawo_tls_back(struct wawo_conn *c, size_t bytes)
{
    sealed(wawo_tls_of(c), bytes, bytes);
}

ptrdiff_t wawo_tls_went(struct wawo_conn *c)
{
    struct wawo_tls *t = wawo_tls_of(c);
    ptrdiff_t n = t->went;

    t->went = 0;
    return n;
}

void wawo_tls_part(struct wawo_conn *c)
{
    struct wawo_tls *t = wawo_tls_of(c);
    bool inside;

    if (!t->ready || t->fault != WAWO_TLS_FINE || t->parted || t->session == NULL)
        return;
    t->parted = true;
    inside = wawo_tls_enter(c);
    (void)t->ops->shutdown(t->session);
    wawo_tls_leave(c, inside);
}

/* A record that is alone goes out from where OpenSSL sealed it, unless others wait for the GIL meanwhile; several leave
 * together. */
int wawo_tls_put(struct wawo_tls_pipe *pipe, const void *data, size_t len)
{
    struct wawo_tls *t = wawo_container_of(pipe, struct wawo_tls, pipe);
    struct wawo_loop *loop = wawo_net_of(t->conn)->loop;
    struct wawo_ring *out = &t->conn->sock.out;
    ptrdiff_t n = 0;

    if (t->last && !t->ops->enters && out->head == NULL && t->went >= 0 && loop->ops->send_bytes != NULL) {
        n = loop->ops->send_bytes(loop->backend, &t->conn->sock, data, len);
        t->went = n < 0 ? n : t->went + n;
        if (wawo_likely(n < 0 || (size_t)n == len))
            return 0;
    }
    if (wawo_unlikely(flooded(t)))
        return WAWO_ENOBUFS;
    return wawo_ring_copy(out, &loop->heap, (const uint8_t *)data + n, len - (size_t)n, false);
}

/* ---- life ---- */

static void tls_fini(struct wawo_filter *f, struct wawo_conn *c)
{
    struct wawo_tls *t = (struct wawo_tls *)f;

    (void)c;
    if (t->rest.chunk != NULL)
        wawo_chunk_drop(t->rest.chunk);
    t->rest.chunk = NULL;
}

static int tls_finish(struct wawo_filter *f)
{
    return wawo_tls_finish(((struct wawo_tls *)f)->conn);
}

const struct wawo_filter_ops wawo_filter_tls = {.name = "tls",
                                                .size = sizeof(struct wawo_tls),
                                                .keeps = true,
                                                .fini = tls_fini,
                                                .input = tls_input,
                                                .finish = tls_finish};
