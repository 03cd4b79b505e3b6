/* Back-pressure: water marks, limits, automatic pausing, loans. */
#include "support/stage.h"

#include "net/share.h"

#include "base/atomic.h"
#include "base/err.h"

#include <errno.h>

enum { MIB = 1024 * 1024 };

static void open_with(struct stage *s, struct party *server, const char *backend, party_hook hook)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    server->hook = hook;
}

static void write_main(void *arg)
{
    kit_write_pattern(*(int *)arg, 0, 32 * MIB);
}

/* An echo to someone who writes and does not read stops receiving, and goes on without a loss. */
TEST_EACH_BACKEND(echo_pauses_itself_above_high_water, backend)
{
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    struct wawo_thread t;
    int fd;

    open_with(&s, &server, backend, hook_echo);
    server.options.high_water = 256 * 1024;
    server.options.low_water = 64 * 1024;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_start(&t, write_main, &fd);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    do
        wawo_endpoint_stats(server.endpoint, &st);
    while (st.receive_pauses == 0);
    ASSERT_LT(wawo_share_pending(server.last), 4u * MIB);
    kit_read_pattern(fd, 0, 32 * MIB);
    wawo_thread_join(&t);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.closed_received, 32u * MIB);
    ASSERT_GT(party_count(&server, WAWO_ON_DRAIN), 0u);
    party_close(&s, &server);
}

/* ---- DRAIN ---- */

static void hook_fill(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint8_t block[4096];
    uint64_t *total = p->arg;

    if (e->kind == WAWO_ON_ACCEPT || e->kind == WAWO_ON_DRAIN) {
        if (e->kind == WAWO_ON_DRAIN) {
            ASSERT_LE(wawo_share_pending(e->share), p->options.low_water);
            a->scratch[1]++;
        }
        while (a->scratch[0] < *total && wawo_share_pending(e->share) <= p->options.high_water) {
            kit_fill(block, sizeof block, a->scratch[0]);
            ASSERT_EQ(wawo_share_send(e->share, block, sizeof block), 1);
            a->scratch[0] += sizeof block;
        }
        if (a->scratch[0] == *total)
            ASSERT_TRUE(wawo_share_close(e->share));
    }
}

TEST_EACH_BACKEND(drain_comes_below_low_water, backend)
{
    struct stage s;
    struct party server;
    uint64_t total = 24 * MIB;
    int fd;

    open_with(&s, &server, backend, hook_fill);
    server.arg = &total;
    party_start(&server);
    fd = kit_connect_small(server.port);
    kit_read_pattern(fd, 0, (size_t)total);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_GT(party_count(&server, WAWO_ON_DRAIN), 0u);
    party_close(&s, &server);
}

/* ---- SEND ---- */

TEST_EACH_BACKEND(send_events_add_up, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, NULL);
    server.mask |= 1u << WAWO_ON_SEND;
    party_start(&server);
    fd = kit_connect_small(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    share_send_pattern(server.last, 0, 4 * MIB, 10000);
    kit_read_pattern(fd, 0, 4 * MIB);
    KIT_UNTIL(wawo_share_pending(server.last) == 0);
    ASSERT_GT(party_count(&server, WAWO_ON_SEND), 1u);
    kit_close(fd);
    party_close(&s, &server);
}

/* ---- limits ---- */

TEST_EACH_BACKEND(max_pending_refuses_and_queues_nothing, backend)
{
    struct stage s;
    struct party server;
    static uint8_t block[MIB + 1];
    const size_t piece = 64 * 1024;
    uint64_t accepted = 0;
    int fd, rc;

    open_with(&s, &server, backend, NULL);
    server.options.max_pending = MIB;
    party_start(&server);
    fd = kit_connect_small(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    for (;;) {
        kit_fill(block, piece, accepted);
        rc = wawo_share_send(server.last, block, piece);
        if (rc != 1 && wawo_share_pending(server.last) > MIB - piece)
            break;
        accepted += rc == 1 ? piece : 0;
        ASSERT_LE(wawo_share_pending(server.last), MIB);
    }
    ASSERT_EQ(rc, WAWO_ENOBUFS);
    ASSERT_EQ(wawo_share_send(server.last, block, sizeof block), WAWO_ENOBUFS);
    ASSERT_TRUE(wawo_share_close(server.last));
    kit_read_pattern(fd, 0, (size_t)accepted);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    party_close(&s, &server);
}

/* Also in the moment when the loop has taken what another thread queued, and the kernel is asked what it takes of it. */
TEST_EACH_BACKEND(max_pending_holds_while_the_loop_writes, backend)
{
    enum { LIMIT = 64 * 1024, STEP = 4000, ROUNDS = 10, REFUSALS = 1000 };
    static uint8_t block[STEP];
    struct wawo_endpoint_stats st;
    struct stage s;
    struct party server;
    uint64_t accepted = 0;
    unsigned i, refused;
    int fd;

    open_with(&s, &server, backend, NULL);
    server.options.max_pending = LIMIT;
    party_start(&server);
    for (i = 1; i <= ROUNDS; i++) {
        fd = kit_connect_small(server.port);
        party_wait(&server, WAWO_ON_ACCEPT, i);
        for (refused = 0; refused < REFUSALS;) {
            if (wawo_share_send(server.last, block, STEP) != 1) {
                refused++;
                continue;
            }
            accepted += STEP;
            refused = 0;
            wawo_endpoint_stats(server.endpoint, &st);
            ASSERT_LE(accepted, st.bytes_out + LIMIT);
        }
        ASSERT_TRUE(wawo_share_abort(server.last));
        party_wait(&server, WAWO_ON_CLOSE, i);
        kit_close(fd);
        wawo_endpoint_stats(server.endpoint, &st);
        accepted = st.bytes_out;
    }
    party_close(&s, &server);
}

static void hook_until_full(struct party *p, const struct wawo_event *e, struct actor *a)
{
    static uint8_t block[64 * 1024];
    int rc;

    (void)p;
    if (e->kind != WAWO_ON_ACCEPT)
        return;
    for (;;) {
        kit_fill(block, sizeof block, a->scratch[0]);
        rc = wawo_share_send(e->share, block, sizeof block);
        if (rc != 1)
            break;
        a->scratch[0] += sizeof block;
    }
    ASSERT_EQ(rc, WAWO_ENOBUFS);
    ASSERT_EQ(a->scratch[0], MIB);
    ASSERT_EQ(wawo_share_pending(e->share), MIB);
    ASSERT_TRUE(wawo_share_close(e->share));
}

TEST_EACH_BACKEND(max_pending_in_a_callback, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, hook_until_full);
    server.options.max_pending = MIB;
    party_start(&server);
    fd = kit_connect_small(server.port);
    kit_read_pattern(fd, 0, MIB);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_close(&s, &server);
}

/* What one connection may not queue, another one cannot either; and the account is empty again at the end. */
TEST_EACH_BACKEND(max_pending_total_counts_all, backend)
{
    struct stage s;
    struct party server;
    static uint8_t block[256 * 1024];
    int fds[2], i, rc = 1;

    open_with(&s, &server, backend, NULL);
    server.options.max_pending_total = 8 * MIB;
    party_start(&server);
    fds[0] = kit_connect_small(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    struct wawo_share *first = party_last(&server);
    for (i = 0; i < 200 && rc == 1; i++)
        rc = wawo_share_send(first, block, sizeof block);
    ASSERT_EQ(rc, WAWO_ENOBUFS);
    fds[1] = kit_connect_small(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 2);
    KIT_UNTIL(wawo_share_send(first, block, sizeof block) == WAWO_ENOBUFS);
    ASSERT_EQ(wawo_share_send(server.last, block, sizeof block), WAWO_ENOBUFS);
    ASSERT_TRUE(wawo_share_abort(first));
    party_wait(&server, WAWO_ON_CLOSE, 1);
    KIT_UNTIL(wawo_share_send(server.last, block, sizeof block) == 1);
    ASSERT_EQ(kit_read(fds[1], block, sizeof block), sizeof block);
    wawo_share_drop(first);
    for (i = 0; i < 40; i++) { /* were bytes lost in the account, this would end at the limit */
        KIT_UNTIL(wawo_share_send(server.last, block, sizeof block) == 1);
        ASSERT_EQ(kit_read(fds[1], block, sizeof block), sizeof block);
    }
    kit_close(fds[0]);
    kit_close(fds[1]);
    party_close(&s, &server);
}

/* ---- loans ---- */

static void hook_lend(struct party *p, const struct wawo_event *e, struct actor *a)
{
    const uint8_t *bytes = p->arg;

    (void)a;
    if (e->kind == WAWO_ON_ACCEPT) {
        ASSERT_EQ(wawo_share_lend(e->share, bytes, MIB, NULL, p->stage), 1);
        ASSERT_EQ(wawo_share_lend(e->share, bytes + MIB, 0, NULL, p->stage), 1);
        ASSERT_EQ(wawo_share_lend(e->share, bytes + MIB, MIB, NULL, p->stage), 1);
    }
    if (e->kind == WAWO_ON_RECEIVE) /* the event's own chunk, without a copy */
        ASSERT_EQ((wawo_chunk_hold(e->chunk), wawo_share_lend(e->share, e->ptr, e->len, e->chunk, NULL)), 1);
}

static void wait_loans(struct stage *s, uint64_t n)
{
    uint64_t back;

    do {
        wawo_mutex_lock(&s->lock);
        back = s->loans_back;
        wawo_mutex_unlock(&s->lock);
    } while (back < n);
    ASSERT_EQ(back, n);
}

TEST_EACH_BACKEND(lent_bytes_go_back_once, backend)
{
    static uint8_t bytes[2 * MIB];
    struct stage s;
    struct party server;
    char got[5];
    int fd;

    kit_fill(bytes, sizeof bytes, 0);
    open_with(&s, &server, backend, hook_lend);
    server.arg = bytes;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_read_pattern(fd, 0, 2 * MIB);
    wait_loans(&s, 3);
    kit_write(fd, "chunk", 5);
    ASSERT_EQ(kit_read(fd, got, 5), 5u);
    ASSERT_MEMEQ(got, "chunk", 5);
    kit_close(fd);
    party_close(&s, &server);
    ASSERT_EQ(s.loans_back, 3u);
}

TEST_EACH_BACKEND(lent_from_another_thread, backend)
{
    static uint8_t bytes[MIB];
    struct stage s;
    struct party server;
    int fd, i;

    kit_fill(bytes, sizeof bytes, 0);
    open_with(&s, &server, backend, NULL);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    for (i = 0; i < 4; i++) {
        ASSERT_EQ(wawo_share_lend(server.last, bytes, MIB, NULL, &s), 1);
        ASSERT_EQ(wawo_share_lend(server.last, bytes, 0, NULL, &s), 1);
    }
    for (i = 0; i < 4; i++)
        kit_read_pattern(fd, 0, MIB);
    wait_loans(&s, 8);
    ASSERT_EQ(wawo_share_lend(server.last, bytes, 0, NULL, &s), 1); /* alone */
    wait_loans(&s, 9);
    ASSERT_EQ(wawo_share_lend(server.last, bytes, MIB, NULL, &s), 1);
    ASSERT_TRUE(wawo_share_abort(server.last));
    wait_loans(&s, 10);
    ASSERT_EQ(wawo_share_lend(server.last, bytes, MIB, NULL, &s), 0);
    kit_close(fd);
    party_close(&s, &server);
    ASSERT_EQ(s.loans_back, 10u);
}

/* ---- flush in the callback ---- */

static void hook_flush(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_RECEIVE) {
        ASSERT_EQ(wawo_share_send(e->share, e->ptr, e->len), 1);
        ASSERT_EQ(wawo_share_pending(e->share), e->len);
        ASSERT_TRUE(wawo_share_flush(e->share));
        ASSERT_EQ(wawo_share_pending(e->share), 0u);
    }
}

TEST_EACH_BACKEND(flush_writes_now, backend)
{
    struct stage s;
    struct party server;
    char got[4];
    int fd;

    open_with(&s, &server, backend, hook_flush);
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "ping", 4);
    ASSERT_EQ(kit_read(fd, got, 4), 4u);
    kit_close(fd);
    party_close(&s, &server);
}

/* ---- what another thread saw ---- */

/* The loop has written what it had, and has not said so yet: a sender that sees more than high water pending, and waits,
 * is told when it is gone. */
static void hook_hold(struct party *p, const struct wawo_event *e, struct actor *a)
{
    int *gate = p->arg;

    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    wawo_store(gate, 1);
    KIT_UNTIL(wawo_load(gate) == 2);
}

TEST_EACH_BACKEND(drain_for_what_a_sender_saw, backend)
{
    struct stage s;
    struct party server;
    int fd, gate = 0;

    open_with(&s, &server, backend, hook_hold);
    server.arg = &gate;
    server.options.high_water = 1000;
    server.options.low_water = 500;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "x", 1);
    KIT_UNTIL(wawo_load(&gate) == 1);
    wawo_store(&server.last->queued, 900); /* as it would stand there in that moment */
    share_send_pattern(server.last, 0, 200, 200);
    ASSERT_EQ(wawo_share_pending(server.last), 1100u);
    wawo_store(&gate, 2);
    party_wait(&server, WAWO_ON_DRAIN, 1);
    kit_read_pattern(fd, 0, 200);
    kit_close(fd);
    party_close(&s, &server);
}
