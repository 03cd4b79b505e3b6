/* F4 share: the one small block that two threads may see of a connection, counted by references, held by its loop and
 * by the Python Connection. The rest of a connection belongs to its loop. */
#ifndef WAWO_NET_SHARE_H
#define WAWO_NET_SHARE_H

#include "../io/threads.h"
#include "../wawo.h"

enum wawo_share_state {
    WAWO_SHARE_CONNECTING,
    WAWO_SHARE_OPEN,
    WAWO_SHARE_CLOSING, /* no more sends; what was accepted still goes out */
    WAWO_SHARE_CLOSED
};

/* What other threads want of the loop. */
enum {
    WAWO_WANT_QUEUED = 1, /* the call is in the inbox */
    WAWO_WANT_SEND = 2,
    WAWO_WANT_SHUTDOWN = 4,
    WAWO_WANT_CLOSE = 8,
    WAWO_WANT_ABORT = 16,
    WAWO_WANT_FLUSH = 32,
    WAWO_WANT_PAUSE = 64, /* `paused` changed */
    WAWO_WANT_EVICT = 128 /* too slow for a broadcast: end it */
};

struct wawo_share {
    /* What is atomic and read without the lock: `state` is stored with release, so what a later state stands for (the
     * addresses, how it ended) is there for whoever loads it; `connected_ns` the same for the addresses. `wants` is full: its
     * bits, and the posts before them, are seen by the exchange that takes them. The counts and times are hints. */
    /* the first line is read with each message */
    uint32_t refs;  /* atomic */
    uint8_t lock;   /* state against posts, user */
    uint8_t state;  /* enum wawo_share_state; written under the lock, by the loop except OPEN to CLOSING */
    uint8_t paused; /* the user's wish; atomic */
    uint8_t holding; /* events of the batch under delivery were held: the rest of it goes behind them; loop */
    uint8_t shut;   /* shutdown_write was called; under the lock, read by any */
    uint8_t shown;  /* its ACCEPT or CONNECT was due: from here on broadcasts reach it; written by the loop */
    uint8_t parked; /* the kernel did not take all of its output; written by the loop */
    uint8_t silent; /* it ended for that; written by the loop */
    uint32_t wants; /* atomic */
    uint64_t id;
    struct wawo_loop *loop;
    struct wawo_conn *conn; /* loop only; NULL when gone */
    void *user;             /* the binding's; set by any thread, emptied by the loop, both under the lock */
    size_t posted;          /* bytes in posts; under the lock, read by any */
    wawo_i64 received_ns;   /* atomic */

    size_t queued; /* bytes in the out-ring when the loop last looked; atomic */
    struct wawo_call call;
    struct wawo_slice *posts, *last_post; /* bytes from other threads, in wire form; under the lock */
    struct wawo_endpoint *endpoint;      /* valid while state is not CLOSED; under the lock or on the loop */
    wawo_i64 connected_ns;               /* 0 before; atomic */
    int32_t error, gai;                  /* how it ended; atomic */
    uint8_t operation;                   /* atomic */
    uint8_t fault;                       /* enum wawo_proxy_fault; written before anybody else has the share */
    uint8_t parted;                      /* its CLOSE was delivered; under the lock */
    uint8_t over;                        /* a post took what is pending above high water; under the lock */
    struct wawo_addr local, remote;      /* their paths are its own */
};

/* One reference; state CONNECTING, no id. NULL: no memory. */
struct wawo_share *wawo_share_new(struct wawo_loop *loop, struct wawo_endpoint *endpoint);
/* Its addresses, once, before anybody can ask. */
void wawo_share_keep(struct wawo_share *s, const struct wawo_addr *local, const struct wawo_addr *remote);
/* Moves the state on, never back. */
void wawo_share_advance(struct wawo_share *s, enum wawo_share_state state);
/* In the child after a fork: from now on it answers as a closed one does. */
void wawo_share_forked(void *share, void *arg);
/* Takes all posts, oldest first. *over: whoever posted may have seen more than high water pending, and waits for DRAIN. */
struct wawo_slice *wawo_share_take_posts(struct wawo_share *s, bool *over);

/* A message for many: its wire form, written once, in a chunk that all of them refer to. */
struct wawo_cast {
    struct wawo_chunk *chunk; /* NULL: not written yet */
    const uint8_t *ptr;
    size_t len;
    uint32_t spare; /* references of the chunk that nobody has yet */
    struct wawo_slices *slices; /* for posts */
};

/* What came of it for one connection. */
enum wawo_cast_result {
    WAWO_CAST_NONE, /* not open */
    WAWO_CAST_ACCEPTED,
    WAWO_CAST_SKIPPED, /* too slow, or at a limit */
    WAWO_CAST_EVICTED  /* too slow, and so it ends */
};

/* Posts it, and asks nothing of the loop yet: *call says that the caller must post s->call, with the reference that this
 * took. Any thread. */
enum wawo_cast_result wawo_share_cast(struct wawo_share *s, struct wawo_cast *cast, bool evict, bool *call);

/* Gives one reference of the chunk away. */
static inline void wawo_cast_refer(struct wawo_cast *cast)
{
    if (cast->spare == 0) {
        cast->spare = 256;
        wawo_chunk_hold_many(cast->chunk, cast->spare);
    }
    cast->spare--;
}

#endif
