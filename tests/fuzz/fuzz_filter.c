/* All framings of net/: the filters, which put a message together from several reads, and Pull, which keeps what came.
 * The input is a framing, its parameters and a stream:
 *
 *     kind | a b c | max (2 bytes) | split (2 bytes) | start mark (2) end mark (2) | stream
 *
 * The stream is fed whole, byte for byte, and in pieces whose sizes come out of `split`, a full batch being emptied
 * between two calls: each way must make the same messages and the same end, and leave no chunk. */
#include "fuzz/fuzz.h"
#include "fuzz/stand.h"

#include "base/err.h"

enum { HEAD = 12, POOL = 1 << 20, PEEK = 4096 };

struct scene {
    struct stand stand;    /* first */
    const uint8_t *pulled; /* PULL: the stream, and what of it was fetched */
    size_t fetched;
    unsigned choice;
};

/* Some of what lies there, looked at or taken. */
static void pull(struct scene *c, struct run *r)
{
    static uint8_t got[PEEK];
    struct wawo_conn *conn = &c->stand.conn;
    size_t there = wawo_pull_unread(conn), n = 1 + c->choice % PEEK;
    bool consume = (c->choice & 0x8000) != 0;
    int rc;

    c->choice = c->choice * 69069 + 1;
    rc = wawo_pull_fetch(conn, got, n, consume);
    WAWO_CHECK(rc == (n <= there) || (n > there && rc == WAWO_EMSGSIZE));
    if (rc != 1)
        return;
    WAWO_CHECK(memcmp(got, c->pulled + c->fetched, n) == 0);
    if (!consume)
        return;
    run_add(r, got, n);
    c->fetched += n;
    WAWO_CHECK(wawo_pull_unread(conn) == there - n);
}

static void take_event(struct stand *t, const struct wawo_event *e, struct run *r)
{
    struct scene *c = (struct scene *)t;

    if (e->chunk != NULL) {
        run_add(r, e->ptr, e->len);
        r->ends[r->count++] = r->len;
    } else {
        WAWO_CHECK(e->len == wawo_pull_unread(&t->conn) || c->choice != 0);
        pull(c, r);
    }
}

static void run(const struct wawo_filter_config *cfg, const uint8_t *p, size_t n, size_t piece, uint32_t split,
                struct run *r)
{
    struct scene *c = calloc(1, sizeof *c);
    struct stand *t = &c->stand;
    size_t before;

    WAWO_CHECK(c != NULL);
    stand_init(t, POOL, take_event);
    t->endpoint->filters[0] = *cfg;
    t->endpoint->filter_count = 1;
    WAWO_CHECK(wawo_conn_open_filters(&t->conn) == 0);
    before = wawo_live_chunks();
    c->pulled = p;
    c->choice = split;
    stand_feed(t, p, n, piece, split, r);
    if (cfg->ops != &wawo_filter_pull)
        WAWO_CHECK(wawo_live_chunks() <= before + 1); /* a message that is not whole has a block of its own */
    stand_fini(t);
    free(c);
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
        run_compare(&whole, &parts);
    run(&cfg, p, n, 2 + split % 64, split, &parts);
    if (cfg.ops != &wawo_filter_pull)
        run_compare(&whole, &parts);
    return 0;
}
