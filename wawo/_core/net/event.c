#include "event.h"

#include "../base/atomic.h"
#include "../base/check.h"
#include "net.h"

struct wawo_event *wawo_event_add(struct wawo_net *net, enum wawo_event_kind kind, struct wawo_conn *c)
{
    struct wawo_event *e = &net->batch.events[net->batch.count];

    WAWO_CHECK(net->batch.count < WAWO_BATCH_ROOM);
    net->batch.count++;
    e->kind = (uint8_t)kind;
    e->operation = 0;
    e->owned = 0;
    e->error = 0;
    e->chunk = NULL;
    if (wawo_likely(c != NULL)) {
        e->owner = c->branch->endpoint->user;
        e->share = c->share;
    } else {
        e->share = NULL;
    }
    return e;
}

/* Closed or refused meanwhile: only its CLOSE follows, but for what has to go out before that. */
static WAWO_COLD bool due_late(const struct wawo_event *e)
{
    struct wawo_conn *c = e->share->conn; /* NULL: it never got as far as a connection */

    if (e->kind != WAWO_ON_CLOSE) /* open: closed by another thread, whose word the loop gets in its next turn */
        return e->kind == WAWO_ON_WRAP && c != NULL && (c->state == WAWO_CONN_OPEN || wawo_conn_reads_on(c));
    if (c != NULL)
        wawo_net_of(c)->leaving = c;
    return true;
}

/* Paused, or behind what was held. None is told of a handshake that start_tls has put off. */
static WAWO_COLD bool due_anyway(const struct wawo_event *e)
{
    if (e->kind == WAWO_ON_RECEIVE)
        wawo_conn_hold_event(e->share->conn, e);
    return e->kind != WAWO_ON_RECEIVE && (e->kind != WAWO_ON_HANDSHAKE || !wawo_conn_shakes(e->share->conn));
}

bool wawo_event_due(const struct wawo_event *e)
{
    struct wawo_share *s = e->share;

    if (e->kind == WAWO_ON_ACCEPT || e->kind == WAWO_ON_CONNECT) {
        wawo_store_relaxed(&s->shown, 1);
        return true;
    }
    if (wawo_unlikely(e->kind == WAWO_ON_PREPARE_CONNECT)) /* else its descriptor is given up */
        return wawo_load_relaxed(&s->state) == WAWO_SHARE_CONNECTING;
    if (wawo_unlikely(wawo_load_relaxed(&s->state) != WAWO_SHARE_OPEN))
        return due_late(e);
    return wawo_likely(!(wawo_load_relaxed(&s->paused) | s->holding)) || due_anyway(e);
}

void wawo_event_closed(const struct wawo_event *e)
{
    if (e->share->conn != NULL)
        wawo_conn_leave(e->share->conn);
}
