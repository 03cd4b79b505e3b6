#include "proxy.h"

#include "../base/err.h"

static const uint8_t v1_signature[] = "PROXY ";
static const uint8_t v2_signature[] = "\r\n\r\n\0\r\nQUIT\n";
enum { V1_SIGNATURE = sizeof v1_signature - 1, V2_SIGNATURE = sizeof v2_signature - 1 };
enum { INET_SIZE = 12, INET6_SIZE = 36, UNIX_SIZE = 216 }; /* of the addresses of a version 2 header */

const char *wawo_proxy_fault_text(enum wawo_proxy_fault fault)
{
    static const char *const texts[] = {NULL,
#define X(name, text) "PROXY header: " text,
                                        WAWO_PROXY_FAULTS(X)
#undef X
    };

    return (size_t)fault < sizeof texts / sizeof *texts ? texts[fault] : NULL;
}

static ptrdiff_t bad(struct wawo_proxy *out, enum wawo_proxy_fault fault)
{
    memset(out, 0, sizeof *out);
    out->fault = fault;
    return WAWO_EBADMSG;
}

static ptrdiff_t more(struct wawo_proxy *out, size_t room)
{
    out->room = room;
    return 0;
}

/* Sixteen bytes from the wire; IPv4-mapped is shown as the socket of such a peer is. */
static void take_ipv6(struct wawo_addr *a, const uint8_t ip[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    if (memcmp(ip, mapped, sizeof mapped) == 0) {
        a->family = WAWO_AF_INET;
        memcpy(a->ip, ip + sizeof mapped, 4);
    } else {
        a->family = WAWO_AF_INET6;
        memcpy(a->ip, ip, 16);
    }
}

/* ---- version 1: text ---- */

struct text {
    const uint8_t *p, *end;
};

/* A decimal number up to `max` without leading zeros, from the front of `t`. */
static bool cut_number(struct text *t, unsigned max, unsigned *out)
{
    const uint8_t *from = t->p;
    unsigned v = 0;

    while (t->p < t->end && *t->p >= '0' && *t->p <= '9') {
        v = v * 10 + (unsigned)(*t->p++ - '0');
        if (v > max || (*from == '0' && t->p - from > 1))
            return false;
    }
    *out = v;
    return t->p > from;
}

static bool read_port(struct text t, uint16_t *port)
{
    unsigned v;

    if (!cut_number(&t, 65535, &v) || t.p != t.end)
        return false;
    *port = (uint16_t)v;
    return true;
}

static bool read_ipv4(struct text t, uint8_t ip[4])
{
    unsigned v;
    int i;

    for (i = 0; i < 4; i++) {
        if (i > 0 && (t.p == t.end || *t.p++ != '.'))
            return false;
        if (!cut_number(&t, 255, &v))
            return false;
        ip[i] = (uint8_t)v;
    }
    return t.p == t.end;
}

/* Up to four hexadecimal digits from the front of `t`. */
static bool cut_group(struct text *t, unsigned *out)
{
    const uint8_t *from = t->p;
    unsigned v = 0, c;

    for (; t->p < t->end && t->p - from < 4; t->p++) {
        c = *t->p;
        if (c >= '0' && c <= '9')
            v = v << 4 | (c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            v = v << 4 | ((c | 0x20) - 'a' + 10);
        else
            break;
    }
    *out = v;
    return t->p > from;
}

static bool cut_colons(struct text *t)
{
    if (t->end - t->p < 2 || t->p[0] != ':' || t->p[1] != ':')
        return false;
    t->p += 2;
    return true;
}

/* RFC 4291, 2.2: groups, one "::" at most, and the dotted tail, which proxies write for IPv4-mapped addresses. */
static bool read_ipv6(struct text t, uint8_t ip[16])
{
    size_t n = 0, gap = 0;
    bool gapped = cut_colons(&t);
    struct text group;
    unsigned v;

    while (t.p < t.end) {
        group = t;
        if (n > 14 || !cut_group(&t, &v))
            return false;
        if (t.p < t.end && *t.p == '.') {
            if (n > 12 || !read_ipv4(group, ip + n))
                return false;
            n += 4;
            break;
        }
        ip[n++] = (uint8_t)(v >> 8);
        ip[n++] = (uint8_t)v;
        if (t.p == t.end)
            break;
        if (cut_colons(&t)) {
            if (gapped)
                return false;
            gapped = true;
            gap = n;
        } else if (*t.p++ != ':' || t.p == t.end) {
            return false;
        }
    }
    if (!gapped)
        return n == 16;
    if (n > 14) /* "::" stands for one group at least */
        return false;
    memmove(ip + 16 - (n - gap), ip + gap, n - gap);
    memset(ip + gap, 0, 16 - n);
    return true;
}

static bool read_address(struct text t, bool ipv6, struct wawo_addr *a)
{
    uint8_t ip[16];

    if (!ipv6) {
        a->family = WAWO_AF_INET;
        return read_ipv4(t, a->ip);
    }
    if (!read_ipv6(t, ip))
        return false;
    take_ipv6(a, ip);
    return true;
}

static bool text_is(struct text t, const char *word)
{
    return (size_t)(t.end - t.p) == strlen(word) && memcmp(t.p, word, strlen(word)) == 0;
}

/* The words of `t`, one space between each two; one more than `max` when there are more. */
static unsigned split(struct text t, struct text *words, unsigned max)
{
    const uint8_t *space;
    unsigned n = 0;

    while (n < max) {
        space = memchr(t.p, ' ', (size_t)(t.end - t.p));
        words[n++] = (struct text){t.p, space != NULL ? space : t.end};
        if (space == NULL)
            return n;
        t.p = space + 1;
    }
    return max + 1;
}

/* What stands between the signature and CRLF. */
static enum wawo_proxy_fault read_line(struct text line, struct wawo_proxy *out)
{
    struct text words[5];
    unsigned n = split(line, words, 5);
    bool ipv6 = text_is(words[0], "TCP6");

    if (text_is(words[0], "UNKNOWN"))
        return WAWO_PROXY_GOOD; /* and whatever follows is to be ignored */
    if (!ipv6 && !text_is(words[0], "TCP4"))
        return WAWO_PROXY_BAD_FAMILY;
    if (n != 5)
        return WAWO_PROXY_BAD_FIELDS;
    if (!read_address(words[1], ipv6, &out->source) || !read_address(words[2], ipv6, &out->destination))
        return WAWO_PROXY_BAD_ADDRESS;
    if (!read_port(words[3], &out->source.port) || !read_port(words[4], &out->destination.port))
        return WAWO_PROXY_BAD_PORT;
    return WAWO_PROXY_GOOD;
}

static ptrdiff_t parse_v1(const uint8_t *p, size_t n, struct wawo_proxy *out)
{
    size_t i, limit = wawo_min_size(n, WAWO_PROXY_V1_MAX);
    enum wawo_proxy_fault fault;

    if (memcmp(p, v1_signature, wawo_min_size(n, V1_SIGNATURE)) != 0)
        return bad(out, WAWO_PROXY_BAD_SIGNATURE);
    for (i = V1_SIGNATURE; i < limit && p[i] != '\r' && p[i] != '\n'; i++)
        continue;
    /* A lone CR or LF ends no line: those who read on would disagree about where the data begins. */
    if (i < limit && (p[i] != '\r' || (i + 1 < limit && p[i + 1] != '\n')))
        return bad(out, WAWO_PROXY_BAD_LINE);
    if (i + 1 >= limit)
        return n < WAWO_PROXY_V1_MAX ? more(out, WAWO_PROXY_V1_MAX) : bad(out, WAWO_PROXY_BAD_LINE_LONG);
    fault = read_line((struct text){p + V1_SIGNATURE, p + i}, out);
    return fault != WAWO_PROXY_GOOD ? bad(out, fault) : (ptrdiff_t)(i + 2);
}

/* ---- version 2: binary ---- */

static uint16_t read_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* Bytes that the addresses of a family and transport take; -1 for a pair that the protocol does not have. */
static int addresses_size(uint8_t kind)
{
    switch (kind) {
    case 0x00:
        return 0;
    case 0x11:
    case 0x12:
        return INET_SIZE;
    case 0x21:
    case 0x22:
        return INET6_SIZE;
    case 0x31:
    case 0x32:
        return UNIX_SIZE;
    default:
        return -1;
    }
}

static void read_addresses(uint8_t kind, const uint8_t *p, struct wawo_proxy *out)
{
    size_t size = kind == 0x11 ? 4 : 16;

    if (kind == 0x11) {
        out->source.family = out->destination.family = WAWO_AF_INET;
        memcpy(out->source.ip, p, 4);
        memcpy(out->destination.ip, p + 4, 4);
    } else if (kind == 0x21) {
        take_ipv6(&out->source, p);
        take_ipv6(&out->destination, p + 16);
    } else {
        return;
    }
    out->source.port = read_u16(p + 2 * size);
    out->destination.port = read_u16(p + 2 * size + 2);
}

static ptrdiff_t parse_v2(const uint8_t *p, size_t n, struct wawo_proxy *out)
{
    bool local = n > 12 && (p[12] & 0x0f) == 0;
    size_t len;

    if (memcmp(p, v2_signature, wawo_min_size(n, V2_SIGNATURE)) != 0)
        return bad(out, WAWO_PROXY_BAD_SIGNATURE);
    if (n > 12 && p[12] >> 4 != 2)
        return bad(out, WAWO_PROXY_BAD_VERSION);
    if (n > 12 && (p[12] & 0x0f) > 1)
        return bad(out, WAWO_PROXY_BAD_COMMAND);
    if (n > 13 && !local && addresses_size(p[13]) < 0) /* with LOCAL the family is to be ignored */
        return bad(out, WAWO_PROXY_BAD_FAMILY);
    if (n < WAWO_PROXY_V2_HEAD)
        return more(out, WAWO_PROXY_V2_HEAD);
    len = read_u16(p + 14);
    if (len > WAWO_PROXY_V2_MAX - WAWO_PROXY_V2_HEAD)
        return bad(out, WAWO_PROXY_BAD_TOO_LONG);
    if (!local && len < (size_t)addresses_size(p[13]))
        return bad(out, WAWO_PROXY_BAD_TOO_SHORT);
    if (n < WAWO_PROXY_V2_HEAD + len)
        return more(out, WAWO_PROXY_V2_HEAD + len);
    if (!local)
        read_addresses(p[13], p + WAWO_PROXY_V2_HEAD, out);
    return (ptrdiff_t)(WAWO_PROXY_V2_HEAD + len);
}

ptrdiff_t wawo_proxy_parse(const uint8_t *p, size_t n, struct wawo_proxy *out)
{
    memset(out, 0, sizeof *out);
    if (n == 0)
        return more(out, WAWO_PROXY_V1_MAX);
    return p[0] == v2_signature[0] ? parse_v2(p, n, out) : parse_v1(p, n, out);
}
