/* wawo.h: all that the binding may call. The core knows no Python: whoever drives it hands down a sink.
 *
 * Threads: "any thread" functions may be called from everywhere; all others say where. Results: 0 or a count, negative
 * is a WAWO_E… from base/err.h. Pointers to connections never leave their loop: other threads hold a share. */
#ifndef WAWO_H
#define WAWO_H

#include "base/config.h"

struct wawo_threads;
struct wawo_endpoint;
struct wawo_chunk;
struct wawo_file;
struct wawo_conn;
struct wawo_loop;

/* ---- events: what rises from the core, in batches ---- */

enum wawo_event_kind {
    WAWO_ON_PREPARE_CONNECT, /* error: the descriptor that is about to connect, lent */
    WAWO_ON_ACCEPT,
    WAWO_ON_CONNECT,
    WAWO_ON_HANDSHAKE, /* len 1: of TLS; 0: there is none */
    WAWO_ON_RECEIVE, /* ptr, len inside chunk */
    WAWO_ON_SEND,    /* len bytes were taken by the kernel */
    WAWO_ON_DRAIN,
    WAWO_ON_CLOSE,   /* operation, error; the last of its connection, alone where its PROXY header was bad */
    WAWO_ON_SHUTDOWN, /* no connection: the endpoint has stopped */
    WAWO_EVENT_KINDS
};
/* No listener's business: the connection needs a TLS session, see wawo_share_secure. */
enum { WAWO_ON_WRAP = WAWO_EVENT_KINDS };

/* The operation that a close is reported with; values as in HP-Socket. */
enum wawo_operation {
    WAWO_OP_UNKNOWN,
    WAWO_OP_ACCEPT,
    WAWO_OP_CONNECT,
    WAWO_OP_SEND,
    WAWO_OP_RECEIVE,
    WAWO_OP_CLOSE,
    WAWO_OPERATIONS
};

struct wawo_event {
    uint8_t kind; /* enum wawo_event_kind */
    uint8_t operation; /* enum wawo_operation */
    uint8_t owned; /* the core's: this event gives back a reference of chunk */
    int32_t error; /* errno value, 0 = none */
    void *owner; /* the endpoint's user pointer */
    struct wawo_share *share;
    struct wawo_chunk *chunk;
    const uint8_t *ptr;
    size_t len;
};

/* Where a loop's batches go. All calls are made on the loop's thread. */
struct wawo_sink {
    void (*thread_start)(void *arg, const char *name);
    void (*thread_stop)(void *arg);
    /* enter and leave bracket deliver (Python: take and release the GIL). While `baton` is set, loops of all threads take
     * turns in user space before they enter. */
    void (*enter)(void *arg);
    void (*leave)(void *arg);
    void (*deliver)(void *arg, const struct wawo_event *events, unsigned count);
    /* A borrowed buffer is done with; inside enter and leave. */
    void (*give_back)(void *loan);
    bool baton;
};

/* Whether an event is still wanted when its turn comes; held back ones are kept and come again. Ask before each event
 * but SHUTDOWN; CLOSE always is. On its loop, in deliver. */
bool wawo_event_due(const struct wawo_event *e);
/* A CLOSE was told: others may have the place of its connection. On its loop, in deliver; without it they may when deliver
 * has returned. */
void wawo_event_closed(const struct wawo_event *e);

/* ---- threads ---- */

/* Loops on native threads that report to `sink`, which stays valid until the threads are stopped. `backend` is a name
 * or NULL for the best. NULL and *err on failure. Any thread. */
struct wawo_threads *wawo_engine_new(unsigned count, const char *backend, size_t pool_bytes,
                                     const struct wawo_sink *sink, void *arg, int *err);
/* Stops and joins; every endpoint on them has been stopped. false: some thread did not end in time. Not on a loop. */
bool wawo_engine_stop(struct wawo_threads *t, int64_t timeout_ns);
/* Gives the owner's reference back, after stop. */
void wawo_engine_drop(struct wawo_threads *t);
const char *wawo_engine_backend(const struct wawo_threads *t);
unsigned wawo_engine_count(const struct wawo_threads *t);
/* True on one of these loops' threads. */
bool wawo_engine_current(const struct wawo_threads *t);

/* Native counters, X(name, meaning): a snapshot without a lock. */
#define WAWO_LOOP_STATS(X)                                                                                             \
    X(turns, "times the loop went round")                                                                              \
    X(wakes, "wake-ups written by other threads")                                                                      \
    X(batches, "batches delivered")                                                                                    \
    X(events, "events delivered")                                                                                      \
    X(batch_max, "most events in one batch")                                                                           \
    X(gil_wait_ns, "time spent waiting for the GIL")                                                                   \
    X(deliver_ns, "time spent in callbacks")                                                                           \
    X(slow_batches, "batches that took longer than slow_callback")                                                     \
    X(baton_waits, "batches that had to wait for another loop's batch")                                                \
    X(file_reads, "times a file was not in memory and the pool for blocking work read a part of it")                   \
    X(connections, "connections open or on their way")                                                                 \
    X(pool_limit, "chunks of the receive pool at most")                                                                \
    X(pool_used, "chunks in use")                                                                                      \
    X(pool_exported, "chunks held by views")                                                                           \
    X(pool_bytes, "bytes mapped for chunks")                                                                           \
    X(pool_starved, "times the pool was at its limit")                                                                 \
    X(pool_kept, "bytes kept for paused connections, beside the pool")                                                 \
    X(slab_bytes, "bytes mapped for connections, slices and the like")
struct wawo_loop_stats {
#define X(name, text) wawo_u64 name;
    WAWO_LOOP_STATS(X)
#undef X
};
/* Not after stop. Any thread. */
void wawo_engine_stats(struct wawo_threads *t, unsigned loop, struct wawo_loop_stats *out);
/* Batches longer than this are counted as slow. Any thread. */
void wawo_engine_slow_ns(struct wawo_threads *t, int64_t ns);

/* A way to the kernel of this platform. */
struct wawo_backend_info {
    const char *name;
    const char *why; /* why it does not work here; NULL: it does */
    bool on_request; /* never chosen unless it is named */
};
/* Backends by rank, best first; false at the end of the table. Any thread. */
bool wawo_backend_at(unsigned rank, struct wawo_backend_info *info);
/* In the child after a fork: close every descriptor of every loop; nothing else is safe any more. */
void wawo_after_fork_child(void);
/* What is alive in the process. */
size_t wawo_live_conns(void);
size_t wawo_live_shares(void); /* more than the connections while somebody holds closed ones */
size_t wawo_live_chunks(void);
size_t wawo_live_files(void); /* on their way out */
unsigned wawo_live_threads(void);

/* ---- endpoints ---- */

enum wawo_role { WAWO_SERVER, WAWO_AGENT, WAWO_CLIENT };
enum wawo_framing_kind {
    WAWO_FRAMING_RAW,
    WAWO_FRAMING_LENGTH, /* a length, then the message */
    WAWO_FRAMING_FIELD, /* a length field somewhere in a header */
    WAWO_FRAMING_PACK, /* HP-Socket's */
    WAWO_FRAMING_MARKS, /* up to a mark, or between two */
    WAWO_FRAMING_FIXED, /* messages of one size */
    WAWO_FRAMING_PACKET, /* the C++ wawo's */
    WAWO_FRAMING_PULL /* bytes that wait until they are fetched */
};

struct wawo_options {
    uint32_t max_connections;
    uint32_t max_per_address; /* connections that a server accepts of one address; 0: any */
    bool close_when_full; /* accept and close; else leave them in the backlog */
    bool proxy_protocol; /* a server's connections begin with a PROXY header, and have connect_timeout for it */
    bool auto_pause;
    bool no_delay; /* connects; listeners hand theirs down */
    int keepalive_idle_s, keepalive_interval_s;
    size_t high_water, low_water, max_pending, max_pending_total;
    int64_t close_timeout_ns, connect_timeout_ns;
    int64_t idle_timeout_ns; /* 0: none */
    uint64_t receive_rate; /* bytes a second of each connection; 0: any */
    bool tls; /* its connections begin with TLS */
    int64_t handshake_timeout_ns;
};

/* What each kind means by these stands in proto/; what it does not use is not looked at. */
enum { WAWO_MARK_MAX = 16 };
struct wawo_framing {
    int kind; /* enum wawo_framing_kind */
    uint64_t max_size; /* bytes: of a message; FIXED: of each; PULL: that lie unread */
    uint8_t field_size; /* LENGTH, FIELD: 1, 2, 3, 4, 8; FIELD: 0 for a varint */
    bool little; /* LENGTH, FIELD */
    uint32_t offset; /* FIELD */
    int64_t adjust; /* FIELD */
    int32_t strip; /* FIELD; negative: the header, up to the end of the field */
    uint16_t flag; /* PACK */
    uint8_t start_len, end_len; /* MARKS; no start: messages end with a mark */
    uint8_t start[WAWO_MARK_MAX], end[WAWO_MARK_MAX];
};

/* `mask` has a bit for each event kind that is listened to. `user` comes back as the owner of each event, until
 * WAWO_ON_SHUTDOWN. NULL and *err on failure. Any thread. */
struct wawo_endpoint *wawo_endpoint_new(struct wawo_threads *t, enum wawo_role role, const struct wawo_options *options,
                                        const struct wawo_framing *framing, unsigned mask, void *user, int *err);
/* Takes over a bound, listening, non-blocking socket. loop < 0: accepted ones go to the least loaded loop; else both
 * stay on that loop. On failure the fd stays the caller's. Any thread. */
int wawo_endpoint_listen(struct wawo_endpoint *e, int fd, int loop);
/* Dials `host`, a name, an address, or "unix:/path" and "unix:@name" for a unix socket (`port` means nothing then); the
 * result comes as ON_CONNECT or ON_CLOSE. `local` is a numeric address or NULL. timeout_ns 0: the option's.
 * made(share, arg) is called before anything can come of it: there the binding sets its pointer and takes references. WAWO_ECLOSED when stopping, WAWO_ENOBUFS at max_connections. Any thread. */
int wawo_endpoint_connect(struct wawo_endpoint *e, const char *host, uint16_t port, const char *local,
                          uint16_t local_port, int64_t timeout_ns, void (*made)(struct wawo_share *s, void *arg),
                          void *arg);
/* Takes over a connected, non-blocking stream socket: ON_ACCEPT comes on a server, else ON_CONNECT, and what follows on
 * every connection; ON_CLOSE alone with ECANCELED when the stop is faster. `made`, errors and threads as above; on failure
 * the fd stays the caller's, untouched. */
int wawo_endpoint_adopt(struct wawo_endpoint *e, int fd, void (*made)(struct wawo_share *s, void *arg), void *arg);
/* Stops accepting and dialling, lets connections go on for drain_ns, then ends them. ON_SHUTDOWN is the last event. Any
 * thread, also again with a shorter time. */
void wawo_endpoint_stop(struct wawo_endpoint *e, int64_t drain_ns);
/* Gives the user's reference back. After a stop. Any thread. */
void wawo_endpoint_drop(struct wawo_endpoint *e);
uint32_t wawo_endpoint_count(const struct wawo_endpoint *e);
/* The live connection of that id with a reference, NULL if it is gone. Any thread. */
struct wawo_share *wawo_endpoint_find(struct wawo_endpoint *e, uint64_t id);
/* Fills `out` with at most `max` live connections, a reference each; returns how many there are. Any thread. */
size_t wawo_endpoint_list(struct wawo_endpoint *e, struct wawo_share **out, size_t max);

/* One message to the open connections with these ids, each once, or to all with NULL: how many accepted it. Those that
 * are behind (more than high_water pending, or max_pending would be passed) are left out. With `evict` they end at once
 * with WAWO_OP_SEND and ENOBUFS, but not for output that the kernel was not offered yet, nor for max_pending_total. The
 * order of each sending thread holds. WAWO_EMSGSIZE, WAWO_EBADMSG: the framing refuses it;
 * WAWO_ENOBUFS: longer than max_pending; WAWO_ENOMEM. In all these nothing was sent. Any thread. */
ptrdiff_t wawo_endpoint_broadcast(struct wawo_endpoint *e, const void *data, size_t len, const uint64_t *ids,
                                  size_t count, bool evict);

/* Closes the open connections that were established, or with `silent` last received from, at least `period_ns` ago; how
 * many. Any thread. */
size_t wawo_endpoint_disconnect(struct wawo_endpoint *e, int64_t period_ns, bool silent);

#define WAWO_ENDPOINT_STATS(X)                                                                                         \
    X(accepts, "connections accepted")                                                                                 \
    X(connects, "connections dialled and established")                                                                 \
    X(closed, "connections ended")                                                                                     \
    X(rejected, "connections ended before ACCEPT: the component was full or out of memory, or one of those below")     \
    X(rejected_address, "of these: their address had max_connections_per_address")                                     \
    X(rejected_proxy, "of these: without a good PROXY header in time")                                                 \
    X(accept_pauses, "times accepting stopped: full, or out of descriptors")                                           \
    X(receive_pauses, "times receiving paused: water mark or memory")                                                  \
    X(rate_pauses, "times receiving paused: receive_rate")                                                             \
    X(idle_closed, "connections ended by idle_timeout")                                                                \
    X(handshakes, "TLS handshakes done")                                                                               \
    X(handshakes_failed, "connections that ended in the middle of one")                                                \
    X(messages_in, "messages delivered or dropped unheard")                                                            \
    X(messages_out, "messages accepted for sending")                                                                   \
    X(broadcasts_skipped, "messages that broadcasts left out for slow connections")                                    \
    X(bytes_in, "bytes received")                                                                                      \
    X(bytes_out, "bytes the kernel took")
struct wawo_endpoint_stats {
#define X(name, text) wawo_u64 name;
    WAWO_ENDPOINT_STATS(X)
#undef X
};
/* Any thread. */
void wawo_endpoint_stats(struct wawo_endpoint *e, struct wawo_endpoint_stats *out);

/* ---- shares: a connection as other threads see it. All any thread ---- */

struct wawo_share;

/* References; its id, 0 before it has one. */
void wawo_share_hold(struct wawo_share *s);
void wawo_share_drop(struct wawo_share *s);
uint64_t wawo_share_id(const struct wawo_share *s);
/* The number of its loop among the threads. */
unsigned wawo_share_loop(const struct wawo_share *s);
/* One pointer for the binding, emptied by take_user on the loop. set_user keeps the first one and returns what is there
 * now; NULL once the connection is closed, on its loop no sooner than take_user. `found` is called under the lock with
 * what is returned. */
void *wawo_share_user(struct wawo_share *s);
void *wawo_share_set_user(struct wawo_share *s, void *user, void (*found)(void *user));
void *wawo_share_find_user(struct wawo_share *s, void (*found)(void *user));
void *wawo_share_take_user(struct wawo_share *s);

/* Send results: 1 accepted, 0 closing or closed; WAWO_ENOBUFS over a limit, WAWO_EMSGSIZE over the framing's, WAWO_ENOMEM. In
 * every case but 1 nothing was queued. */
int wawo_share_send(struct wawo_share *s, const void *data, size_t len);
/* The same without a copy: `loan` owns the bytes and goes to sink.give_back when they are done with; NULL `loan` and a
 * chunk: takes over one reference of it. Only on 1 is either taken over. */
int wawo_share_lend(struct wawo_share *s, const void *data, size_t len, struct wawo_chunk *chunk, void *loan);
/* One piece of a message: bytes, which are copied unless there is a `loan` or a `chunk`, as above; or a file. */
struct wawo_part {
    const void *data;
    size_t len;
    struct wawo_chunk *chunk;
    void *loan;
    struct wawo_file *file; /* takes over a reference; no data then */
};
/* Several pieces as one message: contiguous, in order, with one envelope around all. Only on 1 are chunks, loans and
 * files taken over. */
int wawo_share_send_parts(struct wawo_share *s, const struct wawo_part *parts, unsigned count);
/* The framing looks at the bytes that it sends, but only at the first part: give it messages in one piece. */
bool wawo_share_looks(struct wawo_share *s);
/* The part of a file that is to be sent. Takes over `fd`, a regular file open for reading; `count` is at least 1. NULL: no
 * memory, fd stays the caller's. May wait for the disk a little. Any thread. */
struct wawo_file *wawo_file_new(int fd, uint64_t offset, uint64_t count);
/* Any thread. */
void wawo_file_drop(struct wawo_file *f);
/* false: closing or closed. */
bool wawo_share_close(struct wawo_share *s);
bool wawo_share_abort(struct wawo_share *s);
bool wawo_share_shutdown_write(struct wawo_share *s);
bool wawo_share_flush(struct wawo_share *s);
bool wawo_share_pause(struct wawo_share *s, bool pause);
bool wawo_share_paused(const struct wawo_share *s);
/* WAWO_FRAMING_PULL: bytes that lie unread; on its loop, else 0. */
size_t wawo_share_unread(const struct wawo_share *s);
/* Copies the first n of them to `out`, and takes them away with `consume`: 1; 0: fewer are there, nothing happens.
 * WAWO_EMSGSIZE: so many never lie there at once; WAWO_ENOTSUP: another framing; WAWO_ECLOSED: not on its loop, or gone. */
int wawo_share_fetch(struct wawo_share *s, void *out, size_t n, bool consume);
bool wawo_share_connected(const struct wawo_share *s);
/* On its loop's thread, and not over. */
bool wawo_share_here(const struct wawo_share *s);
/* A callback refused: closes, and ON_CLOSE says `operation` and `error`, an errno value. In deliver. */
void wawo_share_refuse(struct wawo_share *s, enum wawo_operation operation, int error);
/* Bytes accepted and not yet taken by the kernel; a file counts 4096, whatever its size, until the kernel has all of it. */
size_t wawo_share_pending(const struct wawo_share *s);
/* ns since it was established (0 before) and since it last received. */
int64_t wawo_share_connect_ns(const struct wawo_share *s);
int64_t wawo_share_silence_ns(const struct wawo_share *s);
enum { WAWO_HOST_TEXT = 120 };
/* Writes the host; returns the port, or a negative code when there is no such address (yet). Of a unix socket the port is
 * 0 and the host "unix:/path", "unix:@name", or "unix:" when it has no name; nothing when it was accepted, for then whoever
 * listens knows. */
int wawo_share_address(const struct wawo_share *s, bool local, char host[WAWO_HOST_TEXT], int *family);
/* How it ended: errno value, operation, resolver code. */
int wawo_share_error(const struct wawo_share *s, int *operation, int *gai);
/* Why it ended, in words, where the code does not say it: what was wrong with what the peer sent, which timeout. Else
 * NULL. */
const char *wawo_share_fault(const struct wawo_share *s);

/* ---- TLS: a filter at the bottom of a connection's chain drives a session of whoever does the cryptography ---- */

/* Between a session and its filter: the ciphertext that came, and why the session failed. */
struct wawo_tls_pipe {
    const uint8_t *ptr; /* what is left of it; the session takes from its front */
    size_t len;
    unsigned long code; /* of OpenSSL's queue of errors, 0: none */
    long verify; /* X509_V_…, 0: nothing wrong with the certificate */
};

/* Takes ciphertext for the peer. WAWO_ENOMEM, or WAWO_ENOBUFS for too many answers to one that does not read: nothing
 * was taken, the session must fail. From the functions below. */
int wawo_tls_put(struct wawo_tls_pipe *pipe, const void *data, size_t len);

/* What a session can do; the filter calls it on its loop's thread, never from within itself. Results: WAWO_EPROTO when
 * it has failed, WAWO_ENOMEM; then only `attach` follows. */
struct wawo_tls_ops {
    const char *name;
    bool enters; /* wants to be called between enter and leave of the sink (Python: with the GIL) */
    /* From now on it reads and writes there: 0 or WAWO_ENOMEM; NULL: it is let go of, and not used any more. */
    int (*attach)(void *session, struct wawo_tls_pipe *pipe);
    int (*handshake)(void *session); /* 1: it stands; 0: more must come */
    /* Plaintext: how much, 0 when more must come, WAWO_ECLOSED after the peer's close_notify. */
    ptrdiff_t (*read)(void *session, void *to, size_t room);
    /* Not 0: it has input that it took from the pipe and not given out yet. Not inside, even if it `enters`. */
    int (*pending)(void *session);
    /* How much it took: at least a byte. WAWO_AGAIN: a message of its own has come in part, which it must read first. */
    ptrdiff_t (*write)(void *session, const void *data, size_t len);
    int (*shutdown)(void *session); /* writes close_notify */
    /* It is used often from now on, so it keeps its buffers between calls, or not any more: it gives them back after each,
     * as it does from `attach` on. NULL: it has none. */
    void (*keep)(void *session, bool keeps);
};

/* WAWO_TLS_RECORD: of plaintext, at most. */
enum { WAWO_TLS_RECORD = 16 * 1024 };

/* How a session is to be driven. */
enum {
    WAWO_TLS_CLIENT = 1, /* it has the first word */
    WAWO_TLS_LENIENT = 2 /* a FIN without close_notify is an end as any other */
};
/* Answers ON_WRAP, in deliver: the connection's session, borrowed until its ON_CLOSE; `how` is a set of the above. 0;
 * WAWO_ECLOSED: the connection is closing, or wanted none; WAWO_ENOMEM. */
int wawo_share_secure(struct wawo_share *s, const struct wawo_tls_ops *ops, void *session, unsigned how);
/* Answers ON_WRAP, in deliver: there is no session, so the connection ends, whatever it was to send. */
void wawo_share_leave_bare(struct wawo_share *s, int error);
/* Begins TLS on a connection without it, in deliver of one of its events: what was sent before goes out as it is. 0;
 * WAWO_ECLOSED: not on its loop, or closing; WAWO_EINVAL: it has TLS; WAWO_ENOMEM. */
int wawo_share_start_tls(struct wawo_share *s, const struct wawo_tls_ops *ops, void *session, unsigned how);

enum wawo_tls_fault {
    WAWO_TLS_FINE,
    WAWO_TLS_FAILED, /* the session did: code and verify */
    WAWO_TLS_CUT, /* the stream ended without close_notify */
    WAWO_TLS_LATE, /* no handshake within handshake_timeout */
    WAWO_TLS_LEFTOVER /* there was plaintext behind the message that began TLS */
};
/* What was wrong with the connection's TLS; in deliver of its ON_CLOSE. */
enum wawo_tls_fault wawo_share_tls_fault(const struct wawo_share *s, unsigned long *code, long *verify);

/* OpenSSL, of which this process has a copy that somebody else has loaded; a session is its SSL. */
extern const struct wawo_tls_ops wawo_tls_openssl;
/* Finds its functions: those that the shared object of that path was linked with. 0, or WAWO_ENOTSUP and *missing, in
 * words. Before all that follows, once. Any thread. */
int wawo_openssl_find(const char *path, const char **missing);
/* The context of a session, and the pointer that its maker left in it. */
void *wawo_openssl_context(void *session);
void *wawo_openssl_maker(void *session);
/* What a code of its queue of errors means, as "WRONG_VERSION_NUMBER" in words, and where it is from; NULL: it does not
 * say. And what is wrong with a certificate. */
const char *wawo_openssl_reason(unsigned long code);
const char *wawo_openssl_library(unsigned long code);
const char *wawo_openssl_verify_text(long verify);
/* For the self-test: a new client's first step, through whatever its maker gave it; true: it waits for the server. */
bool wawo_openssl_try(void *session);

/* ---- load: a closed loop of messages against an echo server, on an agent and a thread of its own ---- */

/* Limits: of connections, of messages in flight on each, and of the bytes of those together. */
enum { WAWO_LOAD_CONNECTIONS_MAX = 1000000, WAWO_LOAD_DEPTH_MAX = 65536, WAWO_LOAD_FLIGHT_MAX = 1 << 30 };

struct wawo_load_options {
    const char *host;
    uint16_t port;
    uint32_t connections;
    uint32_t depth; /* messages in flight on each */
    size_t size; /* bytes of a message */
    int64_t warmup_ns, measure_ns;
    int64_t patience_ns; /* for a connection to be established, for the last answers at the end; 0: 5 s */
    /* Called some ten times a second by the thread that called wawo_load_run, also while connecting, and at both ends of
     * measuring: time measured and messages answered so far, 0 before. Not 0: end at once. NULL: nobody asks. */
    int (*progress)(void *arg, int64_t elapsed_ns, uint64_t messages);
    void *arg;
};

struct wawo_load_result {
    uint64_t messages; /* answered while measuring */
    int64_t elapsed_ns; /* the time measured; shorter when it ended early */
    uint64_t p50_ns, p99_ns, p999_ns, max_ns; /* from sent to answered, those answered late included */
    uint32_t errors; /* connections that were not established, were lost, or still owed answers at the end */
    int error; /* errno value of the first of them */
};

/* Opens all connections and has one message answered on each, then keeps `depth` messages in flight on each, answers
 * being counted by their bytes; measures after the warm-up, lets what is in flight come back, closes. Blocks for as long as that takes. 0 with *out; also with
 * *out: the code of the first error when every connection has failed, WAWO_ECANCELED when progress ended it. WAWO_EINVAL
 * for numbers out of range, or why the thread could not start: *out is zero. Not on a loop. */
int wawo_load_run(const struct wawo_load_options *options, struct wawo_load_result *out);

/* ---- chunks that Python holds ---- */

/* Keeps the chunk of an event for as long as Python likes. false: over the quota, copy instead. In deliver. */
bool wawo_chunk_export(struct wawo_chunk *c);
/* Any thread. */
void wawo_chunk_hold(struct wawo_chunk *c);
void wawo_chunk_drop(struct wawo_chunk *c);

#endif
