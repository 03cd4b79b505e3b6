#include "slab.h"

#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/os.h"

enum { BLOCK_SIZE = 256 * 1024 };

struct wawo_slab_block {
    struct wawo_slab_block *next;
    char pad[WAWO_CACHE_LINE - sizeof(void *)]; /* objects start on a cache line */
};

void wawo_slab_init(struct wawo_slab *s, size_t object_size, size_t limit)
{
    memset(s, 0, sizeof *s);
    s->size = (object_size + 15) & ~(size_t)15;
    s->limit = limit;
}

static WAWO_COLD bool map_block(struct wawo_slab *s)
{
    struct wawo_slab_block *b = wawo_os_map(BLOCK_SIZE);

    if (b == NULL)
        return false;
    b->next = s->maps;
    s->maps = b;
    s->fresh = (char *)(b + 1);
    s->fresh_end = (char *)b + BLOCK_SIZE;
    wawo_bump(&s->blocks, 1);
    return true;
}

void *wawo_slab_take(struct wawo_slab *s)
{
    void *p = s->free;

    if (wawo_unlikely(s->used == s->limit))
        return NULL;
    if (wawo_likely(p != NULL)) {
        memcpy(&s->free, p, sizeof s->free);
    } else {
        if ((size_t)(s->fresh_end - s->fresh) < s->size && !map_block(s))
            return NULL;
        p = s->fresh;
        s->fresh += s->size;
    }
    wawo_bump(&s->used, 1);
    return p;
}

void wawo_slab_give(struct wawo_slab *s, void *p)
{
    memcpy(p, &s->free, sizeof s->free);
    s->free = p;
    wawo_bump(&s->used, (size_t)-1);
}

void wawo_slab_fini(struct wawo_slab *s)
{
    struct wawo_slab_block *b, *next;

    WAWO_CHECK(s->used == 0);
    for (b = s->maps; b != NULL; b = next) {
        next = b->next;
        wawo_os_unmap(b, BLOCK_SIZE);
    }
    memset(s, 0, sizeof *s);
}

size_t wawo_slab_bytes(const struct wawo_slab *s)
{
    return wawo_load_relaxed(&s->blocks) * BLOCK_SIZE;
}
