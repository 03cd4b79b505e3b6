/* What the harness and the tests need of the system beyond base/os.h; os_posix.c and os_win.c, and nothing else of the
 * tests, know which one it is. A call that cannot fail by its nature ends the test when it does. */
#ifndef WAWO_TESTS_OS_H
#define WAWO_TESTS_OS_H

#include "base/config.h" /* first: it sets the feature macros of the system's headers */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Which of the words of printf are known depends on whose printf it is. */
#ifdef __MINGW_PRINTF_FORMAT
#define OS_PRINTF(text, first) __attribute__((format(__MINGW_PRINTF_FORMAT, text, first)))
#else
#define OS_PRINTF(text, first) __attribute__((format(printf, text, first)))
#endif

/* ---- children ---- */

/* How a child came to its end. */
struct os_end {
    const char *why; /* unless by its own exit: NULL */
    int status;      /* of its exit; with `why`: the signal or the code of the crash, or 0 */
};

/* What a child shall run: a function in a copy of this process, or this program with a flag and its argument. */
struct os_child {
    void (*main)(const void *arg);
    const void *arg;
    const char *flag, *argument;
};

/* Runs a child to its end, at most for so many seconds; nothing that it started is left. Its output goes to `output`,
 * which has room for `most` bytes; what is too much is dropped. *length is what came. */
struct os_end os_run(const struct os_child *child, int deadline_s, char *output, size_t most, size_t *length);
/* First thing of the program. */
void os_begin(void);
/* Runs the function in a copy of this process with none of its threads; the status it left with, 0 if it returned.
 * Skips the test where there is no such thing. */
int os_fork(void (*child)(void *arg), void *arg);

/* ---- time ---- */

void os_sleep_ms(unsigned ms);
long os_process_id(void);

/* ---- sockets ---- */

/* Each receive and send of a blocking socket fails when it took longer. */
void os_set_deadline(int fd, int seconds);
/* Whether a receive failed for that reason. */
bool os_is_deadline(ptrdiff_t code);
void os_set_blocking(int fd, bool blocking);
void os_set_buffers(int fd, int bytes);
/* On this thread no signal tells that nobody is at the other end. */
void os_block_pipe_signal(void);
/* A listener may have a port on which old connections are dying. */
void os_reuse_port(int fd);
void os_listen(int fd, int backlog);
/* Whether there is something to receive or to accept within that time. */
bool os_wait_readable(int fd, int seconds);
/* A connection that is reset while it waits in a backlog is accepted all the same. */
bool os_accepts_resets(void);
/* Whether a stream that has ended was reset, where a receive does not tell: Wine's server takes the error away when no
 * operation waits for it. */
bool os_was_reset(int fd);
/* As wawo_os_recv and wawo_os_send, but a blocking socket does not wait: WAWO_AGAIN. */
ptrdiff_t os_recv_now(int fd, void *buf, size_t len);
ptrdiff_t os_send_now(int fd, const void *buf, size_t len);
/* Makes every accept fail, and the poller say that there is something to accept; false: there is no way. */
bool os_break_listener(int fd);
bool os_has_unix(void);
/* Whether unix sockets may have names that are no files. */
bool os_has_abstract(void);
/* Whether a connect to a unix socket with a full backlog is to be tried again; else it is refused. */
bool os_full_backlog_waits(void);
/* What a connect to a file says that is no socket. */
int os_error_of_no_socket(void);
void os_pair_unix(int fds[2]);
/* Whether keepalive is on. */
bool os_has_keepalive(int fd);
/* A number that can be put on a socket and read again, and that nothing else looks at. */
void os_mark(int fd, int mark);
int os_marked(int fd);
/* Whether a socket is non-blocking, and closed when another program is started. True where nothing tells. */
bool os_is_nonblocking(int fd);
bool os_is_private(int fd);

/* ---- limits ---- */

/* Lets so many descriptors be open, unless that many may be already; false: it is not to be had. */
bool os_allow_fds(unsigned count);
/* From now on none that is `first` or above; false: the system has no such limit. */
bool os_forbid_fds(int first);
/* Takes it back. */
void os_allow_all_fds(void);
/* Descriptors or handles that are open. */
unsigned os_open_fds(void);

/* ---- files ---- */

/* Without a name, open for reading and writing. */
int os_temp_file(void);
/* A folder opened for reading, where that can be, else -1. */
int os_open_folder(void);
void os_file_write(int fd, const void *data, size_t len, uint64_t offset);
void os_file_truncate(int fd, uint64_t size);
int os_file_again(int fd); /* a second descriptor of it */
bool os_file_is_open(int fd);

/* ---- libraries ---- */

/* Loads the first of these that there is, and says which; NULL: none. The list ends with NULL. */
void *os_load(const char *const *names, const char **found);

/* ---- memory ---- */

/* `size` bytes in whole pages, the page behind them without access. */
size_t os_page(void);
uint8_t *os_guarded(size_t size);
void os_guarded_free(uint8_t *p, size_t size);

#endif
