/* Limits in time: silence that ends a connection, a rate that holds its peer up. */
#include "support/stage.h"

#include "base/atomic.h"
#include "base/err.h"
#include "io/threads.h"

#include <errno.h>

enum { KIB = 1024, MIB = 1024 * 1024 };

#define IDLE (100 * WAWO_MSEC)
#define LATE (kit_deadline_s() * WAWO_SEC) /* a busy machine */

static void open_with(struct stage *s, struct party *server, const char *backend, party_hook hook)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    server->hook = hook;
    server->options.idle_timeout_ns = IDLE;
}

/* Until then its peers lie in the backlog with all that they said: none seems silent because this thread was held up. */
static void listen_now(struct party *server, int listener)
{
    ASSERT_EQ(wawo_endpoint_listen(server->endpoint, listener, -1), 0);
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

/* A backend that has taken what it was given, and does not know yet whether it goes. */
static struct {
    const struct wawo_backend_ops *real;
    struct wawo_backend_ops ops;
    struct wawo_loop *loop;
    size_t taken;
    bool reset;
} unsure;

static ptrdiff_t unsure_send_soon(struct wawo_backend *b, struct wawo_sock *s)
{
    size_t n = s->out.bytes;

    (void)b;
    unsure.taken += n;
    wawo_ring_clear(&s->out, &unsure.loop->heap);
    return (ptrdiff_t)n;
}

static ptrdiff_t unsure_send(struct wawo_backend *b, struct wawo_sock *s)
{
    return s->out.bytes == 0 ? WAWO_AGAIN : unsure_send_soon(b, s);
}

static void unsure_detach(struct wawo_backend *b, struct wawo_sock *s, bool reset)
{
    unsure.reset = reset;
    unsure.loop->ops = unsure.real;
    unsure.real->detach(b, s, reset);
}

static void hook_unsure(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p, (void)a;
    if (e->kind != WAWO_ON_ACCEPT)
        return;
    unsure.real = unsure.loop->ops;
    unsure.ops = *unsure.real;
    unsure.ops.send = unsure_send;
    unsure.ops.send_soon = unsure_send_soon;
    unsure.ops.detach = unsure_detach;
    unsure.loop->ops = &unsure.ops;
    ASSERT_EQ(wawo_share_send(e->share, "an answer", 9), 1);
}

/* What is not known to have gone may be lost, so its end is a reset. */
TEST_EACH_BACKEND(a_silent_one_whose_answer_is_under_way, backend)
{
    struct stage s;
    struct party server;
    int64_t since = wawo_os_now_ns();
    int fd;

    open_with(&s, &server, backend, hook_unsure);
    unsure.loop = &s.threads->loops[0];
    party_start(&server);
    fd = kit_connect(server.port);
    expect_idle_end(&server, since, IDLE);
    ASSERT_EQ(unsure.taken, 9u);
    ASSERT_TRUE(unsure.reset);
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

/* On the loop that both ends are on. */
struct play {
    int64_t until, said;   /* when it shall be over; when the server was spoken to last */
    int64_t heard, closed; /* when that was said which the server heard last; when it ended it */
    bool over;
};

static void hook_listen(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct play *play = p->arg;

    if (e->kind == WAWO_ON_RECEIVE)
        play->heard = play->said;
    if (e->kind == WAWO_ON_CLOSE)
        play->closed = wawo_os_now_ns();
    hook_echo(p, e, a);
}

static void hook_speak(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct play *play = p->arg;
    int64_t now = wawo_os_now_ns();

    (void)a;
    if (e->kind == WAWO_ON_HANDSHAKE)
        play->until = now + 5 * IDLE;
    else if (e->kind != WAWO_ON_RECEIVE)
        return;
    play->over = now >= play->until;
    if (play->over)
        return;
    play->said = now;
    (void)wawo_share_send(e->share, "x", 1);
}

/* Speaks for five times as long as it may be silent; false: it was held up, and silent for too long. */
static bool speaks(const char *backend)
{
    struct stage s;
    struct party server, agent;
    struct play play = {.over = false};

    open_with(&s, &server, backend, hook_listen);
    server.arg = &play;
    party_start(&server);
    party_init(&agent, &s, WAWO_AGENT);
    agent.hook = hook_speak;
    agent.arg = &play;
    party_start(&agent);
    wawo_share_drop(party_connect(&agent, server.port));
    expect_idle_end(&server, 0, 0);
    ASSERT_GE(play.closed - play.heard, IDLE - 20 * WAWO_MSEC);
    party_finish(&agent);
    party_close(&s, &server);
    return play.over;
}

TEST_EACH_BACKEND(one_that_is_heard_of_stays, backend)
{
    KIT_UNTIL(speaks(backend));
}

static void hook_pause_at_accept(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p, (void)a;
    if (e->kind == WAWO_ON_ACCEPT)
        ASSERT_TRUE(wawo_share_pause(e->share, true));
}

TEST_EACH_BACKEND(a_paused_one_is_not_silent, backend)
{
    struct stage s;
    struct party server;
    int64_t since;
    int fd;

    open_with(&s, &server, backend, hook_pause_at_accept);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    wait_ns(4 * IDLE);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    since = wawo_os_now_ns();
    ASSERT_TRUE(wawo_share_pause(server.last, false)); /* it has all of its time again */
    expect_idle_end(&server, since, IDLE);
    kit_close(fd);
    party_close(&s, &server);
}

static uint8_t much[16 * MIB];

static void hook_send_much(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p, (void)a;
    if (e->kind == WAWO_ON_ACCEPT)
        ASSERT_EQ(wawo_share_send(e->share, much, sizeof much), 1);
}

enum { STEP = 32 * KIB, STEPS = sizeof much / 2 / STEP };

/* Reads half of it, at most so fast that it takes twice the time that it may be silent. when[i]: it had read i steps; the
 * result: how many, less than STEPS if it was cut off, at when[result + 1]. */
static int take_half(int fd, int64_t idle, int64_t when[STEPS + 2])
{
    static uint8_t block[STEP];
    ptrdiff_t n = 1;
    size_t got;
    int i;

    for (i = 0; i < STEPS && n > 0; i += n > 0) {
        KIT_UNTIL(wawo_os_now_ns() >= when[0] + 2 * idle * (i + 1) / STEPS);
        for (got = 0; got < STEP && n > 0; got += n > 0 ? (size_t)n : 0)
            n = wawo_os_recv(fd, block, STEP - got);
        when[i + 1] = wawo_os_now_ns();
    }
    return i;
}

/* Whether it took, in some time that long, less than the kernel may have had room for before it told of that. */
static bool was_slow(const int64_t *when, int steps, int64_t idle)
{
    int i, k;

    for (i = 0, k = 0; i <= steps; i++) {
        while (k < steps && when[k + 1] <= when[i] + idle)
            k++;
        if (k - i < 3 * MIB / STEP && when[i] + idle <= when[steps + 1])
            return true;
    }
    return false;
}

static bool takes_its_output(const char *backend, int64_t idle)
{
    int64_t when[STEPS + 2];
    struct stage s;
    struct party server;
    int fd, steps;

    open_with(&s, &server, backend, hook_send_much);
    server.options.idle_timeout_ns = idle;
    party_start(&server);
    when[0] = wawo_os_now_ns();
    fd = kit_connect_small(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    steps = take_half(fd, idle, when);
    if (steps == STEPS) { /* it was held by auto_pause as well */
        ASSERT_TRUE(wawo_share_pending(server.last) > 1u * MIB || !wawo_share_connected(server.last));
        expect_idle_end(&server, when[0], 2 * idle);
        ASSERT_EQ(kit_read_end(fd, NULL), ECONNRESET);
    } else {
        ASSERT_TRUE(was_slow(when, steps, idle));
    }
    kit_close(fd);
    party_close(&s, &server);
    return steps == STEPS;
}

/* One that takes what waits for it says nothing and is alive; when it stops to, it is over, and it sees a reset. On a
 * machine that holds it up all the time it is only shown that who was cut off was slow. */
TEST_EACH_BACKEND(one_that_takes_its_output_stays, backend)
{
    int tries;

    for (tries = 1; tries <= 3 && !takes_its_output(backend, 5 * tries * IDLE); tries++)
        continue;
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
    struct stage s;
    struct party server;
    uint32_t release = 0;
    uint16_t port;
    int fds[OTHERS + 1], i, listener = kit_listen(&port);

    open_with(&s, &server, backend, hook_block);
    server.arg = &release;
    server.options.idle_timeout_ns = 3 * IDLE;
    party_start(&server);
    for (i = 0; i <= OTHERS; i++)
        fds[i] = kit_connect(port);
    kit_write(fds[OTHERS], "block", 5); /* the last to be accepted */
    listen_now(&server, listener);
    KIT_UNTIL(wawo_load(&release) == 1);
    ASSERT_EQ(party_count(&server, WAWO_ON_ACCEPT), OTHERS + 1u);
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

static void hook_close_at_accept(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p, (void)a;
    if (e->kind == WAWO_ON_ACCEPT)
        ASSERT_TRUE(wawo_share_close(e->share));
}

/* Closing has its own time. */
TEST_EACH_BACKEND(close_is_not_cut_by_it, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, hook_close_at_accept);
    server.options.close_timeout_ns = 2 * KIT_DEADLINE_S * WAWO_SEC;
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
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
    bool fits =
        bytes <= 32 * KIB; /* all of it lies in the socket before it is accepted: it may not be taken for silent */
    struct stage s;
    struct party server;
    struct wawo_thread t;
    struct pusher p = {.bytes = bytes};
    int64_t since, took, least = (int64_t)(bytes * WAWO_SEC / rate) - 60 * WAWO_MSEC; /* but for the burst */
    int64_t read = (int64_t)WAWO_SEC / 32;                                      /* and the last read */
    uint16_t port;
    int listener = kit_listen(&port);

    open_with(&s, &server, backend, NULL);
    server.options.receive_rate = rate;
    server.options.idle_timeout_ns = fits ? IDLE : 0;
    server.verify = true;
    party_start(&server);
    p.fd = kit_connect(port);
    if (fits)
        push_main(&p);
    since = wawo_os_now_ns();
    if (!fits)
        kit_start(&t, push_main, &p);
    listen_now(&server, listener);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    took = wawo_os_now_ns() - since;
    ASSERT_GE(took, least - read);
    ASSERT_EQ(server.closed_received, bytes);
    ASSERT_EQ(server.error, 0);
    ASSERT_TRUE(rate_pauses(&server) > 3 || took > (int64_t)(bytes * WAWO_SEC / rate)); /* slower by itself */
    if (!fits)
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
    rate(backend, 2 * MIB, MIB); /* which a slow machine can receive, and check, in less time */
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
    server.options.idle_timeout_ns = 0;
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
    server.options.idle_timeout_ns = 0;
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
