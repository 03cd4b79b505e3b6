/* F1 pool: chunks of one size for one loop, cut from maps of its own, with a hard limit. A chunk is shared by
 * reference count and comes home from any thread; the pool outlives its loop until the last chunk is home. */
#ifndef WAWO_MEM_POOL_H
#define WAWO_MEM_POOL_H

#include "../base/mpsc.h"

struct wawo_pool;

struct wawo_chunk {
    uint32_t refs;          /* atomic */
    uint32_t exported;      /* shown to Python: off the pool's account; set on its loop */
    size_t used;            /* bytes written so far; its loop only */
    size_t cap;             /* bytes in data */
    struct wawo_pool *pool; /* home; NULL: from the general heap, of any size */
    struct wawo_node node;  /* on the way home from another thread, or free */
    char pad[WAWO_CACHE_LINE - 8 - 2 * sizeof(size_t) - sizeof(void *) - sizeof(struct wawo_node)];
    uint8_t data[];
};

enum {
    WAWO_CHUNK_DATA = 128 * 1024, /* all of a power of two, else such a message costs one more read and write */
    WAWO_CHUNK_TOTAL = WAWO_CHUNK_DATA + WAWO_CACHE_LINE /* header and data */
};

struct wawo_pool_stats {
    size_t limit;    /* chunks */
    size_t used;     /* chunks out, exported ones not counted */
    size_t exported; /* chunks that views hold */
    size_t bytes;    /* mapped */
    size_t starved;  /* times a take was refused */
};

/* `limit_bytes` is rounded down to whole chunks, at least 8. NULL: no memory. */
struct wawo_pool *wawo_pool_new(size_t limit_bytes);
/* Makes this thread the pool's own: only it may take. */
void wawo_pool_bind(struct wawo_pool *p);
/* The loop's end: the pool goes as soon as all chunks are home. Owner. */
void wawo_pool_release(struct wawo_pool *p);
/* An empty chunk with one reference, leaving `reserve` chunks for others; NULL at the limit. Owner. */
struct wawo_chunk *wawo_pool_take(struct wawo_pool *p, size_t reserve);
/* Fetches what came home from other threads; true when there was any. Owner. */
bool wawo_pool_collect(struct wawo_pool *p);
/* Takes a chunk off the account because Python may keep it for long. False: the quota of exported chunks is spent,
 * copy instead. Owner. */
bool wawo_pool_export(struct wawo_chunk *c);
/* Chunks that may still be taken. Owner. */
size_t wawo_pool_left(const struct wawo_pool *p);
/* Any thread. */
void wawo_pool_stats(const struct wawo_pool *p, struct wawo_pool_stats *out);

/* A chunk of any size from the general heap, one reference; NULL: no memory. Any thread. */
struct wawo_chunk *wawo_chunk_new(size_t cap);
/* Any thread. */
void wawo_chunk_hold(struct wawo_chunk *c);
void wawo_chunk_drop(struct wawo_chunk *c);
/* Many references at once; gives back some of those, never the last one. Any thread. */
void wawo_chunk_hold_many(struct wawo_chunk *c, uint32_t n);
void wawo_chunk_drop_many(struct wawo_chunk *c, uint32_t n);
/* No one else holds it: it may be written from the start again. */
bool wawo_chunk_sole(const struct wawo_chunk *c);
/* Chunks alive in the process, pooled and general. Any thread. */
size_t wawo_chunk_live(void);

#endif
