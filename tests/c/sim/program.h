/* The application of a run: an engine, up to three endpoints on it, what they do in callbacks and what other threads do
 * to them; and the peers at the other ends. All that is promised of a connection is checked here. */
#ifndef WAWO_TESTS_SIM_PROGRAM_H
#define WAWO_TESTS_SIM_PROGRAM_H

#include "kernel.h"
#include "script.h"

enum { PARTIES = 3, ACTORS = 256, LOOPS = 3, KEPT = 12 };

/* What must happen now and then, or the simulation has lost its teeth: X(name, meaning). */
#define SEEN(X)                                                                                                        \
    X(CONNECTION, "connections told of")                                                                               \
    X(MESSAGE, "messages received")                                                                                    \
    X(BYTE, "bytes received")                                                                                          \
    X(CLEAN, "connections that ended well")                                                                            \
    X(WHOLE, "of these: all that the peer sent was compared")                                                          \
    X(BROKEN, "connections that were reset")                                                                           \
    X(MALFORMED, "malformed streams")                                                                                  \
    X(LATE, "timeouts")                                                                                                \
    X(UNREACHED, "dials that came to nothing")                                                                         \
    X(DRAIN, "times pending output fell to the low water mark")                                                        \
    X(FULL, "sends over a limit")                                                                                      \
    X(FILES, "parts of files")                                                                                         \
    X(SHORT_FILE, "files that ended early")                                                                            \
    X(EVICTED, "connections too slow for a broadcast")                                                                 \
    X(CAST, "messages that broadcasts gave to connections")                                                            \
    X(HELD, "times what was received waited for a resume")                                                             \
    X(PAUSED, "times receiving paused by itself")                                                                      \
    X(STARVED, "times the pool was at its limit")                                                                      \
    X(ACCEPT_PAUSED, "times accepting paused")                                                                         \
    X(PROXY, "connections with a bad PROXY header")                                                                    \
    X(RING_FULL, "times a ring had no room for a request")                                                             \
    X(LOST_END, "ends that a standing request did not tell of")                                                        \
    X(OVERFLOW, "answers that a ring had no room for")                                                                 \
    X(CANCELLED, "requests of a ring that were ended")                                                                 \
    X(SECURE, "connections whose TLS stood")                                                                           \
    X(UNSAFE, "streams of TLS that were cut, or no such thing")                                                        \
    X(NO_MEMORY, "allocations that failed on purpose")
enum seen {
#define X(name, text) SEEN_##name,
    SEEN(X)
#undef X
        SEEN_KINDS
};

struct party {
    struct wawo_endpoint *endpoint;
    enum wawo_role role;
    struct wawo_options options;
    unsigned mask;
    uint16_t port;
    unsigned here; /* connections that were shown and not closed */
    bool evicts; /* a broadcast may have ended slow ones */
    bool listens, stopping, over; /* over: SHUTDOWN was told */
    int64_t disconnected_ns; /* when it was last told to end those that are silent, or there for long; 0: never */
};

/* A connection as the application sees it; kept until the run is checked. */
struct actor {
    struct party *party;
    struct wawo_share *share; /* a reference */
    uint64_t id;
    int pipe, side; /* -1: not known */
    struct script out;
    struct inbox in;
    uint64_t told_sent;
    bool shown, shaken, closed;
    bool told; /* its CLOSE came */
    bool ended; /* the application closed, aborted or refused it */
    bool aborted; /* in a way that loses what was queued */
    bool paused;
    bool clean; /* it ended well, and nobody stopped its component */
    int operation, error;
    int64_t close_ns; /* when it was asked to close, INT64_MAX: not */
};

struct program {
    struct wawo_threads *threads;
    struct wawo_sink sink;
    struct wawo_framing framing;
    struct party parties[PARTIES];
    unsigned party_count, loops;
    struct actor actors[ACTORS];
    unsigned actor_count;
    uint64_t loans; /* out */
    uint64_t seen[SEEN_KINDS]; /* what happened, in all runs */
    uint32_t casts;
    bool heavy; /* large messages, little memory */
    bool tls, tls_inside; /* on every connection; its sessions are called inside the sink */
    struct wawo_chunk *kept[KEPT]; /* as views keep them */
    bool calm; /* no more faults, all peers read on */
    bool starving; /* an allocation failed, or may have */
    bool entered[LOOPS];
};

extern struct program app;

/* Chooses all there is to choose, but for a backend that is given, and starts; false: the engine did not start. */
bool program_start(const char *backend);
/* The application's thread does something. */
void program_act(void);
/* Dials, on any thread. */
void program_dial(struct party *p);
/* Everything that is open has what was sent to it; only in the calm. */
void program_check_idle(void);
/* Stops what is left, gives all back, checks what there is to check. */
void program_end(void);

/* ---- events: events.c ---- */

void sink_open(struct wawo_sink *sink);
struct actor *actor_new(struct party *p, struct wawo_share *share);
/* What set_user calls. */
void no_found(void *user);
/* Which stream it is, once that is known. */
void actor_bind(struct actor *a);

/* ---- what may be done to a connection, on any thread: deeds.c ---- */

/* Sends something in one of the ways there are. */
void deed_send(struct actor *a);
void deed_echo(struct actor *a, const struct wawo_event *e);
void deed_broadcast(struct party *p);
void deed_pause(struct actor *a, bool pause);
void deed_close(struct actor *a);
void deed_abort(struct actor *a);
void deed_shut(struct actor *a);
void deed_read(struct actor *a);
/* Keeps the bytes of an event as long as it likes; lets go of the i-th that are kept. */
void deed_keep(struct wawo_chunk *c);
void deed_let_go(unsigned i);

/* ---- TLS that anybody can read: secure.c ---- */

/* Bytes as they travel. */
struct wire {
    uint8_t *bytes;
    size_t len, room;
    bool goodbye; /* they end with one */
    bool alert; /* or with that, behind which nothing goes */
};

/* Answers ON_WRAP. */
void secure_wrap(struct party *p, const struct wawo_event *e);
/* No session is left. */
void secure_check_end(void);
/* What a peer writes: its script in records, maybe with a goodbye, behind `clear` bytes as they are. */
void secure_seal(struct wire *w, const struct script *s, size_t clear, bool client);
/* What can be read in what was written, with TLS or without; until the next call. */
const struct wire *secure_open(const uint8_t *bytes, size_t n, size_t clear);

/* ---- peers: peers.c ---- */

void peers_reset(void);
/* A new one at the other end of a stream, which is a `server` or not. */
void peer_new(int pipe, int side, bool server, bool proxy);
/* One does something; false: none has anything to do now. */
bool peers_step(void);
/* When one goes on, INT64_MAX: never. */
int64_t peers_next(void);
/* The script of the peer at that end; NULL: none is there. And how much of it goes before TLS. */
struct script *peer_script(int pipe, int side);
size_t peer_clear(int pipe, int side);

#endif
