#include "sock.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"

#define NO_SLOT UINT32_MAX
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

void *wawo_table_shared(struct wawo_table *t, uint64_t id, void (*hold)(void *shared))
{
    void *shared = NULL;

    wawo_mutex_lock(&t->lock);
    if (wawo_id_slot(id) < t->slots) {
        struct wawo_table_entry *e = entry(t, wawo_id_slot(id));

        if (e->generation != 0 && e->generation == (uint32_t)(id >> 32) && e->shared != NULL) {
            shared = e->shared;
            hold(shared);
        }
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
