/* F2 poller: epoll.
 *
 * Facts. Level triggered: an fd is reported for as long as the condition holds. EPOLLERR and EPOLLHUP are reported even
 * with interest 0, so an fd that nobody wants must leave the set. The kernel keys an entry by the open file, not by
 * the number: an entry outlives close() while a duplicate exists (after a fork), hence EPOLL_CTL_DEL before close.
 * An eventfd registered with EPOLLET fires once for each write and need never be read. */
#include "../base/config.h"

#include "../base/alloc.h"
#include "../base/err.h"
#include "../base/os.h"
#include "poller.h"

#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 512 };

struct wawo_poller {
    int fd;
    struct wawo_wakefd wakefd;
    struct epoll_event events[BATCH];
};

static void epoll_close_(struct wawo_poller *p)
{
    if (p->wakefd.rd >= 0)
        wawo_wakefd_close(&p->wakefd);
    if (p->fd >= 0)
        wawo_os_close(p->fd);
    wawo_free(p);
}

static int epoll_open_(struct wawo_poller **out)
{
    struct wawo_poller *p = wawo_alloc(sizeof *p);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data = {.u64 = 0}};
    int err;

    if (p == NULL)
        return WAWO_ENOMEM;
    p->wakefd.rd = -1;
    p->fd = epoll_create1(EPOLL_CLOEXEC);
    err = p->fd >= 0 ? wawo_wakefd_open(&p->wakefd) : -errno;
    if (err == 0 && epoll_ctl(p->fd, EPOLL_CTL_ADD, p->wakefd.rd, &ev) != 0)
        err = -errno;
    if (err != 0) {
        epoll_close_(p);
        return err;
    }
    *out = p;
    return 0;
}

static int epoll_set(struct wawo_poller *p, int fd, uint64_t tag, unsigned old, unsigned want)
{
    struct epoll_event ev = {.events = 0, .data = {.u64 = tag}};
    int op = old == 0 ? EPOLL_CTL_ADD : want == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

    if (want & WAWO_READABLE)
        ev.events |= EPOLLIN;
    if (want & WAWO_WRITABLE)
        ev.events |= EPOLLOUT;
    return epoll_ctl(p->fd, op, fd, &ev) == 0 ? 0 : -errno;
}

static int epoll_wait_(struct wawo_poller *p, struct wawo_fired *fired, int max, int64_t timeout_ns)
{
    int i, n, count = 0;

    n = epoll_wait(p->fd, p->events, max < BATCH ? max : BATCH, wawo_poller_ms(timeout_ns));
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    for (i = 0; i < n; i++) {
        uint32_t e = p->events[i].events;

        if (p->events[i].data.u64 == 0)
            continue; /* the wake-up */
        fired[count].tag = p->events[i].data.u64;
        fired[count].events = (e & EPOLLIN ? WAWO_READABLE : 0u) | (e & EPOLLOUT ? WAWO_WRITABLE : 0u) |
                              (e & (EPOLLERR | EPOLLHUP) ? WAWO_READABLE | WAWO_WRITABLE : 0u);
        count++;
    }
    return count;
}

static void epoll_wake(struct wawo_poller *p)
{
    wawo_wakefd_signal(&p->wakefd);
}

const struct wawo_poller_ops wawo_poller_epoll = {.name = "epoll",
                                                  .open = epoll_open_,
                                                  .close = epoll_close_,
                                                  .set = epoll_set,
                                                  .wait = epoll_wait_,
                                                  .wake = epoll_wake};
