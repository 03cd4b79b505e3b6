/* F0 config: the platform and the compiler, named once. GNU extensions live here and in atomic.h only. */
#ifndef WAWO_BASE_CONFIG_H
#define WAWO_BASE_CONFIG_H

#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* accept4, eventfd, pthread_setname_np under -std=c11 */
#endif

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define wawo_likely(x) __builtin_expect(!!(x), 1)
#define wawo_unlikely(x) __builtin_expect(!!(x), 0)
#define wawo_prefetch(p) __builtin_prefetch(p)
#define wawo_log2(v) (63u - (unsigned)__builtin_clzll(v)) /* the highest bit that is set; v is not 0 */
#define WAWO_COLD __attribute__((cold, noinline))
#define wawo_inline inline __attribute__((always_inline))
#define WAWO_THREAD_LOCAL __thread
#elif defined(_MSC_VER)
#include <intrin.h>
#define wawo_likely(x) (x)
#define wawo_unlikely(x) (x)
#define wawo_prefetch(p) ((void)(p))
#define wawo_log2(v) (63u - (unsigned)__lzcnt64(v))
#define WAWO_COLD __declspec(noinline)
#define wawo_inline __forceinline
#define WAWO_THREAD_LOCAL __declspec(thread)
#else
#error "wawo: unknown compiler"
#endif

/* Tells threads apart in one instruction where the compiler can, else like pthread_self(). */
#if defined(__has_builtin)
#if __has_builtin(__builtin_thread_pointer) && defined(__x86_64__)
#define wawo_thread_self() ((uintptr_t)__builtin_thread_pointer())
#endif
#endif
#ifndef wawo_thread_self
#include <pthread.h>
#define wawo_thread_self() ((uintptr_t)pthread_self())
#endif

#define WAWO_CACHE_LINE 64

/* The struct that embeds `member` at `ptr`. */
#define wawo_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define WAWO_MSEC INT64_C(1000000)    /* in ns */
#define WAWO_SEC INT64_C(1000000000)  /* in ns */

static inline size_t wawo_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t wawo_max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
