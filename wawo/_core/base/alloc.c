#include "alloc.h"

#include "atomic.h"

#include <stdlib.h>

static size_t live;    /* atomic */
static size_t calls;   /* atomic */
static size_t fail_at; /* atomic; 0 = never */

bool wawo_alloc_fault(void)
{
    if (wawo_likely(wawo_load_relaxed(&fail_at) == 0))
        return false;
    return wawo_add(&calls, 1) + 1 == wawo_load_relaxed(&fail_at);
}

void *wawo_alloc(size_t size)
{
    void *p = wawo_alloc_fault() ? NULL : malloc(size);

    if (p != NULL)
        wawo_add_relaxed(&live, 1);
    return p;
}

void *wawo_alloc_zero(size_t size)
{
    void *p = wawo_alloc_fault() ? NULL : calloc(1, size);

    if (p != NULL)
        wawo_add_relaxed(&live, 1);
    return p;
}

void *wawo_realloc(void *p, size_t size)
{
    void *q = wawo_alloc_fault() ? NULL : realloc(p, size);

    if (q != NULL && p == NULL)
        wawo_add_relaxed(&live, 1);
    return q;
}

void wawo_free(void *p)
{
    if (p == NULL)
        return;
    wawo_sub(&live, 1);
    free(p);
}

size_t wawo_alloc_live(void)
{
    return wawo_load(&live);
}

void wawo_alloc_fail_at(size_t n)
{
    wawo_store(&calls, 0);
    wawo_store(&fail_at, n);
}

size_t wawo_alloc_calls(void)
{
    return wawo_load(&calls);
}
