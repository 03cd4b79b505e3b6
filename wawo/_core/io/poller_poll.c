/* F2 poller: poll(2), for systems without anything better and as a second opinion in the tests.
 *
 * Facts. Cost grows with the number of fds. POLLERR, POLLHUP and POLLNVAL are reported without being asked for, so an
 * unwanted fd must leave the array. Entry 0 is the wake-up, which must be read. */
#include "../base/config.h"

#include "../base/alloc.h"
#include "../base/err.h"
#include "../base/os.h"
#include "poller.h"

#include <poll.h>

struct wawo_poller {
    struct wawo_wakefd wakefd;
    struct pollfd *fds;
    uint64_t *tags; /* beside fds */
    int *index;     /* by fd: its place in fds, 0 = none */
    int count, room, index_room;
    int next; /* where the next report starts, so that the last entries are not starved */
};

static void poll_close(struct wawo_poller *p)
{
    if (p->wakefd.rd >= 0)
        wawo_wakefd_close(&p->wakefd);
    wawo_free(p->fds);
    wawo_free(p->tags);
    wawo_free(p->index);
    wawo_free(p);
}

static int grow(struct wawo_poller *p, int fd)
{
    int room = p->room, irs = p->index_room;
    void *m;

    if (p->count == room) {
        room = room == 0 ? 64 : room * 2;
        if ((m = wawo_realloc(p->fds, (size_t)room * sizeof *p->fds)) == NULL)
            return WAWO_ENOMEM;
        p->fds = m;
        if ((m = wawo_realloc(p->tags, (size_t)room * sizeof *p->tags)) == NULL)
            return WAWO_ENOMEM;
        p->tags = m;
        p->room = room;
    }
    if (fd >= irs) {
        while (fd >= irs)
            irs = irs == 0 ? 64 : irs * 2;
        if ((m = wawo_realloc(p->index, (size_t)irs * sizeof *p->index)) == NULL)
            return WAWO_ENOMEM;
        p->index = m;
        memset(p->index + p->index_room, 0, (size_t)(irs - p->index_room) * sizeof *p->index);
        p->index_room = irs;
    }
    return 0;
}

static int poll_open(struct wawo_poller **out)
{
    struct wawo_poller *p = wawo_alloc_zero(sizeof *p);
    int err;

    if (p == NULL)
        return WAWO_ENOMEM;
    p->wakefd.rd = -1;
    err = grow(p, 0);
    if (err == 0)
        err = wawo_wakefd_open(&p->wakefd);
    if (err != 0) {
        poll_close(p);
        return err;
    }
    p->fds[0] = (struct pollfd){.fd = p->wakefd.rd, .events = POLLIN};
    p->tags[0] = 0;
    p->count = 1;
    *out = p;
    return 0;
}

static int poll_set(struct wawo_poller *p, int fd, uint64_t tag, unsigned old, unsigned want)
{
    int i, err;

    if (old == 0) {
        err = grow(p, fd);
        if (err != 0)
            return err;
        i = p->count++;
        p->index[fd] = i;
    } else {
        i = p->index[fd];
    }
    if (want == 0) { /* the last one takes its place */
        p->index[fd] = 0;
        p->count--;
        if (i != p->count) {
            p->fds[i] = p->fds[p->count];
            p->tags[i] = p->tags[p->count];
            p->index[p->fds[i].fd] = i;
        }
        return 0;
    }
    p->fds[i] = (struct pollfd){
        .fd = fd, .events = (short)((want & WAWO_READABLE ? POLLIN : 0) | (want & WAWO_WRITABLE ? POLLOUT : 0))};
    p->tags[i] = tag;
    return 0;
}

static int poll_wait(struct wawo_poller *p, struct wawo_fired *fired, int max, int64_t timeout_ns)
{
    int i, k, left, n = 0;

    left = poll(p->fds, (nfds_t)p->count, wawo_poller_ms(timeout_ns));
    if (left < 0)
        return errno == EINTR ? 0 : -errno;
    if (left > 0 && p->fds[0].revents != 0) {
        wawo_wakefd_drain(&p->wakefd);
        left--;
    }
    for (k = 1; k < p->count && left > 0 && n < max; k++) {
        i = 1 + (p->next + k) % (p->count - 1);
        short e = p->fds[i].revents;

        if (e == 0)
            continue;
        left--;
        fired[n].tag = p->tags[i];
        fired[n].events = (e & POLLIN ? WAWO_READABLE : 0u) | (e & POLLOUT ? WAWO_WRITABLE : 0u) |
                          (e & (POLLERR | POLLHUP | POLLNVAL) ? WAWO_READABLE | WAWO_WRITABLE : 0u);
        n++;
    }
    if (n == max)
        p->next = (p->next + k - 1) % (p->count - 1); /* after the last one that was looked at */
    return n;
}

static void poll_wake(struct wawo_poller *p)
{
    wawo_wakefd_signal(&p->wakefd);
}

const struct wawo_poller_ops wawo_poller_poll = {
    .name = "poll", .open = poll_open, .close = poll_close, .set = poll_set, .wait = poll_wait, .wake = poll_wake};
