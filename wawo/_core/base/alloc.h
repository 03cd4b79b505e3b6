/* F0 alloc: the only door to malloc. Counts what lives and can fail the n-th call. Any thread. */
#ifndef WAWO_BASE_ALLOC_H
#define WAWO_BASE_ALLOC_H

#include "config.h"

/* NULL when out of memory. The memory is not cleared. */
void *wawo_alloc(size_t size);
/* Cleared to zero. */
void *wawo_alloc_zero(size_t size);
/* NULL leaves `p` as it was. */
void *wawo_realloc(void *p, size_t size);
/* NULL is allowed. */
void wawo_free(void *p);

/* Blocks that were allocated and not freed. */
size_t wawo_alloc_live(void);
/* Fails the n-th call from now on (1 = the next), once; 0 switches it off. For tests. */
void wawo_alloc_fail_at(size_t n);
/* Calls that could have failed since the last wawo_alloc_fail_at(). For tests. */
size_t wawo_alloc_calls(void);
/* Counts a call of a mapping (slab, pool) as fallible too: true means it must fail. */
bool wawo_alloc_fault(void);

#endif
