/* F2 sock: what a backend knows of one descriptor, and the table that finds it again by id. Ids cross threads and go to
 * the kernel as tags; pointers do neither. An id is slot, loop and generation: a stale one finds nothing. */
#ifndef WAWO_IO_SOCK_H
#define WAWO_IO_SOCK_H

#include "../base/atomic.h"
#include "../base/os.h"
#include "../mem/ring.h"

/* Whose struct a sock is embedded in; the floor above chooses by it. */
enum wawo_sock_kind { WAWO_SOCK_CONN, WAWO_SOCK_LISTENER, WAWO_SOCK_ATTEMPT };

struct wawo_sock {
    uint64_t id; /* from its table */
    int32_t fd; /* owned while attached, else -1 */
    unsigned kind : 4;
    unsigned want : 2; /* backend: readiness wished; its own where there is none */
    unsigned armed : 2; /* backend: readiness the kernel knows of; the same */
    unsigned orders : 7; /* backend: standing orders */
    unsigned reading : 1; /* backend: a file in `out` is being read from its disk; the peer is not waited for */
    unsigned flags : 8; /* backend */
    /* backend: accepts in one go, or the errno of a connect; a connection's owner: the most bytes that one read should
     * take, as a power of two, 0 = any */
    unsigned aux : 8;
    struct wawo_sock *next; /* backend: changed since the last wait */
    struct wawo_ring out; /* bytes that wait for the kernel, in wire form */
};

/* No id, no descriptor, an empty ring. */
void wawo_sock_init(struct wawo_sock *s, enum wawo_sock_kind kind);

enum { WAWO_ID_SLOT_BITS = 24, WAWO_ID_LOOP_BITS = 8 };

static inline unsigned wawo_id_slot(uint64_t id)
{
    return (unsigned)(id & ((1u << WAWO_ID_SLOT_BITS) - 1));
}
static inline unsigned wawo_id_loop(uint64_t id)
{
    return (unsigned)(id >> WAWO_ID_SLOT_BITS) & ((1u << WAWO_ID_LOOP_BITS) - 1);
}

enum { WAWO_TABLE_SEGMENT = 4096, WAWO_TABLE_SEGMENTS = 4096 };
enum { WAWO_TABLE_WALK = 256 }; /* slots that one call of wawo_table_walk looks at */

struct wawo_table_entry {
    struct wawo_sock *sock; /* the loop reads and writes it; atomic: a slot may be given back elsewhere */
    void *shared; /* what any thread may hold, under the lock */
    uint32_t generation; /* 0 = free */
    uint32_t next_free;
};

struct wawo_table {
    struct wawo_mutex lock; /* slots and `shared`; finding a sock on the loop needs none */
    struct wawo_table_entry *segment[WAWO_TABLE_SEGMENTS];
    uint32_t slots, free, loop;
    uint32_t last_generation;
    size_t used;
};

/* Empty, of this loop; fini gives the segments back when no thread asks any more. */
void wawo_table_init(struct wawo_table *t, unsigned loop);
void wawo_table_fini(struct wawo_table *t);
/* A new id that finds nothing yet; 0: out of slots or memory. Any thread. */
uint64_t wawo_table_open(struct wawo_table *t);
/* From now on any thread reaches `shared`, which must be complete, by its id. Whoever opened the id. */
void wawo_table_publish(struct wawo_table *t, uint64_t id, void *shared);
/* Loop. */
void wawo_table_bind(struct wawo_table *t, uint64_t id, struct wawo_sock *s);
/* NULL: stale, or nothing bound yet. Loop. */
static inline struct wawo_sock *wawo_table_find(const struct wawo_table *t, uint64_t id)
{
    unsigned slot = wawo_id_slot(id);
    const struct wawo_table_entry *e = wawo_load(&t->segment[slot / WAWO_TABLE_SEGMENT]);
    struct wawo_sock *s;

    if (wawo_unlikely(e == NULL))
        return NULL;
    e += slot % WAWO_TABLE_SEGMENT;
    s = wawo_load_relaxed(&e->sock);
    return wawo_likely(s != NULL && s->id == id) ? s : NULL;
}
/* Frees the slot; from then on the id is stale. Loop. */
void wawo_table_close(struct wawo_table *t, uint64_t id);
/* Calls hold(shared) under the lock and returns it; NULL: stale. Any thread. */
void *wawo_table_shared(struct wawo_table *t, uint64_t id, void (*hold)(void *shared));
/* Calls visit for each live `shared` under the lock. Any thread. */
void wawo_table_each(struct wawo_table *t, void (*visit)(void *shared, void *arg), void *arg);
/* The same for WAWO_TABLE_WALK slots from *slot on, and *slot moves behind them: whoever has much to do with each does
 * not keep the others from the table for long. false: that was the end. Any thread. */
bool wawo_table_walk(struct wawo_table *t, uint32_t *slot, void (*visit)(void *shared, void *arg), void *arg);
/* The same for those of `n` ids that are this table's and live. Any thread. */
void wawo_table_visit(struct wawo_table *t, const uint64_t *ids, size_t n, void (*visit)(void *shared, void *arg),
                      void *arg);

#endif
