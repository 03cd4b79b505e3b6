/* F0 mpsc: many producers, one consumer, intrusive, no allocation. The consumer takes everything at once, in the
 * order in which it was pushed.
 *
 * Orders: the exchange of a take reads what the pushes' cas wrote, and with it all that was written before the push. Both
 * are full, as is the load of empty(): a loop says that it sleeps and then looks here, who pushes looks for that after. */
#ifndef WAWO_BASE_MPSC_H
#define WAWO_BASE_MPSC_H

#include "config.h"

struct wawo_node {
    struct wawo_node *next;
};

struct wawo_mpsc {
    struct wawo_node *top; /* newest first; atomic */
};

static inline void wawo_mpsc_init(struct wawo_mpsc *q)
{
    q->top = NULL;
}

/* Pushes a node that is in no queue; false once the queue is closed. Any thread. */
bool wawo_mpsc_push(struct wawo_mpsc *q, struct wawo_node *n);

/* Pushes nodes that are linked already, each one's `next` being what was pushed before it: from `newest` to `oldest`. */
bool wawo_mpsc_push_chain(struct wawo_mpsc *q, struct wawo_node *newest, struct wawo_node *oldest);

/* Takes all nodes, oldest first, linked by `next`; NULL when empty. One consumer. */
struct wawo_node *wawo_mpsc_take(struct wawo_mpsc *q);

/* Takes all nodes and refuses every later push. The consumer. */
struct wawo_node *wawo_mpsc_close(struct wawo_mpsc *q);

/* May answer false while a push is under way on another thread. Any thread. */
bool wawo_mpsc_empty(struct wawo_mpsc *q);

#endif
