/* F2 warm: has a part of a file read into memory by the pool for what blocks, so that a loop never waits for a disk. */
#ifndef WAWO_IO_WARM_H
#define WAWO_IO_WARM_H

#include "loop.h"

/* How many of the next `want` bytes of a file are in memory; 0: not all of them. Loop. */
size_t wawo_warm_cached(struct wawo_file *f, size_t want);

/* Called on the loop, unless that has ended: `error` is 0 or why the file cannot be read. `file` is valid in the call. */
typedef void (*wawo_warm_answer)(void *arg, uint64_t id, struct wawo_file *file, size_t len, int error);

/* Reads the next `len` bytes of `file`, holding it meanwhile; starts to read `ahead` bytes behind them. `id` says who
 * asks; that one may be gone when the answer comes. WAWO_ENOMEM: nothing was started. Loop. */
int wawo_warm_start(struct wawo_loop *loop, uint64_t id, struct wawo_file *file, size_t len, size_t ahead,
                    wawo_warm_answer answer, void *arg);

#endif
