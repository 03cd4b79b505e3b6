/* Recorded bytes of HP-Socket, limits, flags. */
#include "support/codec.h"
#include "support/kit.h"

#include "base/err.h"
#include "proto/pack.h"

CODEC(pack);

static uint8_t big[4 + WAWO_PACK_MAX];

TEST(recorded)
{
    static const uint8_t wire[] = {0x02, 0x00, 0x40, 0x5a, 0x78, 0x79};
    static const uint8_t plain[] = {0x01, 0x00, 0x00, 0x00, 'z'}, top[] = {0x01, 0x00, 0xc0, 0xff, 'z'};
    static const uint8_t least[] = {0x01, 0x00, 0x40, 0x00, 'z'};
    struct wawo_pack c = {0x169, 262144}, any = {0, 262144}, one = {1, 262144}, last = {1023, 262144};

    CODEC_CUTS(&codec_pack, &c, wire, sizeof wire, 4, 2);
    CODEC_SEALS(&codec_pack, &c, "xy", 2, wire, sizeof wire);
    CODEC_CUTS(&codec_pack, &any, plain, sizeof plain, 4, 1);
    CODEC_SEALS(&codec_pack, &any, "z", 1, plain, sizeof plain);
    CODEC_CUTS(&codec_pack, &one, least, sizeof least, 4, 1);
    CODEC_SEALS(&codec_pack, &one, "z", 1, least, sizeof least);
    CODEC_CUTS(&codec_pack, &last, top, sizeof top, 4, 1);
    CODEC_SEALS(&codec_pack, &last, "z", 1, top, sizeof top);
    /* Without a flag of its own any is welcome. */
    CODEC_CUTS(&codec_pack, &any, wire, sizeof wire, 4, 2);
    CODEC_CUTS(&codec_pack, &any, top, sizeof top, 4, 1);
}

TEST(largest)
{
    static const uint8_t head[] = {0xff, 0xff, 0x3f, 0x00}, marked[] = {0xff, 0xff, 0xff, 0xff};
    struct wawo_pack any = {0, WAWO_PACK_MAX}, last = {1023, WAWO_PACK_MAX};

    kit_fill(big, sizeof big, 0);
    memcpy(big, head, 4);
    CODEC_CUTS(&codec_pack, &any, big, sizeof big, 4, 4194303);
    CODEC_SEALS(&codec_pack, &any, big + 4, 4194303, big, sizeof big);
    memcpy(big, marked, 4);
    CODEC_CUTS(&codec_pack, &last, big, sizeof big, 4, 4194303);
    CODEC_SEALS(&codec_pack, &last, big + 4, 4194303, big, sizeof big);
}

TEST(limits)
{
    static const uint8_t hundred[] = {100, 0, 0, 0}, more[] = {101, 0, 0, 0, 1}, empty[] = {0, 0, 0, 0};
    static const uint8_t top[] = {0xff, 0xff, 0x3f, 0, 1}, other[] = {1, 0, 0x80, 0, 1}, both[] = {0, 0, 0x80, 0, 1};
    struct wawo_pack c = {0, 100}, one = {1, 100};
    uint8_t message[104];

    kit_fill(message, sizeof message, 0);
    memcpy(message, hundred, 4);
    CODEC_CUTS(&codec_pack, &c, message, 104, 4, 100);
    CODEC_FAILS(&codec_pack, &c, more, sizeof more, 4, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_pack, &c, empty, sizeof empty, 4, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_pack, &c, top, sizeof top, 4, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_pack, &one, other, sizeof other, 4, WAWO_EBADMSG);
    /* The flag is looked at first. */
    CODEC_FAILS(&codec_pack, &one, both, sizeof both, 4, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_pack, &c, message, 0, WAWO_EMSGSIZE);
    CODEC_REFUSES(&codec_pack, &c, message, 101, WAWO_EMSGSIZE);
    CODEC_ROUND(&codec_pack, &c, message, 100);
    CODEC_ROUND(&codec_pack, &c, message, 1);
}

TEST(parameters)
{
    static const struct {
        struct wawo_pack c;
        int rc;
    } rows[] = {
        {{0, 1}, 0},
        {{1023, WAWO_PACK_MAX}, 0},
        {{1024, 100}, WAWO_EINVAL},
        {{UINT32_MAX, 100}, WAWO_EINVAL},
        {{0, 0}, WAWO_EINVAL},
        {{0, WAWO_PACK_MAX + 1}, WAWO_EINVAL},
        {{0, UINT64_MAX}, WAWO_EINVAL},
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        ASSERT_EQ(wawo_pack_check(&rows[i].c), rows[i].rc);
}

TEST(round_trips)
{
    static const size_t lens[] = {1, 2, 63, 64, 255, 256, 1000, 65535, 65536, 262144};
    static const size_t stream[] = {1, 40, 64, 17, 255, 300};
    static const uint32_t flags[] = {0, 1, 0x169, 1023};
    size_t i, k;

    kit_fill(big, sizeof big, 9);
    for (i = 0; i < sizeof flags / sizeof *flags; i++) {
        struct wawo_pack c = {flags[i], 262144};

        for (k = 0; k < sizeof lens / sizeof *lens; k++)
            CODEC_ROUND(&codec_pack, &c, big, lens[k]);
        CODEC_STREAM(&codec_pack, &c, stream, sizeof stream / sizeof *stream);
    }
}
