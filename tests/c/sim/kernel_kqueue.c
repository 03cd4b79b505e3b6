/* The fake kernel's kqueue, with the constants of the look-alike (tests/c/support/kqueue/sys/event.h). Reading and writing
 * are told apart and in any order, both with EV_EOF at their ends; a filter goes with the close of its number. */
#include "kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/event.h>

enum { READING = 1, WRITING = 2, HAS_USER = 1, TRIGGERED = 2 };

WRAP(int, kqueue, void)
{
    return kernel_open(FD_KQUEUE, 0, 0, true);
}

WRAP(int, fcntl, int fd, int what, ...)
{
    (void)kernel_fd(fd, FD_FREE, "fcntl");
    SIM_CHECK(what == F_SETFD);
    return 0;
}

WRAP64(fcntl);

/* ---- changes ---- */

static int change_user(struct descriptor *kq, const struct kevent *c)
{
    if (c->flags & EV_ADD) {
        if (sim_chance(200)) /* a system without it */
            return EINVAL;
        kq->value = HAS_USER;
        return 0;
    }
    SIM_CHECK(kq->value & HAS_USER);
    if (c->fflags & NOTE_TRIGGER)
        kq->value |= TRIGGERED;
    return 0;
}

/* 0 or an errno. */
static int change(int kq, const struct kevent *c)
{
    static const int errors[] = {ENOMEM, 0};
    unsigned bit = c->filter == EVFILT_READ ? READING : WRITING;
    struct descriptor *d;

    SIM_CHECK((c->flags & ~(EV_ADD | EV_DELETE | EV_CLEAR | EV_RECEIPT)) == 0 && c->udata == NULL);
    if (c->filter == EVFILT_USER)
        return change_user(kernel_fd(kq, FD_KQUEUE, "kevent"), c);
    SIM_CHECK(c->filter == EVFILT_READ || c->filter == EVFILT_WRITE);
    sim_log("kevent", (int64_t)c->ident, c->filter, c->flags);
    if ((c->flags & EV_DELETE) && !kernel_is_open((int)c->ident))
        return EBADF; /* it was released from the poller, and then there was no memory to go on with it */
    d = kernel_fd((int)c->ident, FD_FREE, "kevent");
    if (c->flags & EV_DELETE) {
        if (d->poller != kq || !(d->events & bit))
            return ENOENT;
        d->events &= ~bit;
        d->poller = d->events != 0 ? kq : -1;
        return 0;
    }
    SIM_CHECK(c->flags & EV_ADD && (d->poller < 0 || d->poller == kq));
    if (bit == WRITING && d->kind == FD_STREAM && pipes[d->object].side[d->side].reset && sim_chance(500))
        return EPIPE; /* as macOS */
    if (d->kind != FD_EVENT && sim_chance(50) && kernel_fault(errors))
        return errno;
    d->poller = kq;
    d->events |= bit;
    return 0;
}

/* All of them, as far as there is room for what fails: the entries, -1. */
static int apply(int kq, const struct kevent *changes, int count, struct kevent *events, int room)
{
    int i, error, got = 0;

    for (i = 0; i < count; i++) {
        error = change(kq, &changes[i]);
        if (error == 0 && !(changes[i].flags & EV_RECEIPT))
            continue;
        if (got == room) {
            errno = error;
            return error != 0 ? -1 : got;
        }
        events[got] = changes[i];
        events[got].flags = EV_ERROR;
        events[got++].data = error;
    }
    return got;
}

/* ---- waiting ---- */

static unsigned ready_bits(const struct descriptor *d)
{
    unsigned bits = kernel_ready(d);

    if (bits & (POLLERR | POLLHUP))
        bits |= POLLIN | POLLOUT;
    return ((bits & POLLIN ? READING : 0u) | (bits & POLLOUT ? WRITING : 0u)) & d->events;
}

static bool queue_ready(void *arg)
{
    int kq = *(int *)arg, fd;

    if (kernel_fd(kq, FD_KQUEUE, "kevent")->value & TRIGGERED)
        return true;
    for (fd = FD_FIRST; fd < kernel_fd_end(); fd++)
        if (kernel_in(fd, kq) && ready_bits(kernel_fd(fd, FD_FREE, "kevent")) != 0)
            return true;
    return false;
}

static int tell(struct kevent *out, int fd, const struct descriptor *d, unsigned bit)
{
    const struct stream *p = &pipes[d->object];
    unsigned short flags = 0;
    unsigned error = 0;

    if (d->kind == FD_STREAM) {
        bool over = p->state == LINK_FAILED || p->side[d->side].reset;

        if (over || (bit == READING ? p->half[1 - d->side].fin_arrived : p->half[d->side].fin))
            flags = EV_EOF;
        error = over ? (unsigned)p->side[d->side].error : 0;
    }
    EV_SET(out, (uintptr_t)fd, bit == READING ? EVFILT_READ : EVFILT_WRITE, flags, error, 0, NULL);
    return 1;
}

static int collect(int kq, struct kevent *events, int room)
{
    struct descriptor *queue = kernel_fd(kq, FD_KQUEUE, "kevent"), *d;
    int count = kernel_fd_end() - FD_FIRST, start = (int)sim_below((uint32_t)count), i, fd, n = 0;
    unsigned bits;

    if (queue->value & TRIGGERED) {
        queue->value = HAS_USER;
        EV_SET(&events[n++], 0, EVFILT_USER, EV_CLEAR, 0, 0, NULL);
    }
    for (i = 0; i < count && n < room; i++) {
        fd = FD_FIRST + (start + i) % count;
        if (!kernel_in(fd, kq))
            continue;
        d = kernel_fd(fd, FD_FREE, "kevent");
        bits = ready_bits(d);
        if (sim_faults > 0 && bits == 0 && kernel_may_be_spurious(d))
            bits = d->events;
        else if (sim_faults > 0 && kernel_is_late())
            bits &= sim_below(3); /* also one filter alone */
        if (bits & READING)
            n += tell(&events[n], fd, d, READING);
        if (bits & WRITING && n < room)
            n += tell(&events[n], fd, d, WRITING);
    }
    return n;
}

WRAP(int, kevent, int kq, const struct kevent *changes, int change_count, struct kevent *events, int room,
     const struct timespec *timeout)
{
    static const int errors[] = {EINTR, 0};
    int64_t ns = timeout == NULL ? -1 : (int64_t)timeout->tv_sec * WAWO_SEC + timeout->tv_nsec;
    int got;

    (void)kernel_fd(kq, FD_KQUEUE, "kevent");
    if (room > 0 && change_count > 0 && !(changes[0].flags & EV_RECEIPT) && kernel_fault(errors))
        return -1;
    got = apply(kq, changes, change_count, events, room);
    if (got != 0 || room == 0)
        return got;
    if (ns == 0)
        fiber_yield();
    else
        (void)fiber_block(queue_ready, &kq, ns < 0 ? -1 : sim_now + ns);
    if (kernel_fault(errors))
        return -1;
    got = collect(kq, events, room);
    sim_log("kevent", kq, ns, got);
    return got;
}
