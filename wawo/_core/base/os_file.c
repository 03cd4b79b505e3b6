/* F0 os, files, for POSIX systems.
 *
 * Facts about Linux
 * - sendfile() waits for the disk when a page is missing, on a non-blocking socket too.
 * - cachestat() (6.5) counts the pages of a range that are in memory and starts no reading. It counts those that are
 *   being read as well. Only the owner of a file and who may write it may ask; overlayfs answers 0.
 * - preadv2(RWF_NOWAIT) of one byte answers EAGAIN for a page that is missing or being read; it starts the reading of a
 *   missing one. File systems without it (overlayfs, tmpfs, NFS, FUSE) answer EOPNOTSUPP.
 * - POSIX_FADV_RANDOM keeps sendfile() from reading ahead, which would be the loop waiting for a place in the disk's
 *   queue. A read of that descriptor still fetches all that it was asked for, in one go.
 *
 * Facts about macOS and the BSDs
 * - macOS, FreeBSD and DragonFly have each a sendfile() of its own; all count what went also when they fail.
 * - Nothing there tells what is in memory, but for mincore() of a mapping: so all of a file is read by the pool first. */
#include "config.h"

#include "atomic.h"
#include "err.h"
#include "os.h"
#include "os_file.h"

#include <fcntl.h>
#include <unistd.h>

#if defined(__linux__)
#include <linux/magic.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#else
#include <sys/types.h> /* before sys/uio.h, where that does not do it itself */

#include <sys/socket.h>
#include <sys/uio.h>
#endif

enum {
    READ_STEP = 128 * 1024,  /* what one request to read ahead surely fetches: some devices take no more at once */
    READ_BLOCK = 32 * 1024,  /* on the stack */
    COUNTED_STEP = 1 << 20,  /* all pages are there: only to meet those that are still being read */
    SAMPLED_STEP = 64 * 1024 /* pages are read and dropped in longer runs than this */
};

static bool (*pretend_cached)(uint64_t offset, size_t len); /* atomic */
static int (*pretend_load)(uint64_t offset, size_t len);    /* atomic */

void wawo_os_file_pretend(bool (*cached)(uint64_t offset, size_t len), int (*load)(uint64_t offset, size_t len))
{
    wawo_store(&pretend_cached, cached);
    wawo_store(&pretend_load, load);
}

static int load_by_reading(int fd, uint64_t offset, size_t len)
{
    char waste[READ_BLOCK];
    ssize_t n;

    while (len > 0) {
        n = pread(fd, waste, wawo_min_size(len, sizeof waste), (off_t)offset);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            offset += (uint64_t)n;
            len -= (size_t)n;
        }
    }
    return 0;
}

#if defined(__linux__)

/* The C library of an older system than the kernel may not know them. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif
#if !defined(SYS_preadv2) && defined(__x86_64__)
#define SYS_preadv2 327
#elif !defined(SYS_preadv2) && defined(__aarch64__)
#define SYS_preadv2 286
#endif

struct range {
    uint64_t offset, len;
};
struct counts {
    uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Whether a byte is there: 1 or 0, or why nobody can tell. */
static int sample(int fd, uint64_t offset)
{
#ifdef SYS_preadv2
    char byte;
    struct iovec iov = {&byte, 1};

    if (syscall(SYS_preadv2, fd, &iov, 1UL, (unsigned long)offset, (unsigned long)(offset >> 16 >> 16), RWF_NOWAIT) >=
        0)
        return 1; /* or the file ends before it: no need to wait for that either */
    return errno == EAGAIN || errno == EINTR ? 0 : -errno;
#else
    (void)fd, (void)offset;
    return WAWO_ENOTSUP;
#endif
}

/* Whether all pages of a range are there, or being read. */
static int count(int fd, uint64_t offset, size_t len)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct range r = {offset, len};
    struct counts c;

    if (syscall(SYS_cachestat, fd, &r, &c, 0) != 0)
        return -errno;
    return c.cached >= (offset + len - 1) / page - offset / page + 1;
}

static bool in_memory_only(int fd)
{
    struct statfs st;

    return fstatfs(fd, &st) == 0 && ((uint32_t)st.f_type == TMPFS_MAGIC || (uint32_t)st.f_type == RAMFS_MAGIC);
}

enum wawo_os_cache wawo_os_file_prepare(int fd, uint64_t offset)
{
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    if (sample(fd, offset) < 0)
        return in_memory_only(fd) ? WAWO_CACHE_ALWAYS : WAWO_CACHE_UNTOLD;
    return count(fd, offset, 1) >= 0 ? WAWO_CACHE_COUNTED : WAWO_CACHE_SAMPLED;
}

static bool cached(int fd, enum wawo_os_cache how, uint64_t offset, size_t len)
{
    uint64_t at, step = how == WAWO_CACHE_COUNTED ? COUNTED_STEP : SAMPLED_STEP;

    if (how == WAWO_CACHE_ALWAYS || how == WAWO_CACHE_UNTOLD || len == 0)
        return how != WAWO_CACHE_UNTOLD;
    if (how == WAWO_CACHE_COUNTED && count(fd, offset, len) != 1)
        return false;
    for (at = offset; at < offset + len; at += step)
        if (sample(fd, at) != 1)
            return false;
    return sample(fd, offset + len - 1) == 1;
}

static void read_ahead(int fd, uint64_t offset, uint64_t len)
{
    uint64_t at;

    for (at = offset; at < offset + len; at += READ_STEP)
        (void)readahead(fd, (off_t)at, READ_STEP);
}

ptrdiff_t wawo_os_sendfile(int sock, int fd, uint64_t offset, size_t len)
{
    off_t at = (off_t)offset;
    ssize_t n;

    do {
        n = sendfile(sock, fd, &at, len);
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? n : -errno;
}

/* Waits for the same pages as a send of them will, and copies nothing. */
static int load(int fd, uint64_t offset, size_t len)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ptrdiff_t n = WAWO_ENOTSUP;

    if (nowhere < 0)
        return load_by_reading(fd, offset, len);
    while (len > 0 && (n = wawo_os_sendfile(nowhere, fd, offset, len)) > 0) {
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    (void)close(nowhere);
    return n < 0 ? load_by_reading(fd, offset, len) : 0;
}

#else

static int load(int fd, uint64_t offset, size_t len)
{
    return load_by_reading(fd, offset, len);
}

enum wawo_os_cache wawo_os_file_prepare(int fd, uint64_t offset)
{
    (void)fd, (void)offset;
    return WAWO_CACHE_UNTOLD;
}

static bool cached(int fd, enum wawo_os_cache how, uint64_t offset, size_t len)
{
    (void)fd, (void)offset, (void)len;
    return how == WAWO_CACHE_ALWAYS;
}

static void read_ahead(int fd, uint64_t offset, uint64_t len)
{
    (void)fd, (void)offset, (void)len;
}

#if defined(__APPLE__)
static int send_pages(int sock, int fd, uint64_t offset, size_t len, off_t *sent)
{
    *sent = (off_t)len;
    return sendfile(fd, sock, (off_t)offset, sent, NULL, 0);
}
#elif defined(__FreeBSD__) || defined(__DragonFly__)
static int send_pages(int sock, int fd, uint64_t offset, size_t len, off_t *sent)
{
    return sendfile(fd, sock, (off_t)offset, len, NULL, sent, 0);
}
#else
static int send_pages(int sock, int fd, uint64_t offset, size_t len, off_t *sent)
{
    (void)sock, (void)fd, (void)offset, (void)len, (void)sent;
    errno = EOPNOTSUPP;
    return -1;
}
#endif

static ptrdiff_t send_copy(int sock, int fd, uint64_t offset, size_t len)
{
    char block[READ_BLOCK];
    ssize_t n;

    do {
        n = pread(fd, block, wawo_min_size(len, sizeof block), (off_t)offset);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return n == 0 ? 0 : -errno;
    return wawo_os_send(sock, block, (size_t)n);
}

ptrdiff_t wawo_os_sendfile(int sock, int fd, uint64_t offset, size_t len)
{
    off_t sent = 0;

    while (send_pages(sock, fd, offset, len, &sent) != 0) {
        if (errno == EOPNOTSUPP || errno == ENOTSUP || errno == ENOTSOCK || errno == EINVAL)
            return send_copy(sock, fd, offset, len); /* not of this file, or not into this socket */
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        if (sent > 0)
            break;
        if (errno == EAGAIN)
            return WAWO_AGAIN;
    }
    return (ptrdiff_t)sent;
}

#endif

ptrdiff_t wawo_os_file_read(int fd, void *to, uint64_t offset, size_t len)
{
    ssize_t n;

    do
        n = pread(fd, to, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

bool wawo_os_file_cached(int fd, enum wawo_os_cache how, uint64_t offset, size_t len)
{
    bool (*pretend)(uint64_t offset, size_t len) = wawo_load_relaxed(&pretend_cached);

    return wawo_likely(pretend == NULL) ? cached(fd, how, offset, len) : pretend(offset, len);
}

int wawo_os_file_load(int fd, uint64_t offset, size_t len, size_t ahead)
{
    int (*pretend)(uint64_t offset, size_t len) = wawo_load(&pretend_load);

    if (pretend != NULL)
        return pretend(offset, len);
    read_ahead(fd, offset, (uint64_t)len + ahead);
    return load(fd, offset, len);
}

void wawo_os_file_close(int fd)
{
    (void)close(fd); /* EINTR: as in wawo_os_close */
}
