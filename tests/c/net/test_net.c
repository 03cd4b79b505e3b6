/* The batch, the memory limit, two engines, the baton's users, fork. */
#include "support/stage.h"

#include "base/atomic.h"
#include "base/err.h"
#include "io/backend.h"
#include "io/threads.h"
#include "net/baton.h"

#include <errno.h>

enum { MIB = 1024 * 1024 };

/* ---- memory ---- */

static void write_main(void *arg)
{
    kit_write_pattern(*(int *)arg, 0, 16 * MIB);
    kit_shutdown(*(int *)arg);
}

/* At the pool's limit receiving pauses, is counted, and goes on when chunks come home; nothing is lost. */
TEST_EACH_BACKEND(memory_limit_pauses_receiving, backend)
{
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    struct wawo_loop_stats ls;
    struct keeper k = {.count = 0};
    struct wawo_thread t;
    int fd;

    ASSERT_EQ(stage_open_with(&s, backend, 1, MIB), 0); /* eight chunks */
    party_init(&server, &s, WAWO_SERVER);
    server.verify = true;
    server.hook = hook_keep;
    server.arg = &k;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_start(&t, write_main, &fd);
    do
        wawo_endpoint_stats(server.endpoint, &st);
    while (st.receive_pauses == 0);
    wawo_engine_stats(s.threads, 0, &ls);
    ASSERT_GT(ls.pool_starved, 0u);
    ASSERT_EQ(ls.pool_limit, 8u);
    while (party_count(&server, WAWO_ON_CLOSE) == 0)
        keeper_drop(&k, &server);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(server.closed_received, 16u * MIB);
    keeper_drop(&k, &server);
    wawo_thread_join(&t);
    kit_close(fd);
    party_close(&s, &server);
}

/* A connection that is closing needs room to discard input; without it, it waits, and loses nothing it owes. */
static void hook_keep_and_answer(struct party *p, const struct wawo_event *e, struct actor *a)
{
    static uint8_t answer[4 * MIB];
    struct keeper *k = p->arg;
    struct wawo_chunk *c;

    hook_keep(p, e, a);
    if (e->kind == WAWO_ON_RECEIVE && a->scratch[1] == 0) {
        a->scratch[1] = 1;
        wawo_mutex_lock(&p->stage->lock);
        while ((c = wawo_pool_take(p->stage->threads->loops[0].heap.pool, 0)) != NULL)
            k->held[k->count++] = c;
        wawo_mutex_unlock(&p->stage->lock);
        kit_fill(answer, sizeof answer, 0);
        ASSERT_EQ(wawo_share_send(e->share, answer, sizeof answer), 1);
        ASSERT_TRUE(wawo_share_close(e->share));
    }
}

static void write_two_main(void *arg)
{
    kit_write_pattern(*(int *)arg, 0, 2 * MIB);
}

TEST_EACH_BACKEND(closing_without_memory_keeps_its_output, backend)
{
    struct stage s;
    struct party server;
    struct keeper k = {.count = 0};
    struct wawo_thread t;
    int fd;

    ASSERT_EQ(stage_open_with(&s, backend, 1, 2 * MIB), 0);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_keep_and_answer;
    server.arg = &k;
    party_start(&server);
    fd = kit_connect_small(server.port);
    kit_start(&t, write_two_main, &fd);
    kit_read_pattern(fd, 0, 4 * MIB);
    keeper_drop(&k, &server);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    wawo_thread_join(&t);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    keeper_drop(&k, &server);
    ASSERT_EQ(server.error, 0);
    party_close(&s, &server);
}

/* Exported chunks are off the account: receiving goes on, up to the quota. */
static void hook_export(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct keeper *k = p->arg;

    (void)a;
    if (e->kind != WAWO_ON_RECEIVE || k->count == 256 || !wawo_chunk_export(e->chunk))
        return;
    wawo_mutex_lock(&p->stage->lock);
    k->held[k->count++] = e->chunk;
    wawo_mutex_unlock(&p->stage->lock);
}

TEST_EACH_BACKEND(exported_chunks_outlive_the_engine, backend)
{
    struct stage s;
    struct party server;
    struct keeper k = {.count = 0};
    struct wawo_thread t;
    int fd;
    unsigned i;

    ASSERT_EQ(stage_open_with(&s, backend, 1, MIB), 0);
    party_init(&server, &s, WAWO_SERVER);
    server.verify = true;
    server.hook = hook_export;
    server.arg = &k;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_start(&t, write_main, &fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.closed_received, 16u * MIB);
    wawo_thread_join(&t);
    kit_close(fd);
    party_finish(&server);
    ASSERT_TRUE(wawo_engine_stop(s.threads, WAWO_SEC));
    wawo_engine_drop(s.threads);
    ASSERT_GT(k.count, 0u);
    ASSERT_GT(wawo_live_chunks(), 0u);
    for (i = 0; i < k.count; i++)
        wawo_chunk_drop(k.held[i]);
    ASSERT_EQ(wawo_live_chunks(), 0u);
    wawo_cond_fini(&s.changed);
    wawo_mutex_fini(&s.lock);
}

/* ---- the batch ---- */

/* One callback makes work for thousands of connections: the events of settling them come in bounded batches. */
struct crowd {
    struct wawo_share *all[2000];
    unsigned count;
    bool flush;
};

static void hook_crowd(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct crowd *c = p->arg;
    unsigned i;

    (void)a;
    if (e->kind == WAWO_ON_ACCEPT)
        c->all[c->count++] = e->share;
    if (e->kind == WAWO_ON_RECEIVE)
        for (i = 0; i < c->count; i++) {
            ASSERT_EQ(wawo_share_send(c->all[i], "to all", 6), 1);
            if (c->flush)
                ASSERT_TRUE(wawo_share_flush(c->all[i]));
        }
}

static void tell_a_crowd(const char *backend, bool flush)
{
    enum { CROWD = 2000 };
    static struct crowd c;
    static int fds[CROWD];
    struct stage s;
    struct party server;
    struct wawo_loop_stats st;
    char got[6];
    int i;

    if (!os_allow_fds(2 * CROWD + 100))
        SKIP("too few descriptors here");
    stage_open(&s, backend, 1);
    c = (struct crowd){.flush = flush};
    party_init(&server, &s, WAWO_SERVER);
    server.mask |= 1u << WAWO_ON_SEND;
    server.hook = hook_crowd;
    server.arg = &c;
    party_start(&server);
    for (i = 0; i < CROWD; i++)
        fds[i] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, CROWD);
    kit_write(fds[0], "x", 1);
    for (i = 0; i < CROWD; i++) {
        ASSERT_EQ(kit_read(fds[i], got, 6), 6u);
        ASSERT_MEMEQ(got, "to all", 6);
    }
    party_wait(&server, WAWO_ON_SEND, CROWD);
    wawo_engine_stats(s.threads, 0, &st);
    if (!flush)
        ASSERT_LT(st.batch_max, 1200u);
    party_close(&s, &server);
    ASSERT_EQ(server.count[WAWO_ON_CLOSE], (unsigned)CROWD);
    for (i = 0; i < CROWD; i++)
        kit_close(fds[i]);
}

TEST_EACH_BACKEND(a_crowd_is_told_in_bounded_batches, backend)
{
    tell_a_crowd(backend, false);
}

TEST_EACH_BACKEND(a_crowd_is_flushed_in_a_callback, backend)
{
    tell_a_crowd(backend, true);
}

/* ---- engines ---- */

TEST(unknown_backend)
{
    struct stage s;

    ASSERT_EQ(stage_open_with(&s, "no such", 1, MIB), WAWO_EINVAL);
}

TEST(best_backend_and_names)
{
    struct wawo_backend_info info;
    const char *best = NULL;
    struct stage s;
    unsigned rank;

    for (rank = 0; wawo_backend_at(rank, &info); rank++) {
        ASSERT_STREQ(info.name, wawo_backends[rank]->name);
        ASSERT_TRUE(info.why == NULL || *info.why != 0);
        if (best == NULL && info.why == NULL && !info.on_request)
            best = info.name;
    }
    ASSERT_NOT_NULL(best);
    ASSERT_FALSE(wawo_backend_at(rank, &info));
    ASSERT_FALSE(wawo_backend_at(rank + 5, &info));
    ASSERT_EQ(stage_open_with(&s, NULL, 1, MIB), 0);
    ASSERT_STREQ(wawo_engine_backend(s.threads), best);
    stage_close(&s);
}

TEST_EACH_BACKEND(two_engines_side_by_side, backend)
{
    struct stage a, b;
    struct party server, agent;
    int i;

    stage_open(&a, backend, 2);
    stage_open(&b, NULL, 1);
    party_init(&server, &a, WAWO_SERVER);
    server.hook = hook_echo;
    party_start(&server);
    party_init(&agent, &b, WAWO_AGENT);
    agent.hook = hook_echo;
    party_start(&agent);
    ASSERT_FALSE(wawo_engine_current(a.threads));
    for (i = 0; i < 10; i++) {
        struct wawo_share *share = party_connect(&agent, server.port);

        ASSERT_EQ(wawo_share_send(share, "to and fro", 10), 1);
        wawo_share_drop(share);
    }
    party_wait(&server, WAWO_ON_RECEIVE, 1000);
    party_finish(&agent);
    party_finish(&server);
    ASSERT_TRUE(wawo_engine_stop(b.threads, WAWO_SEC));
    wawo_engine_drop(b.threads);
    wawo_cond_fini(&b.changed);
    wawo_mutex_fini(&b.lock);
    stage_close(&a);
}

/* ---- fork ---- */

/* The child closes what it inherited and may start anew; the parent goes on undisturbed. */
static void live_in_child(void *arg)
{
    wawo_after_fork_child();
    ASSERT_EQ(wawo_live_threads(), 0u);
/* A sanitizer cannot follow threads that a child of many threads starts: its own locks may have been held in the fork. */
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
    struct stage fresh;

    stage_open(&fresh, arg, 1);
    ASSERT_TRUE(wawo_engine_stop(fresh.threads, kit_deadline_s() * WAWO_SEC));
    wawo_engine_drop(fresh.threads);
#else
    (void)arg;
#endif
}

TEST_EACH_BACKEND(after_fork, backend)
{
    struct stage s;
    struct party server;
    char got[4];
    int fd;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_echo;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "ping", 4);
    ASSERT_EQ(kit_read(fd, got, 4), 4u);
    ASSERT_EQ(os_fork(live_in_child, (void *)(uintptr_t)backend), 0);
    kit_write(fd, "pong", 4);
    ASSERT_EQ(kit_read(fd, got, 4), 4u);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1); /* the child holds no copy that would keep it open */
    party_close(&s, &server);
}

/* A batch may wait for another loop's while a connection of it ends, and nobody asked to hear of the end. */
TEST_EACH_BACKEND(ends_unheard_while_the_batch_waits, backend)
{
    struct wawo_endpoint_stats st;
    struct stage s;
    struct party server;
    int i, fd;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    server.mask = 1u << WAWO_ON_ACCEPT | 1u << WAWO_ON_HANDSHAKE | 1u << WAWO_ON_RECEIVE | 1u << WAWO_ON_SHUTDOWN;
    party_start(&server);
    for (i = 1; i <= 50; i++) {
        KIT_UNTIL(wawo_baton_try());
        fd = kit_connect(server.port);
        KIT_UNTIL((wawo_endpoint_stats(server.endpoint, &st), st.accepts) == (uint64_t)i);
        kit_write(fd, "x", 1);
        kit_reset(fd);
        KIT_UNTIL((wawo_endpoint_stats(server.endpoint, &st), st.closed) == (uint64_t)i);
        wawo_baton_give();
    }
    party_close(&s, &server);
}
