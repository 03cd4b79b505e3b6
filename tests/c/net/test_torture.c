/* A whole life of an engine with the n-th allocation failing, for every n. Framings, fan-out and what other threads send
 * have scenes of their own in test_torture_scenes.c. */
#include "support/torture.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"
#include "base/os_file.h"

#include <errno.h>

enum { MESSAGE = 3000, IN_FILE = 5000, ANSWER = 2 + MESSAGE + 2 + 4 + IN_FILE };

/* Blocks as the tests' own sockets do not: a connection may have been closed for want of memory. */
static bool try_exchange(uint16_t port)
{
    struct wawo_addr to;
    uint8_t bytes[ANSWER];
    size_t got = 0;
    ptrdiff_t n = 1;
    int fd = kit_connect(port);

    ASSERT_EQ(wawo_addr_parse(&to, "127.0.0.1", port), 0);
    kit_fill(bytes, sizeof bytes, 0);
    (void)wawo_os_send(fd, "\x0b", 1); /* the header in two reads: the frame is put together in a block of its own */
    (void)wawo_os_send(fd, "\xb8", 1);
    (void)wawo_os_send(fd, bytes, 1000);
    (void)wawo_os_send(fd, bytes + 1000, MESSAGE - 1000);
    (void)wawo_os_shutdown_write(fd);
    while (got < ANSWER && (n = wawo_os_recv(fd, bytes, sizeof bytes)) > 0)
        got += (size_t)n;
    ASSERT_NE(n, -EAGAIN); /* ended one way or the other */
    kit_close(fd);
    return got == ANSWER;
}

static bool never_cached(uint64_t offset, size_t len)
{
    (void)offset;
    (void)len;
    return false;
}

/* A file with bytes in front; it is read by the pool for what blocks. */
static int send_file(struct wawo_share *s)
{
    int rc, fd = kit_file(0, IN_FILE);
    struct wawo_part parts[2] = {{.data = "head", .len = 4}};

    parts[1].file = wawo_file_new(fd, 0, IN_FILE);
    if (parts[1].file == NULL) {
        wawo_os_file_close(fd);
        return WAWO_ENOMEM;
    }
    rc = wawo_share_send_parts(s, parts, 2);
    if (rc != 1)
        wawo_file_drop(parts[1].file);
    return rc;
}

static void hook_echo_if_it_can(struct party *p, const struct wawo_event *e, struct actor *a)
{
    int rc;

    (void)p;
    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    rc = wawo_share_send(e->share, e->ptr, e->len);
    if (rc == 1)
        rc = send_file(e->share);
    if (rc == 1)
        return;
    ASSERT_TRUE(rc == WAWO_ENOMEM || rc == WAWO_ENOBUFS || rc == 0);
    (void)wawo_share_close(e->share);
}

/* Whether all of it worked. */
static bool serve(struct stage *s)
{
    struct party server;
    bool good;

    party_init(&server, s, WAWO_SERVER);
    party_framed(&server, 2, 65535);
    server.hook = hook_echo_if_it_can;
    server.options.close_timeout_ns = WAWO_SEC;
    server.options.idle_timeout_ns = 60 * WAWO_SEC;
    server.options.receive_rate = UINT64_C(1) << 30;
    if (party_try_start(&server) != 0)
        return false;
    good = try_exchange(server.port);
    party_finish(&server);
    return good;
}

static void hook_agent(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_CONNECT && wawo_share_send(e->share, "hello", 5) != 1)
        (void)wawo_share_close(e->share);
    if (e->kind == WAWO_ON_RECEIVE)
        (void)wawo_share_close(e->share);
}

/* `host` NULL: to a unix socket. */
static bool dial(struct stage *s, const char *host)
{
    struct party agent;
    struct wawo_share *share = NULL;
    uint16_t port = 0;
    int fd, listener = host != NULL ? kit_listen(&port) : kit_listen_unix(&host, 16);
    bool good;

    party_init(&agent, s, WAWO_AGENT);
    agent.hook = hook_agent;
    agent.options.close_timeout_ns = WAWO_SEC;
    if (party_try_start(&agent) != 0) {
        kit_close(listener);
        return false;
    }
    good = party_dial(&agent, host, port, 0, &share) == 0;
    if (good) {
        (void)wawo_share_send(share, "from another thread", 19);
        KIT_UNTIL(party_count(&agent, WAWO_ON_CONNECT) + party_count(&agent, WAWO_ON_CLOSE) > 0);
        good = party_count(&agent, WAWO_ON_CONNECT) == 1;
        if (good) {
            fd = kit_accept(listener);
            (void)wawo_os_send(fd, "answer", 6);
            (void)wawo_share_close(share);
            (void)kit_read_end(fd, NULL);
            kit_close(fd);
        }
        party_wait(&agent, WAWO_ON_CLOSE, 1);
        good = good && agent.error == 0;
        wawo_share_drop(share);
    }
    party_finish(&agent);
    kit_close(listener);
    return good;
}

static bool adopt(struct stage *s)
{
    struct party agent;
    struct wawo_share *share = NULL;
    int fds[2];
    bool good;

    party_init(&agent, s, WAWO_AGENT);
    if (party_try_start(&agent) != 0)
        return false;
    (os_has_unix() ? kit_pair_unix : kit_pair)(fds);
    good = party_adopt(&agent, fds[0], &share) == 0;
    if (good) {
        (void)wawo_share_send(share, "from another thread", 19);
        kit_shutdown(fds[1]);
        (void)kit_read_end(fds[1], NULL);
        party_wait(&agent, WAWO_ON_CLOSE, 1);
        good = agent.error == 0;
        wawo_share_drop(share);
    } else {
        kit_close(fds[0]);
    }
    kit_close(fds[1]);
    party_finish(&agent);
    return good;
}

/* `host` to dial; NULL: to a unix socket. */
static bool live(struct stage *s, const void *host)
{
    bool good = serve(s);

    good = dial(s, host) && good;
    return adopt(s) && good;
}

static void torture_life(const char *backend, unsigned loops, const char *host)
{
    wawo_os_file_pretend(never_cached, NULL);
    torture(backend, loops, live, host);
}

TEST_EACH_BACKEND(every_allocation_fails_one_loop, backend)
{
    torture_life(backend, 1, "127.0.0.1");
}

TEST_EACH_BACKEND(every_allocation_fails_two_loops, backend)
{
    torture_life(backend, 2, "127.0.0.1");
}

TEST_EACH_BACKEND(every_allocation_fails_unix_socket, backend)
{
    torture_life(backend, 1, NULL);
}

TEST_EACH_BACKEND(every_allocation_fails_with_a_name, backend)
{
    torture_life(backend, 1, "localhost");
}
