/* F0 os: threads, mutexes and conditions, as POSIX has them. Any thread. */
#ifndef WAWO_BASE_OS_THREAD_H
#define WAWO_BASE_OS_THREAD_H

#include "config.h"

#if defined(_WIN32)
/* A slim lock and a condition variable of Windows are one pointer each, which begins as NULL (os_win.c asserts it): so
 * nobody above needs its headers. */
struct wawo_mutex {
    void *srw;
};
struct wawo_cond {
    void *cv;
};
struct wawo_thread {
    void *handle;
};
#define WAWO_MUTEX_INIT {NULL}
#else
#include <pthread.h>

struct wawo_mutex {
    pthread_mutex_t m;
};
struct wawo_cond {
    pthread_cond_t c;
};
struct wawo_thread {
    pthread_t t;
};
#define WAWO_MUTEX_INIT {PTHREAD_MUTEX_INITIALIZER}
#endif

/* None of them can fail. WAWO_MUTEX_INIT makes a static one. */
void wawo_mutex_init(struct wawo_mutex *m);
void wawo_mutex_fini(struct wawo_mutex *m);
void wawo_mutex_lock(struct wawo_mutex *m);
void wawo_mutex_unlock(struct wawo_mutex *m);
void wawo_cond_init(struct wawo_cond *c);
void wawo_cond_fini(struct wawo_cond *c);
void wawo_cond_signal(struct wawo_cond *c);
void wawo_cond_broadcast(struct wawo_cond *c);
void wawo_cond_wait(struct wawo_cond *c, struct wawo_mutex *m);
/* false: `timeout_ns` passed. */
bool wawo_cond_wait_for(struct wawo_cond *c, struct wawo_mutex *m, int64_t timeout_ns);
/* Starts a thread with every signal blocked and this name (15 bytes at most). */
int wawo_thread_start(struct wawo_thread *t, const char *name, void (*main)(void *arg), void *arg);
void wawo_thread_join(struct wawo_thread *t);
void wawo_thread_detach(struct wawo_thread *t);
/* Lets another thread run; for spin locks. */
void wawo_thread_yield(void);

#endif
