/* F2 reader: the way from the kernel into the chunk that all socks of a loop share, by the ordinary call. Reads lie there
 * one behind the other, a bounded part of them a turn. Backends that read so share it; inline, for it is in the path of
 * every message. Its loop's thread. */
#ifndef WAWO_IO_READER_H
#define WAWO_IO_READER_H

#include "../base/err.h"
#include "backend.h"

enum {
    WAWO_ROOM_SMALL = 4 * 1024, /* a read gets at least this much room */
    WAWO_ROOM_BULK = 64 * 1024, /* and one of a sock whose last read was large, this much */
    WAWO_READ_LARGE = 16 * 1024
};

struct wawo_reader {
    struct wawo_heap *heap;
    struct wawo_chunk *rx; /* NULL: none was needed yet */
    size_t bytes; /* read in this turn */
};

static inline void wawo_reader_init(struct wawo_reader *r, struct wawo_heap *heap)
{
    *r = (struct wawo_reader){.heap = heap};
}

static inline void wawo_reader_fini(struct wawo_reader *r)
{
    if (r->rx != NULL)
        wawo_chunk_drop(r->rx);
}

/* A turn begins: what nobody refers to any more is written over, while it is in the cache. */
static inline void wawo_reader_turn(struct wawo_reader *r)
{
    if (r->rx != NULL && r->rx->used != 0 && wawo_chunk_sole(r->rx))
        r->rx->used = 0;
    r->bytes = 0;
}

/* The chunk for the next read, with room; NULL when the pool is at its limit. */
static inline struct wawo_chunk *wawo_reader_room(struct wawo_reader *r, size_t need)
{
    struct wawo_chunk *c = r->rx;

    if (wawo_likely(c != NULL && c->cap - c->used >= need))
        return c;
    if (c != NULL && wawo_chunk_sole(c)) {
        c->used = 0;
        return c;
    }
    c = wawo_pool_take(r->heap->pool, 0);
    if (c != NULL) {
        if (r->rx != NULL)
            wawo_chunk_drop(r->rx);
        r->rx = c;
    }
    return c;
}

/* One read. More than 0: *d is the event; else 0 or a negative code, WAWO_ENOBUFS without a chunk, and the rest is the
 * caller's. `large` is the flag of a sock that remembers a large read. */
static wawo_inline ptrdiff_t wawo_reader_read(struct wawo_reader *r, struct wawo_sock *s, unsigned large,
                                              struct wawo_done *d)
{
    struct wawo_chunk *c = wawo_reader_room(r, s->flags & large ? WAWO_ROOM_BULK : WAWO_ROOM_SMALL);
    size_t room;
    ptrdiff_t n;

    if (wawo_unlikely(c == NULL))
        return WAWO_ENOBUFS;
    room = c->cap - c->used;
    if (wawo_unlikely(s->aux != 0))
        room = wawo_min_size(room, (size_t)1 << s->aux);
    n = wawo_os_recv(s->fd, c->data + c->used, room);
    if (wawo_unlikely(n <= 0))
        return n;
    d->id = s->id;
    d->kind = WAWO_DONE_RECV;
    d->error = 0;
    d->chunk = c;
    d->ptr = c->data + c->used;
    d->len = (size_t)n;
    wawo_chunk_hold(c);
    c->used += (size_t)n;
    r->bytes += (size_t)n;
    s->flags = (n >= WAWO_READ_LARGE ? s->flags | large : s->flags & ~large) & 0xffu;
    return n;
}

#endif
