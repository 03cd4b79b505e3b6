/* A child is this program again, for one test: there is no fork(). Files are descriptors of the C library, sockets are
 * their handles, as in base/os_win.c. */
#include "os.h"

#include "support/harness.h"

#include "base/os.h"
#include "base/os_win.h"

#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <winternl.h>

/* ---- children ---- */

enum { START_TRIES = 20 };

struct pipe_end {
    HANDLE from;
    char *output;
    size_t most, length;
};

static DWORD WINAPI read_main(void *arg)
{
    struct pipe_end *p = arg;
    char rest[4096];
    DWORD n;

    for (;;) {
        bool full = p->length == p->most;
        size_t room = full ? sizeof rest : p->most - p->length;

        if (!ReadFile(p->from, full ? rest : p->output + p->length, (DWORD)room, &n, NULL) || n == 0)
            return 0;
        if (!full)
            p->length += n;
    }
}

/* A process in a job of its own, that ends with it; what it started too. */
static bool start(const struct os_child *child, HANDLE out, HANDLE job, PROCESS_INFORMATION *made)
{
    STARTUPINFOA how = {.cb = sizeof how, .dwFlags = STARTF_USESTDHANDLES};
    char self[MAX_PATH], line[MAX_PATH + 600];
    int tries = 0;

    if (GetModuleFileNameA(NULL, self, sizeof self) == 0)
        return false;
    snprintf(line, sizeof line, "\"%s\" %s \"%s\"", self, child->flag, child->argument);
    how.hStdOutput = how.hStdError = out;
    while (!CreateProcessA(self, line, NULL, NULL, TRUE, CREATE_SUSPENDED, NULL, NULL, &how, made)) {
        if (GetLastError() != ERROR_INTERNAL_ERROR || ++tries == START_TRIES)
            return false;
        Sleep(100); /* Wine on a busy machine, one process of ten thousand */
    }
    (void)AssignProcessToJobObject(job, made->hProcess);
    (void)ResumeThread(made->hThread);
    return true;
}

static struct os_end judge(DWORD status, bool in_time)
{
    if (!in_time)
        return (struct os_end){"not done at the deadline", 0};
    if (status >= 0x80000000u) /* the code of an exception: no exit of a test is so large */
        return (struct os_end){"ended by an exception", (int)status};
    return (struct os_end){NULL, (int)status};
}

struct os_end os_run(const struct os_child *child, int deadline_s, char *output, size_t most, size_t *length)
{
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof inherited, .bInheritHandle = TRUE};
    struct pipe_end p = {.output = output, .most = most};
    HANDLE to, reader, job = CreateJobObjectA(NULL, NULL);
    PROCESS_INFORMATION made;
    DWORD status = 0;
    bool in_time;

    fflush(NULL);
    if (!CreatePipe(&p.from, &to, &inherited, 0) || !SetHandleInformation(p.from, HANDLE_FLAG_INHERIT, 0) ||
        !start(child, to, job, &made)) {
        fprintf(stderr, "harness: no child: %lu\n", GetLastError());
        exit(2);
    }
    CloseHandle(to);
    reader = CreateThread(NULL, 0, read_main, &p, 0, NULL);
    in_time = WaitForSingleObject(made.hProcess, (DWORD)deadline_s * 1000) == WAIT_OBJECT_0;
    (void)TerminateProcess(made.hProcess, EXIT_FAILURE);
    (void)TerminateJobObject(job, EXIT_FAILURE); /* what the test started and forgot */
    (void)WaitForSingleObject(reader, INFINITE); /* nobody has the other end any more */
    (void)WaitForSingleObject(made.hProcess, INFINITE);
    (void)GetExitCodeProcess(made.hProcess, &status);
    CloseHandle(reader);
    CloseHandle(made.hThread);
    CloseHandle(made.hProcess);
    CloseHandle(p.from);
    CloseHandle(job);
    *length = p.length;
    return judge(status, in_time);
}

/* The newer C library ends the process for a bad descriptor, unless somebody takes the call. */
static void no_handler(const wchar_t *expression, const wchar_t *function, const wchar_t *file, unsigned line,
                       uintptr_t reserved)
{
    (void)expression, (void)function, (void)file, (void)line, (void)reserved;
}

void os_begin(void)
{
    WSADATA data;

    setvbuf(stdout, NULL, _IONBF, 0); /* in the order in which it was printed, and not lost in a crash */
    (void)SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX); /* a crash ends it, no window, no debugger */
    (void)_set_invalid_parameter_handler(no_handler);
    (void)_setmode(_fileno(stdout), _O_BINARY);
    (void)_setmode(_fileno(stderr), _O_BINARY);
    ASSERT_EQ(WSAStartup(MAKEWORD(2, 2), &data), 0);
}

int os_fork(void (*child)(void *arg), void *arg)
{
    (void)child, (void)arg;
    SKIP("there is no fork here");
}

/* ---- time ---- */

void os_sleep_ms(unsigned ms)
{
    Sleep(ms);
}

long os_process_id(void)
{
    return (long)GetCurrentProcessId();
}

/* ---- sockets ---- */

static void set_int(int fd, int level, int option, int value)
{
    ASSERT_EQ(setsockopt(wawo_os_handle(fd), level, option, (const char *)&value, sizeof value), 0);
}

static int get_int(int fd, int level, int option)
{
    int value = 0, len = sizeof value;

    ASSERT_EQ(getsockopt(wawo_os_handle(fd), level, option, (char *)&value, &len), 0);
    return value;
}

void os_set_deadline(int fd, int seconds)
{
    set_int(fd, SOL_SOCKET, SO_RCVTIMEO, seconds * 1000);
    set_int(fd, SOL_SOCKET, SO_SNDTIMEO, seconds * 1000);
}

bool os_is_deadline(ptrdiff_t code)
{
    return code == WAWO_ETIMEDOUT;
}

void os_set_blocking(int fd, bool blocking)
{
    u_long on = !blocking;

    ASSERT_EQ(ioctlsocket(wawo_os_handle(fd), (long)FIONBIO, &on), 0);
}

void os_set_buffers(int fd, int bytes)
{
    set_int(fd, SOL_SOCKET, SO_RCVBUF, bytes);
    set_int(fd, SOL_SOCKET, SO_SNDBUF, bytes);
}

/* Here a listener has it anyway, and the option would share the port with strangers. */
void os_reuse_port(int fd)
{
    (void)fd;
}

void os_block_pipe_signal(void)
{
}

void os_listen(int fd, int backlog)
{
    ASSERT_EQ(listen(wawo_os_handle(fd), backlog), 0);
}

bool os_wait_readable(int fd, int seconds)
{
    struct timeval most = {.tv_sec = seconds};
    fd_set set = {.fd_count = 1};

    set.fd_array[0] = wawo_os_handle(fd);
    return select(0, &set, NULL, NULL, &most) == 1;
}

bool os_accepts_resets(void)
{
    return false;
}

bool os_was_reset(int fd)
{
    WSAPOLLFD p = {.fd = wawo_os_handle(fd), .events = POLLIN};

    return WSAPoll(&p, 1, 0) == 1 && (p.revents & POLLERR) != 0;
}

ptrdiff_t os_recv_now(int fd, void *buf, size_t len)
{
    ptrdiff_t n;

    os_set_blocking(fd, false);
    n = wawo_os_recv(fd, buf, len);
    os_set_blocking(fd, true);
    return n;
}

ptrdiff_t os_send_now(int fd, const void *buf, size_t len)
{
    ptrdiff_t n;

    os_set_blocking(fd, false);
    n = wawo_os_send(fd, buf, len);
    os_set_blocking(fd, true);
    return n;
}

bool os_break_listener(int fd)
{
    (void)fd;
    return false;
}

bool os_has_unix(void)
{
    return false;
}

bool os_has_abstract(void)
{
    return false;
}

bool os_full_backlog_waits(void)
{
    return false;
}

int os_error_of_no_socket(void)
{
    return ENOTSUP;
}

void os_pair_unix(int fds[2])
{
    (void)fds;
    FAIL("there are no unix sockets here");
}

bool os_has_keepalive(int fd)
{
    return get_int(fd, SOL_SOCKET, SO_KEEPALIVE) != 0;
}

void os_mark(int fd, int mark)
{
    set_int(fd, IPPROTO_IP, IP_TTL, mark);
}

int os_marked(int fd)
{
    return get_int(fd, IPPROTO_IP, IP_TTL);
}

bool os_is_nonblocking(int fd)
{
    (void)fd;
    return true; /* nothing tells */
}

bool os_is_private(int fd)
{
    DWORD flags = HANDLE_FLAG_INHERIT;

    return GetHandleInformation((HANDLE)(intptr_t)fd, &flags) && (flags & HANDLE_FLAG_INHERIT) == 0;
}

/* ---- limits ---- */

bool os_allow_fds(unsigned count)
{
    (void)count;
    return true;
}

bool os_forbid_fds(int first)
{
    (void)first;
    return false;
}

void os_allow_all_fds(void)
{
}

/* Whether it is what wawo could forget. Of other kinds the libraries of the system make some when they need them first. */
static bool is_ours(HANDLE handle)
{
    static const wchar_t *const kinds[] = {L"File", L"IoCompletion", L"Thread"};
    static NTSTATUS(NTAPI * query)(HANDLE, OBJECT_INFORMATION_CLASS, void *, ULONG, ULONG *);
    struct {
        PUBLIC_OBJECT_TYPE_INFORMATION type;
        wchar_t name[200];
    } info = {.name = {0}};
    FARPROC found;
    size_t i;

    if (query == NULL) {
        found = GetProcAddress(GetModuleHandleA("ntdll.dll"), "NtQueryObject");
        ASSERT_TRUE(found != NULL);
        memcpy(&query, &found, sizeof query);
    }
    if (query(handle, ObjectTypeInformation, &info, sizeof info, NULL) != 0)
        return false; /* another thread has closed it just now */
    for (i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (wcscmp(info.type.TypeName.Buffer, kinds[i]) == 0)
            return true;
    return false;
}

/* Every number is tried: the lowest that is free is taken first. */
unsigned os_open_fds(void)
{
    enum { GAP = 4 * 256 };
    intptr_t number, last = 0;
    unsigned n = 0;
    DWORD flags;

    for (number = 4; number < last + GAP; number += 4) {
        if (!GetHandleInformation((HANDLE)number, &flags))
            continue;
        last = number;
        n += is_ours((HANDLE)number);
    }
    return n;
}

/* ---- files ---- */

int os_temp_file(void)
{
    char folder[MAX_PATH], path[MAX_PATH];
    int fd;

    ASSERT_GT(GetTempPathA(sizeof folder, folder), 0);
    ASSERT_GT(GetTempFileNameA(folder, "wawo", 0, path), 0);
    fd = _open(path, _O_RDWR | _O_BINARY | _O_TEMPORARY | _O_NOINHERIT | _O_TRUNC, _S_IREAD | _S_IWRITE);
    ASSERT_GE(fd, 0);
    return fd;
}

int os_open_folder(void)
{
    return -1;
}

void os_file_write(int fd, const void *data, size_t len, uint64_t offset)
{
    ASSERT_EQ(_lseeki64(fd, (int64_t)offset, SEEK_SET), (int64_t)offset);
    ASSERT_EQ(_write(fd, data, (unsigned)len), (int)len);
}

void os_file_truncate(int fd, uint64_t size)
{
    ASSERT_EQ(_chsize_s(fd, (int64_t)size), 0);
}

int os_file_again(int fd)
{
    return _dup(fd);
}

bool os_file_is_open(int fd)
{
    return _get_osfhandle(fd) != -1;
}

/* ---- libraries ---- */

void *os_load(const char *const *names, const char **found)
{
    (void)names, (void)found;
    return NULL; /* no test here loads one */
}

/* ---- memory ---- */

size_t os_page(void)
{
    SYSTEM_INFO info;

    GetSystemInfo(&info);
    return info.dwPageSize;
}

uint8_t *os_guarded(size_t size)
{
    uint8_t *m = VirtualAlloc(NULL, size + os_page(), MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    DWORD before;

    ASSERT_NOT_NULL(m);
    ASSERT_TRUE(VirtualProtect(m + size, os_page(), PAGE_NOACCESS, &before));
    return m;
}

void os_guarded_free(uint8_t *p, size_t size)
{
    (void)size;
    ASSERT_TRUE(VirtualFree(p, 0, MEM_RELEASE));
}
