/* A connection without a socket, and as much of a loop as filters see: streams are fed to it in pieces. Whole here, for
 * `ci/fuzz` compiles one file of tests/fuzz. */
#ifndef WAWO_TESTS_FUZZ_STAND_H
#define WAWO_TESTS_FUZZ_STAND_H

#include "base/check.h"

#include <stdlib.h>

#include "net/net.h"

enum { STREAM_MAX = 4000 };

/* What came of a stream: the messages one behind the other. */
struct run {
    uint8_t bytes[STREAM_MAX];
    size_t ends[STREAM_MAX + 1];
    size_t len, count;
    int end; /* 0, or the code that ended it */
    bool closed;
};

struct stand {
    struct wawo_loop loop;
    struct wawo_net net;
    struct wawo_endpoint *endpoint;
    struct wawo_branch branch;
    struct wawo_share share;
    struct wawo_conn conn;
    void (*take)(struct stand *t, const struct wawo_event *e, struct run *r); /* the listener */
};

static inline void stand_nothing(struct wawo_backend *b, struct wawo_sock *s)
{
    (void)b, (void)s;
}

/* In memory that is zero; filters are configured and opened next. */
static inline void stand_init(struct stand *t, size_t pool,
                              void (*take)(struct stand *t, const struct wawo_event *e, struct run *r))
{
    static const struct wawo_backend_ops idle = {.recv_start = stand_nothing, .recv_stop = stand_nothing};

    t->endpoint = calloc(1, sizeof *t->endpoint + sizeof t->endpoint->branches[0]);
    t->net.batch.events = calloc(WAWO_BATCH_ROOM, sizeof *t->net.batch.events);
    WAWO_CHECK(t->endpoint != NULL && t->net.batch.events != NULL);
    WAWO_CHECK(wawo_heap_init(&t->loop.heap, pool) == 0);
    wawo_pool_bind(t->loop.heap.pool);
    wawo_wheel_init(&t->loop.wheel, 0);
    t->loop.ops = &idle;
    t->net.loop = &t->loop;
    t->net.dirty_last = &t->net.dirty;
    wawo_tls_init(&t->net);
    t->endpoint->mask = 1u << WAWO_ON_RECEIVE;
    t->branch.endpoint = t->endpoint;
    t->branch.net = &t->net;
    t->conn.branch = &t->branch;
    t->conn.share = &t->share;
    t->conn.state = WAWO_CONN_OPEN;
    wawo_timer_init(&t->conn.timer, NULL);
    t->take = take;
}

/* Checks that nothing of the stream is left. */
static inline void stand_fini(struct stand *t)
{
    wawo_ring_clear(&t->conn.sock.out, &t->loop.heap);
    wawo_conn_close_filters(&t->conn);
    wawo_tls_fini(&t->net);
    wawo_heap_fini(&t->loop.heap);
    free(t->net.batch.events);
    free(t->endpoint);
    WAWO_CHECK(wawo_live_chunks() == 0);
}

static inline void stand_deliver(struct stand *t, struct run *r)
{
    const struct wawo_event *e = t->net.batch.events, *end = e + t->net.batch.count;

    for (; e < end; e++) {
        t->take(t, e, r);
        if (e->owned)
            wawo_chunk_drop(e->chunk);
        if (e->kind == WAWO_ON_HANDSHAKE)
            wawo_tls_told(&t->conn);
    }
    t->net.batch.count = 0;
}

/* One read: a chunk of its very size, so that the sanitizer finds a look outside it. */
static inline void stand_read(struct stand *t, const uint8_t *p, size_t len, struct run *r)
{
    struct wawo_chunk *chunk = wawo_chunk_new(len);
    struct wawo_span in;
    ptrdiff_t n;

    WAWO_CHECK(chunk != NULL);
    memcpy(chunk->data, p, len);
    in = (struct wawo_span){chunk, chunk->data, len};
    while (in.len > 0 && r->end == 0) {
        n = t->conn.filter->cfg->ops->input(t->conn.filter, &t->conn, &in);
        WAWO_CHECK(n < 0 || (size_t)n == in.len ||
                   ((size_t)n < in.len && (wawo_conn_full(&t->conn) || t->conn.pauses == WAWO_PAUSE_TLS)));
        stand_deliver(t, r);
        r->end = n < 0 ? (int)n : -t->conn.broken;
        if (n > 0) {
            in.ptr += n;
            in.len -= (size_t)n;
        }
    }
    wawo_chunk_drop(chunk);
}

/* The stream to its end, in pieces of that size; of further ones out of `split` unless it is 1 or all. */
static inline void stand_feed(struct stand *t, const uint8_t *p, size_t n, size_t piece, uint32_t split, struct run *r)
{
    struct wawo_filter *f;
    size_t at, len;

    r->len = r->count = 0;
    r->end = 0;
    for (at = 0; at < n && r->end == 0; at += len) {
        len = wawo_min_size(n - at, piece);
        stand_read(t, p + at, len, r);
        split = split * 69069 + 1;
        if (piece > 1 && piece < n)
            piece = 1 + (split >> 16) % 100;
    }
    r->closed = t->conn.eof;
    for (f = t->conn.filter; f != NULL && r->end == 0; f = f->up)
        r->end = f->cfg->ops->finish(f);
}

static inline void run_add(struct run *r, const void *p, size_t len)
{
    WAWO_CHECK(r->len + len <= STREAM_MAX && r->count < STREAM_MAX);
    memcpy(r->bytes + r->len, p, len);
    r->len += len;
}

static inline void run_compare(const struct run *a, const struct run *b)
{
    WAWO_CHECK(a->end == b->end && (a->end != 0 || a->closed == b->closed));
    WAWO_CHECK(a->count == b->count && a->len == b->len);
    WAWO_CHECK(memcmp(a->bytes, b->bytes, a->len) == 0);
    WAWO_CHECK(memcmp(a->ends, b->ends, a->count * sizeof *a->ends) == 0);
}

#endif
