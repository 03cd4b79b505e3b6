/* F2 work: a small pool for what blocks (name look-ups; later, cold files). Its threads are never joined: a resolver may
 * hang for minutes, and nobody waits for that at exit. */
#ifndef WAWO_IO_WORK_H
#define WAWO_IO_WORK_H

#include "../base/mpsc.h"

enum { WAWO_WORK_THREADS = 4 };

struct wawo_work {
    struct wawo_node node;
    void (*run)(struct wawo_work *w); /* on a pool thread; owns `w` from then on */
};

/* Queues `w`; starts a thread when all are busy and fewer than WAWO_WORK_THREADS exist. WAWO_E…: no thread could be
 * started and nothing was queued. Any thread. */
int wawo_work_submit(struct wawo_work *w);
/* In the child after a fork: the threads are gone. */
void wawo_work_after_fork(void);

#endif
