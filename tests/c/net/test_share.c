/* Storms of calls from other threads on the same connections, with every byte checked. */
#include "support/stage.h"

#include "base/atomic.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

enum { KIB = 1024, SENDERS = 4 };

/* Each sender's messages carry its number and a count: the receiver checks the order of each. */
struct note {
    uint32_t sender, number;
    uint8_t fill[56];
};

struct sender {
    struct wawo_share *share;
    uint32_t number, count;
    size_t size;
    uint64_t sent;
};

static void send_main(void *arg)
{
    struct sender *s = arg;
    int64_t until = kit_deadline();
    struct note *n = calloc(1, s->size);
    uint32_t i;
    int rc;

    n->sender = s->number;
    for (i = 0; i < s->count; i++) {
        n->number = i;
        kit_fill(n->fill, s->size - 8, i + s->number);
        while ((rc = wawo_share_send(s->share, n, s->size)) == WAWO_ENOBUFS)
            kit_tick(__FILE__, __LINE__, "room", until);
        ASSERT_EQ(rc, 1);
    }
    free(n);
}

static void check_note(const uint8_t *p, size_t size, uint32_t next[SENDERS])
{
    struct note n;

    memcpy(&n, p, 8);
    ASSERT_LT(n.sender, (unsigned)SENDERS);
    ASSERT_EQ(n.number, next[n.sender]);
    next[n.sender]++;
    KIT_CHECK(p + 8, size - 8, n.number + n.sender);
}

/* `size` bytes a message: small ones are packed by the share, large ones have a block each. */
static void send_storm(const char *backend, size_t size, uint32_t count)
{
    struct stage s;
    struct party server;
    struct sender senders[SENDERS];
    struct wawo_thread t[SENDERS];
    uint32_t next[SENDERS] = {0}, i;
    uint8_t *p = malloc(size);
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    server.options.max_pending = 256 * KIB;
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    for (i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.share = server.last, .number = i, .count = count, .size = size};
        kit_start(&t[i], send_main, &senders[i]);
    }
    for (i = 0; i < SENDERS * count; i++) {
        ASSERT_EQ(kit_read(fd, p, size), size);
        check_note(p, size, next);
    }
    for (i = 0; i < SENDERS; i++)
        wawo_thread_join(&t[i]);
    KIT_UNTIL(wawo_share_pending(server.last) == 0);
    ASSERT_TRUE(wawo_share_close(server.last));
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    free(p);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(storm_of_small_sends, backend)
{
    send_storm(backend, 64, 5000);
}

TEST_EACH_BACKEND(storm_of_large_sends, backend)
{
    send_storm(backend, 10000, 400);
}

/* Framed, so that an envelope and its message never come apart, from the loop and from other threads together. */
static void hook_answer_framed(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct note n = {.sender = 0};

    (void)p;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    n.number = (uint32_t)a->scratch[0]++;
    kit_fill(n.fill, sizeof n.fill, n.number);
    ASSERT_EQ(wawo_share_send(e->share, &n, sizeof n), 1);
}

TEST_EACH_BACKEND(the_loop_and_others_send_frames_together, backend)
{
    struct stage s;
    struct party server;
    struct sender senders[SENDERS];
    struct wawo_thread t[SENDERS];
    uint32_t next[SENDERS] = {0}, i, total = SENDERS * 2000;
    uint8_t frame[4 + sizeof(struct note)], ping[5] = {0, 0, 0, 1, 'x'};
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    party_framed(&server, 4, 1 << 20);
    server.hook = hook_answer_framed;
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    for (i = 1; i < SENDERS; i++) {
        senders[i] = (struct sender){.share = server.last, .number = i, .count = 2000, .size = sizeof(struct note)};
        kit_start(&t[i], send_main, &senders[i]);
    }
    for (i = 0; i < total; i++) {
        if (i % SENDERS == 0)
            kit_write(fd, ping, 5);
        ASSERT_EQ(kit_read(fd, frame, sizeof frame), sizeof frame);
        ASSERT_MEMEQ(frame, "\0\0\0\100", 4);
        check_note(frame + 4, sizeof(struct note), next);
    }
    for (i = 1; i < SENDERS; i++)
        wawo_thread_join(&t[i]);
    kit_close(fd);
    party_close(&s, &server);
}

/* ---- pausing ---- */

static void pause_main(void *arg)
{
    struct sender *s = arg;

    while (!wawo_load(&s->count)) {
        (void)wawo_share_pause(s->share, true);
        (void)wawo_share_paused(s->share);
        (void)wawo_share_pause(s->share, false);
    }
    (void)wawo_share_pause(s->share, false);
}

TEST_EACH_BACKEND(storm_of_pauses, backend)
{
    struct stage s;
    struct party server;
    struct sender pauser;
    struct wawo_thread t;
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    server.verify = true;
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    pauser = (struct sender){.share = server.last};
    kit_start(&t, pause_main, &pauser);
    kit_write_pattern(fd, 0, 4 * 1024 * KIB);
    kit_shutdown(fd);
    KIT_UNTIL(party_count(&server, WAWO_ON_RECEIVE) > 3);
    wawo_store(&pauser.count, 1);
    wawo_thread_join(&t);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.closed_received, 4u * 1024 * KIB);
    kit_close(fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(storm_of_pauses_on_frames, backend)
{
    struct stage s;
    struct party server;
    struct sender pauser;
    struct wawo_thread t;
    uint8_t *frames = malloc(3 * 60000);
    unsigned i;
    int fd;

    for (i = 0; i < 60000; i++) {
        frames[3 * i] = 0;
        frames[3 * i + 1] = 1;
        frames[3 * i + 2] = kit_byte(i);
    }
    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    party_framed(&server, 2, 100);
    server.verify = true;
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    pauser = (struct sender){.share = server.last};
    kit_start(&t, pause_main, &pauser);
    kit_write(fd, frames, 3 * 60000);
    kit_shutdown(fd);
    KIT_UNTIL(party_count(&server, WAWO_ON_RECEIVE) > 3000);
    wawo_store(&pauser.count, 1);
    wawo_thread_join(&t);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.closed_received, 60000u);
    kit_close(fd);
    free(frames);
    party_close(&s, &server);
}

/* ---- closing ---- */

/* What was accepted before the close arrives; what was refused does not; nothing is torn. */
struct closer {
    struct wawo_share *share;
    wawo_u64 *accepted; /* atomic: messages */
    bool (*end)(struct wawo_share *s);
};

static void send_until_refused(void *arg)
{
    struct closer *c = arg;
    uint8_t message[100];
    int rc;

    memset(message, 'm', sizeof message);
    for (;;) {
        rc = wawo_share_send(c->share, message, sizeof message);
        if (rc == 0)
            return;
        if (rc == 1)
            wawo_add(c->accepted, 1);
    }
}

static void end_main(void *arg)
{
    struct closer *c = arg;

    KIT_UNTIL(wawo_load(c->accepted) > 500);
    ASSERT_TRUE(c->end(c->share));
}

static void close_storm(const char *backend, bool (*end)(struct wawo_share *s), bool clean)
{
    struct stage s;
    struct party server;
    struct wawo_thread t[4];
    wawo_u64 accepted;
    uint64_t bytes;
    struct closer c;
    int fd, i, round, err;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    party_start(&server);
    for (round = 0; round < 10; round++) {
        accepted = bytes = 0;
        fd = kit_connect(server.port);
        party_wait(&server, WAWO_ON_ACCEPT, (uint64_t)round + 1);
        c = (struct closer){party_last(&server), &accepted, end};
        for (i = 0; i < 3; i++)
            kit_start(&t[i], send_until_refused, &c);
        kit_start(&t[3], end_main, &c);
        err = kit_read_end(fd, &bytes);
        for (i = 0; i < 4; i++)
            wawo_thread_join(&t[i]);
        if (clean) {
            ASSERT_EQ(err, 0);
            ASSERT_EQ(bytes, accepted * 100);
        }
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, (uint64_t)round + 1);
        wawo_share_drop(c.share);
    }
    party_close(&s, &server);
}

TEST_EACH_BACKEND(close_while_others_send, backend)
{
    close_storm(backend, wawo_share_close, true);
}

TEST_EACH_BACKEND(shutdown_write_while_others_send, backend)
{
    close_storm(backend, wawo_share_shutdown_write, true);
}

TEST_EACH_BACKEND(abort_while_others_send, backend)
{
    close_storm(backend, wawo_share_abort, false);
}

/* Every call at once, from several threads, on connections that come and go. */
struct chaos {
    struct party *agent;
    uint64_t seed;
    uint32_t rounds;
};

static void chaos_main(void *arg)
{
    struct chaos *c = arg;
    struct wawo_share *share = NULL;
    int64_t until = kit_deadline() + 5 * WAWO_SEC;
    uint8_t bytes[3000] = {0};
    uint32_t i;
    int rc;

    for (i = 0; i < c->rounds; i++) {
        if (share == NULL) {
            while ((rc = party_dial(c->agent, "127.0.0.1", c->agent->port, 0, &share)) == WAWO_ENOBUFS)
                kit_tick(__FILE__, __LINE__, "a free connection", until);
            ASSERT_EQ(rc, 0);
        }
        switch (kit_below(&c->seed, 9)) {
        case 0:
            (void)wawo_share_close(share);
            wawo_share_drop(share);
            share = NULL;
            break;
        case 1:
            (void)wawo_share_abort(share);
            wawo_share_drop(share);
            share = NULL;
            break;
        case 2:
            (void)wawo_share_pause(share, true);
            break;
        case 3:
            (void)wawo_share_pause(share, false);
            break;
        case 4:
            (void)wawo_share_flush(share);
            break;
        case 5:
            (void)wawo_share_shutdown_write(share);
            break;
        default:
            (void)wawo_share_send(share, bytes, kit_below(&c->seed, sizeof bytes));
        }
    }
    if (share != NULL) {
        (void)wawo_share_close(share);
        wawo_share_drop(share);
    }
}

static void hook_chaos(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    if (e->kind == WAWO_ON_RECEIVE) {
        (void)wawo_share_send(e->share, e->ptr, e->len);
        if (a->messages % 7 == 3)
            (void)wawo_share_flush(e->share);
        if (a->messages % 11 == 5)
            (void)wawo_share_close(e->share);
    }
}

TEST_EACH_BACKEND(chaos, backend)
{
    struct stage s;
    struct party server, agent;
    struct chaos c[3];
    struct wawo_thread t[3];
    int i;

    stage_open(&s, backend, 2);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_chaos;
    server.mask |= 1u << WAWO_ON_SEND;
    party_start(&server);
    party_init(&agent, &s, WAWO_AGENT);
    agent.port = server.port;
    agent.options.max_connections = 50;
    agent.options.close_timeout_ns = 100 * WAWO_MSEC;
    server.options.close_timeout_ns = 100 * WAWO_MSEC;
    party_start(&agent);
    for (i = 0; i < 3; i++) {
        c[i] = (struct chaos){&agent, (uint64_t)i + 1, 2000};
        kit_start(&t[i], chaos_main, &c[i]);
    }
    for (i = 0; i < 3; i++)
        wawo_thread_join(&t[i]);
    party_finish(&agent);
    party_close(&s, &server);
}
