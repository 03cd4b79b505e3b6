/* The five functions of every poller. */
#include "support/kit.h"

#include "base/alloc.h"
#include "base/err.h"
#include "io/backend.h"
#include "io/poller.h"

#include <sys/resource.h>
#include <unistd.h>

static const struct wawo_poller_ops *poller_of(const char *backend)
{
    int err;

    return wawo_backend_choose(backend, &err)->arg;
}

static struct wawo_poller *open_one(const struct wawo_poller_ops *ops)
{
    struct wawo_poller *p;

    ASSERT_EQ(ops->open(&p), 0);
    return p;
}

TEST_EACH_POLLER(readable_and_writable, backend)
{
    const struct wawo_poller_ops *ops = poller_of(backend);
    struct wawo_poller *p = open_one(ops);
    struct wawo_fired f[8];
    int fds[2];

    kit_pair(fds);
    ASSERT_EQ(ops->wait(p, f, 8, 0), 0);
    ASSERT_EQ(ops->set(p, fds[0], 77, 0, WAWO_READABLE), 0);
    ASSERT_EQ(ops->wait(p, f, 8, 0), 0);
    ASSERT_EQ(ops->set(p, fds[0], 77, WAWO_READABLE, WAWO_READABLE | WAWO_WRITABLE), 0);
    ASSERT_EQ(ops->wait(p, f, 8, -1), 1);
    ASSERT_EQ(f[0].tag, 77u);
    ASSERT_EQ(f[0].events, (unsigned)WAWO_WRITABLE);
    kit_write(fds[1], "x", 1);
    ASSERT_EQ(ops->set(p, fds[0], 77, WAWO_READABLE | WAWO_WRITABLE, WAWO_READABLE), 0);
    ASSERT_EQ(ops->wait(p, f, 8, KIT_DEADLINE_S * WAWO_SEC), 1);
    ASSERT_EQ(f[0].events, (unsigned)WAWO_READABLE);
    ASSERT_EQ(ops->wait(p, f, 8, -1), 1); /* level triggered: again */
    ASSERT_EQ(ops->set(p, fds[0], 77, WAWO_READABLE, 0), 0);
    ASSERT_EQ(ops->wait(p, f, 8, 0), 0);
    ASSERT_EQ(ops->set(p, fds[0], 78, 0, WAWO_READABLE), 0); /* again, under another tag */
    ASSERT_EQ(ops->wait(p, f, 8, -1), 1);
    ASSERT_EQ(f[0].tag, 78u);
    ASSERT_EQ(ops->set(p, fds[0], 78, WAWO_READABLE, 0), 0);
    kit_close(fds[0]);
    kit_close(fds[1]);
    ops->close(p);
}

TEST_EACH_POLLER(a_reset_reports_both, backend)
{
    const struct wawo_poller_ops *ops = poller_of(backend);
    struct wawo_poller *p = open_one(ops);
    struct wawo_fired f[8];
    int fds[2];

    kit_pair(fds);
    ASSERT_EQ(ops->set(p, fds[0], 5, 0, WAWO_READABLE), 0);
    kit_reset(fds[1]);
    ASSERT_EQ(ops->wait(p, f, 8, KIT_DEADLINE_S * WAWO_SEC), 1);
    ASSERT_EQ(f[0].events, (unsigned)(WAWO_READABLE | WAWO_WRITABLE));
    ASSERT_EQ(ops->set(p, fds[0], 5, WAWO_READABLE, 0), 0);
    ASSERT_EQ(ops->wait(p, f, 8, 0), 0); /* out of the poller: silent */
    kit_close(fds[0]);
    ops->close(p);
}

TEST_EACH_POLLER(timeout_is_not_early, backend)
{
    const struct wawo_poller_ops *ops = poller_of(backend);
    struct wawo_poller *p = open_one(ops);
    struct wawo_fired f[8];
    int64_t start = wawo_os_now_ns();

    ASSERT_EQ(ops->wait(p, f, 8, 15 * WAWO_MSEC + 1), 0);
    ASSERT_GE(wawo_os_now_ns() - start, 15 * WAWO_MSEC + 1);
    ops->close(p);
}

struct waker {
    const struct wawo_poller_ops *ops;
    struct wawo_poller *p;
};

static void wake_main(void *arg)
{
    struct waker *w = arg;

    w->ops->wake(w->p);
}

TEST_EACH_POLLER(wake, backend)
{
    const struct wawo_poller_ops *ops = poller_of(backend);
    struct waker w = {ops, open_one(ops)};
    struct wawo_fired f[8];
    struct wawo_thread t;
    int64_t start;
    int i;

    for (i = 0; i < 20; i++) {
        kit_start(&t, wake_main, &w);
        ASSERT_EQ(ops->wait(w.p, f, 8, -1), 0); /* ends the current or the next wait */
        wawo_thread_join(&t);
    }
    ops->wake(w.p);
    ops->wake(w.p);
    ASSERT_EQ(ops->wait(w.p, f, 8, -1), 0);
    start = wawo_os_now_ns();
    ASSERT_EQ(ops->wait(w.p, f, 8, 10 * WAWO_MSEC), 0); /* and no further one */
    ASSERT_GE(wawo_os_now_ns() - start, 10 * WAWO_MSEC);
    ops->close(w.p);
}

/* Nobody starves, whatever the numbers: all ready for ever, a few reported at a time. */
static void fair(const char *backend, int fds, int max)
{
    const struct wawo_poller_ops *ops = poller_of(backend);
    struct wawo_poller *p = open_one(ops);
    struct wawo_fired f[64];
    static int pipes[100][2];
    unsigned seen[100] = {0};
    int i, k, n;

    for (i = 0; i < fds; i++) {
        ASSERT_EQ(pipe(pipes[i]), 0);
        ASSERT_EQ(write(pipes[i][1], "x", 1), 1);
        ASSERT_EQ(ops->set(p, pipes[i][0], (uint64_t)i + 1, 0, WAWO_READABLE), 0);
    }
    for (k = 0; k < 4 * fds; k++) {
        n = ops->wait(p, f, max, -1);
        ASSERT_EQ(n, fds < max ? fds : max);
        for (i = 0; i < n; i++)
            seen[f[i].tag - 1]++;
    }
    for (i = 0; i < fds; i++)
        if (seen[i] < (unsigned)(fds < max ? fds : max))
            FAIL("%d of %d at a time: descriptor %d was reported %u times in %d waits", max, fds, i, seen[i], k);
    for (i = 0; i < fds; i++) {
        ASSERT_EQ(ops->set(p, pipes[i][0], (uint64_t)i + 1, WAWO_READABLE, 0), 0);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    ops->close(p);
}

TEST_EACH_POLLER(fair_to_all, backend)
{
    static const int sizes[] = {1, 2, 3, 5, 8, 9, 10, 16, 17, 18, 34, 50, 99};
    size_t i;
    int max;

    for (i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (max = 1; max <= 16; max++)
            fair(backend, sizes[i], max);
}

/* Entries come and go in any order, and each keeps its own tag. */
TEST_EACH_POLLER(random_sets, backend)
{
    enum { FDS = 60 };
    const struct wawo_poller_ops *ops = poller_of(backend);
    struct wawo_poller *p = open_one(ops);
    struct wawo_fired f[64];
    int pipes[FDS][2], i, k, n;
    uint64_t tag[FDS] = {0}, seed = 8;
    unsigned want[FDS] = {0}, wanted;

    for (i = 0; i < FDS; i++) {
        ASSERT_EQ(pipe(pipes[i]), 0);
        if (i % 2)
            ASSERT_EQ(write(pipes[i][1], "x", 1), 1);
    }
    for (k = 0; k < 3000; k++) {
        i = (int)kit_below(&seed, FDS);
        wanted = kit_below(&seed, 2) * WAWO_READABLE;
        if (wanted != want[i]) {
            tag[i] = want[i] == 0 ? (uint64_t)k * FDS + (unsigned)i + 1 : tag[i];
            ASSERT_EQ(ops->set(p, pipes[i][0], tag[i], want[i], wanted), 0);
            want[i] = wanted;
        }
        wanted = 0;
        for (i = 0; i < FDS; i++)
            wanted += want[i] != 0 && i % 2;
        n = ops->wait(p, f, 64, 0);
        ASSERT_EQ(n, wanted);
        for (; n-- > 0;) {
            i = (int)((f[n].tag - 1) % FDS);
            ASSERT_EQ(f[n].tag, tag[i]);
            ASSERT_NE(want[i], 0u);
        }
    }
    for (i = 0; i < FDS; i++) {
        if (want[i] != 0)
            ASSERT_EQ(ops->set(p, pipes[i][0], tag[i], want[i], 0), 0);
        close(pipes[i][0]);
        close(pipes[i][1]);
    }
    ops->close(p);
}

TEST_EACH_POLLER(no_memory, backend)
{
    const struct wawo_poller_ops *ops = poller_of(backend);
    struct wawo_poller *p;
    unsigned before = kit_open_fds();
    size_t n;
    int err = -1;

    for (n = 1; err != 0; n++) {
        wawo_alloc_fail_at(n);
        err = ops->open(&p);
        wawo_alloc_fail_at(0);
        ASSERT_TRUE(err == 0 || err == WAWO_ENOMEM);
        ASSERT_LT(n, 20u);
    }
    ops->close(p);
    ASSERT_EQ(kit_open_fds(), before);
}

TEST_EACH_POLLER(no_descriptors, backend)
{
    const struct wawo_poller_ops *ops = poller_of(backend);
    struct wawo_poller *p;
    struct rlimit old, few;
    int spare = dup(0), left, err = -1;

    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    for (left = 0; err != 0; left++) {
        few.rlim_cur = (rlim_t)spare + (rlim_t)left;
        ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
        err = ops->open(&p);
        ASSERT_TRUE(err == 0 || err == -EMFILE);
        ASSERT_LT(left, 10);
    }
    ops->close(p);
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
    close(spare);
}
