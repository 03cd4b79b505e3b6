#include "ring.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "../base/os.h"

enum {
    COPY_SHARED_MAX = 32 * 1024, /* larger copies get a block of their own size */
    OWN_BLOCK_MIN = 4 * 1024,    /* a slow receiver's first block: room for more small sends */
    SETTLE_MAX = 8 * 1024,       /* a rest up to this size is moved out of shared chunks */
    SPARSE = 8,                  /* a slice of less than this part of a large block is sparse */
    BLOCK_SLICES = 64
};

struct wawo_slices {
    uint32_t refs; /* atomic: slices that live or may still be made, and whoever makes them */
    uint16_t used;
    struct wawo_slice items[BLOCK_SLICES];
};

int wawo_heap_init(struct wawo_heap *h, size_t limit_bytes)
{
    memset(h, 0, sizeof *h);
    h->pool = wawo_pool_new(limit_bytes);
    if (h->pool == NULL)
        return WAWO_ENOMEM;
    h->receive_reserve = wawo_pool_left(h->pool) / 4;
    wawo_slab_init(&h->slices, sizeof(struct wawo_slice), limit_bytes / sizeof(struct wawo_slice) / 2 + 1024);
    return 0;
}

void wawo_heap_fini(struct wawo_heap *h)
{
    WAWO_CHECK(h->loans == NULL);
    if (h->tx != NULL)
        wawo_chunk_drop(h->tx);
    wawo_slab_fini(&h->slices);
    wawo_pool_release(h->pool);
}

static void slices_unref(struct wawo_slices *block, uint32_t n)
{
    if (wawo_sub(&block->refs, n) == n)
        wawo_free(block);
}

static void general_free(struct wawo_slice *s)
{
    if (s->place == 0)
        wawo_free(s);
    else
        slices_unref(wawo_container_of(s - (s->place - 1), struct wawo_slices, items), 1);
}

static void slice_give(struct wawo_slice *s, struct wawo_heap *h)
{
    if (wawo_unlikely(s->general))
        general_free(s);
    else
        wawo_slab_give(&h->slices, s);
}

void *wawo_heap_next_loan(struct wawo_heap *h)
{
    struct wawo_slice *s = h->loans;
    void *loan;

    if (s == NULL)
        return NULL;
    h->loans = s->next;
    if (h->loans == NULL)
        h->loan_bytes = 0;
    loan = s->owner;
    slice_give(s, h);
    return loan;
}

void wawo_heap_rewind(struct wawo_heap *h)
{
    if (h->tx != NULL && h->tx->used != 0 && wawo_chunk_sole(h->tx))
        h->tx->used = 0;
}

static void slice_free(struct wawo_slice *s, struct wawo_heap *h)
{
    if (wawo_likely(s->kind == WAWO_SLICE_CHUNK)) {
        wawo_chunk_drop(s->owner);
    } else if (s->kind == WAWO_SLICE_LOAN) { /* its owner is told with the next batch */
        h->loan_bytes += s->len;
        s->next = h->loans;
        h->loans = s;
        return;
    } else if (s->owner != NULL) {
        wawo_file_drop(s->owner);
    }
    slice_give(s, h);
}

static void slice_set(struct wawo_slice *s, const uint8_t *ptr, size_t len, struct wawo_chunk *chunk, void *loan)
{
    s->next = NULL;
    s->ptr = ptr;
    s->len = len;
    s->owner = loan != NULL ? loan : chunk;
    s->kind = loan != NULL ? WAWO_SLICE_LOAN : WAWO_SLICE_CHUNK;
    s->general = false;
    s->place = 0;
}

static void slice_set_file(struct wawo_slice *s, struct wawo_file *file)
{
    slice_set(s, NULL, WAWO_FILE_WEIGHT, NULL, NULL);
    s->owner = file;
    s->kind = WAWO_SLICE_FILE;
}

static void ring_link(struct wawo_ring *r, struct wawo_slice *s)
{
    if (r->tail != NULL)
        r->tail->next = s;
    else
        r->head = s;
    r->tail = s;
    r->bytes += s->len;
}

int wawo_ring_append(struct wawo_ring *r, struct wawo_heap *h, const uint8_t *ptr, size_t len, struct wawo_chunk *chunk,
                     void *loan)
{
    struct wawo_slice *s = wawo_slab_take(&h->slices);

    if (wawo_unlikely(s == NULL))
        return WAWO_ENOBUFS;
    slice_set(s, ptr, len, chunk, loan);
    ring_link(r, s);
    return 0;
}

int wawo_ring_append_file(struct wawo_ring *r, struct wawo_heap *h, struct wawo_file *file)
{
    struct wawo_slice *s = wawo_slab_take(&h->slices);

    if (s == NULL)
        return WAWO_ENOBUFS;
    slice_set_file(s, file);
    ring_link(r, s);
    return 0;
}

struct wawo_slice *wawo_slice_new(const uint8_t *ptr, size_t len, struct wawo_chunk *chunk, void *loan)
{
    struct wawo_slice *s = wawo_alloc(sizeof *s);

    if (s != NULL) {
        slice_set(s, ptr, len, chunk, loan);
        s->general = true;
    }
    return s;
}

struct wawo_slice *wawo_slice_new_file(struct wawo_file *file)
{
    struct wawo_slice *s = wawo_alloc(sizeof *s);

    if (s != NULL) {
        slice_set_file(s, file);
        s->general = true;
    }
    return s;
}

void wawo_slice_undo(struct wawo_slice *first)
{
    struct wawo_slice *next;

    for (; first != NULL; first = next) {
        next = first->next;
        if (first->kind == WAWO_SLICE_CHUNK)
            wawo_chunk_drop(first->owner);
        wawo_free(first);
    }
}

void wawo_ring_undo(struct wawo_ring *r, struct wawo_heap *h, const struct wawo_ring_mark *mark)
{
    struct wawo_slice *s = mark->tail != NULL ? mark->tail->next : r->head, *next;

    for (; s != NULL; s = next) {
        next = s->next;
        if (s->kind == WAWO_SLICE_CHUNK)
            wawo_chunk_drop(s->owner);
        slice_give(s, h);
    }
    r->tail = mark->tail;
    r->bytes = mark->bytes;
    if (mark->tail != NULL) {
        mark->tail->next = NULL;
        mark->tail->len = mark->tail_len; /* the room that was used behind it stays unused */
    } else {
        r->head = NULL;
    }
}

struct wawo_slice *wawo_slice_new_many(struct wawo_slices **block, const uint8_t *ptr, size_t len,
                                       struct wawo_chunk *chunk)
{
    struct wawo_slices *b = *block;
    struct wawo_slice *s;

    if (b == NULL || b->used == BLOCK_SLICES) {
        if (b != NULL)
            wawo_slices_drop(b);
        *block = b = wawo_alloc(sizeof *b);
        if (b == NULL)
            return NULL;
        b->refs = BLOCK_SLICES + 1;
        b->used = 0;
    }
    s = &b->items[b->used++];
    slice_set(s, ptr, len, chunk, NULL);
    s->general = true;
    s->place = b->used;
    return s;
}

void wawo_slices_drop(struct wawo_slices *block)
{
    slices_unref(block, BLOCK_SLICES + 1u - block->used);
}

void wawo_ring_adopt(struct wawo_ring *r, struct wawo_slice *first)
{
    struct wawo_slice *next;

    for (; first != NULL; first = next) {
        next = first->next;
        first->next = NULL;
        ring_link(r, first);
    }
}

static inline size_t run_size(const struct wawo_run *m)
{
    return m->head_len + m->len + m->tail_len;
}

/* Writes a message to where the chunk has room for it. */
static inline void put(struct wawo_chunk *c, const struct wawo_run *m)
{
    uint8_t *to = c->data + c->used;

    if (m->head_len > 0) {
        if (wawo_likely(c->cap - c->used >= WAWO_HEAD_ROOM + m->len))
            memcpy(to, m->head, WAWO_HEAD_ROOM); /* one store; what is too much is written over */
        else
            memcpy(to, m->head, m->head_len);
        to += m->head_len;
    }
    memcpy(to, m->data, m->len);
    if (m->tail_len > 0)
        memcpy(to + m->len, m->tail, m->tail_len);
    c->used += run_size(m);
}

/* Appends to the last slice where its chunk has room right behind it. */
static inline bool extend_tail(struct wawo_ring *r, struct wawo_chunk *c, const struct wawo_run *m)
{
    struct wawo_slice *t = r->tail;
    size_t n = run_size(m);

    if (t == NULL || t->owner != c || t->ptr + t->len != c->data + c->used || c->cap - c->used < n)
        return false;
    put(c, m);
    t->len += n;
    r->bytes += n;
    return true;
}

/* The shared chunk with room for `len` bytes; NULL when sending is at its share of the pool. */
static struct wawo_chunk *shared_chunk(struct wawo_heap *h, size_t len)
{
    struct wawo_chunk *c = h->tx;

    if (wawo_likely(c != NULL && c->cap - c->used >= len))
        return c;
    if (c != NULL && wawo_chunk_sole(c)) {
        c->used = 0;
        return c;
    }
    if (c != NULL)
        wawo_chunk_drop(c);
    h->tx = wawo_pool_take(h->pool, h->receive_reserve);
    return h->tx;
}

static int copy_own(struct wawo_ring *r, struct wawo_heap *h, const struct wawo_run *m)
{
    struct wawo_chunk *c = r->tail != NULL ? wawo_slice_chunk(r->tail) : NULL;
    size_t n = run_size(m);
    int err;

    if (c != NULL && c->pool == NULL && wawo_chunk_sole(c) && extend_tail(r, c, m))
        return 0;
    c = wawo_chunk_new(n > OWN_BLOCK_MIN ? n : OWN_BLOCK_MIN);
    if (c == NULL)
        return WAWO_ENOMEM;
    put(c, m);
    err = wawo_ring_append(r, h, c->data, n, c, NULL);
    if (err != 0)
        wawo_chunk_drop(c);
    return err;
}

int wawo_ring_copy_run(struct wawo_ring *r, struct wawo_heap *h, const struct wawo_run *m, bool own)
{
    size_t n = run_size(m);
    struct wawo_chunk *c = h->tx;
    int err;

    if (wawo_likely(c != NULL && !own) && extend_tail(r, c, m))
        return 0;
    if (n == 0)
        return 0;
    if (own || n > COPY_SHARED_MAX || (c = shared_chunk(h, n)) == NULL)
        return copy_own(r, h, m);
    err = wawo_ring_append(r, h, c->data + c->used, n, c, NULL);
    if (wawo_unlikely(err != 0))
        return err;
    wawo_chunk_hold(c);
    put(c, m); /* no padding behind it: the next copy for this ring extends the slice */
    return 0;
}

int wawo_ring_copy(struct wawo_ring *r, struct wawo_heap *h, const void *data, size_t len, bool own)
{
    struct wawo_run m = {NULL, 0, data, len, NULL, 0};

    return len > 0 ? wawo_ring_copy_run(r, h, &m, own) : 0;
}

const uint8_t *wawo_heap_write(struct wawo_heap *h, const struct wawo_run *m, struct wawo_chunk **chunk)
{
    size_t n = run_size(m);
    struct wawo_chunk *c = n <= COPY_SHARED_MAX ? shared_chunk(h, n) : NULL;

    if (c != NULL)
        wawo_chunk_hold(c);
    else
        c = wawo_chunk_new(n);
    if (c == NULL)
        return NULL;
    put(c, m);
    *chunk = c;
    return c->data + c->used - n;
}

int wawo_ring_share(struct wawo_ring *r, struct wawo_heap *h, const uint8_t *ptr, size_t len, struct wawo_chunk *chunk)
{
    struct wawo_slice *t = r->tail;
    int err;

    if (t != NULL && t->owner == chunk && t->ptr + t->len == ptr) {
        t->len += len;
        r->bytes += len;
        return 0;
    }
    err = wawo_ring_append(r, h, ptr, len, chunk, NULL);
    return err == 0 ? 1 : err;
}

/* Holds much more memory than it shows; a pool has its own limit. */
static bool is_sparse(const struct wawo_slice *s)
{
    const struct wawo_chunk *c = wawo_slice_chunk(s);

    return c != NULL && c->pool == NULL && c->cap > SETTLE_MAX && s->len < c->cap / SPARSE;
}

void wawo_ring_adopt_waiting(struct wawo_ring *r, struct wawo_heap *h, struct wawo_slice *first)
{
    struct wawo_slice *next;

    for (; first != NULL; first = next) {
        next = first->next;
        first->next = NULL;
        if (is_sparse(first) && wawo_ring_copy(r, h, first->ptr, first->len, true) == 0)
            slice_free(first, h);
        else
            ring_link(r, first);
    }
}

void wawo_ring_consume(struct wawo_ring *r, struct wawo_heap *h, size_t n)
{
    struct wawo_slice *s;

    WAWO_DCHECK(n <= r->bytes);
    r->bytes -= n;
    while ((s = r->head) != NULL && n >= s->len) { /* an empty slice, lent with no bytes, goes too; a file has weight */
        n -= s->len;
        r->head = s->next;
        if (r->head == NULL)
            r->tail = NULL;
        slice_free(s, h);
    }
    if (n > 0) {
        WAWO_DCHECK(s != NULL);
        s->ptr += n;
        s->len -= n;
    }
}

struct wawo_slice *wawo_ring_take(struct wawo_ring *r)
{
    struct wawo_slice *s = r->head;

    r->bytes -= s->len;
    r->head = s->next;
    if (r->head == NULL)
        r->tail = NULL;
    return s;
}

void wawo_ring_put_back(struct wawo_ring *r, struct wawo_slice *s)
{
    s->next = r->head;
    r->head = s;
    if (r->tail == NULL)
        r->tail = s;
    r->bytes += s->len;
}

void wawo_slice_done(struct wawo_slice *s, struct wawo_heap *h)
{
    slice_free(s, h);
}

void wawo_ring_pop(struct wawo_ring *r, struct wawo_heap *h)
{
    slice_free(wawo_ring_take(r), h);
}

/* Moving it would spare nothing. */
static bool is_own(const struct wawo_slice *s)
{
    const struct wawo_chunk *c = wawo_slice_chunk(s);

    return c == NULL || (c->pool == NULL && c->cap <= SETTLE_MAX);
}

/* The files of a ring that goes are another ring's. */
static void forget_files(struct wawo_ring *r)
{
    struct wawo_slice *s;

    for (s = r->head; s != NULL; s = s->next)
        if (s->kind == WAWO_SLICE_FILE)
            s->owner = NULL;
}

void wawo_ring_settle(struct wawo_ring *r, struct wawo_heap *h)
{
    struct wawo_ring fresh, *old = r;
    struct wawo_slice *s;
    int err = 0;

    if (r->bytes == 0 || r->bytes > SETTLE_MAX)
        return;
    for (s = r->head; s != NULL && is_own(s); s = s->next)
        continue;
    if (s == NULL)
        return;
    wawo_ring_init(&fresh);
    for (s = r->head; s != NULL && err == 0; s = s->next)
        err = s->kind == WAWO_SLICE_FILE ? wawo_ring_append_file(&fresh, h, s->owner)
                                         : wawo_ring_copy(&fresh, h, s->ptr, s->len, true);
    if (err != 0)
        old = &fresh;
    forget_files(old);
    wawo_ring_clear(old, h);
    if (err == 0)
        *r = fresh;
}

void wawo_ring_clear(struct wawo_ring *r, struct wawo_heap *h)
{
    wawo_ring_consume(r, h, r->bytes);
}

int wawo_ring_vector(const struct wawo_ring *r, struct wawo_iov *iov, int max)
{
    const struct wawo_slice *s;
    int n = 0;

    for (s = r->head; s != NULL && n < max && s->kind != WAWO_SLICE_FILE; s = s->next, n++) {
        iov[n].base = (void *)(uintptr_t)s->ptr;
        iov[n].len = s->len;
    }
    return n;
}

void wawo_ring_peek(const struct wawo_ring *r, void *out, size_t n)
{
    const struct wawo_slice *s;
    uint8_t *to = out;
    size_t take;

    WAWO_DCHECK(n <= r->bytes);
    for (s = r->head; n > 0; s = s->next) {
        take = wawo_min_size(n, s->len);
        memcpy(to, s->ptr, take);
        to += take;
        n -= take;
    }
}
