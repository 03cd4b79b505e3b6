/* The surface of pieces.c. */
#ifndef BENCH_PIECES_H
#define BENCH_PIECES_H

#include <stddef.h>

#define PIECES_API __attribute__((visibility("default")))

/* NULL behind the last. */
PIECES_API const char *pieces_name(unsigned index);
/* Makes what the piece works on; its index, -1 if there is none of that name. */
PIECES_API int pieces_prepare(const char *name);
/* `n` operations of the piece that was prepared last. */
PIECES_API void pieces_run(int index, size_t n);

#endif
