#include "expected.h"

#include "base/config.h" /* the feature macros of the system's headers */

#include <stddef.h>
#include <string.h>

#if defined(__linux__)
const char *const expected_backends[] = {"epoll", "poll", NULL};
#elif defined(_WIN32)
const char *const expected_backends[] = {"iocp", NULL};
#else
const char *const expected_backends[] = {"kqueue", "poll", NULL};
#endif

bool expected_to_leave_files(const char *backend)
{
    return strcmp(backend, "iocp") == 0;
}

const char *expected_excuse(const char *backend)
{
    (void)backend;
    return NULL;
}
