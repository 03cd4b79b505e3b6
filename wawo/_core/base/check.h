/* F0 check: a broken invariant stops the process; nothing else may. Kept in release builds: each is one
 * predictable branch, and a wrong connection is worse than a dead process. */
#ifndef WAWO_BASE_CHECK_H
#define WAWO_BASE_CHECK_H

#include "config.h"

/* Prints `file:line: what` to stderr and aborts. */
WAWO_COLD _Noreturn void wawo_check_failed(const char *file, int line, const char *what);

#define WAWO_CHECK(cond)                                                                                               \
    do {                                                                                                               \
        if (wawo_unlikely(!(cond)))                                                                                    \
            wawo_check_failed(__FILE__, __LINE__, #cond);                                                              \
    } while (0)

/* For hot paths: debug and sanitizer builds only. */
#ifdef WAWO_DEBUG
#define WAWO_DCHECK(cond) WAWO_CHECK(cond)
#else
#define WAWO_DCHECK(cond) ((void)0)
#endif

#endif
