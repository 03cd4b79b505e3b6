/* F1 slab: objects of one size, cut from blocks that are mapped for this slab alone. Bounded, given back whole at the
 * end. One thread. Untouched objects are not resident. */
#ifndef WAWO_MEM_SLAB_H
#define WAWO_MEM_SLAB_H

#include "../base/config.h"

struct wawo_slab_block;

struct wawo_slab {
    size_t size;      /* of one object, a multiple of 16 */
    size_t limit;     /* objects at most */
    size_t used;      /* objects out */
    size_t blocks;    /* mapped */
    void *free;       /* given back, newest first: still warm */
    char *fresh;      /* never used so far, in the newest block */
    char *fresh_end;
    struct wawo_slab_block *maps;
};

/* Maps nothing yet. */
void wawo_slab_init(struct wawo_slab *s, size_t object_size, size_t limit);
/* Not cleared. NULL at the limit or when the system refuses memory. */
void *wawo_slab_take(struct wawo_slab *s);
void wawo_slab_give(struct wawo_slab *s, void *p);
/* Unmaps all; nothing may be in use any more. */
void wawo_slab_fini(struct wawo_slab *s);
/* Bytes mapped. */
size_t wawo_slab_bytes(const struct wawo_slab *s);

#endif
