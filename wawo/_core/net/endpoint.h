/* F4 endpoint: one run of a server, an agent or a client. It has a branch on each loop; a branch owns its connections and
 * its listener. */
#ifndef WAWO_NET_ENDPOINT_H
#define WAWO_NET_ENDPOINT_H

#include "../io/threads.h"
#include "census.h"
#include "filter.h"

/* Accepted before the endpoint was found full. */
struct wawo_waiting {
    int fd;
    struct wawo_addr peer;
};

struct wawo_conn;

struct wawo_listener {
    struct wawo_sock sock;
    struct wawo_branch *branch;
    bool stays; /* accepted ones stay on this loop (SO_REUSEPORT) */
    bool paused; /* full, or out of descriptors */
    int fd; /* until it is attached */
    int64_t backoff_ns;
    struct wawo_timer retry;
    struct wawo_call call; /* starts it on its loop */
    struct wawo_listener *next;
    unsigned waiting_count;
    struct wawo_waiting waiting[WAWO_ACCEPT_BURST]; /* they come first when there is room */
};

struct wawo_branch {
    struct wawo_endpoint *endpoint;
    struct wawo_net *net;
    struct wawo_list conns;
    struct wawo_listener *listeners; /* loop */
    uint32_t assigned; /* connections here or on the way here, attempts, listeners; atomic */
    bool stopping, done;
    struct wawo_timer drain;
    struct wawo_call look; /* look again: stopping, or room for new connections */
    uint32_t look_posted; /* atomic */
    wawo_i64 unsettled; /* bytes not yet added to the endpoint's pending; written by the loop, read by any */
    struct wawo_endpoint_stats stats; /* written by the loop, read by any */
};

struct wawo_endpoint {
    struct wawo_options options;
    struct wawo_filter_config filters[WAWO_FILTERS_MAX]; /* lowest first; none: raw bytes */
    unsigned filter_count;
    bool looks; /* the framing looks at what is sent */
    enum wawo_role role;
    unsigned mask; /* events that are listened to */
    void *user;
    struct wawo_threads *threads;
    uint32_t refs; /* atomic: the user and each branch that is not done */
    uint32_t count; /* connections; atomic */
    uint32_t live_branches; /* atomic */
    bool stopping; /* under the lock */
    int64_t stop_at_ns; /* when what is left is ended, 0 = at once; under the lock */
    wawo_i64 pending; /* bytes accepted and not taken by the kernel; atomic */
    wawo_u64 posted_messages; /* sent from other threads; atomic */
    wawo_u64 posted_skips; /* broadcasts from other threads that slow connections missed; atomic */
    struct wawo_chunk *cast; /* what other threads broadcast is packed here; NULL: nothing yet; under the lock */
    struct wawo_mutex lock; /* state against new connections */
    struct wawo_census census; /* of a server's peers; under the lock */
    unsigned branch_count;
    struct wawo_branch branches[];
};

/* The envelopes of all filters around a message, the lowest outermost; any thread. */
static inline int wawo_endpoint_seal(const struct wawo_endpoint *e, const struct wawo_message *m,
                                     struct wawo_envelope *out)
{
    if (wawo_likely(e->filter_count == 0)) {
        out->head_len = out->tail_len = 0;
        return 0;
    }
    if (wawo_likely(e->filter_count == 1))
        return e->filters[0].ops->seal(&e->filters[0], m, out);
    return wawo_filter_seal_all(e->filters, e->filter_count, m, out);
}

/* Books a connection on a branch: WAWO_ECLOSED when stopping, WAWO_ENOBUFS at max_connections; with a peer that is to be
 * counted, WAWO_EREFUSED at max_per_address, WAWO_ENOMEM. Any thread. */
int wawo_endpoint_book(struct wawo_endpoint *e, struct wawo_branch *b, const struct wawo_addr *peer);
/* The same for one that was accepted, on a branch that is not done: it may still come while the endpoint drains. */
int wawo_endpoint_book_late(struct wawo_endpoint *e, struct wawo_branch *b, const struct wawo_addr *peer);
/* Books a connection that no peer asked for. In the OnClose of one it may have that one's place. Any thread. */
int wawo_endpoint_book_own(struct wawo_endpoint *e, struct wawo_branch *b);
/* Counts the peer of a connection that was booked without it: 0, or as above. Any thread. */
int wawo_endpoint_enter(struct wawo_endpoint *e, const struct wawo_addr *peer);
/* A counted peer is gone; before the booking is taken back. NULL: none was counted. Any thread. */
void wawo_endpoint_leave(struct wawo_endpoint *e, const struct wawo_addr *peer);
/* Stopping, and what is left of the drain is not for connections any more. Any thread. */
bool wawo_endpoint_over(struct wawo_endpoint *e);
/* Takes the booking back: the connection came to nothing. Loop. */
void wawo_branch_unbook(struct wawo_branch *b);
/* The same before its loop knew of it. Any thread. */
void wawo_branch_cancel(struct wawo_branch *b);
/* The same in two steps, for one that was there: others may have its place; true when the endpoint was full until now. */
bool wawo_branch_leave(struct wawo_branch *b);
/* And it is gone; `room`: what leave answered. */
void wawo_branch_left(struct wawo_branch *b, bool room);
/* The same for what is assigned but no connection: a listener. Loop. */
void wawo_branch_unlist(struct wawo_branch *b);
/* A booked connection that its loop has not heard of: gives `s` an id, calls made(s, arg), lets it be found and posts
 * `call`, which stands in `block` and has the caller's reference of the share from then on. A NULL `block`, which may be
 * given with a NULL share, or no id: WAWO_ENOMEM, and block, share and booking are given back. Any thread. */
int wawo_endpoint_announce(struct wawo_branch *b, struct wawo_share *s, void *block, struct wawo_call *call,
                           void (*made)(struct wawo_share *s, void *arg), void *arg);
/* Bytes accepted (positive) or gone (negative) on this branch. Loop. */
void wawo_branch_account(struct wawo_branch *b, int64_t bytes);
/* Tells the endpoint what was kept back: when a connection ends, its part of the total is there for others. */
void wawo_branch_settle(struct wawo_branch *b);
/* All bytes accepted in the endpoint, as far as known: others may have kept back what is gone. */
int64_t wawo_branch_pending_total(const struct wawo_branch *b);
/* Whether so many more would pass max_pending_total. Looks at what all branches keep back only if by the total that is
 * `known`, from there or the endpoint's own, they would. Any thread. */
bool wawo_endpoint_overfull(const struct wawo_endpoint *e, int64_t known, size_t more);
/* The branch of `e` on a loop. */
struct wawo_branch *wawo_endpoint_branch(struct wawo_endpoint *e, const struct wawo_loop *loop);

/* ---- listeners ---- */

/* Accepts on `fd`, which listens, and owns it from then on; `stays`: what it accepts stays on this loop. 0 or why not. */
int wawo_listener_new(struct wawo_branch *b, int fd, bool stays);
/* What the backend says of its sock. */
void wawo_listener_done(struct wawo_listener *l, struct wawo_done *d);
/* An accepted connection is open, nothing can fail any more: it can be found from here on. */
void wawo_listener_welcome(struct wawo_conn *c);
/* Stops for good; the branch is told when it is gone. */
void wawo_listener_stop(struct wawo_listener *l);
/* There may be room again. */
void wawo_listener_resume(struct wawo_listener *l);

#endif
