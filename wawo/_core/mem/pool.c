#include "pool.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/os.h"

enum { MAP_CHUNKS = 16, MAP_SIZE = MAP_CHUNKS * WAWO_CHUNK_TOTAL, LIMIT_MIN = 8 };

_Static_assert(sizeof(struct wawo_chunk) == WAWO_CACHE_LINE, "data starts on a cache line");

struct wawo_pool {
    size_t limit, used, starved;
    size_t exported;        /* atomic */
    size_t refs;            /* atomic: the loop, and each chunk that is out */
    struct wawo_node *free; /* newest first: still warm */
    char *fresh, *fresh_end;
    void **maps;
    size_t map_count, map_room;
    struct wawo_mpsc home; /* chunks given back by other threads */
};

static size_t live; /* atomic */
static WAWO_THREAD_LOCAL struct wawo_pool *own;

struct wawo_pool *wawo_pool_new(size_t limit_bytes)
{
    struct wawo_pool *p = wawo_alloc_zero(sizeof *p);

    if (p == NULL)
        return NULL;
    p->limit = limit_bytes / WAWO_CHUNK_TOTAL;
    if (p->limit < LIMIT_MIN)
        p->limit = LIMIT_MIN;
    p->map_room = (p->limit + MAP_CHUNKS - 1) / MAP_CHUNKS * 2; /* exported chunks come on top: at most as many again */
    p->maps = wawo_alloc_zero(p->map_room * sizeof *p->maps);
    if (p->maps == NULL) {
        wawo_free(p);
        return NULL;
    }
    p->refs = 1;
    wawo_mpsc_init(&p->home);
    return p;
}

void wawo_pool_bind(struct wawo_pool *p)
{
    own = p;
}

static void pool_unref(struct wawo_pool *p)
{
    size_t i;

    if (wawo_sub(&p->refs, 1) != 1)
        return;
    for (i = 0; i < p->map_count; i++)
        wawo_os_unmap(p->maps[i], MAP_SIZE);
    wawo_free(p->maps);
    wawo_free(p);
}

void wawo_pool_release(struct wawo_pool *p)
{
    if (own == p)
        own = NULL;
    pool_unref(p);
}

static WAWO_COLD bool pool_map(struct wawo_pool *p)
{
    char *m;

    if (p->map_count == p->map_room)
        return false;
    m = wawo_os_map(MAP_SIZE);
    if (m == NULL)
        return false;
    p->maps[p->map_count] = m;
    wawo_bump(&p->map_count, 1);
    p->fresh = m;
    p->fresh_end = m + MAP_SIZE;
    return true;
}

/* Off the account it was on, which drop did for an exported one. Owner. */
static void pool_account_return(struct wawo_pool *p, struct wawo_chunk *c)
{
    if (!c->exported)
        wawo_bump(&p->used, (size_t)-1);
    c->node.next = p->free;
    p->free = &c->node;
}

bool wawo_pool_collect(struct wawo_pool *p)
{
    struct wawo_node *n = wawo_mpsc_take(&p->home), *next;
    bool any = n != NULL;

    for (; n != NULL; n = next) {
        next = n->next;
        pool_account_return(p, wawo_container_of(n, struct wawo_chunk, node));
    }
    return any;
}

struct wawo_chunk *wawo_pool_take(struct wawo_pool *p, size_t reserve)
{
    struct wawo_chunk *c;

    WAWO_DCHECK(own == p);
    if (p->free == NULL || p->used + reserve >= p->limit)
        (void)wawo_pool_collect(p);
    if (p->used + reserve >= p->limit) {
        wawo_bump(&p->starved, 1);
        return NULL;
    }
    if (p->free != NULL) {
        c = wawo_container_of(p->free, struct wawo_chunk, node);
        p->free = c->node.next;
    } else {
        if (p->fresh == p->fresh_end && !pool_map(p)) {
            wawo_bump(&p->starved, 1);
            return NULL;
        }
        c = (struct wawo_chunk *)(void *)p->fresh;
        p->fresh += WAWO_CHUNK_TOTAL;
        c->cap = WAWO_CHUNK_DATA;
        c->pool = p;
    }
    c->used = 0;
    c->exported = 0;
    wawo_store_relaxed(&c->refs, 1);
    wawo_bump(&p->used, 1);
    wawo_add_relaxed(&p->refs, 1);
    wawo_add_relaxed(&live, 1);
    return c;
}

bool wawo_pool_export(struct wawo_chunk *c)
{
    struct wawo_pool *p = c->pool;

    if (p == NULL || c->exported)
        return true;
    WAWO_DCHECK(own == p);
    if (wawo_load_relaxed(&p->exported) >= p->limit)
        return false;
    c->exported = 1;
    wawo_add(&p->exported, 1);
    wawo_bump(&p->used, (size_t)-1);
    return true;
}

size_t wawo_pool_left(const struct wawo_pool *p)
{
    return p->limit - p->used;
}

void wawo_pool_stats(const struct wawo_pool *p, struct wawo_pool_stats *out)
{
    out->limit = p->limit;
    out->used = wawo_load_relaxed(&p->used);
    out->exported = wawo_load_relaxed(&p->exported);
    out->bytes = wawo_load_relaxed(&p->map_count) * MAP_SIZE;
    out->starved = wawo_load_relaxed(&p->starved);
}

struct wawo_chunk *wawo_chunk_new(size_t cap)
{
    struct wawo_chunk *c = wawo_alloc(sizeof *c + cap);

    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    c->cap = cap;
    c->refs = 1;
    wawo_add_relaxed(&live, 1);
    return c;
}

void wawo_chunk_hold(struct wawo_chunk *c)
{
    wawo_add_relaxed(&c->refs, 1);
}

void wawo_chunk_drop(struct wawo_chunk *c)
{
    struct wawo_pool *p = c->pool;
    bool exported;

    if (wawo_sub(&c->refs, 1) != 1)
        return;
    wawo_sub(&live, 1);
    if (p == NULL) {
        wawo_free(c);
        return;
    }
    exported = c->exported != 0;
    if (own == p)
        pool_account_return(p, c);
    else
        (void)wawo_mpsc_push(&p->home, &c->node); /* never closed */
    if (exported) /* at once: an idle loop collects nothing, and the quota must not wait for it */
        wawo_sub(&p->exported, 1);
    pool_unref(p);
}

void wawo_chunk_hold_many(struct wawo_chunk *c, uint32_t n)
{
    wawo_add_relaxed(&c->refs, n);
}

void wawo_chunk_drop_many(struct wawo_chunk *c, uint32_t n)
{
    uint32_t before = wawo_sub(&c->refs, n);

    WAWO_DCHECK(before > n);
    (void)before;
}

bool wawo_chunk_sole(const struct wawo_chunk *c)
{
    return wawo_load(&c->refs) == 1;
}

size_t wawo_chunk_live(void)
{
    return wawo_load(&live);
}
