/* F2 loop: one thread, its backend, timers, inbox and private heap. The floor above hands down a table of calls. */
#ifndef WAWO_IO_LOOP_H
#define WAWO_IO_LOOP_H

#include "../base/atomic.h"
#include "backend.h"
#include "timer.h"

struct wawo_loop;
struct wawo_threads;

/* Work for a loop from any thread. run() is called on the loop, once for each post, with dead true when the loop has
 * ended: then it only gives back what it holds. */
struct wawo_call {
    struct wawo_node node;
    void (*run)(struct wawo_call *c, struct wawo_loop *loop, bool dead);
};

/* What the floor above does; on the loop's thread but for init, fini and release. */
struct wawo_loop_ops {
    int (*init)(struct wawo_loop *loop, void *arg); /* before the thread starts; 0 or why not; sets loop->upper */
    void (*start)(struct wawo_loop *loop);          /* first on the thread */
    void (*done)(struct wawo_loop *loop, struct wawo_done *done, int n);
    void (*turn)(struct wawo_loop *loop); /* once a turn, after all events */
    void (*stop)(struct wawo_loop *loop); /* last on the thread */
    void (*fini)(struct wawo_loop *loop); /* after the thread has ended; also after a failed init of another loop */
    void (*release)(void *arg);           /* nobody knows the threads any more */
    void (*forked)(struct wawo_loop *loop); /* in the child after a fork: its thread is gone; NULL: nothing to do */
};

enum { WAWO_LOOP_DONE = 256 };

struct wawo_loop {
    const struct wawo_backend_ops *ops;
    struct wawo_backend *backend;
    struct wawo_threads *threads;
    void *upper; /* the floor above's own */
    int64_t now_ns;
    bool busy;         /* set by turn(): do not sleep before the next one */
    int64_t wait_max;  /* set by turn(): sleep at most this long once; -1 = no bound */
    uintptr_t thread;  /* atomic: who may touch what it owns: who runs it, or nobody (0) */
    uintptr_t runner;  /* atomic: who runs it, 0 = nobody */
    unsigned index;
    char name[16]; /* of its thread */
    struct wawo_heap heap;
    struct wawo_done *done;
    char pad0[WAWO_CACHE_LINE];
    struct wawo_mpsc inbox; /* written by any thread */
    uint32_t sleeping;      /* atomic: a poster must wake it */
    uint32_t stopping;      /* atomic */
    uint32_t load;          /* atomic: connections here or on the way here */
    struct wawo_mutex wake; /* held over a wake-up, so that the backend does not go away under it */
    char pad1[WAWO_CACHE_LINE];
    wawo_u64 turns, wakes;  /* counters: written by the loop, read by any */
    wawo_u64 file_reads;    /* the same */
    struct wawo_table table;
    struct wawo_wheel wheel;
};

/* 0 or why not, with nothing left behind. Before its thread is started. */
int wawo_loop_init(struct wawo_loop *loop, struct wawo_threads *threads, unsigned index,
                   const struct wawo_backend_ops *ops, size_t pool_bytes);
/* Gives back all but the table, which any thread may still ask. The thread has ended. */
void wawo_loop_close(struct wawo_loop *loop);
/* Gives back the rest. Nobody knows the loop any more. */
void wawo_loop_fini(struct wawo_loop *loop);
/* The thread's whole life, until wawo_loop_stop(). Returns with the inbox closed. */
void wawo_loop_run(struct wawo_loop *loop, const struct wawo_loop_ops *ops);
/* Asks the loop to end. Any thread. */
void wawo_loop_stop(struct wawo_loop *loop);
/* Queues `c`, which must be in no queue; false: the loop has ended, nothing was queued. Any thread. */
bool wawo_loop_post(struct wawo_loop *loop, struct wawo_call *c);
/* The same for many, linked as wawo_mpsc_push_chain wants them: all or none. */
bool wawo_loop_post_chain(struct wawo_loop *loop, struct wawo_node *newest, struct wawo_node *oldest);
/* Whether this thread runs the loop, and may touch what it owns. Any thread. */
static inline bool wawo_loop_here(const struct wawo_loop *loop)
{
    return wawo_load_relaxed(&loop->thread) == wawo_thread_self();
}
/* Whether this thread runs the loop, and must not wait for it. Any thread. */
static inline bool wawo_loop_runs_here(const struct wawo_loop *loop)
{
    return wawo_load_relaxed(&loop->runner) == wawo_thread_self();
}
/* Before and after a call into code that may call us again where nothing may change under it: what it asks for is posted,
 * as if by another thread. */
static inline void wawo_loop_step_aside(struct wawo_loop *loop)
{
    wawo_store_relaxed(&loop->thread, 0);
}
static inline void wawo_loop_step_back(struct wawo_loop *loop)
{
    wawo_store_relaxed(&loop->thread, wawo_load_relaxed(&loop->runner));
}
/* The time for a limit that may begin in a callback: the turn, whose time is now_ns, may have begun long before. */
static inline int64_t wawo_loop_clock(const struct wawo_loop *loop)
{
    return loop->ops->clock(loop->backend);
}
/* In the child after a fork: closes the descriptors, nothing else. */
void wawo_loop_after_fork(struct wawo_loop *loop);

#endif
