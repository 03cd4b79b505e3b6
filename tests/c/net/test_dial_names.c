/* Names: several addresses, tried as RFC 8305 says; look-ups that fail, hang, or come too late. */
#include "support/names.h"
#include "support/stage.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>

static void agent_open(struct stage *s, struct party *agent, const char *backend)
{
    stage_open(s, backend, 1);
    party_init(agent, s, WAWO_AGENT);
    party_start(agent);
}

static void expect_reached(struct party *agent, int listener, const char *address)
{
    char host[WAWO_HOST_TEXT];
    int family, fd;

    party_wait(agent, WAWO_ON_CONNECT, 1);
    ASSERT_GT(wawo_share_address(agent->last, false, host, &family), 0);
    ASSERT_STREQ(host, address);
    fd = kit_accept(listener);
    kit_write(fd, "hello", 5);
    kit_close(fd);
    party_wait(agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent->error, 0);
    ASSERT_EQ(agent->received, 5u);
    kit_close(listener);
}

/* The first address refuses: the second is tried at once. */
static void second_is_reached(const char *backend, const char *first, const char *second)
{
    const char *const list[] = {first, second, NULL};
    struct stage s;
    struct party agent;
    uint16_t port = 0;
    int listener = kit_listen_at(second, &port, 16);
    int64_t start;

    names_are(list, 0);
    agent_open(&s, &agent, backend);
    start = wawo_os_now_ns();
    ASSERT_EQ(party_dial(&agent, "a.name", port, 0, NULL), 0);
    expect_reached(&agent, listener, second);
    ASSERT_LT(wawo_os_now_ns() - start, 5 * WAWO_SEC);
    party_close(&s, &agent);
}

TEST_EACH_BACKEND(the_second_of_one_family, backend)
{
    second_is_reached(backend, "127.0.0.3", "127.0.0.2");
}

TEST_EACH_BACKEND(ipv4_after_ipv6, backend)
{
    if (!kit_has_ipv6())
        SKIP("no IPv6 on this host");
    second_is_reached(backend, "::1", "127.0.0.1");
}

TEST_EACH_BACKEND(ipv6_after_ipv4, backend)
{
    if (!kit_has_ipv6())
        SKIP("no IPv6 on this host");
    second_is_reached(backend, "127.0.0.1", "::1");
}

/* Only addresses of the family that it connects from are tried, and the others are not what it failed of. */
static void from_one_family(const char *backend, const char *local, const char *reached, const char *other)
{
    const char *const both[] = {other, reached, NULL}, *const turned[] = {reached, other, NULL};
    const char *const none[] = {other, NULL};
    const char *const *const failing[] = {both, turned, none};
    struct stage s;
    struct party agent;
    uint16_t port = 0;
    int i, listener = kit_listen_at(reached, &port, 16), deaf = kit_listen_at(other, &port, 16);

    names_are(both, 0);
    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial_from(&agent, "a.name", port, local), 0);
    expect_reached(&agent, listener, reached);
    for (i = 0; i < 3; i++) {
        names_are(failing[i], 0);
        ASSERT_EQ(party_dial_from(&agent, "a.name", port, local), 0);
        party_wait(&agent, WAWO_ON_CLOSE, 2 + (uint64_t)i);
        ASSERT_EQ(agent.error, i < 2 ? ECONNREFUSED : EAFNOSUPPORT);
    }
    kit_close(deaf);
    party_close(&s, &agent);
}

TEST_EACH_BACKEND(from_an_ipv4_address, backend)
{
    if (!kit_has_ipv6())
        SKIP("no IPv6 on this host");
    from_one_family(backend, "127.0.0.9", "127.0.0.1", "::1");
}

TEST_EACH_BACKEND(from_an_ipv6_address, backend)
{
    if (!kit_has_ipv6())
        SKIP("no IPv6 on this host");
    from_one_family(backend, "::1", "::1", "127.0.0.1");
}

/* The first address does not answer: the second is tried beside it after a quarter of a second, and wins. */
TEST_EACH_BACKEND(the_second_overtakes_a_silent_first, backend)
{
    static const char *const list[] = {"127.0.0.2", "127.0.0.1", NULL};
    struct stage s;
    struct party agent;
    uint16_t port = 0;
    int fill[8], deaf = kit_deaf_listener("127.0.0.2", &port, fill), listener;
    unsigned before;
    int64_t start;

    listener = kit_listen_at("127.0.0.1", &port, 16);
    names_are(list, 0);
    agent_open(&s, &agent, backend);
    before = kit_open_fds();
    start = wawo_os_now_ns();
    ASSERT_EQ(party_dial(&agent, "a.name", port, 0, NULL), 0);
    expect_reached(&agent, listener, "127.0.0.1");
    ASSERT_GE(wawo_os_now_ns() - start, 250 * WAWO_MSEC);
    KIT_UNTIL(kit_open_fds() < before + 1); /* the attempt that lost is closed; the listener is too */
    party_close(&s, &agent);
    kit_close_deaf(deaf, fill);
}

/* Closed while several attempts are under way. */
TEST_EACH_BACKEND(cancelled_with_several_under_way, backend)
{
    static const char *const list[] = {"127.0.0.2", "127.0.0.2", "127.0.0.2", NULL};
    struct stage s;
    struct party agent;
    struct wawo_share *share;
    uint16_t port = 0;
    unsigned before;
    int fill[8], deaf = kit_deaf_listener("127.0.0.2", &port, fill);

    names_are(list, 0);
    agent_open(&s, &agent, backend);
    before = kit_open_fds();
    ASSERT_EQ(party_dial(&agent, "a.name", port, 0, &share), 0);
    KIT_UNTIL(kit_open_fds() == before + 3);
    ASSERT_TRUE(wawo_share_close(share));
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.error, ECANCELED);
    wawo_share_drop(share);
    KIT_UNTIL(kit_open_fds() == before);
    party_close(&s, &agent);
    kit_close_deaf(deaf, fill);
}

TEST_EACH_BACKEND(the_limit_holds_for_all_addresses_together, backend)
{
    static const char *const list[] = {"127.0.0.2", "127.0.0.2", NULL};
    struct stage s;
    struct party agent;
    uint16_t port = 0;
    int fill[8], deaf = kit_deaf_listener("127.0.0.2", &port, fill);
    int64_t start;

    names_are(list, 0);
    agent_open(&s, &agent, backend);
    start = wawo_os_now_ns();
    ASSERT_EQ(party_dial(&agent, "a.name", port, 400 * WAWO_MSEC, NULL), 0);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.error, ETIMEDOUT);
    ASSERT_GE(wawo_os_now_ns() - start, 400 * WAWO_MSEC);
    party_close(&s, &agent);
    kit_close_deaf(deaf, fill);
}

TEST_EACH_BACKEND(all_refuse, backend)
{
    static const char *const list[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3", NULL};
    struct stage s;
    struct party agent;

    names_are(list, 0);
    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial(&agent, "a.name", kit_dead_port(), 0, NULL), 0);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.operation, WAWO_OP_CONNECT);
    ASSERT_EQ(agent.error, ECONNREFUSED);
    party_close(&s, &agent);
}

/* Some cannot even be tried: a broadcast address fails in the call itself. */
TEST_EACH_BACKEND(an_impossible_address_is_passed_over, backend)
{
    second_is_reached(backend, "255.255.255.255", "127.0.0.1");
}

TEST_EACH_BACKEND(the_resolver_fails, backend)
{
    struct stage s;
    struct party agent;
    struct wawo_share *share = NULL;
    int operation, gai = 0;

    names_are(NULL, names_again);
    agent_open(&s, &agent, backend);
    ASSERT_EQ(party_dial(&agent, "a.name", 80, 0, &share), 0);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(wawo_share_error(share, &operation, &gai), EHOSTUNREACH);
    ASSERT_EQ(gai, names_again);
    wawo_share_drop(share);
    party_close(&s, &agent);
}

/* ---- a resolver that hangs ---- */

TEST_EACH_BACKEND(a_hanging_look_up_times_out, backend)
{
    static const char *const list[] = {"127.0.0.1", NULL};
    struct stage s;
    struct party agent, other;
    uint16_t port;
    int listener = kit_listen(&port), i;

    names_are(list, 0);
    names_block();
    agent_open(&s, &agent, backend);
    for (i = 0; i < 10; i++) /* more than the pool has threads */
        ASSERT_EQ(party_dial(&agent, "a.name", port, 50 * WAWO_MSEC, NULL), 0);
    party_wait(&agent, WAWO_ON_CLOSE, 10);
    ASSERT_EQ(agent.error, ETIMEDOUT);
    ASSERT_EQ(agent.bad, 10u);
    party_init(&other, &s, WAWO_AGENT); /* numeric addresses need no resolver */
    party_start(&other);
    wawo_share_drop(party_connect(&other, port));
    party_wait(&other, WAWO_ON_CONNECT, 1);
    party_finish(&other);
    party_finish(&agent);
    names_unblock();
    ASSERT_EQ(party_count(&agent, WAWO_ON_CONNECT), 0u); /* too late */
    stage_close(&s);
    kit_close(listener);
    KIT_UNTIL(wawo_alloc_live() == 0);
}

/* More of them than a batch has room for, ended in one call: by a stop, or by one tick of the clock. */
static void thousands_end(const char *backend, int64_t timeout_ns, int error)
{
    enum { MANY = 20000 };
    struct stage s;
    struct party agent;
    int i;

    names_are(NULL, names_unknown);
    names_block();
    stage_open(&s, backend, 1);
    party_init(&agent, &s, WAWO_AGENT);
    agent.options.max_connections = MANY;
    party_start(&agent);
    for (i = 0; i < MANY; i++)
        ASSERT_EQ(party_dial(&agent, "a.name", 1, timeout_ns, NULL), 0);
    if (timeout_ns > 0)
        party_wait(&agent, WAWO_ON_CLOSE, MANY);
    party_finish(&agent);
    ASSERT_EQ(agent.count[WAWO_ON_CLOSE], (unsigned)MANY);
    ASSERT_EQ(agent.bad, (unsigned)MANY);
    ASSERT_EQ(agent.error, error);
    names_unblock();
    stage_close(&s);
    KIT_UNTIL(wawo_alloc_live() == 0);
}

TEST_EACH_BACKEND(thousands_of_hanging_look_ups_are_cancelled, backend)
{
    thousands_end(backend, 0, ECANCELED);
}

TEST_EACH_BACKEND(thousands_of_hanging_look_ups_time_out, backend)
{
    thousands_end(backend, 2 * WAWO_SEC, ETIMEDOUT);
}

/* The engine ends while look-ups hang: their answers find nobody, and the last one gives all back. */
TEST_EACH_BACKEND(the_engine_ends_before_the_answer, backend)
{
    static const char *const list[] = {"127.0.0.1", NULL};
    struct stage s;
    struct party agent;
    int i;

    names_are(list, 0);
    names_block();
    agent_open(&s, &agent, backend);
    for (i = 0; i < 8; i++)
        ASSERT_EQ(party_dial(&agent, "a.name", 1, 0, NULL), 0);
    KIT_UNTIL(names_asked() > 0);
    party_finish(&agent);
    ASSERT_EQ(agent.error, ECANCELED);
    ASSERT_TRUE(wawo_engine_stop(s.threads, WAWO_SEC));
    wawo_engine_drop(s.threads);
    ASSERT_GT(wawo_live_shares(), 0u);
    names_unblock();
    KIT_UNTIL(wawo_live_shares() == 0);
    KIT_UNTIL(wawo_alloc_live() == 0);
    wawo_cond_fini(&s.changed);
    wawo_mutex_fini(&s.lock);
}
