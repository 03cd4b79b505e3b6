/* All framings of proto/. The input is a codec, its parameters and a stream:
 *
 *     codec | a b c d e | max (2 bytes) | split (2 bytes) | marks, where the codec has some | stream
 *
 * The stream is cut whole, byte for byte, and in pieces whose sizes come out of `split`: each way must give the same
 * messages and the same end. What was cut is sealed and must be the same frame again; what seal lets through is cut as
 * it was. Every call sees a block of its very size, so that the sanitizer finds a look outside it. */
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "proto/field.h"
#include "proto/fixed.h"
#include "proto/length.h"
#include "proto/marks.h"
#include "proto/pack.h"
#include "proto/packet.h"
#include "support/codec.h"

CODEC(length);
CODEC(field);
CODEC(pack);
CODEC(marks);
CODEC(fixed);
CODEC(packet);

enum { HEAD = 10, STREAM_MAX = 1000 };

struct subject {
    const struct codec *codec;
    union {
        struct wawo_length length;
        struct wawo_field field;
        struct wawo_pack pack;
        struct wawo_marks marks;
        struct wawo_fixed fixed;
        struct wawo_packet packet;
    } cfg;
};

struct run {
    struct wawo_frame frames[STREAM_MAX];
    size_t count, used; /* frames, bytes in them */
    int end;            /* 0, or the code that ended it */
};

/* ---- parameters ---- */

static size_t take(uint8_t *mark, size_t len, const uint8_t **p, size_t *n)
{
    len = wawo_min_size(len, *n);
    memcpy(mark, *p, len);
    *p += len;
    *n -= len;
    return len;
}

static int choose_length(struct subject *s, const uint8_t *in, uint64_t max)
{
    static const uint8_t sizes[] = {1, 2, 3, 4, 8};
    struct wawo_length *c = &s->cfg.length;

    c->size = sizes[in[1] % sizeof sizes];
    c->little = in[2] & 1;
    c->max = c->size == 1 ? max & 0xff : c->size == 8 && in[2] & 2 ? PTRDIFF_MAX : max;
    s->codec = &codec_length;
    return wawo_length_check(c);
}

static int choose_field(struct subject *s, const uint8_t *in, uint64_t max)
{
    static const uint8_t sizes[] = {1, 2, 3, 4, 8, WAWO_FIELD_VARINT};
    struct wawo_field *c = &s->cfg.field;

    c->size = sizes[in[1] % sizeof sizes];
    c->little = in[2] & 1;
    c->strip_header = in[2] & 2;
    c->max = in[2] & 4 ? PTRDIFF_MAX : max;
    c->offset = in[3] % 32u * (in[2] & 8 ? 2000 : 1);
    c->adjust = (int64_t)(int8_t)in[4] * (in[2] & 16 ? 1 << 24 : 1);
    c->strip = c->strip_header ? 0 : in[5] % 20u;
    s->codec = &codec_field;
    return wawo_field_check(c);
}

/* 0, and the stream in *p, *n. */
static int choose(struct subject *s, const uint8_t *in, const uint8_t **p, size_t *n)
{
    uint64_t max = in[6] | (uint64_t)in[7] << 8;

    memset(s, 0, sizeof *s);
    switch (in[0] % 7) {
    case 0:
        return choose_length(s, in, max);
    case 1:
        return choose_field(s, in, max);
    case 2:
        s->codec = &codec_pack;
        s->cfg.pack.flag = (in[1] | (uint32_t)in[2] << 8) % (WAWO_PACK_FLAG_MAX + 1);
        s->cfg.pack.max = in[3] & 1 ? WAWO_PACK_MAX : max;
        return wawo_pack_check(&s->cfg.pack);
    case 3: /* Delimited */
    case 4: /* Between */
        s->codec = &codec_marks;
        if (in[0] % 7 == 4)
            s->cfg.marks.start_len = (uint8_t)take(s->cfg.marks.start, in[1] % 17u, p, n);
        s->cfg.marks.end_len = (uint8_t)take(s->cfg.marks.end, 1 + in[2] % 16u, p, n);
        s->cfg.marks.max = in[3] & 1 ? PTRDIFF_MAX : max;
        return wawo_marks_check(&s->cfg.marks);
    case 5:
        s->codec = &codec_fixed;
        s->cfg.fixed.size = max;
        return wawo_fixed_check(&s->cfg.fixed);
    default:
        s->codec = &codec_packet;
        s->cfg.packet.max = in[3] & 1 ? UINT32_MAX : max;
        return wawo_packet_check(&s->cfg.packet);
    }
}

static uint64_t max_of(const struct subject *s)
{
    if (s->codec == &codec_length)
        return s->cfg.length.max;
    if (s->codec == &codec_field)
        return s->cfg.field.max;
    if (s->codec == &codec_pack)
        return s->cfg.pack.max;
    if (s->codec == &codec_marks)
        return s->cfg.marks.max;
    return s->codec == &codec_fixed ? s->cfg.fixed.size : s->cfg.packet.max;
}

/* ---- cutting ---- */

static uint8_t *copy(const void *p, size_t n)
{
    uint8_t *made = malloc(n);

    WAWO_CHECK(made != NULL);
    memcpy(made, p, n);
    return made;
}

static int cut(const struct subject *s, const uint8_t *p, size_t n, size_t *scanned, struct wawo_frame *f)
{
    uint8_t *own = copy(p, n);
    size_t before = *scanned;
    int rc = s->codec->cut(&s->cfg, own, n, scanned, f);

    free(own);
    if (rc == 1) {
        WAWO_CHECK(f->total > 0 && f->total <= n);
        WAWO_CHECK(f->skip <= f->total && f->len <= f->total - f->skip);
        WAWO_CHECK(f->len <= max_of(s));
    } else if (rc == 0) {
        WAWO_CHECK(f->total == 0 || f->total > n);
        WAWO_CHECK(*scanned >= before && *scanned <= n);
    } else {
        WAWO_CHECK(rc == WAWO_EMSGSIZE || rc == WAWO_EBADMSG);
    }
    return rc;
}

static size_t next_piece(uint32_t *split, size_t n)
{
    *split = *split * 1103515245u + 12345u;
    return 1 + (*split >> 16) % n;
}

/* Cuts the stream as it comes in pieces: whole, or at most `piece` bytes each. */
static void run(const struct subject *s, const uint8_t *p, size_t n, size_t piece, uint32_t split, struct run *r)
{
    size_t have = 0, scanned = 0, total = 0;
    struct wawo_frame f;

    r->count = r->used = 0;
    r->end = 0;
    while (have < n && r->end == 0) {
        have = wawo_min_size(n, have + (piece == n ? n : next_piece(&split, piece)));
        while (r->used < have) {
            r->end = cut(s, p + r->used, have - r->used, &scanned, &f);
            if (r->end >= 0 && total != 0)
                WAWO_CHECK(f.total == total); /* once said, it stays */
            total = f.total;
            if (r->end <= 0)
                break;
            r->frames[r->count++] = f;
            r->used += f.total;
            r->end = 0;
            scanned = total = 0;
        }
    }
}

static void compare(const struct run *a, const struct run *b)
{
    size_t i;

    WAWO_CHECK(a->count == b->count);
    WAWO_CHECK(a->used == b->used);
    WAWO_CHECK(a->end == b->end);
    for (i = 0; i < a->count; i++) {
        WAWO_CHECK(a->frames[i].skip == b->frames[i].skip);
        WAWO_CHECK(a->frames[i].len == b->frames[i].len);
        WAWO_CHECK(a->frames[i].total == b->frames[i].total);
    }
}

/* ---- sealing ---- */

/* Whether there is one frame only for its message: nothing in it that is not sent as it was received. */
static bool canonical(const struct subject *s, const uint8_t *p, const struct wawo_frame *f)
{
    const struct wawo_field *c = &s->cfg.field;
    size_t i;

    if (s->codec == &codec_pack)
        return s->cfg.pack.flag != 0 || wawo_length_read(p, 4, true) >> WAWO_PACK_SHIFT == 0;
    if (s->codec != &codec_field)
        return true;
    for (i = 0; i < f->skip; i++) {
        if (i >= c->offset && (c->strip_header || i < c->offset + c->size))
            continue;
        if (p[i] != 0)
            return false;
    }
    return !(c->size == WAWO_FIELD_VARINT && c->strip_header && f->skip > c->offset + 1 && p[f->skip - 1] == 0);
}

/* The frame of a message, allocated; NULL where seal refuses it. */
static uint8_t *seal(const struct subject *s, const uint8_t *p, size_t len, size_t *n)
{
    uint8_t *own = copy(p, len), *wire = NULL;
    struct wawo_message m = {own, len, len};
    struct wawo_envelope e;
    int rc = s->codec->seal(&s->cfg, &m, &e);

    if (rc == 0) {
        WAWO_CHECK(len <= max_of(s));
        WAWO_CHECK(e.head_len <= WAWO_ENVELOPE_MAX && e.tail_len <= WAWO_ENVELOPE_MAX);
        *n = e.head_len + len + e.tail_len;
        wire = malloc(*n);
        WAWO_CHECK(wire != NULL);
        memcpy(wire, e.head, e.head_len);
        memcpy(wire + e.head_len, own, len);
        if (e.tail_len > 0)
            memcpy(wire + e.head_len + len, e.tail, e.tail_len);
    } else {
        WAWO_CHECK(rc == WAWO_EMSGSIZE || rc == WAWO_EBADMSG);
    }
    free(own);
    return wire;
}

/* What is sent is received as it was. */
static void reread(const struct subject *s, const uint8_t *wire, size_t n, const uint8_t *message, size_t len)
{
    struct wawo_frame f;
    size_t scanned = 0;

    WAWO_CHECK(cut(s, wire, n, &scanned, &f) == 1);
    WAWO_CHECK(f.total == n);
    WAWO_CHECK(f.len == len);
    WAWO_CHECK(memcmp(wire + f.skip, message, len) == 0);
}

static void reseal(const struct subject *s, const uint8_t *p, const struct run *r)
{
    const struct wawo_frame *f = r->frames, *end = r->frames + r->count;
    uint8_t *wire;
    size_t n;

    for (; f < end; p += f->total, f++) {
        wire = seal(s, p + f->skip, f->len, &n);
        WAWO_CHECK(wire != NULL);
        if (canonical(s, p, f))
            WAWO_CHECK(n == f->total && memcmp(wire, p, n) == 0);
        else
            reread(s, wire, n, p + f->skip, f->len);
        free(wire);
    }
}

/* Any message. */
static void send(const struct subject *s, const uint8_t *p, size_t len)
{
    size_t n;
    uint8_t *wire = seal(s, p, len, &n);

    if (wire != NULL)
        reread(s, wire, n, p, len);
    free(wire);
}

int fuzz_framing(const uint8_t *data, size_t size)
{
    static struct run whole, parts;
    const uint8_t *p = data + HEAD;
    struct subject s;
    uint32_t split;
    size_t n;

    if (size <= HEAD)
        return 0;
    n = wawo_min_size(size - HEAD, STREAM_MAX);
    if (choose(&s, data, &p, &n) != 0 || n == 0)
        return 0;
    split = data[8] | (uint32_t)data[9] << 8;
    run(&s, p, n, n, 0, &whole);
    run(&s, p, n, 1, 0, &parts);
    compare(&whole, &parts);
    run(&s, p, n, 2 + split % 64, split, &parts);
    compare(&whole, &parts);
    reseal(&s, p, &whole);
    send(&s, p, n);
    send(&s, p, 1 + split % n);
    return 0;
}
