/* F1 ring: a buffer ring, the queue of bytes of one direction of one connection. Its unit is the slice: a run of bytes
 * inside a chunk, or on loan from Python, or a part of a file. A heap is what the rings of one loop draw from. One
 * thread. */
#ifndef WAWO_MEM_RING_H
#define WAWO_MEM_RING_H

#include "file.h"
#include "pool.h"
#include "slab.h"

struct wawo_iov;

/* What a slice's owner is. */
enum wawo_slice_kind {
    WAWO_SLICE_CHUNK, /* one reference of a chunk */
    WAWO_SLICE_LOAN,  /* the opaque owner of borrowed bytes */
    WAWO_SLICE_FILE   /* one reference of a file; len is its weight until all of it is sent */
};

struct wawo_slice {
    struct wawo_slice *next;
    const uint8_t *ptr;
    size_t len;
    void *owner;
    uint8_t kind; /* enum wawo_slice_kind */
    bool general; /* from the general heap: made by another thread */
    uint16_t place; /* general: in a block of many, counted from 1; 0: alone */
};

/* A loop's private heap: its chunk pool, its slices, the chunk that small sends share. */
struct wawo_heap {
    struct wawo_pool *pool;
    struct wawo_slab slices;
    struct wawo_chunk *tx;     /* small copies are packed here one after the other */
    struct wawo_slice *loans;  /* borrowed bytes that are done with, owner not yet told */
    size_t loan_bytes;         /* in loans */
    size_t receive_reserve;    /* chunks that sending leaves to receiving */
};

struct wawo_ring {
    struct wawo_slice *head, *tail;
    size_t bytes; /* in memory, a file being WAWO_FILE_WEIGHT: 0 if there is nothing, or a loan of no bytes */
};

/* Its thread then calls wawo_pool_bind(). WAWO_ENOMEM. */
int wawo_heap_init(struct wawo_heap *h, size_t limit_bytes);
void wawo_heap_fini(struct wawo_heap *h);
/* The owner of the next finished loan, NULL when there is none: the caller gives it back. */
void *wawo_heap_next_loan(struct wawo_heap *h);
/* Between turns: reuses the shared chunk from its start when nobody refers to it. */
void wawo_heap_rewind(struct wawo_heap *h);

static inline void wawo_ring_init(struct wawo_ring *r)
{
    memset(r, 0, sizeof *r);
}

/* Appends a copy. `own` keeps it out of the shared chunk: for a ring that will not be written soon, so that a few
 * bytes of a slow receiver do not hold a whole chunk. WAWO_ENOBUFS or WAWO_ENOMEM: nothing was appended. */
int wawo_ring_copy(struct wawo_ring *r, struct wawo_heap *h, const void *data, size_t len, bool own);
/* The same for a message with what goes around it, as one run: all of it or nothing. */
enum { WAWO_HEAD_ROOM = 16 };
struct wawo_run {
    const uint8_t *head; /* WAWO_HEAD_ROOM readable bytes, if there are any */
    size_t head_len;
    const void *data;
    size_t len;
    const uint8_t *tail;
    size_t tail_len;
};
/* WAWO_ENOBUFS or WAWO_ENOMEM: nothing was appended. */
int wawo_ring_copy_run(struct wawo_ring *r, struct wawo_heap *h, const struct wawo_run *m, bool own);
/* Writes a message for many rings: in the shared chunk behind what is there, or in a block of its own. Where it lies, and
 * in which chunk, with a reference that is the caller's; NULL: no memory. */
const uint8_t *wawo_heap_write(struct wawo_heap *h, const struct wawo_run *m, struct wawo_chunk **chunk);
/* Appends such a message: 1, and a reference of the chunk is taken over; 0: it stands right behind the last slice, which
 * was extended. WAWO_ENOBUFS: nothing was appended. */
int wawo_ring_share(struct wawo_ring *r, struct wawo_heap *h, const uint8_t *ptr, size_t len, struct wawo_chunk *chunk);
/* Appends without a copy and takes over one reference of `chunk` or the `loan`; on failure they stay the caller's. */
int wawo_ring_append(struct wawo_ring *r, struct wawo_heap *h, const uint8_t *ptr, size_t len, struct wawo_chunk *chunk,
                     void *loan);
/* The same for a reference of a file. */
int wawo_ring_append_file(struct wawo_ring *r, struct wawo_heap *h, struct wawo_file *file);
/* A slice for a ring of another thread's heap; the ownership as above. NULL: no memory. Any thread. */
struct wawo_slice *wawo_slice_new(const uint8_t *ptr, size_t len, struct wawo_chunk *chunk, void *loan);
struct wawo_slice *wawo_slice_new_file(struct wawo_file *file);
/* The same for whoever makes many: they share a block of memory. *block is NULL at first, then what to go on with; give
 * it back at the end. Any thread, each with its own block. */
struct wawo_slices;
struct wawo_slice *wawo_slice_new_many(struct wawo_slices **block, const uint8_t *ptr, size_t len,
                                       struct wawo_chunk *chunk);
void wawo_slices_drop(struct wawo_slices *block);
/* Appends slices that were made so, a list that ends with NULL. */
void wawo_ring_adopt(struct wawo_ring *r, struct wawo_slice *first);
/* The same for a ring that will not be written soon: copies what would hold much more than it shows. */
void wawo_ring_adopt_waiting(struct wawo_ring *r, struct wawo_heap *h, struct wawo_slice *first);
/* Gives such slices back that came into no ring. Any thread. */
void wawo_slice_undo(struct wawo_slice *first);
/* How far a ring is filled, to undo what is appended from here on. */
struct wawo_ring_mark {
    struct wawo_slice *tail;
    size_t tail_len, bytes;
};
static inline struct wawo_ring_mark wawo_ring_mark(const struct wawo_ring *r)
{
    return (struct wawo_ring_mark){r->tail, r->tail != NULL ? r->tail->len : 0, r->bytes};
}
/* Drops what was appended since the mark, as long as nothing was consumed. In both kinds of undoing the references of
 * chunks are dropped, also those that were taken over; loans and files are their owner's again. */
void wawo_ring_undo(struct wawo_ring *r, struct wawo_heap *h, const struct wawo_ring_mark *mark);
/* The chunk of a slice, NULL if it is in none. */
static inline struct wawo_chunk *wawo_slice_chunk(const struct wawo_slice *s)
{
    return s->kind == WAWO_SLICE_CHUNK ? s->owner : NULL;
}
/* Drops the first `n` bytes, which are in front of any file. */
void wawo_ring_consume(struct wawo_ring *r, struct wawo_heap *h, size_t n);
/* Drops the first slice, bytes or a file. */
void wawo_ring_pop(struct wawo_ring *r, struct wawo_heap *h);
/* Takes the first slice out, which must be there, and the bytes stay where they are. It is put back in front, or done
 * with. */
struct wawo_slice *wawo_ring_take(struct wawo_ring *r);
void wawo_ring_put_back(struct wawo_ring *r, struct wawo_slice *s);
void wawo_slice_done(struct wawo_slice *s, struct wawo_heap *h);
/* Moves a small rest that sits in shared or large chunks into blocks of its own. Best effort. */
void wawo_ring_settle(struct wawo_ring *r, struct wawo_heap *h);
void wawo_ring_clear(struct wawo_ring *r, struct wawo_heap *h);
/* Copies the first `n` bytes, which are in front of any file, to `out`. */
void wawo_ring_peek(const struct wawo_ring *r, void *out, size_t n);
/* Fills iov with the first slices, up to a file; returns how many. */
int wawo_ring_vector(const struct wawo_ring *r, struct wawo_iov *iov, int max);

#endif
