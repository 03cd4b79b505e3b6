/* The application: what it starts, what its own thread does, and what must hold in the end. */
#include "program.h"

#include "base/alloc.h"
#include "base/err.h"
#include "io/threads.h"
#include "io/work.h"
#include "monitor.h"
#include "net/conn.h"
#include "net/endpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct program app;

/* ---- starting ---- */

static void choose_options(struct wawo_options *o, bool server)
{
    *o = (struct wawo_options){.max_connections = sim_chance(300) ? 1 + sim_below(5) : 1000,
                               .max_per_address = server && sim_chance(200) ? 1 + sim_below(5) : 0,
                               .close_when_full = sim_chance(300),
                               .proxy_protocol = server && sim_chance(150),
                               .auto_pause = sim_chance(700),
                               .no_delay = true,
                               .keepalive_idle_s = 60,
                               .keepalive_interval_s = 20,
                               .high_water = sim_size(1 << 17),
                               .max_pending = 70000 + sim_size(1 << 18),
                               .max_pending_total = 80000 + sim_size(1 << 20),
                               .close_timeout_ns = (int64_t)sim_size(2000) * WAWO_MSEC,
                               .connect_timeout_ns = (int64_t)sim_size(3000) * WAWO_MSEC,
                               .idle_timeout_ns = sim_chance(200) ? (int64_t)sim_size(2000) * WAWO_MSEC : 0,
                               .receive_rate = sim_chance(150) ? 10000 + sim_size(1 << 20) : 0,
                               .tls = app.tls,
                               .handshake_timeout_ns = (int64_t)sim_size(3000) * WAWO_MSEC};
    o->low_water = o->high_water / 4;
}

static void party_start(enum wawo_role role)
{
    struct party *p = &app.parties[app.party_count];
    int err, fd;

    *p = (struct party){.role = role};
    choose_options(&p->options, role == WAWO_SERVER);
    p->mask = (1u << WAWO_EVENT_KINDS) - 1;
    if (sim_chance(700))
        p->mask &= ~(1u << WAWO_ON_SEND);
    if (sim_chance(700))
        p->mask &= ~(1u << WAWO_ON_PREPARE_CONNECT);
    p->endpoint = wawo_endpoint_new(app.threads, role, &p->options, &app.framing, p->mask, p, &err);
    if (p->endpoint == NULL) {
        SIM_CHECK(err == WAWO_ENOMEM && app.starving);
        return;
    }
    app.party_count++;
    if (role != WAWO_SERVER)
        return;
    fd = kernel_listener(&p->port);
    err = wawo_endpoint_listen(p->endpoint, fd, sim_chance(300) ? (int)sim_below(app.loops) : -1);
    p->listens = err == 0;
    if (err != 0) {
        SIM_CHECK(app.starving);
        close(fd);
    }
}

bool program_start(const char *backend)
{
    unsigned i, n = 1 + sim_below(PARTIES);
    static const char *const backends[] = {"epoll", "kqueue", "poll", "epoll", "kqueue", "uring", "uring"};
    const char *chosen;
    int err;

    app.loops = 1 + sim_below(LOOPS);
    app.heavy = sim_chance(150);
    app.tls = sim_chance(250);
    app.tls_inside = app.tls && sim_chance(300);
    kernel_most = app.heavy ? 1 << 18 : 1 << 15;
    kernel_haste = app.heavy ? 900 : 100;
    do
        script_choose(&app.framing);
    while (app.heavy && app.framing.max_size != 0 && app.framing.max_size < 20000);
    sink_open(&app.sink);
    chosen = backends[sim_below(sizeof backends / sizeof *backends)];
    app.threads = wawo_engine_new(app.loops, backend != NULL ? backend : chosen,
                                  app.heavy || sim_chance(300) ? 1 << 16 : sim_size(1 << 24), &app.sink, NULL, &err);
    if (app.threads == NULL) {
        SIM_CHECK(err < 0 && (app.starving || sim_faults > 0));
        return false;
    }
    for (i = 0; i < app.loops; i++) {
        fiber_is_loop(i, &app.threads->loops[i]);
        monitor_watch(&app.threads->loops[i]);
    }
    for (i = 0; i < n; i++)
        party_start(i == 0 || sim_chance(300) ? WAWO_SERVER : WAWO_AGENT);
    return true;
}

/* ---- what the application's thread does ---- */

static void made(struct wawo_share *s, void *arg)
{
    struct actor *a = actor_new(arg, s);

    SIM_CHECK(wawo_share_set_user(s, a, no_found) == a);
}

/* Some codes are answers; all others would be mistakes. */
static void check_answer(const char *what, int rc)
{
    sim_log(what, rc, 0, 0);
    if (rc != 0 && rc != WAWO_ECLOSED && rc != WAWO_ENOBUFS && (rc != WAWO_ENOMEM || !app.starving))
        SIM_FAIL("%s: %d", what, rc);
}

void program_dial(struct party *p)
{
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.2", "::1", "single", "6only", "many"};
    uint16_t port = (uint16_t)(PORT_OPEN + (sim_chance(600) ? 0 : sim_below(5)));
    int rc;

    if (p->over || app.actor_count > ACTORS - 80)
        return;
    if (sim_chance(300))
        port = app.parties[0].port;
    rc = wawo_endpoint_connect(p->endpoint, hosts[sim_below(6)], port, sim_chance(100) ? "127.0.0.3" : NULL, 0,
                               sim_chance(200) ? (int64_t)sim_size(500) * WAWO_MSEC : 0, made, p);
    check_answer("dial", rc);
}

static void adopt(struct party *p)
{
    int pipe, fd = kernel_connected(&pipe), rc;

    if (fd < 0)
        return;
    peer_new(pipe, 1, p->role == WAWO_SERVER, false);
    rc = wawo_endpoint_adopt(p->endpoint, fd, made, p);
    check_answer("adopt", rc);
    if (rc != 0)
        close(fd);
}

static void peer_comes(void)
{
    struct party *p = &app.parties[sim_below(app.party_count)];
    int pipe = p->port != 0 ? kernel_peer_connects(p->port) : -1;

    if (pipe >= 0)
        peer_new(pipe, 0, true, p->options.proxy_protocol);
}

static void stop(struct party *p)
{
    static const int64_t drains[] = {0, 0, 50 * WAWO_MSEC, 2 * WAWO_SEC, INT64_MAX};
    int64_t drain = drains[sim_below(app.calm ? 4 : 5)];

    sim_log("stop", p->role, drain, 0);
    p->stopping = true;
    wawo_endpoint_stop(p->endpoint, drain);
}

/* Ids of what is gone, and of what never was. */
static void ask_stale(struct party *p)
{
    struct actor *a = &app.actors[sim_below(app.actor_count)];
    struct wawo_share *s = wawo_endpoint_find(p->endpoint, a->id);

    SIM_CHECK(s == NULL || (s == a->share && a->party == p));
    if (a->told) {
        SIM_CHECK(s == NULL);
        SIM_CHECK(wawo_share_send(a->share, "stale", 5) == 0);
        SIM_CHECK(!wawo_share_close(a->share) && !wawo_share_abort(a->share) && !wawo_share_flush(a->share));
        SIM_CHECK(wawo_share_pending(a->share) == 0);
    }
    if (s != NULL)
        wawo_share_drop(s);
    s = wawo_endpoint_find(p->endpoint, a->id + ((uint64_t)1 << 32));
    if (s != NULL)
        SIM_CHECK(wawo_share_id(s) == a->id + ((uint64_t)1 << 32));
    if (s != NULL)
        wawo_share_drop(s);
}

static void ask(struct party *p)
{
    struct wawo_share *list[8];
    struct wawo_endpoint_stats st;
    struct wawo_loop_stats ls;
    size_t n = wawo_endpoint_list(p->endpoint, list, 8), i;

    for (i = 0; i < n && i < 8; i++)
        wawo_share_drop(list[i]);
    wawo_endpoint_stats(p->endpoint, &st);
    wawo_engine_stats(app.threads, sim_below(app.loops), &ls);
    SIM_CHECK(ls.pool_used <= ls.pool_limit);
    SIM_CHECK(wawo_endpoint_count(p->endpoint) <= p->options.max_connections + 32 * app.loops);
    sim_log("ask", (int64_t)n, (int64_t)st.bytes_in, (int64_t)st.bytes_out);
}

static void disconnect(struct party *p)
{
    int64_t period = (int64_t)sim_size(500) * WAWO_MSEC;
    unsigned i;

    sim_log("disconnect", period, 0, 0);
    (void)wawo_endpoint_disconnect(p->endpoint, period, sim_chance(500));
    p->disconnected_ns = sim_now;
    for (i = 0; i < app.actor_count; i++)
        if (app.actors[i].party == p)
            app.actors[i].ended = true;
}

static void act_on_connection(void)
{
    struct actor *a = &app.actors[sim_below(app.actor_count)];
    uint32_t what = sim_below(100);

    if (a->closed)
        return;
    if (what < 50)
        deed_send(a);
    else if (what < 65)
        deed_pause(a, false);
    else if (what < 72)
        deed_pause(a, true);
    else if (what < 76)
        deed_close(a);
    else if (what < 78)
        deed_abort(a);
    else if (what < 81)
        deed_shut(a);
    else if (what < 90)
        (void)wawo_share_flush(a->share);
    else if (a->shown)
        actor_bind(a);
}

void program_act(void)
{
    struct party *p = &app.parties[sim_below(app.party_count)];
    uint32_t what = sim_below(100);

    if (app.party_count == 0)
        return;
    if (what < 25)
        peer_comes();
    else if (what < 70 && app.actor_count > 0)
        act_on_connection();
    else if (p->over || app.actor_count > ACTORS - 80)
        return;
    else if (what < 80 && p->role != WAWO_SERVER)
        program_dial(p);
    else if (what < 84)
        adopt(p);
    else if (what < 88)
        deed_broadcast(p);
    else if (what < 90)
        disconnect(p);
    else if (what < 92)
        deed_let_go(sim_below(KEPT));
    else if (what < 95 && app.actor_count > 0)
        ask_stale(p);
    else if (what < 99)
        ask(p);
    else if (sim_chance(150) && !p->stopping)
        stop(p);
}

/* ---- the end ---- */

/* What came of the other end's script, in that end's own words. */
static struct script *script_at(int pipe, int side)
{
    unsigned i;

    for (i = 0; i < app.actor_count; i++)
        if (app.actors[i].pipe == pipe && app.actors[i].side == side)
            return &app.actors[i].out;
    return peer_script(pipe, side);
}

void program_check_idle(void)
{
    unsigned i;

    for (i = 0; i < app.party_count; i++) {
        struct party *p = &app.parties[i];

        if (p->listens && !p->stopping && kernel_queued(p->port) > 0 &&
            wawo_endpoint_count(p->endpoint) < p->options.max_connections)
            SIM_FAIL("%u peers wait to be accepted", kernel_queued(p->port));
    }
    for (i = 0; i < app.actor_count; i++) {
        struct actor *a = &app.actors[i];
        const struct half *in;

        if (a->closed || a->pipe < 0 || !a->shown || a->party->options.receive_rate > 0 || a->paused || a->ended ||
            !wawo_share_connected(a->share) || pipes[a->pipe].side[a->side].reset ||
            peer_script(a->pipe, 1 - a->side) == NULL) /* two of ours may wait for each other */
            continue;
        in = &pipes[a->pipe].half[1 - a->side];
        if (in->read < in->arrived)
            SIM_FAIL("connection %llx (state %d, pauses %x, orders %x, %zu pending) left %zu bytes unread",
                     (unsigned long long)a->id, a->share->conn->state, a->share->conn->pauses,
                     a->share->conn->sock.orders, wawo_share_pending(a->share), in->arrived - in->read);
        if (in->fin_arrived && in->read == in->arrived && a->share->conn->pauses == 0)
            SIM_FAIL("connection %llx (state %d) was not told of its end", (unsigned long long)a->id,
                     a->share->conn->state);
        if (wawo_share_pending(a->share) > 0 && a->shaken && kernel_room(a->pipe, a->side) > 0)
            SIM_FAIL("connection %llu has %zu bytes pending, and there is room", (unsigned long long)a->id,
                     wawo_share_pending(a->share));
    }
}

/* The two directions of a connection that ended, or was ended. */
static void check_bytes(struct actor *a)
{
    const struct half *in, *out;
    const struct wire *seen;
    struct script *theirs;
    bool clean = a->clean, silent;

    if (a->pipe < 0) /* it never stood, or its addresses were not told */
        return;
    in = &pipes[a->pipe].half[1 - a->side];
    out = &pipes[a->pipe].half[a->side];
    /* For silence; a reset tells the peer that something is missing. */
    silent = a->operation == WAWO_OP_CLOSE && a->error == ETIMEDOUT && !pipes[a->pipe].side[a->side].hard;
    sim_log("check", (int64_t)a->id, (int64_t)out->sent, (int64_t)a->out.len);
    seen = secure_open(out->bytes, out->sent, 0);
    script_resolve(&a->out, seen->bytes, seen->len);
    app.seen[SEEN_CLEAN] += clean;
    if ((clean || silent) && seen->len != a->out.len)
        SIM_FAIL("connection %llx ended well, and %zu of %zu bytes were sent", (unsigned long long)a->id, seen->len,
                 a->out.len);
    /* What breaks the session of one that was closed already is no reason of its end. */
    if (clean && app.tls && a->shaken && !seen->goodbye && !(seen->alert && a->ended) &&
        !pipes[a->pipe].side[a->side].reset)
        SIM_FAIL("connection %llx ended well, without a goodbye", (unsigned long long)a->id);
    theirs = script_at(a->pipe, 1 - a->side);
    if (theirs == NULL) /* the other end is a connection of ours too, whose address was not told */
        return;
    seen = secure_open(in->bytes, in->sent, peer_clear(a->pipe, 1 - a->side));
    if (theirs != peer_script(a->pipe, 1 - a->side))
        script_resolve(theirs, seen->bytes, seen->len);
    clean = clean && !a->ended && in->fin_arrived && seen->len == theirs->len;
    app.seen[SEEN_WHOLE] += clean && !theirs->garbage;
    script_compare(theirs, &app.framing, &a->in, clean);
}

static bool all_over(void *arg)
{
    unsigned i;

    (void)arg;
    for (i = 0; i < app.party_count; i++)
        if (!app.parties[i].over)
            return false;
    return true;
}

static void check_nothing_left(void)
{
    if (wawo_live_conns() + wawo_live_shares() + wawo_live_chunks() + wawo_live_files() + wawo_live_threads() > 0)
        SIM_FAIL("left: %zu connections, %zu shares, %zu chunks, %zu files, %u threads", wawo_live_conns(),
                 wawo_live_shares(), wawo_live_chunks(), wawo_live_files(), wawo_live_threads());
    if (wawo_alloc_live() != 0)
        SIM_FAIL("%zu blocks were not freed", wawo_alloc_live());
    SIM_CHECK(app.loans == 0);
    secure_check_end();
    monitor_check_end();
    kernel_check_end();
}

static void drop_shares(void)
{
    unsigned i;

    for (i = 0; i < app.actor_count; i++)
        wawo_share_drop(app.actors[i].share);
}

static bool nothing_left(void *arg)
{
    (void)arg;
    return wawo_live_files() == 0 && wawo_alloc_live() == 0;
}

void program_end(void)
{
    bool before = sim_chance(500);
    struct wawo_endpoint_stats st;
    struct wawo_loop_stats ls;
    unsigned i;

    for (i = 0; i < app.party_count; i++) {
        stop(&app.parties[i]); /* again, maybe with a shorter time */
        app.parties[i].stopping = true;
    }
    if (!fiber_block(all_over, NULL, sim_now + 60 * WAWO_SEC))
        SIM_FAIL("a component did not stop within a minute");
    for (i = 0; i < app.actor_count; i++)
        SIM_CHECK(app.actors[i].closed);
    for (i = 0; i < app.party_count; i++) {
        SIM_CHECK(wawo_endpoint_count(app.parties[i].endpoint) == 0);
        SIM_CHECK(app.parties[i].endpoint->census.used == 0);
        wawo_endpoint_stats(app.parties[i].endpoint, &st);
        app.seen[SEEN_PAUSED] += st.receive_pauses;
        app.seen[SEEN_ACCEPT_PAUSED] += st.accept_pauses;
        app.seen[SEEN_PROXY] += st.rejected_proxy;
        wawo_endpoint_drop(app.parties[i].endpoint);
    }
    if (before)
        drop_shares();
    for (i = 0; i < app.loops; i++) {
        wawo_engine_stats(app.threads, i, &ls);
        app.seen[SEEN_STARVED] += ls.pool_starved;
    }
    for (i = 0; i < KEPT; i++)
        deed_let_go(i);
    SIM_CHECK(wawo_engine_stop(app.threads, 60 * WAWO_SEC));
    wawo_engine_drop(app.threads);
    if (!before)
        drop_shares();
    (void)fiber_block(nothing_left, NULL, sim_now + 60 * WAWO_SEC); /* look-ups and reads of files that are under way */
    check_nothing_left();
    for (i = 0; i < app.actor_count; i++)
        check_bytes(&app.actors[i]);
}
