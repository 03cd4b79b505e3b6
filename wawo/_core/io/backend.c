#include "backend.h"

#include "../base/err.h"

/* Every backend built for this platform, best first: the one place that names them. */
const struct wawo_backend_ops *const wawo_backends[] = {
#if defined(WAWO_KQUEUE)
    &wawo_backend_kqueue,
#endif
#if defined(__linux__)
    &wawo_backend_uring, &wawo_backend_epoll,
#endif
#if defined(_WIN32)
    &wawo_backend_iocp,
#else
    &wawo_backend_poll,
#endif
    NULL};

const struct wawo_backend_ops *wawo_backend_choose(const char *name, int *err)
{
    const struct wawo_backend_ops *const *b;
    const char *why;

    *err = WAWO_EINVAL;
    for (b = wawo_backends; *b != NULL; b++) {
        if (name != NULL ? strcmp(name, (*b)->name) != 0 : (*b)->on_request)
            continue;
        *err = (*b)->probe(*b, &why);
        if (*err == 0)
            return *b;
    }
    return NULL;
}

void wawo_backend_shutdown(struct wawo_backend *b, struct wawo_sock *s)
{
    (void)b;
    (void)wawo_os_shutdown_write(s->fd); /* ENOTCONN after a reset: the next read tells */
}

bool wawo_backend_unread(struct wawo_backend *b, const struct wawo_sock *s)
{
    (void)b;
    return wawo_os_unread(s->fd) > 0;
}

int64_t wawo_backend_clock(struct wawo_backend *b)
{
    (void)b;
    return wawo_os_now_ns();
}
