/* Pausing: by the user, in a callback and from elsewhere, with a FIN or a reset behind. */
#include "support/stage.h"

#include "base/err.h"

#include <errno.h>

enum { MIB = 1024 * 1024 };

static void open_with(struct stage *s, struct party *server, const char *backend, party_hook hook, void *arg)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    server->hook = hook;
    server->arg = arg;
    server->verify = true;
}

static void hook_pause_at_accept(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_ACCEPT) {
        ASSERT_TRUE(wawo_share_pause(e->share, true));
        ASSERT_TRUE(wawo_share_paused(e->share));
    }
}

TEST_EACH_BACKEND(fin_waits_behind_unread_bytes, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, hook_pause_at_accept, NULL);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    kit_write_pattern(fd, 0, 100000);
    kit_shutdown(fd);
    KIT_UNTIL(stage_rests(&s)); /* a paused descriptor with a FIN does not spin */
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), 0u);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    ASSERT_TRUE(wawo_share_pause(server.last, false));
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.closed_received, 100000u);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(paused_with_a_reset_does_not_spin, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, hook_pause_at_accept, NULL);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    kit_write_pattern(fd, 0, 1000);
    kit_reset(fd);
    KIT_UNTIL(stage_rests(&s));
    ASSERT_TRUE(wawo_share_pause(server.last, false));
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, ECONNRESET);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(close_of_a_paused_one, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, hook_pause_at_accept, NULL);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    kit_write_pattern(fd, 0, MIB);
    ASSERT_EQ(wawo_share_send(server.last, "last words", 10), 1);
    ASSERT_TRUE(wawo_share_close(server.last));
    ASSERT_EQ(kit_read(fd, &(char[10]){0}, 10), 10u);
    ASSERT_EQ(kit_read_end(fd, NULL), 0); /* no reset although 1 MiB was not read */
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(server.received, 0u);
    party_close(&s, &server);
}

/* Framed messages of one byte come many in one read, so that one batch holds many events of the connection. */
static void write_tiny_frames(int fd, unsigned from, unsigned count)
{
    uint8_t frame[3 * 8192];
    unsigned i;

    ASSERT_LE(count, 8192u);
    for (i = 0; i < count; i++) {
        frame[3 * i] = 0;
        frame[3 * i + 1] = 1;
        frame[3 * i + 2] = kit_byte(from + i);
    }
    kit_write(fd, frame, (size_t)count * 3);
}

struct plan {
    unsigned pause_every; /* messages */
};

static void hook_pause_often(struct party *p, const struct wawo_event *e, struct actor *a)
{
    const struct plan *plan = p->arg;

    if (e->kind != WAWO_ON_RECEIVE)
        return;
    ASSERT_FALSE(wawo_share_paused(e->share)); /* a paused one gets nothing */
    if (a->messages % plan->pause_every == 0)
        ASSERT_TRUE(wawo_share_pause(e->share, true));
}

/* Every message comes, once, in order, however often its receiver pauses within a batch. */
static void pause_often(const char *backend, unsigned every, unsigned count)
{
    struct stage s;
    struct party server;
    struct plan plan = {every};
    int64_t until = kit_deadline();
    int fd;

    open_with(&s, &server, backend, hook_pause_often, &plan);
    party_framed(&server, 2, 65535);
    party_start(&server);
    fd = kit_connect(server.port);
    write_tiny_frames(fd, 0, count);
    kit_shutdown(fd);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    while (party_count(&server, WAWO_ON_CLOSE) == 0) {
        if (wawo_share_paused(server.last))
            (void)wawo_share_pause(server.last, false);
        else
            kit_tick(__FILE__, __LINE__, "the close", until);
    }
    ASSERT_EQ(server.closed_received, count);
    ASSERT_EQ(server.count[WAWO_ON_RECEIVE], count);
    ASSERT_EQ(server.error, 0);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(pause_in_a_callback_holds_the_rest, backend)
{
    pause_often(backend, 100, 1000);
}

TEST_EACH_BACKEND(pause_in_every_callback, backend)
{
    pause_often(backend, 1, 300);
}

/* More is held than a batch takes, and the resumed part is paused again. */
TEST_EACH_BACKEND(pause_again_while_the_backlog_is_larger_than_a_batch, backend)
{
    pause_often(backend, 7, 4000);
}

/* Pauses in one callback and resumes in the next one of another connection: both in one batch. */
struct seesaw {
    struct wawo_share *paused;
    struct wawo_share
        *prod; /* its messages resume only, so that the last ones of the others do not stay behind a pause */
};

static void hook_seesaw(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct seesaw *w = p->arg;

    (void)a;
    if (e->kind == WAWO_ON_CLOSE && w->paused == e->share)
        w->paused = NULL;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    if (w->paused != NULL && w->paused != e->share) {
        (void)wawo_share_pause(w->paused, false);
        w->paused = NULL;
    } else if (w->paused == NULL && e->share != w->prod) {
        ASSERT_TRUE(wawo_share_pause(e->share, true));
        w->paused = e->share;
    }
}

TEST_EACH_BACKEND(resumed_within_the_batch_keeps_the_order, backend)
{
    struct stage s;
    struct party server;
    struct seesaw w = {NULL, NULL};
    int64_t until = kit_deadline();
    int fds[3], i, k;

    open_with(&s, &server, backend, hook_seesaw, &w);
    party_framed(&server, 2, 65535);
    party_start(&server);
    for (k = 0; k < 3; k++) {
        fds[k] = kit_connect(server.port);
        party_wait(&server, WAWO_ON_ACCEPT, (uint64_t)k + 1);
    }
    w.prod = party_last(&server);
    for (i = 0; i < 100; i++) /* the sink checks each connection's bytes */
        for (k = 0; k < 2; k++)
            write_tiny_frames(fds[k], (unsigned)i * 40, 40);
    kit_shutdown(fds[0]);
    for (k = 0; party_count(&server, WAWO_ON_RECEIVE) < 8000 + (uint64_t)k; k++) {
        write_tiny_frames(fds[2], (unsigned)k, 1);
        kit_tick(__FILE__, __LINE__, "every message", until);
    }
    wawo_share_drop(w.prod);
    kit_close_all(fds, 3);
    party_close(&s, &server);
}

/* Pauses itself at its first message and is resumed by the other connection's message in the same batch, while its own
 * later messages are still to come in it: built so that one batch must hold all three. */
struct order {
    struct wawo_share *first;
    bool stalled;
};

static void hook_stall(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct order *o = p->arg;
    int64_t until = wawo_os_now_ns() + 30 * WAWO_MSEC;

    if (e->kind != WAWO_ON_RECEIVE)
        return;
    if (!o->stalled) { /* lets the other writes arrive, so that the next batch has them all */
        o->stalled = true;
        while (wawo_os_now_ns() < until)
            continue;
        return;
    }
    if (a->messages % 3 == 0) {
        o->first = e->share;
        ASSERT_TRUE(wawo_share_pause(e->share, true));
        ASSERT_TRUE(wawo_share_pause(e->share, false)); /* nothing may overtake, nothing may be lost */
    }
}

TEST_EACH_BACKEND(paused_and_resumed_in_one_callback, backend)
{
    struct stage s;
    struct party server;
    struct order o = {NULL, false};
    int fd;

    open_with(&s, &server, backend, hook_stall, &o);
    party_framed(&server, 2, 65535);
    party_start(&server);
    fd = kit_connect(server.port);
    write_tiny_frames(fd, 0, 1);
    write_tiny_frames(fd, 1, 4000);
    kit_shutdown(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.closed_received, 4001u);
    kit_close(fd);
    party_close(&s, &server);
}

/* A callback of another connection resumes in mid-batch while later events of the paused one are in the same batch. */
static void hook_cross(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct order *o = p->arg;
    int64_t until = wawo_os_now_ns() + 50 * WAWO_MSEC;

    if (e->kind != WAWO_ON_RECEIVE)
        return;
    if (!o->stalled) {
        o->stalled = true;
        while (wawo_os_now_ns() < until)
            continue;
    }
    if (a->scratch[0]++ == 0 && o->first == NULL) {
        o->first = e->share;
        ASSERT_TRUE(wawo_share_pause(e->share, true));
    } else if (o->first != NULL && o->first != e->share) {
        ASSERT_EQ(wawo_share_pause(o->first, a->messages % 2 != 0), true);
    }
}

TEST_EACH_BACKEND(toggled_by_another_connections_callbacks, backend)
{
    struct stage s;
    struct party server;
    struct order o = {NULL, false};
    int fds[2], round;

    open_with(&s, &server, backend, hook_cross, &o);
    party_framed(&server, 2, 65535);
    party_start(&server);
    fds[0] = kit_connect(server.port);
    fds[1] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 2);
    for (round = 0; round < 100; round++) {
        write_tiny_frames(fds[0], (unsigned)round * 30, 30);
        write_tiny_frames(fds[1], (unsigned)round * 30, 30);
    }
    kit_write(fds[1], "", 0);
    KIT_UNTIL(party_count(&server, WAWO_ON_RECEIVE) == 6000);
    kit_close(fds[0]);
    kit_close(fds[1]);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(close_drops_what_is_held, backend)
{
    struct stage s;
    struct party server;
    struct plan plan = {10};
    int fd;

    open_with(&s, &server, backend, hook_pause_often, &plan);
    party_framed(&server, 2, 65535);
    party_start(&server);
    fd = kit_connect(server.port);
    write_tiny_frames(fd, 0, 2000);
    party_wait(&server, WAWO_ON_RECEIVE, 10);
    ASSERT_TRUE(wawo_share_close(server.last));
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.closed_received, 10u);
    party_close(&s, &server);
}

static void hook_close_in_batch(struct party *p, const struct wawo_event *e, struct actor *a)
{
    const struct plan *plan = p->arg;

    if (e->kind != WAWO_ON_RECEIVE || a->messages < plan->pause_every)
        return;
    ASSERT_EQ(a->messages, plan->pause_every);
    ASSERT_TRUE(wawo_share_close(e->share));
}

TEST_EACH_BACKEND(close_in_a_callback_drops_the_rest_of_the_batch, backend)
{
    struct stage s;
    struct party server;
    struct plan plan = {5};
    int fd;

    open_with(&s, &server, backend, hook_close_in_batch, &plan);
    party_framed(&server, 2, 65535);
    party_start(&server);
    fd = kit_connect(server.port);
    write_tiny_frames(fd, 0, 6000);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.closed_received, 5u);
    party_close(&s, &server);
}

static void hook_abort_in_batch(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_RECEIVE)
        ASSERT_TRUE(wawo_share_abort(e->share));
}

TEST_EACH_BACKEND(abort_in_a_callback, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, hook_abort_in_batch, NULL);
    party_framed(&server, 2, 65535);
    party_start(&server);
    fd = kit_connect(server.port);
    write_tiny_frames(fd, 0, 2000);
    ASSERT_EQ(kit_read_end(fd, NULL), ECONNRESET);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.count[WAWO_ON_RECEIVE], 1u);
    party_close(&s, &server);
}

/* Pausing by a share before the connection stands. */
TEST_EACH_BACKEND(pause_while_connecting, backend)
{
    struct stage s;
    struct party agent;
    struct wawo_share *share;
    uint16_t port;
    int listener, fd;

    stage_open(&s, backend, 1);
    party_init(&agent, &s, WAWO_AGENT);
    agent.verify = true;
    party_start(&agent);
    listener = kit_listen(&port);
    share = party_connect(&agent, port);
    ASSERT_TRUE(wawo_share_pause(share, true));
    fd = kit_accept(listener);
    party_wait(&agent, WAWO_ON_HANDSHAKE, 1);
    kit_write_pattern(fd, 0, 5000);
    kit_shutdown(fd);
    for (int i = 0; i < 10; i++)
        kit_tick(__FILE__, __LINE__, "", INT64_MAX);
    ASSERT_EQ(party_count(&agent, WAWO_ON_RECEIVE), 0u);
    ASSERT_TRUE(wawo_share_pause(share, false));
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.closed_received, 5000u);
    wawo_share_drop(share);
    kit_close(fd);
    kit_close(listener);
    party_close(&s, &agent);
}
