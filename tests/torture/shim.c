/* LD_PRELOAD: makes the system calls of the loops fail or do less, at rates, from a seed.
 *
 *     WAWO_SHIM_SEED=7 WAWO_SHIM_COUNTS=/tmp/counts LD_PRELOAD=shim.so program
 *
 * Only threads called wawo-io-… are touched. recv and send go through syscall() in release builds of wawo: both ways are
 * met here. Of io_uring only the calls can be seen, so requests are changed before they leave: sends become shorter, and
 * standing receives end with their first answer. At the end each call's name and count of faults are written to WAWO_SHIM_COUNTS. */
#define _GNU_SOURCE 1
#include "io/uring_abi.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>

#define CALLS(X) X(recv) X(send) X(sendmsg) X(sendfile) X(accept4) X(epoll_wait) X(poll) X(enter) X(request)
enum call {
#define X(name) CALL_##name,
    CALLS(X)
#undef X
        CALL_COUNT
};
enum { FAIL = 120, SHORT = 300, RINGS = 1024 }; /* per mille; descriptors of rings */

static unsigned long faults[CALL_COUNT];
static uint64_t seed;
static unsigned threads;

static struct uring_params rings[RINGS]; /* by descriptor, as setup made them */

static __thread struct {
    uint32_t *head, entries;
    struct uring_sqe *requests;
} mine; /* the ring of this loop */
static __thread uint64_t state;
static __thread int known; /* 0: not looked at, 1: a loop, -1: not */

static uint32_t chance(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % 1000;
}

static int is_loop(void)
{
    char name[16] = "";

    if (known == 0) {
        (void)pthread_getname_np(pthread_self(), name, sizeof name);
        known = strncmp(name, "wawo-io-", 8) == 0 ? 1 : -1;
        if (known == 1)
            state = (seed + __sync_add_and_fetch(&threads, 1)) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    }
    return known == 1;
}

/* Whether it fails; errno is one of the list, which ends with 0. */
static int fails(enum call call, const int *errors)
{
    int n = 0;

    if (!is_loop() || chance() >= FAIL)
        return 0;
    while (errors[n] != 0)
        n++;
    errno = errors[chance() % (unsigned)n];
    __sync_add_and_fetch(&faults[call], 1);
    return 1;
}

static size_t shorter(enum call call, size_t len)
{
    if (len < 2 || !is_loop() || chance() >= SHORT)
        return len;
    __sync_add_and_fetch(&faults[call], 1);
    return 1 + (size_t)chance() * (len - 1) / 1000;
}

static const int busy[] = {EINTR, EAGAIN, ENOBUFS, 0};
static const int no_descriptor[] = {EINTR, EAGAIN, ECONNABORTED, EMFILE, ENFILE, 0};
static const int interrupted[] = {EINTR, 0};
static const int not_now[] = {EINTR, EAGAIN, EBUSY, 0};

/* The function of that name behind this one. */
#define FIND(name)                                                                                                     \
    static name##_call real;                                                                                           \
    if (real == NULL)                                                                                                  \
    *(void **)(void *)&real = dlsym(RTLD_NEXT, #name)

typedef long (*syscall_call)(long, ...);
typedef ssize_t (*recv_call)(int, void *, size_t, int);
typedef ssize_t (*send_call)(int, const void *, size_t, int);
typedef ssize_t (*sendmsg_call)(int, const struct msghdr *, int);
typedef ssize_t (*sendfile_call)(int, int, off_t *, size_t);
typedef ssize_t (*sendfile64_call)(int, int, off64_t *, size_t);
typedef int (*accept4_call)(int, struct sockaddr *, socklen_t *, int);
typedef int (*epoll_wait_call)(int, struct epoll_event *, int, int);
typedef int (*poll_call)(struct pollfd *, nfds_t, int);

/* A second look at the ring that a loop makes its own. */
static void learn(syscall_call real, int fd)
{
    const struct uring_params *p = &rings[fd];
    size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t), size = p->sq_entries * sizeof(struct uring_sqe);
    int access = PROT_READ | PROT_WRITE;
    char *at = (char *)real(SYS_mmap, NULL, sq, access, MAP_SHARED, fd, (long)URING_OFF_SQ_RING);

    mine.requests = (void *)real(SYS_mmap, NULL, size, access, MAP_SHARED, fd, (long)URING_OFF_SQES);
    mine.head = (void *)(at + p->sq_off.head);
    mine.entries = p->sq_entries;
}

static void change_requests(unsigned count)
{
    struct uring_sqe *e;
    uint32_t len;
    unsigned i;

    for (i = 0; i < count; i++) {
        e = &mine.requests[(*mine.head + i) & (mine.entries - 1)];
        if (e->opcode == URING_OP_SEND) {
            len = (uint32_t)shorter(CALL_request, e->len);
            if (len < e->len)
                e->flags &= (uint8_t)~URING_SQE_CQE_SKIP_SUCCESS; /* the kernel tells of each that it cuts short */
            e->len = len;
        } else if (e->opcode == URING_OP_RECV && chance() < SHORT) {
            e->ioprio &= (uint16_t)~URING_RECV_MULTISHOT;
            __sync_add_and_fetch(&faults[CALL_request], 1);
        }
    }
}

/* Fails, takes a part of the requests, or is as it was asked for. */
static long enter(syscall_call real, const long *a)
{
    unsigned count = (unsigned)a[1];

    if (mine.requests == NULL || !is_loop())
        return real(URING_SYS_ENTER, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (fails(CALL_enter, not_now))
        return -1;
    if (count > 1 && chance() < SHORT) { /* no memory for the rest: then it does not wait */
        __sync_add_and_fetch(&faults[CALL_enter], 1);
        count = 1 + chance() % (count - 1);
        change_requests(count);
        return real(URING_SYS_ENTER, a[0], (long)count, 0L, a[3] & ~(long)URING_ENTER_GETEVENTS, a[4], a[5]);
    }
    change_requests(count);
    return real(URING_SYS_ENTER, a[0], a[1], a[2], a[3], a[4], a[5]);
}

long syscall(long number, ...)
{
    FIND(syscall);
    long made;
    long a[6];
    va_list more;
    int i;

    va_start(more, number);
    for (i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_recvfrom) {
        if (fails(CALL_recv, busy))
            return -1;
        a[2] = (long)shorter(CALL_recv, (size_t)a[2]);
    } else if (number == SYS_sendto) {
        if (fails(CALL_send, busy))
            return -1;
        a[2] = (long)shorter(CALL_send, (size_t)a[2]);
    } else if (number == URING_SYS_ENTER) {
        return enter(real, a);
    } else if (number == URING_SYS_REGISTER && a[1] == URING_REGISTER_ENABLE_RINGS && is_loop()) {
        learn(real, (int)a[0]);
    } else if (number == URING_SYS_SETUP) {
        made = real(number, a[0], a[1]);
        if (made >= 0 && made < RINGS)
            rings[made] = *(const struct uring_params *)a[1];
        return made;
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

ssize_t recv(int fd, void *to, size_t len, int flags)
{
    FIND(recv);
    return fails(CALL_recv, busy) ? -1 : real(fd, to, shorter(CALL_recv, len), flags);
}

ssize_t send(int fd, const void *from, size_t len, int flags)
{
    FIND(send);
    return fails(CALL_send, busy) ? -1 : real(fd, from, shorter(CALL_send, len), flags);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    FIND(sendmsg);
    struct msghdr less = *m;
    struct iovec first;

    if (fails(CALL_sendmsg, busy))
        return -1;
    if (m->msg_iovlen > 0 && is_loop() && chance() < SHORT) { /* a part of the first piece alone */
        first = m->msg_iov[0];
        first.iov_len = shorter(CALL_sendmsg, first.iov_len);
        if (first.iov_len > 0) {
            less.msg_iov = &first;
            less.msg_iovlen = 1;
        }
    }
    return real(fd, &less, flags);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t len)
{
    FIND(sendfile);
    return fails(CALL_sendfile, busy) ? -1 : real(to, from, offset, shorter(CALL_sendfile, len));
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t len)
{
    FIND(sendfile64);
    return fails(CALL_sendfile, busy) ? -1 : real(to, from, offset, shorter(CALL_sendfile, len));
}

int accept4(int fd, struct sockaddr *a, socklen_t *len, int flags)
{
    FIND(accept4);
    return fails(CALL_accept4, no_descriptor) ? -1 : real(fd, a, len, flags);
}

int epoll_wait(int ep, struct epoll_event *events, int max, int timeout)
{
    FIND(epoll_wait);
    return fails(CALL_epoll_wait, interrupted) ? -1 : real(ep, events, max, timeout);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
    FIND(poll);
    return fails(CALL_poll, interrupted) ? -1 : real(fds, count, timeout);
}

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("WAWO_SHIM_SEED");

    seed = text != NULL ? strtoull(text, NULL, 10) : 1;
}

__attribute__((destructor)) static void end(void)
{
    static const char *const names[] = {
#define X(name) #name,
        CALLS(X)
#undef X
    };
    const char *path = getenv("WAWO_SHIM_COUNTS");
    FILE *f = path != NULL ? fopen(path, "w") : NULL;
    int i;

    if (f == NULL)
        return;
    for (i = 0; i < CALL_COUNT; i++)
        fprintf(f, "%s %lu\n", names[i], faults[i]);
    (void)fclose(f);
}
