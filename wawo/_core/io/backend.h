/* F2 backend: the completion table, all that the floors above know of a kernel. Standing orders go in, events come out
 * of wait(). Every function belongs to the loop's thread unless marked "any thread". No caller may ask which one runs.
 *
 * The contract
 * - connect reads `to`, and the path that it may borrow, during the call only. After WAWO_ENOBUFS, the answer of a unix
 *   socket whose backlog is full, it may be called again for the same sock.
 * - An accepted socket is an ordinary one, in no backend until it is attached, on the loop it will live on.
 * - recv_stop is a request: what the kernel had already delivered still comes, in order. After an end of stream, an
 *   error or WAWO_ENOBUFS the order to receive is gone by itself.
 * - A read takes no more than the sock's owner wants (`aux`), where the system lets that be said.
 * - send writes what the kernel takes now and returns it; the rest stays in sock->out, is written as the kernel makes
 *   room, and each such write is a WAWO_DONE_SENT. The bytes in the ring stay put until they are consumed here.
 *   With an empty ring it sees to it that what send_soon took is on its way, or in the ring again.
 * - A file in the ring goes the same way, a bounded part of it a turn; what is not in memory is waited for elsewhere, so
 *   that neither send nor wait blocks. One that ends too early is WAWO_EIO. While it is read for a sock, that sock may be
 *   detached as always; the file is closed when nobody reads it any more.
 * - detach ends every order, closes the descriptor and is answered by WAWO_DONE_DETACHED, once, last, when nothing of
 *   the sock is in flight: only then may its memory go. It cancels a connect under way too. What send_soon took and the
 *   kernel then does not is lost, and nobody is told: whoever must know asks `send` first.
 * - release is detach without the close, for an idle sock: at once, the descriptor goes to the caller, who may attach it
 *   again to this same backend.
 *
 * Room for what comes: dgram_recv_start, dgram_send and watch(fd) are further rows of this table and further kinds of
 * done; a backend that lacks one answers WAWO_ENOTSUP. */
#ifndef WAWO_IO_BACKEND_H
#define WAWO_IO_BACKEND_H

#include "sock.h"

enum wawo_done_kind {
    WAWO_DONE_RECV,      /* chunk, ptr, len; len 0 is the end of the stream; or error */
    WAWO_DONE_SENT,      /* the kernel took len bytes, and out.bytes fell by `freed`; or error */
    WAWO_DONE_BACK,      /* of what send_soon took, len bytes did not go and are in front of `out` again; or error */
    WAWO_DONE_ACCEPTED,  /* fd, peer; or error, and accepting has stopped */
    WAWO_DONE_CONNECTED, /* error 0 or why not */
    WAWO_DONE_DETACHED
};

struct wawo_done {
    uint64_t id;
    int32_t kind;
    int32_t error; /* 0 or negative */
    union {
        struct {
            struct wawo_chunk *chunk; /* one reference, the receiver's to drop */
            const uint8_t *ptr;
            size_t len;
            size_t freed;
        };
        struct {
            int fd;
            struct wawo_addr peer;
        };
    };
};

/* Connections that one wait() accepts for one listener at most, also after it was told to stop. */
enum { WAWO_ACCEPT_BURST = 32 };
/* Bytes that one wait() hands up, about: the floors above get their turn while those are in the cache. */
enum { WAWO_TURN_BYTES = 64 * 1024 };
/* Room that wait() needs at least. */
enum { WAWO_DONE_MIN = 64 };

struct wawo_backend; /* each one's own */
struct wawo_loop;

/* What a loop lends to its backend. */
struct wawo_backend_env {
    const struct wawo_table *table;
    struct wawo_heap *heap;
    struct wawo_loop *loop; /* whose inbox takes the answers of other threads */
};

struct wawo_backend_ops {
    const char *name;
    /* 0 if this kernel has what it takes, tried and not guessed; else a negative code, and *why in words where there are
     * better ones than those of the code (a text that lives for ever), else NULL. Any thread. */
    int (*probe)(const struct wawo_backend_ops *ops, const char **why);
    int (*open)(const struct wawo_backend_ops *ops, const struct wawo_backend_env *env, struct wawo_backend **out);
    /* Nothing is attached any more; or after a fork, in the child, where it only closes descriptors. */
    void (*close)(struct wawo_backend *b);
    void (*attach)(struct wawo_backend *b, struct wawo_sock *s, int fd);
    void (*detach)(struct wawo_backend *b, struct wawo_sock *s, bool reset);
    int (*release)(struct wawo_backend *b, struct wawo_sock *s);
    void (*accept_start)(struct wawo_backend *b, struct wawo_sock *s);
    void (*accept_stop)(struct wawo_backend *b, struct wawo_sock *s);
    void (*connect)(struct wawo_backend *b, struct wawo_sock *s, const struct wawo_addr *to);
    void (*recv_start)(struct wawo_backend *b, struct wawo_sock *s);
    void (*recv_stop)(struct wawo_backend *b, struct wawo_sock *s);
    /* What the kernel took, 0 when it is full, or a negative code. WAWO_AGAIN: `out` is empty, but whether all of
     * send_soon went is not known; a WAWO_DONE_SENT, mostly of no bytes, or a WAWO_DONE_BACK tells it. */
    ptrdiff_t (*send)(struct wawo_backend *b, struct wawo_sock *s);
    /* The same for whoever is in no hurry and bears to be told too much: it may go out with the next wait, and what then
     * does not go is a WAWO_DONE_BACK, which mostly never comes. */
    ptrdiff_t (*send_soon)(struct wawo_backend *b, struct wawo_sock *s);
    /* The same for bytes that are in no ring, where s->out is empty: what the kernel takes of them now, or a negative
     * code. 0: the ring is their way. NULL: it always is. */
    ptrdiff_t (*send_bytes)(struct wawo_backend *b, struct wawo_sock *s, const void *data, size_t len);
    void (*shutdown)(struct wawo_backend *b, struct wawo_sock *s);
    /* Waits at most timeout_ns (-1: for ever) unless something is due; the count of done, or a negative code. */
    int (*wait)(struct wawo_backend *b, struct wawo_done *done, int max, int64_t timeout_ns);
    void (*wake)(struct wawo_backend *b); /* any thread */
    int64_t (*clock)(struct wawo_backend *b);
    /* Whether bytes may have come for an attached sock that wait() has not handed up. */
    bool (*unread)(struct wawo_backend *b, const struct wawo_sock *s);
    const void *arg; /* the poller beneath, where there is one */
    bool on_request; /* runs only when it is named, however good its rank */
};

/* Best first; NULL ends the table. */
extern const struct wawo_backend_ops *const wawo_backends[];

/* The backend of that name, or with NULL the best that probes and need not be asked for. On failure NULL and *err: WAWO_EINVAL for an unknown name,
 * else why it does not probe. Any thread. */
const struct wawo_backend_ops *wawo_backend_choose(const char *name, int *err);

/* Rows that several backends have in common: what the system itself says of the descriptor, and its time. */
void wawo_backend_shutdown(struct wawo_backend *b, struct wawo_sock *s);
bool wawo_backend_unread(struct wawo_backend *b, const struct wawo_sock *s);
int64_t wawo_backend_clock(struct wawo_backend *b);

extern const struct wawo_backend_ops wawo_backend_uring;
extern const struct wawo_backend_ops wawo_backend_epoll;
extern const struct wawo_backend_ops wawo_backend_kqueue;
extern const struct wawo_backend_ops wawo_backend_poll;
extern const struct wawo_backend_ops wawo_backend_iocp;

#endif
