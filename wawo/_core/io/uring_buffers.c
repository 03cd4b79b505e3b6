#include "uring_buffers.h"

#include "../base/check.h"
#include "../base/err.h"
#include "../base/os.h"

#include <sys/mman.h>

enum {
    PIECE = 16 * 1024, /* of a chunk, where the kernel gives a whole buffer to each read */
    CHUNKS_FEW = 2,    /* lent at a time: small reads go round in them, and they stay in the cache */
    CHUNKS_MANY = 4,   /* when that was too few; whoever is paused may still get as much */
    PATIENCE = 1024    /* turns until it is tried with fewer again */
};
#define RING_BYTES (WAWO_URING_LENT * sizeof(struct uring_buf))

static uint32_t pretended; /* atomic: without packing */

void wawo_uring_buffers_pretend(bool unpacked)
{
    wawo_store(&pretended, unpacked);
}

static unsigned pieces(const struct wawo_uring_buffers *l)
{
    return l->packed ? 1 : WAWO_CHUNK_DATA / PIECE;
}

static int tell_kernel(struct wawo_uring_buffers *l, const struct wawo_uring *u)
{
    struct uring_buf_reg reg = {.ring_addr = (uintptr_t)l->ring, .ring_entries = WAWO_URING_LENT};
    int err;

    reg.flags = URING_PBUF_INC;
    err = wawo_load(&pretended) ? WAWO_EINVAL : wawo_uring_register(u, URING_REGISTER_PBUF_RING, &reg, 1);
    l->packed = err == 0;
    if (err != WAWO_EINVAL)
        return err;
    reg.flags = 0;
    return wawo_uring_register(u, URING_REGISTER_PBUF_RING, &reg, 1);
}

int wawo_uring_buffers_open(struct wawo_uring_buffers *l, const struct wawo_uring *u, struct wawo_heap *heap)
{
    size_t chunks = 1;
    unsigned i;
    int err;

    memset(l, 0, sizeof *l);
    l->heap = heap;
    l->ring = wawo_os_map(RING_BYTES);
    if (l->ring == NULL)
        return WAWO_ENOMEM;
    (void)madvise(l->ring, RING_BYTES, MADV_DONTFORK); /* a child must not make us write to a copy */
    err = tell_kernel(l, u);
    if (err != 0) {
        wawo_uring_buffers_close(l);
        return err;
    }
    if (heap != NULL) /* part of what is kept for receiving */
        chunks = wawo_max_size(wawo_min_size(heap->receive_reserve / 2, CHUNKS_MANY), 1);
    l->most = (unsigned)chunks * pieces(l);
    l->want = (unsigned)wawo_min_size(chunks, CHUNKS_FEW) * pieces(l);
    for (i = 0; i < WAWO_URING_LENT; i++)
        l->spare[l->spare_count++] = (uint16_t)(WAWO_URING_LENT - 1 - i);
    return 0;
}

void wawo_uring_buffers_close(struct wawo_uring_buffers *l)
{
    unsigned i;

    for (i = 0; i < WAWO_URING_LENT; i++)
        if (l->lent[i].chunk != NULL)
            wawo_chunk_drop(l->lent[i].chunk);
    if (l->ring != NULL)
        wawo_os_unmap(l->ring, RING_BYTES);
}

/* Takes over a reference of the chunk. */
static void lend(struct wawo_uring_buffers *l, struct wawo_chunk *c, uint32_t at, uint32_t end)
{
    uint16_t place = l->spare[--l->spare_count];
    struct uring_buf *b = &l->ring[l->tail & (WAWO_URING_LENT - 1)];

    l->lent[place] = (struct wawo_uring_lent){c, at, end};
    b->addr = (uintptr_t)(c->data + at);
    b->len = end - at;
    b->bid = place;
    l->tail++;
    l->out++;
}

bool wawo_uring_buffers_fill(struct wawo_uring_buffers *l)
{
    unsigned n = pieces(l), i;
    struct wawo_chunk *c;

    if (wawo_likely(l->out + n > l->want)) {
        if (l->want > CHUNKS_FEW * n && ++l->full > PATIENCE) {
            l->full = 0;
            l->want -= n;
        }
        return true;
    }
    while (l->out + n <= l->want) {
        c = wawo_pool_take(l->heap->pool, 0);
        if (c == NULL)
            break;
        if (n > 1)
            wawo_chunk_hold_many(c, n - 1);
        for (i = 0; i < n; i++)
            lend(l, c, (uint32_t)(c->cap / n * i), (uint32_t)(c->cap / n * (i + 1)));
    }
    wawo_store(&l->ring->reserved, l->tail); /* the tail of the ring lies there */
    return l->out > 0;
}

void wawo_uring_buffers_more(struct wawo_uring_buffers *l)
{
    l->full = 0;
    l->want = (unsigned)wawo_min_size((size_t)l->want * 2, l->most);
}

const uint8_t *wawo_uring_buffers_took(struct wawo_uring_buffers *l, uint32_t flags, size_t len,
                                       struct wawo_chunk **chunk)
{
    struct wawo_uring_lent *t = &l->lent[flags >> URING_CQE_BUFFER_SHIFT];
    struct wawo_chunk *c = t->chunk;
    const uint8_t *ptr = c->data + t->at;
    bool stays = l->packed && (flags & URING_CQE_BUF_MORE);

    WAWO_CHECK(len <= t->end - t->at);
    *chunk = NULL;
    if (len > 0) {
        t->at += (uint32_t)len;
        if (c->used < t->at)
            c->used = t->at;
        *chunk = c;
    }
    if (stays) {
        if (len > 0)
            wawo_chunk_hold(c);
        return ptr;
    }
    t->chunk = NULL;
    l->out--;
    l->spare[l->spare_count++] = (uint16_t)(t - l->lent);
    if (len == 0)
        wawo_chunk_drop(c);
    return ptr;
}
