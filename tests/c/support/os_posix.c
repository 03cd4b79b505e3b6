/* fork() for children; the deadline is kept twice, by alarm() in the child and by the parent, because a test may block
 * signals or leave processes behind. */
#include "os.h"

#include "support/harness.h"

#include "base/err.h"
#include "base/os.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GRACE_S = 5 };

/* ---- children ---- */

static _Noreturn void be_child(const struct os_child *child, int out, int deadline_s)
{
    setpgid(0, 0);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    close(out);
    setvbuf(stdout, NULL, _IOLBF, 0); /* in the order in which it was printed, and not lost in a crash */
    alarm((unsigned)deadline_s);
    child->main(child->arg);
    _exit(0);
}

/* Reads until the child and all that it started have closed their output; false: the deadline passed first. */
static bool read_output(int fd, char *output, size_t most, size_t *length, int64_t until)
{
    char rest[4096];

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = until - wawo_os_now_ns();
        bool full = *length == most;
        ssize_t n;

        if (left <= 0)
            return false;
        if (poll(&p, 1, (int)(left / WAWO_MSEC) + 1) <= 0)
            continue;
        n = read(fd, full ? rest : output + *length, full ? sizeof rest : most - *length);
        if (n == 0 || (n < 0 && errno != EINTR))
            return true;
        if (n > 0 && !full)
            *length += (size_t)n;
    }
}

static struct os_end judge(int status, bool in_time)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        return (struct os_end){"not done at the deadline", 0};
    if (WIFSIGNALED(status))
        return (struct os_end){in_time ? "killed by a signal" : "not done at the deadline; signal", WTERMSIG(status)};
    return (struct os_end){in_time ? NULL : "left a process behind", WEXITSTATUS(status)};
}

struct os_end os_run(const struct os_child *child, int deadline_s, char *output, size_t most, size_t *length)
{
    int64_t start = wawo_os_now_ns();
    int pipes[2], status = 0;
    bool in_time;
    pid_t pid;

    fflush(NULL);
    *length = 0;
    if (pipe(pipes) != 0 || (pid = fork()) < 0) {
        perror("harness");
        exit(2);
    }
    if (pid == 0) {
        close(pipes[0]);
        be_child(child, pipes[1], deadline_s);
    }
    setpgid(pid, pid); /* in both, so that it is done whoever comes first */
    close(pipes[1]);
    in_time = read_output(pipes[0], output, most, length, start + (deadline_s + GRACE_S) * WAWO_SEC);
    close(pipes[0]);
    if (!in_time)
        kill(-pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    kill(-pid, SIGKILL); /* what the test started and forgot */
    return judge(status, in_time);
}

void os_begin(void)
{
}

int os_fork(void (*child)(void *arg), void *arg)
{
    pid_t pid = fork();
    int status = 0;

    ASSERT_GE(pid, 0);
    if (pid == 0) {
        child(arg);
        _exit(0);
    }
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* ---- time ---- */

void os_sleep_ms(unsigned ms)
{
    (void)poll(NULL, 0, (int)ms);
}

long os_process_id(void)
{
    return (long)getpid();
}

/* ---- sockets ---- */

void os_set_deadline(int fd, int seconds)
{
    struct timeval tv = {.tv_sec = seconds};

    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv), 0);
    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv), 0);
}

bool os_is_deadline(ptrdiff_t code)
{
    return code == WAWO_AGAIN;
}

void os_set_blocking(int fd, bool blocking)
{
    int flags = fcntl(fd, F_GETFL);

    ASSERT_EQ(fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK), 0);
}

void os_set_buffers(int fd, int bytes)
{
    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
}

void os_reuse_port(int fd)
{
    int on = 1;

    ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
}

void os_block_pipe_signal(void)
{
    sigset_t set;

    ASSERT_EQ(sigemptyset(&set), 0);
    ASSERT_EQ(sigaddset(&set, SIGPIPE), 0);
    ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
}

void os_listen(int fd, int backlog)
{
    ASSERT_EQ(listen(fd, backlog), 0);
}

bool os_wait_readable(int fd, int seconds)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, seconds * 1000) == 1;
}

bool os_accepts_resets(void)
{
    return true;
}

bool os_was_reset(int fd)
{
    (void)fd;
    return false;
}

ptrdiff_t os_recv_now(int fd, void *buf, size_t len)
{
    ssize_t n = recv(fd, buf, len, MSG_DONTWAIT);

    return n >= 0 ? n : -errno;
}

ptrdiff_t os_send_now(int fd, const void *buf, size_t len)
{
    ssize_t n = send(fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);

    return n >= 0 ? n : -errno;
}

bool os_break_listener(int fd)
{
    return shutdown(fd, SHUT_RD) == 0;
}

bool os_has_unix(void)
{
    return true;
}

#if defined(__linux__)
enum { LINUX = 1 };
#else
enum { LINUX = 0 };
#endif

bool os_has_abstract(void)
{
    return LINUX;
}

bool os_full_backlog_waits(void)
{
    return LINUX;
}

int os_error_of_no_socket(void)
{
    return LINUX ? ECONNREFUSED : ENOTSOCK;
}

void os_pair_unix(int fds[2])
{
    int i;

    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (i = 0; i < 2; i++)
        ASSERT_EQ(fcntl(fds[i], F_SETFD, FD_CLOEXEC), 0);
}

static int get_int(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof value;

    ASSERT_EQ(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

bool os_has_keepalive(int fd)
{
    return get_int(fd, SOL_SOCKET, SO_KEEPALIVE) != 0;
}

void os_mark(int fd, int mark)
{
    ASSERT_EQ(setsockopt(fd, IPPROTO_IP, IP_TTL, &mark, sizeof mark), 0);
}

int os_marked(int fd)
{
    return get_int(fd, IPPROTO_IP, IP_TTL);
}

bool os_is_nonblocking(int fd)
{
    return (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

bool os_is_private(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

/* ---- limits ---- */

static struct rlimit limit_before;
static bool limited;

bool os_allow_fds(unsigned count)
{
    struct rlimit limit;

    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    return limit.rlim_max >= count && setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

bool os_forbid_fds(int first)
{
    struct rlimit few;

    if (!limited)
        ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit_before), 0);
    limited = true;
    few = limit_before;
    few.rlim_cur = (rlim_t)first;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    return true;
}

void os_allow_all_fds(void)
{
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit_before), 0);
    limited = false;
}

unsigned os_open_fds(void)
{
    DIR *d = opendir("/dev/fd");
    unsigned n = 0;

    ASSERT_NOT_NULL(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* ---- files ---- */

int os_temp_file(void)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    int fd;

    snprintf(path, sizeof path, "%s/wawo-test-XXXXXX", folder != NULL ? folder : "/tmp");
    fd = mkostemp(path, O_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(unlink(path), 0);
    return fd;
}

int os_open_folder(void)
{
    return open("/", O_RDONLY | O_CLOEXEC);
}

void os_file_write(int fd, const void *data, size_t len, uint64_t offset)
{
    ASSERT_EQ(pwrite(fd, data, len, (off_t)offset), (ssize_t)len);
}

void os_file_truncate(int fd, uint64_t size)
{
    ASSERT_EQ(ftruncate(fd, (off_t)size), 0);
}

int os_file_again(int fd)
{
    return dup(fd);
}

bool os_file_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* ---- libraries ---- */

void *os_load(const char *const *names, const char **found)
{
    void *library = NULL;

    for (; *names != NULL && library == NULL; names++) {
        *found = *names;
        library = dlopen(*names, RTLD_LAZY | RTLD_GLOBAL);
    }
    return library;
}

/* ---- memory ---- */

size_t os_page(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

uint8_t *os_guarded(size_t size)
{
    uint8_t *m = mmap(NULL, size + os_page(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ASSERT_TRUE(m != MAP_FAILED);
    ASSERT_EQ(mprotect(m + size, os_page(), PROT_NONE), 0);
    return m;
}

void os_guarded_free(uint8_t *p, size_t size)
{
    ASSERT_EQ(munmap(p, size + os_page()), 0);
}
