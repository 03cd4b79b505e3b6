/* Stopping, draining, ids, listing, several endpoints on the same loops. */
#include "support/stage.h"

#include "base/atomic.h"
#include "base/err.h"

#include <errno.h>

TEST_EACH_BACKEND(stop_of_an_empty_one, backend)
{
    struct stage s;
    struct party server, agent;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    party_start(&server);
    party_init(&agent, &s, WAWO_AGENT);
    party_start(&agent);
    party_finish(&agent);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(stop_ends_every_connection, backend)
{
    struct stage s;
    struct party server;
    int fds[50], i;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_echo;
    party_start(&server);
    for (i = 0; i < 50; i++)
        fds[i] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 50);
    party_close(&s, &server);
    ASSERT_EQ(server.count[WAWO_ON_CLOSE], 50u);
    for (i = 0; i < 50; i++) {
        ASSERT_EQ(kit_read_end(fds[i], NULL), 0);
        kit_close(fds[i]);
    }
}

TEST_EACH_BACKEND(drain_lets_them_finish, backend)
{
    struct stage s;
    struct party server;
    char got[4];
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_echo;
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    party_stop(&server, 60 * WAWO_SEC);
    kit_write(fd, "ping", 4);
    ASSERT_EQ(kit_read(fd, got, 4), 4u);
    ASSERT_EQ(party_count(&server, WAWO_ON_SHUTDOWN), 0u);
    kit_shutdown(fd);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    party_wait(&server, WAWO_ON_SHUTDOWN, 1);
    kit_close(fd);
    party_close(&s, &server);
}

/* Stopping again does not make the first stop last longer. */
TEST_EACH_BACKEND(drain_ends_at_its_time, backend)
{
    struct stage s;
    struct party server;
    int64_t start = wawo_os_now_ns(), took;
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    start = wawo_os_now_ns();
    party_stop(&server, 200 * WAWO_MSEC);
    while (party_count(&server, WAWO_ON_SHUTDOWN) == 0) {
        party_stop(&server, 200 * WAWO_MSEC);
        kit_tick(__FILE__, __LINE__, "the end of the drain", start + 5 * WAWO_SEC);
    }
    took = wawo_os_now_ns() - start;
    ASSERT_GE(took, 200 * WAWO_MSEC);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(a_shorter_stop_overrules, backend)
{
    struct stage s;
    struct party server;
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    party_stop(&server, INT64_MAX);
    party_stop(&server, 0);
    party_wait(&server, WAWO_ON_SHUTDOWN, 1);
    kit_close(fd);
    party_close(&s, &server);
}

static void hook_stop(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)a;
    if (e->kind == WAWO_ON_RECEIVE)
        wawo_endpoint_stop(p->endpoint, 0);
}

TEST_EACH_BACKEND(stop_from_a_callback, backend)
{
    struct stage s;
    struct party server;
    int fds[20], i;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_stop;
    party_start(&server);
    for (i = 0; i < 20; i++)
        fds[i] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 20);
    kit_write(fds[7], "stop", 4);
    party_wait(&server, WAWO_ON_SHUTDOWN, 1);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 20u);
    for (i = 0; i < 20; i++)
        kit_close(fds[i]);
    party_close(&s, &server);
}

/* Each end dials twice: one of them has the place, and `arg` says whether that is let go of at once. */
static void hook_dial_again(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)a;
    if (e->kind == WAWO_ON_CONNECT)
        wawo_share_abort(e->share);
    if (e->kind != WAWO_ON_CLOSE || party_count(p, WAWO_ON_CLOSE) > 5)
        return;
    ASSERT_EQ(party_dial(p, "127.0.0.1", p->port, 0, NULL), 0);
    ASSERT_EQ(party_dial(p, "127.0.0.1", p->port, 0, NULL), WAWO_ENOBUFS);
    if (p->arg != NULL)
        wawo_event_closed(e);
    ASSERT_EQ(party_dial(p, "127.0.0.1", p->port, 0, NULL), WAWO_ENOBUFS);
    ASSERT_EQ(wawo_endpoint_count(p->endpoint), 1u);
}

TEST_EACH_BACKEND(the_end_of_one_makes_place_for_another, backend)
{
    struct stage s;
    struct party server, agent;
    unsigned threads;

    for (threads = 1; threads <= 2; threads++) {
        stage_open(&s, backend, threads);
        party_init(&server, &s, WAWO_SERVER);
        party_start(&server);
        party_init(&agent, &s, WAWO_AGENT);
        agent.options.max_connections = 1;
        agent.port = server.port;
        agent.arg = threads == 1 ? &agent : NULL;
        agent.hook = hook_dial_again;
        party_start(&agent);
        ASSERT_EQ(party_dial(&agent, "127.0.0.1", agent.port, 0, NULL), 0);
        party_wait(&agent, WAWO_ON_CLOSE, 6);
        party_finish(&agent);
        party_close(&s, &server);
    }
}

/* Stopping while connections come in: hand-overs in flight are ended too, none is lost, none stays. */
static void come_and_go(void *arg)
{
    struct party *server = arg;
    struct wawo_addr to;
    int i, fd;

    ASSERT_EQ(wawo_addr_parse(&to, "127.0.0.1", server->port), 0);
    for (i = 0; i < 300; i++) {
        fd = wawo_os_socket(WAWO_AF_INET);
        ASSERT_GE(fd, 0);
        (void)wawo_os_connect(fd, &to);
        (void)wawo_os_send(fd, "x", 1);
        kit_close(fd);
    }
}

TEST_EACH_BACKEND(stop_while_others_connect, backend)
{
    struct stage s;
    struct party server;
    struct wawo_thread t[2];
    int round;

    stage_open(&s, backend, 2);
    for (round = 0; round < 10; round++) {
        party_init(&server, &s, WAWO_SERVER);
        server.hook = hook_echo;
        party_start(&server);
        kit_start(&t[0], come_and_go, &server);
        kit_start(&t[1], come_and_go, &server);
        if (round > 0)
            party_wait(&server, WAWO_ON_ACCEPT, (uint64_t)round);
        party_finish(&server);
        ASSERT_EQ(server.count[WAWO_ON_ACCEPT], server.count[WAWO_ON_CLOSE]);
        wawo_thread_join(&t[0]);
        wawo_thread_join(&t[1]);
    }
    stage_close(&s);
}

static void dial_and_dial(void *arg)
{
    struct party *agent = arg;

    while (party_dial(agent, "127.0.0.1", agent->port, 0, NULL) != WAWO_ECLOSED)
        continue;
}

TEST_EACH_BACKEND(stop_while_others_dial, backend)
{
    struct stage s;
    struct party server, agent;
    struct wawo_thread t[2];
    int round;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_echo;
    party_start(&server);
    for (round = 0; round < 10; round++) {
        party_init(&agent, &s, WAWO_AGENT);
        agent.port = server.port;
        agent.options.max_connections = 100;
        party_start(&agent);
        kit_start(&t[0], dial_and_dial, &agent);
        kit_start(&t[1], dial_and_dial, &agent);
        party_wait(&agent, WAWO_ON_CONNECT, (uint64_t)round * 3);
        party_stop(&agent, 0);
        wawo_thread_join(&t[0]);
        wawo_thread_join(&t[1]);
        party_finish(&agent);
    }
    party_close(&s, &server);
}

/* ---- ids ---- */

TEST_EACH_BACKEND(find_list_and_stale_ids, backend)
{
    struct stage s;
    struct party server, other;
    struct wawo_share *list[8], *found;
    uint64_t id;
    int fds[3], i;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    party_start(&server);
    party_init(&other, &s, WAWO_SERVER);
    party_start(&other);
    for (i = 0; i < 3; i++)
        fds[i] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 3);
    KIT_UNTIL(wawo_endpoint_list(server.endpoint, NULL, 0) == 3);
    ASSERT_EQ(wawo_endpoint_list(server.endpoint, list, 8), 3u);
    ASSERT_EQ(wawo_endpoint_list(other.endpoint, list + 3, 5), 0u);
    for (i = 0; i < 3; i++) {
        id = wawo_share_id(list[i]);
        found = wawo_endpoint_find(server.endpoint, id);
        ASSERT_EQ((void *)found, (void *)list[i]);
        wawo_share_drop(found);
        ASSERT_NULL(wawo_endpoint_find(other.endpoint, id));
        ASSERT_NULL(wawo_endpoint_find(server.endpoint, id + (UINT64_C(1) << 32)));
        wawo_share_drop(list[i]);
    }
    ASSERT_NULL(wawo_endpoint_find(server.endpoint, 0));
    ASSERT_NULL(wawo_endpoint_find(server.endpoint, UINT64_MAX));
    for (i = 0; i < 3; i++)
        kit_close(fds[i]);
    party_wait(&server, WAWO_ON_CLOSE, 3);
    ASSERT_EQ(wawo_endpoint_list(server.endpoint, NULL, 0), 0u);
    KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 0);
    ASSERT_NULL(wawo_endpoint_find(server.endpoint, id));
    party_finish(&other);
    party_close(&s, &server);
}

/* A slot is used again at once: the share of the one before answers 0 and false, and reaches nobody else. */
TEST_EACH_BACKEND(stale_shares_reach_nobody, backend)
{
    struct stage s;
    struct party server;
    struct wawo_share *old[20];
    char got[4];
    int fd, i, k;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_echo;
    party_start(&server);
    for (i = 0; i < 20; i++) {
        fd = kit_connect(server.port);
        party_wait(&server, WAWO_ON_ACCEPT, (uint64_t)i + 1);
        old[i] = party_last(&server);
        for (k = 0; k < i; k++) {
            ASSERT_NE(wawo_share_id(old[k]), wawo_share_id(old[i]));
            ASSERT_EQ(wawo_share_send(old[k], "stale", 5), 0);
            ASSERT_FALSE(wawo_share_close(old[k]));
            ASSERT_FALSE(wawo_share_abort(old[k]));
            ASSERT_FALSE(wawo_share_pause(old[k], true));
            ASSERT_FALSE(wawo_share_shutdown_write(old[k]));
            ASSERT_FALSE(wawo_share_flush(old[k]));
            ASSERT_FALSE(wawo_share_connected(old[k]));
            ASSERT_EQ(wawo_share_pending(old[k]), 0u);
            ASSERT_NULL(wawo_share_user(old[k]));
        }
        kit_write(fd, "mine", 4);
        ASSERT_EQ(kit_read(fd, got, 4), 4u);
        ASSERT_MEMEQ(got, "mine", 4);
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, (uint64_t)i + 1);
        KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 0);
    }
    for (i = 0; i < 20; i++)
        wawo_share_drop(old[i]);
    party_close(&s, &server);
}

/* A share outlives its endpoint and its engine. */
TEST_EACH_BACKEND(a_share_outlives_all, backend)
{
    struct stage s;
    struct party server;
    struct wawo_share *share;
    int fd, operation, gai;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    share = party_last(&server);
    party_finish(&server);
    ASSERT_TRUE(wawo_engine_stop(s.threads, WAWO_SEC));
    wawo_engine_drop(s.threads);
    ASSERT_EQ(wawo_share_send(share, "x", 1), 0);
    ASSERT_FALSE(wawo_share_close(share));
    ASSERT_FALSE(wawo_share_pause(share, true));
    ASSERT_EQ(wawo_share_error(share, &operation, &gai), 0);
    ASSERT_EQ(operation, WAWO_OP_CLOSE);
    ASSERT_EQ(wawo_live_shares(), 1u);
    wawo_share_drop(share);
    ASSERT_EQ(wawo_live_shares(), 0u);
    kit_close(fd);
    wawo_cond_fini(&s.changed);
    wawo_mutex_fini(&s.lock);
}

/* Other threads look for connections by id and in lists while they come and go. */
struct looker {
    struct party *server;
    uint32_t stop; /* atomic */
    uint64_t found;
};

static void look_main(void *arg)
{
    struct looker *l = arg;
    struct wawo_share *list[64], *again;
    char host[WAWO_HOST_TEXT];
    size_t n, i;
    int family, operation, gai;

    while (!wawo_load(&l->stop)) {
        n = wawo_endpoint_list(l->server->endpoint, list, 64);
        for (i = 0; i < n && i < 64; i++) {
            ASSERT_NE(wawo_share_id(list[i]), 0u);
            again = wawo_endpoint_find(l->server->endpoint, wawo_share_id(list[i]));
            ASSERT_TRUE(again == NULL || again == list[i]);
            if (again != NULL)
                wawo_share_drop(again);
            (void)wawo_share_address(list[i], false, host, &family);
            (void)wawo_share_error(list[i], &operation, &gai);
            (void)wawo_share_pending(list[i]);
            (void)wawo_share_silence_ns(list[i]);
            (void)wawo_share_connect_ns(list[i]);
            (void)wawo_share_send(list[i], "broadcast", 9);
            if (i % 5 == 0)
                (void)wawo_share_close(list[i]);
            wawo_share_drop(list[i]);
            l->found++;
        }
    }
}

TEST_EACH_BACKEND(listing_while_they_come_and_go, backend)
{
    struct stage s;
    struct party server, agent;
    struct wawo_endpoint_stats st;
    struct wawo_loop_stats ls;
    struct looker l;
    struct wawo_thread t;
    int i;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_echo;
    party_start(&server);
    party_init(&agent, &s, WAWO_AGENT);
    party_start(&agent);
    l = (struct looker){.server = &server};
    kit_start(&t, look_main, &l);
    for (i = 0; i < 300; i++) {
        wawo_share_drop(party_connect(&agent, server.port));
        if (i % 10 == 0) {
            party_wait(&agent, WAWO_ON_CONNECT, (uint64_t)i);
            party_lock(&agent);
            if (agent.last != NULL)
                (void)wawo_share_close(agent.last);
            party_unlock(&agent);
        }
        wawo_endpoint_stats(server.endpoint, &st);
        wawo_engine_stats(s.threads, 0, &ls);
    }
    party_wait(&agent, WAWO_ON_CONNECT, 300);
    wawo_store(&l.stop, 1);
    wawo_thread_join(&t);
    party_finish(&agent);
    party_close(&s, &server);
}
