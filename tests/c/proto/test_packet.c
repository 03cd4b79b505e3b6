/* The recorded packet of the C++ wawo, marks, limits. */
#include "support/codec.h"
#include "support/kit.h"

#include "base/err.h"
#include "proto/packet.h"

CODEC(packet);

/* An echo request as it was seen on the wire: packet, message (length, id 1, service 2 and request), command 1, text. */
static const uint8_t recorded[] = {0x5e, 0x5e, 0x00, 0x00, 0x00, 0x1d, 0x00, 0x00, 0x00, 0x19, 0x00, 0x00,
                                   0x00, 0x01, 0x0a, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x0c, 'h',
                                   'e',  'l',  'l',  'o',  ' ',  's',  'e',  'r',  'v',  'e',  'r'};

TEST(echo_request)
{
    struct wawo_packet c = {29}, wide = {UINT32_MAX}, tight = {28};

    ASSERT_EQ(sizeof recorded, 35);
    CODEC_CUTS(&codec_packet, &c, recorded, 35, 6, 29);
    CODEC_CUTS(&codec_packet, &wide, recorded, 35, 6, 29);
    CODEC_SEALS(&codec_packet, &c, recorded + 6, 29, recorded, 35);
    CODEC_FAILS(&codec_packet, &tight, recorded, 35, 6, WAWO_EMSGSIZE);
    CODEC_REFUSES(&codec_packet, &tight, recorded + 6, 29, WAWO_EMSGSIZE);
}

TEST(malformed)
{
    struct wawo_packet c = {100};

    CODEC_FAILS(&codec_packet, &c, (const uint8_t *)"x^\0\0\0\1x", 7, 1, WAWO_EBADMSG);
    CODEC_FAILS(&codec_packet, &c, (const uint8_t *)"^x\0\0\0\1x", 7, 2, WAWO_EBADMSG);
    CODEC_FAILS(&codec_packet, &c, (const uint8_t *)"^^\0\0\0\0x", 7, 6, WAWO_EBADMSG);
    CODEC_FAILS(&codec_packet, &c, (const uint8_t *)"^^\0\0\0\145", 6, 6, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_packet, &c, (const uint8_t *)"^^\377\377\377\377", 6, 6, WAWO_EMSGSIZE);
    CODEC_REFUSES(&codec_packet, &c, "", 0, WAWO_EBADMSG);
}

TEST(parameters)
{
    static const struct {
        struct wawo_packet c;
        int rc;
    } rows[] = {
        {{0}, WAWO_EINVAL},
        {{1}, 0},
        {{INT32_MAX}, 0},
        {{UINT64_C(1) << 32}, WAWO_EINVAL},
        {{UINT64_MAX}, WAWO_EINVAL},
        {{UINT32_MAX}, PTRDIFF_MAX < UINT32_MAX ? WAWO_EINVAL : 0},
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        ASSERT_EQ(wawo_packet_check(&rows[i].c), rows[i].rc);
}

TEST(round_trips)
{
    static const size_t lens[] = {1, 2, 63, 64, 255, 256, 1000, 65535, 65536, 70000};
    static const size_t stream[] = {1, 40, 64, 17, 255, 300};
    static uint8_t message[70001];
    struct wawo_packet c = {70000};
    size_t k;

    kit_fill(message, sizeof message, 9);
    for (k = 0; k < sizeof lens / sizeof *lens; k++)
        CODEC_ROUND(&codec_packet, &c, message, lens[k]);
    CODEC_REFUSES(&codec_packet, &c, message, 70001, WAWO_EMSGSIZE);
    CODEC_STREAM(&codec_packet, &c, stream, sizeof stream / sizeof *stream);
}
