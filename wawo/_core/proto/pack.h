/* F3 pack: HP-Socket's pack (Pack): 4 bytes, little endian, in front of each message; the upper 10 bits are a flag, the
 * lower 22 the length of what follows. A pure codec. */
#ifndef WAWO_PROTO_PACK_H
#define WAWO_PROTO_PACK_H

#include "length.h"

enum { WAWO_PACK_HEAD = 4, WAWO_PACK_SHIFT = 22, WAWO_PACK_FLAG_MAX = 0x3FF, WAWO_PACK_MAX = 0x3FFFFF };

struct wawo_pack {
    uint32_t flag; /* 0..1023; 0 is sent as such, and what is received is not looked at */
    uint64_t max; /* bytes of message at most: 1..WAWO_PACK_MAX */
};

/* WAWO_EINVAL outside the above. */
int wawo_pack_check(const struct wawo_pack *c);
/* See frame.h. WAWO_EMSGSIZE for an empty message too. */
int wawo_pack_seal(const struct wawo_pack *c, const struct wawo_message *m, struct wawo_envelope *out);

/* See frame.h. WAWO_EBADMSG for another flag, WAWO_EMSGSIZE for an empty message too. */
static inline int wawo_pack_cut(const struct wawo_pack *c, const uint8_t *p, size_t n, size_t *scanned,
                                struct wawo_frame *out)
{
    uint32_t head, len;

    (void)scanned;
    out->total = 0;
    if (wawo_unlikely(n < WAWO_PACK_HEAD))
        return 0;
    head = (uint32_t)wawo_length_read(p, WAWO_PACK_HEAD, true);
    len = head & WAWO_PACK_MAX;
    if (wawo_unlikely(c->flag != 0 && head >> WAWO_PACK_SHIFT != c->flag))
        return WAWO_EBADMSG;
    if (wawo_unlikely(len == 0 || len > c->max))
        return WAWO_EMSGSIZE;
    out->skip = WAWO_PACK_HEAD;
    out->len = len;
    out->total = WAWO_PACK_HEAD + (size_t)len;
    return n >= out->total;
}

#endif
