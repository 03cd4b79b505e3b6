/* F4 net: what this floor keeps for each loop: the batch, the dirty list, the slabs, the way to the sink. */
#ifndef WAWO_NET_NET_H
#define WAWO_NET_NET_H

#include "conn.h"
#include "endpoint.h"

/* What is told of one pool of threads; outlives them. */
struct wawo_engine {
    const struct wawo_sink *sink;
    void *arg;
    wawo_i64 slow_ns; /* atomic */
};

struct wawo_net {
    struct wawo_loop *loop;
    const struct wawo_sink *sink;
    void *arg;
    const wawo_i64 *slow_ns;
    struct wawo_batch batch;
    struct wawo_conn *dirty, **dirty_last;
    struct wawo_conn *leaving; /* its CLOSE is being told; NULL mostly */
    struct wawo_list starving; /* connections that wait for chunks */
    struct wawo_list loose;    /* backlogs that hold some */
    struct wawo_list branches;
    struct wawo_slab conns, backlogs, helds;
    struct wawo_tls_loop tls;
    bool shares_gil;     /* with other loops of its pool */
    bool attached;       /* inside the sink: the GIL is ours */
    bool baton;          /* and the baton */
    bool sticky;         /* stay attached while there is work */
    bool fresh;          /* completions came in this turn */
    int64_t entered_ns;  /* when the sink was last entered */
    int64_t refused_ns;  /* since when the baton is refused, 0 = not */
    int64_t worked_ns;   /* last turn with completions */
    int64_t loans_ns;    /* since when loans wait, 0 = none */
    struct wawo_loop_stats stats; /* written by the loop, read by any */
};

/* Delivers the batch and settles the dirty connections. false: another loop has the baton and this can wait. */
bool wawo_net_deliver(struct wawo_net *net, bool must);
/* Delivers a full batch. For whoever is called many times a turn and adds events; not in deliver. */
void wawo_net_room(struct wawo_net *net);
/* Puts a connection on the list of those to settle after the batch. */
void wawo_net_dirty(struct wawo_net *net, struct wawo_conn *c);

static inline struct wawo_net *wawo_net_of(const struct wawo_conn *c)
{
    return c->branch->net;
}

static inline bool wawo_net_listens(const struct wawo_conn *c, enum wawo_event_kind kind)
{
    return (c->branch->endpoint->mask & wawo_event_bit(kind)) != 0;
}

/* The same as wawo_net_dirty, for one that may be on the list already. */
static inline void wawo_net_touch(struct wawo_conn *c)
{
    if (!c->dirty)
        wawo_net_dirty(c->branch->net, c);
}

#endif
