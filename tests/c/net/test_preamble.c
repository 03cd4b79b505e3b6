/* A PROXY header in front of each connection: when it comes whole or in pieces, when it is bad, when it does not come. */
#include "support/stage.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"
#include "net/endpoint.h"
#include "proto/proxy.h"

#include <errno.h>
#include <stdio.h>

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(text) (text), sizeof(text) - 1

struct header {
    const char *p;
    size_t n;
    const char *remote, *local; /* NULL: the real ones */
    int remote_port, local_port;
};

static const struct header headers[] = {
    {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\r\n"), "192.0.2.1", "198.51.100.2", 1234, 443},
    {BYTES("PROXY TCP6 2001:db8::1 2001:db8::2 65535 0\r\n"), "2001:db8::1", "2001:db8::2", 65535, 0},
    {BYTES("PROXY UNKNOWN and the rest\r\n"), NULL, NULL, 0, 0},
    {BYTES(V2 "\x21\x11\0\x14\xc0\0\x02\x01\xc6\x33\x64\x02\x04\xd2\x01\xbb\x01\0\x05hello"), "192.0.2.1",
     "198.51.100.2", 1234, 443},
    {BYTES(V2 "\x20\0\0\0"), NULL, NULL, 0, 0},
    {BYTES(V2 "\x21\0\0\x03tlv"), NULL, NULL, 0, 0},
};
enum { HEADERS = sizeof headers / sizeof *headers };

static void server_open(struct stage *s, struct party *server, const char *backend, unsigned loops)
{
    stage_open(s, backend, loops);
    party_init(server, s, WAWO_SERVER);
    server->options.proxy_protocol = true;
    server->verify = true;
}

static void check_addresses(struct party *server, const struct header *h)
{
    struct wawo_share *share = party_last(server);
    char host[WAWO_HOST_TEXT];
    int family, port;

    port = wawo_share_address(share, false, host, &family);
    ASSERT_STREQ(host, h->remote != NULL ? h->remote : "127.0.0.1");
    if (h->remote != NULL)
        ASSERT_EQ(port, h->remote_port);
    port = wawo_share_address(share, true, host, &family);
    ASSERT_STREQ(host, h->local != NULL ? h->local : "127.0.0.1");
    ASSERT_EQ(port, h->local != NULL ? h->local_port : server->port);
    wawo_share_drop(share);
}

/* Gives the loop time to see what was written so far as a read of its own. */
static void let_it_read(const struct party *server, uint64_t bytes)
{
    KIT_UNTIL(party_stats(server).bytes_in >= bytes);
}

/* In two pieces, split at every byte, with data of the connection right behind; the same in one piece is the last. */
TEST_EACH_BACKEND(in_every_two_pieces, backend)
{
    enum { DATA = 10 };
    struct stage s;
    struct party server;
    uint8_t bytes[256];
    uint64_t opened = 0, sent = 0, data = 0;
    size_t i, n, at;
    int fd;

    server_open(&s, &server, backend, 1);
    party_start(&server);
    for (i = 0; i < HEADERS; i++) {
        n = headers[i].n + DATA;
        memcpy(bytes, headers[i].p, headers[i].n);
        kit_fill(bytes + headers[i].n, DATA, 0);
        for (at = 1; at <= n; at++) {
            fd = kit_connect(server.port);
            kit_write(fd, bytes, at);
            let_it_read(&server, sent + at);
            if (at < headers[i].n)
                ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), opened);
            kit_write(fd, bytes + at, n - at);
            sent += n;
            data += DATA;
            party_wait_bytes(&server, data);
            ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), ++opened);
            ASSERT_EQ(party_count(&server, WAWO_ON_HANDSHAKE), opened);
            check_addresses(&server, &headers[i]);
            kit_close(fd);
            party_wait(&server, WAWO_ON_CLOSE, opened);
        }
    }
    ASSERT_EQ(server.bad, 0u);
    ASSERT_EQ(party_stats(&server).accepts, opened);
    ASSERT_EQ(party_stats(&server).rejected, 0u);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(byte_for_byte, backend)
{
    struct stage s;
    struct party server;
    uint64_t sent = 0;
    size_t i, k;
    int fd;

    server_open(&s, &server, backend, 1);
    party_start(&server);
    for (i = 0; i < HEADERS; i++) {
        fd = kit_connect(server.port);
        for (k = 0; k < headers[i].n; k++) {
            ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), i);
            kit_write(fd, headers[i].p + k, 1);
            let_it_read(&server, ++sent);
        }
        party_wait(&server, WAWO_ON_ACCEPT, i + 1);
        check_addresses(&server, &headers[i]);
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, i + 1);
    }
    party_close(&s, &server);
}

/* The largest header in pieces of many sizes, and a stream behind it. */
TEST_EACH_BACKEND(the_largest_in_pieces, backend)
{
    enum { DATA = 300000 };
    static uint8_t bytes[WAWO_PROXY_V2_MAX + DATA];
    static const size_t pieces[] = {1, 15, 16, 17, 100, 1000, 4095, 4112, 4113, 65536};
    struct stage s;
    struct party server;
    size_t i, at, n;
    uint64_t sent = 0;
    int fd;

    memcpy(bytes, BYTES(V2 "\x21\x11\x10\0\xc0\0\x02\x01\xc6\x33\x64\x02\x04\xd2\x01\xbb"));
    kit_fill(bytes + WAWO_PROXY_V2_MAX, DATA, 0);
    server_open(&s, &server, backend, 1);
    party_start(&server);
    for (i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        fd = kit_connect(server.port);
        for (at = 0; at < sizeof bytes; at += n) {
            n = wawo_min_size(at < WAWO_PROXY_V2_MAX ? pieces[i] : DATA, sizeof bytes - at);
            kit_write(fd, bytes + at, n);
            sent += n;
            if (pieces[i] > 1 || at < 20)
                let_it_read(&server, sent);
        }
        party_wait_bytes(&server, (i + 1) * DATA);
        check_addresses(&server, &headers[0]);
        kit_close(fd);
    }
    party_close(&s, &server);
}

/* ---- what is told of a bad one ---- */

static wawo_u64 faults; /* that hook_fault has noted, behind the count of CLOSE; atomic */

static void expect_end(struct party *server, uint64_t nth, int error, const char *words)
{
    party_wait(server, WAWO_ON_CLOSE, nth);
    KIT_UNTIL(wawo_load(&faults) == nth);
    party_lock(server);
    ASSERT_EQ(server->operation, WAWO_OP_ACCEPT);
    ASSERT_EQ(server->error, error);
    ASSERT_STREQ(server->arg, words);
    party_unlock(server);
    ASSERT_EQ(party_count(server, WAWO_ON_ACCEPT), 0u);
    ASSERT_EQ(party_count(server, WAWO_ON_HANDSHAKE), 0u);
    ASSERT_EQ(party_count(server, WAWO_ON_RECEIVE), 0u);
}

static void hook_fault(struct party *p, const struct wawo_event *e, struct actor *a)
{
    char host[WAWO_HOST_TEXT];
    int family;

    (void)a;
    if (e->kind != WAWO_ON_CLOSE)
        return;
    p->arg = (void *)(uintptr_t)wawo_share_fault(e->share);
    wawo_add(&faults, 1);
    ASSERT_GT(wawo_share_address(e->share, false, host, &family), 0); /* of the socket */
    ASSERT_STREQ(host, "127.0.0.1");
}

static void open_bad(struct stage *s, struct party *server, const char *backend)
{
    server_open(s, server, backend, 1);
    server->hook = hook_fault;
}

TEST_EACH_BACKEND(malformed, backend)
{
    static const struct {
        const char *p;
        size_t n;
        const char *words;
    } bad[] = {
        {BYTES("GET / HTTP/1.1\r\n\r\n"), "PROXY header: no signature"},
        {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1234 65536\r\n"), "PROXY header: bad port"},
        {BYTES("PROXY TCP4 192.0.2.01 198.51.100.2 1234 443\r\n"), "PROXY header: bad address"},
        {BYTES("PROXY TCP4 192.0.2.1 198.51.100.2 1234 443\n"), "PROXY header: the line does not end with CRLF"},
        {BYTES(V2 "\x21\x11\0\x0b"), "PROXY header: too short for its addresses"},
        {BYTES(V2 "\x21\x11\xff\xff"), "PROXY header: over 4112 bytes"},
    };
    struct stage s;
    struct party server;
    uint64_t nth = 0;
    size_t i;
    int fd, pieces;

    open_bad(&s, &server, backend);
    party_start(&server);
    for (i = 0; i < sizeof bad / sizeof *bad; i++)
        for (pieces = 1; pieces <= 2; pieces++) {
            fd = kit_connect(server.port);
            if (pieces == 2) {
                uint64_t before = party_stats(&server).bytes_in;

                kit_write(fd, bad[i].p, bad[i].n / 2);
                let_it_read(&server, before + bad[i].n / 2);
                (void)wawo_os_send(fd, bad[i].p + bad[i].n / 2, bad[i].n - bad[i].n / 2); /* it may be over already */
            } else {
                kit_write(fd, bad[i].p, bad[i].n);
            }
            expect_end(&server, ++nth, EBADMSG, bad[i].words);
            kit_close(fd);
        }
    ASSERT_EQ(party_stats(&server).rejected, nth);
    ASSERT_EQ(party_stats(&server).rejected_proxy, nth);
    ASSERT_EQ(party_stats(&server).closed, 0u);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(ended_inside, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_bad(&s, &server, backend);
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "P", 1);
    kit_shutdown(fd);
    expect_end(&server, 1, EBADMSG, "PROXY header: the connection ended inside it");
    kit_close(fd);
    fd = kit_connect(server.port);
    kit_write(fd, "PROXY TCP4 ", 11);
    let_it_read(&server, 12);
    kit_reset(fd);
    expect_end(&server, 2, ECONNRESET, NULL);
    party_close(&s, &server);
}

/* Not a byte came: nobody hears of it. */
TEST_EACH_BACKEND(probes_of_the_port, backend)
{
    struct stage s;
    struct party server;
    int i, fd;

    open_bad(&s, &server, backend);
    party_start(&server);
    for (i = 1; i <= 20; i++) {
        fd = kit_connect(server.port);
        if (i % 2)
            kit_close(fd);
        else
            kit_reset(fd);
        KIT_UNTIL(party_stats(&server).rejected == (uint64_t)i);
        KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 0);
    }
    ASSERT_EQ(party_stats(&server).rejected_proxy, 0u);
    ASSERT_EQ(party_stats(&server).accepts, 0u);
    party_close(&s, &server);
    ASSERT_EQ(server.count[WAWO_ON_CLOSE], 0u);
}

TEST_EACH_BACKEND(too_slow, backend)
{
    struct stage s;
    struct party server;
    int64_t start = wawo_os_now_ns();
    int one, two;

    open_bad(&s, &server, backend);
    server.options.connect_timeout_ns = 100 * WAWO_MSEC;
    party_start(&server);
    one = kit_connect(server.port);
    two = kit_connect(server.port);
    (void)wawo_os_send(two, "PROXY TCP4 192.0.2.1", 20); /* which may be too late already */
    expect_end(&server, 2, ETIMEDOUT, NULL);
    ASSERT_GE(wawo_os_now_ns() - start, 100 * WAWO_MSEC);
    ASSERT_EQ(party_stats(&server).rejected_proxy, 2u);
    kit_close(one);
    kit_close(two);
    party_close(&s, &server);
}

/* The time limit is that of the header, not of the connection. The header is there before it is accepted. */
TEST_EACH_BACKEND(the_limit_ends_with_the_header, backend)
{
    struct stage s;
    struct party server;
    int64_t until;
    uint16_t port;
    int fd, listener = kit_listen(&port);

    server_open(&s, &server, backend, 1);
    server.options.connect_timeout_ns = 50 * WAWO_MSEC;
    party_start(&server);
    fd = kit_connect(port);
    kit_write(fd, headers[0].p, headers[0].n);
    ASSERT_EQ(wawo_endpoint_listen(server.endpoint, listener, -1), 0);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    for (until = wawo_os_now_ns() + 100 * WAWO_MSEC; wawo_os_now_ns() < until;)
        wawo_thread_yield();
    kit_write_pattern(fd, 0, 100);
    party_wait_bytes(&server, 100);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    party_close(&s, &server);
}

/* ---- limits ---- */

/* Those that wait for their header have places; while the server drains it may still come, then a stop ends them. */
TEST_EACH_BACKEND(they_have_places_and_a_stop_ends_them, backend)
{
    struct stage s;
    struct party server;
    int fds[5], i, err;

    server_open(&s, &server, backend, 2);
    server.options.max_connections = 3;
    party_start(&server);
    for (i = 0; i < 5; i++)
        fds[i] = kit_connect(server.port);
    KIT_UNTIL(party_stats(&server).accept_pauses > 0);
    ASSERT_EQ(wawo_endpoint_count(server.endpoint), 3u);
    ASSERT_EQ(wawo_endpoint_list(server.endpoint, NULL, 0), 0u); /* but nobody finds them */
    kit_write(fds[0], headers[0].p, headers[0].n);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_EQ(wawo_endpoint_list(server.endpoint, NULL, 0), 1u);
    kit_write(fds[1], headers[0].p, 20);
    kit_close(fds[0]); /* room for the fourth */
    party_wait(&server, WAWO_ON_CLOSE, 1);
    kit_write(fds[3], headers[0].p, headers[0].n);
    party_wait(&server, WAWO_ON_ACCEPT, 2);
    party_stop(&server, 3600 * WAWO_SEC);
    err = kit_read_end(fds[4], NULL); /* it had no place yet */
    ASSERT_TRUE(err == 0 || err == ECONNRESET);
    kit_write(fds[1], headers[0].p + 20, headers[0].n - 20);
    kit_write_pattern(fds[1], 0, 10);
    party_wait_bytes(&server, 10);
    party_wait(&server, WAWO_ON_ACCEPT, 3);
    party_finish(&server);
    for (i = 1; i < 5; i++) {
        err = kit_read_end(fds[i], NULL);
        ASSERT_TRUE(err == 0 || err == ECONNRESET);
        kit_close(fds[i]);
    }
    ASSERT_EQ(server.count[WAWO_ON_CLOSE], 3u);
    ASSERT_EQ(server.bad, 0u);
    stage_close(&s);
}

static int dial_as(const struct party *server, const char *host)
{
    char line[WAWO_PROXY_V1_MAX + 1];
    int fd = kit_connect(server->port), n = 0;

    n = snprintf(line, sizeof line, "PROXY %s %s %s 1 2\r\n", strchr(host, ':') ? "TCP6" : "TCP4", host, host);
    kit_write(fd, line, (size_t)n);
    return fd;
}

/* It is the address of the header that counts, when it is there. */
TEST_EACH_BACKEND(the_header_counts, backend)
{
    static const char *const hosts[] = {"192.0.2.1", "192.0.2.2", "2001:db8::1", "::ffff:192.0.2.3"};
    struct stage s;
    struct party server;
    int fds[4], i, mute;

    server_open(&s, &server, backend, 2);
    server.options.max_per_address = 1;
    party_start(&server);
    mute = kit_connect(server.port); /* all of them come from one address */
    for (i = 0; i < 4; i++) {
        fds[i] = dial_as(&server, hosts[i]);
        party_wait(&server, WAWO_ON_ACCEPT, (uint64_t)i + 1);
    }
    for (i = 0; i < 4; i++) {
        int fd = dial_as(&server, i < 3 ? hosts[i] : "192.0.2.3"), err = kit_read_end(fd, NULL);

        ASSERT_TRUE(err == 0 || err == ECONNRESET);
        kit_close(fd);
    }
    KIT_UNTIL(party_stats(&server).rejected == 4);
    ASSERT_EQ(party_stats(&server).rejected_address, 4u);
    ASSERT_EQ(party_stats(&server).rejected_proxy, 0u);
    kit_close(fds[0]);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 4);
    fds[0] = dial_as(&server, hosts[0]);
    party_wait(&server, WAWO_ON_ACCEPT, 5);
    for (i = 0; i < 4; i++)
        kit_close(fds[i]);
    kit_close(mute);
    party_wait(&server, WAWO_ON_CLOSE, 5);
    KIT_UNTIL(wawo_endpoint_count(server.endpoint) == 0);
    wawo_mutex_lock(&server.endpoint->lock);
    ASSERT_EQ(server.endpoint->census.used, 0u);
    wawo_mutex_unlock(&server.endpoint->lock);
    party_close(&s, &server);
}

/* No memory to read a header into: it is read when there is some again. */
TEST_EACH_BACKEND(a_header_waits_for_memory, backend)
{
    enum { MIB = 1024 * 1024 };
    struct stage s;
    struct party server;
    struct keeper k = {.count = 0};
    struct wawo_loop_stats ls;
    uint64_t offset = 0, before;
    int fd, other;

    ASSERT_EQ(stage_open_with(&s, backend, 1, MIB), 0); /* eight chunks */
    party_init(&server, &s, WAWO_SERVER);
    server.options.proxy_protocol = true;
    server.hook = hook_keep;
    server.arg = &k;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, headers[0].p, headers[0].n);
    do { /* small reads, so that no room is left for another one */
        kit_write_pattern(fd, offset, 8000);
        offset += 8000;
        KIT_UNTIL(party_stats(&server).bytes_in == headers[0].n + offset || party_stats(&server).receive_pauses > 0);
    } while (party_stats(&server).receive_pauses == 0);
    wawo_engine_stats(s.threads, 0, &ls);
    before = ls.pool_starved;
    other = kit_connect(server.port);
    kit_write(other, headers[0].p, headers[0].n);
    KIT_UNTIL((wawo_engine_stats(s.threads, 0, &ls), ls.pool_starved) > before);
    ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), 1u);
    party_lock(&server);
    while (k.count > 0)
        wawo_chunk_drop(k.held[--k.count]);
    k.count = 256; /* keep no more */
    party_unlock(&server);
    party_wait(&server, WAWO_ON_ACCEPT, 2);
    party_wait_bytes(&server, offset);
    kit_close(fd);
    kit_close(other);
    party_wait(&server, WAWO_ON_CLOSE, 2);
    party_close(&s, &server);
}

/* ---- many ---- */

struct visit {
    const struct party *server;
    uint64_t seed;
};

static void visit_main(void *arg)
{
    const struct visit *v = arg;
    uint64_t state = v->seed;
    int fds[200];
    size_t at[200] = {0};
    unsigned i, left = 200, n;

    for (i = 0; i < 200; i++)
        fds[i] = kit_connect(v->server->port);
    while (left > 0) {
        i = kit_below(&state, 200);
        if (fds[i] < 0)
            continue;
        n = 1 + kit_below(&state, 30);
        if (at[i] < headers[i % HEADERS].n)
            kit_write(fds[i], headers[i % HEADERS].p + at[i], wawo_min_size(n, headers[i % HEADERS].n - at[i]));
        at[i] += n;
        if (at[i] < headers[i % HEADERS].n)
            continue;
        kit_write_pattern(fds[i], 0, 100);
        kit_close(fds[i]);
        fds[i] = -1;
        left--;
    }
}

TEST_EACH_BACKEND(many_at_once, backend)
{
    struct stage s;
    struct party server;
    struct visit visits[2] = {{&server, 1}, {&server, 2}};
    struct wawo_thread t[2];
    int i;

    server_open(&s, &server, backend, 2);
    party_start(&server);
    for (i = 0; i < 2; i++)
        kit_start(&t[i], visit_main, &visits[i]);
    for (i = 0; i < 2; i++)
        wawo_thread_join(&t[i]);
    party_wait(&server, WAWO_ON_CLOSE, 400);
    ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), 400u);
    ASSERT_EQ(server.received, 40000u);
    ASSERT_EQ(server.bad, 0u);
    party_close(&s, &server);
}

/* A stop meets connections in every state of their header. */
TEST_EACH_BACKEND(stop_in_the_middle, backend)
{
    struct stage s;
    struct party server;
    int fds[100], i, err;

    server_open(&s, &server, backend, 2);
    party_start(&server);
    for (i = 0; i < 100; i++) {
        fds[i] = kit_connect(server.port);
        kit_write(fds[i], headers[0].p, (size_t)i % (headers[0].n + 1));
    }
    party_finish(&server);
    ASSERT_EQ(server.count[WAWO_ON_ACCEPT], server.count[WAWO_ON_CLOSE]);
    ASSERT_EQ(server.bad, 0u);
    for (i = 0; i < 100; i++) {
        err = kit_read_end(fds[i], NULL);
        ASSERT_TRUE(err == 0 || err == ECONNRESET);
        kit_close(fds[i]);
    }
    stage_close(&s);
}

/* ---- what stands behind the header ---- */

static void hook_pause(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_ACCEPT)
        ASSERT_TRUE(wawo_share_pause(e->share, true));
}

TEST_EACH_BACKEND(frames_behind_it_wait_for_a_resume, backend)
{
    struct stage s;
    struct party server;
    struct wawo_share *share;
    uint8_t bytes[256];
    size_t n = headers[0].n;
    int fd, i;

    server_open(&s, &server, backend, 1);
    party_framed(&server, 1, 255);
    server.hook = hook_pause;
    memcpy(bytes, headers[0].p, n);
    for (i = 0; i < 10; i++) {
        bytes[n++] = 5;
        kit_fill(bytes + n, 5, (uint64_t)i * 5);
        n += 5;
    }
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, bytes, n);
    party_wait(&server, WAWO_ON_HANDSHAKE, 1);
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), 0u);
    share = party_last(&server);
    ASSERT_TRUE(wawo_share_pause(share, false));
    party_wait(&server, WAWO_ON_RECEIVE, 10);
    ASSERT_EQ(server.received, 50u);
    wawo_share_drop(share);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    party_close(&s, &server);
}

/* Its end may come with it. */
TEST_EACH_BACKEND(a_header_and_nothing_else, backend)
{
    struct stage s;
    struct party server;
    int fd, i;

    server_open(&s, &server, backend, 1);
    party_start(&server);
    for (i = 1; i <= 20; i++) {
        fd = kit_connect(server.port);
        kit_write(fd, headers[i % HEADERS].p, headers[i % HEADERS].n);
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, (uint64_t)i);
        ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), (uint64_t)i);
    }
    ASSERT_EQ(server.bad, 0u);
    party_close(&s, &server);
}

/* ---- without memory ---- */

static void hook_echo_if_it_can(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_RECEIVE && wawo_share_send(e->share, e->ptr, e->len) != 1)
        (void)wawo_share_close(e->share);
}

static bool life(const char *backend, size_t n)
{
    struct stage s;
    struct party server;
    char got[8];
    size_t calls;
    bool good;
    int fd;

    wawo_alloc_fail_at(n);
    good = stage_open_with(&s, backend, 1, 1 << 20) == 0;
    if (good) {
        party_init(&server, &s, WAWO_SERVER);
        party_framed(&server, 1, 255);
        server.options.proxy_protocol = true;
        server.options.max_per_address = 1;
        server.hook = hook_echo_if_it_can;
        good = party_try_start(&server) == 0;
        if (good) {
            fd = kit_connect(server.port);
            (void)wawo_os_send(fd, headers[3].p, 10); /* no more than the signature, then the length */
            KIT_UNTIL(party_stats(&server).bytes_in == 10 || party_stats(&server).rejected > 0);
            (void)wawo_os_send(fd, headers[3].p + 10, 10);
            KIT_UNTIL(party_stats(&server).bytes_in == 20 || party_stats(&server).rejected > 0);
            (void)wawo_os_send(fd, headers[3].p + 20, headers[3].n - 20);
            (void)wawo_os_send(fd, "\5hello", 6);
            (void)wawo_os_shutdown_write(fd);
            good = wawo_os_recv(fd, got, 6) == 6;
            kit_close(fd);
            party_finish(&server);
        }
        stage_close(&s);
    }
    calls = wawo_alloc_calls();
    wawo_alloc_fail_at(0);
    ASSERT_EQ(wawo_live_shares(), 0u);
    ASSERT_EQ(wawo_live_chunks(), 0u);
    KIT_UNTIL(wawo_alloc_live() == 0);
    if (calls < n)
        ASSERT_TRUE(good); /* nothing failed */
    return calls < n;
}

TEST_EACH_BACKEND(every_allocation_fails, backend)
{
    size_t n;

    for (n = 1; !life(backend, n); n++)
        ASSERT_LT(n, 1000u);
    ASSERT_GT(n, 10u);
}
