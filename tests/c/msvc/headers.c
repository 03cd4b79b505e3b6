/* The branch of base/config.h and base/atomic.h for Microsoft's compiler: `build.py --strict --cc clang` compiles this as
 * clang understands that compiler. It shows that the words exist and fit their types, nothing more. */
#include "base/atomic.h"

#ifndef WAWO_BASE_ATOMIC_MSVC_H
#error "not compiled as for Microsoft's compiler"
#endif

_Static_assert(sizeof(wawo_u64) == 8 && sizeof(wawo_i64) == 8, "64 bits");
_Static_assert(_Alignof(wawo_u64) == 8 && _Alignof(wawo_i64) == 8, "in one piece");

struct objects {
    uint8_t byte;
    uint32_t word;
    int32_t error;
    wawo_u64 count;
    wawo_i64 pending;
    size_t size;
    struct objects *next;
    void (*call)(void);
};

uint64_t look(struct objects *o);
bool change(struct objects *o);

uint64_t look(struct objects *o)
{
    const struct objects *next = wawo_load(&o->next);

    wawo_prefetch(next);
    wawo_cpu_relax();
    if (wawo_unlikely(next == NULL) || wawo_load_relaxed(&o->next)->next == o || wawo_load(&o->call) == NULL)
        return wawo_thread_self();
    return wawo_load(&o->byte) + wawo_load_relaxed(&o->word) + wawo_load_full(&o->count) + wawo_load(&o->size) +
           wawo_log2(wawo_load_full(&o->count)) + (wawo_load(&o->pending) < 0) + (wawo_load_relaxed(&o->error) < 0);
}

bool change(struct objects *o)
{
    uint8_t byte = 0;
    uint32_t word = 0;
    uint64_t count = 0;
    struct objects *next = NULL;

    wawo_store(&o->byte, 1);
    wawo_store_relaxed(&o->error, -1);
    wawo_store_full(&o->word, 1);
    wawo_store(&o->pending, -1);
    wawo_store(&o->next, NULL);
    wawo_store(&o->call, NULL);
    wawo_bump(&o->count, 1);
    (void)wawo_add(&o->pending, -1);
    (void)wawo_add_relaxed(&o->count, 1);
    (void)wawo_sub(&o->size, 1);
    (void)wawo_or(&o->word, 1);
    (void)wawo_and(&o->byte, 1);
    if (wawo_exchange(&o->next, o) == o || wawo_exchange(&o->byte, 1) != 0)
        return false;
    return wawo_cas(&o->byte, &byte, 1) && wawo_cas(&o->word, &word, 1) && wawo_cas(&o->count, &count, 1) &&
           wawo_cas(&o->next, &next, o);
}
