#include "threads.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"

#include <stdio.h>

struct wawo_worker {
    struct wawo_threads *threads;
    struct wawo_loop *loop;
    struct wawo_thread thread;
};

static unsigned live;        /* atomic */
static unsigned next_number; /* atomic */
static struct wawo_threads *all;
static struct wawo_mutex all_lock = WAWO_MUTEX_INIT;

static void worker_main(void *arg)
{
    struct wawo_worker *w = arg;
    struct wawo_threads *t = w->threads;

    t->upper->start(w->loop);
    wawo_loop_run(w->loop, t->upper);
    wawo_sub(&live, 1);
    wawo_mutex_lock(&t->lock);
    t->running--;
    wawo_cond_broadcast(&t->ended);
    wawo_mutex_unlock(&t->lock);
}

static void enlist(struct wawo_threads *t)
{
    wawo_mutex_lock(&all_lock);
    t->next = all;
    all = t;
    wawo_mutex_unlock(&all_lock);
}

static void delist(struct wawo_threads *t)
{
    struct wawo_threads **link;

    wawo_mutex_lock(&all_lock);
    for (link = &all; *link != NULL; link = &(*link)->next)
        if (*link == t) {
            *link = t->next;
            break;
        }
    wawo_mutex_unlock(&all_lock);
}

/* The threads have ended. */
static void close_loops(struct wawo_threads *t)
{
    unsigned i;

    for (i = 0; i < t->count; i++) {
        t->upper->fini(&t->loops[i]);
        wawo_loop_close(&t->loops[i]);
    }
    t->closed = true;
    delist(t);
}

static void threads_free(struct wawo_threads *t)
{
    unsigned i;

    for (i = 0; i < t->count; i++)
        wawo_loop_fini(&t->loops[i]);
    wawo_cond_fini(&t->ended);
    wawo_mutex_fini(&t->lock);
    if (t->upper_arg != NULL)
        t->upper->release(t->upper_arg);
    wawo_free(t->workers);
    wawo_free(t->loops);
    wawo_free(t);
}

static int start_workers(struct wawo_threads *t)
{
    unsigned i;
    int err;

    for (i = 0; i < t->count; i++) {
        struct wawo_worker *w = &t->workers[i];

        w->threads = t;
        w->loop = &t->loops[i];
        snprintf(w->loop->name, sizeof w->loop->name, "wawo-io-%u", wawo_add(&next_number, 1) % 1000000);
        wawo_mutex_lock(&t->lock);
        t->running++;
        wawo_mutex_unlock(&t->lock);
        wawo_add(&live, 1);
        err = wawo_thread_start(&w->thread, w->loop->name, worker_main, w);
        if (err != 0) {
            wawo_sub(&live, 1);
            wawo_mutex_lock(&t->lock);
            t->running--;
            wawo_mutex_unlock(&t->lock);
            while (i-- > 0) {
                wawo_loop_stop(&t->loops[i]);
                wawo_thread_join(&t->workers[i].thread);
            }
            return err;
        }
    }
    return 0;
}

struct wawo_threads *wawo_threads_new(unsigned count, const struct wawo_backend_ops *backend, size_t pool_bytes,
                                      const struct wawo_loop_ops *upper, void *upper_arg, int *err)
{
    struct wawo_threads *t = wawo_alloc_zero(sizeof *t);
    unsigned i;

    *err = WAWO_ENOMEM;
    if (t == NULL) {
        upper->release(upper_arg);
        return NULL;
    }
    WAWO_CHECK(count >= 1 && count <= WAWO_THREADS_MAX);
    t->upper = upper;
    t->upper_arg = upper_arg;
    t->refs = 1;
    wawo_mutex_init(&t->lock);
    wawo_cond_init(&t->ended);
    t->loops = wawo_alloc_zero(count * sizeof *t->loops);
    t->workers = wawo_alloc_zero(count * sizeof *t->workers);
    *err = t->loops != NULL && t->workers != NULL ? 0 : WAWO_ENOMEM;
    for (i = 0; i < count && *err == 0; i++) {
        *err = wawo_loop_init(&t->loops[i], t, i, backend, pool_bytes);
        if (*err == 0) {
            t->count++;
            *err = upper->init(&t->loops[i], upper_arg);
        }
    }
    enlist(t);
    if (*err == 0)
        *err = start_workers(t);
    if (*err != 0) {
        close_loops(t);
        threads_free(t);
        return NULL;
    }
    return t;
}

void wawo_threads_hold(struct wawo_threads *t)
{
    wawo_add(&t->refs, 1);
}

void wawo_threads_drop(struct wawo_threads *t)
{
    if (wawo_sub(&t->refs, 1) == 1) {
        WAWO_CHECK(t->closed);
        threads_free(t);
    }
}

bool wawo_threads_stop(struct wawo_threads *t, int64_t timeout_ns)
{
    int64_t until = wawo_os_now_ns() + timeout_ns, left;
    bool ended;
    unsigned i;

    for (i = 0; i < t->count; i++)
        wawo_loop_stop(&t->loops[i]);
    wawo_mutex_lock(&t->lock);
    while (t->running > 0 && (left = until - wawo_os_now_ns()) > 0)
        (void)wawo_cond_wait_for(&t->ended, &t->lock, left);
    ended = t->running == 0;
    wawo_mutex_unlock(&t->lock);
    for (i = 0; i < t->count; i++) {
        if (ended)
            wawo_thread_join(&t->workers[i].thread);
        else
            wawo_thread_detach(&t->workers[i].thread);
    }
    if (ended)
        close_loops(t);
    else
        wawo_threads_hold(t); /* the threads that are left still use it: never freed */
    return ended;
}

struct wawo_loop *wawo_threads_least_loaded(struct wawo_threads *t)
{
    struct wawo_loop *best = &t->loops[0];
    uint32_t load, least = wawo_load_relaxed(&best->load);
    unsigned i;

    for (i = 1; i < t->count; i++) {
        load = wawo_load_relaxed(&t->loops[i].load);
        if (load < least) {
            least = load;
            best = &t->loops[i];
        }
    }
    return best;
}

struct wawo_loop *wawo_threads_loop_of(struct wawo_threads *t, uint64_t id)
{
    unsigned i = wawo_id_loop(id);

    return i < t->count ? &t->loops[i] : NULL;
}

void wawo_threads_after_fork(void)
{
    struct wawo_threads *t;
    unsigned i;

    /* Only this thread lives in the child; whoever held the lock is gone. */
    for (t = all; t != NULL; t = t->next)
        for (i = 0; i < t->count; i++) {
            wawo_loop_after_fork(&t->loops[i]);
            if (t->upper->forked != NULL)
                t->upper->forked(&t->loops[i]);
        }
    all = NULL;
    wawo_mutex_init(&all_lock);
    wawo_store(&live, 0);
}

unsigned wawo_threads_live(void)
{
    return wawo_load(&live);
}
