/* The net floor with a sink in C: a stage is an engine, a party one endpoint on it. The sink checks the laws of every
 * connection (ACCEPT or CONNECT first, HANDSHAKE next and once, CLOSE last and once) and logs what the tests ask for. */
#ifndef WAWO_TESTS_STAGE_H
#define WAWO_TESTS_STAGE_H

#include "support/kit.h"

#include "wawo.h"

struct party;
struct actor;

struct stage {
    struct wawo_threads *threads;
    struct wawo_sink sink;
    struct wawo_mutex lock;
    struct wawo_cond changed;
    uint64_t loans_back; /* buffers given back; under the lock */
    /* Before the due check of each event of a batch: what another thread may do at that moment; may be NULL. */
    void (*before)(struct stage *s, const struct wawo_event *e, unsigned index);
    void *before_arg;
    int entered;         /* of all loops; atomic */
    unsigned loops;
};

/* A connection as its party sees it: the user pointer of its share, from its first event to its CLOSE. */
struct actor {
    struct party *party;
    struct wawo_share *share; /* valid as long as the actor is */
    uint64_t received, sent, messages;
    bool shown, shaken, closed;
    uint64_t scratch[4]; /* the hook's own */
};

/* On the loop, after the sink's own checks; `a` goes after CLOSE. `a` is NULL for SHUTDOWN. */
typedef void (*party_hook)(struct party *p, const struct wawo_event *e, struct actor *a);

struct party {
    struct stage *stage;
    struct wawo_endpoint *endpoint;
    enum wawo_role role;
    struct wawo_options options;
    struct wawo_framing framing;
    unsigned mask;
    party_hook hook;
    void (*wrap)(struct party *p, const struct wawo_event *e); /* answers ON_WRAP; with options.tls */
    void *arg;
    uint16_t port;
    bool verify; /* what each connection receives is the pattern from 0 on */
    /* under the stage's lock */
    uint64_t count[WAWO_EVENT_KINDS];
    uint64_t received; /* bytes */
    uint64_t bad;      /* closes with an error */
    int operation, error, gai; /* of the last close */
    uint64_t closed_received;  /* of the last close: bytes of that connection */
    struct wawo_share *last;   /* of the last ACCEPT or CONNECT, a reference */
};

void stage_open(struct stage *s, const char *backend, unsigned loops);
/* 0, or why the engine does not start. */
int stage_open_with(struct stage *s, const char *backend, unsigned loops, size_t pool_bytes);
/* Stops, and checks that nothing of wawo's is left in the process. */
void stage_close(struct stage *s);
/* Whether its first loop slept for most of 20 ms: one that waited for its turn to deliver stays awake for a while. */
bool stage_rests(struct stage *s);

/* Defaults: raw, every kind but SEND and PREPARE_CONNECT listened to, HP-Socket's limits. Change what differs, then start. */
void party_init(struct party *p, struct stage *s, enum wawo_role role);
void party_framed(struct party *p, unsigned size, uint64_t max);
/* 0 or why not; a server listens on 127.0.0.1. */
int party_try_start(struct party *p);
void party_start(struct party *p);
/* Asks; the end is waited for by party_finish. */
void party_stop(struct party *p, int64_t drain_ns);
/* Stops at once unless it was stopped, waits for SHUTDOWN, gives all back. */
void party_finish(struct party *p);
/* Finishes it and closes its stage; also waits for what the pool for blocking work still holds. */
void party_close(struct stage *s, struct party *p);
/* A reference of the connection. */
struct wawo_share *party_connect(struct party *p, uint16_t port);
/* The code of the endpoint; *share may be NULL. */
int party_dial(struct party *p, const char *host, uint16_t port, int64_t timeout_ns, struct wawo_share **share);
/* The same from a local address. */
int party_dial_from(struct party *p, const char *host, uint16_t port, const char *local);
/* The same with a socket that is connected. */
int party_adopt(struct party *p, int fd, struct wawo_share **share);
/* Plain sockets connect to a server that has no connection yet; returns when all were accepted. */
void party_crowd(struct party *p, int *fds, int n);
/* Waits until `n` events of that kind were delivered. */
void party_wait(struct party *p, enum wawo_event_kind kind, uint64_t n);
void party_wait_bytes(struct party *p, uint64_t n);
uint64_t party_count(struct party *p, enum wawo_event_kind kind);
/* The last connection that was accepted or connected, with a reference. */
struct wawo_share *party_last(struct party *p);
void party_lock(struct party *p);
void party_unlock(struct party *p);

struct wawo_endpoint_stats party_stats(const struct party *p);

/* Hooks. */
void hook_echo(struct party *p, const struct wawo_event *e, struct actor *a);
/* Keeps the chunk of each message, as views do, in the struct keeper that is the party's arg, while there is room. */
void hook_keep(struct party *p, const struct wawo_event *e, struct actor *a);

struct keeper {
    struct wawo_chunk *held[256];
    unsigned count; /* under the stage's lock, as they are */
};

void keeper_drop(struct keeper *k, struct party *p);

/* Sends the pattern from another thread, waiting while the connection is full. */
void share_send_pattern(struct wawo_share *s, uint64_t offset, size_t len, size_t piece);

#endif
