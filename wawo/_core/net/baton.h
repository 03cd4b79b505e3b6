/* F4 baton: the loops of the process take turns in user space before they ask for the GIL. CPython has no try-acquire: a
 * loop that waited there could not receive. Any thread. */
#ifndef WAWO_NET_BATON_H
#define WAWO_NET_BATON_H

#include "../base/config.h"

/* false: another loop has it. */
bool wawo_baton_try(void);
/* Waits until it was given back or the time is over; does not take it. */
void wawo_baton_wait(int64_t timeout_ns);
void wawo_baton_give(void);
/* In the child after a fork: whoever had it is gone. */
void wawo_baton_after_fork(void);

#endif
