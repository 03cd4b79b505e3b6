/* The conformance suite of the completion table (io/backend.h): every backend that probes passes all of it. */
#include "support/rig.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

enum { MIB = 1024 * 1024, POOL = 8 * MIB };

/* ---- accept ---- */

TEST_EACH_BACKEND(accept, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_addr local;
    struct wawo_sock l;
    struct wawo_done d;
    uint16_t port;
    int fds[40], i;

    rig_attach(r, &l, kit_listen(&port));
    r->ops->accept_start(r->backend, &l);
    for (i = 0; i < 40; i++)
        fds[i] = kit_connect(port);
    for (i = 0; i < 40; i++) { /* ordinary sockets, each with its peer, in no backend yet */
        d = rig_next(r, &l, WAWO_DONE_ACCEPTED);
        ASSERT_EQ(d.error, 0);
        ASSERT_GE(d.fd, 0);
        ASSERT_EQ(wawo_os_local_addr(fds[i], &local), 0);
        ASSERT_TRUE(wawo_addr_equal(&d.peer, &local));
        kit_close(d.fd);
        kit_close(fds[i]);
    }
    rig_quiet(r, &l);
    rig_detach(r, &l, false);
    rig_close(r);
}

TEST_EACH_BACKEND(accept_stop_and_start, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock l;
    uint16_t port;
    int fd;

    rig_attach(r, &l, kit_listen(&port));
    r->ops->accept_start(r->backend, &l);
    rig_turn(r, 0);
    r->ops->accept_stop(r->backend, &l);
    rig_turn(r, 0);
    fd = kit_connect(port);
    rig_quiet(r, &l);
    r->ops->accept_start(r->backend, &l);
    kit_close(rig_next(r, &l, WAWO_DONE_ACCEPTED).fd);
    kit_close(fd);
    rig_detach(r, &l, false);
    rig_close(r);
}

/* Without descriptors accepting stops with an error, once, and can be started again. */
TEST_EACH_BACKEND(accept_without_descriptors, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock l;
    struct wawo_done d;
    uint16_t port;
    int fd;

    rig_attach(r, &l, kit_listen(&port));
    r->ops->accept_start(r->backend, &l);
    fd = kit_connect(port);
    if (!os_forbid_fds(fd + 1))
        SKIP("descriptors have no limit here");
    d = rig_next(r, &l, WAWO_DONE_ACCEPTED);
    ASSERT_EQ(d.error, -EMFILE);
    rig_quiet(r, &l);
    os_allow_all_fds();
    rig_quiet(r, &l);
    r->ops->accept_start(r->backend, &l);
    d = rig_next(r, &l, WAWO_DONE_ACCEPTED);
    ASSERT_EQ(d.error, 0);
    kit_close(d.fd);
    kit_close(fd);
    rig_detach(r, &l, false);
    rig_close(r);
}

/* ---- connect ---- */

static void start_connect(struct rig *r, struct wawo_sock *s, uint16_t port)
{
    struct wawo_addr to;

    ASSERT_EQ(wawo_addr_parse(&to, "127.0.0.1", port), 0);
    rig_attach(r, s, wawo_os_socket(WAWO_AF_INET));
    r->ops->connect(r->backend, s, &to);
    ASSERT_FALSE(rig_has(r, s)); /* the answer comes from wait() */
}

/* A full backlog is an answer, and the same sock may try again. */
TEST_EACH_BACKEND(connect_unix, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s[2];
    struct wawo_addr to;
    const char *host;
    int fd, i, listener = kit_listen_unix_crowded(&host);

    ASSERT_EQ(wawo_addr_parse(&to, host, 0), 0);
    for (i = 0; i < 2; i++) {
        rig_attach(r, &s[i], wawo_os_socket(WAWO_AF_UNIX));
        r->ops->connect(r->backend, &s[i], &to);
        ASSERT_EQ(rig_next(r, &s[i], WAWO_DONE_CONNECTED).error, i == 0 ? 0 : WAWO_ENOBUFS);
    }
    fd = kit_accept(listener);
    r->ops->connect(r->backend, &s[1], &to);
    ASSERT_EQ(rig_next(r, &s[1], WAWO_DONE_CONNECTED).error, 0);
    r->ops->recv_start(r->backend, &s[0]);
    kit_write_pattern(fd, 0, 100);
    rig_receive(r, &s[0], 0, 100);
    for (i = 0; i < 2; i++)
        rig_detach(r, &s[i], false);
    kit_close(fd);
    kit_close(listener);
    rig_close(r);
}

TEST_EACH_BACKEND(connect, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    uint16_t port;
    int fd, listener = kit_listen(&port);

    start_connect(r, &s, port);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_CONNECTED).error, 0);
    fd = kit_accept(listener);
    rig_quiet(r, &s);
    r->ops->recv_start(r->backend, &s); /* the same sock goes on as a connection */
    kit_write_pattern(fd, 0, 100);
    rig_receive(r, &s, 0, 100);
    rig_detach(r, &s, false);
    kit_close(fd);
    kit_close(listener);
    rig_close(r);
}

TEST_EACH_BACKEND(connect_refused, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;

    start_connect(r, &s, kit_dead_port());
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_CONNECTED).error, WAWO_EREFUSED);
    rig_quiet(r, &s);
    rig_detach(r, &s, false);
    rig_close(r);
}

/* Refused by the call itself: answered like every other. */
TEST_EACH_BACKEND(connect_fails_at_once, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_addr to;
    struct wawo_sock s;

    ASSERT_EQ(wawo_addr_parse(&to, "255.255.255.255", 1), 0);
    rig_attach(r, &s, wawo_os_socket(WAWO_AF_INET));
    r->ops->connect(r->backend, &s, &to);
    ASSERT_FALSE(rig_has(r, &s));
    ASSERT_LT(rig_next(r, &s, WAWO_DONE_CONNECTED).error, 0);
    rig_detach(r, &s, false);
    rig_close(r);
}

TEST_EACH_BACKEND(connect_detached_under_way, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    uint16_t port;
    int i, listener = kit_listen(&port);

    for (i = 0; i < 3; i++) {
        start_connect(r, &s, i == 2 ? kit_dead_port() : port);
        if (i == 1)
            rig_turn(r, 0);
        rig_detach(r, &s, false);
        r->count = 0;
    }
    kit_close(listener);
    rig_close(r);
}

/* ---- receive ---- */

TEST_EACH_BACKEND(receive_then_end_of_stream, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    struct wawo_done d;
    int fd = rig_pair(r, &s);

    r->ops->recv_start(r->backend, &s);
    rig_quiet(r, &s);
    kit_write_pattern(fd, 0, 5);
    rig_receive(r, &s, 0, 5);
    kit_write_pattern(fd, 5, 400000);
    kit_shutdown(fd);
    rig_receive(r, &s, 5, 400000);
    d = rig_next(r, &s, WAWO_DONE_RECV);
    ASSERT_EQ(d.error, 0);
    ASSERT_EQ(d.len, 0u);
    rig_quiet(r, &s); /* the order is gone by itself */
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

static void receive_reset(const char *backend, bool waiting)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    struct wawo_done d;
    int fd = rig_pair(r, &s);

    r->ops->recv_start(r->backend, &s);
    if (waiting)
        rig_quiet(r, &s);
    kit_reset(fd);
    d = rig_next(r, &s, WAWO_DONE_RECV);
    ASSERT_EQ(d.error, WAWO_ERESET);
    ASSERT_EQ(d.len, 0u);
    rig_quiet(r, &s);
    rig_detach(r, &s, false);
    rig_close(r);
}

TEST_EACH_BACKEND(receive_reset_while_it_waits, backend)
{
    receive_reset(backend, true);
}

TEST_EACH_BACKEND(receive_reset_before_it_waits, backend)
{
    receive_reset(backend, false);
}

TEST_EACH_BACKEND(receive_stop_leaves_the_data, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    int fd = rig_pair(r, &s);

    r->ops->recv_start(r->backend, &s);
    kit_write_pattern(fd, 0, 10);
    rig_receive(r, &s, 0, 10);
    r->ops->recv_stop(r->backend, &s);
    r->ops->recv_stop(r->backend, &s);
    rig_turn(r, 0);
    kit_write_pattern(fd, 10, 50000);
    kit_shutdown(fd);
    rig_quiet(r, &s);
    r->ops->recv_start(r->backend, &s);
    r->ops->recv_start(r->backend, &s);
    rig_receive(r, &s, 10, 50000);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_RECV).len, 0u);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* Started and stopped many times between waits: only the last word counts. */
TEST_EACH_BACKEND(receive_toggled, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    int i, fd = rig_pair(r, &s);

    kit_write_pattern(fd, 0, 100);
    for (i = 0; i < 20; i++) {
        r->ops->recv_start(r->backend, &s);
        r->ops->recv_stop(r->backend, &s);
    }
    rig_quiet(r, &s);
    r->ops->recv_start(r->backend, &s);
    rig_receive(r, &s, 0, 100);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* A paused descriptor with a reset behind it is silent, and wait() sleeps, but for once when it may look up. */
static void does_not_spin(const char *backend, void (*end)(int fd))
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    int64_t start;
    int i, fd = rig_pair(r, &s);

    r->ops->recv_start(r->backend, &s);
    rig_turn(r, 0);
    r->ops->recv_stop(r->backend, &s);
    rig_turn(r, 0);
    kit_write_pattern(fd, 0, 10);
    end(fd);
    start = wawo_os_now_ns();
    for (i = 0; i < 3; i++)
        rig_turn(r, 50 * WAWO_MSEC);
    ASSERT_GE(wawo_os_now_ns() - start, 100 * WAWO_MSEC);
    ASSERT_FALSE(rig_has(r, &s));
    r->ops->recv_start(r->backend, &s);
    while (!rig_has(r, &s))
        rig_turn(r, WAWO_SEC);
    rig_detach(r, &s, false);
    rig_close(r);
}

TEST_EACH_BACKEND(paused_with_a_reset_sleeps, backend)
{
    does_not_spin(backend, kit_reset);
}

TEST_EACH_BACKEND(paused_with_a_fin_sleeps, backend)
{
    does_not_spin(backend, kit_close);
}

/* Out of chunks: ENOBUFS, the order is gone, nothing is lost; it goes on when it is started again with chunks home. */
TEST_EACH_BACKEND(receive_without_memory, backend)
{
    struct rig *r = rig_open(backend, 0); /* eight chunks */
    struct wawo_chunk *held[16];
    struct wawo_sock s;
    struct wawo_done d;
    unsigned n = 0, i;
    int fd = rig_pair(r, &s);

    while ((held[n] = wawo_pool_take(r->heap.pool, 0)) != NULL)
        n++;
    kit_write_pattern(fd, 0, 200000);
    r->ops->recv_start(r->backend, &s);
    d = rig_next(r, &s, WAWO_DONE_RECV);
    ASSERT_EQ(d.error, WAWO_ENOBUFS);
    ASSERT_EQ(d.len, 0u);
    rig_quiet(r, &s);
    for (i = 0; i < n; i++)
        wawo_chunk_drop(held[i]);
    rig_quiet(r, &s);
    r->ops->recv_start(r->backend, &s);
    rig_receive(r, &s, 0, 200000);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* ---- send ---- */

TEST_EACH_BACKEND(send_at_once, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    int fd = rig_pair(r, &s);

    rig_queue(r, &s, 0, 30000);
    ASSERT_EQ(r->ops->send(r->backend, &s), 30000);
    ASSERT_EQ(s.out.bytes, 0u);
    kit_read_pattern(fd, 0, 30000);
    rig_quiet(r, &s); /* what send returned is not told again */
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* What the kernel does not take is parked, told of as it goes, and more may be queued behind it. */
TEST_EACH_BACKEND(send_parked_and_resumed, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    struct wawo_done d;
    size_t total = 24 * MIB, sent, read = 0, step = 256 * 1024;
    int fd = rig_pair(r, &s);

    rig_queue(r, &s, 0, 16 * MIB);
    sent = (size_t)r->ops->send(r->backend, &s);
    ASSERT_LT(sent, 16u * MIB);
    ASSERT_EQ(s.out.bytes, 16 * MIB - sent);
    rig_queue(r, &s, 16 * MIB, 8 * MIB);
    ASSERT_EQ(r->ops->send(r->backend, &s), 0); /* the kernel is full */
    while (read < total) {
        rig_turn(r, 0);
        while (rig_has(r, &s)) {
            d = rig_next(r, &s, WAWO_DONE_SENT);
            ASSERT_EQ(d.error, 0);
            ASSERT_GT(d.len, 0u);
            sent += d.len;
        }
        ASSERT_EQ(s.out.bytes, total - sent);
        step = wawo_min_size(step, total - read);
        if (sent > read) {
            step = wawo_min_size(step, sent - read);
            kit_read_pattern(fd, read, step);
            read += step;
            step = 256 * 1024;
        }
    }
    ASSERT_EQ(sent, total);
    rig_quiet(r, &s);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

TEST_EACH_BACKEND(send_of_a_thousand_slices, backend)
{
    struct rig *r = rig_open(backend, POOL);
    static uint8_t bytes[1000];
    struct wawo_sock s;
    int i, fd = rig_pair(r, &s);

    kit_fill(bytes, sizeof bytes, 0);
    for (i = 0; i < 1000; i++) {
        ASSERT_EQ(wawo_ring_append(&s.out, &r->heap, bytes + i, 1, NULL, bytes), 0);
        if (i % 100 == 0)
            ASSERT_EQ(wawo_ring_append(&s.out, &r->heap, bytes, 0, NULL, bytes), 0);
    }
    ASSERT_EQ(r->ops->send(r->backend, &s), 1000);
    ASSERT_NULL((void *)s.out.head);
    kit_read_pattern(fd, 0, 1000);
    for (i = 0; wawo_heap_next_loan(&r->heap) != NULL; i++)
        continue;
    ASSERT_EQ(i, 1010);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

TEST_EACH_BACKEND(send_to_a_reset_peer, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    ptrdiff_t n = 0;
    int64_t until = kit_deadline();
    int fd = rig_pair(r, &s);

    kit_reset(fd);
    while (n >= 0) {
        wawo_ring_clear(&s.out, &r->heap);
        rig_queue(r, &s, 0, 100);
        n = r->ops->send(r->backend, &s);
        ASSERT_LT(wawo_os_now_ns(), until);
    }
    ASSERT_TRUE(n == -EPIPE || n == WAWO_ERESET);
    rig_detach(r, &s, false);
    rig_close(r);
}

/* Parked, and the peer resets: told as an error of the send, even when nothing is received. */
TEST_EACH_BACKEND(parked_send_meets_a_reset, backend)
{
    struct rig *r = rig_open(backend, 32 * MIB);
    struct wawo_sock s;
    struct wawo_done d;
    int fd = rig_pair(r, &s);

    rig_queue(r, &s, 0, 16 * MIB);
    ASSERT_LT(r->ops->send(r->backend, &s), 16 * MIB);
    rig_turn(r, 0);
    kit_reset(fd);
    do
        d = rig_next(r, &s, WAWO_DONE_SENT);
    while (d.error == 0);
    ASSERT_TRUE(d.error == -EPIPE || d.error == WAWO_ERESET);
    rig_quiet(r, &s);
    rig_detach(r, &s, false);
    rig_close(r);
}

TEST_EACH_BACKEND(shutdown_sends_a_fin, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    int fd = rig_pair(r, &s);

    rig_queue(r, &s, 0, 1000);
    ASSERT_EQ(r->ops->send(r->backend, &s), 1000);
    r->ops->shutdown(r->backend, &s);
    kit_read_pattern(fd, 0, 1000);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    r->ops->recv_start(r->backend, &s); /* the other direction goes on */
    kit_write_pattern(fd, 0, 10);
    rig_receive(r, &s, 0, 10);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* Both directions at once, under pressure. */
struct echo {
    int fd;
};

static void echo_write(void *arg)
{
    struct echo *e = arg;

    kit_write_pattern(e->fd, 0, 4 * MIB);
    kit_shutdown(e->fd);
}

TEST_EACH_BACKEND(receive_and_send_together, backend)
{
    struct rig *r = rig_open(backend, 32 * MIB);
    struct wawo_sock s;
    struct wawo_done d;
    struct echo e = {rig_pair(r, &s)};
    struct wawo_thread t;
    uint64_t got = 0, back = 0, sent = 0;
    uint8_t block[16384];
    ptrdiff_t n;

    kit_start(&t, echo_write, &e);
    r->ops->recv_start(r->backend, &s);
    for (;;) {
        rig_turn(r, WAWO_SEC);
        while (rig_has(r, &s)) {
            d = r->pending[0];
            memmove(r->pending, r->pending + 1, --r->count * sizeof d);
            ASSERT_EQ(d.error, 0);
            if (d.kind == WAWO_DONE_SENT) {
                sent += d.len;
            } else if (d.len > 0) {
                KIT_CHECK(d.ptr, d.len, got);
                got += d.len;
                ASSERT_EQ(wawo_ring_append(&s.out, &r->heap, d.ptr, d.len, d.chunk, NULL), 0);
            } else {
                goto ended;
            }
        }
        n = r->ops->send(r->backend, &s);
        ASSERT_GE(n, 0);
        sent += (uint64_t)n;
        while ((n = os_recv_now(e.fd, block, sizeof block)) > 0) {
            KIT_CHECK(block, (size_t)n, back);
            back += (uint64_t)n;
        }
    }
ended:
    ASSERT_EQ(got, 4u * MIB);
    wawo_thread_join(&t);
    while (back < got) {
        sent += (uint64_t)r->ops->send(r->backend, &s);
        rig_turn(r, 0);
        while (rig_has(r, &s))
            sent += rig_next(r, &s, WAWO_DONE_SENT).len;
        while ((n = os_recv_now(e.fd, block, sizeof block)) > 0) {
            KIT_CHECK(block, (size_t)n, back);
            back += (uint64_t)n;
        }
    }
    ASSERT_EQ(sent, got);
    rig_detach(r, &s, false);
    kit_close(e.fd);
    rig_close(r);
}

/* ---- detach and release ---- */

TEST_EACH_BACKEND(detach_with_everything_parked, backend)
{
    int reset, waits;

    for (reset = 0; reset < 2; reset++)
        for (waits = 0; waits < 2; waits++) {
            struct rig *r = rig_open(backend, 32 * MIB);
            struct wawo_sock s;
            uint64_t bytes = 0;
            int err, fd = rig_pair(r, &s);

            rig_queue(r, &s, 0, 16 * MIB);
            ASSERT_LT(r->ops->send(r->backend, &s), 16 * MIB);
            r->ops->recv_start(r->backend, &s);
            if (waits)
                rig_turn(r, 0);
            kit_write(fd, "unread", waits ? 6 : 0);
            rig_detach(r, &s, reset != 0);
            err = kit_read_end(fd, &bytes);
            if (reset)
                ASSERT_EQ(err, ECONNRESET);
            kit_close(fd);
            rig_close(r);
        }
}

TEST_EACH_BACKEND(detach_closes_with_a_fin, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    int fd = rig_pair(r, &s);

    rig_queue(r, &s, 0, 100);
    ASSERT_EQ(r->ops->send(r->backend, &s), 100);
    rig_detach(r, &s, false);
    kit_read_pattern(fd, 0, 100);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    rig_close(r);
}

/* Detached in the midst of the events of one wait. */
TEST_EACH_BACKEND(detach_of_many_at_once, backend)
{
    enum { MANY = 300 };
    struct rig *r = rig_open(backend, 32 * MIB);
    static struct wawo_sock s[MANY];
    static int fds[MANY];
    unsigned before = kit_open_fds(), i;

    for (i = 0; i < MANY; i++) {
        fds[i] = rig_pair(r, &s[i]);
        r->ops->recv_start(r->backend, &s[i]);
        kit_write(fds[i], "data", 4);
    }
    rig_turn(r, WAWO_SEC);
    for (i = 0; i < MANY; i++)
        r->ops->detach(r->backend, &s[i], i % 2 != 0);
    for (i = 0; i < MANY; i++)
        rig_detached(r, &s[i]);
    for (i = 0; i < 3; i++)
        rig_turn(r, 2 * WAWO_MSEC);
    ASSERT_EQ(r->count, 0u);
    for (i = 0; i < MANY; i++)
        kit_close(fds[i]);
    ASSERT_EQ(kit_open_fds(), before);
    rig_close(r);
}

TEST_EACH_BACKEND(release_and_attach_again, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s, again;
    int i, fd = rig_pair(r, &s), got;

    for (i = 0; i < 5; i++) {
        r->ops->recv_start(r->backend, &s);
        kit_write_pattern(fd, 0, 10);
        rig_receive(r, &s, 0, 10);
        r->ops->recv_stop(r->backend, &s);
        if (i % 2)
            rig_turn(r, 0);
        got = s.fd;
        ASSERT_EQ(r->ops->release(r->backend, &s), got);
        ASSERT_EQ(s.fd, -1);
        wawo_table_close(&r->table, s.id);
        kit_write_pattern(fd, 0, 20); /* while nobody has it */
        rig_turn(r, 0);
        ASSERT_EQ(r->count, 0u);
        rig_attach(r, &again, got);
        r->ops->recv_start(r->backend, &again);
        rig_receive(r, &again, 0, 20);
        r->ops->recv_stop(r->backend, &again);
        ASSERT_EQ(r->ops->release(r->backend, &again), got);
        wawo_table_close(&r->table, again.id);
        rig_attach(r, &s, got);
    }
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* A connected socket goes from the attempt to the connection as the dial does it. */
TEST_EACH_BACKEND(release_after_connect, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s, c;
    uint16_t port;
    int fd, listener = kit_listen(&port);

    start_connect(r, &s, port);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_CONNECTED).error, 0);
    fd = r->ops->release(r->backend, &s);
    wawo_table_close(&r->table, s.id);
    rig_attach(r, &c, fd);
    r->ops->recv_start(r->backend, &c);
    fd = kit_accept(listener);
    kit_write_pattern(fd, 0, 3);
    rig_receive(r, &c, 0, 3);
    rig_detach(r, &c, false);
    kit_close(fd);
    kit_close(listener);
    rig_close(r);
}

/* A row that came later is as easily forgotten in a backend of another system. */
TEST_EACH_BACKEND(no_row_is_missing, backend)
{
    const struct wawo_backend_ops *const *b = wawo_backends;

    while (strcmp((*b)->name, backend) != 0)
        b++;
    ASSERT_TRUE((*b)->probe != NULL && (*b)->open != NULL && (*b)->close != NULL);
    ASSERT_TRUE((*b)->attach != NULL && (*b)->detach != NULL && (*b)->release != NULL);
    ASSERT_TRUE((*b)->accept_start != NULL && (*b)->accept_stop != NULL && (*b)->connect != NULL);
    ASSERT_TRUE((*b)->recv_start != NULL && (*b)->recv_stop != NULL && (*b)->unread != NULL);
    ASSERT_TRUE((*b)->send != NULL && (*b)->shutdown != NULL);
    ASSERT_TRUE((*b)->wait != NULL && (*b)->wake != NULL && (*b)->clock != NULL);
}
