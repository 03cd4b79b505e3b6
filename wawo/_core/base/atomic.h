/* F0 atomic: the few atomic operations wawo uses, on plain integers and pointers, each named with its order.
 * GCC and Clang builtins; the MSVC branch comes with the IOCP backend. */
#ifndef WAWO_BASE_ATOMIC_H
#define WAWO_BASE_ATOMIC_H

#include "config.h"

#define wawo_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define wawo_load_relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define wawo_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define wawo_store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define wawo_store_full(p, v) __atomic_store_n(p, v, __ATOMIC_SEQ_CST)
#define wawo_load_full(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define wawo_exchange(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define wawo_add(p, v) __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST)
#define wawo_add_relaxed(p, v) __atomic_fetch_add(p, v, __ATOMIC_RELAXED)
#define wawo_sub(p, v) __atomic_fetch_sub(p, v, __ATOMIC_ACQ_REL)
#define wawo_or(p, v) __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST)
#define wawo_and(p, v) __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST)
#define wawo_cas(p, expected, desired)                                                                                 \
    __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

/* A counter that its loop alone writes and any thread may read: no lock prefix on the hot path. */
#define wawo_bump(p, v) wawo_store_relaxed(p, wawo_load_relaxed(p) + (v))

#if defined(__x86_64__) || defined(__i386__)
#define wawo_cpu_relax() __builtin_ia32_pause()
#else
#define wawo_cpu_relax() ((void)0)
#endif

#endif
