/* The fake kernel's pollers: epoll, poll and the event that wakes them. What is ready may be told late, in any order,
 * and again when it is not so any more. */
#include "kernel.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

enum { SPURIOUS = 30, LATE = 300 };

static int64_t deadline(int timeout_ms)
{
    return timeout_ms < 0 ? -1 : sim_now + (int64_t)timeout_ms * WAWO_MSEC;
}

/* ---- the wake-up ---- */

WRAP(int, eventfd, unsigned value, int flags)
{
    int fd = kernel_open(FD_EVENT, 0, 0, true);

    (void)flags;
    if (fd >= 0)
        kernel_fd(fd, FD_EVENT, "eventfd")->value = value;
    return fd;
}

WRAP(ssize_t, write, int fd, const void *bytes, size_t len)
{
    static const int errors[] = {EINTR, 0};
    struct descriptor *d = kernel_fd(fd, FD_EVENT, "write");

    SIM_CHECK(len == sizeof(uint64_t) && *(const uint64_t *)bytes == 1);
    if (kernel_fault(errors))
        return -1;
    d->value++;
    d->edge = true;
    sim_log("wake", fd, 0, 0);
    return sizeof(uint64_t);
}

WRAP(ssize_t, read, int fd, void *bytes, size_t len)
{
    static const int errors[] = {EINTR, 0};
    struct descriptor *d = kernel_fd(fd, FD_FREE, "read");

    if (kernel_fault(errors))
        return -1;
    if (d->kind == FD_SYSCTL) {
        *(char *)bytes = (char)('0' + d->value);
        return 1;
    }
    SIM_CHECK(d->kind == FD_EVENT && len >= sizeof(uint64_t));
    if (d->value == 0) {
        errno = EAGAIN;
        return -1;
    }
    memcpy(bytes, &d->value, sizeof d->value);
    d->value = 0;
    return sizeof(uint64_t);
}

/* ---- epoll ---- */

WRAP(int, epoll_create1, int flags)
{
    (void)flags;
    return kernel_open(FD_EPOLL, 0, 0, true);
}

WRAP(int, epoll_ctl, int ep, int op, int fd, struct epoll_event *e)
{
    static const int errors[] = {ENOMEM, ENOSPC, 0};
    struct descriptor *d = kernel_fd(fd, FD_FREE, "epoll_ctl");

    (void)kernel_fd(ep, FD_EPOLL, "epoll_ctl");
    sim_log("epoll_ctl", fd, op, e->events);
    if (d->poller >= 0 ? op == EPOLL_CTL_ADD || d->poller != ep : op != EPOLL_CTL_ADD)
        SIM_FAIL("epoll_ctl: operation %d on descriptor %d, which is in %d", op, fd, d->poller);
    if (op == EPOLL_CTL_ADD && d->kind != FD_EVENT && sim_chance(50) && kernel_fault(errors))
        return -1;
    d->poller = op == EPOLL_CTL_DEL ? -1 : ep;
    d->events = e->events;
    d->data = e->data.u64;
    return 0;
}

static uint32_t epoll_bits(struct descriptor *d)
{
    unsigned bits = kernel_ready(d);

    if (d->events & EPOLLET)
        return d->edge ? EPOLLIN : 0;
    return (((bits & POLLIN ? EPOLLIN : 0u) | (bits & POLLOUT ? EPOLLOUT : 0u)) & d->events) |
           (bits & POLLERR ? EPOLLERR : 0u) | (bits & POLLHUP ? EPOLLHUP : 0u);
}

static bool epoll_ready(void *arg)
{
    int ep = *(int *)arg, fd;

    for (fd = FD_FIRST; fd < kernel_fd_end(); fd++)
        if (kernel_in(fd, ep) && epoll_bits(kernel_fd(fd, FD_FREE, "epoll")) != 0)
            return true;
    return false;
}

/* Not of one that is connecting: no kernel tells that too early. */
bool kernel_may_be_spurious(const struct descriptor *d)
{
    return (d->kind == FD_LISTENER || (d->kind == FD_STREAM && pipes[d->object].state == LINK_UP)) &&
           sim_chance(SPURIOUS);
}

bool kernel_is_late(void)
{
    return sim_chance(LATE);
}

WRAP(int, epoll_wait, int ep, struct epoll_event *events, int max, int timeout_ms)
{
    static const int errors[] = {EINTR, 0};
    int fd, n = 0, i, count = kernel_fd_end() - FD_FIRST, start = (int)sim_below((uint32_t)count);
    struct descriptor *d;
    uint32_t bits;

    if (timeout_ms == 0)
        fiber_yield();
    else
        (void)fiber_block(epoll_ready, &ep, deadline(timeout_ms));
    (void)kernel_fd(ep, FD_EPOLL, "epoll_wait");
    if (kernel_fault(errors))
        return -1;
    for (i = 0; i < count && n < max; i++) {
        fd = FD_FIRST + (start + i) % count;
        if (!kernel_in(fd, ep))
            continue;
        d = kernel_fd(fd, FD_FREE, "epoll_wait");
        bits = epoll_bits(d);
        if (sim_faults > 0 && bits == 0 && kernel_may_be_spurious(d))
            bits = d->events & (EPOLLIN | EPOLLOUT);
        else if (sim_faults > 0 && bits != 0 && kernel_is_late())
            bits = 0;
        if (bits == 0)
            continue;
        d->edge = false;
        events[n].events = bits;
        events[n++].data.u64 = d->data;
    }
    sim_log("epoll_wait", ep, timeout_ms, n);
    return n;
}

/* ---- poll ---- */

struct poll_set {
    struct pollfd *fds;
    nfds_t count;
};

static short poll_bits(const struct pollfd *f)
{
    unsigned bits = kernel_ready(kernel_fd(f->fd, FD_FREE, "poll"));

    return (short)(bits & ((unsigned)f->events | POLLERR | POLLHUP));
}

static bool poll_ready(void *arg)
{
    const struct poll_set *s = arg;
    nfds_t i;

    for (i = 0; i < s->count; i++)
        if (poll_bits(&s->fds[i]) != 0)
            return true;
    return false;
}

WRAP(int, poll, struct pollfd *fds, nfds_t count, int timeout_ms)
{
    static const int errors[] = {EINTR, 0};
    struct poll_set set = {fds, count};
    nfds_t i;
    int n = 0;

    if (timeout_ms == 0)
        fiber_yield();
    else
        (void)fiber_block(poll_ready, &set, deadline(timeout_ms));
    if (kernel_fault(errors))
        return -1;
    for (i = 0; i < count; i++) {
        fds[i].revents = poll_bits(&fds[i]);
        if (fds[i].events == POLLRDHUP) /* an end has come, or has not */
            ;
        else if (sim_faults > 0 && fds[i].revents == 0 && kernel_may_be_spurious(kernel_fd(fds[i].fd, FD_FREE, "poll")))
            fds[i].revents = fds[i].events;
        else if (sim_faults > 0 && kernel_is_late())
            fds[i].revents = 0;
        n += fds[i].revents != 0;
    }
    sim_log("poll", (int64_t)count, timeout_ms, n);
    return n;
}
