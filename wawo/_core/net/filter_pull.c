/* F4 filter: Pull. What came waits here until it is fetched; the listener is told how much there is. A copy of a read
 * goes into blocks of the connection's own, for it may lie here long and must not hold a chunk of the pool. */
#include "filter.h"

#include "../base/err.h"
#include "conn.h"
#include "net.h"

struct pull {
    struct wawo_filter base;
    struct wawo_ring unread;
};

static inline struct pull *pull_of(const struct wawo_conn *c)
{
    struct wawo_filter *f = c->filter;

    while (f != NULL && f->cfg->ops != &wawo_filter_pull)
        f = f->up;
    return (struct pull *)f;
}

static void pull_init(struct wawo_filter *f)
{
    wawo_ring_init(&((struct pull *)f)->unread);
}

static void pull_fini(struct wawo_filter *f, struct wawo_conn *c)
{
    wawo_ring_clear(&((struct pull *)f)->unread, &wawo_net_of(c)->loop->heap);
}

static ptrdiff_t pull_input(struct wawo_filter *f, struct wawo_conn *c, const struct wawo_span *in)
{
    struct pull *p = (struct pull *)f;
    struct wawo_span all = {NULL, NULL, 0};
    int err = wawo_ring_copy(&p->unread, &wawo_net_of(c)->loop->heap, in->ptr, in->len, true);

    if (wawo_unlikely(err != 0))
        return err;
    if (p->unread.bytes >= f->cfg->unread_max)
        wawo_conn_pause(c, WAWO_PAUSE_PULL);
    all.len = p->unread.bytes;
    wawo_conn_rise(c, f, &all, false);
    return (ptrdiff_t)in->len;
}

/* What nobody fetched is nothing malformed. */
static int pull_finish(struct wawo_filter *f)
{
    (void)f;
    return 0;
}

static int pull_seal(const struct wawo_filter_config *cfg, const struct wawo_message *m, struct wawo_envelope *out)
{
    (void)cfg;
    (void)m;
    out->head_len = out->tail_len = 0;
    return 0;
}

size_t wawo_pull_unread(const struct wawo_conn *c)
{
    const struct pull *p = pull_of(c);

    return p != NULL ? p->unread.bytes : 0;
}

size_t wawo_pull_over(const struct wawo_conn *c)
{
    const struct pull *p = pull_of(c);

    return p != NULL && p->unread.bytes > p->base.cfg->unread_max ? p->unread.bytes - p->base.cfg->unread_max : 0;
}

int wawo_pull_fetch(struct wawo_conn *c, void *out, size_t n, bool consume)
{
    struct pull *p = pull_of(c);

    if (p == NULL)
        return WAWO_ENOTSUP;
    if (n > p->unread.bytes)
        return n > p->base.cfg->unread_max ? WAWO_EMSGSIZE : 0;
    wawo_ring_peek(&p->unread, out, n);
    if (!consume)
        return 1;
    wawo_ring_consume(&p->unread, &wawo_net_of(c)->loop->heap, n);
    if (wawo_unlikely(c->pauses & WAWO_PAUSE_PULL) && p->unread.bytes < p->base.cfg->unread_max)
        wawo_conn_unpause(c, WAWO_PAUSE_PULL);
    return 1;
}

const struct wawo_filter_ops wawo_filter_pull = {.name = "pull",
                                                 .size = sizeof(struct pull),
                                                 .init = pull_init,
                                                 .fini = pull_fini,
                                                 .input = pull_input,
                                                 .finish = pull_finish,
                                                 .seal = pull_seal};
