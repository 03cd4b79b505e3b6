/* A backend alone, without a loop: its table, its heap and a few socks; what comes out of wait() is kept in order and
 * taken by kind. */
#ifndef WAWO_TESTS_RIG_H
#define WAWO_TESTS_RIG_H

#include "support/kit.h"

#include "io/threads.h"

enum { RIG_PENDING = 8192 };

struct rig {
    const struct wawo_backend_ops *ops;
    struct wawo_backend *backend;
    struct wawo_table table;
    struct wawo_heap heap;
    struct wawo_loop loop; /* no more of it than takes the answers of other threads */
    struct wawo_threads threads;
    struct wawo_done done[WAWO_DONE_MIN];
    struct wawo_done pending[RIG_PENDING];
    unsigned count;
    uint64_t waits;
};

/* Skips the test when the backend does not probe on this kernel. */
struct rig *rig_open(const char *backend, size_t pool_bytes);
/* Everything has been detached and taken. */
void rig_close(struct rig *r);

/* A sock with an id, attached to `fd`. */
void rig_attach(struct rig *r, struct wawo_sock *s, int fd);
/* The same with a new connection; its other end, of the kit. */
int rig_pair(struct rig *r, struct wawo_sock *s);
int rig_pair_unix(struct rig *r, struct wawo_sock *s);
/* Detaches, waits for DETACHED, checks that it is the last event of the sock, frees its id. */
void rig_detach(struct rig *r, struct wawo_sock *s, bool reset);
/* The same for what was asked for already. */
void rig_detached(struct rig *r, struct wawo_sock *s);

/* One wait; the new events are pending. */
void rig_turn(struct rig *r, int64_t timeout_ns);
/* The next event of that kind for `s`, which must be its first pending one; waits for it. */
struct wawo_done rig_next(struct rig *r, const struct wawo_sock *s, enum wawo_done_kind kind);
/* Whether `s` has something pending. */
bool rig_has(const struct rig *r, const struct wawo_sock *s);
/* Some turns without an event for `s`. */
void rig_quiet(struct rig *r, const struct wawo_sock *s);
/* Receives and checks that much of the pattern. */
void rig_receive(struct rig *r, struct wawo_sock *s, uint64_t offset, size_t len);
/* Queues that much of the pattern in s->out. */
void rig_queue(struct rig *r, struct wawo_sock *s, uint64_t offset, size_t len);
/* The same, out of a file; returns it, to be looked at as long as it is in the ring. */
struct wawo_file *rig_queue_file(struct rig *r, struct wawo_sock *s, uint64_t offset, size_t len);

#endif
