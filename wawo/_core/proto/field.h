/* F3 field: a frame with a length field somewhere in its header (LengthField). A pure codec.
 *
 *     | offset bytes | field | value + adjust bytes |
 *     | strip bytes ...  | the message ...          |
 *
 * What the listener gets is what send takes: with the field stripped, sending writes it, and the other stripped bytes
 * as zeros; a message that has the field in it must say its own size. */
#ifndef WAWO_PROTO_FIELD_H
#define WAWO_PROTO_FIELD_H

#include "length.h"

enum { WAWO_FIELD_VARINT = 0 }; /* a size: groups of 7 bits, the lowest first, as protobuf and MQTT have them */
enum { WAWO_FIELD_VARINT_MAX = 10, WAWO_FIELD_OFFSET_MAX = 65535 };

struct wawo_field {
    uint32_t offset;   /* of the field in the frame: 0..65,535 */
    uint8_t size;      /* of the field: 1, 2, 3, 4 or 8 bytes, or WAWO_FIELD_VARINT */
    bool little;       /* byte order; not of a varint */
    bool strip_header; /* strip all up to the end of the field; `strip` is 0 then */
    uint32_t strip;    /* first bytes of the frame that are not the message's: 0..WAWO_ENVELOPE_MAX */
    int64_t adjust;    /* value + adjust bytes follow the field: -INT32_MAX..INT32_MAX */
    uint64_t max;      /* bytes of message at most, as the listener gets it */
};

/* WAWO_EINVAL for parameters outside the above, a strip that cuts the field in two (a varint ends anywhere behind its
 * first byte), a header to strip that an envelope has no room for. */
int wawo_field_check(const struct wawo_field *c);
/* See frame.h. WAWO_EMSGSIZE too when the field cannot hold the value; WAWO_EBADMSG when it would be negative, when the
 * field in the message does not say its size, or is not among its visible bytes. */
int wawo_field_seal(const struct wawo_field *c, const struct wawo_message *m, struct wawo_envelope *out);
int wawo_field_cut_varint(const struct wawo_field *c, const uint8_t *p, size_t n, struct wawo_frame *out);

/* Where the message lies when the header has `header` bytes, the field included, and the field says `value`. */
static inline int wawo_field_place(const struct wawo_field *c, size_t header, uint64_t value, struct wawo_frame *out)
{
    uint64_t strip = c->strip_header ? header : c->strip, total;

    if (wawo_unlikely(value > INT64_MAX)) /* no memory holds that much; now nothing below can wrap */
        return WAWO_EMSGSIZE;
    if (wawo_unlikely(c->adjust < 0 && value < (uint64_t)-c->adjust))
        return WAWO_EBADMSG;
    total = header + value + (uint64_t)c->adjust;
    if (wawo_unlikely(total < strip))
        return WAWO_EBADMSG;
    if (wawo_unlikely(total - strip > c->max))
        return WAWO_EMSGSIZE;
    out->skip = (size_t)strip;
    out->len = (size_t)(total - strip);
    out->total = (size_t)total;
    return 0;
}

/* See frame.h. */
static inline int wawo_field_cut(const struct wawo_field *c, const uint8_t *p, size_t n, size_t *scanned,
                                 struct wawo_frame *out)
{
    size_t header = (size_t)c->offset + c->size;
    int err;

    (void)scanned;
    if (c->size == WAWO_FIELD_VARINT)
        return wawo_field_cut_varint(c, p, n, out);
    out->total = 0;
    if (wawo_unlikely(n < header))
        return 0;
    err = wawo_field_place(c, header, wawo_length_read(p + c->offset, c->size, c->little), out);
    return wawo_unlikely(err != 0) ? err : n >= out->total;
}

#endif
