/* The fake kernel: threads, locks, time, names, memory. A mutex is its first word, a condition the count of its calls. */
#include "kernel.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *p, size_t size);

/* ---- locks ---- */

static int *word(void *p)
{
    return p;
}

static bool is_free(void *m)
{
    return *word(m) == 0;
}

WRAP(int, pthread_mutex_init, pthread_mutex_t *m, const pthread_mutexattr_t *attr)
{
    (void)attr;
    *word(m) = 0;
    return 0;
}

WRAP(int, pthread_mutex_destroy, pthread_mutex_t *m)
{
    SIM_CHECK(*word(m) == 0);
    return 0;
}

WRAP(int, pthread_mutex_lock, pthread_mutex_t *m)
{
    if (!is_free(m))
        SIM_CHECK(fiber_block(is_free, m, -1));
    *word(m) = 1;
    return 0;
}

WRAP(int, pthread_mutex_unlock, pthread_mutex_t *m)
{
    SIM_CHECK(*word(m) == 1);
    *word(m) = 0;
    return 0;
}

struct waiting {
    int *calls, seen;
};

static bool called(void *arg)
{
    const struct waiting *w = arg;

    return *w->calls != w->seen;
}

static bool cond_wait(pthread_cond_t *c, pthread_mutex_t *m, int64_t until)
{
    struct waiting w = {word(c), *word(c)};
    bool was_called;

    __wrap_pthread_mutex_unlock(m);
    was_called = fiber_block(called, &w, until);
    __wrap_pthread_mutex_lock(m);
    return was_called;
}

WRAP(int, pthread_cond_init, pthread_cond_t *c, const pthread_condattr_t *attr)
{
    (void)attr;
    *word(c) = 0;
    return 0;
}

WRAP(int, pthread_cond_destroy, pthread_cond_t *c)
{
    (void)c;
    return 0;
}

WRAP(int, pthread_cond_signal, pthread_cond_t *c)
{
    ++*word(c); /* wakes all of them: more than are asked for may always wake */
    return 0;
}

WRAP(int, pthread_cond_broadcast, pthread_cond_t *c)
{
    ++*word(c);
    return 0;
}

WRAP(int, pthread_cond_wait, pthread_cond_t *c, pthread_mutex_t *m)
{
    (void)cond_wait(c, m, -1);
    return 0;
}

WRAP(int, pthread_cond_timedwait, pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *until)
{
    return cond_wait(c, m, (int64_t)until->tv_sec * WAWO_SEC + until->tv_nsec) ? 0 : ETIMEDOUT;
}

/* ---- threads ---- */

WRAP(int, pthread_create, pthread_t *t, const pthread_attr_t *attr, void *(*entry)(void *arg), void *arg)
{
    static const int errors[] = {EAGAIN, 0};
    struct fiber *f = kernel_fault(errors) ? NULL : fiber_start(entry, arg);

    (void)attr;
    *t = (pthread_t)f;
    return f != NULL ? 0 : EAGAIN;
}

static bool has_ended(void *f)
{
    return fiber_ended(f);
}

WRAP(int, pthread_join, pthread_t t, void **result)
{
    (void)result;
    SIM_CHECK(fiber_block(has_ended, (struct fiber *)t, -1));
    return 0;
}

WRAP(int, pthread_detach, pthread_t t)
{
    (void)t;
    return 0;
}

WRAP(int, pthread_setname_np, pthread_t t, const char *name)
{
    (void)t, (void)name;
    return 0;
}

WRAP(int, sched_yield, void)
{
    fiber_yield();
    return 0;
}

/* ---- time, chance ---- */

WRAP(int, clock_gettime, clockid_t id, struct timespec *ts)
{
    (void)id;
    ts->tv_sec = (time_t)(sim_now / WAWO_SEC);
    ts->tv_nsec = (long)(sim_now % WAWO_SEC);
    return 0;
}

WRAP(int, getentropy, void *to, size_t len)
{
    static const int errors[] = {ENOSYS, 0};
    size_t i;

    if (kernel_fault(errors))
        return -1;
    for (i = 0; i < len; i++)
        ((uint8_t *)to)[i] = (uint8_t)sim_random();
    return 0;
}

/* ---- names: what a name has says how many addresses there are, of which family ---- */

static struct addrinfo *found(bool inet6, struct addrinfo *next)
{
    struct addrinfo *a = calloc(1, sizeof *a + sizeof(struct sockaddr_in6));

    SIM_CHECK(a != NULL);
    a->ai_family = inet6 ? AF_INET6 : AF_INET;
    a->ai_addr = (struct sockaddr *)(void *)(a + 1);
    a->ai_addr->sa_family = (sa_family_t)a->ai_family;
    a->ai_addrlen = inet6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    a->ai_next = next;
    return a;
}

WRAP(int, getaddrinfo, const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
    static const int errors[] = {EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_MEMORY, 0};
    unsigned i;

    (void)service, (void)hints;
    *out = NULL;
    fiber_yield(); /* it takes its time */
    if (kernel_fault(errors))
        return errno;
    for (i = 0; i < 1 + sim_below(3); i++)
        *out = found(host[0] == '6' || (host[0] == 'm' && i % 2 == 0), *out);
    return 0;
}

WRAP(void, freeaddrinfo, struct addrinfo *list)
{
    struct addrinfo *next;

    for (; list != NULL; list = next) {
        next = list->ai_next;
        free(list);
    }
}

/* ---- memory ---- */

static size_t mapped;

size_t kernel_mapped(void)
{
    return mapped;
}

WRAP(void *, mmap, void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *p = fd >= 0 ? kernel_uring_map(fd, size, offset) : __real_mmap(at, size, protection, flags, fd, offset);

    mapped += p != MAP_FAILED ? size : 0;
    return p;
}

WRAP(int, munmap, void *p, size_t size)
{
    SIM_CHECK(mapped >= size);
    mapped -= size;
    return __real_munmap(p, size);
}

WRAP64(mmap);
