#include "support/toysession.h"

#include <stdlib.h>

#include "base/atomic.h"
#include "base/check.h"
#include "base/err.h"

static size_t live, kept; /* atomic */

struct toy *toy_new(bool client)
{
    struct toy *t = calloc(1, sizeof *t); /* not wawo_alloc: it must not fail */

    if (t == NULL)
        abort();
    t->client = client;
    (void)wawo_add(&live, 1);
    return t;
}

void toy_free(struct toy *t)
{
    WAWO_CHECK(!t->keeps);
    (void)wawo_sub(&live, 1);
    free(t);
}

size_t toy_live(void)
{
    return wawo_load(&live);
}

size_t toy_kept(void)
{
    return wawo_load(&kept);
}

void toy_turn(uint8_t *to, const uint8_t *from, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        to[i] = (uint8_t)~from[i];
}

static void called(const struct toy *t)
{
    if (t->called != NULL)
        t->called(t->arg);
}

static int attach(void *session, struct wawo_tls_pipe *pipe)
{
    struct toy *t = session;

    t->pipe = pipe;
    if (pipe == NULL)
        toy_free(t);
    return 0;
}

/* Takes bytes until `want` are there. */
static bool gather(struct toy *t, size_t want)
{
    size_t n = wawo_min_size(want - t->have, t->pipe->len);

    if (n == 0)
        return t->have == want;
    memcpy(t->record + t->have, t->pipe->ptr, n);
    t->have += n;
    t->pipe->ptr += n;
    t->pipe->len -= n;
    return t->have == want;
}

static int fail(struct toy *t)
{
    t->pipe->code = 1;
    (void)wawo_tls_put(t->pipe, "A", 1);
    return WAWO_EPROTO;
}

static int handshake(void *session)
{
    struct toy *t = session;
    int err = 0;

    called(t);
    if (t->client && !t->begun)
        err = wawo_tls_put(t->pipe, "H", 1);
    t->begun = true;
    if (err != 0 || !gather(t, 1))
        return err;
    t->have = 0;
    if (t->record[0] != (t->client ? 'h' : 'H'))
        return fail(t);
    if (!t->client)
        err = wawo_tls_put(t->pipe, "h", 1);
    return err != 0 ? err : 1;
}

static ptrdiff_t open_record(void *session, void *to, size_t room)
{
    struct toy *t = session;
    size_t len;
    int err;

    called(t);
    WAWO_CHECK(room >= WAWO_TLS_RECORD);
    for (;;) {
        if (t->have < 1 && !gather(t, 1))
            return 0;
        if (t->midway != (t->record[0] == 't'))
            return fail(t);
        if (t->record[0] == 'C')
            return WAWO_ECLOSED;
        if (t->record[0] != 'K' && t->record[0] != 'T' && t->record[0] != 't')
            break;
        t->have = 0;
        t->midway = t->record[0] == 'T';
        err = t->record[0] == 'K' ? wawo_tls_put(t->pipe, "k", 1) : 0;
        if (err != 0)
            return err;
    }
    if (t->record[0] != 'D')
        return fail(t);
    if (t->have < TOY_HEAD && !gather(t, TOY_HEAD))
        return 0;
    len = (size_t)t->record[1] << 8 | t->record[2];
    if (len == 0 || len > WAWO_TLS_RECORD)
        return fail(t);
    if (!gather(t, TOY_HEAD + len))
        return 0;
    toy_turn(to, t->record + TOY_HEAD, len);
    t->have = 0;
    return (ptrdiff_t)len;
}

static int pending(void *session)
{
    (void)session;
    return 0;
}

static ptrdiff_t seal(void *session, const void *data, size_t len)
{
    struct toy *t = session;
    uint8_t *record = t->sealed;
    int err;

    called(t);
    WAWO_CHECK(len > 0);
    if (t->midway)
        return WAWO_AGAIN;
    len = wawo_min_size(len, WAWO_TLS_RECORD);
    record[0] = 'D';
    record[1] = (uint8_t)(len >> 8);
    record[2] = (uint8_t)len;
    toy_turn(record + TOY_HEAD, data, len);
    err = wawo_tls_put(t->pipe, record, TOY_HEAD + len);
    return err != 0 ? err : (ptrdiff_t)len;
}

static int part(void *session)
{
    struct toy *t = session;

    called(t);
    return wawo_tls_put(t->pipe, "C", 1); /* midway too, where OpenSSL cannot: a run tells from it how it ended */
}

static void keep(void *session, bool keeps)
{
    struct toy *t = session;

    WAWO_CHECK(t->keeps != keeps);
    t->keeps = keeps;
    if (keeps)
        (void)wawo_add(&kept, 1);
    else
        (void)wawo_sub(&kept, 1);
}

#define TOY(enters_)                                                                                                   \
    {.name = "toy",                                                                                                    \
     .enters = (enters_),                                                                                              \
     .attach = attach,                                                                                                 \
     .handshake = handshake,                                                                                           \
     .read = open_record,                                                                                              \
     .pending = pending,                                                                                               \
     .write = seal,                                                                                                    \
     .shutdown = part,                                                                                                 \
     .keep = keep}

const struct wawo_tls_ops toy_ops = TOY(false), toy_ops_inside = TOY(true);
