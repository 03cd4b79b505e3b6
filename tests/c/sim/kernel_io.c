/* The fake kernel: what is done with a stream or a file that is there. */
#include "kernel.h"

#include "io/uring_abi.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#ifndef SYS_preadv2
#define SYS_preadv2 327
#endif

enum { BLOCK = 4096, COLD = 100 };

/* ---- streams ---- */

static ssize_t failed(int error)
{
    errno = error;
    return -1;
}

ptrdiff_t kernel_recv(const struct descriptor *d, void *to, size_t len)
{
    struct half *in = &pipes[d->object].half[1 - d->side];
    size_t n = wawo_min_size(len, in->arrived - in->read);
    int error;

    SIM_CHECK(len > 0);
    if (n > 0 && sim_chance(sim_faults))
        n = sim_size(n);
    if (n > 0) {
        memcpy(to, in->bytes + in->read, n);
        in->read += n;
        return (ptrdiff_t)n;
    }
    error = pipes[d->object].side[d->side].error;
    pipes[d->object].side[d->side].error = 0;
    if (error != 0)
        return -error;
    return in->fin_arrived || pipes[d->object].side[d->side].reset ? 0 : -EAGAIN;
}

WRAP(ssize_t, recv, int fd, void *to, size_t len, int flags)
{
    static const int errors[] = {EINTR, EINTR, EAGAIN, ENOBUFS, 0};
    struct descriptor *d = kernel_fd(fd, FD_STREAM, "recv");
    ptrdiff_t n;

    (void)flags;
    fiber_preempt();
    if (kernel_fault(errors))
        return -1;
    n = kernel_recv(d, to, len);
    sim_log("recv", fd, (int64_t)len, n);
    return n < 0 ? failed((int)-n) : n;
}

/* How much a send may take now: -1 with errno, or a count. */
static ssize_t send_room(const struct descriptor *d, size_t len)
{
    static const int errors[] = {EINTR, EINTR, EAGAIN, ENOBUFS, 0};
    int error;

    fiber_preempt();
    if (kernel_fault(errors))
        return -1;
    if (pipes[d->object].state != LINK_UP && pipes[d->object].state != LINK_QUEUED &&
        !pipes[d->object].side[d->side].reset)
        return failed(ENOTCONN);
    error = kernel_send_error(d->object, d->side);
    if (error != 0)
        return failed(error);
    len = wawo_min_size(len, kernel_room(d->object, d->side));
    if (len == 0)
        return failed(EAGAIN);
    return (ssize_t)(sim_chance(sim_faults) ? sim_size(len) : len);
}

ssize_t kernel_send(const struct descriptor *d, const void *from, size_t len)
{
    ssize_t n = len > 0 ? send_room(d, len) : 0;

    if (n > 0)
        kernel_append(d->object, d->side, from, (size_t)n);
    return n;
}

WRAP(ssize_t, send, int fd, const void *from, size_t len, int flags)
{
    ssize_t n = kernel_send(kernel_fd(fd, FD_STREAM, "send"), from, len);

    SIM_CHECK(flags & MSG_NOSIGNAL);
    sim_log("send", fd, (int64_t)len, n);
    return n;
}

WRAP(ssize_t, sendmsg, int fd, const struct msghdr *m, int flags)
{
    struct descriptor *d = kernel_fd(fd, FD_STREAM, "sendmsg");
    size_t len = 0, left, i, part;
    ssize_t n;

    SIM_CHECK(flags & MSG_NOSIGNAL);
    for (i = 0; i < m->msg_iovlen; i++)
        len += m->msg_iov[i].iov_len;
    n = len > 0 ? send_room(d, len) : 0;
    sim_log("sendmsg", fd, (int64_t)len, n);
    left = n > 0 ? (size_t)n : 0;
    for (i = 0; left > 0; i++, left -= part) {
        part = wawo_min_size(left, m->msg_iov[i].iov_len);
        kernel_append(d->object, d->side, m->msg_iov[i].iov_base, part);
    }
    return n;
}

WRAP(int, shutdown, int fd, int how)
{
    struct descriptor *d = kernel_fd(fd, FD_STREAM, "shutdown");

    SIM_CHECK(how == SHUT_WR);
    sim_log("shutdown", fd, 0, 0);
    if (pipes[d->object].side[d->side].reset || pipes[d->object].state == LINK_FAILED)
        return (int)failed(ENOTCONN);
    kernel_shutdown(d->object, d->side);
    return 0;
}

WRAP(int, ioctl, int fd, unsigned long request, ...)
{
    struct descriptor *d = kernel_fd(fd, FD_STREAM, "ioctl");
    const struct half *out = &pipes[d->object].half[d->side], *in = &pipes[d->object].half[1 - d->side];
    va_list more;
    int *value;

    va_start(more, request);
    value = va_arg(more, int *);
    va_end(more);
    *value = (int)(request == FIONREAD ? in->arrived - in->read : out->sent - out->arrived);
    return 0;
}

/* ---- files ---- */

uint8_t file_byte(uint64_t offset)
{
    return (uint8_t)('a' + (offset * 7 + offset / 16) % 16);
}

int kernel_file(uint64_t size)
{
    int fd = kernel_open(FD_FILE, (int)sim_below(3), 0, false);

    kernel_fd(fd, FD_FILE, "open")->value = size;
    return fd;
}

static ssize_t file_read(const struct descriptor *d, uint8_t *to, uint64_t offset, size_t len)
{
    size_t n = offset < d->value ? wawo_min_size(len, (size_t)(d->value - offset)) : 0, i;

    for (i = 0; i < n; i++)
        to[i] = file_byte(offset + i);
    return (ssize_t)n;
}

WRAP(ssize_t, sendfile, int to, int from, off_t *offset, size_t len)
{
    struct descriptor *f = kernel_fd(from, FD_FILE, "sendfile"), *d = kernel_fd(to, FD_FREE, "sendfile");
    uint8_t block[BLOCK];
    ssize_t n, room;

    n = file_read(f, block, (uint64_t)*offset, wawo_min_size(len, sizeof block));
    if (d->kind != FD_NOWHERE && n > 0) {
        SIM_CHECK(d->kind == FD_STREAM);
        room = send_room(d, (size_t)n);
        if (room <= 0)
            return room;
        n = room;
        kernel_append(d->object, d->side, block, (size_t)n);
    }
    sim_log("sendfile", to, *offset, n);
    *offset += n;
    return n;
}

WRAP(ssize_t, pread, int fd, void *to, size_t len, off_t offset)
{
    static const int errors[] = {EINTR, EIO, 0};
    struct descriptor *f = kernel_fd(fd, FD_FILE, "pread");

    if (kernel_fault(errors))
        return -1;
    return file_read(f, to, (uint64_t)offset, len);
}

/* Of the bare calls io_uring's, and those that ask what is in memory. There are kernels without the one, and file systems without the
 * other: the file says which. */
WRAP(long, syscall, long number, ...)
{
    va_list more;
    long n;
    int fd;

    va_start(more, number);
    if (number >= URING_SYS_SETUP && number <= URING_SYS_REGISTER) {
        n = kernel_uring(number, more);
        va_end(more);
        return n;
    }
    fd = va_arg(more, int);
    va_end(more);
    if (number != SYS_preadv2 || kernel_fd(fd, FD_FILE, "preadv2")->object == 2)
        return failed(number == SYS_preadv2 ? EOPNOTSUPP : ENOSYS);
    return sim_chance(COLD) ? failed(EAGAIN) : 1;
}

WRAP(int, fstatfs, int fd, struct statfs *st)
{
    (void)kernel_fd(fd, FD_FILE, "fstatfs");
    memset(st, 0, sizeof *st);
    if (sim_chance(500))
        st->f_type = TMPFS_MAGIC;
    return 0;
}

WRAP(int, posix_fadvise, int fd, off_t offset, off_t len, int advice)
{
    (void)offset, (void)len, (void)advice;
    (void)kernel_fd(fd, FD_FILE, "posix_fadvise");
    return 0;
}

WRAP(ssize_t, readahead, int fd, off64_t offset, size_t len)
{
    (void)offset, (void)len;
    (void)kernel_fd(fd, FD_FILE, "readahead");
    return 0;
}

WRAP(int, open, const char *path, int flags, ...)
{
    int fd;

    (void)flags;
    if (strcmp(path, "/proc/sys/kernel/io_uring_disabled") == 0) {
        fd = kernel_open(FD_SYSCTL, 0, 0, true);
        if (fd >= 0)
            kernel_fd(fd, FD_SYSCTL, "open")->value = sim_below(3);
        return fd;
    }
    SIM_CHECK(strcmp(path, "/dev/null") == 0);
    return kernel_open(FD_NOWHERE, 0, 0, true);
}

WRAP64(sendfile);
WRAP64(pread);
WRAP64(open);
WRAP64(posix_fadvise);
WRAP64(fstatfs);
