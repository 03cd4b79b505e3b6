#include "kit.h"

#include "base/atomic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- time ---- */

/* Within the test's own deadline (tests/c/support/harness.c), so that it tells what it waits for. */
int kit_deadline_s(void)
{
    const char *text = getenv("WAWO_TEST_DEADLINE");
    int given = text != NULL ? atoi(text) / 2 : 0;

    return given > KIT_DEADLINE_S ? given : KIT_DEADLINE_S;
}

int64_t kit_deadline(void)
{
    return wawo_os_now_ns() + kit_deadline_s() * WAWO_SEC;
}

void kit_tick(const char *file, int line, const char *what, int64_t until_ns)
{
    if (wawo_os_now_ns() > until_ns)
        harness_fail(file, line, "not within %d s: %s", kit_deadline_s(), what);
    os_sleep_ms(1);
}

/* ---- sockets ---- */

static void set_blocking(int fd)
{
    os_set_blocking(fd, true);
    os_set_deadline(fd, kit_deadline_s());
}

/* Binds to a port that no system hands out by itself: it shall be free at another address, too. */
static int bind_to_any(int fd, const char *host)
{
    uint64_t chance = (uint64_t)wawo_os_now_ns();
    struct wawo_addr a;
    int tries = 0, err;

    do {
        chance = chance * UINT64_C(6364136223846793005) + 1442695040888963407;
        ASSERT_EQ(wawo_addr_parse(&a, host, (uint16_t)(10000 + (chance >> 33) % 5000)), 0);
        err = wawo_os_bind(fd, &a);
    } while (err != 0 && ++tries < 100);
    return err;
}

int kit_listen_at(const char *host, uint16_t *port, int backlog)
{
    struct wawo_addr a;
    int fd;

    ASSERT_EQ(wawo_addr_parse(&a, host, *port), 0);
    fd = wawo_os_socket(a.family);
    ASSERT_GE(fd, 0);
    /* Else a machine full of TIME_WAIT has no port left. */
    os_reuse_port(fd);
    ASSERT_EQ(*port == 0 ? bind_to_any(fd, host) : wawo_os_bind(fd, &a), 0);
    os_listen(fd, backlog);
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

/* The last unix socket that has a file, and its name. */
static struct {
    int fd;
    char host[64];
} unix_listener = {-1, ""};

int kit_listen_unix(const char **host, int backlog)
{
    const char *folder = os_has_abstract() ? "@" : "/tmp/";
    static unsigned count;
    uint16_t port = 0;
    int fd;

    if (!os_has_unix())
        SKIP("there are no unix sockets here");
    snprintf(unix_listener.host, sizeof unix_listener.host, "unix:%swawo-tests-%ld-%u", folder, os_process_id(),
             ++count);
    *host = unix_listener.host;
    fd = kit_listen_at(*host, &port, backlog);
    if (!os_has_abstract())
        unix_listener.fd = fd;
    return fd;
}

int kit_listen_unix_crowded(const char **host)
{
    if (os_has_unix() && !os_full_backlog_waits())
        SKIP("a full backlog refuses here");
    return kit_listen_unix(host, 0);
}

static int connect_with(const char *from, uint16_t port, int buffer)
{
    struct wawo_addr a;
    int err, fd = wawo_os_socket(WAWO_AF_INET);

    ASSERT_GE(fd, 0);
    set_blocking(fd);
    if (buffer > 0)
        os_set_buffers(fd, buffer);
    ASSERT_EQ(wawo_addr_parse(&a, from, 0), 0);
    ASSERT_EQ(wawo_os_bind_source(fd, &a), 0);
    ASSERT_EQ(wawo_addr_parse(&a, "127.0.0.1", port), 0);
    err = wawo_os_connect(fd, &a);
    if (err == WAWO_AGAIN) { /* interrupted, by the work of a ring that this thread had: it goes on by itself */
        KIT_UNTIL(wawo_os_peer_addr(fd, &a) == 0);
        err = wawo_os_socket_error(fd);
    }
    ASSERT_EQ(err, 0);
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
    struct wawo_addr peer;
    int fd;

    ASSERT_TRUE(os_wait_readable(listener, kit_deadline_s()));
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
    os_set_blocking(fds[0], false);
    kit_close(listener);
}

void kit_pair_unix(int fds[2])
{
    if (!os_has_unix())
        SKIP("there are no unix sockets here");
    os_pair_unix(fds);
    os_set_deadline(fds[1], kit_deadline_s());
    os_set_blocking(fds[0], false);
}

static uint32_t writes; /* atomic */

void kit_heard(void)
{
    (void)wawo_load(&writes);
}

void kit_write(int fd, const void *data, size_t len)
{
    const char *p = data;
    ptrdiff_t n;

    wawo_add(&writes, 1);
    for (; len > 0; p += n, len -= (size_t)n) {
        n = wawo_os_send(fd, p, len);
        if (n < 0)
            FAIL("write: %s", wawo_err_text((int)n));
    }
}

size_t kit_read(int fd, void *data, size_t len)
{
    size_t got = 0;
    ptrdiff_t n;

    while (got < len) {
        n = wawo_os_recv(fd, (char *)data + got, len - got);
        if (n < 0)
            FAIL("read after %zu of %zu bytes: %s", got, len, wawo_err_text((int)n));
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
    if (os_is_deadline(n))
        FAIL("the stream did not end");
    if (n == 0 && os_was_reset(fd))
        return ECONNRESET;
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

size_t kit_write_full(int fd)
{
    uint8_t block[4096];
    size_t total = 0;
    ptrdiff_t n;

    do {
        kit_fill(block, sizeof block, total);
        n = wawo_os_send(fd, block, sizeof block);
        total += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    ASSERT_TRUE(n == WAWO_AGAIN || n == WAWO_ENOBUFS);
    return total;
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
    uint8_t block[16384];
    size_t at, n;
    int fd = os_temp_file();

    for (at = 0; at < len; at += n) {
        n = wawo_min_size(len - at, sizeof block);
        kit_fill(block, n, offset + at);
        os_file_write(fd, block, n, at);
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
    if (fd == unix_listener.fd) {
        (void)remove(unix_listener.host + sizeof "unix:" - 1);
        unix_listener.fd = -1;
    }
}

void kit_close_all(const int *fds, int n)
{
    int i;

    for (i = 0; i < n; i++)
        kit_close(fds[i]);
}

bool kit_has_ipv6(void)
{
    struct wawo_addr a;
    int fd = wawo_os_socket(WAWO_AF_INET6), err;

    if (fd < 0)
        return false;
    ASSERT_EQ(wawo_addr_parse(&a, "::1", 0), 0);
    err = wawo_os_bind(fd, &a);
    kit_close(fd);
    return err == 0;
}

uint16_t kit_dead_port(void)
{
    struct wawo_addr a;
    int fd = wawo_os_socket(WAWO_AF_INET);

    /* Not reused: a test that dials from this port needs it free of TIME_WAIT, too. */
    ASSERT_GE(fd, 0);
    ASSERT_EQ(bind_to_any(fd, "127.0.0.1"), 0);
    ASSERT_EQ(wawo_os_local_addr(fd, &a), 0);
    kit_close(fd);
    return a.port;
}

unsigned kit_open_fds(void)
{
    return os_open_fds();
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
    size_t page = os_page();

    return (len + page - 1) / page * page;
}

uint8_t *kit_guard(size_t len)
{
    size_t room = guard_pages(len);

    return os_guarded(room) + room - len;
}

void kit_guard_free(uint8_t *p, size_t len)
{
    size_t room = guard_pages(len);

    os_guarded_free(p - (room - len), room);
}

/* ---- threads ---- */

void kit_start(struct wawo_thread *t, void (*main)(void *arg), void *arg)
{
    ASSERT_EQ(wawo_thread_start(t, "test", main, arg), 0);
}
