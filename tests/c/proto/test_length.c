/* Vectors, every split (a field is complete or it is not: the codec reads exactly its size), limits, both orders. */
#include "support/kit.h"

#include "base/err.h"
#include "proto/length.h"

static const uint8_t sizes[] = {1, 2, 3, 4, 8};

static uint64_t largest(uint8_t size)
{
    return size == 8 ? INT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
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

TEST(vectors)
{
    size_t i;

    for (i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *v = &vectors[i];
        uint8_t *p = kit_guard(v->cfg.size);

        ASSERT_EQ(wawo_length_check(&v->cfg), 0);
        ASSERT_EQ(wawo_length_encode(&v->cfg, v->value, p), v->cfg.size);
        ASSERT_MEMEQ(p, v->wire, v->cfg.size);
        ASSERT_EQ(wawo_length_decode(&v->cfg, p), (int64_t)v->value);
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
                        ASSERT_EQ(wawo_length_encode(&c, n, p), WAWO_EMSGSIZE);
                        continue;
                    }
                    ASSERT_EQ(wawo_length_encode(&c, n, p), c.size);
                    ASSERT_EQ(wawo_length_decode(&c, p), (int64_t)n);
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

        ASSERT_EQ(wawo_length_encode(&c, 100, p), c.size);
        ASSERT_EQ(wawo_length_decode(&c, p), 100);
        ASSERT_EQ(wawo_length_encode(&c, 101, p), WAWO_EMSGSIZE);
        ASSERT_EQ(wawo_length_encode(&wide, 101, p), c.size);
        ASSERT_EQ(wawo_length_decode(&c, p), WAWO_EMSGSIZE);
        memset(p, 0xff, c.size);
        ASSERT_EQ(wawo_length_decode(&c, p), WAWO_EMSGSIZE);
        if (c.size == 8) /* beyond what a signed length can be */
            ASSERT_EQ(wawo_length_decode(&wide, p), WAWO_EMSGSIZE);
        c.max = 0;
        ASSERT_EQ(wawo_length_encode(&c, 0, p), c.size);
        ASSERT_EQ(wawo_length_decode(&c, p), 0);
        ASSERT_EQ(wawo_length_encode(&c, 1, p), WAWO_EMSGSIZE);
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

            ASSERT_EQ(wawo_length_encode(&c, n, wire), size);
            ASSERT_EQ(wawo_length_decode(&c, wire), (int64_t)n);
        }
    }
}
