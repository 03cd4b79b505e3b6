/* F2 poller: the readiness table, five functions an engine, or six. A poller calls nobody: what fired goes into an array. */
#ifndef WAWO_IO_POLLER_H
#define WAWO_IO_POLLER_H

#include "../base/config.h"

struct wawo_poller; /* each engine's own */

enum { WAWO_READABLE = 1, WAWO_WRITABLE = 2, WAWO_REFUSED = 4 };

struct wawo_fired {
    uint64_t tag;
    unsigned events; /* an error or a hang-up reports both: the next read or write tells which */
    int error; /* only with WAWO_REFUSED, which comes alone: why the interest cannot be kept, a negative code */
};

struct wawo_poller_ops {
    const char *name;
    /* 0, or why the system refuses. */
    int (*open)(struct wawo_poller **out);
    void (*close)(struct wawo_poller *p);
    /* Changes the interest in `fd` from `old` to `want`; 0 = not in the poller. Level triggered. `tag` is never 0. What
     * cannot be kept is told at once, or by the next wait (WAWO_REFUSED) as if it were kept until it is given up. */
    int (*set)(struct wawo_poller *p, int fd, uint64_t tag, unsigned old, unsigned want);
    /* `fd`, which has left the poller, is closed next. NULL where that makes no difference. */
    void (*forget)(struct wawo_poller *p, int fd);
    /* Waits at most timeout_ns (-1: for ever); the count of fired, 0 after a wake or the timeout, or for nothing. One fd
     * may come twice, once for each direction. */
    int (*wait)(struct wawo_poller *p, struct wawo_fired *fired, int max, int64_t timeout_ns);
    /* Ends the current or the next wait. Any thread. */
    void (*wake)(struct wawo_poller *p);
};

extern const struct wawo_poller_ops wawo_poller_epoll;
extern const struct wawo_poller_ops wawo_poller_kqueue;
extern const struct wawo_poller_ops wawo_poller_poll;

/* Milliseconds for the kernel: rounded up, so that a timer is due when the wait ends. */
static inline int wawo_poller_ms(int64_t timeout_ns)
{
    int64_t ms = (timeout_ns + WAWO_MSEC - 1) / WAWO_MSEC;

    return timeout_ns < 0 ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;
}

#endif
