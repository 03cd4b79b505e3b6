#include "uring.h"

#include "../base/err.h"
#include "../base/os.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SETUP = URING_SETUP_CQSIZE | URING_SETUP_R_DISABLED | URING_SETUP_SUBMIT_ALL | URING_SETUP_SINGLE_ISSUER |
        URING_SETUP_DEFER_TASKRUN,
    FEATURES = URING_FEAT_SINGLE_MMAP | URING_FEAT_NODROP | URING_FEAT_FAST_POLL | URING_FEAT_EXT_ARG
};

static int enter(const struct wawo_uring *u, unsigned submit, unsigned wait, unsigned flags, const void *arg,
                 size_t arg_size)
{
    long n = syscall(URING_SYS_ENTER, u->enter_fd, submit, wait, flags | u->enter_flags, arg, arg_size);

    return n < 0 ? -errno : (int)n;
}

int wawo_uring_register(const struct wawo_uring *u, unsigned what, void *arg, unsigned count)
{
    long n = syscall(URING_SYS_REGISTER, u->fd, what, arg, count);

    return n < 0 ? -errno : (int)n;
}

/* The first character of a file of the kernel's, 0: there is no such file. */
static char peek(const char *path)
{
    char c = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    if (read(fd, &c, 1) != 1)
        c = 0;
    wawo_os_close(fd);
    return c;
}

static const char *refusal(int err)
{
    static const char sysctl[] = "/proc/sys/kernel/io_uring_disabled";

    switch (err) {
    case -EPERM:
        switch (peek(sysctl)) {
        case '2':
            return "the sysctl kernel.io_uring_disabled is 2";
        case '1':
            return "the sysctl kernel.io_uring_disabled is 1, and this process has no privilege";
        default:
            return "io_uring_setup is forbidden here, as by the seccomp profile of a container";
        }
    case -ENOSYS:
        return peek(sysctl) != 0 ? "a seccomp profile hides io_uring_setup"
                                 : "this kernel has no io_uring, or a seccomp profile hides it";
    case -EINVAL:
        return "this kernel's io_uring is too old: 6.1 has what it takes";
    case -ENOMEM:
        return "no memory for the rings, or RLIMIT_MEMLOCK is too low";
    default:
        return NULL;
    }
}

static int map_rings(struct wawo_uring *u, const struct uring_params *p)
{
    size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
    size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(struct uring_cqe);
    uint32_t i, *array;
    char *at;

    u->rings_size = sq > cq ? sq : cq;
    u->sqes_size = p->sq_entries * sizeof(struct uring_sqe);
    at = mmap(NULL, u->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, URING_OFF_SQ_RING);
    if (at == MAP_FAILED)
        return -errno;
    u->rings = at;
    u->sqes = mmap(NULL, u->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, URING_OFF_SQES);
    if ((void *)u->sqes == MAP_FAILED) {
        u->sqes = NULL;
        return -errno;
    }
    u->sq_khead = (void *)(at + p->sq_off.head);
    u->sq_ktail = (void *)(at + p->sq_off.tail);
    u->sq_kflags = (void *)(at + p->sq_off.flags);
    u->cq_khead = (void *)(at + p->cq_off.head);
    u->cq_ktail = (void *)(at + p->cq_off.tail);
    u->cqes = (void *)(at + p->cq_off.cqes);
    u->sq_entries = p->sq_entries;
    u->sq_mask = p->sq_entries - 1;
    u->cq_mask = p->cq_entries - 1;
    array = (void *)(at + p->sq_off.array);
    for (i = 0; i < p->sq_entries; i++)
        array[i] = i;
    return 0;
}

int wawo_uring_open(struct wawo_uring *u, unsigned sq_entries, unsigned cq_entries, const char **why)
{
    struct uring_params p;
    int err;

    memset(u, 0, sizeof *u);
    memset(&p, 0, sizeof p);
    *why = NULL;
    p.flags = SETUP;
    p.cq_entries = cq_entries;
    u->fd = u->enter_fd = (int)syscall(URING_SYS_SETUP, sq_entries, &p);
    if (u->fd < 0) {
        err = -errno;
        *why = refusal(err);
        return err;
    }
    u->counts = p.features & URING_FEAT_MIN_TIMEOUT;
    err = (p.features & FEATURES) == FEATURES ? map_rings(u, &p) : WAWO_ENOTSUP;
    if (err != 0) {
        *why = refusal(err == WAWO_ENOTSUP ? -EINVAL : err);
        wawo_uring_close(u);
    }
    return err;
}

void wawo_uring_close(struct wawo_uring *u)
{
    if (u->sqes != NULL)
        (void)munmap(u->sqes, u->sqes_size);
    if (u->rings != NULL)
        (void)munmap(u->rings, u->rings_size);
    wawo_os_close(u->fd);
}

int wawo_uring_enable(struct wawo_uring *u)
{
    struct uring_rsrc_update up = {.offset = UINT32_MAX, .data = (uint64_t)u->fd};
    int err = wawo_uring_register(u, URING_REGISTER_ENABLE_RINGS, NULL, 0);

    if (err < 0)
        return err;
    u->enabled = true;
    if (wawo_uring_register(u, URING_REGISTER_RING_FDS, &up, 1) == 1) {
        u->enter_fd = (int)up.offset;
        u->enter_flags = URING_ENTER_REGISTERED_RING;
    }
    return 0;
}

struct uring_sqe *wawo_uring_request(struct wawo_uring *u)
{
    struct uring_sqe *e;

    if (wawo_unlikely(u->sq_tail - wawo_load(u->sq_khead) == u->sq_entries)) {
        wawo_store(u->sq_ktail, u->sq_tail);
        if (enter(u, u->sq_entries, 0, 0, NULL, 0) <= 0)
            return NULL;
    }
    e = &u->sqes[u->sq_tail++ & u->sq_mask];
    memset(e, 0, sizeof *e);
    return e;
}

int wawo_uring_submit(struct wawo_uring *u)
{
    uint32_t count = u->sq_tail - wawo_load(u->sq_khead);
    int n;

    wawo_store(u->sq_ktail, u->sq_tail);
    n = count > 0 ? enter(u, count, 0, 0, NULL, 0) : 0;
    return n == (int)count ? 0 : n < 0 ? n : WAWO_AGAIN;
}

int wawo_uring_wait(struct wawo_uring *u, int64_t timeout_ns, unsigned count, unsigned within_us)
{
    struct uring_timespec ts = {timeout_ns / WAWO_SEC, timeout_ns % WAWO_SEC};
    struct uring_getevents_arg arg = {.sigmask_size = _NSIG / 8, .timespec = timeout_ns > 0 ? (uintptr_t)&ts : 0};
    int n;

    if (timeout_ns == 0)
        count = 0;
    else if (!u->counts || (timeout_ns > 0 && timeout_ns <= (int64_t)within_us * 1000))
        count = 1;
    else if (count > 1)
        arg.min_wait_us = within_us;
    wawo_store(u->sq_ktail, u->sq_tail);
    n = enter(u, u->sq_tail - wawo_load(u->sq_khead), count, URING_ENTER_GETEVENTS | URING_ENTER_EXT_ARG, &arg,
              sizeof arg);
    /* EAGAIN and EBUSY: no memory now, or answers first; EBADR: some answers are lost for want of memory. */
    return n >= 0 || n == -EINTR || n == -ETIME || n == -EAGAIN || n == -EBUSY || n == -EBADR ? 0 : n;
}

void wawo_uring_cancel_now(struct wawo_uring *u, uint64_t user_data)
{
    struct uring_sync_cancel_reg reg = {.addr = user_data, .fd = -1, .timeout = {-1, -1}};

    (void)wawo_uring_register(u, URING_REGISTER_SYNC_CANCEL, &reg, 1);
}
