#include "kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* ---- time ---- */

int64_t kit_deadline(void)
{
    return wawo_os_now_ns() + KIT_DEADLINE_S * WAWO_SEC;
}

void kit_tick(const char *file, int line, const char *what, int64_t until_ns)
{
    if (wawo_os_now_ns() > until_ns)
        harness_fail(file, line, "not within %d s: %s", KIT_DEADLINE_S, what);
    (void)poll(NULL, 0, 1);
}

/* ---- sockets ---- */

static void set_deadlines(int fd)
{
    struct timeval tv = {.tv_sec = KIT_DEADLINE_S};

    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv), 0);
}

static void set_blocking(int fd)
{
    ASSERT_EQ(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), 0);
    set_deadlines(fd);
}

int kit_listen_at(const char *host, uint16_t *port, int backlog)
{
    struct wawo_addr a;
    int fd, on = 1;

    ASSERT_EQ(wawo_addr_parse(&a, host, *port), 0);
    fd = wawo_os_socket(a.family);
    ASSERT_GE(fd, 0);
    /* Else a machine full of TIME_WAIT has no port left. */
    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    ASSERT_EQ(wawo_os_bind(fd, &a), 0);
    ASSERT_EQ(listen(fd, backlog), 0);
    ASSERT_EQ(wawo_os_local_addr(fd, &a), 0);
    *port = a.port;
    return fd;
}

int kit_deaf_listener(const char *address, uint16_t *port, int fill[KIT_FILL])
{
    struct wawo_addr to;
    int i, fd;

    *port = 0;
    fd = kit_listen_at(address, port, 0);
    ASSERT_EQ(wawo_addr_parse(&to, address, *port), 0);
    for (i = 0; i < KIT_FILL; i++) {
        fill[i] = wawo_os_socket(WAWO_AF_INET);
        (void)wawo_os_connect(fill[i], &to);
    }
    return fd;
}

void kit_close_deaf(int listener, const int fill[KIT_FILL])
{
    kit_close_all(fill, KIT_FILL);
    kit_close(listener);
}

int kit_listen(uint16_t *port)
{
    *port = 0;
    return kit_listen_at("127.0.0.1", port, 1024);
}

int kit_listen_unix(const char **host, int backlog)
{
    static char name[64];
    static unsigned count;
    uint16_t port = 0;

    snprintf(name, sizeof name, "unix:@wawo-tests-%ld-%u", (long)getpid(), ++count);
    *host = name;
    return kit_listen_at(name, &port, backlog);
}

static int connect_with(const char *from, uint16_t port, int buffer)
{
    struct wawo_addr a;
    int fd = wawo_os_socket(WAWO_AF_INET);

    ASSERT_GE(fd, 0);
    set_blocking(fd);
    if (buffer > 0) {
        ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer), 0);
        ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer), 0);
    }
    ASSERT_EQ(wawo_addr_parse(&a, from, 0), 0);
    ASSERT_EQ(wawo_os_bind_source(fd, &a), 0);
    ASSERT_EQ(wawo_addr_parse(&a, "127.0.0.1", port), 0);
    ASSERT_EQ(wawo_os_connect(fd, &a), 0);
    return fd;
}

int kit_connect(uint16_t port)
{
    return connect_with("127.0.0.1", port, 0);
}

int kit_connect_from(const char *host, uint16_t port)
{
    return connect_with(host, port, 0);
}

int kit_connect_small(uint16_t port)
{
    return connect_with("127.0.0.1", port, 4096);
}

int kit_accept(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    struct wawo_addr peer;
    int fd;

    ASSERT_EQ(poll(&p, 1, KIT_DEADLINE_S * 1000), 1);
    fd = wawo_os_accept(listener, &peer);
    ASSERT_GE(fd, 0);
    set_blocking(fd);
    return fd;
}

void kit_pair(int fds[2])
{
    uint16_t port;
    int listener = kit_listen(&port);

    fds[1] = kit_connect(port);
    fds[0] = kit_accept(listener);
    ASSERT_EQ(fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) | O_NONBLOCK), 0);
    kit_close(listener);
}

void kit_pair_unix(int fds[2])
{
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    set_deadlines(fds[1]);
    ASSERT_EQ(fcntl(fds[0], F_SETFL, fcntl(fds[0], F_GETFL) | O_NONBLOCK), 0);
}

void kit_write(int fd, const void *data, size_t len)
{
    const char *p = data;
    ptrdiff_t n;

    for (; len > 0; p += n, len -= (size_t)n) {
        n = wawo_os_send(fd, p, len);
        if (n < 0)
            FAIL("write: %s", strerror((int)-n));
    }
}

size_t kit_read(int fd, void *data, size_t len)
{
    size_t got = 0;
    ptrdiff_t n;

    while (got < len) {
        n = wawo_os_recv(fd, (char *)data + got, len - got);
        if (n < 0)
            FAIL("read after %zu of %zu bytes: %s", got, len, strerror((int)-n));
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return got;
}

int kit_read_end(int fd, uint64_t *bytes)
{
    char waste[16384];
    ptrdiff_t n;

    while ((n = wawo_os_recv(fd, waste, sizeof waste)) > 0)
        if (bytes != NULL)
            *bytes += (uint64_t)n;
    if (n == -EAGAIN)
        FAIL("the stream did not end");
    return (int)-n;
}

void kit_write_pattern(int fd, uint64_t offset, size_t len)
{
    uint8_t block[16384];
    size_t n;

    for (; len > 0; offset += n, len -= n) {
        n = wawo_min_size(len, sizeof block);
        kit_fill(block, n, offset);
        kit_write(fd, block, n);
    }
}

void kit_read_pattern(int fd, uint64_t offset, size_t len)
{
    uint8_t block[16384];
    size_t n;

    for (; len > 0; offset += n, len -= n) {
        n = wawo_min_size(len, sizeof block);
        ASSERT_EQ(kit_read(fd, block, n), n);
        KIT_CHECK(block, n, offset);
    }
}

int kit_file(uint64_t offset, size_t len)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    uint8_t block[16384];
    size_t at, n;
    int fd;

    snprintf(path, sizeof path, "%s/wawo-test-XXXXXX", folder != NULL ? folder : "/tmp");
    fd = mkostemp(path, O_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(unlink(path), 0);
    for (at = 0; at < len; at += n) {
        n = wawo_min_size(len - at, sizeof block);
        kit_fill(block, n, offset + at);
        ASSERT_EQ(write(fd, block, n), (ssize_t)n);
    }
    return fd;
}

void kit_shutdown(int fd)
{
    ASSERT_EQ(wawo_os_shutdown_write(fd), 0);
}

void kit_reset(int fd)
{
    wawo_os_close_hard(fd);
    wawo_os_close(fd);
}

void kit_close(int fd)
{
    wawo_os_close(fd);
}

void kit_close_all(const int *fds, int n)
{
    int i;

    for (i = 0; i < n; i++)
        kit_close(fds[i]);
}

uint16_t kit_dead_port(void)
{
    uint16_t port;

    kit_close(kit_listen(&port));
    return port;
}

unsigned kit_open_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    ASSERT_NOT_NULL(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* ---- bytes ---- */

uint8_t kit_byte(uint64_t i)
{
    return (uint8_t)(i * 31 + (i >> 8) * 17 + (i >> 16) * 7);
}

void kit_fill(uint8_t *p, size_t len, uint64_t offset)
{
    size_t i;

    for (i = 0; i < len; i++)
        p[i] = kit_byte(offset + i);
}

void kit_check(const char *file, int line, const uint8_t *p, size_t len, uint64_t offset)
{
    size_t i;

    for (i = 0; i < len; i++)
        if (p[i] != kit_byte(offset + i))
            harness_fail(file, line, "byte %llu of the stream is %02x, not %02x", (unsigned long long)(offset + i),
                         (unsigned)p[i], (unsigned)kit_byte(offset + i));
}

uint32_t kit_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */

    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(x >> 32);
}

uint32_t kit_below(uint64_t *state, uint32_t n)
{
    return kit_random(state) % n;
}

static size_t guard_pages(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (len + page - 1) / page * page;
}

uint8_t *kit_guard(size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = guard_pages(len);
    uint8_t *m = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ASSERT_TRUE(m != MAP_FAILED);
    ASSERT_EQ(mprotect(m + room, page, PROT_NONE), 0);
    return m + room - len;
}

void kit_guard_free(uint8_t *p, size_t len)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = guard_pages(len);

    ASSERT_EQ(munmap(p - (room - len), room + page), 0);
}

/* ---- threads ---- */

void kit_start(struct wawo_thread *t, void (*main)(void *arg), void *arg)
{
    ASSERT_EQ(wawo_thread_start(t, "test", main, arg), 0);
}
