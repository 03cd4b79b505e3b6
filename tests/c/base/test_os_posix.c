/* What only POSIX has: unix sockets, signals, wake-up descriptors. */
#include "support/kit.h"

#include "base/err.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TEST(zones_have_names)
{
    static const char *const hosts[] = {"fe80::1%lo", "fe80::1%1"};
    char text[WAWO_ADDR_TEXT];
    struct wawo_addr a;
    int i;

    for (i = 0; i < 2; i++) {
        ASSERT_EQ(wawo_addr_parse(&a, hosts[i], 80), 0);
        ASSERT_EQ(a.scope, 1u);
        wawo_addr_text(&a, text);
        ASSERT_STREQ(text, "fe80::1%lo");
    }
}

/* ---- unix sockets ---- */

TEST(unix_addresses)
{
    char host[200] = "unix:/tmp/x", text[WAWO_ADDR_TEXT];
    struct wawo_addr a;

    ASSERT_EQ(wawo_addr_parse(&a, host, 80), 0);
    ASSERT_EQ(a.family, WAWO_AF_UNIX);
    ASSERT_EQ(a.port, 0);
    ASSERT_TRUE(a.path == host + 5);
    wawo_addr_text(&a, text);
    ASSERT_STREQ(text, host);
    a.path = "";
    wawo_addr_text(&a, text);
    ASSERT_STREQ(text, "unix:");
    a.path = NULL;
    wawo_addr_text(&a, text);
    ASSERT_STREQ(text, "");
    ASSERT_EQ(wawo_addr_parse(&a, "unix:", 0), -ENOENT);
    memset(host + 5, 'x', sizeof host - 5);
    host[5 + WAWO_UNIX_MAX] = '\0';
    ASSERT_EQ(wawo_addr_parse(&a, host, 0), 0);
    host[5] = '@';
    host[5 + WAWO_UNIX_MAX] = 'x';
    host[5 + WAWO_UNIX_MAX + 1] = '\0';
    ASSERT_EQ(wawo_addr_parse(&a, host, 0), os_has_abstract() ? 0 : WAWO_ENOTSUP);
    host[5] = 'x';
    ASSERT_EQ(wawo_addr_parse(&a, host, 0), -ENAMETOOLONG);
}

static void unix_round_trip(const char *host)
{
    struct wawo_addr a, peer;
    int listener = wawo_os_socket(WAWO_AF_UNIX), fd = wawo_os_socket(WAWO_AF_UNIX), got;

    ASSERT_TRUE(os_is_nonblocking(fd));
    ASSERT_TRUE(os_is_private(fd));
    ASSERT_EQ(wawo_addr_parse(&a, host, 0), 0);
    ASSERT_EQ(wawo_os_bind(listener, &a), 0);
    ASSERT_EQ(wawo_os_connect(fd, &a), WAWO_EREFUSED);
    os_listen(listener, 0);
    ASSERT_EQ(wawo_os_connect(fd, &a), 0);
    got = wawo_os_accept(listener, &peer);
    ASSERT_GE(got, 0);
    ASSERT_EQ(peer.family, WAWO_AF_UNIX);
    ASSERT_NULL(peer.path);
    ASSERT_EQ(wawo_os_local_addr(got, &peer), 0);
    ASSERT_EQ(peer.family, WAWO_AF_UNIX);
    ASSERT_NULL(peer.path);
    ASSERT_GE(wawo_os_unacknowledged(got), 0);
    kit_close(fd);
    kit_close(got);
    kit_close(listener);
}

/* Both names as long as they may be: the last byte counts. */
TEST(unix_sockets)
{
    char folder[] = "/tmp/wawo-tests-XXXXXX", host[5 + WAWO_UNIX_MAX + 2];
    size_t len;

    ASSERT_NOT_NULL(mkdtemp(folder));
    len = (size_t)snprintf(host, sizeof host, "unix:%s/", folder);
    memset(host + len, 'x', sizeof host - len);
    host[5 + WAWO_UNIX_MAX] = '\0';
    unix_round_trip(host);
    ASSERT_EQ(unlink(host + 5), 0);
    ASSERT_EQ(rmdir(folder), 0);
    if (!os_has_abstract())
        return;
    len = (size_t)snprintf(host, sizeof host, "unix:@wawo-tests-%ld-", (long)getpid());
    memset(host + len, 'x', sizeof host - len);
    host[5 + WAWO_UNIX_MAX + 1] = '\0';
    unix_round_trip(host);
}

TEST(unix_backlog_is_full)
{
    const char *host;
    struct wawo_addr a;
    int listener = kit_listen_unix_crowded(&host), one = wawo_os_socket(WAWO_AF_UNIX),
        two = wawo_os_socket(WAWO_AF_UNIX);

    ASSERT_EQ(wawo_addr_parse(&a, host, 0), 0);
    ASSERT_EQ(wawo_os_connect(one, &a), 0);
    ASSERT_EQ(wawo_os_connect(two, &a), WAWO_ENOBUFS);
    kit_close(kit_accept(listener));
    ASSERT_EQ(wawo_os_connect(two, &a), 0); /* the same socket may try again */
    kit_close(one);
    kit_close(two);
    kit_close(listener);
}

/* ---- signals ---- */

static void masked_main(void *arg)
{
    sigset_t mask;

    ASSERT_EQ(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    *(int *)arg = sigismember(&mask, SIGTERM);
}

TEST(threads_take_no_signals)
{
    struct wawo_thread t;
    int member = 0;

    kit_start(&t, masked_main, &member);
    wawo_thread_join(&t);
    ASSERT_EQ(member, 1);
}

TEST(no_sigpipe)
{
    struct wawo_iov iov = {(void *)"x", 1};
    int fds[2], i;
    ptrdiff_t n = 0;

    ASSERT_TRUE(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    kit_pair(fds);
    kit_reset(fds[1]);
    for (i = 0; i < 1000 && n != -EPIPE; i++)
        n = i % 2 ? wawo_os_send(fds[0], "x", 1) : wawo_os_sendv(fds[0], &iov, 1, false);
    ASSERT_EQ(n, -EPIPE);
    kit_close(fds[0]);
}

/* ---- wake-ups ---- */

TEST(wake_ups)
{
    struct wawo_wakefd w;
    char byte;

    ASSERT_EQ(wawo_wakefd_open(&w), 0);
    ASSERT_LT(read(w.rd, &byte, 0), 1);
    wawo_wakefd_signal(&w);
    wawo_wakefd_signal(&w);
    wawo_wakefd_drain(&w);
    wawo_wakefd_drain(&w); /* empty: returns at once */
    wawo_wakefd_close(&w);
    ASSERT_EQ(w.rd, -1);
}
