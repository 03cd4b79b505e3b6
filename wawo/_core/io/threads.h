/* F2 threads: N loops on N native threads. Reference counted: the owner, and whatever may still post to a loop. */
#ifndef WAWO_IO_THREADS_H
#define WAWO_IO_THREADS_H

#include "loop.h"

enum { WAWO_THREADS_MAX = 1 << WAWO_ID_LOOP_BITS };

struct wawo_threads {
    unsigned count;
    const struct wawo_loop_ops *upper;
    void *upper_arg;
    struct wawo_loop *loops; /* count of them */
    struct wawo_worker *workers;
    uint32_t refs;    /* atomic */
    uint32_t running; /* threads that have not ended; under lock */
    bool closed;      /* loops are closed */
    struct wawo_mutex lock;
    struct wawo_cond ended;
    struct wawo_threads *next; /* all of the process, for fork */
};

/* Starts the threads, named wawo-io-0 and so on (numbered through the process). `upper_arg` is for the floor above
 * and its to release, on failure too.
 * On failure NULL and *err. */
struct wawo_threads *wawo_threads_new(unsigned count, const struct wawo_backend_ops *backend, size_t pool_bytes,
                                      const struct wawo_loop_ops *upper, void *upper_arg, int *err);
void wawo_threads_hold(struct wawo_threads *t);
void wawo_threads_drop(struct wawo_threads *t);
/* Ends and joins the threads; false: some thread did not end within the time, all are left to themselves and nothing is
 * given back. Not from a loop. Once. */
bool wawo_threads_stop(struct wawo_threads *t, int64_t timeout_ns);
/* The loop with the fewest connections. Any thread. */
struct wawo_loop *wawo_threads_least_loaded(struct wawo_threads *t);
/* The loop of an id, NULL if there is none. Any thread. */
struct wawo_loop *wawo_threads_loop_of(struct wawo_threads *t, uint64_t id);
/* In the child after a fork: closes the descriptors of every loop. */
void wawo_threads_after_fork(void);
/* Native threads alive in the process. */
unsigned wawo_threads_live(void);

#endif
