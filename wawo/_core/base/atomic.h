/* F0 atomic: the few atomic operations wawo uses, on plain integers and pointers of 1, 4 or 8 bytes, each named with its
 * order; 64-bit numbers are wawo_u64 or wawo_i64 (config.h). Why each order is enough:
 *
 * - load and store (acquire, release) publish: what was written before the store is there for whoever loads it. States,
 *   pointers to what was just made, a time behind the addresses that it stands for.
 * - relaxed: counters and hints that nothing else is read by; what the reading thread, or a lock, wrote itself.
 * - add_relaxed takes a further reference: whoever does has one already, so there is nothing to wait for. sub gives it
 *   back with acquire and release: all that others did with the object comes before its end.
 * - full (sequentially consistent) is for "say mine, then look at yours" on both sides, of which at least one must see
 *   the other: asleep against a post (io/loop.c), a look asked for against looking (net/endpoint.c), a baton given back
 *   against one who begins to wait (net/baton.c). With acquire and release alone both could look before the other's word
 *   is out, on x86 too.
 * - exchange, add, or, and, cas are full as well: they take locks and flags that such a look follows, and on no CPU would
 *   a weaker one be worth the thought.
 *
 * store_full is an exchange: on x86 the very same instruction; QEMU 7.2 lets an ARM ldar overtake the stlr before it,
 * which no CPU may. */
#ifndef WAWO_BASE_ATOMIC_H
#define WAWO_BASE_ATOMIC_H

#include "config.h"

#if defined(__GNUC__) || defined(__clang__)
#define wawo_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define wawo_load_relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define wawo_load_full(p) __atomic_load_n(p, __ATOMIC_SEQ_CST)
#define wawo_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define wawo_store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define wawo_store_full(p, v) ((void)__atomic_exchange_n(p, v, __ATOMIC_SEQ_CST))
/* The value before; cas: whether *p was *expected, which else becomes what *p was. */
#define wawo_exchange(p, v) __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST)
#define wawo_add(p, v) __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST)
#define wawo_add_relaxed(p, v) __atomic_fetch_add(p, v, __ATOMIC_RELAXED)
#define wawo_sub(p, v) __atomic_fetch_sub(p, v, __ATOMIC_ACQ_REL)
#define wawo_or(p, v) __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST)
#define wawo_and(p, v) __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST)
#define wawo_cas(p, expected, desired)                                                                                 \
    __atomic_compare_exchange_n(p, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
/* In a loop that spins. */
#if defined(__x86_64__) || defined(__i386__)
#define wawo_cpu_relax() __builtin_ia32_pause()
#elif defined(__aarch64__) || (defined(__ARM_ARCH) && __ARM_ARCH >= 7)
#define wawo_cpu_relax() __asm__ volatile("yield" ::: "memory")
#else
#define wawo_cpu_relax() ((void)0)
#endif
#else
#include "atomic_msvc.h"
#endif

/* A counter that its loop alone writes and any thread may read: no lock prefix on the hot path. */
#define wawo_bump(p, v) wawo_store_relaxed(p, wawo_load_relaxed(p) + (v))

#endif
