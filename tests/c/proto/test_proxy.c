/* Headers of both versions: whole, in every two pieces, before data and at the end of the readable memory; the malformed
 * ones with their reasons. */
#include "support/fuzz.h"
#include "support/kit.h"

#include "base/err.h"
#include "fuzz/fuzz.h"
#include "proto/proxy.h"

/* A header as a string literal, which may hold NUL bytes. */
#define BYTES(text) (text), sizeof(text) - 1
#define V2 "\r\n\r\n\0\r\nQUIT\n"

struct good {
    const char *p;
    size_t n;
    const char *source, *destination; /* NULL: those of the socket */
    uint16_t source_port, destination_port;
};

static const struct good good[] = {
    {BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), "192.168.0.1", "192.168.0.11", 56324, 443},
    {BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255", "255.255.255.255", 65535,
     65535},
    {BYTES("PROXY TCP4 0.0.0.0 1.2.3.4 0 1\r\n"), "0.0.0.0", "1.2.3.4", 0, 1},
    {BYTES("PROXY TCP6 2001:db8::1 ::1 4124 443\r\n"), "2001:db8::1", "::1", 4124, 443},
    {BYTES("PROXY TCP6 :: 1:: 1 2\r\n"), "::", "1::", 1, 2},
    {BYTES("PROXY TCP6 2001:DB8:0:0:0:0:0:00aB ABCD:ef01:2345:6789:abcd:EF01:2345:6789 1 2\r\n"), "2001:db8::ab",
     "abcd:ef01:2345:6789:abcd:ef01:2345:6789", 1, 2},
    {BYTES("PROXY TCP6 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1 2\r\n"), "1:2:3:4:5:6:7:0", "0:2:3:4:5:6:7:8", 1, 2},
    {BYTES("PROXY TCP6 1:2:3:4:5:6:7.8.9.10 64:ff9b::192.0.2.33 1 2\r\n"), "1:2:3:4:5:6:708:90a", "64:ff9b::c000:221",
     1, 2},
    {BYTES("PROXY TCP6 ::ffff:10.0.0.1 ::FFFF:0a00:0002 1 2\r\n"), "10.0.0.1", "10.0.0.2", 1, 2},
    {BYTES(
         "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535, 65535},
    {BYTES("PROXY UNKNOWN\r\n"), NULL, NULL, 0, 0},
    {BYTES("PROXY UNKNOWN 1.2.3.4 and \0 whatever\r\n"), NULL, NULL, 0, 0},
    {BYTES(
         "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
     NULL, NULL, 0, 0},
    {BYTES(V2 "\x21\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x12\x34\xff\xff"), "1.2.3.4", "5.6.7.8", 0x1234, 65535},
    {BYTES(V2 "\x21\x21\0\x24"
              "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
              "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\x01\0\0"),
     "2001:db8::1", "fe80::2", 1, 0},
    {BYTES(V2 "\x21\x21\0\x24"
              "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01"
              "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x02\0\x01\0\x02"),
     "10.0.0.1", "10.0.0.2", 1, 2},
    /* with what may stand behind the addresses */
    {BYTES(V2 "\x21\x11\0\x14\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02\x01\0\x05hello"), "1.2.3.4", "5.6.7.8", 1, 2},
    /* nothing said: UNSPEC, datagrams, LOCAL with and without addresses and whatever family */
    {BYTES(V2 "\x21\0\0\0"), NULL, NULL, 0, 0},
    {BYTES(V2 "\x21\0\0\x03"
              "abc"),
     NULL, NULL, 0, 0},
    {BYTES(V2 "\x21\x12\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02"), NULL, NULL, 0, 0},
    {BYTES(V2 "\x20\0\0\0"), NULL, NULL, 0, 0},
    {BYTES(V2 "\x20\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02"), NULL, NULL, 0, 0},
    {BYTES(V2 "\x20\x11\0\x02"
              "xy"),
     NULL, NULL, 0, 0},
    {BYTES(V2 "\x20\xff\0\0"), NULL, NULL, 0, 0},
};
enum { GOOD = sizeof good / sizeof *good };

struct wrong {
    const char *p;
    size_t n;
    size_t from; /* the shortest beginning that is certainly wrong */
    enum wawo_proxy_fault fault;
};

#define WRONG_LINE(text, name)                                                                                         \
    {"PROXY " text "\r\n", sizeof("PROXY " text "\r\n") - 1, sizeof("PROXY " text "\r\n") - 1, WAWO_PROXY_BAD_##name}

static const struct wrong wrong[] = {
    {BYTES("GET / HTTP/1.1\r\n"), 1, WAWO_PROXY_BAD_SIGNATURE},
    {BYTES("\0"), 1, WAWO_PROXY_BAD_SIGNATURE},
    {BYTES("proxy TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), 1, WAWO_PROXY_BAD_SIGNATURE},
    {BYTES("PROXZ"), 5, WAWO_PROXY_BAD_SIGNATURE},
    {BYTES("PROXY\r\n"), 6, WAWO_PROXY_BAD_SIGNATURE},
    {BYTES("PROXY\tTCP4 1.2.3.4 5.6.7.8 1 2\r\n"), 6, WAWO_PROXY_BAD_SIGNATURE},
    {BYTES("\r\n\r\n\0\r\nQUIZ"), 11, WAWO_PROXY_BAD_SIGNATURE},
    {BYTES("\r\n\r\nGET /"), 5, WAWO_PROXY_BAD_SIGNATURE},
    {BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"), 31, WAWO_PROXY_BAD_LINE},
    {BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\r\n"), 32, WAWO_PROXY_BAD_LINE},
    {BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rGET"), 32, WAWO_PROXY_BAD_LINE},
    {BYTES("PROXY UNKNOWN\n\r\n"), 14, WAWO_PROXY_BAD_LINE},
    WRONG_LINE("", FAMILY),
    WRONG_LINE(" TCP4 1.2.3.4 5.6.7.8 1 2", FAMILY),
    WRONG_LINE("TCP 1.2.3.4 5.6.7.8 1 2", FAMILY),
    WRONG_LINE("TCP5 1.2.3.4 5.6.7.8 1 2", FAMILY),
    WRONG_LINE("UDP4 1.2.3.4 5.6.7.8 1 2", FAMILY),
    WRONG_LINE("tcp4 1.2.3.4 5.6.7.8 1 2", FAMILY),
    WRONG_LINE("UNKNOWNS", FAMILY),
    WRONG_LINE("TCP4", FIELDS),
    WRONG_LINE("TCP4 1.2.3.4", FIELDS),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 1", FIELDS),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 1 2 ", FIELDS),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 1 2 3", FIELDS),
    WRONG_LINE("TCP4 1.2.3.4  5.6.7.8 1 2", FIELDS),
    WRONG_LINE("TCP4  1.2.3.4 5.6.7.8 1", ADDRESS),
    WRONG_LINE("TCP4 1.2.3 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 1.2.3.4.5 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 1.2.3. 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 .1.2.3 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 1..2.3 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 1.2.3.256 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 1.2.3.4294967297 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 01.2.3.4 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 1.2.3.00 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.08 1 2", ADDRESS),
    WRONG_LINE("TCP4 +1.2.3.4 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 0x1.2.3.4 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP4 ::1 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP4 localhost 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP6 1.2.3.4 5.6.7.8 1 2", ADDRESS),
    WRONG_LINE("TCP6 : ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 ::: ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 1::2::3 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 ::1:: ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 1:::2 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 :1:2:3:4:5:6:7 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 1:2:3:4:5:6:7: ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 1:2:3:4:5:6:7 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 1:2:3:4:5:6:7:8:: ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 ::1:2:3:4:5:6:7:8 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 1:2:3:4::5:6:7:8 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 12345:: ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 g:: ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 ::1%lo ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 [::1] ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 ::1.2.3 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 ::1.2.3.4:5 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 ::01.2.3.4 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 1:2:3:4:5:6:7:1.2.3.4 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP6 1:2:3:4:5:1.2.3.4 ::1 1 2", ADDRESS),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 65536 2", PORT),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 1 99999999999999999999", PORT),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 01 2", PORT),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 1 00", PORT),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 -1 2", PORT),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 1 2x", PORT),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 1 ", PORT),
    WRONG_LINE("TCP4 1.2.3.4 5.6.7.8 1 2\t", PORT),
    {BYTES(V2 "\x11\x11\0\x0c"), 13, WAWO_PROXY_BAD_VERSION},
    {BYTES(V2 "\x31\x11\0\x0c"), 13, WAWO_PROXY_BAD_VERSION},
    {BYTES(V2 "\x22\x11\0\x0c"), 13, WAWO_PROXY_BAD_COMMAND},
    {BYTES(V2 "\x2f\x11\0\x0c"), 13, WAWO_PROXY_BAD_COMMAND},
    {BYTES(V2 "\x21\x01\0\x0c"), 14, WAWO_PROXY_BAD_FAMILY},
    {BYTES(V2 "\x21\x10\0\x0c"), 14, WAWO_PROXY_BAD_FAMILY},
    {BYTES(V2 "\x21\x13\0\x0c"), 14, WAWO_PROXY_BAD_FAMILY},
    {BYTES(V2 "\x21\x41\0\x0c"), 14, WAWO_PROXY_BAD_FAMILY},
    {BYTES(V2 "\x21\x11\0\x0b"), 16, WAWO_PROXY_BAD_TOO_SHORT},
    {BYTES(V2 "\x21\x12\0\0"), 16, WAWO_PROXY_BAD_TOO_SHORT},
    {BYTES(V2 "\x21\x21\0\x23"), 16, WAWO_PROXY_BAD_TOO_SHORT},
    {BYTES(V2 "\x21\x31\0\xd7"), 16, WAWO_PROXY_BAD_TOO_SHORT},
    {BYTES(V2 "\x21\x11\x10\x01"), 16, WAWO_PROXY_BAD_TOO_LONG},
    {BYTES(V2 "\x20\0\xff\xff"), 16, WAWO_PROXY_BAD_TOO_LONG},
};
enum { WRONG = sizeof wrong / sizeof *wrong };

/* p[0..n) at the end of the readable memory. */
static ptrdiff_t parse(const char *p, size_t n, struct wawo_proxy *out)
{
    uint8_t *guarded = kit_guard(n);
    ptrdiff_t got;

    if (n > 0)
        memcpy(guarded, p, n);
    got = wawo_proxy_parse(guarded, n, out);
    kit_guard_free(guarded, n);
    return got;
}

static void check_address(const struct wawo_addr *a, const char *host, uint16_t port)
{
    struct wawo_addr expected = {.family = WAWO_AF_NONE};

    if (host != NULL)
        ASSERT_EQ(wawo_addr_parse(&expected, host, port), 0);
    if (!wawo_addr_equal(a, &expected)) {
        char text[WAWO_ADDR_TEXT];

        wawo_addr_text(a, text);
        FAIL("%s port %u, not %s port %u", text, a->port, host != NULL ? host : "none", port);
    }
}

static void check_good(const struct good *g, const struct wawo_proxy *got)
{
    ASSERT_EQ(got->fault, WAWO_PROXY_GOOD);
    check_address(&got->source, g->source, g->source_port);
    check_address(&got->destination, g->destination, g->destination_port);
}

TEST(good_ones_whole)
{
    struct wawo_proxy out;
    size_t i;

    for (i = 0; i < GOOD; i++) {
        ASSERT_EQ(parse(good[i].p, good[i].n, &out), (ptrdiff_t)good[i].n);
        check_good(&good[i], &out);
    }
}

/* Every beginning asks for more, and never for fewer bytes than there are. */
TEST(good_ones_in_every_two_pieces)
{
    struct wawo_proxy out;
    size_t i, n;

    for (i = 0; i < GOOD; i++)
        for (n = 0; n < good[i].n; n++) {
            ASSERT_EQ(parse(good[i].p, n, &out), 0);
            ASSERT_EQ(out.fault, WAWO_PROXY_GOOD);
            ASSERT_GT(out.room, n);
            ASSERT_LE(out.room, (size_t)WAWO_PROXY_V2_MAX);
            if (good[i].p[0] == 'P' || n >= WAWO_PROXY_V2_HEAD)
                ASSERT_GE(out.room, good[i].n);
        }
}

TEST(good_ones_before_data)
{
    static const char *const data[] = {
        "x", "\r\n", "\n", "GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", V2};
    char bytes[512];
    struct wawo_proxy out;
    size_t i, k, n;

    for (i = 0; i < GOOD; i++)
        for (k = 0; k < sizeof data / sizeof *data; k++) {
            n = strlen(data[k]);
            memcpy(bytes, good[i].p, good[i].n);
            memcpy(bytes + good[i].n, data[k], n);
            ASSERT_EQ(parse(bytes, good[i].n + n, &out), (ptrdiff_t)good[i].n);
            check_good(&good[i], &out);
        }
}

TEST(malformed_ones)
{
    struct wawo_proxy out;
    ptrdiff_t got;
    size_t i, n;

    for (i = 0; i < WRONG; i++)
        for (n = 0; n <= wrong[i].n; n++) {
            got = parse(wrong[i].p, n, &out);
            if (got != (n < wrong[i].from ? 0 : WAWO_EBADMSG) || (got != 0 && out.fault != wrong[i].fault))
                FAIL("%u bytes of number %u, %s: %d, %s", (unsigned)n, (unsigned)i, wrong[i].p, (int)got,
                     out.fault != WAWO_PROXY_GOOD ? wawo_proxy_fault_text(out.fault) : "no fault");
            if (got != 0) {
                check_address(&out.source, NULL, 0);
                check_address(&out.destination, NULL, 0);
            }
        }
}

/* The line ends within 107 bytes, or it is none. */
TEST(the_longest_line)
{
    char bytes[WAWO_PROXY_V1_MAX + 2] = "PROXY UNKNOWN ";
    struct wawo_proxy out;
    size_t n;

    memset(bytes + 14, 'x', sizeof bytes - 14);
    for (n = 14; n < WAWO_PROXY_V1_MAX; n++)
        ASSERT_EQ(parse(bytes, n, &out), 0);
    ASSERT_EQ(parse(bytes, n, &out), WAWO_EBADMSG);
    ASSERT_EQ(out.fault, WAWO_PROXY_BAD_LINE_LONG);
    memcpy(bytes + WAWO_PROXY_V1_MAX - 1, "\r\n", 2); /* 108 bytes */
    ASSERT_EQ(parse(bytes, WAWO_PROXY_V1_MAX + 1, &out), WAWO_EBADMSG);
    ASSERT_EQ(out.fault, WAWO_PROXY_BAD_LINE_LONG);
    memcpy(bytes + WAWO_PROXY_V1_MAX - 2, "\r\n", 2); /* 107 */
    ASSERT_EQ(parse(bytes, WAWO_PROXY_V1_MAX - 1, &out), 0);
    ASSERT_EQ(parse(bytes, WAWO_PROXY_V1_MAX, &out), WAWO_PROXY_V1_MAX);
}

/* Unix sockets are not shown; the largest header there may be. */
TEST(what_is_skipped)
{
    static char bytes[WAWO_PROXY_V2_MAX + 1] = V2 "\x21\x31\0\xd8/run/source";
    struct wawo_proxy out;
    ptrdiff_t n = WAWO_PROXY_V2_HEAD + 216;

    ASSERT_EQ(parse(bytes, (size_t)n - 1, &out), 0);
    ASSERT_EQ(out.room, (size_t)n);
    ASSERT_EQ(parse(bytes, (size_t)n, &out), n);
    check_address(&out.source, NULL, 0);
    memcpy(bytes + 13, "\x11\x10\0\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\0\x02", 15);
    ASSERT_EQ(parse(bytes, WAWO_PROXY_V2_HEAD, &out), 0);
    ASSERT_EQ(out.room, (size_t)WAWO_PROXY_V2_MAX);
    ASSERT_EQ(parse(bytes, WAWO_PROXY_V2_MAX - 1, &out), 0);
    ASSERT_EQ(parse(bytes, WAWO_PROXY_V2_MAX + 1, &out), WAWO_PROXY_V2_MAX);
    check_address(&out.source, "1.2.3.4", 1);
}

TEST(every_fault_has_words)
{
    int fault;

    ASSERT_NULL(wawo_proxy_fault_text(WAWO_PROXY_GOOD));
    for (fault = WAWO_PROXY_BAD_SIGNATURE; fault <= WAWO_PROXY_BAD_CUT; fault++)
        ASSERT_EQ(strncmp(wawo_proxy_fault_text((enum wawo_proxy_fault)fault), "PROXY header: ", 14), 0);
    ASSERT_STREQ(wawo_proxy_fault_text(WAWO_PROXY_BAD_SIGNATURE), "PROXY header: no signature");
}

TEST(fuzzed)
{
    fuzz_run(fuzz_proxy, "tests/fuzz/seeds/proxy", 20000);
}
