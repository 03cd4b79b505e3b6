/* Headers of known protocols, every size and order, a field that is stripped, half stripped and carried, limits at both
 * ends of the numbers. */
#include "support/codec.h"
#include "support/kit.h"

#include "base/err.h"
#include "proto/field.h"

CODEC(field);

static const uint8_t sizes[] = {1, 2, 3, 4, 8, WAWO_FIELD_VARINT};

enum { SIZES = sizeof sizes };

struct vector {
    struct wawo_field cfg;
    const char *wire;
    size_t n, skip;
    const char *sent; /* NULL: as received */
};

#define HELLO "HELLO, WORLD"

static const struct vector vectors[] = {
    /* length, body */
    {{.size = 2, .max = 100}, "\0\14" HELLO, 14, 0, NULL},
    {{.size = 2, .max = 100, .strip = 2}, "\0\14" HELLO, 14, 2, NULL},
    {{.size = 2, .max = 100, .strip_header = true}, "\0\14" HELLO, 14, 2, NULL},
    {{.size = 2, .max = 100, .strip = 2, .little = true}, "\14\0" HELLO, 14, 2, NULL},
    /* the length counts itself */
    {{.size = 2, .max = 100, .adjust = -2}, "\0\16" HELLO, 14, 0, NULL},
    {{.size = 4, .max = 100, .adjust = -4, .strip_header = true}, "\0\0\0\20" HELLO, 16, 4, NULL},
    /* something in front of it, something behind it that it does not count */
    {{.offset = 2, .size = 3, .max = 100}, "\xca\xfe\0\0\14" HELLO, 17, 0, NULL},
    {{.size = 3, .max = 100, .adjust = 2}, "\0\0\14\xca\xfe" HELLO, 17, 0, NULL},
    {{.offset = 2, .size = 3, .max = 100, .strip = 1}, "\xca\xfe\0\0\14" HELLO, 17, 1, "\0\xfe\0\0\14" HELLO},
    {{.offset = 2, .size = 3, .max = 100, .strip = 2}, "\xca\xfe\0\0\14" HELLO, 17, 2, "\0\0\0\0\14" HELLO},
    /* both, and all in front of the message is stripped */
    {{.offset = 1, .size = 2, .adjust = 1, .strip = 3, .max = 100}, "\xca\0\14\xfe" HELLO, 16, 3, "\0\0\14\xfe" HELLO},
    {{.offset = 1, .size = 2, .adjust = -3, .strip = 3, .max = 100}, "\xca\0\20\xfe" HELLO, 16, 3, "\0\0\20\xfe" HELLO},
    {{.offset = 1, .size = 2, .adjust = 1, .strip = 4, .max = 12}, "\xca\0\14\xfe" HELLO, 16, 4, "\0\0\14\0" HELLO},
    {{.size = 2, .strip = 5, .max = 12}, "\0\17\1\2\3" HELLO, 17, 5, "\0\17\0\0\0" HELLO},
    /* protobuf: a varint, the message */
    {{.size = WAWO_FIELD_VARINT, .strip_header = true, .max = 12}, "\14" HELLO, 13, 1, NULL},
    {{.size = WAWO_FIELD_VARINT, .strip_header = true, .max = 12}, "\x8c\0" HELLO, 14, 2, "\14" HELLO},
    {{.size = WAWO_FIELD_VARINT, .strip_header = true, .max = 12},
     "\x8c\x80\x80\x80\x80\x80\x80\x80\x80\0" HELLO,
     22,
     10,
     "\14" HELLO},
    {{.offset = 6, .size = WAWO_FIELD_VARINT, .strip_header = true, .max = 12},
     "123456\14" HELLO,
     19,
     7,
     "\0\0\0\0\0\0\14" HELLO},
    /* MQTT: a type, the remaining length, the rest; PINGREQ and a PUBLISH to "a/b" */
    {{.offset = 1, .size = WAWO_FIELD_VARINT, .max = 100}, "\xc0\0", 2, 0, NULL},
    {{.offset = 1, .size = WAWO_FIELD_VARINT, .max = 100}, "\x30\7\0\3a/bhi", 9, 0, NULL},
    {{.offset = 1, .size = WAWO_FIELD_VARINT, .max = 100, .strip = 1}, "\x30\7\0\3a/bhi", 9, 1, "\0\7\0\3a/bhi"},
    /* nothing behind the header */
    {{.size = 1, .max = 0, .strip = 1}, "\0", 1, 1, NULL},
    {{.size = 1, .max = 0, .strip = 4}, "\3\0\0\0", 4, 4, NULL},
    {{.offset = 3, .size = 1, .max = 0, .strip = 4, .adjust = -4}, "\0\0\0\4", 4, 4, NULL},
};

TEST(vectors)
{
    size_t i;

    for (i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *v = &vectors[i];
        const uint8_t *wire = (const uint8_t *)v->wire, *message = wire + v->skip;
        const uint8_t *sent = (const uint8_t *)(v->sent != NULL ? v->sent : v->wire);
        size_t len = v->n - v->skip, n = v->n;

        if (v->cfg.size == WAWO_FIELD_VARINT && v->cfg.strip_header)
            n = v->cfg.offset + 1 + len; /* sent as short as it can be */
        ASSERT_EQ(wawo_field_check(&v->cfg), 0);
        CODEC_CUTS(&codec_field, &v->cfg, wire, v->n, v->skip, len);
        CODEC_SEALS(&codec_field, &v->cfg, message, len, sent, n);
    }
}

TEST(a_field_that_lies)
{
    static const struct wawo_field whole = {.size = 2, .max = 100},
                                   counts_itself = {.size = 2, .adjust = -2, .max = 100};
    static const struct wawo_field half = {.offset = 2, .size = 1, .strip = 2, .max = 100};
    static const struct wawo_field varint = {.offset = 1, .size = WAWO_FIELD_VARINT, .max = 100};

    CODEC_REFUSES(&codec_field, &whole, "", 0, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_field, &whole, "\0", 1, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_field, &whole, "\0\4abc", 5, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_field, &whole, "\0\2abc", 5, WAWO_EBADMSG);
    CODEC_ROUND(&codec_field, &whole, "\0\3abc", 5);
    CODEC_REFUSES(&codec_field, &whole, "\377\377abc", 5, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_field, &counts_itself, "\0\1", 2, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_field, &counts_itself, "\0\3abc", 5, WAWO_EBADMSG);
    CODEC_ROUND(&codec_field, &counts_itself, "\0\5abc", 5);
    CODEC_ROUND(&codec_field, &half, "\3abc", 4);
    CODEC_REFUSES(&codec_field, &half, "\4abc", 4, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_field, &varint, "x\2abc", 5, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_field, &varint, "x\200\200\200\200\200\200\200\200\200\2", 11, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_field, &varint, "x\203", 2, WAWO_EBADMSG);
    CODEC_ROUND(&codec_field, &varint, "x\203\0abc", 6);
}

/* Of a message that lies elsewhere the field must be here. */
TEST(a_message_elsewhere)
{
    static const struct wawo_field carried = {.offset = 1, .size = 2, .max = 1000},
                                   written = {.size = 2, .strip = 2, .max = 1000};
    struct wawo_message m = {(const uint8_t *)"x\3\345tail", 3, 1000};
    struct wawo_envelope e;

    ASSERT_EQ(wawo_field_seal(&carried, &m, &e), 0);
    ASSERT_EQ(e.head_len, 0);
    m.len = 2;
    ASSERT_EQ(wawo_field_seal(&carried, &m, &e), WAWO_EBADMSG);
    m.total = 999;
    m.len = 3;
    ASSERT_EQ(wawo_field_seal(&carried, &m, &e), WAWO_EBADMSG);
    m.len = 0;
    ASSERT_EQ(wawo_field_seal(&written, &m, &e), 0);
    ASSERT_EQ(e.head_len, 2);
    ASSERT_MEMEQ(e.head, "\3\347", 2);
}

TEST(malformed)
{
    static const struct wawo_field itself = {.size = 2, .adjust = -2, .strip = 2, .max = 100};
    static const struct wawo_field beyond = {.size = 1, .strip = 4, .max = 100};
    static const struct wawo_field varint = {.size = WAWO_FIELD_VARINT, .adjust = -3, .max = 100};

    CODEC_FAILS(&codec_field, &itself, (const uint8_t *)"\0\1xyz", 5, 2, WAWO_EBADMSG);
    CODEC_FAILS(&codec_field, &itself, (const uint8_t *)"\0\0xyz", 5, 2, WAWO_EBADMSG);
    CODEC_FAILS(&codec_field, &beyond, (const uint8_t *)"\2xyz", 4, 1, WAWO_EBADMSG);
    CODEC_FAILS(&codec_field, &varint, (const uint8_t *)"\2xyz", 4, 1, WAWO_EBADMSG);
    CODEC_FAILS(&codec_field, &varint, (const uint8_t *)"\202\0xyz", 4, 2, WAWO_EBADMSG);
}

/* The maximum is that of the message as the listener gets it. */
TEST(limits)
{
    struct wawo_field c = {.offset = 1, .size = 1, .max = 12}; /* frames of at most 12 bytes */
    uint8_t wire[64] = {0, 10};

    CODEC_CUTS(&codec_field, &c, wire, 12, 0, 12);
    CODEC_ROUND(&codec_field, &c, wire, 12);
    wire[1] = 11;
    CODEC_FAILS(&codec_field, &c, wire, 13, 2, WAWO_EMSGSIZE);
    CODEC_REFUSES(&codec_field, &c, wire, 13, WAWO_EMSGSIZE);
    c.strip = 1;
    CODEC_CUTS(&codec_field, &c, wire, 13, 1, 12);
    c.strip = 5;
    wire[1] = 15;
    CODEC_CUTS(&codec_field, &c, wire, 17, 5, 12);
    wire[1] = 16;
    CODEC_FAILS(&codec_field, &c, wire, 17, 2, WAWO_EMSGSIZE);
    CODEC_ROUND(&codec_field, &c, wire, 12);
    CODEC_REFUSES(&codec_field, &c, wire, 13, WAWO_EMSGSIZE);
    c.adjust = 10;
    wire[1] = 5;
    CODEC_CUTS(&codec_field, &c, wire, 17, 5, 12);
    wire[1] = 6;
    CODEC_FAILS(&codec_field, &c, wire, 17, 2, WAWO_EMSGSIZE);
    CODEC_ROUND(&codec_field, &c, wire, 12);
    CODEC_ROUND(&codec_field, &c, wire, 7); /* the field says 0 */
    CODEC_REFUSES(&codec_field, &c, wire, 6, WAWO_EBADMSG);
}

TEST(what_the_field_cannot_hold)
{
    static const struct wawo_field one = {.size = 1, .strip = 1, .max = 1000},
                                   less = {.size = 1, .strip = 1, .adjust = 10, .max = 1000};
    static const struct wawo_field more = {.size = 1, .strip = 1, .adjust = -10, .max = 1000},
                                   three = {.size = 3, .strip_header = true, .max = 1 << 30};
    struct wawo_message m = {NULL, 0, 1 << 24};
    struct wawo_envelope e;
    uint8_t message[300];

    kit_fill(message, sizeof message, 0);
    CODEC_ROUND(&codec_field, &one, message, 255);
    CODEC_REFUSES(&codec_field, &one, message, 256, WAWO_EMSGSIZE);
    CODEC_ROUND(&codec_field, &less, message, 265);
    CODEC_REFUSES(&codec_field, &less, message, 266, WAWO_EMSGSIZE);
    CODEC_ROUND(&codec_field, &more, message, 245);
    CODEC_REFUSES(&codec_field, &more, message, 246, WAWO_EMSGSIZE);
    ASSERT_EQ(wawo_field_seal(&three, &m, &e), WAWO_EMSGSIZE);
    m.total--;
    ASSERT_EQ(wawo_field_seal(&three, &m, &e), 0);
    ASSERT_MEMEQ(e.head, "\377\377\377", 3);
}

TEST(varints)
{
    static const struct wawo_field tight = {.size = WAWO_FIELD_VARINT, .strip_header = true, .max = 100};
    static const struct wawo_field wide = {.size = WAWO_FIELD_VARINT, .strip_header = true, .max = PTRDIFF_MAX};
    static const struct wawo_field whole = {.size = WAWO_FIELD_VARINT, .max = 130};
    static const struct wawo_field small = {.size = WAWO_FIELD_VARINT, .max = 10};
    uint8_t wire[140];

    /* Over the maximum as soon as it is certain. */
    CODEC_FAILS(&codec_field, &tight, (const uint8_t *)"\145xyz", 4, 1, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_field, &tight, (const uint8_t *)"\345\1xyz", 4, 1, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_field, &tight, (const uint8_t *)"\344\1xyz", 4, 2, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_field, &small, (const uint8_t *)"\211\0xyz", 5, 1, WAWO_EMSGSIZE); /* 9, and 2 of the field */
    memset(wire, 0, sizeof wire);
    wire[0] = 0x80, wire[1] = 1; /* 128 bytes, 130 in all */
    CODEC_CUTS(&codec_field, &whole, wire, 130, 0, 130);
    CODEC_ROUND(&codec_field, &whole, wire, 130);
    wire[0] = 0x81;
    CODEC_FAILS(&codec_field, &whole, wire, 131, 2, WAWO_EMSGSIZE);
    /* On a 32-bit CPU what comes is over the maximum before it is invalid. */
    if (PTRDIFF_MAX < INT64_MAX) {
        memset(wire, 0xff, 10);
        CODEC_FAILS(&codec_field, &wide, wire, 12, 5, WAWO_EMSGSIZE);
        return;
    }
    /* Beyond 64 bits, beyond 63. */
    memset(wire, 0x80, 12);
    CODEC_FAILS(&codec_field, &wide, wire, 12, 10, WAWO_EBADMSG);
    wire[9] = 2;
    CODEC_FAILS(&codec_field, &wide, wire, 12, 10, WAWO_EBADMSG);
    wire[9] = 1;
    CODEC_FAILS(&codec_field, &wide, wire, 12, 10, WAWO_EMSGSIZE);
    memset(wire, 0xff, 10);
    CODEC_FAILS(&codec_field, &wide, wire, 12, 10, WAWO_EBADMSG);
}

/* The largest message that any memory could hold: it has come when its last byte has. */
TEST(largest_varint)
{
    static const struct wawo_field wide = {.size = WAWO_FIELD_VARINT, .strip_header = true, .max = PTRDIFF_MAX};
    uint8_t wire[WAWO_FIELD_VARINT_MAX] = {0};
    unsigned n = 0, bits;
    size_t scanned = 0;
    struct wawo_frame f;

    for (bits = sizeof(ptrdiff_t) * 8 - 1; bits > 7; bits -= 7)
        wire[n++] = 0xff;
    wire[n++] = (uint8_t)((1u << bits) - 1);
    ASSERT_EQ(wawo_field_cut(&wide, wire, n, &scanned, &f), 0);
    ASSERT_EQ(f.total, n + (size_t)PTRDIFF_MAX);
    ASSERT_EQ(f.len, PTRDIFF_MAX);
    if (bits < 7) {
        wire[n - 1]++;
    } else {
        wire[n - 1] = 0xff;
        wire[n++] = 1;
    }
    ASSERT_EQ(wawo_field_cut(&wide, wire, n, &scanned, &f), WAWO_EMSGSIZE);
}

/* Nothing wraps at the ends of the numbers. */
TEST(extremes)
{
    static const uint8_t most[] = {0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                         beyond[] = {0x80, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t all[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                         least[] = {0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff};
    struct wawo_field c = {.size = 8, .strip = 8, .max = PTRDIFF_MAX};
    struct wawo_message m = {NULL, 0, PTRDIFF_MAX};
    struct wawo_envelope e;
    struct wawo_frame f;
    size_t scanned = 0;

    if (PTRDIFF_MAX < INT64_MAX)
        SKIP("no message of 2^63 bytes can be on a 32-bit CPU");
    ASSERT_EQ(wawo_field_cut(&c, most, 8, &scanned, &f), 0);
    ASSERT_EQ(f.total, 8 + (size_t)INT64_MAX);
    ASSERT_EQ(wawo_field_seal(&c, &m, &e), 0);
    ASSERT_MEMEQ(e.head, most, 8);
    CODEC_FAILS(&codec_field, &c, beyond, 8, 8, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_field, &c, all, 8, 8, WAWO_EMSGSIZE);
    c.adjust = INT32_MAX;
    CODEC_FAILS(&codec_field, &c, most, 8, 8, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_field, &c, all, 8, 8, WAWO_EMSGSIZE);
    ASSERT_EQ(wawo_field_seal(&c, &m, &e), 0);
    m.total = INT32_MAX - 1;
    ASSERT_EQ(wawo_field_seal(&c, &m, &e), WAWO_EBADMSG);
    m.total = PTRDIFF_MAX;
    c.adjust = -INT32_MAX;
    ASSERT_EQ(wawo_field_cut(&c, most, 8, &scanned, &f), 0);
    ASSERT_EQ(f.len, INT64_MAX - INT32_MAX);
    ASSERT_EQ(wawo_field_seal(&c, &m, &e), WAWO_EMSGSIZE);
    m.total = 0;
    ASSERT_EQ(wawo_field_seal(&c, &m, &e), 0);
    ASSERT_MEMEQ(e.head, least, 8);
    CODEC_CUTS(&codec_field, &c, least, 8, 8, 0);
}

TEST(a_field_far_away)
{
    struct wawo_field c = {.offset = 65535, .size = 2, .strip = 16, .max = 70000};
    static uint8_t wire[65535 + 2 + 300];

    kit_fill(wire, sizeof wire, 1);
    memset(wire, 0, 16);
    wire[65535] = 1, wire[65536] = 44;
    CODEC_CUTS(&codec_field, &c, wire, sizeof wire, 16, sizeof wire - 16);
    CODEC_SEALS(&codec_field, &c, wire + 16, sizeof wire - 16, wire, sizeof wire);
    wire[65536]--;
    CODEC_REFUSES(&codec_field, &c, wire + 16, sizeof wire - 16, WAWO_EBADMSG);
}

TEST(parameters)
{
    static const struct {
        struct wawo_field c;
        int rc;
    } rows[] = {
        {{.size = 4, .max = 1}, 0},
        {{.size = 5, .max = 1}, WAWO_EINVAL},
        {{.size = 9, .max = 1}, WAWO_EINVAL},
        {{.size = 255, .max = 1}, WAWO_EINVAL},
        {{.size = 4, .max = (uint64_t)PTRDIFF_MAX}, 0},
        {{.size = 4, .max = (uint64_t)PTRDIFF_MAX + 1}, WAWO_EINVAL},
        {{.size = 4, .offset = 65535}, 0},
        {{.size = 4, .offset = 65536}, WAWO_EINVAL},
        {{.size = 4, .offset = UINT32_MAX}, WAWO_EINVAL},
        {{.size = 4, .adjust = INT32_MAX}, 0},
        {{.size = 4, .adjust = -INT32_MAX}, 0},
        {{.size = 4, .adjust = INT32_MAX + INT64_C(1)}, WAWO_EINVAL},
        {{.size = 4, .adjust = INT32_MIN}, WAWO_EINVAL},
        {{.size = 4, .adjust = INT64_MIN}, WAWO_EINVAL},
        {{.size = 4, .offset = 2, .strip = 2}, 0},
        {{.size = 4, .offset = 2, .strip = 3}, WAWO_EINVAL},
        {{.size = 4, .offset = 2, .strip = 5}, WAWO_EINVAL},
        {{.size = 4, .offset = 2, .strip = 6}, 0},
        {{.size = 4, .offset = 2, .strip = 16}, 0},
        {{.size = 4, .offset = 2, .strip = 17}, WAWO_EINVAL},
        {{.size = 4, .offset = 20, .strip = 17}, WAWO_EINVAL},
        {{.size = 4, .strip = UINT32_MAX}, WAWO_EINVAL},
        {{.size = 4, .strip_header = true}, 0},
        {{.size = 4, .strip_header = true, .strip = 4}, WAWO_EINVAL},
        {{.size = 4, .strip_header = true, .offset = 12}, 0},
        {{.size = 4, .strip_header = true, .offset = 13}, WAWO_EINVAL},
        {{.size = WAWO_FIELD_VARINT, .offset = 2}, 0},
        {{.size = WAWO_FIELD_VARINT, .offset = 2, .strip = 2}, 0},
        {{.size = WAWO_FIELD_VARINT, .offset = 2, .strip = 3}, WAWO_EINVAL},
        {{.size = WAWO_FIELD_VARINT, .offset = 2, .strip = 12}, WAWO_EINVAL},
        {{.size = WAWO_FIELD_VARINT, .offset = 6, .strip_header = true}, 0},
        {{.size = WAWO_FIELD_VARINT, .offset = 7, .strip_header = true}, WAWO_EINVAL},
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        ASSERT_EQ(wawo_field_check(&rows[i].c), rows[i].rc);
}

/* With the header stripped any message of these sizes goes through. */
TEST(round_trips)
{
    static const size_t lens[] = {20, 63, 64, 127, 128, 129, 200, 255, 1000, 16383, 16384, 65535, 65536, 70000};
    static const size_t stream[] = {20, 40, 64, 17, 200, 128};
    static uint8_t message[70000];
    uint32_t offset;
    int64_t adjust;
    size_t i, k;

    kit_fill(message, sizeof message, 5);
    for (i = 0; i < (size_t)SIZES * 2; i++)
        for (offset = 0; offset <= 6; offset += 3)
            for (adjust = -12; adjust <= 12; adjust += 6) {
                struct wawo_field c = {.offset = offset,
                                       .size = sizes[i / 2],
                                       .little = i % 2 != 0,
                                       .strip_header = true,
                                       .adjust = adjust,
                                       .max = 70000};
                uint64_t most = c.size == 1 ? 255 : c.size == 2 ? 65535 : 70000;

                ASSERT_EQ(wawo_field_check(&c), 0);
                for (k = 0; k < sizeof lens / sizeof *lens; k++)
                    if ((uint64_t)((int64_t)lens[k] - adjust) <= most)
                        CODEC_ROUND(&codec_field, &c, message, lens[k]);
                CODEC_STREAM(&codec_field, &c, stream, sizeof stream / sizeof *stream);
            }
}

/* Any header, however it is stripped: what is cut out of a frame makes the same frame again. */
TEST(random_frames)
{
    uint64_t state = 11;
    uint8_t wire[64], *p;
    int i;

    for (i = 0; i < 20000; i++) {
        struct wawo_field c = {.offset = kit_below(&state, 12),
                               .size = sizes[kit_below(&state, SIZES - 1)],
                               .little = kit_below(&state, 2) != 0,
                               .adjust = (int64_t)kit_below(&state, 21) - 10,
                               .strip = kit_below(&state, 20),
                               .max = 100};
        size_t body = kit_below(&state, 20), n = c.offset + c.size + body, scanned = 0;
        struct wawo_envelope e;
        struct wawo_message m;
        struct wawo_frame f;

        if (wawo_field_check(&c) != 0 || (int64_t)body < c.adjust)
            continue;
        kit_fill(wire, n, (uint64_t)i);
        memset(wire, 0, wawo_min_size(c.strip, n));
        wawo_length_write(wire + c.offset, (uint64_t)((int64_t)body - c.adjust), c.size, c.little);
        p = kit_guard(n);
        memcpy(p, wire, n);
        if (n < c.strip) {
            ASSERT_EQ(wawo_field_cut(&c, p, n, &scanned, &f), WAWO_EBADMSG);
        } else {
            ASSERT_EQ(wawo_field_cut(&c, p, n, &scanned, &f), 1);
            ASSERT_EQ(f.skip, c.strip);
            ASSERT_EQ(f.len, n - c.strip);
            ASSERT_EQ(f.total, n);
            m = (struct wawo_message){p + f.skip, f.len, f.len};
            ASSERT_EQ(wawo_field_seal(&c, &m, &e), 0);
            ASSERT_EQ(e.head_len, c.strip);
            ASSERT_MEMEQ(e.head, wire, e.head_len);
        }
        kit_guard_free(p, n);
    }
}
