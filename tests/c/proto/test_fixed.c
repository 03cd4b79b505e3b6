/* Sizes, limits; the size is known before the first byte. */
#include "support/codec.h"
#include "support/kit.h"

#include "base/err.h"
#include "proto/fixed.h"

CODEC(fixed);

TEST(sizes)
{
    static const size_t lens[] = {1, 2, 63, 64, 255, 256, 1000, 65536};
    static uint8_t message[65537];
    size_t i;

    kit_fill(message, sizeof message, 3);
    for (i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct wawo_fixed c = {lens[i]};

        CODEC_CUTS(&codec_fixed, &c, message, lens[i], 0, lens[i]);
        CODEC_SEALS(&codec_fixed, &c, message, lens[i], message, lens[i]);
        CODEC_REFUSES(&codec_fixed, &c, message, lens[i] - 1, WAWO_EBADMSG);
        CODEC_REFUSES(&codec_fixed, &c, message, lens[i] + 1, WAWO_EBADMSG);
    }
}

TEST(known_from_the_start)
{
    struct wawo_fixed c = {WAWO_FIXED_MAX};
    struct wawo_message m = {NULL, 0, WAWO_FIXED_MAX};
    struct wawo_envelope e;
    struct wawo_frame f;
    size_t scanned = 0;
    uint8_t byte = 0;

    ASSERT_EQ(wawo_fixed_cut(&c, &byte, 0, &scanned, &f), 0);
    ASSERT_EQ(f.total, WAWO_FIXED_MAX);
    ASSERT_EQ(wawo_fixed_seal(&c, &m, &e), 0);
    ASSERT_EQ(e.head_len, 0);
    ASSERT_EQ(e.tail_len, 0);
}

TEST(stream)
{
    static const size_t stream[] = {7, 7, 7, 7, 7};
    struct wawo_fixed c = {7};

    CODEC_STREAM(&codec_fixed, &c, stream, sizeof stream / sizeof *stream);
}

TEST(parameters)
{
    static const struct {
        struct wawo_fixed c;
        int rc;
    } rows[] = {
        {{0}, WAWO_EINVAL},          {{1}, 0}, {{WAWO_FIXED_MAX}, 0}, {{WAWO_FIXED_MAX + UINT64_C(1)}, WAWO_EINVAL},
        {{UINT64_MAX}, WAWO_EINVAL},
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        ASSERT_EQ(wawo_fixed_check(&rows[i].c), rows[i].rc);
}
