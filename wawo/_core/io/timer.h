/* F2 timer: a hierarchical wheel of 1 ms ticks. Knows no clock: time is an argument. One thread. Setting, cancelling and
 * firing are O(1). */
#ifndef WAWO_IO_TIMER_H
#define WAWO_IO_TIMER_H

#include "../base/list.h"

struct wawo_timer {
    struct wawo_list link;
    int64_t due; /* tick */
    void (*fire)(struct wawo_timer *t);
};

enum { WAWO_WHEEL_LEVELS = 5, WAWO_WHEEL_SLOTS = 64 };

struct wawo_wheel {
    int64_t now; /* tick */
    size_t count;
    uint64_t used[WAWO_WHEEL_LEVELS]; /* a bit for each slot that is not empty */
    struct wawo_list slot[WAWO_WHEEL_LEVELS][WAWO_WHEEL_SLOTS];
};

/* Both without anything pending. A timer is embedded in what it serves. */
void wawo_wheel_init(struct wawo_wheel *w, int64_t now_ns);
void wawo_timer_init(struct wawo_timer *t, void (*fire)(struct wawo_timer *t));
static inline bool wawo_timer_pending(const struct wawo_timer *t)
{
    return !wawo_list_empty(&t->link);
}
/* Fires at `due_ns` or up to a tick later, never earlier; moves a pending timer. At most 12 days ahead: beyond that it
 * fires then. */
void wawo_timer_set(struct wawo_wheel *w, struct wawo_timer *t, int64_t due_ns);
/* Harmless on a timer that is not pending. */
void wawo_timer_cancel(struct wawo_wheel *w, struct wawo_timer *t);
/* Fires all that is due. fire() may set and cancel any timer. */
void wawo_wheel_advance(struct wawo_wheel *w, int64_t now_ns);
/* When to call advance next, in ns; may be earlier than the first timer, never later; -1 when there is none. */
int64_t wawo_wheel_next(const struct wawo_wheel *w);

#endif
