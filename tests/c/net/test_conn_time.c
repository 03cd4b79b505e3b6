/* Limits in time: silence that ends a connection, a rate that holds its peer up. */
#include "support/stage.h"

#include "base/atomic.h"
#include "base/err.h"

#include <errno.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

#define IDLE (100 * WAWO_MSEC)
#define LATE (5 * WAWO_SEC) /* a busy machine */

static void open_with(struct stage *s, struct party *server, const char *backend, party_hook hook)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    server->hook = hook;
    server->options.idle_timeout_ns = IDLE;
}

static uint64_t idle_closed(struct party *p)
{
    struct wawo_endpoint_stats st;

    wawo_endpoint_stats(p->endpoint, &st);
    return st.idle_closed;
}

static void wait_ns(int64_t ns)
{
    int64_t until = wawo_os_now_ns() + ns;

    KIT_UNTIL(wawo_os_now_ns() >= until);
}

/* It ended no sooner than `least` after `since`, for silence. */
static void expect_idle_end(struct party *p, int64_t since, int64_t least)
{
    struct wawo_share *share;
    int64_t took;

    party_wait(p, WAWO_ON_CLOSE, 1);
    share = party_last(p);
    took = wawo_os_now_ns() - since;
    ASSERT_GE(took, least);
    ASSERT_LT(took, least + LATE);
    ASSERT_EQ(p->operation, WAWO_OP_CLOSE);
    ASSERT_EQ(p->error, ETIMEDOUT);
    ASSERT_STREQ(wawo_share_fault(share), "nothing received for the idle timeout");
    ASSERT_EQ(idle_closed(p), 1u);
    wawo_share_drop(share);
}

/* ---- silence ---- */

TEST_EACH_BACKEND(a_silent_one_ends, backend)
{
    struct stage s;
    struct party server;
    int64_t since = wawo_os_now_ns();
    int fd;

    open_with(&s, &server, backend, NULL);
    party_start(&server);
    fd = kit_connect(server.port);
    expect_idle_end(&server, since, IDLE);
    ASSERT_EQ(kit_read_end(fd, NULL), 0); /* nothing was lost: an ordinary end for the peer */
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(a_dialled_one_ends, backend)
{
    struct stage s;
    struct party agent;
    struct wawo_share *share;
    int64_t since;
    uint16_t port;
    int fd, listener = kit_listen(&port);

    open_with(&s, &agent, backend, NULL);
    agent.role = WAWO_AGENT;
    party_start(&agent);
    since = wawo_os_now_ns();
    share = party_connect(&agent, port);
    fd = kit_accept(listener);
    party_wait(&agent, WAWO_ON_CONNECT, 1);
    expect_idle_end(&agent, since, IDLE);
    wawo_share_drop(share);
    kit_close(fd);
    kit_close(listener);
    party_close(&s, &agent);
}

TEST_EACH_BACKEND(what_is_sent_is_no_sign_of_life, backend)
{
    struct stage s;
    struct party server;
    int64_t since = wawo_os_now_ns();
    uint64_t bytes;
    int fd;

    open_with(&s, &server, backend, NULL);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    while (wawo_share_send(server.last, "x", 1) == 1) /* until it is over */
        kit_tick(__FILE__, __LINE__, "the end", since + LATE);
    expect_idle_end(&server, since, IDLE);
    ASSERT_EQ(kit_read_end(fd, &bytes), 0);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(one_that_is_heard_of_stays, backend)
{
    struct stage s;
    struct party server;
    int64_t last;
    char byte;
    int fd;

    open_with(&s, &server, backend, hook_echo);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    for (last = wawo_os_now_ns() + 5 * IDLE; wawo_os_now_ns() < last;) {
        kit_write(fd, "x", 1);
        ASSERT_EQ(kit_read(fd, &byte, 1), 1u);
    }
    last = wawo_os_now_ns(); /* a little after it was heard of last */
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    expect_idle_end(&server, last, IDLE - 20 * WAWO_MSEC);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(a_paused_one_is_not_silent, backend)
{
    struct stage s;
    struct party server;
    int64_t since;
    int fd;

    open_with(&s, &server, backend, NULL);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_TRUE(wawo_share_pause(server.last, true));
    wait_ns(4 * IDLE);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    since = wawo_os_now_ns();
    ASSERT_TRUE(wawo_share_pause(server.last, false)); /* it has all of its time again */
    expect_idle_end(&server, since, IDLE);
    kit_close(fd);
    party_close(&s, &server);
}

/* One that takes what waits for it says nothing and is alive; when it stops to, it is over, and it sees a reset. */
TEST_EACH_BACKEND(one_that_takes_its_output_stays, backend)
{
    struct stage s;
    struct party server;
    static uint8_t block[16 * MIB];
    int64_t until;
    size_t at = 0, step;
    int fd;

    open_with(&s, &server, backend, NULL);
    server.options.idle_timeout_ns = 10 * IDLE;
    party_start(&server);
    fd = kit_connect_small(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_EQ(wawo_share_send(server.last, block, sizeof block), 1);
    for (until = wawo_os_now_ns() + 20 * IDLE; wawo_os_now_ns() < until && at < sizeof block / 2; at += step) {
        step = kit_read(fd, block, 32 * KIB);
        ASSERT_EQ(step, 32u * KIB);
        wait_ns(3 * WAWO_MSEC);
    }
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    ASSERT_GT(wawo_share_pending(server.last), 1u * MIB); /* held by auto_pause as well */
    expect_idle_end(&server, wawo_os_now_ns(), 0);
    ASSERT_EQ(kit_read_end(fd, NULL), ECONNRESET);
    kit_close(fd);
    party_close(&s, &server);
}

/* A callback that blocks the loop makes nobody silent: what they sent meanwhile is only unread. */
static void hook_block(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint32_t *release = p->arg;

    (void)a;
    if (e->kind == WAWO_ON_RECEIVE && e->len == 5 && memcmp(e->ptr, "block", 5) == 0) {
        wawo_store(release, 1);
        KIT_UNTIL(wawo_load(release) == 2);
    }
}

TEST_EACH_BACKEND(a_loop_that_was_held_up_hears_first, backend)
{
    enum { OTHERS = 20, MUCH = 30 * KIB }; /* more than is read in one turn */
    static uint8_t much[MUCH];
    struct stage s;
    struct party server;
    uint32_t release = 0;
    int fds[OTHERS + 1], i;

    open_with(&s, &server, backend, hook_block);
    server.arg = &release;
    server.options.idle_timeout_ns = 3 * IDLE;
    party_start(&server);
    for (i = 0; i <= OTHERS; i++)
        fds[i] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, OTHERS + 1);
    kit_write(fds[OTHERS], "block", 5);
    KIT_UNTIL(wawo_load(&release) == 1);
    for (i = 0; i < OTHERS; i++)
        kit_write(fds[i], much, MUCH);
    wait_ns(5 * IDLE);
    wawo_store(&release, 2);
    party_wait(&server, WAWO_ON_CLOSE, OTHERS + 1);
    ASSERT_EQ(server.received, (uint64_t)OTHERS * MUCH + 5);
    ASSERT_EQ(idle_closed(&server), OTHERS + 1u);
    for (i = 0; i <= OTHERS; i++)
        kit_close(fds[i]);
    party_close(&s, &server);
}

/* Closing has its own time. */
TEST_EACH_BACKEND(close_is_not_cut_by_it, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, NULL);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_TRUE(wawo_share_close(server.last));
    wait_ns(3 * IDLE);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(idle_closed(&server), 0u);
    party_close(&s, &server);
}

/* ---- rate ---- */

struct pusher {
    int fd;
    size_t bytes;
};

static void push_main(void *arg)
{
    struct pusher *p = arg;

    kit_write_pattern(p->fd, 0, p->bytes);
    kit_shutdown(p->fd);
}

static uint64_t rate_pauses(struct party *p)
{
    struct wawo_endpoint_stats st;

    wawo_endpoint_stats(p->endpoint, &st);
    return st.rate_pauses;
}

/* All of it arrives, in order, and never faster than it may. */
static void rate(const char *backend, uint64_t rate, size_t bytes)
{
    struct stage s;
    struct party server;
    struct wawo_thread t;
    struct pusher p = {.bytes = bytes};
    int64_t since, least = (int64_t)(bytes * WAWO_SEC / rate) - 60 * WAWO_MSEC; /* but for the burst */
    int64_t read = (int64_t)WAWO_SEC / 32;                                      /* and the last read */

    open_with(&s, &server, backend, NULL);
    server.options.receive_rate = rate;
    server.verify = true;
    party_start(&server);
    p.fd = kit_connect(server.port);
    since = wawo_os_now_ns();
    kit_start(&t, push_main, &p);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_GE(wawo_os_now_ns() - since, least - read);
    ASSERT_EQ(server.closed_received, bytes);
    ASSERT_EQ(server.error, 0);
    ASSERT_GT(rate_pauses(&server), 3u);
    wawo_thread_join(&t);
    kit_close(p.fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(rate_of_some_kilobytes, backend)
{
    rate(backend, 20 * KIB, 10 * KIB);
}

TEST_EACH_BACKEND(rate_of_some_megabytes, backend)
{
    rate(backend, 8 * MIB, 4 * MIB);
}

/* Pausing and resuming by the user in between, messages that are put together from many reads. */
static void hook_pause(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    if (e->kind == WAWO_ON_RECEIVE && a->messages % 3 == 1)
        ASSERT_TRUE(wawo_share_pause(e->share, true));
}

TEST_EACH_BACKEND(rate_beside_other_pauses, backend)
{
    struct stage s;
    struct party server;
    static uint8_t message[4 + 30000];
    struct wawo_share *share;
    int fd, i;

    open_with(&s, &server, backend, hook_pause);
    party_framed(&server, 4, MIB);
    server.options.receive_rate = MIB;
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    share = party_last(&server);
    message[2] = 30000 >> 8;
    message[3] = 30000 & 255;
    for (i = 0; i < 10; i++)
        kit_write(fd, message, sizeof message);
    for (i = 0; party_count(&server, WAWO_ON_RECEIVE) < 10; i++) {
        ASSERT_LT(i, 10000);
        kit_tick(__FILE__, __LINE__, "ten messages", wawo_os_now_ns() + LATE);
        (void)wawo_share_pause(share, false);
    }
    ASSERT_EQ(server.received, 10u * 30000);
    kit_close(fd);
    for (i = 0; party_count(&server, WAWO_ON_CLOSE) < 1; i++) { /* the last message paused it too */
        ASSERT_LT(i, 10000);
        kit_tick(__FILE__, __LINE__, "the end", wawo_os_now_ns() + LATE);
        (void)wawo_share_pause(share, false);
    }
    wawo_share_drop(share);
    party_close(&s, &server);
}

/* Closing while the rate holds it: nobody waits for what may not come. */
TEST_EACH_BACKEND(rate_does_not_hold_a_close, backend)
{
    struct stage s;
    struct party server;
    static uint8_t block[256 * KIB];
    int fds[3], i;

    open_with(&s, &server, backend, NULL);
    server.options.receive_rate = KIB;
    party_start(&server);
    for (i = 0; i < 3; i++) {
        fds[i] = kit_connect(server.port);
        party_wait(&server, WAWO_ON_ACCEPT, (uint64_t)i + 1);
        kit_write(fds[i], block, 64 * KIB);
        KIT_UNTIL(rate_pauses(&server) > (uint64_t)i);
        if (i == 0)
            ASSERT_TRUE(wawo_share_close(server.last));
        if (i == 1)
            ASSERT_TRUE(wawo_share_abort(server.last));
        if (i == 0)
            ASSERT_EQ(kit_read_end(fds[i], NULL), 0);
        if (i < 2) {
            kit_close(fds[i]);
            party_wait(&server, WAWO_ON_CLOSE, (uint64_t)i + 1);
        }
    }
    party_close(&s, &server); /* the third one by a stop */
    kit_close(fds[2]);
}
