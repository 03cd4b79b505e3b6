/* F2 uring_buffers: what the kernel may receive into, lent to it in advance: chunks of the loop's pool, a few at a time,
 * for all socks together. They count as used while they are lent, and an idle sock has none. Its loop's thread, but for
 * open and close. */
#ifndef WAWO_IO_URING_BUFFERS_H
#define WAWO_IO_URING_BUFFERS_H

#include "../mem/ring.h"
#include "uring.h"

enum { WAWO_URING_LENT = 128 }; /* buffers at most */

struct wawo_uring_buffers {
    struct wawo_heap *heap;
    struct uring_buf *ring; /* shared with the kernel */
    uint16_t tail;
    uint16_t spare_count;
    bool
        packed; /* the kernel puts one read behind the other in a buffer, which is then a whole chunk; else they are pieces */
    unsigned out, want, most; /* buffers lent, wished for, and at most */
    unsigned full; /* turns since fewer were enough */
    struct wawo_uring_lent {
        struct wawo_chunk *chunk; /* a reference */
        uint32_t at, end; /* what of it the kernel has not filled */
    } lent[WAWO_URING_LENT];
    uint16_t spare[WAWO_URING_LENT]; /* places in `lent` */
};

/* Tells the kernel of a ring of buffers, with none in it. 0 or why not. */
int wawo_uring_buffers_open(struct wawo_uring_buffers *l, const struct wawo_uring *u, struct wawo_heap *heap);
/* The kernel fills none any more. */
void wawo_uring_buffers_close(struct wawo_uring_buffers *l);
/* Lends as many as are wanted, as far as the pool gives them; false: none at all is lent. */
bool wawo_uring_buffers_fill(struct wawo_uring_buffers *l);
/* There were too few: more from now on, for a while. */
void wawo_uring_buffers_more(struct wawo_uring_buffers *l);
/* The kernel has put `len` bytes (0: none) into the buffer that an answer's flags name: where they are, and in *chunk a
 * reference for the caller, NULL without bytes. */
const uint8_t *wawo_uring_buffers_took(struct wawo_uring_buffers *l, uint32_t flags, size_t len,
                                       struct wawo_chunk **chunk);
/* For tests: as on a kernel that packs nothing. From the next open on. */
void wawo_uring_buffers_pretend(bool unpacked);

#endif
