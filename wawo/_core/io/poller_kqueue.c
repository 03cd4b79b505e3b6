/* F2 poller: kqueue, of macOS and the BSDs.
 *
 * Facts. Reading and writing are two filters, so a descriptor may be reported twice. One call applies changes and waits;
 * it applies them all first, and where one fails it says so in an entry of its own (EV_ERROR, if there is room) and
 * does not wait. EV_RECEIPT makes such an entry of every change, so that call only applies. After EINTR the changes may
 * or may not have been applied: all of ours may be said twice. A filter is keyed by the number of the descriptor and
 * goes with its close, whoever else has the same open file; a child of fork has no queue at all. EV_EOF is the end of
 * one direction, with unread bytes before it and the error of the socket, if any, in fflags; writing is at its end
 * after our own shutdown too. Without EV_CLEAR a filter is level triggered, and what was reported queues up last again.
 * EVFILT_USER is a wake-up without a descriptor, and missing on some: then a pipe.
 *
 * What follows. `set` only notes what the next wait says. A close tells the kernel enough, so what was noted of that
 * number is forgotten: no change meets a stranger who got the same one. A report that nobody wants (of a change that was
 * applied before EINTR, and then thought better of) deletes its filter. */
#include "../base/config.h"

#include "../base/alloc.h"
#include "../base/err.h"
#include "../base/os.h"
#include "poller.h"

#include <sys/types.h> /* before sys/event.h, where that does not do it itself */

#include <fcntl.h>
#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

enum { BATCH = 512, BOTH = WAWO_READABLE | WAWO_WRITABLE };
#define LONGEST (86400 * WAWO_SEC) /* some refuse more than three years */

struct entry {
    uint64_t tag; /* not in udata, where 32-bit systems have no room for it */
    uint8_t want;
    uint8_t add, drop; /* what the next wait says */
    bool changed;      /* is in that list */
};

struct wawo_poller {
    int kq;
    pid_t owner;
    struct wawo_wakefd wakefd; /* where the system has no EVFILT_USER */
    struct entry *entries;     /* by descriptor */
    int *changed;              /* descriptors; each at most once, so there is room */
    int room, changed_count;
    struct kevent changes[BATCH], events[BATCH];
};

static void kqueue_close(struct wawo_poller *p)
{
    if (p->wakefd.rd >= 0)
        wawo_wakefd_close(&p->wakefd);
    if (p->kq >= 0 && p->owner == getpid()) /* in a child that number is free, or a stranger's */
        wawo_os_close(p->kq);
    wawo_free(p->entries);
    wawo_free(p->changed);
    wawo_free(p);
}

static int change(struct wawo_poller *p, int fd, short filter, unsigned flags, unsigned fflags)
{
    struct kevent ev;

    EV_SET(&ev, (uintptr_t)fd, filter, (unsigned short)flags, fflags, 0, NULL);
    return kevent(p->kq, &ev, 1, NULL, 0, NULL) == 0 ? 0 : -errno;
}

static int open_wake(struct wawo_poller *p)
{
    int err;

#ifdef EVFILT_USER
    if (change(p, 0, EVFILT_USER, EV_ADD | EV_CLEAR, 0) == 0)
        return 0;
#endif
    err = wawo_wakefd_open(&p->wakefd);
    return err == 0 ? change(p, p->wakefd.rd, EVFILT_READ, EV_ADD, 0) : err;
}

static int kqueue_open(struct wawo_poller **out)
{
    struct wawo_poller *p = wawo_alloc(sizeof *p);
    int err;

    if (p == NULL)
        return WAWO_ENOMEM;
    p->entries = NULL;
    p->changed = NULL;
    p->room = p->changed_count = 0;
    p->wakefd.rd = -1;
    p->owner = getpid();
    p->kq = kqueue();
    err = p->kq >= 0 && fcntl(p->kq, F_SETFD, FD_CLOEXEC) == 0 ? 0 : -errno;
    if (err == 0)
        err = open_wake(p);
    if (err != 0) {
        kqueue_close(p);
        return err;
    }
    *out = p;
    return 0;
}

static int grow(struct wawo_poller *p, int fd)
{
    int room = p->room == 0 ? 64 : p->room;
    void *m;

    while (fd >= room)
        room *= 2;
    if ((m = wawo_realloc(p->changed, (size_t)room * sizeof *p->changed)) == NULL)
        return WAWO_ENOMEM;
    p->changed = m;
    if ((m = wawo_realloc(p->entries, (size_t)room * sizeof *p->entries)) == NULL)
        return WAWO_ENOMEM;
    p->entries = m;
    memset(p->entries + p->room, 0, (size_t)(room - p->room) * sizeof *p->entries);
    p->room = room;
    return 0;
}

static void mark(struct wawo_poller *p, int fd)
{
    if (p->entries[fd].changed)
        return;
    p->entries[fd].changed = true;
    p->changed[p->changed_count++] = fd;
}

static int kqueue_set(struct wawo_poller *p, int fd, uint64_t tag, unsigned old, unsigned want)
{
    struct entry *e;
    unsigned added, given;

    if (fd >= p->room && grow(p, fd) != 0)
        return WAWO_ENOMEM;
    e = &p->entries[fd];
    added = want & ~old;
    given = old & ~want & ~(unsigned)e->add;
    e->add = (uint8_t)((e->add & want) | added);
    e->drop = (uint8_t)((e->drop & ~want) | given);
    e->want = (uint8_t)want;
    e->tag = tag;
    if (e->add != 0 || e->drop != 0)
        mark(p, fd);
    return 0;
}

static void kqueue_forget(struct wawo_poller *p, int fd)
{
    if (fd < p->room)
        p->entries[fd].want = p->entries[fd].add = p->entries[fd].drop = 0;
}

static int say(struct wawo_poller *p, int n, int fd, unsigned bits, unsigned flags)
{
    if (bits & WAWO_READABLE)
        EV_SET(&p->changes[n++], (uintptr_t)fd, EVFILT_READ, (unsigned short)flags, 0, 0, NULL);
    if (bits & WAWO_WRITABLE)
        EV_SET(&p->changes[n++], (uintptr_t)fd, EVFILT_WRITE, (unsigned short)flags, 0, 0, NULL);
    return n;
}

/* Applies the changes of the newest `fds` descriptors and waits for `room` events; with EV_RECEIPT it only applies. The
 * count of events, or a negative code: then the changes are still to be said. */
static int tell(struct wawo_poller *p, int fds, unsigned receipt, int room, const struct timespec *ts)
{
    int *newest = p->changed + (p->changed_count - fds);
    int i, n = 0, got = 0;
    struct entry *e;

    for (i = 0; i < fds; i++) {
        e = &p->entries[newest[i]];
        n = say(p, n, newest[i], e->add, EV_ADD | receipt);
        n = say(p, n, newest[i], e->drop, EV_DELETE | receipt);
    }
    if (n > 0 || receipt == 0)
        got = kevent(p->kq, p->changes, n, p->events, receipt != 0 ? n : room, ts);
    if (got < 0)
        return -errno;
    for (i = 0; i < fds; i++) {
        e = &p->entries[newest[i]];
        e->add = e->drop = 0;
        e->changed = false;
    }
    p->changed_count -= fds;
    return got;
}

/* A change that failed; whether there is something to report. */
static bool refused(struct entry *e, const struct kevent *ev, unsigned bit, struct wawo_fired *f)
{
    if (ev->data == 0 || !(e->want & bit))
        return false; /* a receipt; or there was nothing left to delete */
    f->tag = e->tag;
    if (ev->data == EPIPE) { /* nobody reads what it writes: the next write tells */
        f->events = BOTH;
        return true;
    }
    f->events = WAWO_REFUSED;
    f->error = -(int)ev->data;
    e->want = 0; /* said once, also when both filters were refused */
    return true;
}

/* The first `n` events as what fired; how many were worth it. */
static int report(struct wawo_poller *p, int n, struct wawo_fired *fired)
{
    const struct kevent *ev;
    struct entry *e;
    unsigned bit;
    int i, count = 0;

    for (i = 0; i < n; i++) {
        ev = &p->events[i];
        if (ev->filter != EVFILT_READ && ev->filter != EVFILT_WRITE)
            continue; /* the wake-up */
        if ((int)ev->ident == p->wakefd.rd) {
            wawo_wakefd_drain(&p->wakefd);
            continue;
        }
        e = &p->entries[ev->ident];
        bit = ev->filter == EVFILT_READ ? WAWO_READABLE : WAWO_WRITABLE;
        if (wawo_unlikely(ev->flags & EV_ERROR)) {
            count += refused(e, ev, bit, &fired[count]);
        } else if (wawo_unlikely(!(e->want & bit))) {
            e->drop |= (uint8_t)bit;
            mark(p, (int)ev->ident);
        } else {
            fired[count].tag = e->tag;
            fired[count].events = (ev->flags & EV_EOF) && ev->fflags != 0 ? BOTH : bit;
            count++;
        }
    }
    return count;
}

static int kqueue_wait(struct wawo_poller *p, struct wawo_fired *fired, int max, int64_t timeout_ns)
{
    int64_t ns = timeout_ns < LONGEST ? timeout_ns : LONGEST;
    struct timespec ts = {.tv_sec = (time_t)(ns / WAWO_SEC), .tv_nsec = (long)(ns % WAWO_SEC)};
    int fds, got, count = 0;

    /* Two changes for each, and a place for the error of each of them. */
    while (p->changed_count * 2 > (max < BATCH ? max : BATCH)) {
        fds = p->changed_count < BATCH / 2 ? p->changed_count : BATCH / 2;
        if (fds > max - count)
            fds = max - count;
        got = tell(p, fds, EV_RECEIPT, 0, NULL);
        if (got < 0)
            return got;
        count += report(p, got, fired + count);
        if (count == max)
            return count;
    }
    if (count > 0)
        return count;
    got = tell(p, p->changed_count, 0, max < BATCH ? max : BATCH, timeout_ns < 0 ? NULL : &ts);
    if (got < 0)
        return got == -EINTR ? 0 : got;
    return report(p, got, fired);
}

static void kqueue_wake(struct wawo_poller *p)
{
#ifdef EVFILT_USER
    if (p->wakefd.rd < 0) {
        (void)change(p, 0, EVFILT_USER, 0, NOTE_TRIGGER);
        return;
    }
#endif
    wawo_wakefd_signal(&p->wakefd);
}

const struct wawo_poller_ops wawo_poller_kqueue = {.name = "kqueue",
                                                   .open = kqueue_open,
                                                   .close = kqueue_close,
                                                   .set = kqueue_set,
                                                   .forget = kqueue_forget,
                                                   .wait = kqueue_wait,
                                                   .wake = kqueue_wake};
