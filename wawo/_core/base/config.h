/* F0 config: the platform and the compiler, named once. What only some compilers understand lives here and in atomic.h. */
#ifndef WAWO_BASE_CONFIG_H
#define WAWO_BASE_CONFIG_H

/* Before any header of the system: what they shall offer under -std=c11. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE 1 /* accept4, eventfd, pthread_setname_np */
#endif
#if defined(_WIN32)
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0602 /* Windows 8 */
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN 1
#endif
#ifndef NOMINMAX
#define NOMINMAX 1
#endif
#if defined(__MINGW32__) && !defined(__USE_MINGW_ANSI_STDIO)
#define __USE_MINGW_ANSI_STDIO 1 /* %zu */
#endif
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* files over 2 GiB on 32-bit CPUs */
#endif

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* wawo_log2: the highest bit that is set in a 64-bit number that is not 0.
 * wawo_u64, wawo_i64: numbers that threads share. A 32-bit x86 would align them to 4 bytes, and could not load them in one
 * piece where they cross a cache line. */
#if defined(__GNUC__) || defined(__clang__)
#define wawo_likely(x) __builtin_expect(!!(x), 1)
#define wawo_unlikely(x) __builtin_expect(!!(x), 0)
#define wawo_prefetch(p) __builtin_prefetch(p)
#define wawo_log2(v) (63u - (unsigned)__builtin_clzll(v))
#define WAWO_COLD __attribute__((cold, noinline))
#define wawo_inline inline __attribute__((always_inline))
#define WAWO_THREAD_LOCAL __thread
typedef uint64_t wawo_u64 __attribute__((aligned(8)));
typedef int64_t wawo_i64 __attribute__((aligned(8)));
#elif defined(_MSC_VER)
#include <intrin.h>
#define wawo_likely(x) (x)
#define wawo_unlikely(x) (x)
#if defined(_M_IX86) || defined(_M_X64)
#define wawo_prefetch(p) _mm_prefetch((const char *)(p), _MM_HINT_T0)
#else
#define wawo_prefetch(p) ((void)(p))
#endif
static __forceinline unsigned wawo_log2(uint64_t v)
{
    unsigned long bit;

#if defined(_M_IX86)
    if (_BitScanReverse(&bit, (unsigned long)(v >> 32)))
        return bit + 32;
    _BitScanReverse(&bit, (unsigned long)v);
#else
    _BitScanReverse64(&bit, v);
#endif
    return bit;
}
#define WAWO_COLD __declspec(noinline)
#define wawo_inline __forceinline
#define WAWO_THREAD_LOCAL __declspec(thread)
typedef __declspec(align(8)) uint64_t wawo_u64;
typedef __declspec(align(8)) int64_t wawo_i64;
#else
#error "wawo: unknown compiler"
#endif

/* Tells threads apart, in one instruction where the compiler can. */
#if defined(_WIN32)
__declspec(dllimport) unsigned long __stdcall GetCurrentThreadId(void);
#define wawo_thread_self() ((uintptr_t)GetCurrentThreadId())
#elif defined(__has_builtin)
#if __has_builtin(__builtin_thread_pointer) && defined(__x86_64__) && !defined(__APPLE__)
#define wawo_thread_self() ((uintptr_t)__builtin_thread_pointer())
#endif
#endif
#ifndef wawo_thread_self
#include <pthread.h>
#define wawo_thread_self() ((uintptr_t)pthread_self())
#endif

/* WAWO_BSD: macOS and the BSDs. WAWO_KQUEUE: there is sys/event.h; a test may say so too, and bring it. */
#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__) || defined(__DragonFly__)
#define WAWO_BSD 1
#define WAWO_KQUEUE 1
#endif

#define WAWO_CACHE_LINE 64

/* The struct that embeds `member` at `ptr`. */
#define wawo_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define WAWO_MSEC INT64_C(1000000) /* in ns */
#define WAWO_SEC INT64_C(1000000000) /* in ns */

static inline size_t wawo_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t wawo_max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

#endif
