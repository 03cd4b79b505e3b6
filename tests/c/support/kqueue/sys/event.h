/* A look-alike of kqueue over epoll, so that io/poller_kqueue.c runs on Linux: `tests/c/build.py --mode kqueue`. It
 * proves that file against a reading of the manual pages, not against a BSD.
 *
 * It knows EVFILT_READ, EVFILT_WRITE and EVFILT_USER, EV_ADD, EV_DELETE, EV_CLEAR and EV_RECEIPT; all else is EINVAL, and
 * so is udata. As there: a change that fails is an entry of its own, or ends the call when there is no room for it, and
 * then nothing is waited for; the filters of a descriptor go when that number is closed, though the open file lives on;
 * a child of fork has no queue. Not as there: fflags tells no more than that there is an error, for to take it would
 * clear it; writing is not at its end after our own shutdown; the numbers are FreeBSD's. */
#ifndef WAWO_TESTS_KQUEUE_H
#define WAWO_TESTS_KQUEUE_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_USER (-11)

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

#define NOTE_TRIGGER 0x01000000

struct kevent {
    uintptr_t ident;
    short filter;
    unsigned short flags;
    unsigned fflags;
    int64_t data;
    void *udata;
};

#define EV_SET(event, ident_, filter_, flags_, fflags_, data_, udata_)                                                 \
    (*(event) = (struct kevent){.ident = (ident_),                                                                     \
                                .filter = (filter_),                                                                   \
                                .flags = (flags_),                                                                     \
                                .fflags = (fflags_),                                                                   \
                                .data = (data_),                                                                       \
                                .udata = (udata_)})

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events, int room,
           const struct timespec *timeout);

/* For tests: adding such a filter fails with that error from now on; 0: no more. */
void lookalike_refuse(int filter, int error);
/* The calls of kevent so far, and the changes in them. */
extern unsigned long lookalike_calls, lookalike_changes;

#endif
