/* One message to many connections, from their own loop, from another one and from foreign threads; closing many. */
#include "support/stage.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

enum { KIB = 1024, MIB = 1024 * 1024, MANY = 60, STUCK = 5 };

static void open_with(struct stage *s, struct party *server, const char *backend, unsigned loops)
{
    stage_open(s, backend, loops);
    party_init(server, s, WAWO_SERVER);
}

static ptrdiff_t cast(struct party *p, const char *text)
{
    return wawo_endpoint_broadcast(p->endpoint, text, strlen(text), NULL, 0, false);
}

static ptrdiff_t cast_size(struct party *p, size_t size, bool evict)
{
    static const uint8_t bytes[4 * MIB];

    ASSERT_LE(size, sizeof bytes);
    return wawo_endpoint_broadcast(p->endpoint, bytes, size, NULL, 0, evict);
}

static void expect(int fd, const char *text)
{
    char got[256];

    ASSERT_LT(strlen(text), sizeof got);
    ASSERT_EQ(kit_read(fd, got, strlen(text)), strlen(text));
    ASSERT_MEMEQ(got, text, strlen(text));
}

/* ---- who gets it ---- */

TEST_EACH_BACKEND(reaches_all_from_another_thread, backend)
{
    struct stage s;
    struct party server;
    int fds[MANY], i;

    open_with(&s, &server, backend, 2);
    party_start(&server);
    ASSERT_EQ(cast(&server, "nobody"), 0);
    party_crowd(&server, fds, MANY);
    ASSERT_EQ(cast(&server, "one "), MANY);
    ASSERT_EQ(cast(&server, ""), MANY); /* no bytes, and accepted */
    ASSERT_EQ(cast(&server, "two"), MANY);
    for (i = 0; i < MANY; i++)
        expect(fds[i], "one two");
    ASSERT_EQ(party_stats(&server).messages_out, 3u * MANY);
    kit_close(fds[7]);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(cast(&server, "!"), MANY - 1);
    for (i = 0; i < MANY; i++)
        if (i != 7)
            expect(fds[i], "!");
    fds[7] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, MANY + 1);
    party_close(&s, &server);
    kit_close_all(fds, MANY);
    ASSERT_EQ(server.count[WAWO_ON_CLOSE], MANY + 1u);
}

/* On two loops: those of the callback's own get it in their rings, the others by their posts. */
static void hook_cast(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    ASSERT_EQ(wawo_share_send(e->share, "[", 1), 1);
    ASSERT_EQ(cast(p, "one "), MANY);
    ASSERT_EQ(cast(p, "two "), MANY);
    ASSERT_EQ(wawo_share_send(e->share, "own ", 4), 1);
    ASSERT_EQ(cast(p, "three"), MANY);
    ASSERT_EQ(wawo_share_send(e->share, "]", 1), 1);
}

TEST_EACH_BACKEND(reaches_all_from_a_callback, backend)
{
    struct stage s;
    struct party server;
    int fds[MANY], i, round;

    open_with(&s, &server, backend, 2);
    server.hook = hook_cast;
    party_start(&server);
    party_crowd(&server, fds, MANY);
    for (round = 0; round < 20; round++) {
        kit_write(fds[round], "!", 1);
        for (i = 0; i < MANY; i++)
            expect(fds[i], i == round ? "[one two own three]" : "one two three");
    }
    ASSERT_EQ(party_stats(&server).messages_out, 20u * (3 * MANY + 3));
    party_close(&s, &server);
    kit_close_all(fds, MANY);
}

TEST_EACH_BACKEND(is_framed_once, backend)
{
    struct stage s;
    struct party server;
    uint8_t got[7];
    int fds[MANY], i;

    open_with(&s, &server, backend, 2);
    party_framed(&server, 2, 3);
    party_start(&server);
    party_crowd(&server, fds, MANY);
    ASSERT_EQ(cast(&server, "four"), WAWO_EMSGSIZE);
    ASSERT_EQ(cast(&server, "abc"), MANY);
    ASSERT_EQ(cast(&server, ""), MANY);
    for (i = 0; i < MANY; i++) {
        ASSERT_EQ(kit_read(fds[i], got, 7), 7u);
        ASSERT_MEMEQ(got, "\0\3abc\0\0", 7);
    }
    party_close(&s, &server);
    kit_close_all(fds, MANY);
}

static ptrdiff_t cast_to(struct party *p, const uint64_t *ids, size_t n)
{
    return wawo_endpoint_broadcast(p->endpoint, "x", 1, ids, n, false);
}

static void hook_cast_to(struct party *p, const struct wawo_event *e, struct actor *a)
{
    const uint64_t *ids = p->arg;

    (void)a;
    if (e->kind == WAWO_ON_RECEIVE)
        ASSERT_EQ(cast_to(p, ids, 2 * MANY + 4), MANY / 2);
}

/* Half of them, each twice; with ids of nobody, of somebody who has gone, and of another endpoint's. */
TEST_EACH_BACKEND(reaches_some, backend)
{
    struct stage s;
    struct party server, other;
    struct wawo_share *all[MANY], *stranger;
    uint64_t ids[2 * MANY + 4];
    size_t n = 0;
    int fds[MANY + 1], i;
    char byte;

    open_with(&s, &server, backend, 2);
    server.arg = ids;
    server.hook = hook_cast_to;
    party_start(&server);
    party_init(&other, &s, WAWO_SERVER);
    party_start(&other);
    party_crowd(&server, fds, MANY);
    fds[MANY] = kit_connect(other.port);
    party_wait(&other, WAWO_ON_ACCEPT, 1);
    stranger = party_last(&other);
    ids[n++] = wawo_share_id(stranger);
    ids[n++] = 0;
    ids[n++] = UINT64_MAX;
    ids[n++] = wawo_share_id(stranger) + (UINT64_C(1) << 32);
    ASSERT_EQ(wawo_endpoint_list(server.endpoint, all, MANY), MANY);
    for (i = 0; i < MANY; i += 2) {
        ids[n++] = wawo_share_id(all[i]);
        ids[n++] = wawo_share_id(all[i]);
    }
    while (n < 2 * MANY + 4)
        ids[n++] = ids[0];
    ASSERT_EQ(cast_to(&server, ids, 0), 0);
    ASSERT_EQ(cast_to(&server, ids, 4), 0);
    ASSERT_EQ(cast_to(&server, ids, n), MANY / 2);
    kit_write(fds[3], "!", 1);
    KIT_UNTIL(party_stats(&server).messages_out == MANY);
    ASSERT_EQ(cast(&server, "."), MANY); /* behind it: who got the others sees */
    for (i = 0, n = 0; i < MANY; i++) {
        ASSERT_EQ(kit_read(fds[i], &byte, 1), 1u);
        if (byte == 'x') {
            n++;
            expect(fds[i], "x.");
        }
        wawo_share_drop(all[i]);
    }
    ASSERT_EQ(n, MANY / 2u);
    ASSERT_EQ(party_stats(&other).messages_out, 0u);
    wawo_share_drop(stranger);
    party_finish(&other);
    party_close(&s, &server);
    kit_close_all(fds, MANY + 1);
}

/* A connection is reached from its ACCEPT on, and not when only the dial is under way. */
static void cast_before(struct stage *s, const struct wawo_event *e, unsigned index)
{
    (void)index;
    if (e->kind == WAWO_ON_ACCEPT || e->kind == WAWO_ON_CONNECT)
        ASSERT_EQ(cast(s->before_arg, "too early"), 0);
}

static void hook_greet(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)a;
    if (e->kind == WAWO_ON_ACCEPT) {
        ASSERT_EQ(wawo_share_send(e->share, "welcome ", 8), 1);
        ASSERT_EQ(cast(p, "all"), 1);
    }
}

TEST_EACH_BACKEND(reaches_none_before_its_first_event, backend)
{
    struct stage s;
    struct party server, agent;
    struct wawo_share *dialled;
    uint16_t port;
    int fd, listener = kit_listen(&port);

    open_with(&s, &server, backend, 1);
    s.before = cast_before;
    s.before_arg = &server;
    server.hook = hook_greet;
    party_start(&server);
    fd = kit_connect(server.port);
    expect(fd, "welcome all");
    ASSERT_EQ(cast(&server, "!"), 1);
    expect(fd, "!");
    party_init(&agent, &s, WAWO_AGENT);
    agent.mask &= ~(1u << WAWO_ON_CONNECT) & ~(1u << WAWO_ON_HANDSHAKE); /* nobody listens to it: from the start */
    party_start(&agent);
    ASSERT_EQ(party_dial(&agent, "127.0.0.1", kit_dead_port(), 0, NULL), 0);
    ASSERT_EQ(cast(&agent, "x"), 0);
    dialled = party_connect(&agent, port);
    KIT_UNTIL(wawo_share_connected(dialled));
    ASSERT_EQ(cast(&agent, "x"), 1);
    ASSERT_TRUE(wawo_share_close(dialled));
    ASSERT_EQ(cast(&agent, "y"), 0);
    wawo_share_drop(dialled);
    kit_close(listener);
    kit_close(fd);
    party_finish(&agent);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(reaches_nobody_after_the_end, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, 1);
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_TRUE(wawo_share_shutdown_write(server.last));
    ASSERT_EQ(cast(&server, "x"), 0);
    wawo_endpoint_stop(server.endpoint, 0);
    party_wait(&server, WAWO_ON_SHUTDOWN, 1);
    ASSERT_EQ(cast(&server, "x"), 0);
    ASSERT_EQ(wawo_endpoint_disconnect(server.endpoint, 0, false), 0u);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_close(&s, &server);
}

/* ---- order ---- */

enum { NOTES = 3000 };

static void note_main(void *arg)
{
    struct party *p = arg;
    struct wawo_share *one = party_last(p);
    uint32_t i;

    for (i = 0; i < NOTES; i++) { /* one in three is for one alone */
        if (i % 3 == 0)
            ASSERT_EQ(wawo_share_send(one, &i, sizeof i), 1);
        else
            ASSERT_EQ(wawo_endpoint_broadcast(p->endpoint, &i, sizeof i, NULL, 0, false), 4);
    }
    wawo_share_drop(one);
}

TEST_EACH_BACKEND(keeps_the_order_of_the_thread, backend)
{
    struct stage s;
    struct party server;
    struct wawo_thread t;
    uint32_t i, note;
    int fds[4], k;

    open_with(&s, &server, backend, 2);
    party_start(&server);
    for (k = 0; k < 4; k++) { /* the last one is the one */
        fds[k] = kit_connect(server.port);
        party_wait(&server, WAWO_ON_ACCEPT, (uint64_t)k + 1);
    }
    kit_start(&t, note_main, &server);
    for (k = 0; k < 4; k++)
        for (i = 0; i < NOTES; i++) {
            if (i % 3 == 0 && k != 3)
                continue;
            ASSERT_EQ(kit_read(fds[k], &note, sizeof note), sizeof note);
            ASSERT_EQ(note, i);
        }
    wawo_thread_join(&t);
    party_close(&s, &server);
    kit_close_all(fds, 4);
}

/* ---- the slow ones ---- */

/* Some who do not read among some who do; `small` sockets fill up soon. */
static void connect_stuck(struct party *p, int *stuck, int n)
{
    int i;

    for (i = 0; i < n; i++)
        stuck[i] = kit_connect_small(p->port);
    party_wait(p, WAWO_ON_ACCEPT, (uint64_t)n);
}

static size_t most_pending(struct party *p)
{
    struct wawo_share *all[64];
    size_t n = wawo_endpoint_list(p->endpoint, all, 64), most = 0, i;

    ASSERT_LE(n, 64u);
    for (i = 0; i < n; i++) {
        if (wawo_share_pending(all[i]) > most)
            most = wawo_share_pending(all[i]);
        wawo_share_drop(all[i]);
    }
    return most;
}

TEST_EACH_BACKEND(slow_ones_are_skipped, backend)
{
    enum { SIZE = 10000, READERS = 3 };
    struct stage s;
    struct party server;
    static uint8_t got[SIZE];
    int stuck[STUCK], fds[READERS], i, round;
    ptrdiff_t n = 0;

    open_with(&s, &server, backend, 2);
    server.options.high_water = 256 * KIB;
    server.options.low_water = 64 * KIB;
    party_start(&server);
    connect_stuck(&server, stuck, STUCK);
    for (i = 0; i < READERS; i++)
        fds[i] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, STUCK + READERS);
    for (round = 0; round < 5000 && n != READERS; round++) {
        n = cast_size(&server, SIZE, false);
        for (i = 0; i < READERS; i++)
            ASSERT_EQ(kit_read(fds[i], got, SIZE), (size_t)SIZE);
    }
    ASSERT_EQ(n, READERS); /* all the others are full */
    ASSERT_GT(most_pending(&server), 256u * KIB);
    ASSERT_LE(most_pending(&server), 256u * KIB + SIZE);
    ASSERT_GE(party_stats(&server).broadcasts_skipped, (uint64_t)STUCK);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    party_close(&s, &server);
    kit_close_all(stuck, STUCK);
    kit_close_all(fds, READERS);
}

static void slow_ones_end(const char *backend, bool inside);

static void hook_evict(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)a;
    if (e->kind == WAWO_ON_RECEIVE)
        (void)cast_size(p, 10000, true);
}

TEST_EACH_BACKEND(slow_ones_are_closed, backend)
{
    slow_ones_end(backend, false);
}

TEST_EACH_BACKEND(slow_ones_are_closed_in_a_callback, backend)
{
    slow_ones_end(backend, true);
}

static void slow_ones_end(const char *backend, bool inside)
{
    enum { SIZE = 10000 };
    struct stage s;
    struct party server;
    static uint8_t got[SIZE];
    int stuck[STUCK], fd, round;

    open_with(&s, &server, backend, 2);
    server.options.high_water = 256 * KIB;
    server.options.low_water = 64 * KIB;
    if (inside)
        server.hook = hook_evict;
    party_start(&server);
    connect_stuck(&server, stuck, STUCK);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, STUCK + 1);
    for (round = 0; round < 5000 && party_count(&server, WAWO_ON_CLOSE) < STUCK; round++) {
        if (inside)
            kit_write(fd, "!", 1);
        else
            ASSERT_GE(cast_size(&server, SIZE, true), 1);
        ASSERT_EQ(kit_read(fd, got, SIZE), (size_t)SIZE);
    }
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), (uint64_t)STUCK);
    ASSERT_EQ(server.operation, WAWO_OP_SEND);
    ASSERT_EQ(server.error, ENOBUFS);
    ASSERT_EQ(kit_read_end(stuck[0], NULL), ECONNRESET);
    party_close(&s, &server);
    kit_close_all(stuck, STUCK);
    kit_close(fd);
}

/* Nobody is slow who was not asked: much at once, from a callback, to peers who read. */
static void hook_burst(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint64_t *accepted = p->arg;
    int i;

    (void)a;
    if (e->kind == WAWO_ON_RECEIVE)
        for (i = 0; i < 30; i++)
            *accepted += (uint64_t)cast_size(p, 20000, true);
}

static void read_main(void *arg)
{
    (void)kit_read_end(*(int *)arg, NULL);
}

TEST_EACH_BACKEND(a_burst_makes_nobody_slow, backend)
{
    struct stage s;
    struct party server;
    struct wawo_thread t[4];
    uint64_t accepted = 0;
    int fds[4], i;

    open_with(&s, &server, backend, 1);
    server.options.high_water = 30000;
    server.options.low_water = 10000;
    server.arg = &accepted;
    server.hook = hook_burst;
    party_start(&server);
    party_crowd(&server, fds, 4);
    for (i = 0; i < 4; i++)
        kit_start(&t[i], read_main, &fds[i]);
    kit_write(fds[0], "!", 1);
    KIT_UNTIL(party_stats(&server).bytes_out == 4u * 30 * 20000);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    party_close(&s, &server);
    ASSERT_EQ(accepted, 4u * 30);
    for (i = 0; i < 4; i++)
        wawo_thread_join(&t[i]);
    kit_close_all(fds, 4);
}

TEST_EACH_BACKEND(longer_than_any_ring, backend)
{
    struct stage s;
    struct party server;
    int fd;

    open_with(&s, &server, backend, 1);
    server.options.high_water = 10000;
    server.options.max_pending = 2 * MIB;
    party_start(&server);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_EQ(cast_size(&server, 2 * MIB + 1, true), WAWO_ENOBUFS);
    ASSERT_EQ(cast_size(&server, 2 * MIB, true), 1);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    kit_close(fd);
    party_close(&s, &server);
}

/* Now and then a small message for some who do not read, between much for one who does: what they hold is what waits for
 * them, in dense blocks, not the chunks that it came in. */
struct mostly {
    uint64_t ids[6]; /* the reader comes first */
    struct wawo_share *reader;
};

enum { SMALL = 50, MUCH = 4 * 30000 };

static void cast_mostly(struct party *p)
{
    const struct mostly *m = p->arg;
    static const uint8_t bytes[30000];
    int i;

    ASSERT_EQ(wawo_endpoint_broadcast(p->endpoint, bytes, SMALL, m->ids, STUCK + 1, false), STUCK + 1);
    for (i = 0; i < 40; i++)
        ASSERT_EQ(wawo_endpoint_broadcast(p->endpoint, bytes, MUCH / 40, m->ids, 1, false), 1);
}

static void hook_mostly(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)a;
    if (e->kind == WAWO_ON_RECEIVE)
        cast_mostly(p);
}

static void small_to_stuck(const char *backend, bool inside)
{
    enum { TURNS = 500 };
    struct stage s;
    struct party server;
    static uint8_t got[SMALL + MUCH];
    struct wawo_share *all[STUCK + 1], *reader;
    struct mostly m;
    int stuck[STUCK], fd, i;
    size_t before, n = 1;

    open_with(&s, &server, backend, 1);
    server.hook = inside ? hook_mostly : NULL;
    server.arg = &m;
    server.options.high_water = 32 * MIB;
    party_start(&server);
    connect_stuck(&server, stuck, STUCK);
    for (i = 0; i < 20; i++)
        ASSERT_EQ(cast_size(&server, MIB / 2, false), STUCK); /* more than the kernel takes */
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, STUCK + 1);
    reader = party_last(&server);
    ASSERT_EQ(wawo_endpoint_list(server.endpoint, all, STUCK + 1), STUCK + 1u);
    for (i = 0; i <= STUCK; i++) {
        m.ids[all[i] == reader ? 0 : n++] = wawo_share_id(all[i]);
        wawo_share_drop(all[i]);
    }
    before = wawo_live_chunks();
    for (i = 0; i < TURNS; i++) {
        if (inside)
            kit_write(fd, "!", 1);
        else
            cast_mostly(&server);
        ASSERT_EQ(kit_read(fd, got, sizeof got), sizeof got);
    }
    ASSERT_LE(wawo_live_chunks(), before + STUCK * (TURNS * SMALL / 4000 + 2) + 10);
    wawo_share_drop(reader);
    party_close(&s, &server);
    kit_close_all(stuck, STUCK);
    kit_close(fd);
}

TEST_EACH_BACKEND(stuck_ones_hold_what_waits, backend)
{
    small_to_stuck(backend, false);
}

TEST_EACH_BACKEND(stuck_ones_hold_what_waits_in_a_callback, backend)
{
    small_to_stuck(backend, true);
}

/* At the limit of the component they are left out, and nothing of the account is lost. */
TEST_EACH_BACKEND(max_pending_total_skips, backend)
{
    struct stage s;
    struct party server;
    struct wawo_share *last;
    static uint8_t block[MIB];
    int stuck[STUCK], i;
    ptrdiff_t n;

    open_with(&s, &server, backend, 2);
    server.options.high_water = 8 * MIB;
    server.options.low_water = MIB;
    server.options.max_pending = 8 * MIB;
    server.options.max_pending_total = 8 * MIB;
    party_start(&server);
    connect_stuck(&server, stuck, STUCK);
    party_wait(&server, WAWO_ON_ACCEPT, STUCK);
    do
        n = cast_size(&server, MIB, true);
    while (n > 0);
    ASSERT_EQ(n, 0);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u); /* it is not their fault */
    kit_close_all(stuck, STUCK);
    party_wait(&server, WAWO_ON_CLOSE, STUCK);
    stuck[0] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, STUCK + 1);
    last = party_last(&server);
    for (i = 0; i < 40; i++) { /* were bytes lost in the account, this would end at the limit */
        KIT_UNTIL(wawo_share_send(last, block, sizeof block) == 1);
        ASSERT_EQ(kit_read(stuck[0], block, sizeof block), sizeof block);
    }
    wawo_share_drop(last);
    kit_close(stuck[0]);
    party_close(&s, &server);
}

/* ---- all at once ---- */

struct storm {
    struct party *server, *agent;
    uint64_t seed, casts;
    uint32_t *stop; /* atomic */
};

static void storm_cast(void *arg)
{
    struct storm *st = arg;
    struct wawo_share *some[32];
    uint64_t ids[33];
    uint8_t bytes[6000] = {0};
    size_t n, i;
    ptrdiff_t rc;

    while (!wawo_load(st->stop)) {
        size_t size = kit_below(&st->seed, 4) == 0 ? kit_below(&st->seed, sizeof bytes) : kit_below(&st->seed, 100);

        if (kit_below(&st->seed, 3) == 0) {
            n = wawo_endpoint_list(st->server->endpoint, some, 32);
            n = n < 32 ? n : 32;
            for (i = 0; i < n; i++) {
                ids[i] = wawo_share_id(some[i]);
                wawo_share_drop(some[i]);
            }
            ids[n] = ids[0];
            rc = wawo_endpoint_broadcast(st->server->endpoint, bytes, size, ids, n + 1, true);
            ASSERT_LE(rc, (ptrdiff_t)n);
        } else {
            rc = wawo_endpoint_broadcast(st->server->endpoint, bytes, size, NULL, 0, kit_below(&st->seed, 2) != 0);
        }
        ASSERT_GE(rc, 0);
        st->casts++;
        if (kit_below(&st->seed, 50) == 0)
            (void)wawo_endpoint_disconnect(st->server->endpoint, WAWO_MSEC * 20, kit_below(&st->seed, 2) != 0);
    }
}

static void storm_connect(void *arg)
{
    struct storm *st = arg;
    struct wawo_share *share;
    int64_t until = kit_deadline();
    int i, rc;

    for (i = 0; i < 300; i++) {
        while ((rc = party_dial(st->agent, "127.0.0.1", st->server->port, 0, &share)) == WAWO_ENOBUFS)
            kit_tick(__FILE__, __LINE__, "a free connection", until);
        ASSERT_EQ(rc, 0);
        (void)wawo_share_send(share, "hello", 5);
        if (kit_below(&st->seed, 3) == 0)
            (void)wawo_share_abort(share);
        else if (kit_below(&st->seed, 2) == 0)
            (void)wawo_share_close(share);
        wawo_share_drop(share);
    }
}

static void hook_storm(struct party *p, const struct wawo_event *e, struct actor *a)
{
    if (e->kind == WAWO_ON_RECEIVE && a->messages % 3 == 1)
        ASSERT_GE(wawo_endpoint_broadcast(p->endpoint, e->ptr, e->len, NULL, 0, false), 0);
}

static void hook_end(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    if (e->kind == WAWO_ON_RECEIVE && a->messages % 40 == 39)
        (void)wawo_share_close(e->share);
}

TEST_EACH_BACKEND(storm, backend)
{
    enum { CASTERS = 2 };
    struct stage s;
    struct party server, agent;
    struct storm st[CASTERS + 1];
    struct wawo_thread t[CASTERS + 1];
    uint32_t stop = 0;
    int i;

    open_with(&s, &server, backend, 2);
    server.hook = hook_storm;
    server.options.high_water = 64 * KIB;
    server.options.low_water = KIB;
    server.options.close_timeout_ns = 100 * WAWO_MSEC;
    party_start(&server);
    party_init(&agent, &s, WAWO_AGENT);
    agent.hook = hook_end;
    agent.options.max_connections = 40;
    agent.options.close_timeout_ns = 100 * WAWO_MSEC;
    party_start(&agent);
    for (i = 0; i <= CASTERS; i++) {
        st[i] = (struct storm){&server, &agent, (uint64_t)i + 1, 0, &stop};
        kit_start(&t[i], i < CASTERS ? storm_cast : storm_connect, &st[i]);
    }
    wawo_thread_join(&t[CASTERS]);
    wawo_store(&stop, 1);
    for (i = 0; i < CASTERS; i++) {
        wawo_thread_join(&t[i]);
        ASSERT_GT(st[i].casts, 0u);
    }
    party_finish(&agent);
    party_close(&s, &server);
}

/* The n-th allocation fails: it is an answer, or somebody is left out, and nothing is lost. */
TEST_EACH_BACKEND(without_memory, backend)
{
    struct stage s;
    struct party server;
    uint64_t ids[MANY];
    struct wawo_share *all[MANY];
    static uint8_t bytes[40 * KIB];
    int fds[MANY], i;
    size_t n, size;
    ptrdiff_t rc;

    open_with(&s, &server, backend, 1);
    party_start(&server);
    party_crowd(&server, fds, MANY);
    ASSERT_EQ(wawo_endpoint_list(server.endpoint, all, MANY), MANY);
    for (i = 0; i < MANY; i++) {
        ids[i] = wawo_share_id(all[i]);
        wawo_share_drop(all[i]);
    }
    for (n = 1; n < 8; n++)
        for (size = 100; size <= sizeof bytes; size *= 20) {
            uint64_t sent = party_stats(&server).messages_out;

            wawo_alloc_fail_at(n);
            rc = wawo_endpoint_broadcast(server.endpoint, bytes, size, n % 2 ? NULL : ids, MANY, false);
            wawo_alloc_fail_at(0);
            ASSERT_TRUE(rc == WAWO_ENOMEM || rc >= MANY - 1);
            if (rc > 0)
                ASSERT_EQ(party_stats(&server).messages_out - sent, (uint64_t)rc);
        }
    party_close(&s, &server);
    kit_close_all(fds, MANY);
}

/* ---- closing many ---- */

TEST_EACH_BACKEND(disconnects_the_old_and_the_silent, backend)
{
    struct stage s;
    struct party server;
    struct wawo_share *all[20];
    int fds[20], i;
    int64_t mark;

    open_with(&s, &server, backend, 2);
    server.hook = hook_echo;
    party_start(&server);
    ASSERT_EQ(wawo_endpoint_disconnect(server.endpoint, 0, false), 0u);
    party_crowd(&server, fds, 10);
    ASSERT_EQ(wawo_endpoint_list(server.endpoint, all, 20), 10u);
    for (i = 0; i < 10; wawo_share_drop(all[i++]))
        KIT_UNTIL(wawo_share_connect_ns(all[i]) > 60 * WAWO_MSEC);
    mark = wawo_os_now_ns() - 30 * WAWO_MSEC; /* halfway between the old and the young, for clocks that lag behind */
    for (i = 0; i < 5; i++) { /* these are heard of */
        kit_write(fds[i], "x", 1);
        expect(fds[i], "x");
    }
    for (i = 10; i < 15; i++)
        fds[i] = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 15);
    ASSERT_EQ(wawo_endpoint_disconnect(server.endpoint, WAWO_SEC * 60, true), 0u);
    ASSERT_EQ(wawo_endpoint_disconnect(server.endpoint, INT64_MAX, false), 0u);
    ASSERT_EQ(wawo_endpoint_disconnect(server.endpoint, wawo_os_now_ns() - mark, true), 5u);
    for (i = 5; i < 10; i++) {
        ASSERT_EQ(kit_read_end(fds[i], NULL), 0);
        kit_close(fds[i]);
    }
    party_wait(&server, WAWO_ON_CLOSE, 5);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(wawo_endpoint_disconnect(server.endpoint, wawo_os_now_ns() - mark, false), 5u);
    ASSERT_EQ(wawo_endpoint_disconnect(server.endpoint, 0, false), 5u);
    ASSERT_EQ(wawo_endpoint_disconnect(server.endpoint, 0, false), 0u);
    for (i = 0; i < 15; i++)
        if (i < 5 || i >= 10) {
            ASSERT_EQ(kit_read_end(fds[i], NULL), 0);
            kit_close(fds[i]);
        }
    party_wait(&server, WAWO_ON_CLOSE, 15);
    party_close(&s, &server);
}
