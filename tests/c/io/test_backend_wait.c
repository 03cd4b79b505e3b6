/* The conformance suite of the completion table, second part: wait, wake, many socks, no memory. */
#include "support/expected.h"
#include "support/rig.h"

#include "base/alloc.h"
#include "base/err.h"

enum { MIB = 1024 * 1024 };

TEST_EACH_BACKEND(wait_lasts_its_time, backend)
{
    struct rig *r = rig_open(backend, MIB);
    int64_t start = r->ops->clock(r->backend);

    rig_turn(r, 30 * WAWO_MSEC);
    ASSERT_GE(r->ops->clock(r->backend) - start, 30 * WAWO_MSEC);
    ASSERT_EQ(r->count, 0u);
    rig_close(r);
}

static void wake_main(void *arg)
{
    struct rig *r = arg;

    r->ops->wake(r->backend);
}

TEST_EACH_BACKEND(wake_from_another_thread, backend)
{
    struct rig *r = rig_open(backend, MIB);
    struct wawo_thread t;
    int i;

    for (i = 0; i < 50; i++) {
        kit_start(&t, wake_main, r);
        rig_turn(r, -1);
        wawo_thread_join(&t);
    }
    r->ops->wake(r->backend); /* before the wait: not lost */
    rig_turn(r, -1);
    rig_close(r);
}

/* Thousands of socks, all talking: everyone is served, every byte comes, to the right one. */
TEST_EACH_BACKEND(thousands_of_socks, backend)
{
    enum { MANY = 2500, ROUNDS = 3 };
    static struct wawo_sock s[MANY];
    static int fds[MANY];
    struct rig *r;
    int i, round, pair[2];

    if (!os_allow_fds(2 * MANY + 100))
        SKIP("too few descriptors here");
    r = rig_open(backend, 32 * MIB);
    for (i = 0; i < MANY; i++) {
        kit_pair(pair);
        fds[i] = pair[1];
        rig_attach(r, &s[i], pair[0]);
        r->ops->recv_start(r->backend, &s[i]);
    }
    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < MANY; i++)
            kit_write_pattern(fds[i], (uint64_t)i * 7 + (uint64_t)round * 100, 100);
        for (i = MANY; i-- > 0;) /* the last ones first: nobody waits for the others */
            rig_receive(r, &s[i], (uint64_t)i * 7 + (uint64_t)round * 100, 100);
    }
    for (i = 0; i < MANY; i++)
        r->ops->detach(r->backend, &s[i], false);
    for (i = 0; i < MANY; i++) {
        while (!rig_has(r, &s[i]))
            rig_turn(r, WAWO_SEC);
        ASSERT_EQ(rig_next(r, &s[i], WAWO_DONE_DETACHED).error, 0);
        wawo_table_close(&r->table, s[i].id);
        kit_close(fds[i]);
    }
    rig_close(r);
}

/* One loud sock among quiet ones does not starve them. */
TEST_EACH_BACKEND(a_loud_one_leaves_room, backend)
{
    struct rig *r = rig_open(backend, 32 * MIB);
    struct wawo_sock loud, quiet;
    struct wawo_done d;
    int pair[2], loud_fd, quiet_fd, turns = 0;
    bool heard = false;

    kit_pair(pair);
    loud_fd = pair[1];
    rig_attach(r, &loud, pair[0]);
    kit_pair(pair);
    quiet_fd = pair[1];
    rig_attach(r, &quiet, pair[0]);
    r->ops->recv_start(r->backend, &loud);
    r->ops->recv_start(r->backend, &quiet);
    kit_write_pattern(loud_fd, 0, MIB);
    kit_write(quiet_fd, "x", 1);
    for (; !heard; turns++) {
        ASSERT_LT(turns, 20);
        rig_turn(r, WAWO_SEC);
        while (r->count > 0) {
            d = r->pending[--r->count];
            heard |= d.id == quiet.id;
            wawo_chunk_drop(d.chunk);
        }
    }
    rig_detach(r, &loud, false);
    rig_detach(r, &quiet, false);
    kit_close(loud_fd);
    kit_close(quiet_fd);
    rig_close(r);
}

/* An id that was closed while its event was on the way finds nobody, and its slot's next owner hears nothing of it. */
TEST_EACH_BACKEND(a_reused_descriptor_hears_nothing_of_the_old, backend)
{
    struct rig *r = rig_open(backend, MIB);
    struct wawo_sock s, fresh;
    int pair[2], fd, i;

    for (i = 0; i < 50; i++) {
        kit_pair(pair);
        rig_attach(r, &s, pair[0]);
        fd = pair[1];
        r->ops->recv_start(r->backend, &s);
        rig_turn(r, 0);
        kit_write(fd, "old", 3);
        rig_detach(r, &s, false);
        kit_close(fd);
        kit_pair(pair); /* the same numbers again */
        rig_attach(r, &fresh, pair[0]);
        r->ops->recv_start(r->backend, &fresh);
        rig_quiet(r, &fresh);
        rig_detach(r, &fresh, false);
        kit_close(pair[1]);
    }
    rig_close(r);
}

TEST_EACH_BACKEND(open_without_memory, backend)
{
    struct wawo_table table;
    struct wawo_heap heap;
    struct wawo_backend_env env = {&table, &heap, NULL};
    const struct wawo_backend_ops *ops;
    struct wawo_backend *b;
    unsigned before = kit_open_fds();
    size_t n;
    int err = -1;

    ops = wawo_backend_choose(backend, &err);
    ASSERT_NOT_NULL((const void *)ops);
    for (n = 1, err = -1; err != 0; n++) {
        wawo_alloc_fail_at(n);
        err = ops->open(ops, &env, &b);
        wawo_alloc_fail_at(0);
        ASSERT_TRUE(err == 0 || err == WAWO_ENOMEM);
        ASSERT_LT(n, 20u);
    }
    ops->close(b);
    ASSERT_EQ(kit_open_fds(), before);
}

/* Random orders on a few socks: whatever is asked for, bytes come in order and DETACHED comes last. */
struct wild {
    struct wawo_sock sock;
    int fd;
    uint64_t in, out, sent, read, written; /* pattern offsets */
    bool receiving;
};

static void wild_open(struct rig *r, struct wild *w)
{
    int pair[2];

    kit_pair(pair);
    memset(w, 0, sizeof *w);
    w->fd = pair[1];
    rig_attach(r, &w->sock, pair[0]);
}

static void wild_take(struct rig *r, struct wild *w)
{
    struct wawo_done d;

    while (rig_has(r, &w->sock)) {
        unsigned i;

        for (i = 0; r->pending[i].id != w->sock.id; i++)
            continue;
        d = rig_next(r, &w->sock, (enum wawo_done_kind)r->pending[i].kind);
        ASSERT_EQ(d.error, 0);
        if (d.kind == WAWO_DONE_SENT) {
            w->sent += d.len;
        } else {
            ASSERT_EQ(d.kind, WAWO_DONE_RECV);
            KIT_CHECK(d.ptr, d.len, w->in);
            w->in += d.len;
            wawo_chunk_drop(d.chunk);
        }
    }
}

static void wild_step(struct rig *r, struct wild *w, uint64_t *seed)
{
    size_t n;

    switch (kit_below(seed, 8)) {
    case 0:
        r->ops->recv_start(r->backend, &w->sock);
        w->receiving = true;
        break;
    case 1:
        r->ops->recv_stop(r->backend, &w->sock);
        w->receiving = false;
        break;
    case 2:
        n = kit_below(seed, 20000);
        if (w->written + n - w->in < 100000) { /* what the kernel surely takes */
            kit_write_pattern(w->fd, w->written, n);
            w->written += n;
        }
        break;
    case 3:
    case 4:
        n = kit_below(seed, 60000);
        if (w->sock.out.bytes < 2 * MIB) {
            rig_queue(r, &w->sock, w->out, n);
            w->out += n;
        }
        w->sent += (uint64_t)r->ops->send(r->backend, &w->sock);
        break;
    case 5:
        n = wawo_min_size((size_t)(w->sent - w->read), kit_below(seed, 200000));
        kit_read_pattern(w->fd, w->read, n);
        w->read += n;
        break;
    case 6:
        if (kit_below(seed, 20) == 0) {
            rig_detach(r, &w->sock, kit_below(seed, 2) != 0);
            kit_close(w->fd);
            wild_open(r, w);
        }
        break;
    default:
        rig_turn(r, 0);
    }
}

TEST_EACH_BACKEND(random_orders, backend)
{
    enum { WILD = 8 };
    static const uint64_t seeds[] = {1, 2, 3};
    size_t round;
    int i, k;

    for (round = 0; round < sizeof seeds / sizeof *seeds; round++) {
        struct rig *r = rig_open(backend, 64 * MIB);
        static struct wild w[WILD];
        uint64_t seed = seeds[round];

        for (i = 0; i < WILD; i++)
            wild_open(r, &w[i]);
        for (k = 0; k < 6000; k++) {
            i = (int)kit_below(&seed, WILD);
            wild_step(r, &w[i], &seed);
            wild_take(r, &w[i]);
            ASSERT_EQ(w[i].sent + w[i].sock.out.bytes, w[i].out);
        }
        for (i = 0; i < WILD; i++) { /* in the end everything arrives */
            r->ops->recv_start(r->backend, &w[i].sock);
            while (w[i].in < w[i].written || w[i].read < w[i].out) {
                rig_turn(r, 0);
                wild_take(r, &w[i]);
                kit_read_pattern(w[i].fd, w[i].read, (size_t)(w[i].sent - w[i].read));
                w[i].read = w[i].sent;
            }
        }
        for (i = 0; i < WILD; i++) {
            rig_detach(r, &w[i].sock, false);
            kit_close(w[i].fd);
        }
        rig_close(r);
    }
}

/* What is missing from the table would be missed by no other test. */
TEST(every_backend_of_this_system_is_there)
{
    const struct wawo_backend_ops *const *b;
    int i;

    for (i = 0; expected_backends[i] != NULL; i++) {
        for (b = wawo_backends; *b != NULL && strcmp((*b)->name, expected_backends[i]) != 0; b++)
            ;
        if (*b == NULL)
            FAIL("%s is not in the table", expected_backends[i]);
    }
}
