/* F3 packet: the packet of the C++ wawo (WawoPacket): '^' '^', the length of what follows in 4 bytes, big endian, then
 * that. A pure codec. */
#ifndef WAWO_PROTO_PACKET_H
#define WAWO_PROTO_PACKET_H

#include "length.h"

enum { WAWO_PACKET_MARK = '^', WAWO_PACKET_HEAD = 6 };

struct wawo_packet {
    uint64_t max; /* bytes of message at most: 1..UINT32_MAX */
};

/* WAWO_EINVAL outside the above. */
int wawo_packet_check(const struct wawo_packet *c);
/* See frame.h. WAWO_EBADMSG for an empty message. */
int wawo_packet_seal(const struct wawo_packet *c, const struct wawo_message *m, struct wawo_envelope *out);

/* See frame.h. WAWO_EBADMSG for another mark, as soon as one byte of it is wrong, and for an empty message. */
static inline int wawo_packet_cut(const struct wawo_packet *c, const uint8_t *p, size_t n, size_t *scanned,
                                  struct wawo_frame *out)
{
    uint64_t len;

    (void)scanned;
    out->total = 0;
    if (wawo_unlikely((n > 0 && p[0] != WAWO_PACKET_MARK) || (n > 1 && p[1] != WAWO_PACKET_MARK)))
        return WAWO_EBADMSG;
    if (wawo_unlikely(n < WAWO_PACKET_HEAD))
        return 0;
    len = wawo_length_read(p + 2, 4, false);
    if (wawo_unlikely(len == 0))
        return WAWO_EBADMSG;
    if (wawo_unlikely(len > c->max))
        return WAWO_EMSGSIZE;
    out->skip = WAWO_PACKET_HEAD;
    out->len = (size_t)len;
    out->total = WAWO_PACKET_HEAD + (size_t)len;
    return n >= out->total;
}

#endif
