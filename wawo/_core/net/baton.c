#include "baton.h"

#include "../base/atomic.h"
#include "../base/os.h"

enum { SPINS = 200 }; /* some 10 µs */

static uint32_t taken;   /* atomic */
static uint32_t waiters; /* atomic; changed under the lock */
static struct wawo_mutex lock = WAWO_MUTEX_INIT;
static struct wawo_cond given; /* made by the first who waits: a static one would count another clock */
static bool given_made;

bool wawo_baton_try(void)
{
    return wawo_load_relaxed(&taken) == 0 && wawo_exchange(&taken, 1) == 0;
}

/* Most batches are over sooner than a thread can be put to sleep and woken. */
static bool spin(void)
{
    int i;

    for (i = 0; i < SPINS; i++) {
        if (wawo_load_relaxed(&taken) == 0)
            return true;
        wawo_cpu_relax();
    }
    return false;
}

void wawo_baton_wait(int64_t timeout_ns)
{
    if (spin())
        return;
    wawo_mutex_lock(&lock);
    if (!given_made) {
        wawo_cond_init(&given);
        given_made = true;
    }
    wawo_add(&waiters, 1);
    if (wawo_load_full(&taken) != 0)
        (void)wawo_cond_wait_for(&given, &lock, timeout_ns);
    wawo_sub(&waiters, 1);
    wawo_mutex_unlock(&lock);
}

void wawo_baton_give(void)
{
    wawo_store_full(&taken, 0);
    if (wawo_unlikely(wawo_load_full(&waiters) != 0)) {
        wawo_mutex_lock(&lock);
        wawo_cond_signal(&given);
        wawo_mutex_unlock(&lock);
    }
}

void wawo_baton_after_fork(void)
{
    wawo_store(&taken, 0);
    wawo_store(&waiters, 0);
    wawo_mutex_init(&lock);
    given_made = false;
}
