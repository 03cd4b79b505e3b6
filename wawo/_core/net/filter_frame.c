/* F4 filter: every framing that cuts whole messages out of the stream. Messages inside one read are shown where they lie;
 * only one that spans reads is put together in a block of its own, which grows with what has come, not with what was
 * announced. The loop is compiled once for each codec, with its cut inlined. */
#include "filter.h"

#include "../base/err.h"
#include "../mem/pool.h"
#include "conn.h"

enum {
    PART_MIN = 512,
    PIECE = 256 /* bytes looked at first for the end of a frame whose size is not known */
};

struct part {
    struct wawo_filter base;
    struct wawo_chunk *chunk; /* the unfinished frame; NULL between frames */
    size_t total; /* its size; 0: not known yet */
    size_t scanned; /* the codec's */
};

typedef int (*cut_fn)(const struct wawo_filter_config *cfg, const uint8_t *p, size_t n, size_t *scanned,
                      struct wawo_frame *out);

static void frame_init(struct wawo_filter *f)
{
    struct part *p = (struct part *)f;

    p->chunk = NULL;
    p->total = p->scanned = 0;
}

static void frame_fini(struct wawo_filter *f, struct wawo_conn *c)
{
    struct part *p = (struct part *)f;

    (void)c;
    if (p->chunk != NULL)
        wawo_chunk_drop(p->chunk);
    p->chunk = NULL;
}

static int frame_finish(struct wawo_filter *f)
{
    return ((struct part *)f)->chunk != NULL ? WAWO_EBADMSG : 0;
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

/* Feeds an unfinished frame; bytes taken, or a negative code. While its size is unknown it is given a piece at a time,
 * and what of that is behind its end is not taken. */
static ptrdiff_t part_feed(struct part *p, struct wawo_conn *c, const uint8_t *ptr, size_t len, cut_fn cut)
{
    size_t have = p->chunk->used, take = p->total != 0 ? p->total - have : have > PIECE ? have : PIECE;
    struct wawo_frame frame;
    struct wawo_span whole;
    int n;

    take = wawo_min_size(take, len);
    if (part_add(p, ptr, take) != 0)
        return WAWO_ENOMEM;
    if (have + take < p->total)
        return (ptrdiff_t)take;
    n = cut(p->base.cfg, p->chunk->data, p->chunk->used, &p->scanned, &frame);
    if (n < 0)
        return n;
    if (n == 0) {
        p->total = frame.total;
        return (ptrdiff_t)take;
    }
    whole = (struct wawo_span){p->chunk, p->chunk->data + frame.skip, frame.len};
    p->chunk = NULL;
    wawo_conn_rise(c, &p->base, &whole, true);
    return (ptrdiff_t)(frame.total - have);
}

/* Keeps the beginning of a frame. */
static ptrdiff_t part_begin(struct part *p, const uint8_t *ptr, size_t len, size_t total, size_t scanned)
{
    int err;

    p->total = total;
    p->scanned = scanned;
    err = part_add(p, ptr, len);
    return err != 0 ? err : (ptrdiff_t)len;
}

/* What it leaves comes again. */
static bool may_stop(const struct wawo_filter *f, const struct wawo_conn *c)
{
    return f == c->filter || (f == c->filter->up && c->filter->cfg->ops->keeps);
}

static wawo_inline ptrdiff_t frame_input(struct wawo_filter *f, struct wawo_conn *c, const struct wawo_span *in,
                                         cut_fn cut)
{
    struct part *p = (struct part *)f;
    const uint8_t *ptr = in->ptr, *end = in->ptr + in->len;
    struct wawo_span message = {in->chunk, NULL, 0};
    struct wawo_frame frame;
    ptrdiff_t taken;
    size_t scanned;
    int n;

    while (ptr < end) {
        if (wawo_unlikely(p->chunk != NULL)) {
            taken = part_feed(p, c, ptr, (size_t)(end - ptr), cut);
            if (taken < 0)
                return taken;
            ptr += taken;
            continue;
        }
        if (wawo_unlikely(wawo_conn_full(c)) && may_stop(f, c))
            break;
        scanned = 0;
        n = cut(f->cfg, ptr, (size_t)(end - ptr), &scanned, &frame);
        if (wawo_unlikely(n <= 0)) {
            taken = n < 0 ? n : part_begin(p, ptr, (size_t)(end - ptr), frame.total, scanned);
            return taken < 0 ? taken : (ptrdiff_t)in->len;
        }
        message.ptr = ptr + frame.skip;
        message.len = frame.len;
        ptr += frame.total;
        wawo_conn_rise(c, f, &message, false);
    }
    return ptr - in->ptr;
}

#define FRAMING(codec)                                                                                                 \
    static wawo_inline int codec##_cut(const struct wawo_filter_config *cfg, const uint8_t *p, size_t n,               \
                                       size_t *scanned, struct wawo_frame *out)                                        \
    {                                                                                                                  \
        return wawo_##codec##_cut(&cfg->codec, p, n, scanned, out);                                                    \
    }                                                                                                                  \
    static ptrdiff_t codec##_input(struct wawo_filter *f, struct wawo_conn *c, const struct wawo_span *in)             \
    {                                                                                                                  \
        return frame_input(f, c, in, codec##_cut);                                                                     \
    }                                                                                                                  \
    static int codec##_seal(const struct wawo_filter_config *cfg, const struct wawo_message *m,                        \
                            struct wawo_envelope *out)                                                                 \
    {                                                                                                                  \
        return wawo_##codec##_seal(&cfg->codec, m, out);                                                               \
    }                                                                                                                  \
    const struct wawo_filter_ops wawo_filter_##codec = {.name = #codec,                                                \
                                                        .size = sizeof(struct part),                                   \
                                                        .init = frame_init,                                            \
                                                        .fini = frame_fini,                                            \
                                                        .input = codec##_input,                                        \
                                                        .finish = frame_finish,                                        \
                                                        .seal = codec##_seal}

FRAMING(length);
FRAMING(field);
FRAMING(pack);
FRAMING(marks);
FRAMING(fixed);
FRAMING(packet);
