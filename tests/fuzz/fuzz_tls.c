/* The filter of TLS below a framing, with a session that anybody can read. The input is
 *
 *     how | split (2 bytes) | stream
 *
 * and the stream a handshake (0) and records: 0 to 250 bytes behind a byte that says how many, 251 is answered by the
 * session, 252 close_notify, all else an error. It is fed whole, byte for byte, and in pieces, a full batch being emptied
 * between two calls: each way must make the same messages and the same end, and leave no chunk. With `how` odd the session
 * takes all input at once, as one of MemoryBIOs does; with its second bit there is no framing. */
#include "fuzz/fuzz.h"
#include "fuzz/stand.h"

#include "base/err.h"

enum { HEAD = 3, POOL = 1 << 21, RECORD_MAX = 250, ANSWER = 251, CLOSE = 252 };

struct session {
    struct wawo_tls_pipe *pipe;
    bool greedy;
    uint8_t taken[STREAM_MAX + 1]; /* and not given out */
    size_t len;
};

struct scene {
    struct stand stand; /* first */
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

/* Without a framing the runs are joined. */
static void take_event(struct stand *t, const struct wawo_event *e, struct run *r)
{
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    run_add(r, e->ptr, e->len);
    if (((const struct scene *)t)->framed)
        r->ends[r->count++] = r->len;
}

static struct scene *scene_open(uint8_t how)
{
    struct wawo_framing framing = {.kind = WAWO_FRAMING_LENGTH, .field_size = 1, .max_size = 100};
    struct scene *c = calloc(1, sizeof *c);
    struct stand *t = &c->stand;
    struct wawo_tls *tls;

    WAWO_CHECK(c != NULL);
    stand_init(t, POOL, take_event);
    c->framed = !(how & 2);
    if (c->framed) {
        WAWO_CHECK(wawo_filter_config(&t->endpoint->filters[0], &framing) == 0);
        t->endpoint->filter_count = 1;
    }
    t->endpoint->options.tls = true;
    WAWO_CHECK(wawo_conn_open_filters(&t->conn) == 0);
    tls = wawo_tls_of(&t->conn);
    tls->ops = &plain;
    tls->session = &c->session;
    c->session.pipe = &tls->pipe;
    c->session.greedy = (how & 1) != 0;
    return c;
}

static void run(uint8_t how, const uint8_t *p, size_t n, size_t piece, uint32_t split, struct run *r)
{
    struct scene *c = scene_open(how);

    stand_feed(&c->stand, p, n, piece, split, r);
    stand_fini(&c->stand);
    free(c);
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
    run_compare(&whole, &parts);
    run(data[0], data + HEAD, n, 2 + split % 64, split, &parts);
    run_compare(&whole, &parts);
    return 0;
}
