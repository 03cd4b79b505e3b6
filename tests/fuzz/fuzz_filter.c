/* All framings of net/: the filters, which put a message together from several reads, and Pull, which keeps what came.
 * The input is a framing, its parameters and a stream:
 *
 *     kind | a b c | max (2 bytes) | split (2 bytes) | start mark (2) end mark (2) | stream
 *
 * The stream is fed whole, byte for byte, and in pieces whose sizes come out of `split`, a full batch being emptied
 * between two calls: each way must make the same messages and the same end, and leave no chunk. Every read is a chunk of
 * its very size, so that the sanitizer finds a look outside it. */
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "base/err.h"
#include "net/net.h"

enum { HEAD = 12, STREAM_MAX = 4000, POOL = 1 << 20, PEEK = 4096 };

/* What came of a stream: the messages one behind the other. */
struct run {
    uint8_t bytes[STREAM_MAX * 2];
    size_t ends[STREAM_MAX + 1];
    size_t len, count;
    int end; /* 0, or the code that ended it */
};

/* A connection without a socket, and as much of a loop as the filters see. */
struct stand {
    struct wawo_loop loop;
    struct wawo_net net;
    struct wawo_endpoint *endpoint;
    struct wawo_branch branch;
    struct wawo_share share;
    struct wawo_conn conn;
    const uint8_t *pulled; /* PULL: the stream, and what of it was fetched */
    size_t fetched;
    unsigned choice;
};

static void nothing(struct wawo_backend *b, struct wawo_sock *s)
{
    (void)b, (void)s;
}

static const struct wawo_backend_ops idle = {.recv_start = nothing, .recv_stop = nothing};

static struct stand *stand_open(const struct wawo_filter_config *cfg)
{
    struct stand *t = calloc(1, sizeof *t);

    WAWO_CHECK(t != NULL);
    t->endpoint = calloc(1, sizeof *t->endpoint + sizeof t->endpoint->branches[0]);
    t->net.batch.events = calloc(WAWO_BATCH_ROOM, sizeof *t->net.batch.events);
    WAWO_CHECK(t->endpoint != NULL && t->net.batch.events != NULL);
    WAWO_CHECK(wawo_heap_init(&t->loop.heap, POOL) == 0);
    wawo_pool_bind(t->loop.heap.pool);
    t->loop.ops = &idle;
    t->net.loop = &t->loop;
    t->endpoint->filters[0] = *cfg;
    t->endpoint->filter_count = 1;
    t->endpoint->mask = 1u << WAWO_ON_RECEIVE;
    t->branch.endpoint = t->endpoint;
    t->branch.net = &t->net;
    t->conn.branch = &t->branch;
    t->conn.share = &t->share;
    t->conn.state = WAWO_CONN_OPEN;
    WAWO_CHECK(wawo_conn_open_filters(&t->conn) == 0);
    return t;
}

static void stand_close(struct stand *t)
{
    wawo_conn_close_filters(&t->conn);
    wawo_heap_fini(&t->loop.heap);
    free(t->net.batch.events);
    free(t->endpoint);
    free(t);
}

/* Some of what lies there, looked at or taken. */
static void pull(struct stand *t, struct run *r)
{
    static uint8_t got[PEEK];
    size_t there = wawo_pull_unread(&t->conn), n = 1 + t->choice % PEEK;
    bool consume = (t->choice & 0x8000) != 0;
    int rc;

    t->choice = t->choice * 69069 + 1;
    rc = wawo_pull_fetch(&t->conn, got, n, consume);
    WAWO_CHECK(rc == (n <= there) || (n > there && rc == WAWO_EMSGSIZE));
    if (rc != 1)
        return;
    WAWO_CHECK(memcmp(got, t->pulled + t->fetched, n) == 0);
    if (!consume)
        return;
    memcpy(r->bytes + r->len, got, n);
    r->len += n;
    t->fetched += n;
    WAWO_CHECK(wawo_pull_unread(&t->conn) == there - n);
}

/* The listener takes the events of the batch. */
static void deliver(struct stand *t, struct run *r)
{
    const struct wawo_event *e = t->net.batch.events, *end = e + t->net.batch.count;

    for (; e < end; e++) {
        if (e->chunk != NULL) {
            WAWO_CHECK(r->count < STREAM_MAX);
            memcpy(r->bytes + r->len, e->ptr, e->len);
            r->len += e->len;
            r->ends[r->count++] = r->len;
        } else {
            WAWO_CHECK(e->len == wawo_pull_unread(&t->conn) || t->choice != 0);
            pull(t, r);
        }
        if (e->owned)
            wawo_chunk_drop(e->chunk);
    }
    t->net.batch.count = 0;
}

/* One read. */
static void feed(struct stand *t, const uint8_t *p, size_t len, struct run *r)
{
    struct wawo_chunk *chunk = wawo_chunk_new(len);
    struct wawo_span in;
    ptrdiff_t n;

    WAWO_CHECK(chunk != NULL);
    memcpy(chunk->data, p, len);
    in = (struct wawo_span){chunk, chunk->data, len};
    while (in.len > 0 && r->end == 0) {
        n = t->conn.filter->cfg->ops->input(t->conn.filter, &t->conn, &in);
        WAWO_CHECK(n <= (ptrdiff_t)in.len && (n != 0 || wawo_conn_full(&t->conn)));
        if (n < 0) {
            r->end = (int)n;
        } else {
            WAWO_CHECK((size_t)n == in.len || wawo_conn_full(&t->conn));
            in.ptr += n;
            in.len -= (size_t)n;
        }
        deliver(t, r);
    }
    wawo_chunk_drop(chunk);
}

static void run(const struct wawo_filter_config *cfg, const uint8_t *p, size_t n, size_t piece, uint32_t split,
                struct run *r)
{
    struct stand *t = stand_open(cfg);
    size_t before = wawo_live_chunks(), at, len;

    r->len = r->count = 0;
    r->end = 0;
    t->pulled = p;
    t->choice = split;
    for (at = 0; at < n && r->end == 0; at += len) {
        len = wawo_min_size(n - at, piece);
        feed(t, p + at, len, r);
        split = split * 69069 + 1;
        if (piece > 1 && piece < n)
            piece = 1 + (split >> 16) % 100;
    }
    if (r->end == 0)
        r->end = t->conn.filter->cfg->ops->finish(t->conn.filter);
    if (cfg->ops != &wawo_filter_pull)
        WAWO_CHECK(wawo_live_chunks() <= before + 1); /* a message that is not whole has a block of its own */
    stand_close(t);
    WAWO_CHECK(wawo_live_chunks() == 0);
}

static void compare(const struct run *a, const struct run *b)
{
    WAWO_CHECK(a->end == b->end);
    WAWO_CHECK(a->count == b->count && a->len == b->len);
    WAWO_CHECK(memcmp(a->bytes, b->bytes, a->len) == 0);
    WAWO_CHECK(memcmp(a->ends, b->ends, a->count * sizeof *a->ends) == 0);
}

static int choose(const uint8_t *in, struct wawo_filter_config *cfg)
{
    static const uint8_t sizes[] = {1, 2, 3, 4, 8, 0};
    struct wawo_framing f = {.kind = WAWO_FRAMING_LENGTH + in[0] % (WAWO_FRAMING_PULL - WAWO_FRAMING_LENGTH + 1)};

    f.max_size = in[4] | (uint64_t)in[5] << 8;
    f.field_size = sizes[in[1] % (f.kind == WAWO_FRAMING_FIELD ? 6u : 5u)];
    f.little = in[2] & 1;
    f.offset = in[2] / 2 % 16u;
    f.adjust = (int8_t)in[3];
    f.strip = in[2] & 64 ? (int8_t)in[1] : -1;
    f.flag = in[3];
    f.start_len = in[1] % 3;
    f.end_len = 1 + in[1] / 3 % 2;
    memcpy(f.start, in + 8, 2);
    memcpy(f.end, in + 10, 2);
    return wawo_filter_config(cfg, &f);
}

int fuzz_filter(const uint8_t *data, size_t size)
{
    static struct run whole, parts;
    struct wawo_filter_config cfg;
    const uint8_t *p = data + HEAD;
    uint32_t split;
    size_t n;

    if (size <= HEAD || choose(data, &cfg) != 0)
        return 0;
    n = wawo_min_size(size - HEAD, STREAM_MAX);
    split = data[6] | (uint32_t)data[7] << 8;
    run(&cfg, p, n, n, split, &whole);
    run(&cfg, p, n, 1, split, &parts);
    if (cfg.ops != &wawo_filter_pull)
        compare(&whole, &parts);
    run(&cfg, p, n, 2 + split % 64, split, &parts);
    if (cfg.ops != &wawo_filter_pull)
        compare(&whole, &parts);
    return 0;
}
