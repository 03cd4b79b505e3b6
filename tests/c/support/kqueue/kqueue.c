/* One epoll that nests an epoll for those to read and one for those to write, and an eventfd for the wake-up. */
#include "base/config.h"

#include <errno.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/event.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { READING, WRITING, USER, PARTS, QUEUES = 256, BATCH = 512 };

struct queue {
    int fd; /* 0: free */
    int part[PARTS];
    bool user;     /* was added */
    unsigned turn; /* which part is looked at first: none takes all the room for ever */
};

int __real_close(int fd);
int __wrap_close(int fd);

unsigned long lookalike_calls, lookalike_changes;
static struct queue queues[QUEUES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int refused_filter, refused_error;

void lookalike_refuse(int filter, int error)
{
    refused_filter = filter;
    refused_error = error;
}

static struct queue *find(int fd)
{
    struct queue *q;

    for (q = queues; q < queues + QUEUES; q++)
        if (q->fd == fd)
            return q;
    return NULL;
}

static void queue_close(struct queue *q)
{
    int i;

    for (i = 0; i < PARTS; i++)
        if (q->part[i] >= 0)
            (void)__real_close(q->part[i]);
    (void)__real_close(q->fd);
    q->fd = 0;
}

static void forked(void)
{
    struct queue *q;

    for (q = queues; q < queues + QUEUES; q++)
        if (q->fd != 0)
            queue_close(q);
    (void)pthread_mutex_unlock(&lock);
}

static void before_fork(void)
{
    (void)pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    (void)pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, after_fork, forked);
}

int __wrap_close(int fd)
{
    struct queue *q;
    int result = 0;

    (void)pthread_mutex_lock(&lock);
    q = fd > 0 ? find(fd) : NULL;
    if (q != NULL) {
        queue_close(q);
    } else {
        for (q = queues; q < queues + QUEUES; q++)
            if (q->fd != 0) {
                (void)epoll_ctl(q->part[READING], EPOLL_CTL_DEL, fd, NULL);
                (void)epoll_ctl(q->part[WRITING], EPOLL_CTL_DEL, fd, NULL);
            }
        result = __real_close(fd);
    }
    (void)pthread_mutex_unlock(&lock);
    return result;
}

int kqueue(void)
{
    struct epoll_event ev = {.events = EPOLLIN};
    struct queue *q;
    int i, error = 0;

    (void)pthread_mutex_lock(&lock);
    q = find(0);
    if (q == NULL || (q->fd = epoll_create1(EPOLL_CLOEXEC)) < 0) {
        error = q == NULL ? EMFILE : errno;
    } else {
        q->user = false;
        q->turn = 0;
        q->part[READING] = epoll_create1(EPOLL_CLOEXEC);
        q->part[WRITING] = epoll_create1(EPOLL_CLOEXEC);
        q->part[USER] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        for (i = 0; i < PARTS && error == 0; i++) {
            ev.data.u32 = (uint32_t)i;
            if (q->part[i] < 0 || epoll_ctl(q->fd, EPOLL_CTL_ADD, q->part[i], &ev) != 0)
                error = EMFILE;
        }
    }
    i = error == 0 ? q->fd : -1;
    if (error != 0 && q != NULL && q->fd > 0)
        queue_close(q);
    else if (error != 0 && q != NULL)
        q->fd = 0;
    (void)pthread_mutex_unlock(&lock);
    errno = error != 0 ? error : errno;
    return i;
}

static int change_user(struct queue *q, const struct kevent *c)
{
    uint64_t one = 1;

    if (c->flags & EV_ADD) {
        q->user = true;
        return c->flags & EV_CLEAR ? 0 : EINVAL;
    }
    if (!q->user)
        return ENOENT;
    if (c->fflags & NOTE_TRIGGER)
        (void)!write(q->part[USER], &one, sizeof one);
    return 0;
}

/* 0 or an errno. */
static int change(struct queue *q, const struct kevent *c)
{
    struct epoll_event ev = {.data = {.fd = (int)c->ident}};
    int ep = q->part[c->filter == EVFILT_READ ? READING : WRITING];

    if ((c->flags & ~(EV_ADD | EV_DELETE | EV_CLEAR | EV_RECEIPT)) != 0 || c->udata != NULL)
        return EINVAL;
    if ((c->flags & EV_ADD) && c->filter == refused_filter && refused_error != 0)
        return refused_error;
    if (c->filter == EVFILT_USER)
        return change_user(q, c);
    if (c->filter != EVFILT_READ && c->filter != EVFILT_WRITE)
        return EINVAL;
    ev.events = (c->filter == EVFILT_READ ? EPOLLIN | EPOLLRDHUP : EPOLLOUT) | (c->flags & EV_CLEAR ? EPOLLET : 0u);
    if (c->flags & EV_DELETE)
        return epoll_ctl(ep, EPOLL_CTL_DEL, ev.data.fd, NULL) == 0 ? 0 : errno;
    if (epoll_ctl(ep, c->flags & EV_ADD ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, ev.data.fd, &ev) == 0)
        return 0;
    return errno == EEXIST && epoll_ctl(ep, EPOLL_CTL_MOD, ev.data.fd, &ev) == 0 ? 0 : errno;
}

static int collect(struct queue *q, int part, struct kevent *events, int room)
{
    struct epoll_event found[BATCH];
    uint64_t count;
    int i, n, bytes = 0;

    if (part == USER) {
        if (read(q->part[USER], &count, sizeof count) < 0)
            return 0;
        EV_SET(events, 0, EVFILT_USER, EV_CLEAR, 0, 0, NULL);
        return 1;
    }
    n = epoll_wait(q->part[part], found, room < BATCH ? room : BATCH, 0);
    for (i = 0; i < n; i++) {
        uint32_t e = found[i].events;
        bool end = (e & (EPOLLERR | EPOLLHUP)) || (part == READING && (e & EPOLLRDHUP));

        if (part == READING && ioctl(found[i].data.fd, FIONREAD, &bytes) != 0)
            bytes = 1; /* a listener */
        EV_SET(&events[i], (uintptr_t)found[i].data.fd, part == READING ? EVFILT_READ : EVFILT_WRITE, end ? EV_EOF : 0,
               e & EPOLLERR ? ECONNRESET : 0, bytes, NULL);
    }
    return n > 0 ? n : 0;
}

static int64_t now_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_for(struct queue *q, struct kevent *events, int room, const struct timespec *timeout)
{
    struct epoll_event ready[PARTS];
    int64_t ms = timeout == NULL ? -1 : (int64_t)timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000;
    int64_t left, until = ms > 0 ? now_ms() + ms + 1 : 0; /* never early */
    int i, n, got = 0;

    do {
        left = ms > 0 ? until - now_ms() : ms;
        left = ms > 0 && left < 0 ? 0 : left;
        n = epoll_wait(q->fd, ready, PARTS, left > INT_MAX ? INT_MAX : (int)left);
        if (n < 0)
            return -1;
        for (i = 0; i < n && got < room; i++)
            got += collect(q, (int)ready[(q->turn + (unsigned)i) % (unsigned)n].data.u32, events + got, room - got);
        q->turn++;
    } while (got == 0 && ms != 0 && (ms < 0 || now_ms() < until));
    return got;
}

int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events, int room,
           const struct timespec *timeout)
{
    struct queue *q;
    int i, error, got = 0;

    (void)pthread_mutex_lock(&lock); /* of those that wait only the loop itself closes its queue */
    q = kq > 0 ? find(kq) : NULL;
    lookalike_calls++;
    lookalike_changes += (unsigned long)change_count;
    for (i = 0; q != NULL && i < change_count; i++) {
        error = change(q, &changes[i]);
        if (error == 0 && !(changes[i].flags & EV_RECEIPT))
            continue;
        if (got == room) {
            (void)pthread_mutex_unlock(&lock);
            errno = error;
            return error != 0 ? -1 : got;
        }
        events[got] = changes[i];
        events[got].flags = EV_ERROR;
        events[got++].data = error;
    }
    (void)pthread_mutex_unlock(&lock);
    if (q == NULL) {
        errno = EBADF;
        return -1;
    }
    return got > 0 || room == 0 ? got : wait_for(q, events, room, timeout);
}
