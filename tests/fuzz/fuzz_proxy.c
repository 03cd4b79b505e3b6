/* PROXY headers. The input is what a peer sends, and it comes byte for byte: every beginning of a header asks for more,
 * with room for what is still missing; once the answer is there, more bytes behind it change nothing. The addresses of
 * text are compared with what the system's own parser makes of them. Every call sees a block of its very size, so that
 * the sanitizer finds a look outside it. */
#include "fuzz/fuzz.h"

#include <stdlib.h>

#include "base/err.h"
#include "proto/proxy.h"

enum { TAIL = 40 }; /* bytes behind a header that are looked at */

static ptrdiff_t parse(const uint8_t *p, size_t n, struct wawo_proxy *out)
{
    uint8_t *own = malloc(n > 0 ? n : 1);
    ptrdiff_t got;

    WAWO_CHECK(own != NULL);
    if (n > 0)
        memcpy(own, p, n);
    got = wawo_proxy_parse(own, n, out);
    free(own);
    return got;
}

static void check_same(const struct wawo_proxy *a, const struct wawo_proxy *b)
{
    WAWO_CHECK(a->fault == b->fault);
    WAWO_CHECK(wawo_addr_equal(&a->source, &b->source));
    WAWO_CHECK(wawo_addr_equal(&a->destination, &b->destination));
}

/* The system's reading of a word; IPv4-mapped as the codec shows it. */
static bool system_reads(const char *word, bool ipv6, struct wawo_addr *a)
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (strchr(word, '%') != NULL || wawo_addr_parse(a, word, 0) != 0)
        return false;
    if (a->family != (ipv6 ? WAWO_AF_INET6 : WAWO_AF_INET)) /* "unix:..." is an address too, for us */
        return false;
    if (ipv6 && memcmp(a->ip, mapped, sizeof mapped) == 0) {
        memcpy(a->ip, a->ip + 12, 4);
        memset(a->ip + 4, 0, 12);
        a->family = WAWO_AF_INET;
    }
    return true;
}

/* A line with five words: both agree on the two addresses. */
static void check_text(const uint8_t *p, size_t n, const struct wawo_proxy *out)
{
    char line[WAWO_PROXY_V1_MAX + 1], *words[5], *at = line + 6;
    struct wawo_addr a, b;
    bool ipv6, good;
    int i;

    memcpy(line, p, n);
    line[n] = '\0';
    if (strlen(line) != n) /* the system would stop at the NUL */
        return;
    for (i = 0; i < 5; i++) {
        words[i] = at;
        at += strcspn(at, " \r");
        if (i < 4 && *at != ' ')
            return;
        *at++ = '\0';
    }
    ipv6 = strcmp(words[0], "TCP6") == 0;
    good = system_reads(words[1], ipv6, &a) && system_reads(words[2], ipv6, &b);
    if (out->fault == WAWO_PROXY_BAD_ADDRESS) {
#ifdef __GLIBC__ /* others allow leading zeros */
        WAWO_CHECK(!good);
#endif
    } else if (out->fault == WAWO_PROXY_GOOD && out->source.family != WAWO_AF_NONE) {
        WAWO_CHECK(good);
        a.port = out->source.port;
        b.port = out->destination.port;
        WAWO_CHECK(wawo_addr_equal(&a, &out->source) && wawo_addr_equal(&b, &out->destination));
        WAWO_CHECK(atoi(words[3]) == a.port && atoi(words[4]) == b.port);
    }
}

int fuzz_proxy(const uint8_t *data, size_t size)
{
    struct wawo_proxy out, later;
    ptrdiff_t got = 0;
    size_t n, room = 0;

    for (n = 0; n <= size && got == 0; n++) {
        got = parse(data, n, &out);
        if (got == 0) {
            WAWO_CHECK(out.fault == WAWO_PROXY_GOOD);
            WAWO_CHECK(out.room > n && out.room <= WAWO_PROXY_V2_MAX);
            room = out.room;
        }
    }
    if (got == 0)
        return 0;
    n--;
    WAWO_CHECK(n <= room);
    if (got < 0)
        WAWO_CHECK(got == WAWO_EBADMSG && wawo_proxy_fault_text(out.fault) != NULL);
    else
        WAWO_CHECK((size_t)got == n && out.fault == WAWO_PROXY_GOOD); /* not one byte earlier */
    WAWO_CHECK((out.source.family == WAWO_AF_NONE) == (out.destination.family == WAWO_AF_NONE));
    if (n >= 8 && data[0] == 'P' && data[n - 1] == '\n' && data[n - 2] == '\r')
        check_text(data, n, &out);
    for (size = wawo_min_size(size, n + TAIL); n <= size; n++) {
        WAWO_CHECK(parse(data, n, &later) == got);
        check_same(&out, &later);
    }
    return 0;
}
