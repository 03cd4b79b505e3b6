/* F3 length: a length in front of each message (LengthPrefixed). A pure codec: no socket, no clock, no state. */
#ifndef WAWO_PROTO_LENGTH_H
#define WAWO_PROTO_LENGTH_H

#include "../base/config.h"

struct wawo_length {
    uint8_t size;     /* of the length field: 1, 2, 3, 4 or 8 bytes */
    bool little;      /* byte order */
    uint64_t max;     /* bytes of payload at most */
};

/* WAWO_EINVAL for a size that is none of the above, or a maximum that the field cannot hold. */
int wawo_length_check(const struct wawo_length *c);
/* The length that the field at `p` (size bytes) says. WAWO_EMSGSIZE over the maximum. */
int64_t wawo_length_decode(const struct wawo_length *c, const uint8_t *p);
/* Writes the field for a payload of `len` bytes; returns its size. WAWO_EMSGSIZE over the maximum. */
int wawo_length_encode(const struct wawo_length *c, uint64_t len, uint8_t *p);

#endif
