#include "expected.h"

#include "base/config.h" /* the feature macros of the system's headers */

#include <stddef.h>
#include <string.h>

#if defined(__linux__)
#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#endif

#if defined(__linux__)
const char *const expected_backends[] = {"epoll", "poll", "uring", NULL};
#elif defined(_WIN32)
const char *const expected_backends[] = {"iocp", NULL};
#else
const char *const expected_backends[] = {"kqueue", "poll", NULL};
#endif

bool expected_to_leave_files(const char *backend)
{
    return strcmp(backend, "iocp") == 0;
}

#if defined(__linux__)
/* A call that cannot succeed tells whether it is allowed: with a bad address it gets as far as EFAULT. */
static const char *without_uring(void)
{
    struct utsname name;
    int major, minor;

    if (uname(&name) == 0 && sscanf(name.release, "%d.%d", &major, &minor) == 2 &&
        (major < 6 || (major == 6 && minor < 1)))
        return "a kernel before 6.1";
    if (syscall(425, 1, NULL) < 0 && errno != EFAULT)
        return errno == EPERM ? "forbidden by a sysctl or a seccomp profile" : "no such call here";
    return NULL;
}
#endif

const char *expected_excuse(const char *backend)
{
#if defined(__linux__)
    if (strcmp(backend, "uring") == 0)
        return without_uring();
#endif
    (void)backend;
    return NULL;
}

/* What is linked statically cannot load anything. */
bool expected_openssl(void)
{
#if defined(__linux__) && defined(__GLIBC__)
    return true;
#else
    return false;
#endif
}
