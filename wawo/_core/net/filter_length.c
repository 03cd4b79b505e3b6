/* F4 filter: LengthPrefixed. Whole messages inside one read are shown where they lie; only one that spans reads is put
 * together in a block of its own, which grows with what has come, not with what was announced. */
#include "filter.h"

#include "../base/err.h"
#include "../mem/pool.h"
#include "conn.h"

enum { PART_MIN = 512 };

struct part {
    struct wawo_filter base;
    struct wawo_chunk *chunk; /* header and payload so far; NULL between messages */
    size_t total;             /* bytes of the whole frame, 0 while the header is incomplete */
};

static void length_init(struct wawo_filter *f)
{
    struct part *p = (struct part *)f;

    p->chunk = NULL;
    p->total = 0;
}

static void length_fini(struct wawo_filter *f)
{
    struct part *p = (struct part *)f;

    if (p->chunk != NULL)
        wawo_chunk_drop(p->chunk);
    p->chunk = NULL;
}

/* Adds bytes to the unfinished frame. */
static int part_add(struct part *p, const uint8_t *ptr, size_t len)
{
    struct wawo_chunk *c = p->chunk, *grown;
    size_t have = c != NULL ? c->used : 0, cap;

    if (c == NULL || c->cap < have + len) {
        cap = (have + len) * 2;
        if (cap < PART_MIN)
            cap = PART_MIN;
        if (p->total >= have + len && cap > p->total)
            cap = p->total;
        grown = wawo_chunk_new(cap);
        if (grown == NULL)
            return WAWO_ENOMEM;
        if (c != NULL) {
            memcpy(grown->data, c->data, have);
            wawo_chunk_drop(c);
        }
        grown->used = have;
        p->chunk = c = grown;
    }
    memcpy(c->data + have, ptr, len);
    c->used += len;
    return 0;
}

/* Feeds an unfinished frame; bytes taken, or a negative code. */
static ptrdiff_t part_feed(struct part *p, struct wawo_conn *c, const uint8_t *ptr, size_t len)
{
    const struct wawo_length *cfg = &p->base.cfg->length;
    struct wawo_span whole;
    size_t have = p->chunk->used, take, taken = 0;
    int64_t n;
    int err;

    if (p->total == 0) {
        taken = wawo_min_size(cfg->size - have, len);
        err = part_add(p, ptr, taken);
        if (err != 0)
            return err;
        if (p->chunk->used < cfg->size)
            return (ptrdiff_t)taken;
        n = wawo_length_decode(cfg, p->chunk->data);
        if (n < 0)
            return (ptrdiff_t)n;
        p->total = cfg->size + (size_t)n;
    }
    take = wawo_min_size(p->total - p->chunk->used, len - taken);
    err = part_add(p, ptr + taken, take);
    if (err != 0)
        return err;
    if (p->chunk->used == p->total) {
        whole = (struct wawo_span){p->chunk, p->chunk->data + cfg->size, p->total - cfg->size};
        p->chunk = NULL;
        p->total = 0;
        wawo_conn_rise(c, &p->base, &whole, true);
    }
    return (ptrdiff_t)(taken + take);
}

static ptrdiff_t length_input(struct wawo_filter *f, struct wawo_conn *c, const struct wawo_span *in)
{
    struct part *p = (struct part *)f;
    const struct wawo_length *cfg = &f->cfg->length;
    const uint8_t *ptr = in->ptr, *end = in->ptr + in->len;
    struct wawo_span message = {in->chunk, NULL, 0};
    ptrdiff_t taken;
    int64_t n;
    int err;

    while (ptr < end) {
        if (wawo_unlikely(p->chunk != NULL)) {
            taken = part_feed(p, c, ptr, (size_t)(end - ptr));
            if (taken < 0)
                return taken;
            ptr += taken;
            continue;
        }
        if (wawo_unlikely(f == c->filter && wawo_conn_full(c)))
            break;
        n = -1;
        if (wawo_likely(end - ptr >= cfg->size)) {
            n = wawo_length_decode(cfg, ptr);
            if (wawo_unlikely(n < 0))
                return (ptrdiff_t)n;
        }
        if (n < 0 || end - ptr - cfg->size < n) {
            p->total = n < 0 ? 0 : cfg->size + (size_t)n;
            err = part_add(p, ptr, (size_t)(end - ptr));
            return err != 0 ? err : (ptrdiff_t)in->len;
        }
        message.ptr = ptr + cfg->size;
        message.len = (size_t)n;
        ptr += cfg->size + n;
        wawo_conn_rise(c, f, &message, false);
    }
    return ptr - in->ptr;
}

static int length_finish(struct wawo_filter *f)
{
    return ((struct part *)f)->chunk != NULL ? WAWO_EBADMSG : 0;
}

static int length_seal(const struct wawo_filter_config *cfg, const struct wawo_message *m, struct wawo_envelope *out)
{
    int n = wawo_length_encode(&cfg->length, m->total, out->head);

    if (wawo_unlikely(n < 0))
        return n;
    out->head_len = (uint8_t)n;
    out->tail_len = 0;
    return 0;
}

const struct wawo_filter_ops wawo_filter_length = {.name = "length",
                                                   .size = sizeof(struct part),
                                                   .init = length_init,
                                                   .fini = length_fini,
                                                   .input = length_input,
                                                   .finish = length_finish,
                                                   .seal = length_seal};
