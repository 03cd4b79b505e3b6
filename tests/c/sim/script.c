#include "script.h"

#include <stdio.h>
#include <stdlib.h>

enum { LETTERS = 16, NONCE = 8, HEAD_MAX = 16 };

static uint32_t nonce;

void script_reset(struct script *s)
{
    s->len = s->count = 0;
    s->garbage = false;
}

void script_choose(struct wawo_framing *f)
{
    static const struct wawo_framing all[] = {
        {.kind = WAWO_FRAMING_RAW},
        {.kind = WAWO_FRAMING_PULL, .max_size = 5000},
        {.kind = WAWO_FRAMING_LENGTH, .field_size = 1, .max_size = 255},
        {.kind = WAWO_FRAMING_LENGTH, .field_size = 2, .max_size = 3000},
        {.kind = WAWO_FRAMING_LENGTH, .field_size = 4, .little = true, .max_size = MESSAGE_MAX},
        {.kind = WAWO_FRAMING_FIELD, .offset = 2, .field_size = 2, .adjust = -4, .strip = -1, .max_size = 20000},
        {.kind = WAWO_FRAMING_FIELD, .field_size = 0, .strip = -1, .max_size = 9000},
        {.kind = WAWO_FRAMING_FIELD, .field_size = 4, .little = true, .strip = -1, .max_size = MESSAGE_MAX},
        {.kind = WAWO_FRAMING_PACK, .flag = 0x169, .max_size = 9000},
        {.kind = WAWO_FRAMING_MARKS, .end_len = 2, .end = "\r\n", .max_size = 2000},
        {.kind = WAWO_FRAMING_MARKS,
         .start_len = 2,
         .start = "<<",
         .end_len = 3,
         .end = ">|>",
         .max_size = MESSAGE_MAX},
        {.kind = WAWO_FRAMING_FIXED, .max_size = 24},
        {.kind = WAWO_FRAMING_PACKET, .max_size = 20000},
    };

    nonce = 0;
    *f = all[sim_below(sizeof all / sizeof *all)];
}

size_t script_fit(const struct wawo_framing *f, size_t want)
{
    if (f->kind == WAWO_FRAMING_FIXED)
        return (size_t)f->max_size;
    if (want > MESSAGE_MAX)
        want = MESSAGE_MAX;
    if (f->kind != WAWO_FRAMING_RAW && f->kind != WAWO_FRAMING_PULL && want > f->max_size)
        want = (size_t)f->max_size;
    if (want == 0 && (f->kind == WAWO_FRAMING_PACK || f->kind == WAWO_FRAMING_PACKET))
        want = 1;
    return want;
}

void script_fill(uint8_t *p, size_t len)
{
    uint32_t n = ++nonce;
    size_t i;

    for (i = 0; i < len && i < NONCE; i++, n /= LETTERS)
        p[i] = (uint8_t)('a' + n % LETTERS);
    for (; i < len; i++)
        p[i] = (uint8_t)('a' + (nonce + i * 3 + i / 64) % LETTERS);
}

/* ---- wire form ---- */

static void put(struct script *s, const void *p, size_t len)
{
    s->wire = sim_grow(s->wire, &s->room, s->len + len, 1);
    if (len > 0)
        memcpy(s->wire + s->len, p, len);
    s->len += len;
}

static struct item *add(struct script *s, const void *head, size_t head_len, const void *p, size_t len)
{
    struct item *i;

    s->items = sim_grow(s->items, &s->items_room, s->count + 1, sizeof *s->items);
    i = &s->items[s->count++];
    *i = (struct item){.at = s->len, .message = s->len + head_len, .size = (ptrdiff_t)len};
    put(s, head, head_len);
    put(s, p, len);
    i->len = head_len + len;
    return i;
}

static size_t number(uint8_t *p, uint64_t value, unsigned size, bool little)
{
    unsigned i;

    for (i = 0; i < size; i++)
        p[i] = (uint8_t)(value >> 8 * (little ? i : size - 1 - i));
    return size;
}

static size_t varint(uint8_t *p, uint64_t value)
{
    size_t n = 0;

    for (; value >= 0x80; value >>= 7)
        p[n++] = (uint8_t)(value | 0x80);
    p[n++] = (uint8_t)value;
    return n;
}

static size_t head_of(const struct wawo_framing *f, size_t len, uint8_t *p)
{
    uint64_t value = (uint64_t)((int64_t)len - f->adjust);

    switch (f->kind) {
    case WAWO_FRAMING_LENGTH:
        return number(p, len, f->field_size, f->little);
    case WAWO_FRAMING_FIELD:
        memset(p, 0, f->offset);
        return f->offset + (f->field_size > 0 ? number(p + f->offset, value, f->field_size, f->little)
                                              : varint(p + f->offset, value));
    case WAWO_FRAMING_PACK:
        return number(p, (uint64_t)f->flag << 22 | len, 4, true);
    case WAWO_FRAMING_MARKS:
        memcpy(p, f->start, f->start_len);
        return f->start_len;
    case WAWO_FRAMING_PACKET:
        p[0] = p[1] = '^';
        return 2 + number(p + 2, len, 4, false);
    default:
        return 0;
    }
}

struct item *script_add(struct script *s, const struct wawo_framing *f, const uint8_t *p, size_t len)
{
    uint8_t head[HEAD_MAX];
    struct item *i = add(s, head, head_of(f, len, head), p, len);

    if (f->kind == WAWO_FRAMING_MARKS) {
        put(s, f->end, f->end_len);
        i->len += f->end_len;
    }
    return i;
}

void script_undo(struct script *s)
{
    s->len = s->items[--s->count].at;
}

void script_add_raw(struct script *s, const void *p, size_t len)
{
    add(s, NULL, 0, p, len)->size = NOT_A_MESSAGE;
}

void script_add_proxy(struct script *s, uint32_t ip, uint16_t port)
{
    static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
    uint8_t v2[64];
    char v1[108];
    unsigned extra = sim_below(20);
    int n;

    if (sim_chance(60)) {
        script_add_raw(s, "PROXY TCP4 nonsense\r\n", 1 + sim_below(21));
        s->garbage = true;
    } else if (sim_chance(400)) {
        n = snprintf(v1, sizeof v1, "PROXY TCP4 127.0.0.%u 127.0.0.9 %u 80\r\n", ip & 255, port);
        script_add_raw(s, v1, (size_t)n);
    } else {
        memset(v2, 0, sizeof v2);
        memcpy(v2, signature, sizeof signature);
        v2[12] = sim_chance(800) ? 0x21 : 0x20;
        v2[13] = 0x11;
        (void)number(v2 + 14, 12 + extra, 2, false);
        (void)number(v2 + 16, ip, 4, false);
        (void)number(v2 + 24, port, 2, false);
        script_add_raw(s, v2, 28 + extra);
    }
}

/* ---- comparing ---- */

static bool same(const uint8_t *a, const uint8_t *b, size_t len)
{
    return len == 0 || memcmp(a, b, len) == 0;
}

/* The beginning of some bytes, legible. */
static void show_bytes(const uint8_t *p, size_t len)
{
    size_t i;

    for (i = 0; i < len && i < 40; i++)
        fprintf(stderr, p[i] > ' ' && p[i] < 0x7f ? "%c" : "\\x%02x", p[i]);
    fprintf(stderr, "\n");
}

static void show(const struct script *s, const uint8_t *wire, size_t n, size_t from, size_t at)
{
    size_t i;

    fprintf(stderr, "sent from %zu on: ", at);
    show_bytes(wire + at, n - at);
    for (i = from > 4 ? from - 4 : 0; i < s->count && i < from + 4; i++) {
        fprintf(stderr, "  item %zu%s, %zu bytes: ", i, s->items[i].perhaps ? " (broadcast)" : "", s->items[i].len);
        show_bytes(s->wire + s->items[i].at, s->items[i].len);
    }
}

/* Whether wire[at..n) is a beginning of the items from the i-th on. */
static bool fits(const struct script *s, size_t i, const uint8_t *wire, size_t at, size_t n)
{
    const struct item *it;
    size_t part;

    for (; at < n && i < s->count; i++) {
        it = &s->items[i];
        part = wawo_min_size(it->len, n - at);
        if (same(wire + at, s->wire + it->at, part)) {
            if (it->perhaps && part < it->len && fits(s, i + 1, wire, at, n))
                return true;
            at += part;
        } else if (!it->perhaps) {
            return false;
        }
    }
    return at == n;
}

void script_resolve(struct script *s, const uint8_t *wire, size_t n)
{
    size_t at = 0, kept = 0, i, part;
    struct item it;

    for (i = 0; i < s->count; i++) {
        it = s->items[i];
        part = at < n ? wawo_min_size(it.len, n - at) : 0;
        if (it.perhaps && part < it.len && fits(s, i + 1, wire, at, n))
            continue;
        if ((part == 0 && it.len > 0) || !same(wire + at, s->wire + it.at, part)) {
            if (it.perhaps)
                continue;
            if (part > 0)
                show(s, wire, n, i, at);
            if (part > 0)
                SIM_FAIL("item %zu of %zu: what was sent at %zu of %zu is not what was to be sent", i, s->count, at, n);
        }
        memmove(s->wire + at, s->wire + it.at, it.len); /* to the front, over what was left out */
        it.message = it.message - it.at + at;
        it.at = at;
        at += it.len;
        s->items[kept++] = it;
    }
    if (n > at)
        SIM_FAIL("%zu bytes were sent, of %zu that were to be sent", n, at);
    s->count = kept;
    s->len = at;
}

void inbox_reset(struct inbox *in)
{
    in->len = in->count = 0;
}

void inbox_add(struct inbox *in, const uint8_t *p, size_t len)
{
    in->bytes = sim_grow(in->bytes, &in->room, in->len + len, 1);
    in->ends = sim_grow(in->ends, &in->ends_room, in->count + 1, sizeof *in->ends);
    if (len > 0)
        memcpy(in->bytes + in->len, p, len);
    in->len += len;
    in->ends[in->count++] = in->len;
}

static void compare_stream(const struct script *s, const struct inbox *in, bool whole)
{
    size_t at = 0, i, part;

    for (i = 0; i < s->count; i++) {
        if (s->items[i].size == NOT_A_MESSAGE)
            continue;
        part = wawo_min_size((size_t)s->items[i].size, in->len - at);
        if (!same(in->bytes + at, s->wire + s->items[i].message, part))
            SIM_FAIL("what was received from %zu on is not what was sent", at);
        at += part;
    }
    if (in->len > at && !s->garbage)
        SIM_FAIL("%zu bytes were received, %zu were sent", in->len, at);
    for (at = 0, i = 0; i < s->count; i++)
        at += s->items[i].size > 0 ? (size_t)s->items[i].size : 0;
    if (whole && !s->garbage && in->len != at)
        SIM_FAIL("%zu bytes were received, %zu were sent, and the end was clean", in->len, at);
}

void script_compare(const struct script *s, const struct wawo_framing *f, const struct inbox *in, bool whole)
{
    size_t i, k = 0, from;

    if (f->kind == WAWO_FRAMING_RAW || f->kind == WAWO_FRAMING_PULL) {
        compare_stream(s, in, whole);
        return;
    }
    for (i = 0; i < s->count && k < in->count; i++) {
        if (s->items[i].size == NOT_A_MESSAGE)
            continue;
        from = k > 0 ? in->ends[k - 1] : 0;
        if (in->ends[k] - from != (size_t)s->items[i].size ||
            !same(in->bytes + from, s->wire + s->items[i].message, (size_t)s->items[i].size))
            SIM_FAIL("message %zu (%zu bytes) is not what was sent (%td bytes)", k, in->ends[k] - from,
                     s->items[i].size);
        k++;
    }
    if (k < in->count && !s->garbage)
        SIM_FAIL("%zu messages were received, %zu were sent", in->count, k);
    for (; whole && !s->garbage && i < s->count; i++)
        if (s->items[i].size != NOT_A_MESSAGE)
            SIM_FAIL("%zu messages were received, more were sent, and the end was clean", in->count);
}
