/* The filter of TLS below a framing, with a session that anybody can read. The input is
 *
 *     how | split (2 bytes) | stream
 *
 * and the stream a handshake (0) and records: 0 to 250 bytes behind a byte that says how many, 251 is answered by the
 * session, 252 close_notify, all else an error. It is fed whole, byte for byte, and in pieces, a full batch being emptied
 * between two calls: each way must make the same messages and the same end, and leave no chunk. With `how` odd the session
 * takes all input at once, as one of MemoryBIOs does; with its second bit there is no framing. */
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "base/err.h"
#include "net/net.h"

enum { HEAD = 3, STREAM_MAX = 4000, POOL = 1 << 21, RECORD_MAX = 250, ANSWER = 251, CLOSE = 252 };

/* What came of a stream: the messages one behind the other. */
struct run {
    uint8_t bytes[STREAM_MAX];
    size_t ends[STREAM_MAX + 1];
    size_t len, count;
    int end; /* 0, or the code that ended it */
    bool closed;
};

struct session {
    struct wawo_tls_pipe *pipe;
    bool greedy;
    uint8_t taken[STREAM_MAX + 1]; /* and not given out */
    size_t len;
};

/* A connection without a socket, and as much of a loop as the filters see. */
struct stand {
    struct wawo_loop loop;
    struct wawo_net net;
    struct wawo_endpoint *endpoint;
    struct wawo_branch branch;
    struct wawo_share share;
    struct wawo_conn conn;
    struct session session;
    bool framed;
};

static void take(struct session *s, size_t n)
{
    n = wawo_min_size(n, s->pipe->len);
    if (n == 0)
        return;
    memcpy(s->taken + s->len, s->pipe->ptr, n);
    s->len += n;
    s->pipe->ptr += n;
    s->pipe->len -= n;
}

/* Whether `n` bytes are there, taken from the pipe. */
static bool have(struct session *s, size_t n)
{
    if (s->greedy)
        take(s, s->pipe->len);
    else if (s->len < n)
        take(s, n - s->len);
    return s->len >= n;
}

static void drop(struct session *s, size_t n)
{
    s->len -= n;
    memmove(s->taken, s->taken + n, s->len);
}

static int handshake(void *session)
{
    struct session *s = session;

    if (!have(s, 1))
        return 0;
    if (s->taken[0] != 0)
        return WAWO_EPROTO;
    drop(s, 1);
    return 1;
}

static ptrdiff_t open_record(void *session, void *to, size_t room)
{
    struct session *s = session;
    size_t n;

    WAWO_CHECK(room >= WAWO_TLS_RECORD);
    while (have(s, 1)) {
        n = s->taken[0];
        if (n == ANSWER && wawo_tls_put(s->pipe, "k", 1) != 0)
            return WAWO_ENOMEM;
        if (n == CLOSE)
            return WAWO_ECLOSED;
        if (n > ANSWER)
            return WAWO_EPROTO;
        if (n <= RECORD_MAX && !have(s, 1 + n))
            return 0;
        drop(s, 1);
        if (n == 0 || n == ANSWER)
            continue;
        memcpy(to, s->taken, n);
        drop(s, n);
        return (ptrdiff_t)n;
    }
    return 0;
}

/* Whole records; a part of one waits for more. */
static int pending(void *session)
{
    const struct session *s = session;

    return s->greedy && s->len > 0 && (s->taken[0] > RECORD_MAX || s->len > s->taken[0]);
}

static const struct wawo_tls_ops plain = {
    .name = "plain", .handshake = handshake, .read = open_record, .pending = pending};

static void nothing(struct wawo_backend *b, struct wawo_sock *s)
{
    (void)b, (void)s;
}

static const struct wawo_backend_ops idle = {.recv_start = nothing, .recv_stop = nothing};

static struct stand *stand_open(uint8_t how)
{
    struct wawo_framing framing = {.kind = WAWO_FRAMING_LENGTH, .field_size = 1, .max_size = 100};
    struct stand *t = calloc(1, sizeof *t);
    struct wawo_tls *tls;

    WAWO_CHECK(t != NULL);
    t->endpoint = calloc(1, sizeof *t->endpoint + sizeof t->endpoint->branches[0]);
    t->net.batch.events = calloc(WAWO_BATCH_ROOM, sizeof *t->net.batch.events);
    WAWO_CHECK(t->endpoint != NULL && t->net.batch.events != NULL);
    WAWO_CHECK(wawo_heap_init(&t->loop.heap, POOL) == 0);
    wawo_pool_bind(t->loop.heap.pool);
    wawo_wheel_init(&t->loop.wheel, 0);
    t->loop.ops = &idle;
    t->net.loop = &t->loop;
    t->net.dirty_last = &t->net.dirty;
    wawo_tls_init(&t->net);
    t->framed = !(how & 2);
    if (t->framed) {
        WAWO_CHECK(wawo_filter_config(&t->endpoint->filters[0], &framing) == 0);
        t->endpoint->filter_count = 1;
    }
    t->endpoint->options.tls = true;
    t->endpoint->mask = 1u << WAWO_ON_RECEIVE;
    t->branch.endpoint = t->endpoint;
    t->branch.net = &t->net;
    t->conn.branch = &t->branch;
    t->conn.share = &t->share;
    t->conn.state = WAWO_CONN_OPEN;
    wawo_timer_init(&t->conn.timer, NULL);
    WAWO_CHECK(wawo_conn_open_filters(&t->conn) == 0);
    tls = wawo_tls_of(&t->conn);
    tls->ops = &plain;
    tls->session = &t->session;
    t->session.pipe = &tls->pipe;
    t->session.greedy = (how & 1) != 0;
    return t;
}

static void stand_close(struct stand *t)
{
    wawo_ring_clear(&t->conn.sock.out, &t->loop.heap);
    wawo_conn_close_filters(&t->conn);
    wawo_tls_fini(&t->net);
    wawo_heap_fini(&t->loop.heap);
    free(t->net.batch.events);
    free(t->endpoint);
    free(t);
}

/* The listener takes the events of the batch; without a framing the runs are joined. */
static void deliver(struct stand *t, struct run *r)
{
    const struct wawo_event *e = t->net.batch.events, *end = e + t->net.batch.count;

    for (; e < end; e++) {
        if (e->kind == WAWO_ON_RECEIVE) {
            WAWO_CHECK(r->len + e->len <= STREAM_MAX && r->count <= STREAM_MAX);
            memcpy(r->bytes + r->len, e->ptr, e->len);
            r->len += e->len;
            if (t->framed)
                r->ends[r->count++] = r->len;
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
        WAWO_CHECK(n < 0 || (size_t)n == in.len || ((size_t)n < in.len && wawo_conn_full(&t->conn)));
        deliver(t, r);
        r->end = n < 0 ? (int)n : -t->conn.broken;
        if (n > 0) {
            in.ptr += n;
            in.len -= (size_t)n;
        }
    }
    wawo_chunk_drop(chunk);
}

static void run(uint8_t how, const uint8_t *p, size_t n, size_t piece, uint32_t split, struct run *r)
{
    struct stand *t = stand_open(how);
    struct wawo_filter *f;
    size_t at, len;

    memset(r, 0, sizeof *r);
    for (at = 0; at < n && r->end == 0; at += len) {
        len = wawo_min_size(n - at, piece);
        feed(t, p + at, len, r);
        split = split * 69069 + 1;
        if (piece > 1 && piece < n)
            piece = 1 + (split >> 16) % 100;
    }
    r->closed = t->conn.eof;
    for (f = t->conn.filter; f != NULL && r->end == 0; f = f->up)
        r->end = f->cfg->ops->finish(f);
    stand_close(t);
    WAWO_CHECK(wawo_live_chunks() == 0);
}

static void compare(const struct run *a, const struct run *b)
{
    WAWO_CHECK(a->end == b->end && (a->end != 0 || a->closed == b->closed));
    WAWO_CHECK(a->count == b->count && a->len == b->len);
    WAWO_CHECK(memcmp(a->bytes, b->bytes, a->len) == 0);
    WAWO_CHECK(memcmp(a->ends, b->ends, a->count * sizeof *a->ends) == 0);
}

int fuzz_tls(const uint8_t *data, size_t size)
{
    static struct run whole, parts;
    uint32_t split;
    size_t n;

    if (size <= HEAD)
        return 0;
    n = wawo_min_size(size - HEAD, STREAM_MAX);
    split = data[1] | (uint32_t)data[2] << 8;
    run(data[0], data + HEAD, n, n, split, &whole);
    run(data[0], data + HEAD, n, 1, split, &parts);
    compare(&whole, &parts);
    run(data[0], data + HEAD, n, 2 + split % 64, split, &parts);
    compare(&whole, &parts);
    return 0;
}
