/* F4 event: the batch of one loop, where events wait for the one delivery of the turn. Fixed room: every source of events
 * stops at WAWO_BATCH_FULL, and what a full turn can still add fits behind it. */
#ifndef WAWO_NET_EVENT_H
#define WAWO_NET_EVENT_H

#include "../wawo.h"

enum {
    WAWO_BATCH_FULL = 512, /* sources that can wait do so from here on */
    WAWO_BATCH_ROOM = 16384
};

struct wawo_net;
struct wawo_conn;

struct wawo_batch {
    struct wawo_event *events;
    unsigned count;
};

static inline unsigned wawo_event_bit(enum wawo_event_kind kind)
{
    return 1u << kind;
}

/* Adds an event of `c`; the caller fills in what the kind carries. Loop. */
struct wawo_event *wawo_event_add(struct wawo_net *net, enum wawo_event_kind kind, struct wawo_conn *c);

#endif
