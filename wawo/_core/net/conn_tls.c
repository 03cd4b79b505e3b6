/* F4 conn, its TLS: how it begins and ends, whose turn it is to shake hands, and what the connections of a loop share. */
#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/err.h"
#include "conn.h"
#include "net.h"

#define SWEEP_NS (500 * WAWO_MSEC) /* a session that did nothing for that long, and up to twice that, has no buffers */

/* A small record costs a tenth more where both buffers are allocated for it. A large one costs more in buffers of its
 * connection's own, which are not in the processor's cache, as those that the last connection has just given back are. */
enum {
    SMALL_BYTES = 4 * 1024,
    BUSY_USES = 16 /* of a session, until it is worth its buffers: that of an idle connection is not */
};

static const struct wawo_filter_config config = {.ops = &wawo_filter_tls};

static inline struct wawo_loop *loop_of(const struct wawo_conn *c)
{
    return wawo_net_of(c)->loop;
}

/* ---- the loop's part ---- */

struct wawo_chunk *wawo_tls_room(struct wawo_net *net)
{
    struct wawo_chunk *c = net->tls.opened;

    if (c != NULL && wawo_chunk_sole(c))
        c->used = 0;
    if (wawo_likely(c != NULL && c->cap - c->used >= WAWO_TLS_RECORD))
        return c;
    c = wawo_pool_take(net->loop->heap.pool, 0);
    if (c != NULL) {
        if (net->tls.opened != NULL)
            wawo_chunk_drop(net->tls.opened);
        net->tls.opened = c;
    }
    return c;
}

bool wawo_tls_scratch(struct wawo_net *net)
{
    if (wawo_unlikely(net->tls.scratch == NULL))
        net->tls.scratch = wawo_chunk_new(WAWO_TLS_SCRATCH);
    return net->tls.scratch != NULL;
}

bool wawo_tls_enter(struct wawo_conn *c)
{
    struct wawo_net *net = wawo_net_of(c);
    bool inside = wawo_unlikely(wawo_tls_of(c)->ops->enters) && !net->attached;

    if (inside)
        net->sink->enter(net->arg);
    wawo_loop_step_aside(net->loop);
    return inside;
}

void wawo_tls_leave(struct wawo_conn *c, bool inside)
{
    struct wawo_net *net = wawo_net_of(c);

    wawo_loop_step_back(net->loop);
    if (wawo_unlikely(inside))
        net->sink->leave(net->arg);
}

static void rest(struct wawo_net *net, struct wawo_tls *t)
{
    wawo_list_remove(&t->busy);
    net->tls.busy_count--;
    t->uses = 0;
    t->ops->keep(t->session, false);
}

static void sweep(struct wawo_timer *timer)
{
    struct wawo_net *net = wawo_container_of(timer, struct wawo_net, tls.sweep);
    struct wawo_list some;
    struct wawo_tls *t;

    wawo_list_init(&some);
    wawo_list_splice(&some, &net->tls.busy);
    while (!wawo_list_empty(&some)) {
        t = wawo_container_of(some.next, struct wawo_tls, busy);
        if (t->used) {
            t->used = false;
            wawo_list_remove(&t->busy);
            wawo_list_push(&net->tls.busy, &t->busy);
        } else {
            rest(net, t);
        }
    }
    if (!wawo_list_empty(&net->tls.busy))
        wawo_timer_set(&net->loop->wheel, timer, net->loop->now_ns + SWEEP_NS);
}

static void begin_busy(struct wawo_net *net, struct wawo_tls *t)
{
    if (t->uses < BUSY_USES)
        t->uses++;
    if (t->uses < BUSY_USES || t->ops->keep == NULL || net->tls.busy_count >= WAWO_TLS_BUSY)
        return;
    if (wawo_list_empty(&net->tls.busy))
        wawo_timer_set(&net->loop->wheel, &net->tls.sweep, net->loop->now_ns + SWEEP_NS);
    wawo_list_push(&net->tls.busy, &t->busy);
    net->tls.busy_count++;
    t->ops->keep(t->session, true);
}

void wawo_tls_use(struct wawo_conn *c, size_t bytes)
{
    struct wawo_tls *t = wawo_tls_of(c);
    bool busy = !wawo_list_empty(&t->busy);

    t->used = true;
    if (wawo_likely(busy == (bytes <= SMALL_BYTES)))
        return;
    if (busy)
        rest(wawo_net_of(c), t);
    else
        begin_busy(wawo_net_of(c), t);
}

void wawo_tls_init(struct wawo_net *net)
{
    wawo_list_init(&net->tls.shaking);
    wawo_list_init(&net->tls.busy);
    wawo_timer_init(&net->tls.sweep, sweep);
}

void wawo_tls_fini(struct wawo_net *net)
{
    if (net->tls.opened != NULL)
        wawo_chunk_drop(net->tls.opened);
    if (net->tls.scratch != NULL)
        wawo_chunk_drop(net->tls.scratch);
    net->tls.opened = net->tls.scratch = NULL;
}

/* ---- turns ---- */

bool wawo_tls_may_shake(struct wawo_conn *c)
{
    struct wawo_net *net = wawo_net_of(c);
    struct wawo_tls *t = wawo_tls_of(c);

    if (t->granted) {
        t->granted = false;
        return true;
    }
    if (wawo_list_empty(&net->tls.shaking) && net->tls.shakes < WAWO_TLS_TURNS) {
        net->tls.shakes++;
        return true;
    }
    if (wawo_list_empty(&t->turn)) {
        wawo_list_push(&net->tls.shaking, &t->turn);
        wawo_conn_pause(c, WAWO_PAUSE_TLS);
    }
    return false;
}

static void grant(struct wawo_tls *t)
{
    struct wawo_conn *c = t->conn;
    int err = 0;

    t->granted = true;
    if (t->client && !t->begun)
        err = wawo_tls_begin(c);
    if (err < 0)
        wawo_conn_break(c, err);
    else
        wawo_conn_unpause(c, WAWO_PAUSE_TLS);
}

void wawo_tls_turn(struct wawo_net *net)
{
    struct wawo_tls *t;

    for (net->tls.shakes = 0; net->tls.shakes < WAWO_TLS_TURNS && !wawo_list_empty(&net->tls.shaking);
         net->tls.shakes++) {
        t = wawo_container_of(net->tls.shaking.next, struct wawo_tls, turn);
        wawo_list_remove(&t->turn);
        if (t->conn->state == WAWO_CONN_OPEN || wawo_conn_reads_on(t->conn))
            grant(t);
    }
}

/* ---- begin ---- */

int wawo_tls_push(struct wawo_conn *c)
{
    struct wawo_tls *t = wawo_alloc_zero(sizeof *t);

    if (t == NULL)
        return WAWO_ENOMEM;
    t->base.cfg = &config;
    t->base.up = c->filter;
    t->conn = c;
    wawo_list_init(&t->turn);
    wawo_list_init(&t->busy);
    c->filter = &t->base;
    c->secure = true;
    return 0;
}

static void limit_time(struct wawo_conn *c)
{
    struct wawo_loop *loop = loop_of(c);

    wawo_timer_set(&loop->wheel, &c->timer, wawo_loop_clock(loop) + c->branch->endpoint->options.handshake_timeout_ns);
}

void wawo_tls_await(struct wawo_conn *c)
{
    c->pauses |= WAWO_PAUSE_TLS;
    limit_time(c);
    (void)wawo_event_add(wawo_net_of(c), (enum wawo_event_kind)WAWO_ON_WRAP, c);
}

/* The session is there: a client has the first word, a server listens. */
static void begin(struct wawo_conn *c)
{
    struct wawo_tls *t = wawo_tls_of(c);

    if (t->client)
        wawo_list_push(&wawo_net_of(c)->tls.shaking, &t->turn);
    else
        wawo_conn_unpause(c, WAWO_PAUSE_TLS);
}

static int bind_session(struct wawo_tls *t, const struct wawo_tls_ops *ops, void *session, unsigned how)
{
    int err = ops->attach(session, &t->pipe);

    if (err != 0)
        return err;
    t->ops = ops;
    t->session = session;
    t->client = (how & WAWO_TLS_CLIENT) != 0;
    t->lenient = (how & WAWO_TLS_LENIENT) != 0;
    return 0;
}

static bool is_here(const struct wawo_share *s)
{
    return wawo_loop_here(s->loop) && s->conn != NULL;
}

int wawo_share_secure(struct wawo_share *s, const struct wawo_tls_ops *ops, void *session, unsigned how)
{
    struct wawo_conn *c = s->conn;
    int err;

    if (!is_here(s) || !c->secure || wawo_tls_of(c)->session != NULL)
        return WAWO_ECLOSED;
    if (c->state != WAWO_CONN_OPEN && !wawo_conn_reads_on(c))
        return WAWO_ECLOSED;
    err = bind_session(wawo_tls_of(c), ops, session, how);
    if (err == 0)
        begin(c);
    return err;
}

void wawo_share_leave_bare(struct wawo_share *s, int error)
{
    if (!is_here(s) || !s->conn->secure || s->conn->state >= WAWO_CONN_DETACHING)
        return;
    wawo_conn_drop_backlog(s->conn); /* what came behind a PROXY header */
    wawo_conn_break(s->conn, wawo_tls_fail(s->conn, WAWO_TLS_FAILED, error));
}

int wawo_share_start_tls(struct wawo_share *s, const struct wawo_tls_ops *ops, void *session, unsigned how)
{
    struct wawo_conn *c = s->conn;
    struct wawo_tls *t;
    int err;

    if (is_here(s) && c->secure)
        return WAWO_EINVAL;
    if (!is_here(s) || c->state != WAWO_CONN_OPEN || wawo_load_relaxed(&s->state) != WAWO_SHARE_OPEN)
        return WAWO_ECLOSED;
    if (wawo_load_relaxed(&s->shut) || c->broken != 0)
        return WAWO_ECLOSED;
    wawo_conn_take_posts(c);
    err = wawo_conn_expect_nothing(c);
    if (err == 0)
        err = wawo_tls_push(c);
    if (err != 0)
        return err;
    t = wawo_tls_of(c);
    t->starting = true;
    t->plain.bytes = t->sealed = t->sealed_length = c->sock.out.bytes; /* which goes out as it is */
    err = bind_session(t, ops, session, how);
    if (err != 0) { /* the filter goes again */
        c->filter = t->base.up;
        c->secure = false;
        wawo_free(t);
        return err;
    }
    s->holding = 1; /* what is left of this batch is looked at */
    wawo_net_touch(c);
    return 0;
}

void wawo_tls_leftover(struct wawo_conn *c)
{
    wawo_conn_break(c, wawo_tls_fail(c, WAWO_TLS_LEFTOVER, WAWO_EBADMSG));
}

void wawo_tls_start(struct wawo_conn *c)
{
    struct wawo_backlog *b = c->backlog;
    bool left = b->first != NULL || b->in.head != NULL || wawo_pull_unread(c) > 0;
    struct wawo_filter *f;

    wawo_tls_of(c)->starting = false;
    for (f = c->filter->up; f != NULL && !left; f = f->up)
        left = f->cfg->ops->finish(f) != 0;
    wawo_conn_drop_backlog(c);
    if (c->broken != 0)
        return;
    if (left) {
        wawo_tls_leftover(c);
        return;
    }
    wawo_conn_pause(c, WAWO_PAUSE_TLS);
    limit_time(c);
    begin(c);
}

void wawo_tls_stands(struct wawo_conn *c)
{
    struct wawo_loop *loop = loop_of(c);

    wawo_tls_of(c)->ready = true;
    wawo_bump(&c->branch->stats.handshakes, 1);
    wawo_net_touch(c);
    if (c->state != WAWO_CONN_OPEN)
        return;
    if (c->pauses != 0) /* it was not paused for the handshake */
        loop->ops->recv_stop(loop->backend, &c->sock);
    wawo_timer_cancel(&loop->wheel, &c->timer);
    wawo_conn_watch_silence(c);
    wawo_event_add(wawo_net_of(c), WAWO_ON_HANDSHAKE, c)->len = 1;
    wawo_tls_of(c)->untold = true;
}

void wawo_tls_told(struct wawo_conn *c)
{
    wawo_tls_of(c)->untold = false;
    wawo_conn_unpause(c, WAWO_PAUSE_TLS);
}

/* ---- what its session needs ---- */

/* It closes, and what its session has to read before it can write never comes. */
static bool waits_in_vain(const struct wawo_conn *c)
{
    const struct wawo_tls *t = wawo_tls_of(c);

    if (c->state != WAWO_CONN_FLUSHING || t->plain.head == NULL || t->reading || !wawo_conn_reads_first(c))
        return false;
    return c->broken != 0 || (c->eof && c->backlog == NULL);
}

void wawo_tls_proceed(struct wawo_conn *c)
{
    struct wawo_tls *t = wawo_tls_of(c);
    bool before = t->midway;

    wawo_tls_seal(c);
    if (wawo_likely(t->ready && !t->midway && !before) || t->fault != WAWO_TLS_FINE)
        return;
    if (c->state >= WAWO_CONN_DETACHING)
        return;
    if (waits_in_vain(c))
        wawo_conn_end(c, WAWO_OP_CLOSE, -wawo_tls_fail(c, WAWO_TLS_CUT, WAWO_EPROTO));
    else if (!t->ready)
        return;
    else if (!t->midway && c->state == WAWO_CONN_FLUSHING)
        wawo_conn_discard_input(c);
    else if (!wawo_conn_receives(c))
        loop_of(c)->ops->recv_stop(loop_of(c)->backend, &c->sock);
    else if (t->midway != before)
        wawo_conn_receive_on(c);
    else if (c->backlog != NULL && c->backlog->in.head == NULL && !c->eof && c->broken == 0) /* it keeps but messages */
        loop_of(c)->ops->recv_start(loop_of(c)->backend, &c->sock);
}

void wawo_tls_doubt(struct wawo_conn *c)
{
    struct wawo_tls *t = wawo_tls_of(c);

    if (!t->ready || t->fault != WAWO_TLS_FINE || c->broken != 0 || t->parted)
        return;
    wawo_conn_take_posts(c);
    t->midway = t->plain.head != NULL;
}

/* ---- end ---- */

int wawo_tls_fail(struct wawo_conn *c, enum wawo_tls_fault fault, int code)
{
    struct wawo_tls *t = wawo_tls_of(c);

    if (t->fault == WAWO_TLS_FINE) {
        t->fault = (uint8_t)fault;
        t->error = code;
    }
    return t->error;
}

int wawo_tls_finish(struct wawo_conn *c)
{
    const struct wawo_tls *t = wawo_tls_of(c);

    if (!t->midway && (t->ended || (t->ready && t->lenient)))
        return 0;
    return wawo_tls_fail(c, WAWO_TLS_CUT, WAWO_EPROTO);
}

bool wawo_tls_stuck(struct wawo_conn *c)
{
    const struct wawo_tls *t = wawo_tls_of(c);

    return t->fault != WAWO_TLS_FINE && (t->lost || t->plain.head != NULL);
}

enum wawo_operation wawo_tls_operation(const struct wawo_conn *c)
{
    const struct wawo_tls *t = wawo_tls_of(c);

    if (t->ready || t->fault == WAWO_TLS_LEFTOVER)
        return WAWO_OP_RECEIVE;
    return c->branch->endpoint->role == WAWO_SERVER ? WAWO_OP_ACCEPT : WAWO_OP_CONNECT;
}

bool wawo_tls_say_goodbye(struct wawo_conn *c)
{
    struct wawo_loop *loop = loop_of(c);

    wawo_tls_part(c);
    return c->sock.out.head == NULL || loop->ops->send(loop->backend, &c->sock) < 0 || c->sock.out.head == NULL;
}

void wawo_tls_end(struct wawo_conn *c, bool reset)
{
    struct wawo_tls *t = wawo_tls_of(c);

    wawo_list_remove(&t->turn);
    if (!wawo_list_empty(&t->busy))
        rest(wawo_net_of(c), t);
    if (!t->ready && t->fault != WAWO_TLS_FINE && t->fault != WAWO_TLS_LEFTOVER)
        wawo_bump(&c->branch->stats.handshakes_failed, 1);
    if (t->session == NULL)
        return;
    if (!reset && !c->fin && c->sock.out.head == NULL && t->plain.head == NULL)
        (void)wawo_tls_say_goodbye(c); /* what the kernel does not take now is lost */
    t->ops->attach(t->session, NULL);
    t->session = NULL;
}

bool wawo_tls_timer(struct wawo_conn *c)
{
    struct wawo_tls *t = wawo_tls_of(c);

    if (t->ready)
        return false;
    (void)wawo_tls_fail(c, WAWO_TLS_LATE, WAWO_ETIMEDOUT);
    wawo_conn_end(c, wawo_tls_operation(c), ETIMEDOUT);
    return true;
}

enum wawo_tls_fault wawo_share_tls_fault(const struct wawo_share *s, unsigned long *code, long *verify)
{
    const struct wawo_tls *t;

    if (s->conn == NULL || !s->conn->secure)
        return WAWO_TLS_FINE;
    t = wawo_tls_of(s->conn);
    *code = t->pipe.code;
    *verify = t->pipe.verify;
    return (enum wawo_tls_fault)t->fault;
}
