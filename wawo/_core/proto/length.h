/* F3 length: a length in front of each message (LengthPrefixed). A pure codec: no socket, no clock, no state. */
#ifndef WAWO_PROTO_LENGTH_H
#define WAWO_PROTO_LENGTH_H

#include "../base/err.h"
#include "frame.h"

struct wawo_length {
    uint8_t size;     /* of the length field: 1, 2, 3, 4 or 8 bytes */
    bool little;      /* byte order */
    uint64_t max;     /* bytes of payload at most */
};

/* The number in the `size` bytes at `p`. */
static inline uint64_t wawo_length_read(const uint8_t *p, unsigned size, bool little)
{
    uint64_t n = 0;
    unsigned i;

    /* Spelled out, for the compiler makes one load of it. */
    if (wawo_likely(size == 4))
        return little ? (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0]
                      : (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    if (size == 2)
        return little ? (uint32_t)p[1] << 8 | p[0] : (uint32_t)p[0] << 8 | p[1];
    for (i = 0; i < size; i++)
        n = n << 8 | p[little ? size - 1 - i : i];
    return n;
}

/* The inverse: the low `size` bytes of `n`. */
static inline void wawo_length_write(uint8_t *p, uint64_t n, unsigned size, bool little)
{
    unsigned i;

    if (wawo_likely(size == 4)) {
        p[little ? 3 : 0] = (uint8_t)(n >> 24);
        p[little ? 2 : 1] = (uint8_t)(n >> 16);
        p[little ? 1 : 2] = (uint8_t)(n >> 8);
        p[little ? 0 : 3] = (uint8_t)n;
        return;
    }
    for (i = 0; i < size; i++)
        p[little ? i : size - 1 - i] = (uint8_t)(n >> (8 * i));
}

/* WAWO_EINVAL for a size that is none of the above, or a maximum that the field cannot hold. */
int wawo_length_check(const struct wawo_length *c);
/* See frame.h. */
int wawo_length_seal(const struct wawo_length *c, const struct wawo_message *m, struct wawo_envelope *out);

/* See frame.h. */
static inline int wawo_length_cut(const struct wawo_length *c, const uint8_t *p, size_t n, size_t *scanned,
                                  struct wawo_frame *out)
{
    uint64_t len;

    (void)scanned;
    out->total = 0;
    if (wawo_unlikely(n < c->size))
        return 0;
    len = wawo_length_read(p, c->size, c->little);
    if (wawo_unlikely(len > c->max))
        return WAWO_EMSGSIZE;
    out->skip = c->size;
    out->len = (size_t)len;
    out->total = c->size + (size_t)len;
    return n >= out->total;
}

#endif
