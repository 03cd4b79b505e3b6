/* Lines, tags, marks that overlap themselves, limits, and a plain search as the judge of all of it. */
#include "support/codec.h"
#include "support/kit.h"

#include "base/err.h"
#include "proto/marks.h"

CODEC(marks);

static struct wawo_marks marks(const char *start, const char *end, uint64_t max)
{
    struct wawo_marks c = {.start_len = (uint8_t)strlen(start), .end_len = (uint8_t)strlen(end), .max = max};

    memcpy(c.start, start, c.start_len);
    memcpy(c.end, end, c.end_len);
    ASSERT_EQ(wawo_marks_check(&c), 0);
    return c;
}

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

TEST(lines)
{
    static const char *const texts[] = {"",     "a",  "hello", "\r",   "a\r",      "\rx",
                                        "a\nb", "\n", "\n\n",  "\r\r", "a\rb\nc\r"};
    struct wawo_marks c = marks("", "\r\n", 100);
    size_t i;

    for (i = 0; i < sizeof texts / sizeof *texts; i++) {
        uint8_t wire[32];
        size_t len = strlen(texts[i]);

        memcpy(wire, texts[i], len);
        memcpy(wire + len, "\r\n", 2);
        CODEC_CUTS(&codec_marks, &c, wire, len + 2, 0, len);
        CODEC_SEALS(&codec_marks, &c, texts[i], len, wire, len + 2);
    }
    CODEC_REFUSES(&codec_marks, &c, "\r\n", 2, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_marks, &c, "a\r\nb", 4, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_marks, &c, "abc\r\n", 5, WAWO_EBADMSG);
}

TEST(one_byte)
{
    static const uint8_t nul[] = {'a', 0xff, 'b', 0};
    struct wawo_marks c = marks("", "\n", 100);

    CODEC_CUTS(&codec_marks, &c, bytes("\n"), 1, 0, 0);
    CODEC_CUTS(&codec_marks, &c, bytes("abc\n"), 4, 0, 3);
    CODEC_SEALS(&codec_marks, &c, "abc", 3, bytes("abc\n"), 4);
    CODEC_REFUSES(&codec_marks, &c, "ab\n", 3, WAWO_EBADMSG);
    c.end[0] = 0;
    CODEC_CUTS(&codec_marks, &c, nul, 4, 0, 3);
    CODEC_SEALS(&codec_marks, &c, nul, 3, nul, 4);
}

TEST(tags)
{
    struct wawo_marks c = marks("<m>", "</m>", 100), same = marks("--", "--", 100), half = marks("ab", "ba", 100);

    CODEC_CUTS(&codec_marks, &c, bytes("<m></m>"), 7, 3, 0);
    CODEC_CUTS(&codec_marks, &c, bytes("<m>a<m>b</m>"), 12, 3, 5);
    CODEC_CUTS(&codec_marks, &c, bytes("<m></m</</m>"), 12, 3, 5);
    CODEC_SEALS(&codec_marks, &c, "a<m>b", 5, bytes("<m>a<m>b</m>"), 12);
    CODEC_REFUSES(&codec_marks, &c, "a</m>b", 6, WAWO_EBADMSG);
    CODEC_FAILS(&codec_marks, &c, bytes("x<m></m>"), 8, 1, WAWO_EBADMSG);
    CODEC_FAILS(&codec_marks, &c, bytes("<x></m>"), 7, 2, WAWO_EBADMSG);
    CODEC_FAILS(&codec_marks, &c, bytes("<mm></m>"), 8, 3, WAWO_EBADMSG);
    CODEC_FAILS(&codec_marks, &c, bytes("\n<m></m>"), 8, 1, WAWO_EBADMSG);
    /* The start mark lends nothing to the end mark. */
    CODEC_CUTS(&codec_marks, &same, bytes("----"), 4, 2, 0);
    CODEC_CUTS(&codec_marks, &same, bytes("--a-b--"), 7, 2, 3);
    CODEC_SEALS(&codec_marks, &same, "a-b", 3, bytes("--a-b--"), 7);
    CODEC_CUTS(&codec_marks, &half, bytes("abaxba"), 6, 2, 2);
    CODEC_CUTS(&codec_marks, &half, bytes("abba"), 4, 2, 0);
    CODEC_SEALS(&codec_marks, &half, "ax", 2, bytes("abaxba"), 6);
    CODEC_SEALS(&codec_marks, &half, "", 0, bytes("abba"), 4);
}

/* Where the message meets the mark an earlier one may appear. */
TEST(marks_that_overlap_themselves)
{
    struct wawo_marks aa = marks("", "aa", 100), aba = marks("", "aba", 100), abab = marks("", "abab", 100);

    CODEC_CUTS(&codec_marks, &aa, bytes("xaa"), 3, 0, 1);
    CODEC_SEALS(&codec_marks, &aa, "x", 1, bytes("xaa"), 3);
    CODEC_SEALS(&codec_marks, &aa, "axa\nx", 5, bytes("axa\nxaa"), 7);
    CODEC_REFUSES(&codec_marks, &aa, "xa", 2, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_marks, &aa, "a", 1, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_marks, &aa, "aax", 3, WAWO_EBADMSG);
    CODEC_SEALS(&codec_marks, &aba, "a", 1, bytes("aaba"), 4);
    CODEC_REFUSES(&codec_marks, &aba, "ab", 2, WAWO_EBADMSG);
    CODEC_REFUSES(&codec_marks, &aba, "xab", 3, WAWO_EBADMSG);
    CODEC_SEALS(&codec_marks, &abab, "a", 1, bytes("aabab"), 5);
    CODEC_REFUSES(&codec_marks, &abab, "ab", 2, WAWO_EBADMSG);
    CODEC_SEALS(&codec_marks, &abab, "aba", 3, bytes("abaabab"), 7);
    CODEC_REFUSES(&codec_marks, &abab, "xab", 3, WAWO_EBADMSG);
}

TEST(limits)
{
    struct wawo_marks line = marks("", "\r\n", 4), none = marks("", "\n", 0), tag = marks("<", "/>", 4),
                      any = marks("", "\n", PTRDIFF_MAX);

    CODEC_CUTS(&codec_marks, &line, bytes("abcd\r\n"), 6, 0, 4);
    CODEC_ROUND(&codec_marks, &line, "abcd", 4);
    CODEC_REFUSES(&codec_marks, &line, "abcde", 5, WAWO_EMSGSIZE);
    /* Certain with the first byte that can be no part of the mark. */
    CODEC_FAILS(&codec_marks, &line, bytes("abcde\r\n"), 7, 5, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_marks, &line, bytes("abcd\rx\r\n"), 8, 6, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_marks, &line, bytes("abcd\r\r\n"), 7, 6, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_marks, &line, bytes("abc\r\r\r\n"), 7, 6, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_marks, &line, bytes("abcd\n\r\n"), 7, 5, WAWO_EMSGSIZE);
    CODEC_CUTS(&codec_marks, &none, bytes("\n"), 1, 0, 0);
    CODEC_FAILS(&codec_marks, &none, bytes("a\n"), 2, 1, WAWO_EMSGSIZE);
    CODEC_CUTS(&codec_marks, &tag, bytes("<abc//>"), 7, 1, 4);
    CODEC_FAILS(&codec_marks, &tag, bytes("<abcd//>"), 8, 7, WAWO_EMSGSIZE);
    CODEC_FAILS(&codec_marks, &tag, bytes("<abcde/>"), 8, 6, WAWO_EMSGSIZE);
    CODEC_CUTS(&codec_marks, &any, bytes("abc\n"), 4, 0, 3);
}

/* Only what is visible of a message can be looked at. */
TEST(a_message_elsewhere)
{
    struct wawo_marks c = marks("<", "aa", 100);
    struct wawo_message m = {bytes("xa"), 2, 50};
    struct wawo_envelope e;

    ASSERT_EQ(wawo_marks_seal(&c, &m, &e), 0);
    ASSERT_EQ(e.head_len, 1);
    ASSERT_EQ(e.tail_len, 2);
    ASSERT_TRUE(e.tail == c.end);
    m.data = bytes("xaa");
    m.len = 3;
    ASSERT_EQ(wawo_marks_seal(&c, &m, &e), WAWO_EBADMSG);
    m.len = 0;
    m.data = NULL;
    ASSERT_EQ(wawo_marks_seal(&c, &m, &e), 0);
    m.total = 101;
    ASSERT_EQ(wawo_marks_seal(&c, &m, &e), WAWO_EMSGSIZE);
}

/* Nothing is looked at twice: bytes that were scanned may go. */
TEST(scanned_once)
{
    struct wawo_marks c = marks("", "\r\n", 1 << 20);
    static uint8_t p[4096];
    struct wawo_frame f;
    size_t scanned = 0;

    memset(p, 'x', sizeof p);
    ASSERT_EQ(wawo_marks_cut(&c, p, 3000, &scanned, &f), 0);
    ASSERT_EQ(scanned, 3000);
    memcpy(p + 100, "\r\n", 2);
    memcpy(p + 2999, "\r\n", 2);
    ASSERT_EQ(wawo_marks_cut(&c, p, 4096, &scanned, &f), 1);
    ASSERT_EQ(f.len, 2999);
}

TEST(longest_marks)
{
    struct wawo_marks c = marks("0123456789abcdef", "ABCDEFGHIJKLMNOP", 70000);
    static const size_t lens[] = {0, 1, 15, 16, 17, 64, 1000, 65536, 70000};
    static uint8_t message[70000];
    size_t i;

    kit_fill(message, sizeof message, 0);
    for (i = 0; i < sizeof lens / sizeof *lens; i++)
        CODEC_ROUND(&codec_marks, &c, message, lens[i]);
    memset(message, 'P', sizeof message);
    CODEC_ROUND(&codec_marks, &c, message, 3000);
    c = marks("", "ABCDEFGHIJKLMNOP", 100);
    CODEC_ROUND(&codec_marks, &c, "ABCDEFGHIJKLMNO", 15);
}

TEST(round_trips)
{
    static const size_t lens[] = {0, 1, 2, 63, 64, 255, 256, 1000, 65535, 65536, 70000};
    static const size_t stream[] = {0, 1, 40, 0, 64, 17, 255, 300};
    static uint8_t message[70000];
    struct wawo_marks line = marks("", "\r\n", 70000), tag = marks("{{", "}}", 70000);
    size_t k;

    kit_fill(message, sizeof message, 9); /* no two neighbours of the pattern are these marks */
    for (k = 0; k < sizeof lens / sizeof *lens; k++) {
        CODEC_ROUND(&codec_marks, &line, message, lens[k]);
        CODEC_ROUND(&codec_marks, &tag, message, lens[k]);
    }
    CODEC_STREAM(&codec_marks, &line, stream, sizeof stream / sizeof *stream);
    CODEC_STREAM(&codec_marks, &tag, stream, sizeof stream / sizeof *stream);
}

TEST(parameters)
{
    static const struct {
        unsigned start_len, end_len;
        uint64_t max;
        int rc;
    } rows[] = {
        {0, 1, 0, 0},
        {16, 16, PTRDIFF_MAX, 0},
        {0, 0, 1, WAWO_EINVAL},
        {1, 0, 1, WAWO_EINVAL},
        {0, 17, 1, WAWO_EINVAL},
        {17, 1, 1, WAWO_EINVAL},
        {0, 1, (uint64_t)PTRDIFF_MAX + 1, WAWO_EINVAL},
    };
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct wawo_marks c = {
            .start_len = (uint8_t)rows[i].start_len, .end_len = (uint8_t)rows[i].end_len, .max = rows[i].max};

        ASSERT_EQ(wawo_marks_check(&c), rows[i].rc);
    }
}

/* ---- against a plain search ---- */

static void random_text(uint64_t *state, uint8_t *p, size_t n, unsigned letters)
{
    size_t i;

    for (i = 0; i < n; i++)
        p[i] = (uint8_t)('a' + kit_below(state, letters));
}

/* The first end mark from `from` on, or n. */
static size_t plain_end(const struct wawo_marks *c, const uint8_t *p, size_t n, size_t from)
{
    size_t i;

    for (i = from; i + c->end_len <= n; i++)
        if (memcmp(p + i, c->end, c->end_len) == 0)
            return i;
    return n;
}

/* What cut has to say of p[0..n): by trying whether any continuation could still be a frame. */
static int plain_cut(const struct wawo_marks *c, const uint8_t *p, size_t n, size_t *at)
{
    size_t start = c->start_len, i;

    if (memcmp(p, c->start, wawo_min_size(n, start)) != 0)
        return WAWO_EBADMSG;
    if (n < start)
        return 0;
    *at = plain_end(c, p, n, start);
    if (*at < n)
        return *at - start > c->max ? WAWO_EMSGSIZE : 1;
    for (i = start; i <= start + c->max; i++)
        if (i >= n || (i + c->end_len > n && memcmp(p + i, c->end, n - i) == 0))
            return 0;
    return WAWO_EMSGSIZE;
}

TEST(against_a_plain_search)
{
    uint64_t state = 7;
    uint8_t p[48];
    int i;

    for (i = 0; i < 60000; i++) {
        struct wawo_marks c = {.start_len = (uint8_t)kit_below(&state, 3),
                               .end_len = (uint8_t)(1 + kit_below(&state, 4)),
                               .max = kit_below(&state, 24)};
        unsigned letters = 1 + kit_below(&state, 3);
        size_t n = kit_below(&state, sizeof p), have, scanned = 0, at = 0;
        struct wawo_frame f;
        int rc, wanted;

        random_text(&state, c.start, c.start_len, letters);
        random_text(&state, c.end, c.end_len, letters);
        random_text(&state, p, n, letters);
        if (kit_below(&state, 4) != 0)
            memcpy(p, c.start, wawo_min_size(n, c.start_len));
        for (have = 0; have <= n; have++) {
            wanted = plain_cut(&c, p, have, &at);
            rc = wawo_marks_cut(&c, p, have, &scanned, &f);
            ASSERT_EQ(rc, wanted);
            if (rc < 0)
                break;
            if (rc == 0)
                continue;
            ASSERT_EQ(f.skip, c.start_len);
            ASSERT_EQ(f.skip + f.len, at);
            ASSERT_EQ(f.total, at + c.end_len);
            break;
        }
    }
}

TEST(seals_against_a_plain_search)
{
    uint64_t state = 8;
    uint8_t p[48];
    int i, rc;

    for (i = 0; i < 60000; i++) {
        struct wawo_marks c = {.end_len = (uint8_t)(1 + kit_below(&state, 5)), .max = 24};
        unsigned letters = 1 + kit_below(&state, 3);
        size_t n = kit_below(&state, 27);
        struct wawo_message m = {p, n, n};
        struct wawo_envelope e;

        random_text(&state, c.end, c.end_len, letters);
        random_text(&state, p, n, letters);
        rc = wawo_marks_seal(&c, &m, &e);
        memcpy(p + n, c.end, c.end_len);
        if (n > c.max)
            ASSERT_EQ(rc, WAWO_EMSGSIZE);
        else
            ASSERT_EQ(rc, plain_end(&c, p, n + c.end_len, 0) == n ? 0 : WAWO_EBADMSG);
    }
}
