/* Adopting connected sockets: events, addresses, limits, orders that come early, the stop in between. */
#include "support/stage.h"

#include "base/atomic.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

static void adopter_open(struct stage *s, struct party *p, const char *backend, enum wawo_role role, unsigned loops)
{
    stage_open(s, backend, loops);
    party_init(p, s, role);
    p->hook = hook_echo;
    party_start(p);
}

static struct wawo_share *adopt(struct party *p, int fd)
{
    struct wawo_share *share = NULL;

    ASSERT_EQ(party_adopt(p, fd, &share), 0);
    ASSERT_NOT_NULL(share);
    return share;
}

/* ---- a life ---- */

static void life(const char *backend, enum wawo_role role, void (*pair)(int fds[2]))
{
    enum wawo_event_kind first = role == WAWO_SERVER ? WAWO_ON_ACCEPT : WAWO_ON_CONNECT;
    struct wawo_endpoint_stats st;
    struct wawo_share *share;
    struct stage s;
    struct party p;
    int fds[2];

    adopter_open(&s, &p, backend, role, 1);
    p.verify = true;
    pair(fds);
    kit_write_pattern(fds[1], 0, 100); /* there before it is adopted */
    share = adopt(&p, fds[0]);
    ASSERT_TRUE(wawo_endpoint_find(p.endpoint, wawo_share_id(share)) == share);
    wawo_share_drop(share);
    kit_read_pattern(fds[1], 0, 100);
    ASSERT_EQ(party_count(&p, first), 1u);
    ASSERT_EQ(party_count(&p, WAWO_ON_HANDSHAKE), 1u);
    kit_write_pattern(fds[1], 100, 50000);
    kit_read_pattern(fds[1], 100, 50000);
    kit_shutdown(fds[1]);
    ASSERT_EQ(kit_read_end(fds[1], NULL), 0);
    party_wait(&p, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(p.error, 0);
    wawo_endpoint_stats(p.endpoint, &st);
    ASSERT_EQ(st.accepts, role == WAWO_SERVER ? 1u : 0u);
    ASSERT_EQ(st.connects, role == WAWO_SERVER ? 0u : 1u);
    wawo_share_drop(share);
    kit_close(fds[1]);
    party_close(&s, &p);
}

TEST_EACH_BACKEND(server_adopts, backend)
{
    life(backend, WAWO_SERVER, kit_pair);
}

TEST_EACH_BACKEND(agent_adopts, backend)
{
    life(backend, WAWO_AGENT, kit_pair);
}

TEST_EACH_BACKEND(server_adopts_unix, backend)
{
    life(backend, WAWO_SERVER, kit_pair_unix);
}

TEST_EACH_BACKEND(agent_adopts_unix, backend)
{
    life(backend, WAWO_AGENT, kit_pair_unix);
}

static void expect_name(const struct wawo_share *s, bool local, const char *name, int port)
{
    char host[WAWO_HOST_TEXT];
    int family;

    ASSERT_EQ(wawo_share_address(s, local, host, &family), port);
    ASSERT_STREQ(host, name);
}

TEST_EACH_BACKEND(addresses, backend)
{
    struct wawo_addr local, remote, to;
    struct wawo_share *share;
    struct stage s;
    struct party p;
    const char *host;
    int fds[2], one, two, listener = kit_listen_unix(&host, 4);

    adopter_open(&s, &p, backend, WAWO_SERVER, 1);
    kit_pair(fds);
    ASSERT_EQ(wawo_os_local_addr(fds[0], &local), 0);
    ASSERT_EQ(wawo_os_peer_addr(fds[0], &remote), 0);
    share = adopt(&p, fds[0]);
    party_wait(&p, WAWO_ON_ACCEPT, 1);
    expect_name(share, true, "127.0.0.1", local.port);
    expect_name(share, false, "127.0.0.1", remote.port);
    ASSERT_TRUE(os_has_keepalive(fds[0])); /* the options were set */
    wawo_share_drop(share);
    kit_close(fds[1]);

    ASSERT_EQ(wawo_addr_parse(&to, host, 0), 0);
    one = wawo_os_socket(WAWO_AF_UNIX);
    ASSERT_EQ(wawo_os_connect(one, &to), 0);
    two = kit_accept(listener);
    share = adopt(&p, one);
    party_wait(&p, WAWO_ON_ACCEPT, 2);
    expect_name(share, true, "unix:", 0);
    expect_name(share, false, host, 0);
    wawo_share_drop(share);
    kit_close(two);
    kit_close(listener);
    party_close(&s, &p);
}

/* The peer was faster: it still is a connection, and its end an ordinary one. */
TEST_EACH_BACKEND(peers_that_are_gone, backend)
{
    struct stage s;
    struct party p;
    int fds[2];

    adopter_open(&s, &p, backend, WAWO_AGENT, 1);
    kit_pair(fds);
    kit_close(fds[1]);
    wawo_share_drop(adopt(&p, fds[0]));
    party_wait(&p, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(p.error, 0);
    kit_pair(fds);
    kit_reset(fds[1]);
    wawo_share_drop(adopt(&p, fds[0]));
    party_wait(&p, WAWO_ON_CLOSE, 2);
    ASSERT_EQ(p.error, ECONNRESET);
    ASSERT_EQ(p.operation, WAWO_OP_CLOSE);
    ASSERT_EQ(party_count(&p, WAWO_ON_CONNECT), 2u);
    party_close(&s, &p);
}

TEST_EACH_BACKEND(they_spread_over_the_loops, backend)
{
    enum { MANY = 30 };
    struct wawo_loop_stats st;
    struct stage s;
    struct party p;
    int fds[MANY][2], i;

    adopter_open(&s, &p, backend, WAWO_SERVER, 3);
    for (i = 0; i < MANY; i++) {
        kit_pair_unix(fds[i]);
        wawo_share_drop(adopt(&p, fds[i][0]));
        kit_write(fds[i][1], "x", 1);
        ASSERT_EQ(kit_read(fds[i][1], &(char){0}, 1), 1u);
    }
    for (i = 0; i < 3; i++) {
        wawo_engine_stats(s.threads, (unsigned)i, &st);
        ASSERT_EQ(st.connections, MANY / 3u);
    }
    for (i = 0; i < MANY; i++)
        kit_close(fds[i][1]);
    party_close(&s, &p);
}

/* ---- orders that come before its loop knows of it ---- */

static void order_all(struct wawo_share *share, void *arg)
{
    (void)arg;
    ASSERT_EQ(wawo_share_send(share, "early", 5), 1);
    ASSERT_TRUE(wawo_share_close(share));
    ASSERT_EQ(wawo_share_send(share, "late", 4), 0);
}

TEST_EACH_BACKEND(closed_at_once_it_still_flushes, backend)
{
    struct stage s;
    struct party p;
    char got[6];
    int fds[2], i;

    adopter_open(&s, &p, backend, WAWO_SERVER, 1);
    for (i = 0; i < 20; i++) {
        kit_pair(fds);
        ASSERT_EQ(wawo_endpoint_adopt(p.endpoint, fds[0], order_all, NULL), 0);
        ASSERT_EQ(kit_read(fds[1], got, 6), 5u); /* then the FIN */
        ASSERT_MEMEQ(got, "early", 5);
        kit_close(fds[1]);
    }
    party_wait(&p, WAWO_ON_CLOSE, 20);
    ASSERT_EQ(p.bad, 0u);
    ASSERT_EQ(p.operation, WAWO_OP_CLOSE);
    party_close(&s, &p);
}

TEST_EACH_BACKEND(aborted_at_once, backend)
{
    struct wawo_share *share;
    struct stage s;
    struct party p;
    int fds[2], i, err;

    adopter_open(&s, &p, backend, WAWO_SERVER, 1);
    for (i = 0; i < 20; i++) {
        kit_pair(fds);
        share = adopt(&p, fds[0]);
        ASSERT_TRUE(wawo_share_abort(share));
        wawo_share_drop(share);
        err = kit_read_end(fds[1], NULL);
        ASSERT_TRUE(err == 0 || err == ECONNRESET);
        kit_close(fds[1]);
    }
    party_wait(&p, WAWO_ON_CLOSE, 20);
    party_close(&s, &p);
}

/* ---- limits and the stop ---- */

/* On failure the descriptor is as it was, and the caller's. */
static void still_ours(int fds[2])
{
    char got;

    kit_write(fds[1], "x", 1);
    while (wawo_os_recv(fds[0], &got, 1) == WAWO_AGAIN)
        continue;
    ASSERT_EQ(got, 'x');
    kit_close(fds[0]);
    kit_close(fds[1]);
}

TEST_EACH_BACKEND(max_connections_refuses, backend)
{
    struct stage s;
    struct party p;
    int fds[3][2];

    stage_open(&s, backend, 1);
    party_init(&p, &s, WAWO_AGENT);
    p.options.max_connections = 2;
    party_start(&p);
    kit_pair(fds[0]);
    kit_pair(fds[1]);
    kit_pair(fds[2]);
    wawo_share_drop(adopt(&p, fds[0][0]));
    wawo_share_drop(adopt(&p, fds[1][0]));
    ASSERT_EQ(party_adopt(&p, fds[2][0], NULL), WAWO_ENOBUFS);
    ASSERT_FALSE(os_has_keepalive(fds[2][0]));
    kit_close(fds[0][1]);
    party_wait(&p, WAWO_ON_CLOSE, 1);
    KIT_UNTIL(wawo_endpoint_count(p.endpoint) == 1);
    wawo_share_drop(adopt(&p, fds[2][0]));
    party_wait(&p, WAWO_ON_CONNECT, 3);
    kit_close(fds[1][1]);
    kit_close(fds[2][1]);
    party_close(&s, &p);
}

TEST_EACH_BACKEND(stopping_refuses, backend)
{
    struct stage s;
    struct party p;
    int fds[2];

    adopter_open(&s, &p, backend, WAWO_SERVER, 1);
    party_stop(&p, KIT_DEADLINE_S * WAWO_SEC); /* in a drain too */
    kit_pair(fds);
    ASSERT_EQ(party_adopt(&p, fds[0], NULL), WAWO_ECLOSED);
    still_ours(fds);
    party_close(&s, &p);
}

struct adopting {
    struct party *party;
    uint32_t adopted; /* atomic */
};

static void adopt_until_stopped(void *arg)
{
    struct adopting *a = arg;
    struct wawo_share *share;
    int fds[2], err;

    for (;;) {
        kit_pair_unix(fds);
        kit_write(fds[1], "x", 1);
        err = party_adopt(a->party, fds[0], &share);
        if (err != 0)
            break;
        wawo_add(&a->adopted, 1);
        (void)wawo_share_send(share, "y", 1);
        wawo_share_drop(share);
        kit_close(fds[1]);
    }
    ASSERT_EQ(err, WAWO_ECLOSED);
    still_ours(fds);
}

/* Whatever was taken over gets its end, and nothing is left open. */
static void adopt_against_stop(const char *backend, unsigned loops, int64_t drain_ns)
{
    struct wawo_thread t[3];
    struct adopting a;
    struct stage s;
    struct party p;
    unsigned before = kit_open_fds();
    int i;

    for (i = 0; i < 3; i++) {
        int j;

        adopter_open(&s, &p, backend, WAWO_SERVER, loops);
        p.hook = NULL;
        a = (struct adopting){&p, 0};
        for (j = 0; j < 3; j++)
            kit_start(&t[j], adopt_until_stopped, &a);
        KIT_UNTIL(wawo_load(&a.adopted) > 20);
        party_stop(&p, drain_ns);
        for (j = 0; j < 3; j++)
            wawo_thread_join(&t[j]);
        party_wait(&p, WAWO_ON_SHUTDOWN, 1);
        ASSERT_EQ(party_count(&p, WAWO_ON_CLOSE), wawo_load(&a.adopted));
        party_close(&s, &p);
    }
    ASSERT_EQ(kit_open_fds(), before);
}

TEST_EACH_BACKEND(against_stop_one_loop, backend)
{
    adopt_against_stop(backend, 1, 0);
}

TEST_EACH_BACKEND(against_stop_two_loops, backend)
{
    adopt_against_stop(backend, 2, 0);
}

TEST_EACH_BACKEND(against_stop_with_a_drain, backend)
{
    adopt_against_stop(backend, 2, KIT_DEADLINE_S * WAWO_SEC);
}
