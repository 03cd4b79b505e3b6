/* The small pieces of the core, one at a time: each runs `n` operations, and what is around them costs nothing.
 *
 * A library for bench/micro/test_pieces.py, which takes the time, and with main.c a program, whose instructions perf or
 * callgrind count. A piece is a row in `pieces`. */
#include "base/alloc.h"
#include "io/loop.h"
#include "io/timer.h"
#include "net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pieces.h"

enum { SIZE = 64, STREAM = 64 * 1024, RING = 16, TIMERS = 64 };

struct piece {
    const char *name;
    void (*prepare)(const struct piece *p);
    void (*run)(const struct piece *p, size_t n);
    const void *config;
    int (*seal)(const void *config, const struct wawo_message *m, struct wawo_envelope *out);
};

static uint8_t payload[SIZE];
static struct wawo_chunk *stream; /* whole frames */
static struct wawo_heap heap;
static struct wawo_net net;
static struct wawo_conn conn;
static struct wawo_filter_config filter;
volatile size_t pieces_seen; /* so that nothing is optimized away */

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "pieces: %s\n", what);
    exit(1);
}

/* ---- codecs: a message is cut, or sealed ---- */

#define CODEC(codec)                                                                                                   \
    static int seal_##codec(const void *config, const struct wawo_message *m, struct wawo_envelope *out)               \
    {                                                                                                                  \
        return wawo_##codec##_seal(config, m, out);                                                                    \
    }                                                                                                                  \
    static void cut_##codec(const struct piece *p, size_t n)                                                           \
    {                                                                                                                  \
        const uint8_t *at = stream->data, *end = at + stream->used;                                                    \
        struct wawo_frame frame;                                                                                       \
        size_t scanned, seen = 0;                                                                                      \
                                                                                                                       \
        for (; n > 0; n--) {                                                                                           \
            scanned = 0;                                                                                               \
            if (at == end)                                                                                             \
                at = stream->data;                                                                                     \
            if (wawo_##codec##_cut(p->config, at, (size_t)(end - at), &scanned, &frame) != 1)                          \
                die("a frame is not whole");                                                                           \
            at += frame.total;                                                                                         \
            seen += frame.len;                                                                                         \
        }                                                                                                              \
        pieces_seen += seen;                                                                                           \
    }

CODEC(length)
CODEC(field)
CODEC(pack)
CODEC(marks)
CODEC(fixed)
CODEC(packet)

static void put(const void *from, size_t len)
{
    memcpy(stream->data + stream->used, from, len);
    stream->used += len;
}

static void make_stream(const struct piece *p)
{
    const struct wawo_message m = {payload, SIZE, SIZE};
    struct wawo_envelope around;

    memset(payload, 'x', SIZE);
    if (stream == NULL && (stream = wawo_chunk_new(STREAM)) == NULL)
        die("no memory");
    for (stream->used = 0; stream->used + SIZE + 2 * WAWO_ENVELOPE_MAX <= STREAM;) {
        if (p->seal(p->config, &m, &around) != 0)
            die("a message cannot be sealed");
        put(around.head, around.head_len);
        put(payload, SIZE);
        put(around.tail, around.tail_len);
    }
}

static void seal(const struct piece *p, size_t n)
{
    const struct wawo_message m = {payload, SIZE, SIZE};
    struct wawo_envelope around;

    for (; n > 0; n--) {
        if (p->seal(p->config, &m, &around) != 0)
            die("a message cannot be sealed");
        pieces_seen += around.head_len;
    }
}

/* ---- memory ---- */

static void make_heap(const struct piece *p)
{
    (void)p;
    if (heap.pool == NULL && wawo_heap_init(&heap, 8 << 20) != 0)
        die("no memory");
    wawo_pool_bind(heap.pool);
}

static void pool(const struct piece *p, size_t n)
{
    (void)p;
    for (; n > 0; n--)
        wawo_chunk_drop(wawo_pool_take(heap.pool, 0));
}

static void chunk(const struct piece *p, size_t n)
{
    struct wawo_chunk *c = wawo_pool_take(heap.pool, 0);

    (void)p;
    for (; n > 0; n--) {
        wawo_chunk_hold(c);
        wawo_chunk_drop(c);
    }
    wawo_chunk_drop(c);
}

/* A message is copied in, and gone with RING others in one write. */
static void ring_copy(const struct piece *p, size_t n)
{
    struct wawo_ring ring;

    (void)p;
    wawo_ring_init(&ring);
    for (size_t i = 1; i <= n; i++) {
        if (wawo_ring_copy(&ring, &heap, payload, SIZE, false) != 0)
            die("the ring takes no copy");
        if (i % RING == 0 || i == n) {
            wawo_ring_consume(&ring, &heap, ring.bytes);
            wawo_heap_rewind(&heap);
        }
    }
}

/* The same without a copy: a slice of a chunk that is there. */
static void ring_share(const struct piece *p, size_t n)
{
    struct wawo_chunk *c = wawo_pool_take(heap.pool, 0);
    struct wawo_ring ring;

    (void)p;
    wawo_ring_init(&ring);
    for (size_t i = 1; i <= n; i++) {
        wawo_chunk_hold(c);
        if (wawo_ring_append(&ring, &heap, c->data, SIZE, c, NULL) != 0)
            die("the ring takes no slice");
        if (i % RING == 0 || i == n)
            wawo_ring_consume(&ring, &heap, ring.bytes);
    }
    wawo_chunk_drop(c);
}

static void queue(const struct piece *p, size_t n)
{
    struct wawo_mpsc q;
    struct wawo_node nodes[RING];

    (void)p;
    wawo_mpsc_init(&q);
    for (size_t i = 1; i <= n; i++) {
        (void)wawo_mpsc_push(&q, &nodes[i % RING]);
        if (i % RING == 0 || i == n)
            pieces_seen += wawo_mpsc_take(&q) != NULL;
    }
}

/* ---- timers: each is moved again and again, as with every message of an active connection ---- */

static void never(struct wawo_timer *t)
{
    (void)t;
    die("a timer fired");
}

static void timer(const struct piece *p, size_t n)
{
    static struct wawo_wheel wheel;
    static struct wawo_timer timers[TIMERS];

    (void)p;
    wawo_wheel_init(&wheel, 0);
    for (unsigned i = 0; i < TIMERS; i++)
        wawo_timer_init(&timers[i], never);
    for (size_t i = 0; i < n; i++)
        wawo_timer_set(&wheel, &timers[i % TIMERS], 60 * WAWO_SEC + (int64_t)i * 1000);
    for (unsigned i = 0; i < TIMERS; i++)
        wawo_timer_cancel(&wheel, &timers[i]);
}

/* ---- batch dispatch: bytes rise through the filter of a connection into the batch, and that is delivered ---- */

static void nothing(void *arg)
{
    (void)arg;
}

static void look(void *arg, const struct wawo_event *events, unsigned count)
{
    (void)arg;
    for (unsigned i = 0; i < count; i++)
        if (wawo_event_due(&events[i]))
            pieces_seen += events[i].len;
}

static void make_connection(const struct piece *p)
{
    static const struct wawo_sink sink = {.enter = nothing, .leave = nothing, .deliver = look, .give_back = nothing};
    static const struct wawo_framing framing = {.kind = WAWO_FRAMING_LENGTH, .field_size = 4, .max_size = 1 << 20};
    static struct wawo_event events[WAWO_BATCH_ROOM];
    static struct wawo_share share;
    static struct wawo_loop loop;
    static int64_t slow_ns = INT64_MAX;
    struct wawo_endpoint *e;

    make_stream(p);
    if (net.loop != NULL)
        return;
    e = calloc(1, sizeof *e + sizeof e->branches[0]);
    if (e == NULL || wawo_filter_config(&filter, &framing) != 0)
        die("no connection");
    e->mask = wawo_event_bit(WAWO_ON_RECEIVE);
    e->branches[0] = (struct wawo_branch){.endpoint = e, .net = &net};
    net.loop = &loop;
    net.sink = &sink;
    net.slow_ns = &slow_ns;
    net.dirty_last = &net.dirty;
    net.batch.events = events;
    share.state = WAWO_SHARE_OPEN;
    share.conn = &conn;
    conn = (struct wawo_conn){.share = &share, .branch = &e->branches[0], .filter = calloc(1, filter.ops->size)};
    if (conn.filter == NULL)
        die("no filter");
    conn.filter->cfg = &filter;
    filter.ops->init(conn.filter);
}

static void dispatch(const struct piece *p, size_t n)
{
    const size_t frame = SIZE + 4, wanted = n * frame;
    struct wawo_span in;
    size_t done = 0, at = 0;
    ptrdiff_t taken;

    (void)p;
    while (done < wanted) {
        in = (struct wawo_span){stream, stream->data + at, wawo_min_size(stream->used - at, wanted - done)};
        taken = filter.ops->input(conn.filter, &conn, &in);
        if (taken <= 0 || !wawo_net_deliver(&net, true))
            die("nothing was delivered");
        done += (size_t)taken;
        at = at + (size_t)taken == stream->used ? 0 : at + (size_t)taken;
    }
}

static void dispatch_raw(const struct piece *p, size_t n)
{
    const struct wawo_span in = {stream, stream->data, SIZE};

    (void)p;
    for (; n > 0; n--) {
        wawo_chunk_hold(stream);
        wawo_conn_rise(&conn, NULL, &in, true);
        if ((n % RING == 0 || n == 1) && !wawo_net_deliver(&net, true))
            die("nothing was delivered");
    }
}

/* ---- the table ---- */

static const struct wawo_length length4 = {.size = 4, .max = 1 << 20};
static const struct wawo_field field2 = {.offset = 2, .size = 2, .strip = 4, .max = 1 << 15};
static const struct wawo_field varint = {.size = WAWO_FIELD_VARINT, .strip_header = true, .max = 1 << 20};
static const struct wawo_pack packed = {.max = 1 << 18};
static const struct wawo_marks lines = {.end = "\r\n", .end_len = 2, .max = 1 << 20};
static const struct wawo_marks between = {.start = "<<", .start_len = 2, .end = ">>", .end_len = 2, .max = 1 << 20};
static const struct wawo_fixed fixed = {.size = SIZE};
static const struct wawo_packet wawo_packets = {.max = 1 << 20};

static const struct piece pieces[] = {
    {"cut_length", make_stream, cut_length, &length4, seal_length},
    {"cut_field", make_stream, cut_field, &field2, seal_field},
    {"cut_varint", make_stream, cut_field, &varint, seal_field},
    {"cut_pack", make_stream, cut_pack, &packed, seal_pack},
    {"cut_delimited", make_stream, cut_marks, &lines, seal_marks},
    {"cut_between", make_stream, cut_marks, &between, seal_marks},
    {"cut_fixed", make_stream, cut_fixed, &fixed, seal_fixed},
    {"cut_packet", make_stream, cut_packet, &wawo_packets, seal_packet},
    {"seal_length", make_stream, seal, &length4, seal_length},
    {"seal_delimited", make_stream, seal, &lines, seal_marks},
    {"pool_take_drop", make_heap, pool, NULL, NULL},
    {"chunk_hold_drop", make_heap, chunk, NULL, NULL},
    {"ring_copy", make_heap, ring_copy, NULL, NULL},
    {"ring_share", make_heap, ring_share, NULL, NULL},
    {"queue_push", make_heap, queue, NULL, NULL},
    {"timer_move", make_heap, timer, NULL, NULL},
    {"dispatch_length", make_connection, dispatch, &length4, seal_length},
    {"dispatch_raw", make_connection, dispatch_raw, &length4, seal_length},
};

const char *pieces_name(unsigned index)
{
    return index < sizeof pieces / sizeof *pieces ? pieces[index].name : NULL;
}

int pieces_prepare(const char *name)
{
    for (unsigned i = 0; pieces_name(i) != NULL; i++)
        if (strcmp(pieces[i].name, name) == 0) {
            pieces[i].prepare(&pieces[i]);
            return (int)i;
        }
    return -1;
}

void pieces_run(int index, size_t n)
{
    pieces[index].run(&pieces[index], n);
}
