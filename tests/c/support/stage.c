#include "stage.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the sink ---- */

static void on_thread_start(void *arg, const char *name)
{
    (void)arg;
    ASSERT_TRUE(strncmp(name, "wawo-io-", 8) == 0);
}

static void on_thread_stop(void *arg)
{
    (void)arg;
}

static void on_enter(void *arg)
{
    struct stage *s = arg;

    ASSERT_GE(wawo_add(&s->entered, 1), 0);
}

static void on_leave(void *arg)
{
    struct stage *s = arg;

    ASSERT_GE(wawo_sub(&s->entered, 1), 1);
}

static void on_give_back(void *loan)
{
    struct stage *s = loan;

    wawo_mutex_lock(&s->lock);
    s->loans_back++;
    wawo_cond_broadcast(&s->changed);
    wawo_mutex_unlock(&s->lock);
}

static struct actor *actor_new(struct party *p, struct wawo_share *share)
{
    struct actor *a = calloc(1, sizeof *a); /* not wawo_alloc: it must not fail in the torture tests */

    ASSERT_NOT_NULL(a);
    a->party = p;
    a->share = share;
    return a;
}

static void no_found(void *user)
{
    (void)user;
}

static struct actor *actor_of(struct party *p, const struct wawo_event *e)
{
    struct actor *a = wawo_share_user(e->share), *there;

    if (a != NULL || e->kind == WAWO_ON_CLOSE)
        return a;
    a = actor_new(p, e->share);
    there = wawo_share_set_user(e->share, a, no_found);
    if (there == NULL) { /* closed already: a note for this event alone */
        free(a);
        return NULL;
    }
    ASSERT_EQ((void *)there, (void *)a);
    return a;
}

static bool hears(const struct party *p, int kind)
{
    return (p->mask >> kind & 1) != 0;
}

static void check_laws(const struct party *p, const struct wawo_event *e, struct actor *a)
{
    const int first = p->role == WAWO_SERVER ? WAWO_ON_ACCEPT : WAWO_ON_CONNECT;

    ASSERT_FALSE(a->closed);
    switch (e->kind) {
    case WAWO_ON_ACCEPT:
    case WAWO_ON_CONNECT:
        ASSERT_EQ(e->kind, first);
        ASSERT_FALSE(a->shown);
        a->shown = true;
        break;
    case WAWO_ON_PREPARE_CONNECT:
        ASSERT_EQ(p->role == WAWO_SERVER, false);
        ASSERT_FALSE(a->shown);
        ASSERT_GE(e->error, 0);
        break;
    case WAWO_ON_HANDSHAKE:
        ASSERT_FALSE(a->shaken);
        ASSERT_EQ(a->received, 0);
        a->shaken = true;
        break;
    case WAWO_ON_RECEIVE:
        ASSERT_TRUE(a->shown || !hears(p, first));
        ASSERT_TRUE(a->shaken || !hears(p, WAWO_ON_HANDSHAKE));
        if (p->verify)
            KIT_CHECK(e->ptr, e->len, a->received);
        a->received += e->len;
        a->messages++;
        break;
    case WAWO_ON_SEND:
        a->sent += e->len;
        break;
    default:
        break;
    }
}

static void log_event(struct party *p, const struct wawo_event *e, const struct actor *a)
{
    struct wawo_share *old = NULL;

    wawo_mutex_lock(&p->stage->lock);
    p->count[e->kind]++;
    if (e->kind == WAWO_ON_RECEIVE)
        p->received += e->len;
    if (e->kind == WAWO_ON_ACCEPT || e->kind == WAWO_ON_CONNECT) {
        old = p->last;
        p->last = e->share;
        wawo_share_hold(e->share);
    }
    if (e->kind == WAWO_ON_CLOSE) {
        p->operation = e->operation;
        p->error = e->error;
        p->bad += e->error != 0;
        p->closed_received = a != NULL ? a->received : 0;
        (void)wawo_share_error(e->share, &(int){0}, &p->gai);
    }
    wawo_mutex_unlock(&p->stage->lock);
    if (old != NULL)
        wawo_share_drop(old);
}

static void deliver_one(const struct wawo_event *e)
{
    struct party *p = e->owner;
    struct actor *a = NULL;

    if (e->kind == WAWO_ON_WRAP) {
        ASSERT_TRUE(p->wrap != NULL);
        if (wawo_event_due(e))
            p->wrap(p, e);
        return;
    }
    ASSERT_TRUE(e->kind < WAWO_EVENT_KINDS);
    ASSERT_TRUE(hears(p, e->kind) || e->kind == WAWO_ON_CLOSE || e->kind == WAWO_ON_SHUTDOWN);
    if (e->kind != WAWO_ON_SHUTDOWN) {
        if (!wawo_event_due(e))
            return;
        a = actor_of(p, e);
    }
    if (e->kind == WAWO_ON_SHUTDOWN) { /* once it is logged the party may be gone */
        if (p->hook != NULL)
            p->hook(p, e, a);
        log_event(p, e, a);
        return;
    }
    if (a != NULL)
        check_laws(p, e, a);
    log_event(p, e, a);
    if (p->hook != NULL)
        p->hook(p, e, a);
    if (e->kind == WAWO_ON_CLOSE && a != NULL) {
        ASSERT_EQ(wawo_share_take_user(e->share), (void *)a);
        free(a);
    }
}

static void on_deliver(void *arg, const struct wawo_event *events, unsigned count)
{
    struct stage *s = arg;
    unsigned i;

    ASSERT_GT(wawo_load(&s->entered), 0);
    kit_heard();
    for (i = 0; i < count; i++) {
        if (s->before != NULL)
            s->before(s, &events[i], i);
        deliver_one(&events[i]);
    }
    wawo_mutex_lock(&s->lock);
    wawo_cond_broadcast(&s->changed);
    wawo_mutex_unlock(&s->lock);
}

/* ---- stages ---- */

int stage_open_with(struct stage *s, const char *backend, unsigned loops, size_t pool_bytes)
{
    int err;

    memset(s, 0, sizeof *s);
    s->sink = (struct wawo_sink){.thread_start = on_thread_start,
                                 .thread_stop = on_thread_stop,
                                 .enter = on_enter,
                                 .leave = on_leave,
                                 .deliver = on_deliver,
                                 .give_back = on_give_back,
                                 .baton = loops > 1};
    s->loops = loops;
    wawo_mutex_init(&s->lock);
    wawo_cond_init(&s->changed);
    s->threads = wawo_engine_new(loops, backend, pool_bytes, &s->sink, s, &err);
    if (s->threads != NULL)
        return 0;
    wawo_cond_fini(&s->changed);
    wawo_mutex_fini(&s->lock);
    return err;
}

void stage_open(struct stage *s, const char *backend, unsigned loops)
{
    ASSERT_EQ(stage_open_with(s, backend, loops, 64 * 1024 * 1024), 0);
    if (backend != NULL)
        ASSERT_STREQ(wawo_engine_backend(s->threads), backend);
    ASSERT_EQ(wawo_engine_count(s->threads), loops);
}

bool stage_rests(struct stage *s)
{
    struct wawo_loop_stats before, after;
    int i;

    wawo_engine_stats(s->threads, 0, &before);
    for (i = 0; i < 20; i++)
        kit_tick(__FILE__, __LINE__, "", INT64_MAX);
    wawo_engine_stats(s->threads, 0, &after);
    return after.turns - before.turns < 10;
}

void stage_close(struct stage *s)
{
    ASSERT_TRUE(wawo_engine_stop(s->threads, kit_deadline_s() * WAWO_SEC));
    wawo_engine_drop(s->threads);
    ASSERT_EQ(wawo_live_threads(), 0);
    KIT_UNTIL(wawo_live_shares() == 0); /* a look-up that is still under way holds one */
    ASSERT_EQ(wawo_live_chunks(), 0);
    ASSERT_EQ(wawo_load(&s->entered), 0);
    wawo_cond_fini(&s->changed);
    wawo_mutex_fini(&s->lock);
}

/* ---- parties ---- */

void party_init(struct party *p, struct stage *s, enum wawo_role role)
{
    memset(p, 0, sizeof *p);
    p->stage = s;
    p->role = role;
    p->options = (struct wawo_options){.max_connections = 10000,
                                       .auto_pause = true,
                                       .no_delay = true,
                                       .keepalive_idle_s = 60,
                                       .keepalive_interval_s = 20,
                                       .high_water = 1024 * 1024,
                                       .low_water = 256 * 1024,
                                       .max_pending = 64 * 1024 * 1024,
                                       .max_pending_total = 1024 * 1024 * 1024,
                                       .close_timeout_ns = 5 * WAWO_SEC,
                                       .connect_timeout_ns = 10 * WAWO_SEC};
    p->mask = (1u << WAWO_EVENT_KINDS) - 1 - (1u << WAWO_ON_SEND) - (1u << WAWO_ON_PREPARE_CONNECT);
}

void party_framed(struct party *p, unsigned size, uint64_t max)
{
    p->framing = (struct wawo_framing){.kind = WAWO_FRAMING_LENGTH, .field_size = (uint8_t)size, .max_size = max};
}

int party_try_start(struct party *p)
{
    int err, fd;

    p->endpoint = wawo_endpoint_new(p->stage->threads, p->role, &p->options, &p->framing, p->mask, p, &err);
    if (p->endpoint == NULL)
        return err;
    if (p->role != WAWO_SERVER)
        return 0;
    fd = kit_listen(&p->port);
    err = wawo_endpoint_listen(p->endpoint, fd, -1);
    if (err != 0) {
        kit_close(fd);
        party_finish(p);
    }
    return err;
}

void party_start(struct party *p)
{
    ASSERT_EQ(party_try_start(p), 0);
}

void party_stop(struct party *p, int64_t drain_ns)
{
    wawo_endpoint_stop(p->endpoint, drain_ns);
}

void party_finish(struct party *p)
{
    wawo_endpoint_stop(p->endpoint, 0);
    party_wait(p, WAWO_ON_SHUTDOWN, 1);
    ASSERT_EQ(party_count(p, WAWO_ON_SHUTDOWN), 1);
    ASSERT_EQ(wawo_endpoint_count(p->endpoint), 0);
    if (p->last != NULL)
        wawo_share_drop(p->last);
    p->last = NULL;
    wawo_endpoint_drop(p->endpoint);
    p->endpoint = NULL;
}

void party_close(struct stage *s, struct party *p)
{
    party_finish(p);
    stage_close(s);
    KIT_UNTIL(wawo_alloc_live() == 0);
}

struct made {
    struct party *party;
    struct wawo_share **out;
};

static void on_made(struct wawo_share *s, void *arg)
{
    struct made *m = arg;
    struct actor *a = actor_new(m->party, s);

    ASSERT_EQ(wawo_share_set_user(s, a, no_found), (void *)a);
    if (m->out != NULL) {
        wawo_share_hold(s);
        *m->out = s;
    }
}

int party_dial(struct party *p, const char *host, uint16_t port, int64_t timeout_ns, struct wawo_share **share)
{
    struct made m = {p, share};

    return wawo_endpoint_connect(p->endpoint, host, port, NULL, 0, timeout_ns, on_made, &m);
}

int party_dial_from(struct party *p, const char *host, uint16_t port, const char *local)
{
    struct made m = {p, NULL};

    return wawo_endpoint_connect(p->endpoint, host, port, local, 0, 0, on_made, &m);
}

int party_adopt(struct party *p, int fd, struct wawo_share **share)
{
    struct made m = {p, share};

    return wawo_endpoint_adopt(p->endpoint, fd, on_made, &m);
}

struct wawo_share *party_connect(struct party *p, uint16_t port)
{
    struct wawo_share *share = NULL;

    ASSERT_EQ(party_dial(p, "127.0.0.1", port, 0, &share), 0);
    ASSERT_NOT_NULL(share);
    return share;
}

struct wawo_endpoint_stats party_stats(const struct party *p)
{
    struct wawo_endpoint_stats st;

    wawo_endpoint_stats(p->endpoint, &st);
    return st;
}

void party_lock(struct party *p)
{
    wawo_mutex_lock(&p->stage->lock);
}

void party_unlock(struct party *p)
{
    wawo_mutex_unlock(&p->stage->lock);
}

static void wait_for(struct party *p, const uint64_t *what, uint64_t n, const char *name)
{
    int64_t until = kit_deadline(), left;

    party_lock(p);
    while (*what < n) {
        left = until - wawo_os_now_ns();
        if (left <= 0)
            FAIL("%s: %llu of %llu after %d s", name, (unsigned long long)*what, (unsigned long long)n,
                 kit_deadline_s());
        (void)wawo_cond_wait_for(&p->stage->changed, &p->stage->lock, left);
    }
    party_unlock(p);
}

void party_wait(struct party *p, enum wawo_event_kind kind, uint64_t n)
{
    static const char *const names[WAWO_EVENT_KINDS] = {
        "PREPARE_CONNECT", "ACCEPT", "CONNECT", "HANDSHAKE", "RECEIVE", "SEND", "DRAIN", "CLOSE", "SHUTDOWN"};

    wait_for(p, &p->count[kind], n, names[kind]);
}

void party_wait_bytes(struct party *p, uint64_t n)
{
    wait_for(p, &p->received, n, "bytes received");
}

uint64_t party_count(struct party *p, enum wawo_event_kind kind)
{
    uint64_t n;

    party_lock(p);
    n = p->count[kind];
    party_unlock(p);
    return n;
}

struct wawo_share *party_last(struct party *p)
{
    struct wawo_share *s;

    party_lock(p);
    s = p->last;
    ASSERT_NOT_NULL(s);
    wawo_share_hold(s);
    party_unlock(p);
    return s;
}

void hook_echo(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_RECEIVE)
        ASSERT_EQ(wawo_share_send(e->share, e->ptr, e->len), 1);
}

void hook_keep(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct keeper *k = p->arg;

    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    party_lock(p);
    if (k->count < sizeof k->held / sizeof *k->held) {
        wawo_chunk_hold(e->chunk); /* not exported: on the pool's account */
        k->held[k->count++] = e->chunk;
    }
    party_unlock(p);
}

void keeper_drop(struct keeper *k, struct party *p)
{
    party_lock(p);
    while (k->count > 0)
        wawo_chunk_drop(k->held[--k->count]);
    party_unlock(p);
}

void share_send_pattern(struct wawo_share *s, uint64_t offset, size_t len, size_t piece)
{
    uint8_t *block = malloc(piece);
    int64_t until = kit_deadline();
    size_t n;
    int rc;

    ASSERT_NOT_NULL(block);
    while (len > 0) {
        n = wawo_min_size(len, piece);
        kit_fill(block, n, offset);
        while ((rc = wawo_share_send(s, block, n)) == WAWO_ENOBUFS)
            kit_tick(__FILE__, __LINE__, "room to send", until);
        ASSERT_EQ(rc, 1);
        offset += n;
        len -= n;
    }
    free(block);
}

void party_crowd(struct party *p, int *fds, int n)
{
    int i;

    for (i = 0; i < n; i++)
        fds[i] = kit_connect(p->port);
    party_wait(p, WAWO_ON_ACCEPT, (uint64_t)n);
}
