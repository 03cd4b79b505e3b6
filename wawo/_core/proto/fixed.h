/* F3 fixed: messages of one size, with nothing around them (Fixed). A pure codec. */
#ifndef WAWO_PROTO_FIXED_H
#define WAWO_PROTO_FIXED_H

#include "frame.h"

enum { WAWO_FIXED_MAX = 1 << 30 };

struct wawo_fixed {
    uint64_t size; /* bytes of each message: 1..WAWO_FIXED_MAX */
};

/* WAWO_EINVAL outside the above. */
int wawo_fixed_check(const struct wawo_fixed *c);
/* See frame.h. WAWO_EBADMSG for any other size. */
int wawo_fixed_seal(const struct wawo_fixed *c, const struct wawo_message *m, struct wawo_envelope *out);

/* See frame.h. */
static inline int wawo_fixed_cut(const struct wawo_fixed *c, const uint8_t *p, size_t n, size_t *scanned,
                                 struct wawo_frame *out)
{
    (void)p;
    (void)scanned;
    out->skip = 0;
    out->len = out->total = (size_t)c->size;
    return n >= out->total;
}

#endif
