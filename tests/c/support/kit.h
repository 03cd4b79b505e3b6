/* What the tests need of the system: blocking sockets of their own with a deadline on every call, a pattern that shows
 * lost, doubled and swapped bytes, a fixed random generator, memory that ends at a guard page. */
#ifndef WAWO_TESTS_KIT_H
#define WAWO_TESTS_KIT_H

#include "support/harness.h"

#include "base/err.h" /* its errno values are wawo's */
#include "base/os.h"

enum { KIT_DEADLINE_S = 10 };

/* ---- time ---- */

/* Lets other threads run for a moment; fails the test when `until_ns` has passed. */
void kit_tick(const char *file, int line, const char *what, int64_t until_ns);
int64_t kit_deadline(void);
/* Seconds from now on. */
int kit_deadline_s(void);

/* Waits until another thread has made `cond` true. */
#define KIT_UNTIL(cond)                                                                                                \
    do {                                                                                                               \
        int64_t until_ = kit_deadline();                                                                               \
        while (!(cond))                                                                                                \
            kit_tick(__FILE__, __LINE__, #cond, until_);                                                               \
    } while (0)

/* ---- sockets ---- */

/* A listening socket on 127.0.0.1, non-blocking as the core wants it. */
int kit_listen(uint16_t *port);
int kit_listen_at(const char *host, uint16_t *port, int backlog);
/* The same on a unix socket of this process; *host is what to dial, until the next call. A file of it goes with kit_close. */
int kit_listen_unix(const char **host, int backlog);
/* The same where one connection fills the backlog; skips the test where further ones are not to wait. */
int kit_listen_unix_crowded(const char **host);
/* Connected to 127.0.0.1, blocking. */
int kit_connect(uint16_t port);
/* The same from an address of 127.0.0.0/8. */
int kit_connect_from(const char *host, uint16_t port);
/* The same with small buffers on this side. */
int kit_connect_small(uint16_t port);
int kit_accept(int listener);
/* A connected pair over loopback TCP: [0] non-blocking for the core, [1] blocking. */
void kit_pair(int fds[2]);
/* The same of unix sockets, both unnamed. */
void kit_pair_unix(int fds[2]);
void kit_write(int fd, const void *data, size_t len);
/* What came before a kit_write came before this, on the thread that heard of it. The sanitizer of threads knows that of
 * bytes that calls receive, not of those that the kernel puts into a ring. */
void kit_heard(void);
/* Until `len` bytes or the end of the stream; what came. A reset or a deadline fails the test. */
size_t kit_read(int fd, void *data, size_t len);
/* Reads and drops until the stream ends: 0 at a clean end, else the errno. *bytes may be NULL. */
int kit_read_end(int fd, uint64_t *bytes);
/* The next bytes of the pattern. */
void kit_write_pattern(int fd, uint64_t offset, size_t len);
void kit_read_pattern(int fd, uint64_t offset, size_t len);
/* The pattern from its start, into a socket that does not block, until the kernel takes no more; how much that was. */
size_t kit_write_full(int fd);
void kit_shutdown(int fd);
/* A file without a name that holds the pattern from `offset` on; open for reading and writing. */
int kit_file(uint64_t offset, size_t len);
/* Closes with RST. */
void kit_reset(int fd);
void kit_close(int fd);
void kit_close_all(const int *fds, int n);
/* Whether ::1 is there. */
bool kit_has_ipv6(void);
/* A port on 127.0.0.1 where nobody listens. */
uint16_t kit_dead_port(void);
enum { KIT_FILL = 8 };
/* Listens on a new port with a full backlog, so that the kernel leaves further SYNs without an answer. */
int kit_deaf_listener(const char *address, uint16_t *port, int fill[KIT_FILL]);
void kit_close_deaf(int listener, const int fill[KIT_FILL]);
unsigned kit_open_fds(void);

/* ---- bytes ---- */

uint8_t kit_byte(uint64_t offset);
void kit_fill(uint8_t *p, size_t len, uint64_t offset);
void kit_check(const char *file, int line, const uint8_t *p, size_t len, uint64_t offset);
#define KIT_CHECK(p, len, offset) kit_check(__FILE__, __LINE__, p, len, offset)
/* The same numbers on every machine. */
uint32_t kit_random(uint64_t *state);
/* A number below `n`. */
uint32_t kit_below(uint64_t *state, uint32_t n);
/* `len` bytes that end right before a page without access. */
uint8_t *kit_guard(size_t len);
void kit_guard_free(uint8_t *p, size_t len);

/* ---- threads ---- */

void kit_start(struct wawo_thread *t, void (*main)(void *arg), void *arg);

#endif
