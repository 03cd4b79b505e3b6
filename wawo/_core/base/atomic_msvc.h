/* F0 atomic for Microsoft's compiler, from Visual Studio 2022 17.9 on, which has __typeof__. Included by atomic.h alone.
 *
 * The interlocked functions are full barriers on every CPU. Volatile accesses of __iso_volatile_* are in one piece, 64 bits
 * on 32-bit x86 too, and order nothing by themselves: on x86 only the compiler has to be held back beside them, on ARM64 it
 * takes a dmb. Objects have 1, 4 or 8 bytes. */
#ifndef WAWO_BASE_ATOMIC_MSVC_H
#define WAWO_BASE_ATOMIC_MSVC_H

#include "config.h"

#include <intrin.h>

#if defined(_M_IX86) || defined(_M_X64)
#define wawo_ms_fence() _ReadWriteBarrier()
#define wawo_cpu_relax() _mm_pause()
#else
#define wawo_ms_fence() __dmb(0xB) /* inner shareable */
#define wawo_cpu_relax() __yield()
#endif

/* 64-bit operations: 32-bit x86 has the compare-exchange alone. */
#if defined(_M_IX86)
#define WAWO_MS_RMW64(name, native, op)                                                                                \
    static __forceinline __int64 wawo_ms_##name##64(volatile __int64 *p, __int64 v)                                    \
    {                                                                                                                  \
        __int64 seen = __iso_volatile_load64(p), old;                                                                  \
                                                                                                                       \
        do {                                                                                                           \
            old = seen;                                                                                                \
            seen = _InterlockedCompareExchange64(p, op, old);                                                          \
        } while (seen != old);                                                                                         \
        return old;                                                                                                    \
    }
#else
#define WAWO_MS_RMW64(name, native, op)                                                                                \
    static __forceinline __int64 wawo_ms_##name##64(volatile __int64 *p, __int64 v)                                    \
    {                                                                                                                  \
        return native(p, v);                                                                                           \
    }
#endif

/* The value before. */
#define WAWO_MS_RMW(name, native, op)                                                                                  \
    WAWO_MS_RMW64(name, native##64, op)                                                                                \
    static __forceinline uint64_t wawo_ms_##name(volatile void *p, uint64_t v, size_t size)                            \
    {                                                                                                                  \
        if (size == 1)                                                                                                 \
            return (uint8_t)native##8((volatile char *)p, (char)v);                                                    \
        if (size == 4)                                                                                                 \
            return (uint32_t)native((volatile long *)p, (long)v);                                                      \
        return (uint64_t)wawo_ms_##name##64((volatile __int64 *)p, (__int64)v);                                        \
    }

WAWO_MS_RMW(exchange, _InterlockedExchange, v)
WAWO_MS_RMW(add, _InterlockedExchangeAdd, old + v)
WAWO_MS_RMW(or, _InterlockedOr, old | v)
WAWO_MS_RMW(and, _InterlockedAnd, old &v)

static __forceinline uint64_t wawo_ms_load_relaxed(const volatile void *p, size_t size)
{
    if (size == 1)
        return (uint8_t)__iso_volatile_load8((const volatile char *)p);
    if (size == 4)
        return (uint32_t)__iso_volatile_load32((const volatile int *)p);
    return (uint64_t)__iso_volatile_load64((const volatile __int64 *)p);
}

static __forceinline uint64_t wawo_ms_load(const volatile void *p, size_t size)
{
    uint64_t v = wawo_ms_load_relaxed(p, size);

    wawo_ms_fence();
    return v;
}

static __forceinline void wawo_ms_store_relaxed(volatile void *p, uint64_t v, size_t size)
{
    if (size == 1)
        __iso_volatile_store8((volatile char *)p, (char)v);
    else if (size == 4)
        __iso_volatile_store32((volatile int *)p, (int)v);
    else
        __iso_volatile_store64((volatile __int64 *)p, (__int64)v);
}

static __forceinline void wawo_ms_store(volatile void *p, uint64_t v, size_t size)
{
    wawo_ms_fence();
    wawo_ms_store_relaxed(p, v, size);
}

/* Whether *p was *expected and is `desired` now; else *expected becomes what it was. */
static __forceinline bool wawo_ms_cas(volatile void *p, void *expected, uint64_t desired, size_t size)
{
    uint64_t wanted = wawo_ms_load_relaxed(expected, size), seen;

    if (size == 1)
        seen = (uint8_t)_InterlockedCompareExchange8((volatile char *)p, (char)desired, (char)wanted);
    else if (size == 4)
        seen = (uint32_t)_InterlockedCompareExchange((volatile long *)p, (long)desired, (long)wanted);
    else
        seen = (uint64_t)_InterlockedCompareExchange64((volatile __int64 *)p, (__int64)desired, (__int64)wanted);
    if (seen == wanted)
        return true;
    wawo_ms_store_relaxed(expected, seen, size);
    return false;
}

/* A value for *p in 64 bits, and one of those as what *p is: pointers go through an integer of their size. */
#define WAWO_MS_BITS(p, v) ((uint64_t)_Generic(*(p), uint64_t: (v), int64_t: (v), default: (uintptr_t)(v)))
#define WAWO_MS_AS(p, bits)                                                                                            \
    ((__typeof__(*(p)))_Generic(*(p), uint64_t: (bits), int64_t: (bits), default: (uintptr_t)(bits)))

#define wawo_load(p) WAWO_MS_AS(p, wawo_ms_load(p, sizeof *(p)))
#define wawo_load_relaxed(p) WAWO_MS_AS(p, wawo_ms_load_relaxed(p, sizeof *(p)))
#define wawo_load_full(p) wawo_load(p) /* what comes before it and must not pass it is an interlocked function */
#define wawo_store(p, v) wawo_ms_store(p, WAWO_MS_BITS(p, v), sizeof *(p))
#define wawo_store_relaxed(p, v) wawo_ms_store_relaxed(p, WAWO_MS_BITS(p, v), sizeof *(p))
#define wawo_store_full(p, v) ((void)wawo_ms_exchange(p, WAWO_MS_BITS(p, v), sizeof *(p)))
#define wawo_exchange(p, v) WAWO_MS_AS(p, wawo_ms_exchange(p, WAWO_MS_BITS(p, v), sizeof *(p)))
#define wawo_add(p, v) WAWO_MS_AS(p, wawo_ms_add(p, WAWO_MS_BITS(p, v), sizeof *(p)))
#define wawo_add_relaxed(p, v) wawo_add(p, v)
#define wawo_sub(p, v) WAWO_MS_AS(p, wawo_ms_add(p, 0 - WAWO_MS_BITS(p, v), sizeof *(p)))
#define wawo_or(p, v) WAWO_MS_AS(p, wawo_ms_or(p, WAWO_MS_BITS(p, v), sizeof *(p)))
#define wawo_and(p, v) WAWO_MS_AS(p, wawo_ms_and(p, WAWO_MS_BITS(p, v), sizeof *(p)))
#define wawo_cas(p, expected, desired) wawo_ms_cas(p, expected, WAWO_MS_BITS(p, desired), sizeof *(p))

#endif
