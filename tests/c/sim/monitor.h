/* Stands between a loop and its backend, and watches the contract of io/backend.h: what is told of a sock ends with its
 * DETACHED, which comes once, and nothing comes behind it. */
#ifndef WAWO_TESTS_SIM_MONITOR_H
#define WAWO_TESTS_SIM_MONITOR_H

struct wawo_loop;

void monitor_reset(void);
/* From now on; before the loop's first turn. */
void monitor_watch(struct wawo_loop *loop);
/* Nothing is attached any more. */
void monitor_check_end(void);

#endif
