/* The sink: every event is checked against the laws of connections, then answered in some way. */
#include "program.h"

#include "io/threads.h"
#include "net/endpoint.h"
#include "net/share.h"

#include <errno.h>
#include <stdlib.h>

/* ---- actors ---- */

struct actor *actor_new(struct party *p, struct wawo_share *share)
{
    struct actor *a = &app.actors[app.actor_count];
    struct script out = a->out;
    struct inbox in = a->in;

    if (app.actor_count == ACTORS)
        SIM_FAIL("%d connections in one run", ACTORS);
    app.actor_count++;
    *a = (struct actor){.party = p,
                        .share = share,
                        .id = wawo_share_id(share),
                        .pipe = -1,
                        .out = out,
                        .in = in,
                        .close_ns = INT64_MAX};
    script_reset(&a->out);
    inbox_reset(&a->in);
    wawo_share_hold(share);
    return a;
}

void actor_bind(struct actor *a)
{
    char host[WAWO_HOST_TEXT];
    int family, local = wawo_share_address(a->share, true, host, &family);
    int remote = wawo_share_address(a->share, false, host, &family);

    if (local >= 0 && kernel_pipe_of((uint16_t)local) >= 0) {
        a->pipe = kernel_pipe_of((uint16_t)local);
        a->side = 0;
    } else if (remote >= 0) {
        a->pipe = kernel_pipe_of((uint16_t)remote);
        a->side = 1;
    }
    sim_log("actor", (int64_t)a->id, a->pipe, a->side);
}

void no_found(void *user)
{
    (void)user;
}

static struct actor *actor_of(struct party *p, const struct wawo_event *e)
{
    struct actor *a = wawo_share_user(e->share);

    if (a != NULL || e->kind == WAWO_ON_CLOSE)
        return a;
    a = actor_new(p, e->share);
    SIM_CHECK(wawo_share_set_user(e->share, a, no_found) == a);
    return a;
}

/* ---- answers ---- */

static void after_receive(struct actor *a, const struct wawo_event *e)
{
    uint32_t what = app.heavy && sim_chance(300) ? 65 : sim_below(100);

    if (what < 45 && app.framing.kind != WAWO_FRAMING_PULL)
        deed_echo(a, e);
    else if (what < 60)
        deed_send(a);
    else if (what < 66)
        deed_pause(a, true);
    else if (what < 69)
        deed_close(a);
    else if (what < 70)
        deed_abort(a);
    else if (what < 72)
        deed_shut(a);
    else if (what < 75)
        deed_broadcast(a->party);
    else if (what < 79)
        (void)wawo_share_flush(a->share);
    if (what == 99) {
        wawo_share_refuse(a->share, WAWO_OP_RECEIVE, ECANCELED);
        a->ended = a->aborted = true;
    }
}

static void receive(struct actor *a, const struct wawo_event *e)
{
    SIM_CHECK(a->shown && a->shaken);
    app.seen[SEEN_MESSAGE]++;
    app.seen[SEEN_BYTE] += e->len;
    SIM_CHECK(!a->paused || !wawo_share_connected(a->share));
    if (app.framing.kind == WAWO_FRAMING_PULL) {
        SIM_CHECK(wawo_share_unread(a->share) <= app.framing.max_size + WAWO_CHUNK_TOTAL);
        deed_read(a);
    } else {
        SIM_CHECK(app.framing.max_size == 0 || e->len <= app.framing.max_size);
        inbox_add(&a->in, e->ptr, e->len);
    }
    if (e->chunk != NULL && sim_chance(30))
        deed_keep(e->chunk);
    after_receive(a, e);
}

static void start(struct actor *a)
{
    SIM_CHECK(!a->shown);
    a->shown = true;
    a->party->here++;
    SIM_CHECK(a->party->here <= a->party->options.max_connections);
    app.seen[SEEN_CONNECTION]++;
    a->ended = a->ended || a->party->disconnected_ns >= a->share->connected_ns; /* it may be over before it is shown */
    actor_bind(a);
    if (sim_chance(20)) {
        wawo_share_refuse(a->share, a->party->role == WAWO_SERVER ? WAWO_OP_ACCEPT : WAWO_OP_CONNECT, ECANCELED);
        a->ended = a->aborted = true;
    } else if (sim_chance(400)) {
        deed_send(a);
    }
}

/* How a connection may end. */
static void check_reason(const struct actor *a)
{
    static const int known[] = {
        0,      ECONNRESET, ETIMEDOUT, ECANCELED,    ENOBUFS,      EBADMSG,     EMSGSIZE,      EIO,
        ENOMEM, ENOSPC,     EPROTO,    ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, EADDRINUSE,
        EACCES, EMFILE,     ENFILE,    EINVAL,       EAFNOSUPPORT, ENOTCONN};
    unsigned i = 0;

    while (i < sizeof known / sizeof *known && known[i] != a->error)
        i++;
    if (i == sizeof known / sizeof *known || (i > 10 && a->operation != WAWO_OP_CONNECT))
        SIM_FAIL("connection %llx ended with operation %d and error %d", (unsigned long long)a->id, a->operation,
                 a->error);
    SIM_CHECK(a->error != EPROTO || app.tls);
    SIM_CHECK(a->operation != WAWO_OP_SEND || a->error != ENOBUFS || a->party->evicts);
    app.seen[SEEN_BROKEN] += a->error == ECONNRESET;
    app.seen[SEEN_MALFORMED] += a->error == EBADMSG || a->error == EMSGSIZE;
    app.seen[SEEN_UNSAFE] += a->error == EPROTO;
    app.seen[SEEN_LATE] += a->error == ETIMEDOUT;
    app.seen[SEEN_UNREACHED] += a->operation == WAWO_OP_CONNECT;
    app.seen[SEEN_SHORT_FILE] += a->error == EIO;
    app.seen[SEEN_EVICTED] += a->operation == WAWO_OP_SEND && a->error == ENOBUFS;
}

static void finish(struct actor *a, const struct wawo_event *e)
{
    a->operation = e->operation;
    a->error = e->error;
    check_reason(a);
    a->clean = a->error == 0 && a->operation == WAWO_OP_CLOSE && !a->aborted && !a->party->stopping;
    if (a->pipe < 0)
        actor_bind(a);
    if (a->pipe >= 0 && a->clean && a->close_ns != INT64_MAX &&
        sim_now - a->close_ns < a->party->options.close_timeout_ns && pipes[a->pipe].side[a->side].lost > 0)
        SIM_FAIL("connection %llu was closed, and %zu bytes of its answer were lost", (unsigned long long)a->id,
                 pipes[a->pipe].side[a->side].lost);
    SIM_CHECK(!wawo_share_connected(a->share));
    SIM_CHECK(wawo_share_take_user(a->share) == a);
    SIM_CHECK(wawo_share_set_user(a->share, a, no_found) == NULL);
    SIM_CHECK(wawo_share_send(a->share, "late", 4) == 0);
    a->closed = a->told = true;
    a->party->here -= a->shown;
    if (a->party->role != WAWO_SERVER && sim_chance(100))
        program_dial(a->party); /* it may have the place of this one */
    if (sim_chance(500))
        wawo_event_closed(e);
}

/* Nothing waits to be sent any more: all that counted against max_pending_total was given back. */
static void check_total(const struct wawo_endpoint *e)
{
    int64_t total = e->pending;
    unsigned i;

    for (i = 0; i < e->branch_count; i++)
        total += e->branches[i].unsettled;
    if (total != 0)
        SIM_FAIL("%lld bytes are pending, and there is no connection", (long long)total);
}

static void handle(struct party *p, const struct wawo_event *e)
{
    struct actor *a;

    if (e->kind == WAWO_ON_SHUTDOWN) {
        SIM_CHECK(p->stopping && !p->over);
        p->over = true;
        check_total(p->endpoint);
        return;
    }
    SIM_CHECK(!p->over);
    SIM_CHECK((int)wawo_id_loop(wawo_share_id(e->share)) == fiber_loop());
    if (!wawo_event_due(e))
        return;
    if (e->kind == WAWO_ON_WRAP) {
        secure_wrap(p, e);
        return;
    }
    a = actor_of(p, e);
    if (a == NULL) { /* the end of one that was never shown */
        SIM_CHECK(e->kind == WAWO_ON_CLOSE);
        return;
    }
    SIM_CHECK(!a->closed && a->party == p);
    if (e->kind == WAWO_ON_ACCEPT || e->kind == WAWO_ON_CONNECT) {
        SIM_CHECK((e->kind == WAWO_ON_ACCEPT) == (p->role == WAWO_SERVER));
        start(a);
    } else if (e->kind == WAWO_ON_HANDSHAKE) {
        SIM_CHECK(a->shown && !a->shaken && a->in.count == 0);
        a->shaken = true;
        app.seen[SEEN_SECURE] += app.tls;
    } else if (e->kind == WAWO_ON_RECEIVE) {
        receive(a, e);
    } else if (e->kind == WAWO_ON_SEND) {
        SIM_CHECK(a->shown && e->len > 0);
        a->told_sent += e->len;
        SIM_CHECK(a->pipe < 0 || a->told_sent <= pipes[a->pipe].half[a->side].sent);
    } else if (e->kind == WAWO_ON_CLOSE) {
        finish(a, e);
    } else if (e->kind == WAWO_ON_DRAIN) {
        app.seen[SEEN_DRAIN]++;
        if (sim_chance(300))
            deed_send(a);
    }
}

/* ---- the sink ---- */

static void on_thread(void *arg, const char *name)
{
    (void)arg, (void)name;
}

static void on_thread_stop(void *arg)
{
    (void)arg;
}

static void on_enter(void *arg)
{
    int i = fiber_loop();

    (void)arg;
    SIM_CHECK(i >= 0 && !app.entered[i]);
    app.entered[i] = true;
    fiber_preempt();
}

static void on_leave(void *arg)
{
    (void)arg;
    SIM_CHECK(app.entered[fiber_loop()]);
    app.entered[fiber_loop()] = false;
}

static void on_deliver(void *arg, const struct wawo_event *events, unsigned count)
{
    unsigned i;

    (void)arg;
    SIM_CHECK(app.entered[fiber_loop()]);
    for (i = 0; i < count; i++) {
        sim_log("event", events[i].kind, events[i].error, (int64_t)events[i].len);
        if (events[i].share != NULL)
            sim_log("of", (int64_t)wawo_share_id(events[i].share), events[i].operation, 0);
        handle(events[i].owner, &events[i]);
    }
}

static void on_give_back(void *loan)
{
    SIM_CHECK(app.entered[fiber_loop()] && app.loans > 0);
    app.loans--;
    free(loan);
}

void sink_open(struct wawo_sink *sink)
{
    *sink = (struct wawo_sink){.thread_start = on_thread,
                               .thread_stop = on_thread_stop,
                               .enter = on_enter,
                               .leave = on_leave,
                               .deliver = on_deliver,
                               .give_back = on_give_back,
                               .baton = sim_chance(500)};
}
