/* Addresses, sockets, threads. */
#include "support/kit.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"

#include <errno.h>

TEST(random_bytes)
{
    uint8_t a[256], b[256];

    ASSERT_EQ(wawo_os_random(a, sizeof a), 0);
    ASSERT_EQ(wawo_os_random(b, sizeof b), 0);
    ASSERT_NE(memcmp(a, b, sizeof a), 0);
    ASSERT_EQ(wawo_os_random(a, 0), 0);
}

/* ---- addresses ---- */

static void round_trip(const char *host, enum wawo_family family, const char *text)
{
    char got[WAWO_ADDR_TEXT];
    struct wawo_addr a;

    ASSERT_EQ(wawo_addr_parse(&a, host, 80), 0);
    ASSERT_EQ(a.family, family);
    ASSERT_EQ(a.port, 80);
    wawo_addr_text(&a, got);
    ASSERT_STREQ(got, text);
}

TEST(addresses_there_and_back)
{
    round_trip("127.0.0.1", WAWO_AF_INET, "127.0.0.1");
    round_trip("0.0.0.0", WAWO_AF_INET, "0.0.0.0");
    round_trip("255.255.255.255", WAWO_AF_INET, "255.255.255.255");
    round_trip("::1", WAWO_AF_INET6, "::1");
    round_trip("::", WAWO_AF_INET6, "::");
    round_trip("2001:0DB8:0:0:0:0:0:1", WAWO_AF_INET6, "2001:db8::1");
    round_trip("fe80::1%4000000", WAWO_AF_INET6, "fe80::1%4000000");
}

TEST(names_are_no_addresses)
{
    static const char *const hosts[] = {"localhost",
                                        "",
                                        "127.0.0",
                                        "127.0.0.1.1",
                                        "256.0.0.1",
                                        "127.0.0.1%lo",
                                        "::1::",
                                        "fe80::1%no-such-zone",
                                        "fe80::1%",
                                        "fe80::1%1x",
                                        "[::1]",
                                        "1.2.3.4 ",
                                        ("a-name-that-is-very-much-longer-than-any-address-could-ever-be-"
                                         "a-name-that-is-very-much-longer-than-any-address-could-ever-be")};
    struct wawo_addr a;
    size_t i;

    for (i = 0; i < sizeof hosts / sizeof *hosts; i++)
        if (wawo_addr_parse(&a, hosts[i], 1) != WAWO_EINVAL)
            FAIL("\"%s\" was taken for an address", hosts[i]);
}

TEST(equal_addresses)
{
    struct wawo_addr a, b;

    ASSERT_EQ(wawo_addr_parse(&a, "127.0.0.1", 80), 0);
    ASSERT_EQ(wawo_addr_parse(&b, "127.0.0.1", 80), 0);
    ASSERT_TRUE(wawo_addr_equal(&a, &b));
    b.port = 81;
    ASSERT_FALSE(wawo_addr_equal(&a, &b));
    ASSERT_EQ(wawo_addr_parse(&b, "127.0.0.2", 80), 0);
    ASSERT_FALSE(wawo_addr_equal(&a, &b));
    ASSERT_EQ(wawo_addr_parse(&b, "::1", 80), 0);
    ASSERT_FALSE(wawo_addr_equal(&a, &b));
}

TEST(resolves)
{
    struct wawo_addr *list;
    int n, i, gai;

    n = wawo_os_resolve("localhost", 99, &list, &gai);
    ASSERT_GE(n, 1);
    ASSERT_EQ(gai, 0);
    for (i = 0; i < n; i++)
        ASSERT_EQ(list[i].port, 99);
    wawo_free(list);
    n = wawo_os_resolve("no such host", 99, &list, &gai);
    ASSERT_EQ(n, 0);
    ASSERT_NE(gai, 0);
    wawo_free(list);
    wawo_alloc_fail_at(1);
    n = wawo_os_resolve("127.0.0.1", 99, &list, &gai);
    wawo_alloc_fail_at(0);
    ASSERT_EQ(n, WAWO_ENOMEM);
}

/* ---- sockets ---- */

TEST(sockets_are_non_blocking_and_close_on_exec)
{
    struct wawo_addr a, peer;
    uint16_t port;
    int listener = kit_listen(&port), fd, got;

    fd = wawo_os_socket(WAWO_AF_INET);
    ASSERT_TRUE(os_is_nonblocking(fd));
    ASSERT_TRUE(os_is_private(fd));
    ASSERT_EQ(wawo_os_accept(listener, &peer), WAWO_AGAIN);
    ASSERT_EQ(wawo_addr_parse(&a, "127.0.0.1", port), 0);
    got = wawo_os_connect(fd, &a);
    ASSERT_TRUE(got == 0 || got == WAWO_AGAIN);
    while ((got = wawo_os_accept(listener, &peer)) == WAWO_AGAIN)
        continue;
    ASSERT_GE(got, 0);
    ASSERT_TRUE(os_is_nonblocking(got));
    ASSERT_TRUE(os_is_private(got));
    ASSERT_EQ(wawo_os_local_addr(fd, &a), 0);
    ASSERT_TRUE(wawo_addr_equal(&a, &peer));
    ASSERT_EQ(wawo_os_peer_addr(fd, &a), 0);
    ASSERT_EQ(a.port, port);
    ASSERT_EQ(wawo_os_socket_error(fd), 0);
    ASSERT_EQ(wawo_os_tune_tcp(fd, true, 60, 20), 0);
    ASSERT_EQ(wawo_os_tune_tcp(fd, false, 0, 0), 0);
    kit_close(fd);
    kit_close(got);
    kit_close(listener);
}

TEST(recv_and_send)
{
    struct wawo_iov iov[3] = {{(void *)"one", 3}, {(void *)"", 0}, {(void *)"two", 3}};
    char got[16];
    int fds[2];

    kit_pair(fds);
    ASSERT_EQ(wawo_os_recv(fds[0], got, 1), WAWO_AGAIN);
    ASSERT_EQ(wawo_os_sendv(fds[0], iov, 3, false), 6);
    ASSERT_EQ(kit_read(fds[1], got, 6), 6u);
    ASSERT_MEMEQ(got, "onetwo", 6);
    kit_close(fds[1]);
    while (wawo_os_recv(fds[0], got, 1) == WAWO_AGAIN)
        continue;
    ASSERT_EQ(wawo_os_recv(fds[0], got, 1), 0);
    kit_close(fds[0]);
}

TEST(unread_bytes_are_seen)
{
    int fds[2];
    char byte;

    kit_pair(fds);
    ASSERT_EQ(wawo_os_unread(fds[0]), 0);
    kit_write(fds[1], "abc", 3);
    KIT_UNTIL(wawo_os_unread(fds[0]) == 3);
    ASSERT_EQ(wawo_os_recv(fds[0], &byte, 1), 1);
    ASSERT_EQ(wawo_os_unread(fds[0]), 2);
    kit_close(fds[0]);
    kit_close(fds[1]);
    ASSERT_LT(wawo_os_unread(-1), 0);
}

TEST(close_hard_resets)
{
    int fds[2];

    kit_pair(fds);
    wawo_os_close_hard(fds[0]);
    wawo_os_close(fds[0]);
    ASSERT_EQ(kit_read_end(fds[1], NULL), ECONNRESET);
    kit_close(fds[1]);
}

TEST(transient_or_not)
{
    ASSERT_FALSE(wawo_os_accept_transient(-EMFILE));
    ASSERT_FALSE(wawo_os_accept_transient(-ENFILE));
    ASSERT_FALSE(wawo_os_accept_transient(-ENOMEM));
    ASSERT_FALSE(wawo_os_accept_transient(-EINVAL));
    ASSERT_TRUE(wawo_os_accept_transient(-ECONNABORTED));
}

/* ---- threads ---- */

struct box {
    struct wawo_mutex m;
    struct wawo_cond c;
    bool set;
};

static void set_main(void *arg)
{
    struct box *b = arg;

    wawo_mutex_lock(&b->m);
    b->set = true;
    wawo_cond_broadcast(&b->c);
    wawo_mutex_unlock(&b->m);
}

TEST(conditions)
{
    struct box b = {.set = false};
    struct wawo_thread t;
    int64_t start = wawo_os_now_ns();

    wawo_mutex_init(&b.m);
    wawo_cond_init(&b.c);
    wawo_mutex_lock(&b.m);
    ASSERT_FALSE(wawo_cond_wait_for(&b.c, &b.m, 20 * WAWO_MSEC));
    ASSERT_GE(wawo_os_now_ns() - start, 20 * WAWO_MSEC);
    kit_start(&t, set_main, &b);
    while (!b.set)
        ASSERT_TRUE(wawo_cond_wait_for(&b.c, &b.m, KIT_DEADLINE_S * WAWO_SEC));
    wawo_mutex_unlock(&b.m);
    wawo_thread_join(&t);
    wawo_cond_fini(&b.c);
    wawo_mutex_fini(&b.m);
}

TEST(thread_start_without_memory)
{
    struct wawo_thread t;

    wawo_alloc_fail_at(1);
    ASSERT_EQ(wawo_thread_start(&t, "test", set_main, NULL), WAWO_ENOMEM);
    wawo_alloc_fail_at(0);
}

TEST(clocks)
{
    int64_t a = wawo_os_now_ns(), coarse = wawo_os_now_coarse_ns(), b = wawo_os_now_ns();

    ASSERT_LE(a, b);
    ASSERT_LE(coarse, b);
    ASSERT_GT(coarse, a - WAWO_SEC);
}

TEST(error_texts)
{
    ASSERT_STREQ(wawo_err_text(WAWO_ENOBUFS), "a pool or a queue is at its limit");
    ASSERT_NOT_NULL(wawo_err_text(-ENOENT));
    ASSERT_NOT_NULL(wawo_err_text(0));
    ASSERT_NOT_NULL(wawo_err_text(-99999));
}
