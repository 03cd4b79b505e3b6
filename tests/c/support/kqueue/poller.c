/* What only the poller of kqueue does: how it speaks to the kernel, and what it makes of a refusal. The rest is in
 * tests/c/io/test_poller.c and the conformance suite. */
#include "support/rig.h"

#include "base/err.h"
#include "io/poller.h"

#include <errno.h>
#include <sys/event.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MANY = 700 };

static const struct wawo_poller_ops *const ops = &wawo_poller_kqueue;

static struct wawo_poller *open_one(void)
{
    struct wawo_poller *p;

    ASSERT_EQ(ops->open(&p), 0);
    return p;
}

/* The calls and the changes since the last time. */
static void said(unsigned long calls, unsigned long changes)
{
    static unsigned long last_calls, last_changes;

    if (calls != ULONG_MAX) {
        ASSERT_EQ(lookalike_calls - last_calls, calls);
        ASSERT_EQ(lookalike_changes - last_changes, changes);
    }
    last_calls = lookalike_calls;
    last_changes = lookalike_changes;
}

/* Descriptors that are readable and writable. */
static void open_many(int *fds, int n)
{
    struct rlimit few;
    int i;

    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &few), 0);
    few.rlim_cur = few.rlim_max < 4096 ? few.rlim_max : 4096;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    for (i = 0; i < n; i++) {
        fds[i] = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
        ASSERT_GE(fds[i], 0);
    }
}

TEST(one_call_for_changes_and_wait)
{
    struct wawo_poller *p = open_one();
    struct wawo_fired f[64];
    int fds[20], i;

    open_many(fds, 20);
    said(ULONG_MAX, 0);
    for (i = 0; i < 20; i++)
        ASSERT_EQ(ops->set(p, fds[i], (uint64_t)i + 1, 0, WAWO_READABLE | WAWO_WRITABLE), 0);
    said(0, 0);
    ASSERT_EQ(ops->wait(p, f, 64, -1), 40); /* twice each */
    said(1, 40);
    ASSERT_EQ(ops->set(p, fds[0], 1, WAWO_READABLE | WAWO_WRITABLE, WAWO_READABLE), 0);
    ASSERT_EQ(ops->set(p, fds[1], 2, WAWO_READABLE | WAWO_WRITABLE, WAWO_WRITABLE), 0);
    ASSERT_EQ(ops->set(p, fds[1], 2, WAWO_WRITABLE, WAWO_READABLE | WAWO_WRITABLE), 0); /* and back */
    ASSERT_EQ(ops->wait(p, f, 64, -1), 39);
    said(1, 2);
    ASSERT_EQ(ops->wait(p, f, 64, -1), 39);
    said(1, 0);
    for (i = 0; i < 20; i++) { /* a close says enough */
        ASSERT_EQ(ops->set(p, fds[i], (uint64_t)i + 1, i == 0 ? 1 : 3, 0), 0);
        ops->forget(p, fds[i]);
        kit_close(fds[i]);
    }
    ASSERT_EQ(ops->wait(p, f, 64, 0), 0);
    said(1, 0);
    ops->close(p);
}

TEST(a_number_has_another_life)
{
    struct wawo_poller *p = open_one();
    struct wawo_fired f[8];
    int fds[2], quiet[2];

    open_many(fds, 1);
    kit_pair(quiet);
    ASSERT_EQ(ops->set(p, fds[0], 1, 0, WAWO_READABLE), 0); /* noted, not said yet */
    ASSERT_EQ(ops->set(p, fds[0], 1, WAWO_READABLE, 0), 0);
    ops->forget(p, fds[0]);
    ASSERT_EQ(dup2(quiet[0], fds[0]), fds[0]);
    said(ULONG_MAX, 0);
    ASSERT_EQ(ops->wait(p, f, 8, 0), 0);
    said(1, 0);
    ASSERT_EQ(ops->set(p, fds[0], 2, 0, WAWO_WRITABLE), 0);
    ASSERT_EQ(ops->wait(p, f, 8, -1), 1);
    said(1, 1);
    ASSERT_EQ(f[0].tag, 2u);
    ASSERT_EQ(f[0].events, (unsigned)WAWO_WRITABLE);
    ops->close(p);
    kit_close(fds[0]);
    kit_close(quiet[0]);
    kit_close(quiet[1]);
}

TEST(more_changes_than_one_call_takes)
{
    struct wawo_poller *p = open_one();
    static struct wawo_fired f[4 * MANY];
    static unsigned seen[MANY];
    int fds[MANY], i, n, k;

    open_many(fds, MANY);
    for (i = 0; i < MANY; i++)
        ASSERT_EQ(ops->set(p, fds[i], (uint64_t)i + 1, 0, WAWO_READABLE), 0);
    for (k = 0; k < 4; k++) {
        n = ops->wait(p, f, 4 * MANY, -1);
        ASSERT_GT(n, 0);
        for (i = 0; i < n; i++) {
            ASSERT_EQ(f[i].events, (unsigned)WAWO_READABLE);
            seen[f[i].tag - 1]++;
        }
    }
    for (i = 0; i < MANY; i++)
        ASSERT_GE(seen[i], 1u);
    for (i = 0; i < MANY; i++)
        ASSERT_EQ(ops->set(p, fds[i], (uint64_t)i + 1, WAWO_READABLE, 0), 0);
    for (k = 0; k < 4; k++)
        ASSERT_EQ(ops->wait(p, f, 1, 0), 0); /* one place only: all of them are said before */
    for (i = 0; i < MANY; i++)
        kit_close(fds[i]);
    ops->close(p);
}

TEST(a_refusal_comes_once_to_each)
{
    static const int rooms[] = {1, 2, 3, 64, 512, 2000};
    static struct wawo_fired f[2000];
    static unsigned seen[MANY];
    struct wawo_poller *p = open_one();
    int fds[MANY], i, n;
    size_t k;

    open_many(fds, MANY);
    for (k = 0; k < sizeof rooms / sizeof *rooms; k++) {
        memset(seen, 0, sizeof seen);
        lookalike_refuse(EVFILT_READ, ENOMEM);
        for (i = 0; i < MANY; i++)
            ASSERT_EQ(ops->set(p, fds[i], (uint64_t)i + 1, 0, WAWO_READABLE | WAWO_WRITABLE), 0);
        while ((n = ops->wait(p, f, rooms[k], 0)) > 0 && f[0].events == WAWO_REFUSED)
            for (i = 0; i < n; i++)
                if (f[i].events == WAWO_REFUSED) {
                    ASSERT_EQ(f[i].error, -ENOMEM);
                    seen[f[i].tag - 1]++;
                }
        for (i = 0; i < MANY; i++)
            ASSERT_EQ(seen[i], 1u);
        lookalike_refuse(EVFILT_READ, 0);
        for (i = 0; i < MANY; i++)
            ASSERT_EQ(ops->set(p, fds[i], (uint64_t)i + 1, WAWO_READABLE | WAWO_WRITABLE, 0), 0);
        for (i = 0; i < 3 * MANY; i++)
            ASSERT_EQ(ops->wait(p, f, rooms[k], 0), 0); /* what was kept of it is gone too */
    }
    ASSERT_EQ(ops->set(p, fds[0], 9, 0, WAWO_READABLE), 0);
    ASSERT_EQ(ops->wait(p, f, 8, -1), 1);
    ASSERT_EQ(f[0].events, (unsigned)WAWO_READABLE);
    for (i = 0; i < MANY; i++)
        kit_close(fds[i]);
    ops->close(p);
}

TEST(a_pipe_that_nobody_reads_is_writable)
{
    struct wawo_poller *p = open_one();
    struct wawo_fired f[8];
    int fds[1];

    open_many(fds, 1);
    lookalike_refuse(EVFILT_WRITE, EPIPE);
    ASSERT_EQ(ops->set(p, fds[0], 1, 0, WAWO_WRITABLE), 0);
    ASSERT_EQ(ops->wait(p, f, 8, -1), 1);
    ASSERT_EQ(f[0].events, (unsigned)(WAWO_READABLE | WAWO_WRITABLE));
    kit_close(fds[0]);
    ops->close(p);
}

static void wake_main(void *p)
{
    ops->wake(p);
}

TEST(wakes_through_a_pipe_where_there_is_nothing_better)
{
    unsigned before = kit_open_fds();
    struct wawo_poller *p;
    struct wawo_fired f[8];
    struct wawo_thread t;
    int i;

    lookalike_refuse(EVFILT_USER, EINVAL);
    p = open_one();
    for (i = 0; i < 20; i++) {
        kit_start(&t, wake_main, p);
        ASSERT_EQ(ops->wait(p, f, 8, -1), 0);
        wawo_thread_join(&t);
    }
    for (i = 0; i < 100000; i++) /* more than a pipe holds */
        ops->wake(p);
    ASSERT_EQ(ops->wait(p, f, 8, -1), 0);
    said(ULONG_MAX, 0);
    ASSERT_EQ(ops->wait(p, f, 8, WAWO_MSEC), 0);
    said(1, 0);
    ops->close(p);
    ASSERT_EQ(kit_open_fds(), before);
}

/* A child has no queue: its number may be that of something else by now. */
TEST(a_child_closes_no_stranger)
{
    struct wawo_poller *p = open_one();
    struct rlimit few;
    pid_t child;
    int fd, status;

    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &few), 0);
    child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        for (fd = 0; fd < 50; fd++)
            (void)dup(1); /* takes all numbers that are free */
        fd = (int)kit_open_fds();
        ops->close(p);
        _exit((int)kit_open_fds() == fd ? 0 : 1);
    }
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    ops->close(p);
}

/* A connection whose entry the system refuses ends with that error; a listener tries again. */
TEST(a_refusal_ends_the_order)
{
    struct rig *r = rig_open("kqueue", 1024 * 1024);
    struct wawo_sock s, l;
    struct wawo_done d;
    uint16_t port;
    int fds[2], fd;

    kit_pair(fds);
    rig_attach(r, &s, fds[0]);
    rig_attach(r, &l, kit_listen(&port));
    fd = kit_connect(port);
    lookalike_refuse(EVFILT_READ, ENOMEM);
    r->ops->recv_start(r->backend, &s);
    r->ops->accept_start(r->backend, &l);
    d = rig_next(r, &s, WAWO_DONE_RECV);
    ASSERT_EQ(d.error, -ENOMEM);
    ASSERT_EQ(rig_next(r, &l, WAWO_DONE_RECV).error, -ENOMEM);
    rig_quiet(r, &s);
    rig_quiet(r, &l);
    lookalike_refuse(EVFILT_READ, 0);
    r->ops->accept_start(r->backend, &l);
    kit_close(rig_next(r, &l, WAWO_DONE_ACCEPTED).fd);
    rig_detach(r, &s, false);
    rig_detach(r, &l, false);
    kit_close(fd);
    kit_close(fds[1]);
    rig_close(r);
}

/* No wait comes in between, which would tell the poller that nobody wants it any more. */
TEST(what_was_refused_may_be_ordered_again_at_once)
{
    struct rig *r = rig_open("kqueue", 1024 * 1024);
    struct wawo_sock l;
    uint16_t port;
    int fd;

    rig_attach(r, &l, kit_listen(&port));
    fd = kit_connect(port);
    lookalike_refuse(EVFILT_READ, ENOMEM);
    r->ops->accept_start(r->backend, &l);
    ASSERT_EQ(rig_next(r, &l, WAWO_DONE_RECV).error, -ENOMEM);
    lookalike_refuse(EVFILT_READ, 0);
    r->ops->accept_start(r->backend, &l);
    kit_close(rig_next(r, &l, WAWO_DONE_ACCEPTED).fd);
    rig_detach(r, &l, false);
    kit_close(fd);
    rig_close(r);
}
