#include "sock.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"

#define NO_SLOT UINT32_MAX
enum { AHEAD = 4 }; /* what is visited so many slots later is fetched */
#define SEGMENT_BYTES (WAWO_TABLE_SEGMENT * sizeof(struct wawo_table_entry))

void wawo_sock_init(struct wawo_sock *s, enum wawo_sock_kind kind)
{
    memset(s, 0, sizeof *s);
    s->kind = (unsigned)kind & 15u;
    s->fd = -1;
}

void wawo_table_init(struct wawo_table *t, unsigned loop)
{
    memset(t, 0, sizeof *t);
    wawo_mutex_init(&t->lock);
    t->free = NO_SLOT;
    t->loop = loop;
}

void wawo_table_fini(struct wawo_table *t)
{
    int i;

    for (i = 0; i < WAWO_TABLE_SEGMENTS && t->segment[i] != NULL; i++)
        wawo_os_unmap(t->segment[i], SEGMENT_BYTES);
    wawo_mutex_fini(&t->lock);
}

static struct wawo_table_entry *entry(const struct wawo_table *t, unsigned slot)
{
    return &wawo_load(&t->segment[slot / WAWO_TABLE_SEGMENT])[slot % WAWO_TABLE_SEGMENT];
}

/* A free slot, NO_SLOT when there is none. Under the lock. */
static uint32_t take_slot(struct wawo_table *t)
{
    uint32_t slot = t->free;
    struct wawo_table_entry *seg;

    if (slot != NO_SLOT) {
        t->free = entry(t, slot)->next_free;
        return slot;
    }
    slot = t->slots;
    if (slot == WAWO_TABLE_SEGMENT * WAWO_TABLE_SEGMENTS)
        return NO_SLOT;
    if (slot % WAWO_TABLE_SEGMENT == 0) {
        seg = wawo_os_map(SEGMENT_BYTES);
        if (seg == NULL)
            return NO_SLOT;
        wawo_store(&t->segment[slot / WAWO_TABLE_SEGMENT], seg);
    }
    t->slots++;
    return slot;
}

uint64_t wawo_table_open(struct wawo_table *t)
{
    struct wawo_table_entry *e;
    uint64_t id = 0;
    uint32_t slot;

    wawo_mutex_lock(&t->lock);
    slot = take_slot(t);
    if (slot != NO_SLOT) {
        e = entry(t, slot);
        /* One counter for the whole table: a slot meets the same generation again after 2^32 openings. */
        if (++t->last_generation == 0)
            t->last_generation = 1;
        e->generation = t->last_generation;
        e->shared = NULL;
        id = (uint64_t)e->generation << 32 | (uint64_t)t->loop << WAWO_ID_SLOT_BITS | slot;
        t->used++;
    }
    wawo_mutex_unlock(&t->lock);
    return id;
}

void wawo_table_publish(struct wawo_table *t, uint64_t id, void *shared)
{
    wawo_mutex_lock(&t->lock);
    entry(t, wawo_id_slot(id))->shared = shared;
    wawo_mutex_unlock(&t->lock);
}

void wawo_table_bind(struct wawo_table *t, uint64_t id, struct wawo_sock *s)
{
    s->id = id;
    wawo_store_relaxed(&entry(t, wawo_id_slot(id))->sock, s);
}

void wawo_table_close(struct wawo_table *t, uint64_t id)
{
    struct wawo_table_entry *e = entry(t, wawo_id_slot(id));

    wawo_mutex_lock(&t->lock);
    WAWO_CHECK(e->generation == (uint32_t)(id >> 32));
    e->generation = 0;
    e->shared = NULL;
    wawo_store_relaxed(&e->sock, NULL);
    e->next_free = t->free;
    t->free = wawo_id_slot(id);
    t->used--;
    wawo_mutex_unlock(&t->lock);
}

/* The entry of a live id of this table, else NULL. Under the lock. */
static struct wawo_table_entry *live_entry(const struct wawo_table *t, uint64_t id)
{
    struct wawo_table_entry *e;

    if (wawo_id_loop(id) != t->loop || wawo_id_slot(id) >= t->slots)
        return NULL;
    e = entry(t, wawo_id_slot(id));
    return e->generation != 0 && e->generation == (uint32_t)(id >> 32) && e->shared != NULL ? e : NULL;
}

void *wawo_table_shared(struct wawo_table *t, uint64_t id, void (*hold)(void *shared))
{
    struct wawo_table_entry *e;
    void *shared = NULL;

    wawo_mutex_lock(&t->lock);
    e = live_entry(t, id);
    if (e != NULL) {
        shared = e->shared;
        hold(shared);
    }
    wawo_mutex_unlock(&t->lock);
    return shared;
}

void wawo_table_each(struct wawo_table *t, void (*visit)(void *shared, void *arg), void *arg)
{
    uint32_t slot;

    wawo_mutex_lock(&t->lock);
    for (slot = 0; slot < t->slots; slot++)
        if (entry(t, slot)->generation != 0 && entry(t, slot)->shared != NULL)
            visit(entry(t, slot)->shared, arg);
    wawo_mutex_unlock(&t->lock);
}

static void fetch(const struct wawo_table_entry *e)
{
    const char *shared = e->shared;

    if (shared == NULL)
        return;
    wawo_prefetch(shared);
    wawo_prefetch(shared + WAWO_CACHE_LINE);
}

bool wawo_table_walk(struct wawo_table *t, uint32_t *slot, void (*visit)(void *shared, void *arg), void *arg)
{
    const struct wawo_table_entry *e;
    uint32_t end;
    bool more;

    wawo_mutex_lock(&t->lock);
    end = t->slots - *slot > WAWO_TABLE_WALK ? *slot + WAWO_TABLE_WALK : t->slots;
    for (; *slot < end; ++*slot) {
        if (*slot + AHEAD < end)
            fetch(entry(t, *slot + AHEAD));
        e = entry(t, *slot);
        if (e->generation != 0 && e->shared != NULL)
            visit(e->shared, arg);
    }
    more = end < t->slots;
    wawo_mutex_unlock(&t->lock);
    return more;
}

void wawo_table_visit(struct wawo_table *t, const uint64_t *ids, size_t n, void (*visit)(void *shared, void *arg),
                      void *arg)
{
    const struct wawo_table_entry *e;
    size_t i, piece;

    for (; n > 0; n -= piece, ids += piece) {
        piece = wawo_min_size(n, WAWO_TABLE_WALK);
        wawo_mutex_lock(&t->lock);
        for (i = 0; i < piece; i++) {
            if (i + AHEAD < piece && (e = live_entry(t, ids[i + AHEAD])) != NULL)
                fetch(e);
            e = live_entry(t, ids[i]);
            if (e != NULL)
                visit(e->shared, arg);
        }
        wawo_mutex_unlock(&t->lock);
    }
}
