/* Accepting: full, out of descriptors, hand-over to other loops. */
#include "support/stage.h"

#include "base/atomic.h"
#include "base/err.h"
#include "io/threads.h"
#include "net/endpoint.h"

#include <errno.h>

static void open_limited(struct stage *s, struct party *server, const char *backend, unsigned loops, unsigned max,
                         bool close_when_full)
{
    stage_open(s, backend, loops);
    party_init(server, s, WAWO_SERVER);
    server->options.max_connections = max;
    server->options.close_when_full = close_when_full;
    server->hook = hook_echo;
    party_start(server);
}

static void answered(int fd)
{
    char got;

    ASSERT_EQ(kit_read(fd, &got, 1), 1u);
}

/* In the end every one of the waiting is served, one after the other. */
static void full_waits(const char *backend, unsigned loops)
{
    enum { CLIENTS = 30, MAX = 3 };
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    int fds[CLIENTS], i;

    open_limited(&s, &server, backend, loops, MAX, false);
    for (i = 0; i < CLIENTS; i++) {
        fds[i] = kit_connect(server.port);
        kit_write(fds[i], "x", 1);
    }
    for (i = 0; i < CLIENTS; i++) {
        answered(fds[i]);
        ASSERT_LE(wawo_endpoint_count(server.endpoint), (unsigned)MAX);
        kit_close(fds[i]);
    }
    party_wait(&server, WAWO_ON_CLOSE, CLIENTS);
    ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), (unsigned)CLIENTS);
    wawo_endpoint_stats(server.endpoint, &st);
    ASSERT_EQ(st.rejected, 0u);
    ASSERT_GT(st.accept_pauses, 0u);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(full_waits_one_loop, backend)
{
    full_waits(backend, 1);
}

TEST_EACH_BACKEND(full_waits_two_loops, backend)
{
    full_waits(backend, 2);
}

TEST_EACH_BACKEND(stop_while_others_wait, backend)
{
    struct stage s;
    struct party server;
    int fds[20], i;

    open_limited(&s, &server, backend, 2, 1, false);
    for (i = 0; i < 20; i++)
        fds[i] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    party_close(&s, &server);
    for (i = 0; i < 20; i++) {
        int err = kit_read_end(fds[i], NULL);

        ASSERT_TRUE(err == 0 || err == ECONNRESET);
        kit_close(fds[i]);
    }
}

struct gate {
    uint32_t entered, go; /* atomic */
};

/* Echoes; the first message waits until another peer is in the queue, and then asks for the stop. */
static void hook_stop_late(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct gate *g = p->arg;

    hook_echo(p, e, a);
    if (e->kind != WAWO_ON_RECEIVE || wawo_exchange(&g->entered, 1) != 0)
        return;
    KIT_UNTIL(wawo_load(&g->go) != 0);
    party_stop(p, KIT_DEADLINE_S * WAWO_SEC);
}

/* Whoever was accepted in the turn that hears of the stop is served for the time of the drain. */
static void accepted_as_the_stop_comes(const char *backend, unsigned loops)
{
    struct gate gate = {0, 0};
    struct stage s;
    struct party server;
    int one, two;

    stage_open(&s, backend, loops);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_stop_late;
    server.arg = &gate;
    party_start(&server);
    one = kit_connect(server.port);
    kit_write(one, "x", 1);
    KIT_UNTIL(wawo_load(&gate.entered) != 0);
    two = kit_connect(server.port);
    kit_write(two, "x", 1);
    wawo_store(&gate.go, 1);
    answered(one);
    answered(two);
    kit_close(one);
    kit_close(two);
    party_wait(&server, WAWO_ON_SHUTDOWN, 1);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 2u);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(accepted_as_the_stop_comes_one_loop, backend)
{
    accepted_as_the_stop_comes(backend, 1);
}

TEST_EACH_BACKEND(accepted_as_the_stop_comes_two_loops, backend)
{
    accepted_as_the_stop_comes(backend, 2);
}

TEST_EACH_BACKEND(full_closes, backend)
{
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    int one, two, err;

    open_limited(&s, &server, backend, 1, 1, true);
    one = kit_connect(server.port);
    kit_write(one, "x", 1);
    answered(one);
    two = kit_connect(server.port);
    err = kit_read_end(two, NULL);
    ASSERT_TRUE(err == 0 || err == ECONNRESET);
    do /* counted after the close that we saw */
        wawo_endpoint_stats(server.endpoint, &st);
    while (st.rejected == 0);
    ASSERT_EQ(st.rejected, 1u);
    kit_close(one);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 0);
    kit_close(two);
    two = kit_connect(server.port);
    kit_write(two, "x", 1);
    answered(two);
    kit_close(two);
    party_close(&s, &server);
}

/* ---- connections of one address ---- */

static uint32_t addresses_of(const struct party *p)
{
    uint32_t n;

    wawo_mutex_lock(&p->endpoint->lock);
    n = p->endpoint->census.used;
    wawo_mutex_unlock(&p->endpoint->lock);
    return n;
}

/* Closed unseen, though the peer had connected. */
static void turned_away(int fd)
{
    int err = kit_read_end(fd, NULL);

    ASSERT_TRUE(err == 0 || err == ECONNRESET);
    kit_close(fd);
}

static void open_per_address(struct stage *s, struct party *server, const char *backend, unsigned loops, unsigned limit)
{
    stage_open(s, backend, loops);
    party_init(server, s, WAWO_SERVER);
    server->options.max_per_address = limit;
    server->hook = hook_echo;
}

static void two_of_each(const char *backend, unsigned loops)
{
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    int fds[4], i;

    open_per_address(&s, &server, backend, loops, 2);
    party_start(&server);
    for (i = 0; i < 4; i++) {
        fds[i] = kit_connect_from(i < 2 ? "127.0.0.1" : "127.0.0.2", server.port);
        kit_write(fds[i], "x", 1);
        answered(fds[i]);
    }
    for (i = 0; i < 10; i++)
        turned_away(kit_connect_from(i % 2 ? "127.0.0.1" : "127.0.0.2", server.port));
    KIT_UNTIL(party_stats(&server).rejected == 10);
    st = party_stats(&server);
    ASSERT_EQ(st.rejected_address, 10u);
    ASSERT_EQ(st.accepts, 4u);
    ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), 4u);
    kit_close(fds[0]);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 3);
    fds[0] = kit_connect_from("127.0.0.1", server.port);
    kit_write(fds[0], "x", 1);
    answered(fds[0]);
    turned_away(kit_connect_from("127.0.0.2", server.port));
    for (i = 0; i < 4; i++)
        kit_close(fds[i]);
    party_wait(&server, WAWO_ON_CLOSE, 5);
    KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 0);
    ASSERT_EQ(addresses_of(&server), 0u);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(two_of_each_address_one_loop, backend)
{
    two_of_each(backend, 1);
}

TEST_EACH_BACKEND(two_of_each_address_two_loops, backend)
{
    two_of_each(backend, 2);
}

/* Those of a full address do not wait for room in the whole, and take no place in the queue of those who do. */
TEST_EACH_BACKEND(full_with_a_full_address, backend)
{
    struct stage s;
    struct party server;
    int fds[3], greedy[5], i;

    open_per_address(&s, &server, backend, 2, 2);
    server.options.max_connections = 3;
    party_start(&server);
    for (i = 0; i < 2; i++) {
        fds[i] = kit_connect_from("127.0.0.1", server.port);
        kit_write(fds[i], "x", 1);
        answered(fds[i]);
    }
    fds[2] = kit_connect_from("127.0.0.2", server.port);
    kit_write(fds[2], "x", 1);
    answered(fds[2]);
    for (i = 0; i < 5; i++) /* they wait, for the component is full */
        greedy[i] = kit_connect_from("127.0.0.1", server.port);
    i = kit_connect_from("127.0.0.3", server.port);
    kit_write(i, "x", 1);
    kit_close(fds[2]); /* room: the greedy ones are turned away, the last one is served */
    answered(i);
    kit_close(i);
    for (i = 0; i < 5; i++)
        turned_away(greedy[i]);
    KIT_UNTIL(party_stats(&server).rejected == 5);
    kit_close(fds[0]);
    kit_close(fds[1]);
    party_wait(&server, WAWO_ON_CLOSE, 4);
    party_close(&s, &server);
}

enum { CROWD_LIMIT = 3, CROWD_ROUNDS = 80 }; /* all of a crowd fit into the backlog, else some are never heard of */

struct crowd {
    struct party *server;
    int32_t open[3]; /* of each address; atomic */
    uint32_t heard;  /* visits that the server must have heard of; atomic */
};

static void hook_crowd(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct crowd *c = p->arg;
    char host[WAWO_HOST_TEXT];
    int family;

    (void)a;
    if (e->kind != WAWO_ON_ACCEPT && e->kind != WAWO_ON_CLOSE)
        return;
    ASSERT_GT(wawo_share_address(e->share, false, host, &family), 0);
    if (e->kind == WAWO_ON_ACCEPT)
        ASSERT_LT(wawo_add(&c->open[host[8] - '1'], 1), CROWD_LIMIT);
    else
        ASSERT_GT(wawo_sub(&c->open[host[8] - '1'], 1), 0);
}

static void visit_main(void *arg)
{
    static const char *const from[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};
    struct crowd *c = arg;
    uint64_t state = (uintptr_t)&state;
    int fds[4], i, k;

    for (i = 0; i < CROWD_ROUNDS; i++) {
        for (k = 0; k < 4; k++)
            fds[k] = kit_connect_from(from[kit_below(&state, 3)], c->server->port);
        for (k = 0; k < 4; k++)
            if (kit_below(&state, 2)) {
                wawo_add(&c->heard, os_accepts_resets() ? 1 : 0);
                kit_reset(fds[k]);
            } else {
                wawo_add(&c->heard, 1);
                kit_close(fds[k]);
            }
    }
}

/* Exact while connections of the same addresses begin and end on several loops. */
TEST_EACH_BACKEND(never_more_than_the_limit, backend)
{
    struct stage s;
    struct party server;
    struct crowd crowd = {&server, {0, 0, 0}, 0};
    struct wawo_thread t[3];
    struct wawo_endpoint_stats st;
    int i;

    open_per_address(&s, &server, backend, 3, CROWD_LIMIT);
    server.hook = hook_crowd;
    server.arg = &crowd;
    party_start(&server);
    for (i = 0; i < 3; i++)
        kit_start(&t[i], visit_main, &crowd);
    for (i = 0; i < 3; i++)
        wawo_thread_join(&t[i]);
    KIT_UNTIL(party_stats(&server).accepts + party_stats(&server).rejected >= wawo_load(&crowd.heard));
    KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 0);
    st = party_stats(&server);
    ASSERT_EQ(st.rejected, st.rejected_address);
    ASSERT_GT(st.accepts, 0u);
    ASSERT_EQ(addresses_of(&server), 0u);
    party_close(&s, &server);
}

/* Out of descriptors: accepting backs off, is counted, and goes on. */
TEST_EACH_BACKEND(out_of_descriptors, backend)
{
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    int clients[8], i;

    open_limited(&s, &server, backend, 1, 100, false);
    for (i = 0; i < 8; i++) {
        clients[i] = wawo_os_socket(WAWO_AF_INET);
        ASSERT_GE(clients[i], 0);
    }
    if (!os_forbid_fds(clients[7] + 3)) /* room for two accepted ones, more or less */
        SKIP("descriptors have no limit here");
    for (i = 0; i < 8; i++) {
        struct wawo_addr to;
        int err;

        ASSERT_EQ(wawo_addr_parse(&to, "127.0.0.1", server.port), 0);
        err = wawo_os_connect(clients[i], &to);
        ASSERT_TRUE(err == 0 || err == WAWO_AGAIN);
    }
    do
        wawo_endpoint_stats(server.endpoint, &st);
    while (st.accept_pauses < 2);
    ASSERT_LT(st.accepts, 8u);
    os_allow_all_fds();
    party_wait(&server, WAWO_ON_ACCEPT, 8);
    for (i = 0; i < 8; i++)
        kit_close(clients[i]);
    party_wait(&server, WAWO_ON_CLOSE, 8);
    party_close(&s, &server);
}

/* A listening socket that breaks must not make the loop spin. */
TEST_EACH_BACKEND(a_broken_listener_does_not_spin, backend)
{
    struct stage s;
    struct party server;
    int fd, i;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    party_start(&server);
    fd = kit_listen(&server.port);
    ASSERT_EQ(wawo_endpoint_listen(server.endpoint, fd, -1), 0);
    i = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    if (!os_break_listener(fd))
        SKIP("a listening socket cannot be broken here");
    kit_close(i);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    KIT_UNTIL(stage_rests(&s));
    party_close(&s, &server);
}

/* Connections spread over the loops, and those that stay where they were accepted do. */
static void spread(const char *backend, int pinned)
{
    struct stage s;
    struct party server;
    struct wawo_loop_stats st[2];
    int fds[20], i, fd;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_echo;
    party_start(&server);
    fd = kit_listen(&server.port);
    ASSERT_EQ(wawo_endpoint_listen(server.endpoint, fd, pinned), 0);
    for (i = 0; i < 20; i++) {
        fds[i] = kit_connect(server.port);
        kit_write(fds[i], "x", 1);
        answered(fds[i]);
    }
    for (i = 0; i < 2; i++)
        wawo_engine_stats(s.threads, (unsigned)i, &st[i]);
    if (pinned < 0)
        ASSERT_EQ(st[0].connections, st[1].connections);
    else
        ASSERT_EQ(st[pinned].connections, 20u);
    for (i = 0; i < 20; i++)
        kit_close(fds[i]);
    party_wait(&server, WAWO_ON_CLOSE, 20);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(two_loops_share_the_load, backend)
{
    spread(backend, -1);
}

TEST_EACH_BACKEND(a_pinned_listener_keeps_its_own, backend)
{
    spread(backend, 1);
}

/* Thousands that come to a loop which is busy in a callback are all told of: the batch has its bounds. */
static void hook_slow_start(struct party *p, const struct wawo_event *e, struct actor *a)
{
    bool *blocked = p->arg;
    int64_t until = wawo_os_now_ns() + 300 * WAWO_MSEC;

    (void)a;
    if (e->kind != WAWO_ON_ACCEPT || *blocked)
        return;
    *blocked = true;
    while (wawo_os_now_ns() < until)
        continue;
}

static void hook_gate(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)a;
    if (e->kind == WAWO_ON_ACCEPT)
        KIT_UNTIL(wawo_load((uint32_t *)p->arg) != 0);
}

TEST_EACH_BACKEND(a_busy_loop_is_handed_thousands, backend)
{
    enum { MANY = 8500 }; /* with ACCEPT and HANDSHAKE more than a batch has room for */
    static int fds[MANY];
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    uint32_t gate = 0;
    int i;

    if (!os_allow_fds(2 * MANY + 100))
        SKIP("too few descriptors here");
    stage_open(&s, backend, 2);
    wawo_store(&s.threads->loops[0].load, 1000000); /* all go to the other loop */
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_gate;
    server.arg = &gate;
    party_start(&server);
    for (i = 0; i < MANY; i++)
        fds[i] = kit_connect(server.port);
    KIT_UNTIL(wawo_endpoint_count(server.endpoint) == MANY); /* booked; one of them in its callback */
    wawo_endpoint_stats(server.endpoint, &st);
    ASSERT_LT(st.accepts, (unsigned)MANY);
    wawo_store(&gate, 1);
    party_wait(&server, WAWO_ON_HANDSHAKE, MANY);
    party_finish(&server);
    ASSERT_EQ(server.count[WAWO_ON_CLOSE], (unsigned)MANY);
    wawo_store(&s.threads->loops[0].load, 0);
    stage_close(&s);
    for (i = 0; i < MANY; i++)
        kit_close(fds[i]);
}

TEST_EACH_BACKEND(a_storm_of_peers_that_give_up_at_once, backend)
{
    enum { PEERS = 600 };
    struct stage s;
    struct party server;
    bool blocked = false;
    int i;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_slow_start;
    server.arg = &blocked;
    server.mask |= 1u << WAWO_ON_SEND;
    party_start(&server);
    for (i = 0; i < PEERS; i++) {
        int fd = kit_connect(server.port);

        if (i % 2)
            kit_reset(fd);
        else
            kit_close(fd);
    }
    i = kit_connect(server.port);
    kit_write(i, "x", 1);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    kit_close(i);
    KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 0);
    ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), party_count(&server, WAWO_ON_CLOSE));
    party_close(&s, &server);
}
