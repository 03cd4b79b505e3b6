/* Vectors, every split (a field is complete or it is not: the codec reads exactly its size), limits, both orders. */
#include "support/codec.h"
#include "support/kit.h"

#include "base/err.h"
#include "proto/length.h"

CODEC(length);

static const uint8_t sizes[] = {1, 2, 3, 4, 8};

/* No message is larger than memory can be, which on a 32-bit CPU is less than the field says. */
static uint64_t largest(uint8_t size)
{
    uint64_t most = size == 8 ? INT64_MAX : (UINT64_C(1) << (8 * size)) - 1;

    return most < PTRDIFF_MAX ? most : PTRDIFF_MAX;
}

struct vector {
    struct wawo_length cfg;
    uint64_t value;
    uint8_t wire[8];
};

static const struct vector vectors[] = {
    {{1, false, 255}, 0, {0}},
    {{1, true, 255}, 255, {255}},
    {{2, false, 65535}, 0x0102, {1, 2}},
    {{2, true, 65535}, 0x0102, {2, 1}},
    {{3, false, 1 << 20}, 0x010203, {1, 2, 3}},
    {{3, true, 1 << 20}, 0x010203, {3, 2, 1}},
    {{4, false, 0xffffffff}, 0xf1020304, {0xf1, 2, 3, 4}},
    {{4, true, 0xffffffff}, 0xf1020304, {4, 3, 2, 0xf1}},
    {{8, false, INT64_MAX}, 0x0102030405060708, {1, 2, 3, 4, 5, 6, 7, 8}},
    {{8, true, INT64_MAX}, 0x0102030405060708, {8, 7, 6, 5, 4, 3, 2, 1}},
};

/* The field that seal writes for a message of `n` bytes; its size, or why not. */
static int encode(const struct wawo_length *c, uint64_t n, uint8_t *p)
{
    struct wawo_message m = {.total = (size_t)n};
    struct wawo_envelope e;
    int err = n > SIZE_MAX ? WAWO_EMSGSIZE : wawo_length_seal(c, &m, &e); /* no message is that long on a 32-bit CPU */

    if (err == 0)
        memcpy(p, e.head, e.head_len);
    return err != 0 ? err : e.head_len;
}

/* The length that cut reads in the field at `p`, or why not. */
static int64_t decode(const struct wawo_length *c, const uint8_t *p)
{
    struct wawo_frame f;
    size_t scanned = 0;
    int got = wawo_length_cut(c, p, c->size, &scanned, &f);

    return got < 0 ? got : (int64_t)f.len;
}

TEST(vectors)
{
    size_t i;

    for (i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *v = &vectors[i];
        uint8_t *p = kit_guard(v->cfg.size);

        ASSERT_EQ(wawo_length_check(&v->cfg), v->cfg.max > PTRDIFF_MAX ? WAWO_EINVAL : 0);
        if (v->value > SIZE_MAX) {
            kit_guard_free(p, v->cfg.size);
            continue;
        }
        ASSERT_EQ(encode(&v->cfg, v->value, p), v->cfg.size);
        ASSERT_MEMEQ(p, v->wire, v->cfg.size);
        ASSERT_EQ(decode(&v->cfg, p), (int64_t)v->value);
        kit_guard_free(p, v->cfg.size);
    }
}

TEST(there_and_back_at_every_bit)
{
    size_t i;
    int bit, d, little;

    for (i = 0; i < sizeof sizes; i++)
        for (little = 0; little < 2; little++) {
            struct wawo_length c = {sizes[i], little != 0, largest(sizes[i])};
            uint8_t *p = kit_guard(c.size);

            ASSERT_EQ(wawo_length_check(&c), 0);
            for (bit = 0; bit < 63; bit++)
                for (d = -1; d <= 1; d++) {
                    uint64_t n = (UINT64_C(1) << bit) + (uint64_t)(int64_t)d;

                    if (n > c.max) {
                        ASSERT_EQ(encode(&c, n, p), WAWO_EMSGSIZE);
                        continue;
                    }
                    ASSERT_EQ(encode(&c, n, p), c.size);
                    ASSERT_EQ(decode(&c, p), (int64_t)n);
                }
            kit_guard_free(p, c.size);
        }
}

TEST(limits)
{
    size_t i;

    for (i = 0; i < sizeof sizes; i++) {
        struct wawo_length wide = {sizes[i], false, largest(sizes[i])}, c = {sizes[i], false, 100};
        uint8_t *p = kit_guard(c.size);

        ASSERT_EQ(encode(&c, 100, p), c.size);
        ASSERT_EQ(decode(&c, p), 100);
        ASSERT_EQ(encode(&c, 101, p), WAWO_EMSGSIZE);
        ASSERT_EQ(encode(&wide, 101, p), c.size);
        ASSERT_EQ(decode(&c, p), WAWO_EMSGSIZE);
        memset(p, 0xff, c.size);
        ASSERT_EQ(decode(&c, p), WAWO_EMSGSIZE);
        if (c.size == 8) /* beyond what a signed length can be */
            ASSERT_EQ(decode(&wide, p), WAWO_EMSGSIZE);
        c.max = 0;
        ASSERT_EQ(encode(&c, 0, p), c.size);
        ASSERT_EQ(decode(&c, p), 0);
        ASSERT_EQ(encode(&c, 1, p), WAWO_EMSGSIZE);
        kit_guard_free(p, c.size);
    }
}

TEST(parameters)
{
    unsigned size;

    for (size = 0; size < 256; size++) {
        struct wawo_length c = {(uint8_t)size, false, 10};
        bool known = size == 1 || size == 2 || size == 3 || size == 4 || size == 8;

        ASSERT_EQ(wawo_length_check(&c), known ? 0 : WAWO_EINVAL);
        if (!known)
            continue;
        c.max = largest(c.size);
        ASSERT_EQ(wawo_length_check(&c), 0);
        c.max++;
        ASSERT_EQ(wawo_length_check(&c), WAWO_EINVAL);
    }
}

TEST(random_there_and_back)
{
    static const uint64_t seeds[] = {1, 2, 3};
    size_t i, k;

    for (i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        uint64_t state = seeds[i];

        for (k = 0; k < 20000; k++) {
            uint8_t size = sizes[kit_below(&state, sizeof sizes)], wire[8];
            struct wawo_length c = {size, kit_below(&state, 2) != 0, largest(size)};
            uint64_t n = ((uint64_t)kit_random(&state) << 32 | kit_random(&state)) & c.max;

            ASSERT_EQ(encode(&c, n, wire), size);
            ASSERT_EQ(decode(&c, wire), (int64_t)n);
        }
    }
}

TEST(frames)
{
    static const uint8_t be4[] = {0, 0, 0, 3, 'a', 'b', 'c'}, le4[] = {3, 0, 0, 0, 'a', 'b', 'c'};
    static const uint8_t be2[] = {0, 3, 'a', 'b', 'c'}, le2[] = {3, 0, 'a', 'b', 'c'}, one[] = {3, 'a', 'b', 'c'};
    static const uint8_t be3[] = {0, 0, 0}, le8[] = {1, 0, 0, 0, 0, 0, 0, 0, 'x'};
    static const struct {
        struct wawo_length cfg;
        const uint8_t *wire;
        size_t n;
    } rows[] = {
        {{4, false, 3}, be4, sizeof be4},  {{4, true, 3}, le4, sizeof le4}, {{2, false, 100}, be2, sizeof be2},
        {{2, true, 100}, le2, sizeof le2}, {{1, true, 3}, one, sizeof one}, {{3, false, 100}, be3, sizeof be3},
        {{8, true, 1}, le8, sizeof le8},
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t head = rows[i].cfg.size, len = rows[i].n - head;

        CODEC_CUTS(&codec_length, &rows[i].cfg, rows[i].wire, rows[i].n, head, len);
        CODEC_SEALS(&codec_length, &rows[i].cfg, rows[i].wire + head, len, rows[i].wire, rows[i].n);
    }
}

TEST(frames_over_the_limit)
{
    static const uint8_t wire[] = {0, 0, 0, 101, 1}, huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct wawo_length c = {4, false, 100}, wide = {8, false, INT64_MAX}, none = {1, false, 0};
    uint8_t message[101];

    memset(message, 7, sizeof message);
    CODEC_FAILS(&codec_length, &c, wire, sizeof wire, 4, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_length, &wide, huge, sizeof huge, 8, WAWO_EMSGSIZE);
    CODEC_REFUSES(&codec_length, &c, message, 101, WAWO_EMSGSIZE);
    CODEC_ROUND(&codec_length, &c, message, 100);
    CODEC_ROUND(&codec_length, &none, message, 0);
    CODEC_REFUSES(&codec_length, &none, message, 1, WAWO_EMSGSIZE);
}

/* The size of a message is what counts, not how much of it lies here. */
TEST(a_message_elsewhere)
{
    struct wawo_length c = {4, true, UINT32_MAX};
    struct wawo_message m = {NULL, 0, 0x01020304};
    struct wawo_envelope e;

    ASSERT_EQ(wawo_length_seal(&c, &m, &e), 0);
    ASSERT_EQ(e.head_len, 4);
    ASSERT_EQ(e.tail_len, 0);
    ASSERT_MEMEQ(e.head, "\4\3\2\1", 4);
}

TEST(round_trips)
{
    static const size_t lens[] = {0, 1, 2, 63, 64, 127, 128, 254, 255, 256, 1000, 65535, 65536, 70000};
    static const size_t stream[] = {0, 1, 40, 0, 64, 17, 255};
    static uint8_t message[70000];
    size_t i, k;
    int little;

    kit_fill(message, sizeof message, 5);
    for (i = 0; i < sizeof sizes; i++)
        for (little = 0; little < 2; little++) {
            struct wawo_length c = {sizes[i], little != 0, largest(sizes[i])};

            for (k = 0; k < sizeof lens / sizeof *lens; k++)
                if (lens[k] <= c.max)
                    CODEC_ROUND(&codec_length, &c, message, lens[k]);
                else
                    CODEC_REFUSES(&codec_length, &c, message, lens[k], WAWO_EMSGSIZE);
            CODEC_STREAM(&codec_length, &c, stream, sizeof stream / sizeof *stream);
        }
}
