/* Files on their way out of a connection: accounts, closing and stopping in the middle of one. */
#include "support/expected.h"
#include "support/stage.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"
#include "base/os_file.h"
#include "mem/file.h"

#include <errno.h>
#include <stdlib.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

static void open_with(struct stage *s, struct party *server, const char *backend)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
}

static void close_both(struct stage *s, struct party *server)
{
    party_finish(server);
    stage_close(s);
    KIT_UNTIL(wawo_alloc_live() == 0); /* a file may still be read */
    ASSERT_EQ(wawo_live_files(), 0u);
}

/* The pattern from `from` on out of a file, and an end that is copied: one message. */
static int send_file(struct wawo_share *s, uint64_t from, size_t len)
{
    struct wawo_file *f = wawo_file_new(kit_file(from, len - 3), 0, len - 3);
    struct wawo_part parts[2] = {{.file = f}};
    uint8_t end[3];
    int rc;

    kit_fill(end, 3, from + len - 3);
    parts[1] = (struct wawo_part){.data = end, .len = 3};
    rc = wawo_share_send_parts(s, parts, 2);
    if (rc != 1)
        wawo_file_drop(f);
    return rc;
}

/* A connection to a peer that reads nothing yet. */
static int open_to(struct party *server, int (*connect)(uint16_t port))
{
    int fd;

    party_start(server);
    fd = connect(server->port);
    party_wait(server, WAWO_ON_HANDSHAKE, 1);
    return fd;
}

/* With a window so small that a reset may be taken for an old packet: not where one is waited for. */
static int open_connection(struct party *server)
{
    return open_to(server, kit_connect_small);
}

/* ---- accounts ---- */

TEST_EACH_BACKEND(what_a_file_counts_for, backend)
{
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    int fd;

    open_with(&s, &server, backend);
    server.mask |= 1u << WAWO_ON_SEND;
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 16 * MIB), 1);
    ASSERT_EQ(send_file(server.last, 16 * MIB, 1000), 1);
    KIT_UNTIL(wawo_share_pending(server.last) == 6 + 2 * WAWO_FILE_WEIGHT); /* the kernel has not all of the first */
    kit_read_pattern(fd, 0, 16 * MIB + 1000);
    KIT_UNTIL(wawo_share_pending(server.last) == 0);
    ASSERT_GT(party_count(&server, WAWO_ON_SEND), 4u); /* a part of it a turn */
    ASSERT_EQ(party_count(&server, WAWO_ON_DRAIN), 0u); /* it was never above high water */
    wawo_endpoint_stats(server.endpoint, &st);
    ASSERT_EQ(st.bytes_out, 16u * MIB + 1000);
    ASSERT_EQ(st.messages_out, 2u);
    ASSERT_EQ(wawo_live_files(), 0u);
    kit_close(fd);
    close_both(&s, &server);
}

static void hook_count_sent(struct party *p, const struct wawo_event *e, struct actor *a)
{
    if (e->kind == WAWO_ON_SEND)
        wawo_store((wawo_u64 *)p->arg, a->sent);
}

TEST_EACH_BACKEND(send_events_count_file_bytes, backend)
{
    struct stage s;
    struct party server;
    wawo_u64 sent = 0;
    int fd;

    open_with(&s, &server, backend);
    server.mask |= 1u << WAWO_ON_SEND;
    server.hook = hook_count_sent;
    server.arg = &sent;
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 4 * MIB), 1);
    kit_read_pattern(fd, 0, 4 * MIB);
    KIT_UNTIL(wawo_load(&sent) == 4u * MIB);
    kit_close(fd);
    close_both(&s, &server);
}

/* There is a limit to files as to bytes, and it pauses an echo that answers with files. */
TEST_EACH_BACKEND(files_are_limited, backend)
{
    struct stage s;
    struct party server;
    unsigned n;
    int fd;

    open_with(&s, &server, backend);
    server.options.max_pending = 10 * (WAWO_FILE_WEIGHT + 3);
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 16 * MIB), 1);
    for (n = 1; n < 10; n++)
        ASSERT_EQ(send_file(server.last, 16 * MIB + (n - 1) * 100, 100), 1);
    ASSERT_EQ(send_file(server.last, 0, 100), WAWO_ENOBUFS);
    ASSERT_EQ(wawo_live_files(), 10u);
    kit_read_pattern(fd, 0, 16 * MIB + 900);
    kit_close(fd);
    close_both(&s, &server);
}

TEST_EACH_BACKEND(a_framed_file, backend)
{
    struct stage s;
    struct party server;
    uint8_t head[4];
    int fd;

    open_with(&s, &server, backend);
    party_framed(&server, 4, 200 * KIB);
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 200 * KIB + 1), WAWO_EMSGSIZE);
    ASSERT_EQ(send_file(server.last, 0, 200 * KIB), 1);
    ASSERT_EQ(kit_read(fd, head, 4), 4u);
    ASSERT_MEMEQ(head, "\x00\x03\x20\x00", 4);
    kit_read_pattern(fd, 0, 200 * KIB);
    kit_close(fd);
    close_both(&s, &server);
}

/* ---- ends ---- */

TEST_EACH_BACKEND(close_sends_all_of_it_first, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend);
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 16 * MIB), 1);
    ASSERT_TRUE(wawo_share_close(server.last));
    ASSERT_EQ(send_file(server.last, 0, 100), 0);
    kit_read_pattern(fd, 0, 16 * MIB);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    close_both(&s, &server);
}

/* In the callback itself, and with nothing but a file queued. */
static void hook_send_and_close(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind != WAWO_ON_ACCEPT)
        return;
    ASSERT_EQ(send_file(e->share, 0, 3 * MIB), 1);
    ASSERT_TRUE(wawo_share_close(e->share));
}

TEST_EACH_BACKEND(close_in_the_same_callback, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend);
    server.hook = hook_send_and_close;
    party_start(&server);
    fd = kit_connect_small(server.port);
    kit_read_pattern(fd, 0, 3 * MIB);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    close_both(&s, &server);
}

/* The peer sends no more, but it gets all that it was promised. */
TEST_EACH_BACKEND(the_peer_half_closes, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend);
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 16 * MIB), 1);
    kit_shutdown(fd);
    kit_read_pattern(fd, 0, 16 * MIB);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    kit_close(fd);
    close_both(&s, &server);
}

TEST_EACH_BACKEND(shutdown_write_behind_a_file, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend);
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 16 * MIB), 1);
    ASSERT_TRUE(wawo_share_shutdown_write(server.last));
    ASSERT_EQ(send_file(server.last, 0, 100), 0);
    kit_read_pattern(fd, 0, 16 * MIB);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_write(fd, "still heard", 11);
    party_wait_bytes(&server, 11);
    kit_close(fd);
    close_both(&s, &server);
}

TEST_EACH_BACKEND(abort_in_a_file, backend)
{
    struct stage s;
    struct party server;
    unsigned before;
    int fd;

    open_with(&s, &server, backend);
    fd = open_to(&server, kit_connect);
    kit_write(fd, "x", 1);
    party_wait_bytes(&server, 1); /* by now a socket that is made in advance for the next peer is there */
    before = kit_open_fds();
    ASSERT_EQ(send_file(server.last, 0, 16 * MIB), 1);
    ASSERT_EQ(send_file(server.last, 0, 1000), 1);
    ASSERT_TRUE(wawo_share_abort(server.last));
    party_wait(&server, WAWO_ON_CLOSE, 1);
    KIT_UNTIL(wawo_live_files() == 0);
    ASSERT_EQ(kit_read_end(fd, NULL), ECONNRESET);
    KIT_UNTIL(kit_open_fds() == before - 1); /* without the connection's own */
    kit_close(fd);
    close_both(&s, &server);
}

TEST_EACH_BACKEND(the_peer_resets_in_a_file, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend);
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 16 * MIB), 1);
    kit_reset(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, ECONNRESET);
    ASSERT_EQ(server.operation, WAWO_OP_CLOSE);
    KIT_UNTIL(wawo_live_files() == 0);
    close_both(&s, &server);
}

/* Half a message has gone: the peer must not take what it has for all of it. */
TEST_EACH_BACKEND(a_file_that_shrank, backend)
{
    struct stage s;
    struct party server;
    struct wawo_file *f;
    int fd, file;

    open_with(&s, &server, backend);
    fd = open_to(&server, kit_connect);
    file = kit_file(0, 16 * MIB);
    f = wawo_file_new(os_file_again(file), 0, 16 * MIB);
    ASSERT_EQ(wawo_share_send_parts(server.last, &(struct wawo_part){.file = f}, 1), 1);
    os_file_truncate(file, 10000);
    wawo_os_file_close(file);
    ASSERT_EQ(kit_read_end(fd, NULL), ECONNRESET);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, EIO);
    ASSERT_EQ(server.operation, WAWO_OP_SEND);
    kit_close(fd);
    close_both(&s, &server);
}

/* ---- stopping ---- */

TEST_EACH_BACKEND(stop_lets_a_file_drain, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend);
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 8 * MIB), 1);
    ASSERT_TRUE(wawo_share_close(server.last));
    party_stop(&server, 10 * WAWO_SEC);
    kit_read_pattern(fd, 0, 8 * MIB);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    close_both(&s, &server);
}

TEST_EACH_BACKEND(stop_at_once_in_a_file, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend);
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 16 * MIB), 1);
    party_finish(&server);
    KIT_UNTIL(wawo_live_files() == 0); /* it may be being read ahead */
    kit_close(fd);
    stage_close(&s);
}

/* ---- a disk that does not answer ---- */

static uint32_t gate_shut, busy; /* atomic */

static bool never_cached(uint64_t offset, size_t len)
{
    (void)offset;
    (void)len;
    return false;
}

static int load_at_the_gate(uint64_t offset, size_t len)
{
    (void)offset;
    (void)len;
    wawo_add(&busy, 1);
    KIT_UNTIL(wawo_load(&gate_shut) == 0);
    wawo_sub(&busy, 1);
    return 0;
}

static void shut_gate(const char *backend)
{
    if (expected_to_leave_files(backend))
        SKIP("with %s the system reads the files", backend);
    wawo_store(&gate_shut, 1);
    wawo_os_file_pretend(never_cached, load_at_the_gate);
}

/* The peer is not cut off because of our disk. */
TEST_EACH_BACKEND(a_slow_disk_is_not_the_peers_fault, backend)
{
    struct stage s;
    struct party server;
    int64_t until;
    int fd;

    shut_gate(backend);
    open_with(&s, &server, backend);
    server.options.close_timeout_ns = 150 * WAWO_MSEC; /* the peer has so long to read */
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 1000), 1);
    ASSERT_TRUE(wawo_share_close(server.last));
    KIT_UNTIL(wawo_load(&busy) == 1);
    for (until = wawo_os_now_ns() + 500 * WAWO_MSEC; wawo_os_now_ns() < until;)
        kit_tick(__FILE__, __LINE__, "time passes", INT64_MAX);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    wawo_store(&gate_shut, 0);
    kit_read_pattern(fd, 0, 1000);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    close_both(&s, &server);
}

static void hook_send_file(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p, (void)a;
    if (e->kind == WAWO_ON_HANDSHAKE)
        ASSERT_EQ(send_file(e->share, 0, 1000), 1);
}

TEST_EACH_BACKEND(a_slow_disk_is_not_silence, backend)
{
    struct stage s;
    struct party server;
    int64_t until;
    int fd;

    shut_gate(backend);
    open_with(&s, &server, backend);
    server.options.idle_timeout_ns = 150 * WAWO_MSEC;
    server.hook = hook_send_file;
    fd = open_connection(&server);
    KIT_UNTIL(wawo_load(&busy) == 1);
    for (until = wawo_os_now_ns() + 500 * WAWO_MSEC; wawo_os_now_ns() < until;)
        kit_tick(__FILE__, __LINE__, "time passes", INT64_MAX);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    wawo_store(&gate_shut, 0);
    kit_read_pattern(fd, 0, 1000);
    party_wait(&server, WAWO_ON_CLOSE, 1); /* and now it is silent */
    ASSERT_EQ(server.error, ETIMEDOUT);
    kit_close(fd);
    close_both(&s, &server);
}

/* Aborted, stopped, even the loops may end: nobody waits for the disk. */
TEST_EACH_BACKEND(nobody_waits_for_the_disk, backend)
{
    struct stage s;
    struct party server;
    int fd;

    shut_gate(backend);
    open_with(&s, &server, backend);
    fd = open_connection(&server);
    ASSERT_EQ(send_file(server.last, 0, 1000), 1);
    KIT_UNTIL(wawo_load(&busy) == 1);
    ASSERT_TRUE(wawo_share_abort(server.last));
    party_wait(&server, WAWO_ON_CLOSE, 1);
    party_finish(&server);
    stage_close(&s);
    ASSERT_EQ(wawo_live_files(), 1u); /* its reader's */
    wawo_store(&gate_shut, 0);
    KIT_UNTIL(wawo_alloc_live() == 0);
    kit_close(fd);
}

/* Files from many threads, with connections that come and go, over a disk that is slow. */
enum { SENDERS = 3 };
static int senders_done; /* atomic: not before the last peer has its byte */

static void send_files_main(void *arg)
{
    struct party *server = arg;
    struct wawo_share *shares[8];
    size_t n, i;
    int rc;

    while (!wawo_load(&senders_done)) {
        n = wawo_endpoint_list(server->endpoint, shares, 8);
        for (i = 0; i < n && i < 8; i++) {
            rc = send_file(shares[i], 0, 3000 + i * 100 * KIB);
            ASSERT_TRUE(rc == 0 || rc == 1 || rc == WAWO_ENOBUFS);
            if (i % 3 == 2)
                (void)wawo_share_abort(shares[i]);
            else if (i % 3 == 1)
                (void)wawo_share_close(shares[i]);
            wawo_share_drop(shares[i]);
        }
    }
}

TEST_EACH_BACKEND(chaos_of_files, backend)
{
    struct stage s;
    struct party server;
    struct wawo_thread t[SENDERS];
    int64_t until;
    int i, fds[6];

    wawo_store(&gate_shut, 0);
    wawo_store(&senders_done, 0);
    wawo_os_file_pretend(never_cached, load_at_the_gate);
    open_with(&s, &server, backend);
    server.options.close_timeout_ns = 50 * WAWO_MSEC;
    party_start(&server);
    for (i = 0; i < SENDERS; i++)
        kit_start(&t[i], send_files_main, &server);
    for (until = wawo_os_now_ns() + 300 * WAWO_MSEC; wawo_os_now_ns() < until;) {
        for (i = 0; i < 6; i++)
            fds[i] = kit_connect_small(server.port);
        for (i = 0; i < 3; i++)
            (void)wawo_os_recv(fds[i], &(char){0}, 1);
        for (i = 0; i < 6; i++) {
            if (i % 2)
                kit_reset(fds[i]);
            else
                kit_close(fds[i]);
        }
    }
    wawo_store(&senders_done, 1);
    for (i = 0; i < SENDERS; i++)
        wawo_thread_join(&t[i]);
    close_both(&s, &server);
}
