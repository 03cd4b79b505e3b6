/* F4 conn: one connection on its loop. One owner, one thread, for life; freed after DETACHED and its last event. */
#ifndef WAWO_NET_CONN_H
#define WAWO_NET_CONN_H

#include "../io/loop.h"
#include "event.h"
#include "filter.h"
#include "share.h"
#include "tls.h"

enum wawo_conn_state {
    WAWO_CONN_CONNECTING,
    WAWO_CONN_PREAMBLE, /* accepted, and nothing is told of it yet */
    WAWO_CONN_OPEN,
    WAWO_CONN_FLUSHING,  /* closing: what was accepted goes out, then FIN */
    WAWO_CONN_LINGERING, /* FIN sent: input is discarded until theirs, so that ours is not overtaken by a reset */
    WAWO_CONN_DETACHING,
    WAWO_CONN_GONE       /* its last event is in the batch */
};

/* Why receiving is paused; it runs when the set is empty. */
enum {
    WAWO_PAUSE_USER = 1,
    WAWO_PAUSE_WATER = 2,
    WAWO_PAUSE_MEMORY = 4,
    WAWO_PAUSE_PULL = 8,
    WAWO_PAUSE_RATE = 16,
    WAWO_PAUSE_TLS = 32
}; /* it has no session yet, or waits for its turn to shake hands */

struct wawo_held {
    struct wawo_held *next;
    struct wawo_event event; /* owns a reference of its chunk */
};

/* What a paused connection has received all the same. */
struct wawo_backlog {
    struct wawo_held *first;        /* events, delivered first on resume */
    struct wawo_held *fresh;        /* the last one held back from the batch under delivery */
    struct wawo_ring in;            /* bytes that went through no filter yet */
    struct wawo_conn *conn;         /* whose */
    struct wawo_list loose;         /* among those that hold chunks of the pool */
    size_t packed;                  /* bytes that were moved out of such */
    bool grown;                     /* since it was last looked at */
};

struct wawo_net;

struct wawo_conn {
    struct wawo_sock sock;
    struct wawo_share *share;
    struct wawo_branch *branch;

    struct wawo_filter *filter;    /* the lowest; NULL: raw */
    struct wawo_conn *next_dirty;
    struct wawo_backlog *backlog;  /* NULL mostly */
    union {
        struct wawo_dial *dial;         /* while connecting */
        struct wawo_preamble *preamble; /* PREAMBLE: what came of it; NULL: nothing */
    };
    struct wawo_rate *rate;        /* NULL: receives as fast as it can */
    uint8_t state;                 /* enum wawo_conn_state */
    uint8_t pauses;                /* set of WAWO_PAUSE_… */
    bool dirty : 1;                /* on the list of those to settle */
    bool eof : 1;                  /* the peer will send no more */
    bool shut : 1;                 /* our FIN is wanted once the ring is empty */
    bool fin : 1;                  /* and sent */
    bool above : 1;                /* pending went over high water */
    bool moved : 1;                /* closing: the kernel took bytes since the timer was set */
    bool told : 1;                 /* its CLOSE event was delivered while it was dirty */
    bool bare : 1;                 /* it ended without a socket: no DETACHED comes */
    bool counted : 1;              /* its peer is in the endpoint's census */
    bool unseen : 1;               /* it never came as far as ACCEPT */
    bool mute : 1;                 /* its end is not told either */
    bool left : 1;                 /* others may have its place */
    bool missed : 1;               /* and the endpoint was full until then */
    bool taken : 1;                /* open: the kernel took output that had to wait since the timer was set */
    bool secure : 1;               /* the lowest filter is that of TLS */
    bool answered : 1;             /* eof: what was sent until then has been told, or waits for nothing */
    int16_t broken;                /* its stream is malformed: the errno to close with after the batch */
    int32_t unacknowledged;        /* bytes in the kernel when wawo_conn_acknowledged last asked */
    struct wawo_list link;         /* in the branch */
    struct wawo_list starving;     /* waits for chunks */
    struct wawo_timer timer;       /* connecting, preamble: its limit; open: idle_timeout; closing: close_timeout */
};

static inline struct wawo_tls *wawo_tls_of(const struct wawo_conn *c)
{
    return (struct wawo_tls *)c->filter;
}

/* Where what it sends waits; the bytes there are what is pending. */
static inline struct wawo_ring *wawo_conn_out(const struct wawo_conn *c)
{
    return (struct wawo_ring *)(uintptr_t)(wawo_likely(!c->secure) ? &c->sock.out : &wawo_tls_of(c)->plain);
}

static inline size_t wawo_conn_pending(const struct wawo_conn *c)
{
    return wawo_conn_out(c)->bytes + wawo_load_relaxed(&c->share->posted);
}

/* It shakes hands still. */
static inline bool wawo_conn_shakes(const struct wawo_conn *c)
{
    return c->secure && !wawo_tls_of(c)->ready;
}

/* Its session has to read before it can write: the handshake, or the rest of a message like those. */
static inline bool wawo_conn_reads_first(const struct wawo_conn *c)
{
    return c->secure && (!wawo_tls_of(c)->ready || wawo_tls_of(c)->midway);
}

/* It was closed with output that waits for that, which goes on therefore. */
static inline bool wawo_conn_reads_on(const struct wawo_conn *c)
{
    return c->state == WAWO_CONN_FLUSHING && c->broken == 0 && wawo_conn_reads_first(c) &&
           wawo_tls_of(c)->plain.head != NULL;
}

/* A pause keeps back as much of what it received as it should: conn_kept.c. */
bool wawo_conn_keeps_enough(const struct wawo_conn *c);

/* Whether what the peer sends is wanted now. A pause of the listener's keeps back what the session needs only where a peer
 * says much beside it. */
static inline bool wawo_conn_receives(const struct wawo_conn *c)
{
    unsigned pauses = c->pauses;

    if (wawo_unlikely(wawo_conn_reads_first(c)) && !wawo_conn_keeps_enough(c))
        pauses &= WAWO_PAUSE_MEMORY | WAWO_PAUSE_TLS;
    return pauses == 0 && (c->state == WAWO_CONN_OPEN || wawo_conn_reads_on(c));
}

/* A file that it sends is being read from its disk. */
static inline bool wawo_conn_reads_file(const struct wawo_conn *c)
{
    return c->sock.reading || (c->secure && wawo_tls_of(c)->reading);
}

/* A connection on this loop with a share that has no conn yet; state CONNECTING. NULL: at a limit. */
struct wawo_conn *wawo_conn_new(struct wawo_branch *branch, struct wawo_share *share);
/* Established: attaches fd (-1: it is attached), starts receiving, tells the listener. */
int wawo_conn_open(struct wawo_conn *c, int fd, const struct wawo_addr *remote, const struct wawo_addr *local,
                   enum wawo_event_kind first);
/* 1 accepted, 0 closing, or a negative code and nothing was queued; see wawo_share_send and wawo_share_send_parts. */
int wawo_conn_send(struct wawo_conn *c, const void *data, size_t len);
int wawo_conn_send_parts(struct wawo_conn *c, const struct wawo_part *parts, unsigned count);
/* What other threads queued goes behind what is queued already. */
void wawo_conn_take_posts(struct wawo_conn *c);
/* More was queued: notices high water, and settles the connection after the batch. */
void wawo_conn_queued(struct wawo_conn *c);
/* Writes what the kernel takes now. */
void wawo_conn_flush(struct wawo_conn *c);
/* Flush, FIN, discard, close; the first reason is the one that is reported. */
void wawo_conn_close(struct wawo_conn *c, enum wawo_operation op, int error);
/* At once, with RST; unsent bytes are lost. */
void wawo_conn_abort(struct wawo_conn *c, enum wawo_operation op, int error);
/* At once, without RST if the system can. */
void wawo_conn_end(struct wawo_conn *c, enum wawo_operation op, int error);
/* What other threads asked for: a set of WAWO_WANT_…. */
void wawo_conn_wanted(struct wawo_conn *c, uint32_t wants);
/* A completion of its sock. */
void wawo_conn_done(struct wawo_conn *c, struct wawo_done *d);
/* Once after each batch for each dirty connection: flushes, resumes, notices the end of the stream. */
void wawo_conn_settle(struct wawo_conn *c);

/* ---- limits in time: conn_time.c ---- */

/* Asks the kernel what the peer has not acknowledged yet: true when there is some, but less than when last asked. */
bool wawo_conn_acknowledged(struct wawo_conn *c);
/* It is established, or receives again: from now on silence counts. */
void wawo_conn_watch_silence(struct wawo_conn *c);
/* Its timer fired while it was open: ends it, or looks again later. */
void wawo_conn_silence_due(struct wawo_conn *c);
/* Ends it without waiting for the peer's FIN: what the kernel takes now still goes out, the rest is lost with a reset. */
void wawo_conn_time_up(struct wawo_conn *c, int error);
/* Starts to limit what is received, if the endpoint wants that. WAWO_ENOMEM. */
int wawo_conn_open_rate(struct wawo_conn *c);
void wawo_conn_close_rate(struct wawo_conn *c);
/* `n` bytes were received: pauses when that was too fast. Only with c->rate. */
void wawo_conn_spend_rate(struct wawo_conn *c, size_t n);

/* ---- the way in: conn_in.c ---- */

/* Makes the chain of the endpoint's filters. WAWO_ENOMEM: none. */
int wawo_conn_open_filters(struct wawo_conn *c);
void wawo_conn_close_filters(struct wawo_conn *c);
/* Adds a reason not to receive, or takes it away: what was kept back then comes first. */
void wawo_conn_pause(struct wawo_conn *c, unsigned reason);
void wawo_conn_unpause(struct wawo_conn *c, unsigned reason);
/* It receives again, whatever is the reason. */
void wawo_conn_receive_on(struct wawo_conn *c);
/* It is closing: from here on nobody reads what comes. */
void wawo_conn_discard_input(struct wawo_conn *c);
/* A read: bytes, whose chunk's reference it takes over, or an error. */
void wawo_conn_received(struct wawo_conn *c, struct wawo_done *d);
void wawo_conn_receive_failed(struct wawo_conn *c, int error);
/* The peer will send no more. */
void wawo_conn_receive_ended(struct wawo_conn *c);
/* Delivers what was kept back; true when that made events, which go before all else. */
bool wawo_conn_run_backlog(struct wawo_conn *c);
void wawo_conn_drop_backlog(struct wawo_conn *c);
/* Gives it a backlog, if it has none, into which all goes that comes before the batch is over. WAWO_ENOMEM. */
int wawo_conn_expect_nothing(struct wawo_conn *c);
/* ---- what is kept back: conn_kept.c ---- */

/* More is kept, in a chunk. */
void wawo_conn_keep(struct wawo_backlog *b);
/* The delivery is over: true when something that was kept goes with the next one. If that is not wanted yet, few bytes
 * hold no chunk any longer. */
bool wawo_conn_settle_backlog(struct wawo_conn *c);
/* Chunks are short: nothing holds one any longer, as far as the limit allows. */
void wawo_conn_pack_all(struct wawo_net *net);
/* Nothing is kept any more. */
void wawo_conn_unkeep(struct wawo_backlog *b);

/* There are chunks again. */
void wawo_conn_fed(struct wawo_conn *c);
/* A message (or bytes) from filter `from`, for the one above it or for the listener. `owned`: its reference of the chunk
 * goes along. */
void wawo_conn_rise(struct wawo_conn *c, struct wawo_filter *from, const struct wawo_span *in, bool owned);
/* The same for a filter that keeps what the one above leaves: how much that took. The reference goes along with the last
 * of it. */
size_t wawo_conn_offer(struct wawo_conn *c, struct wawo_filter *from, const struct wawo_span *in);
/* Nothing behind this point of the stream can be read: it ends with that code, when what came before is delivered. */
void wawo_conn_break(struct wawo_conn *c, int error);
/* The batch has no room for more messages now. */
bool wawo_conn_full(const struct wawo_conn *c);
/* Keeps an event for later; takes over nothing, holds its own reference. */
void wawo_conn_hold_event(struct wawo_conn *c, const struct wawo_event *e);
/* There is no memory for the connection of a share that is known already: only its end can be told. */
void wawo_conn_fail(struct wawo_branch *b, struct wawo_share *s, enum wawo_operation op, int error);
/* It has ended: others may have its place. Who waits for one is asked in when it is freed. */
void wawo_conn_leave(struct wawo_conn *c);
/* After its CLOSE event, or without one. */
void wawo_conn_free(struct wawo_conn *c);

#endif
