/* F4 conn, its limits in time: how long it may be silent, how fast it may be received from. Neither costs a message
 * anything but a look: silence is found by a timer that looks at the time of the last read, the rate by the time at
 * which all that was received would have been due. */
#include "conn.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "net.h"

bool wawo_conn_acknowledged(struct wawo_conn *c)
{
    int left = wawo_os_unacknowledged(c->sock.fd), before = c->unacknowledged;

    c->unacknowledged = left;
    return left > 0 && left < before;
}

/* ---- silence ---- */

void wawo_conn_watch_silence(struct wawo_conn *c)
{
    struct wawo_loop *loop = wawo_net_of(c)->loop;
    int64_t idle = c->branch->endpoint->options.idle_timeout_ns;

    if (idle > 0 && !(c->secure && !wawo_tls_of(c)->ready)) /* the handshake has a limit of its own */
        wawo_timer_set(&loop->wheel, &c->timer, loop->now_ns + idle);
}

/* Whether the peer takes what waits for it: the kernel took more, or has less that is not acknowledged. It asks for more
 * only when much of its buffer is free, which a slow peer may take long to bring about. A file that is still being read,
 * or was just now, is not the peer's fault: all that it was sent it has. */
static bool takes_output(struct wawo_conn *c)
{
    bool fewer;

    if (c->sock.out.head == NULL || wawo_conn_reads_file(c))
        return wawo_conn_reads_file(c) || c->taken;
    fewer = wawo_conn_acknowledged(c);
    return c->taken || fewer || c->unacknowledged == 0;
}

/* When it will have been silent for too long, as far as is known. Nobody hears what a paused one is sent; one that is
 * paused because its output waits is judged by that output. A loop that was held up has not read everything yet. */
static int64_t silent_at(struct wawo_conn *c)
{
    struct wawo_loop *loop = wawo_net_of(c)->loop;
    int64_t idle = c->branch->endpoint->options.idle_timeout_ns, now = loop->now_ns;
    int64_t at = wawo_load_relaxed(&c->share->received_ns) + idle;

    if ((c->pauses & ~WAWO_PAUSE_WATER) != 0 || c->backlog != NULL || takes_output(c))
        at = now + idle;
    else if (at <= now && c->pauses == 0 && loop->ops->unread(loop->backend, &c->sock))
        at = now + idle;
    c->taken = false;
    return at;
}

/* After a flush: whether nothing is left, nor under way in the backend. */
static bool all_went(struct wawo_conn *c)
{
    struct wawo_loop *loop = wawo_net_of(c)->loop;

    if (c->state != WAWO_CONN_OPEN || c->secure || wawo_conn_pending(c) > 0)
        return wawo_conn_pending(c) == 0;
    return loop->ops->send(loop->backend, &c->sock) == 0 && wawo_conn_pending(c) == 0;
}

/* Output that the kernel did not take, or is not known to have taken, is lost: a FIN would hide that from its peer. */
void wawo_conn_time_up(struct wawo_conn *c, int error)
{
    wawo_share_advance(c->share, WAWO_SHARE_CLOSING); /* nothing more is accepted that could not go out */
    wawo_conn_flush(c);
    if (all_went(c))
        wawo_conn_end(c, WAWO_OP_CLOSE, error);
    else
        wawo_conn_abort(c, WAWO_OP_CLOSE, error);
}

static void end_silent(struct wawo_conn *c)
{
    wawo_bump(&c->branch->stats.idle_closed, 1);
    wawo_store_relaxed(&c->share->silent, 1);
    wawo_conn_time_up(c, ETIMEDOUT);
}

void wawo_conn_silence_due(struct wawo_conn *c)
{
    struct wawo_loop *loop = wawo_net_of(c)->loop;
    int64_t at;

    if (c->secure && wawo_tls_timer(c))
        return;
    at = silent_at(c);
    if (at > loop->now_ns)
        wawo_timer_set(&loop->wheel, &c->timer, at);
    else
        end_silent(c);
}

/* ---- rate ---- */

#define BURST_NS (50 * WAWO_MSEC) /* what a connection that was quiet may send at once is due in this time */

enum { READ_MIN = 8, READ_MAX = 16, READS = 64 }; /* of a read: powers of two; so many a second */

struct wawo_rate {
    struct wawo_conn *conn;
    int64_t due_ns; /* when all that was received is due */
    struct wawo_timer timer;
};

static void rate_fired(struct wawo_timer *t)
{
    wawo_conn_unpause(wawo_container_of(t, struct wawo_rate, timer)->conn, WAWO_PAUSE_RATE);
}

int wawo_conn_open_rate(struct wawo_conn *c)
{
    uint64_t rate = c->branch->endpoint->options.receive_rate;
    unsigned read;

    if (wawo_likely(rate == 0))
        return 0;
    c->rate = wawo_alloc_zero(sizeof *c->rate);
    if (c->rate == NULL)
        return WAWO_ENOMEM;
    c->rate->conn = c;
    wawo_timer_init(&c->rate->timer, rate_fired);
    read = rate < READS ? 0 : wawo_log2(rate / READS); /* what one read takes too much is what the rate is off by */
    if (read < READ_MIN)
        read = READ_MIN;
    if (read < READ_MAX)
        c->sock.aux = read & 0xffu;
    return 0;
}

void wawo_conn_close_rate(struct wawo_conn *c)
{
    if (wawo_likely(c->rate == NULL))
        return;
    wawo_timer_cancel(&wawo_net_of(c)->loop->wheel, &c->rate->timer);
    wawo_free(c->rate);
    c->rate = NULL;
    c->sock.aux = 0;
}

void wawo_conn_spend_rate(struct wawo_conn *c, size_t n)
{
    struct wawo_loop *loop = wawo_net_of(c)->loop;
    struct wawo_rate *r = c->rate;
    int64_t rate = (int64_t)c->branch->endpoint->options.receive_rate;

    if (r->due_ns < loop->now_ns - BURST_NS)
        r->due_ns = loop->now_ns - BURST_NS;
    r->due_ns += (int64_t)n * WAWO_SEC / rate;
    if (r->due_ns <= loop->now_ns)
        return;
    wawo_timer_set(&loop->wheel, &r->timer, r->due_ns);
    if (c->pauses & WAWO_PAUSE_RATE)
        return;
    wawo_bump(&c->branch->stats.rate_pauses, 1);
    wawo_conn_pause(c, WAWO_PAUSE_RATE);
}
