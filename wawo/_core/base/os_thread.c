/* F0 os: threads of POSIX systems. */
#include "config.h"

#include "alloc.h"
#include "err.h"
#include "os.h"
#include "os_thread.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#if defined(WAWO_BSD) && !defined(__APPLE__) && !defined(__NetBSD__)
#include <pthread_np.h>
#endif

void wawo_mutex_init(struct wawo_mutex *m)
{
    (void)pthread_mutex_init(&m->m, NULL);
}

void wawo_mutex_fini(struct wawo_mutex *m)
{
    (void)pthread_mutex_destroy(&m->m);
}

void wawo_mutex_lock(struct wawo_mutex *m)
{
    (void)pthread_mutex_lock(&m->m);
}

void wawo_mutex_unlock(struct wawo_mutex *m)
{
    (void)pthread_mutex_unlock(&m->m);
}

void wawo_cond_init(struct wawo_cond *c)
{
#if defined(__APPLE__)
    (void)pthread_cond_init(&c->c, NULL);
#else
    pthread_condattr_t attr;

    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&c->c, &attr);
    (void)pthread_condattr_destroy(&attr);
#endif
}

void wawo_cond_fini(struct wawo_cond *c)
{
    (void)pthread_cond_destroy(&c->c);
}

void wawo_cond_signal(struct wawo_cond *c)
{
    (void)pthread_cond_signal(&c->c);
}

void wawo_cond_broadcast(struct wawo_cond *c)
{
    (void)pthread_cond_broadcast(&c->c);
}

void wawo_cond_wait(struct wawo_cond *c, struct wawo_mutex *m)
{
    (void)pthread_cond_wait(&c->c, &m->m);
}

bool wawo_cond_wait_for(struct wawo_cond *c, struct wawo_mutex *m, int64_t timeout_ns)
{
#if defined(__APPLE__)
    struct timespec ts = {.tv_sec = (time_t)(timeout_ns / WAWO_SEC), .tv_nsec = (long)(timeout_ns % WAWO_SEC)};

    return pthread_cond_timedwait_relative_np(&c->c, &m->m, &ts) != ETIMEDOUT;
#else
    int64_t until = wawo_os_now_ns() + timeout_ns;
    struct timespec ts = {.tv_sec = (time_t)(until / WAWO_SEC), .tv_nsec = (long)(until % WAWO_SEC)};

    return pthread_cond_timedwait(&c->c, &m->m, &ts) != ETIMEDOUT;
#endif
}

struct start {
    void (*main)(void *arg);
    void *arg;
    char name[16];
};

static void name_thread(const char *name)
{
#if defined(__APPLE__)
    (void)pthread_setname_np(name);
#elif defined(__NetBSD__)
    (void)pthread_setname_np(pthread_self(), "%s", (void *)(uintptr_t)name);
#elif defined(WAWO_BSD)
    pthread_set_name_np(pthread_self(), name);
#else
    (void)pthread_setname_np(pthread_self(), name);
#endif
}

static void *thread_entry(void *p)
{
    struct start s = *(struct start *)p;

    wawo_free(p);
    name_thread(s.name);
    s.main(s.arg);
    return NULL;
}

int wawo_thread_start(struct wawo_thread *t, const char *name, void (*main)(void *arg), void *arg)
{
    struct start *s = wawo_alloc(sizeof *s);
    sigset_t all, old;
    int err;

    if (s == NULL)
        return WAWO_ENOMEM;
    s->main = main;
    s->arg = arg;
    snprintf(s->name, sizeof s->name, "%s", name);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old); /* inherited: signals belong to the application's threads */
    err = pthread_create(&t->t, NULL, thread_entry, s);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err != 0)
        wawo_free(s);
    return err == EAGAIN ? WAWO_ENOMEM : -err; /* no room for a thread: never "would block" */
}

void wawo_thread_join(struct wawo_thread *t)
{
    (void)pthread_join(t->t, NULL);
}

void wawo_thread_detach(struct wawo_thread *t)
{
    (void)pthread_detach(t->t);
}

void wawo_thread_yield(void)
{
    (void)sched_yield();
}
