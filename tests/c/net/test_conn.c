/* A connection from end to end: echo, half close, close that flushes, abort. */
#include "support/stage.h"

#include "base/err.h"

#include <errno.h>

enum { MIB = 1024 * 1024 };

static void server_open(struct stage *s, struct party *server, const char *backend, party_hook hook)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    server->hook = hook;
    party_start(server);
}

TEST_EACH_BACKEND(echo_small, backend)
{
    struct stage s;
    struct party server;
    char got[16];
    int fd;

    server_open(&s, &server, backend, hook_echo);
    fd = kit_connect(server.port);
    for (int i = 0; i < 100; i++) {
        kit_write(fd, "ping", 4);
        ASSERT_EQ(kit_read(fd, got, 4), 4u);
        ASSERT_MEMEQ(got, "ping", 4);
    }
    kit_shutdown(fd);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_CLOSE);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(server.received, 400u);
    kit_close(fd);
    party_close(&s, &server);
}

struct writer {
    int fd;
    uint64_t bytes;
};

static void write_main(void *arg)
{
    struct writer *w = arg;

    kit_write_pattern(w->fd, 0, (size_t)w->bytes);
    kit_shutdown(w->fd);
}

TEST_EACH_BACKEND(echo_bulk, backend)
{
    struct stage s;
    struct party server;
    struct writer w = {.bytes = 8 * MIB};
    struct wawo_thread t;

    server_open(&s, &server, backend, hook_echo);
    w.fd = kit_connect(server.port);
    kit_start(&t, write_main, &w);
    kit_read_pattern(w.fd, 0, (size_t)w.bytes);
    ASSERT_EQ(kit_read_end(w.fd, NULL), 0); /* our FIN came after all of it: all of it was answered */
    wawo_thread_join(&t);
    kit_close(w.fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    party_close(&s, &server);
}

/* The agent's side: sends the pattern on CONNECT, checks what comes back, closes when all came. */
static void hook_agent(struct party *p, const struct wawo_event *e, struct actor *a)
{
    static const size_t total = 100000;
    uint8_t block[1000];
    size_t i;

    (void)p;
    if (e->kind == WAWO_ON_CONNECT)
        for (i = 0; i < total; i += sizeof block) {
            kit_fill(block, sizeof block, i);
            ASSERT_EQ(wawo_share_send(e->share, block, sizeof block), 1);
        }
    if (e->kind == WAWO_ON_RECEIVE && a->received == total)
        ASSERT_TRUE(wawo_share_close(e->share));
}

static void echo_agent(const char *backend, unsigned loops, unsigned connections)
{
    struct stage s;
    struct party server, agent;
    struct wawo_endpoint_stats st;
    unsigned i;

    stage_open(&s, backend, loops);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_echo;
    party_start(&server);
    party_init(&agent, &s, WAWO_AGENT);
    agent.hook = hook_agent;
    agent.verify = true;
    party_start(&agent);
    for (i = 0; i < connections; i++)
        wawo_share_drop(party_connect(&agent, server.port));
    party_wait(&agent, WAWO_ON_CLOSE, connections);
    party_wait(&server, WAWO_ON_CLOSE, connections);
    ASSERT_EQ(agent.bad, 0u);
    ASSERT_EQ(server.bad, 0u);
    ASSERT_EQ(agent.received, connections * UINT64_C(100000));
    ASSERT_EQ(agent.count[WAWO_ON_HANDSHAKE], connections);
    wawo_endpoint_stats(server.endpoint, &st);
    ASSERT_EQ(st.accepts, connections);
    ASSERT_EQ(st.bytes_in, connections * UINT64_C(100000));
    ASSERT_EQ(st.bytes_out, connections * UINT64_C(100000));
    party_finish(&agent);
    party_finish(&server);
    stage_close(&s);
}

TEST_EACH_BACKEND(echo_agent_one_loop, backend)
{
    echo_agent(backend, 1, 40);
}

TEST_EACH_BACKEND(echo_agent_two_loops, backend)
{
    echo_agent(backend, 2, 60);
}

TEST_EACH_BACKEND(events_of_a_life_in_order, backend)
{
    struct stage s;
    struct party server;
    int fd;

    server_open(&s, &server, backend, NULL); /* the sink checks the order */
    fd = kit_connect(server.port);
    kit_write(fd, "x", 1);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), 1u);
    ASSERT_EQ(party_count(&server, WAWO_ON_HANDSHAKE), 1u);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    party_close(&s, &server);
}

/* ---- closing ---- */

static void hook_send_much_and_close(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint8_t block[65536];
    uint64_t i;

    (void)p;
    (void)a;
    if (e->kind != WAWO_ON_ACCEPT)
        return;
    for (i = 0; i < 20 * MIB; i += sizeof block) {
        kit_fill(block, sizeof block, i);
        ASSERT_EQ(wawo_share_send(e->share, block, sizeof block), 1);
    }
    ASSERT_TRUE(wawo_share_close(e->share));
    ASSERT_EQ(wawo_share_send(e->share, block, 1), 0);
}

TEST_EACH_BACKEND(close_flushes_all_to_a_slow_reader, backend)
{
    struct stage s;
    struct party server;
    uint64_t at;
    int fd;

    server_open(&s, &server, backend, hook_send_much_and_close);
    fd = kit_connect_small(server.port);
    kit_write(fd, "unread input that would turn the FIN into a reset", 49);
    for (at = 0; at < 20 * MIB; at += MIB / 4)
        kit_read_pattern(fd, at, MIB / 4);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_CLOSE);
    ASSERT_EQ(server.error, 0);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(close_discards_input_until_the_peers_fin, backend)
{
    struct stage s;
    struct party server;
    char got[2];
    int fd;

    server_open(&s, &server, backend, NULL);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_EQ(wawo_share_send(server.last, "ok", 2), 1);
    ASSERT_TRUE(wawo_share_close(server.last));
    ASSERT_EQ(kit_read(fd, got, 2), 2u);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_write_pattern(fd, 0, 3 * MIB); /* a reset would make this fail */
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    kit_shutdown(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), 0u);
    ASSERT_EQ(server.error, 0);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(close_timeout_ends_a_lingering_one, backend)
{
    struct stage s;
    struct party server;
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    server.options.close_timeout_ns = 50 * WAWO_MSEC;
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_TRUE(wawo_share_close(server.last));
    party_wait(&server, WAWO_ON_CLOSE, 1); /* the peer never sends its FIN */
    ASSERT_EQ(server.error, 0);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(close_timeout_aborts_a_stuck_one, backend)
{
    struct stage s;
    struct party server;
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    server.options.close_timeout_ns = 100 * WAWO_MSEC;
    server.hook = hook_send_much_and_close;
    party_start(&server);
    fd = kit_connect_small(server.port); /* and never reads */
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, ETIMEDOUT);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(abort_sends_a_reset, backend)
{
    struct stage s;
    struct party server;
    int fd;

    server_open(&s, &server, backend, NULL);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_TRUE(wawo_share_abort(server.last));
    ASSERT_EQ(kit_read_end(fd, NULL), ECONNRESET);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_CLOSE);
    ASSERT_EQ(server.error, 0);
    ASSERT_FALSE(wawo_share_abort(server.last));
    ASSERT_FALSE(wawo_share_close(server.last));
    ASSERT_FALSE(wawo_share_flush(server.last));
    ASSERT_FALSE(wawo_share_pause(server.last, true));
    ASSERT_EQ(wawo_share_send(server.last, "x", 1), 0);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(abort_while_closing, backend)
{
    struct stage s;
    struct party server;
    int fd;

    server_open(&s, &server, backend, hook_send_much_and_close);
    fd = kit_connect_small(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    KIT_UNTIL(!wawo_share_connected(server.last));
    ASSERT_TRUE(wawo_share_abort(server.last));
    ASSERT_EQ(kit_read_end(fd, NULL), ECONNRESET);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(peer_reset_is_reported, backend)
{
    struct stage s;
    struct party server;
    int fd;

    server_open(&s, &server, backend, NULL);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    kit_reset(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_CLOSE);
    ASSERT_EQ(server.error, ECONNRESET);
    party_close(&s, &server);
}

/* ---- half close ---- */

static void hook_answer_at_once(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_ACCEPT) {
        ASSERT_EQ(wawo_share_send(e->share, "bye", 3), 1);
        ASSERT_TRUE(wawo_share_shutdown_write(e->share));
        ASSERT_FALSE(wawo_share_shutdown_write(e->share));
        ASSERT_EQ(wawo_share_send(e->share, "more", 4), 0);
    }
}

TEST_EACH_BACKEND(shutdown_write_goes_on_receiving, backend)
{
    struct stage s;
    struct party server;
    char got[3];
    int fd;

    server_open(&s, &server, backend, hook_answer_at_once);
    server.verify = true;
    fd = kit_connect(server.port);
    ASSERT_EQ(kit_read(fd, got, 3), 3u);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_write_pattern(fd, 0, MIB);
    party_wait_bytes(&server, MIB);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(shutdown_write_from_another_thread_follows_the_posts, backend)
{
    struct stage s;
    struct party server;
    int fd;

    server_open(&s, &server, backend, NULL);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    share_send_pattern(server.last, 0, MIB, 1000);
    ASSERT_TRUE(wawo_share_shutdown_write(server.last));
    ASSERT_EQ(wawo_share_send(server.last, "x", 1), 0);
    kit_read_pattern(fd, 0, MIB);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    party_close(&s, &server);
}

/* ---- refusing ---- */

static void hook_refuse(struct party *p, const struct wawo_event *e, struct actor *a)
{
    const enum wawo_event_kind *kind = p->arg;

    (void)a;
    if (e->kind == *kind)
        wawo_share_refuse(e->share, e->kind == WAWO_ON_RECEIVE ? WAWO_OP_RECEIVE : WAWO_OP_ACCEPT, ECANCELED);
}

static void refuse_at(const char *backend, enum wawo_event_kind kind, enum wawo_operation operation)
{
    struct stage s;
    struct party server;
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_refuse;
    server.arg = &kind;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "hello", 5);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, operation);
    ASSERT_EQ(server.error, ECANCELED);
    ASSERT_EQ(party_count(&server, WAWO_ON_HANDSHAKE), kind == WAWO_ON_ACCEPT ? 0u : 1u);
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), kind == WAWO_ON_RECEIVE ? 1u : 0u);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(refused_accept, backend)
{
    refuse_at(backend, WAWO_ON_ACCEPT, WAWO_OP_ACCEPT);
}

TEST_EACH_BACKEND(refused_handshake, backend)
{
    refuse_at(backend, WAWO_ON_HANDSHAKE, WAWO_OP_ACCEPT);
}

TEST_EACH_BACKEND(refused_receive, backend)
{
    refuse_at(backend, WAWO_ON_RECEIVE, WAWO_OP_RECEIVE);
}

/* ---- nobody listens ---- */

TEST_EACH_BACKEND(unheard_events_stay_in_the_core, backend)
{
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    server.mask = 1u << WAWO_ON_SHUTDOWN;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write_pattern(fd, 0, MIB);
    kit_shutdown(fd);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    do
        wawo_endpoint_stats(server.endpoint, &st);
    while (st.closed == 0);
    ASSERT_EQ(st.bytes_in, MIB);
    ASSERT_EQ(st.accepts, 1u);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    party_close(&s, &server);
}
