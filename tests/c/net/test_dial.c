/* Dialling: refused, timed out, cancelled, names with several addresses, thousands at once. */
#include "support/stage.h"

#include "base/alloc.h"
#include "base/err.h"
#include "net/dial.h"

#include <errno.h>

static void agent_open(struct stage *s, struct party *agent, const char *backend)
{
    stage_open(s, backend, 1);
    party_init(agent, s, WAWO_AGENT);
    party_start(agent);
}

static void expect_failure(struct party *agent, int error)
{
    party_wait(agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent->operation, WAWO_OP_CONNECT);
    ASSERT_EQ(agent->error, error);
    ASSERT_EQ(party_count(agent, WAWO_ON_CONNECT), 0u);
    ASSERT_EQ(party_count(agent, WAWO_ON_HANDSHAKE), 0u);
}

TEST_EACH_BACKEND(refused, backend)
{
    struct stage s;
    struct party agent;
    struct wawo_share *share;
    int operation, gai;

    agent_open(&s, &agent, backend);
    share = party_connect(&agent, kit_dead_port());
    expect_failure(&agent, ECONNREFUSED);
    ASSERT_EQ(wawo_share_error(share, &operation, &gai), ECONNREFUSED);
    ASSERT_EQ(operation, WAWO_OP_CONNECT);
    ASSERT_FALSE(wawo_share_connected(share));
    wawo_share_drop(share);
    party_close(&s, &agent);
}

TEST_EACH_BACKEND(timed_out, backend)
{
    struct stage s;
    struct party agent;
    uint16_t port;
    int fill[8], listener = kit_deaf_listener("127.0.0.1", &port, fill);
    int64_t start = wawo_os_now_ns();

    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial(&agent, "127.0.0.1", port, 100 * WAWO_MSEC, NULL), 0);
    expect_failure(&agent, ETIMEDOUT);
    ASSERT_GE(wawo_os_now_ns() - start, 100 * WAWO_MSEC);
    kit_close_deaf(listener, fill);
    party_close(&s, &agent);
}

static void cancelled(const char *backend, bool (*cancel)(struct wawo_share *s))
{
    struct stage s;
    struct party agent;
    struct wawo_share *share;
    uint16_t port;
    int fill[8], listener = kit_deaf_listener("127.0.0.1", &port, fill);

    agent_open(&s, &agent, backend);
    share = party_connect(&agent, port);
    ASSERT_EQ(wawo_share_send(share, "never sent", 10), 1);
    ASSERT_TRUE(cancel(share));
    ASSERT_EQ(wawo_share_send(share, "x", 1), 0);
    expect_failure(&agent, ECANCELED);
    wawo_share_drop(share);
    kit_close_deaf(listener, fill);
    party_close(&s, &agent);
}

TEST_EACH_BACKEND(cancelled_by_close, backend)
{
    cancelled(backend, wawo_share_close);
}

TEST_EACH_BACKEND(cancelled_by_abort, backend)
{
    cancelled(backend, wawo_share_abort);
}

TEST_EACH_BACKEND(cancelled_by_stop, backend)
{
    struct stage s;
    struct party agent;
    uint16_t port;
    int fill[8], listener = kit_deaf_listener("127.0.0.1", &port, fill);

    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial(&agent, "127.0.0.1", port, 0, NULL), 0);
    party_stop(&agent, 0);
    expect_failure(&agent, ECANCELED);
    ASSERT_EQ(party_dial(&agent, "127.0.0.1", port, 0, NULL), WAWO_ECLOSED);
    kit_close_deaf(listener, fill);
    party_close(&s, &agent);
}

/* Closed in the very call that made it, before its loop knows of it. */
static void close_at_once(struct wawo_share *share, void *arg)
{
    (void)arg;
    ASSERT_EQ(wawo_share_send(share, "x", 1), 1);
    ASSERT_TRUE(wawo_share_close(share));
}

TEST_EACH_BACKEND(closed_before_it_began, backend)
{
    struct stage s;
    struct party agent;
    uint16_t port;
    int i, listener = kit_listen(&port);

    agent_open(&s, &agent, backend);
    for (i = 0; i < 50; i++)
        ASSERT_EQ(wawo_endpoint_connect(agent.endpoint, "127.0.0.1", port, NULL, 0, 0, close_at_once, NULL), 0);
    party_wait(&agent, WAWO_ON_CLOSE, 50);
    ASSERT_EQ(agent.operation, WAWO_OP_CONNECT);
    ASSERT_EQ(agent.error, ECANCELED);
    ASSERT_EQ(party_count(&agent, WAWO_ON_CONNECT), 0u);
    kit_close(listener);
    party_close(&s, &agent);
}

static void order_early(struct wawo_share *share, void *arg)
{
    (void)arg;
    ASSERT_TRUE(wawo_share_pause(share, true));
    ASSERT_EQ(wawo_share_send(share, "early", 5), 1);
    ASSERT_TRUE(wawo_share_shutdown_write(share));
}

TEST_EACH_BACKEND(orders_before_it_began_are_kept, backend)
{
    struct stage s;
    struct party agent;
    char got[6];
    uint16_t port;
    int fd, i, listener = kit_listen(&port);

    agent_open(&s, &agent, backend);
    ASSERT_EQ(wawo_endpoint_connect(agent.endpoint, "127.0.0.1", port, NULL, 0, 0, order_early, NULL), 0);
    fd = kit_accept(listener);
    ASSERT_EQ(kit_read(fd, got, 6), 5u); /* then the FIN */
    ASSERT_MEMEQ(got, "early", 5);
    kit_write(fd, "held", 4);
    for (i = 0; i < 10; i++)
        kit_tick(__FILE__, __LINE__, "", INT64_MAX);
    ASSERT_EQ(party_count(&agent, WAWO_ON_RECEIVE), 0u);
    ASSERT_TRUE(wawo_share_pause(agent.last, false));
    party_wait_bytes(&agent, 4);
    kit_close(fd);
    kit_close(listener);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    party_close(&s, &agent);
}

/* A port of the ephemeral range on this host may connect to itself: told as refused, never as connected. */
TEST_EACH_BACKEND(self_connect_is_refused, backend)
{
    struct stage s;
    struct party agent;
    uint16_t port = kit_dead_port();

    agent_open(&s, &agent, backend);
    ASSERT_EQ(wawo_endpoint_connect(agent.endpoint, "127.0.0.1", port, "127.0.0.1", port, 0, close_at_once, NULL), 0);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    party_close(&s, &agent);
}

static void nothing_made(struct wawo_share *share, void *arg)
{
    (void)share;
    (void)arg;
}

TEST_EACH_BACKEND(self_connect_without_a_cancel, backend)
{
    struct stage s;
    struct party agent;
    uint16_t port = kit_dead_port();

    agent_open(&s, &agent, backend);
    ASSERT_EQ(wawo_endpoint_connect(agent.endpoint, "127.0.0.1", port, "127.0.0.1", port, 0, nothing_made, NULL), 0);
    expect_failure(&agent, ECONNREFUSED);
    party_close(&s, &agent);
}

TEST_EACH_BACKEND(local_address_is_bound, backend)
{
    struct stage s;
    struct party agent;
    char host[WAWO_HOST_TEXT];
    uint16_t port;
    int fd, family, listener = kit_listen(&port);

    agent_open(&s, &agent, backend);
    ASSERT_EQ(wawo_endpoint_connect(agent.endpoint, "127.0.0.1", port, "127.0.0.9", 0, 0, nothing_made, NULL), 0);
    fd = kit_accept(listener);
    party_wait(&agent, WAWO_ON_CONNECT, 1);
    ASSERT_GT(wawo_share_address(agent.last, true, host, &family), 0);
    ASSERT_STREQ(host, "127.0.0.9");
    ASSERT_EQ(wawo_share_address(agent.last, false, host, &family), port);
    ASSERT_STREQ(host, "127.0.0.1");
    ASSERT_EQ(wawo_endpoint_connect(agent.endpoint, "127.0.0.1", port, "not an address", 0, 0, nothing_made, NULL),
              WAWO_EINVAL);
    ASSERT_EQ(wawo_endpoint_connect(agent.endpoint, "127.0.0.1", port, "unix:/x", 0, 0, nothing_made, NULL),
              WAWO_EINVAL);
    kit_close(fd);
    kit_close(listener);
    party_close(&s, &agent);
}

/* ---- unix sockets ---- */

TEST_EACH_BACKEND(unix_socket, backend)
{
    struct stage s;
    struct party agent;
    char name[WAWO_HOST_TEXT];
    const char *host;
    int fd, family, listener = kit_listen_unix(&host, 16);

    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial(&agent, host, 0, 0, NULL), 0);
    fd = kit_accept(listener);
    party_wait(&agent, WAWO_ON_CONNECT, 1);
    kit_write_pattern(fd, 0, 100000);
    party_wait_bytes(&agent, 100000);
    ASSERT_EQ(wawo_share_address(agent.last, false, name, &family), 0);
    ASSERT_EQ(family, WAWO_AF_UNIX);
    ASSERT_STREQ(name, host);
    ASSERT_EQ(wawo_share_address(agent.last, true, name, &family), 0);
    ASSERT_STREQ(name, "unix:");
    share_send_pattern(agent.last, 0, 1000000, 70000); /* more than the kernel takes at once */
    kit_read_pattern(fd, 0, 1000000);
    ASSERT_TRUE(wawo_share_close(agent.last));
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.error, 0);
    kit_close(listener);
    party_close(&s, &agent);
}

static void unix_failure(const char *backend, const char *host, int error)
{
    struct stage s;
    struct party agent;

    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial(&agent, host, 0, 0, NULL), 0);
    expect_failure(&agent, error);
    party_close(&s, &agent);
}

TEST_EACH_BACKEND(unix_sockets_that_fail, backend)
{
    char host[5 + WAWO_UNIX_MAX + 2] = "unix:";

    unix_failure(backend, host, ENOENT);
    unix_failure(backend, "unix:/no such folder/socket", os_has_unix() ? ENOENT : ENOTSUP);
    unix_failure(backend, "unix:@wawo-tests-nobody", os_has_abstract() ? ECONNREFUSED : ENOTSUP);
    unix_failure(backend, "unix:/dev/null", os_error_of_no_socket());
    memset(host + 5, 'x', sizeof host - 6);
    unix_failure(backend, host, ENAMETOOLONG);
}

/* More of them than the backlog holds: all come in, as those before them are accepted. */
TEST_EACH_BACKEND(unix_backlog_is_waited_for, backend)
{
    enum { MANY = 20 };
    struct stage s;
    struct party agent;
    const char *host;
    int fd[MANY], i, listener = kit_listen_unix_crowded(&host);

    agent_open(&s, &agent, backend);
    for (i = 0; i < MANY; i++)
        ASSERT_EQ(party_dial(&agent, host, 0, 0, NULL), 0);
    for (i = 0; i < MANY; i++)
        fd[i] = kit_accept(listener);
    party_wait(&agent, WAWO_ON_CONNECT, MANY);
    for (i = 0; i < MANY; i++)
        kit_close(fd[i]);
    party_wait(&agent, WAWO_ON_CLOSE, MANY);
    ASSERT_EQ(agent.bad, 0u);
    kit_close(listener);
    party_close(&s, &agent);
}

TEST_EACH_BACKEND(unix_backlog_stays_full, backend)
{
    struct stage s;
    struct party agent;
    struct wawo_share *share;
    const char *host;
    int64_t start = wawo_os_now_ns();
    int listener = kit_listen_unix_crowded(&host);

    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial(&agent, host, 0, 0, NULL), 0);
    party_wait(&agent, WAWO_ON_CONNECT, 1);
    ASSERT_EQ(party_dial(&agent, host, 0, 100 * WAWO_MSEC, NULL), 0);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.error, ETIMEDOUT);
    ASSERT_GE(wawo_os_now_ns() - start, 100 * WAWO_MSEC);
    ASSERT_EQ(party_dial(&agent, host, 0, 0, &share), 0);
    ASSERT_TRUE(wawo_share_close(share)); /* while it waits for room */
    party_wait(&agent, WAWO_ON_CLOSE, 2);
    ASSERT_EQ(agent.error, ECANCELED);
    wawo_share_drop(share);
    party_close(&s, &agent);
    kit_close(listener);
}

/* ---- names ---- */

/* localhost names ::1 and 127.0.0.1; whichever of the two listens is reached. */
static void dial_localhost(const char *backend, const char *listen_at)
{
    struct stage s;
    struct party agent;
    struct wawo_addr *list;
    char host[WAWO_HOST_TEXT];
    uint16_t port = 0;
    int fd, family, gai, n, i, listener;
    bool named = false;

    n = wawo_os_resolve("localhost", 1, &list, &gai);
    for (i = 0; i < n; i++) {
        wawo_addr_text(&list[i], host);
        named |= strcmp(host, listen_at) == 0;
    }
    wawo_free(list);
    if (!named)
        SKIP("localhost does not name %s here", listen_at);
    listener = kit_listen_at(listen_at, &port, 16);
    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial(&agent, "localhost", port, 0, NULL), 0);
    fd = kit_accept(listener);
    party_wait(&agent, WAWO_ON_CONNECT, 1);
    ASSERT_EQ(wawo_share_address(agent.last, false, host, &family), port);
    ASSERT_STREQ(host, listen_at);
    kit_close(fd);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.error, 0);
    kit_close(listener);
    party_close(&s, &agent);
    KIT_UNTIL(wawo_alloc_live() == 0); /* a work thread that is just starting */
}

TEST_EACH_BACKEND(localhost_by_ipv4, backend)
{
    dial_localhost(backend, "127.0.0.1");
}

TEST_EACH_BACKEND(localhost_by_ipv6, backend)
{
    if (!kit_has_ipv6())
        SKIP("no IPv6 on this host");
    dial_localhost(backend, "::1");
}

TEST_EACH_BACKEND(an_unknown_name, backend)
{
    struct stage s;
    struct party agent;
    struct wawo_share *share = NULL;
    int operation, gai = 0;

    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial(&agent, "no such host", 80, 0, &share), 0);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.operation, WAWO_OP_CONNECT);
    ASSERT_EQ(agent.error, EHOSTUNREACH);
    ASSERT_EQ(wawo_share_error(share, &operation, &gai), EHOSTUNREACH);
    ASSERT_NE(gai, 0);
    wawo_share_drop(share);
    party_close(&s, &agent);
    KIT_UNTIL(wawo_alloc_live() == 0);
}

/* The answer of a look-up finds nobody any more. */
TEST_EACH_BACKEND(a_lookup_that_nobody_waits_for, backend)
{
    struct stage s;
    struct party agent;
    struct wawo_share *share;
    int i;

    agent_open(&s, &agent, backend);
    for (i = 0; i < 20; i++) {
        ASSERT_EQ(party_dial(&agent, "localhost", 1, 0, &share), 0);
        (void)wawo_share_close(share);
        wawo_share_drop(share);
    }
    party_close(&s, &agent);
    KIT_UNTIL(wawo_alloc_live() == 0);
}

TEST(families_take_turns)
{
    static const char *const given[] = {"::1", "::2", "::3", "10.0.0.1", "10.0.0.2"};
    static const char *const wanted[] = {"::1", "10.0.0.1", "::2", "10.0.0.2", "::3"};
    struct wawo_addr list[5];
    char text[WAWO_ADDR_TEXT];
    int i;

    for (i = 0; i < 5; i++)
        ASSERT_EQ(wawo_addr_parse(&list[i], given[i], 1), 0);
    wawo_dial_order(list, 5);
    for (i = 0; i < 5; i++) {
        wawo_addr_text(&list[i], text);
        ASSERT_STREQ(text, wanted[i]);
    }
    wawo_dial_order(list, 0);
    wawo_dial_order(list, 1);
}

/* ---- many ---- */

/* More failures in one turn than a batch has room for: no descriptor is left for any of them. */
TEST_EACH_BACKEND(thousands_fail_at_once, backend)
{
    enum { MANY = 20000 };
    struct stage s;
    struct party agent;
    int i, n, spare[64];

    stage_open(&s, backend, 1);
    party_init(&agent, &s, WAWO_AGENT);
    agent.options.max_connections = MANY;
    party_start(&agent);
    for (n = 0; n < 64; n++)
        spare[n] = wawo_os_socket(WAWO_AF_INET);
    if (!os_forbid_fds(spare[63]))
        SKIP("descriptors have no limit here");
    for (i = 0; i < MANY; i++)
        ASSERT_EQ(party_dial(&agent, "127.0.0.1", 1, 0, NULL), 0);
    party_wait(&agent, WAWO_ON_CLOSE, MANY);
    ASSERT_EQ(agent.bad, (unsigned)MANY);
    os_allow_all_fds();
    for (n = 0; n < 64; n++)
        kit_close(spare[n]);
    party_close(&s, &agent);
}

/* All connecting at the stop: every one is told of, every attempt's descriptor closed before the loop ends. */
TEST_EACH_BACKEND(thousands_are_cancelled_by_stop, backend)
{
    enum { MANY = 3000 };
    struct stage s;
    struct party agent;
    uint16_t port;
    unsigned before;
    int i, fill[8], listener = kit_deaf_listener("127.0.0.1", &port, fill);

    if (!os_allow_fds(MANY + 100))
        SKIP("too few descriptors here");
    before = kit_open_fds();
    stage_open(&s, backend, 1);
    party_init(&agent, &s, WAWO_AGENT);
    party_start(&agent);
    for (i = 0; i < MANY; i++)
        ASSERT_EQ(party_dial(&agent, "127.0.0.1", port, 0, NULL), 0);
    KIT_UNTIL(kit_open_fds() > before + MANY / 2);
    party_close(&s, &agent);
    ASSERT_EQ(agent.count[WAWO_ON_CLOSE], (unsigned)MANY);
    ASSERT_EQ(kit_open_fds(), before);
    kit_close_deaf(listener, fill);
}

TEST_EACH_BACKEND(max_connections_refuses, backend)
{
    struct stage s;
    struct party agent;
    uint16_t port;
    int listener = kit_listen(&port);

    stage_open(&s, backend, 1);
    party_init(&agent, &s, WAWO_AGENT);
    agent.options.max_connections = 2;
    party_start(&agent);
    wawo_share_drop(party_connect(&agent, port));
    wawo_share_drop(party_connect(&agent, port));
    ASSERT_EQ(party_dial(&agent, "127.0.0.1", port, 0, NULL), WAWO_ENOBUFS);
    party_wait(&agent, WAWO_ON_CONNECT, 2);
    ASSERT_TRUE(wawo_share_abort(agent.last));
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    KIT_UNTIL(wawo_endpoint_count(agent.endpoint) == 1);
    wawo_share_drop(party_connect(&agent, port));
    party_wait(&agent, WAWO_ON_CONNECT, 3);
    kit_close(listener);
    party_close(&s, &agent);
}
