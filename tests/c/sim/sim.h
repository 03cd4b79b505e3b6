/* A deterministic simulation: the floors F0 to F4 as they are, over a fake kernel. The linker hands every system call
 * of theirs to __wrap_<call> (`-Wl,--wrap`, see tests/c/build.py), so no line of production code knows about it.
 *
 * One native thread. Each thread that the core starts is a fiber, and the main program is the application's thread and
 * the scheduler: whatever blocks goes back to world_step(), which lets one thing happen (a fiber runs to its next
 * blocking call, bytes travel, a peer or the application does something, time passes). All choices come from one seed:
 * the same seed is the same run, to the last bit of its log. */
#ifndef WAWO_TESTS_SIM_H
#define WAWO_TESTS_SIM_H

#include "base/config.h"

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif

/* ---- chance, time, log ---- */

uint32_t sim_random(void);
/* A number below `n`; 0 for 0. */
uint32_t sim_below(uint32_t n);
/* True so often in a thousand. */
bool sim_chance(unsigned per_mille);
/* Sizes over some powers of two, small ones as often as large ones; 1 to `max`. */
size_t sim_size(size_t max);

extern int64_t sim_now; /* ns */
extern unsigned sim_faults; /* per mille of the calls that may fail or be cut short; 0 in the calm end of a run */

/* Goes into the hash of the run; printed with -v. */
void sim_log(const char *what, int64_t a, int64_t b, int64_t c);
/* Prints the seed and how to run it alone, and aborts. */
_Noreturn void sim_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define SIM_FAIL(...) sim_fail(__FILE__, __LINE__, __VA_ARGS__)
#define SIM_CHECK(cond)                                                                                                \
    do {                                                                                                               \
        if (!(cond))                                                                                                   \
            sim_fail(__FILE__, __LINE__, "%s", #cond);                                                                 \
    } while (0)

/* Memory of the simulation itself, which never fails. */
void *sim_grow(void *p, size_t *room, size_t want, size_t size);

/* ---- fibers ---- */

struct wawo_loop;

/* NULL: no room for more. */
struct fiber *fiber_start(void *(*entry)(void *arg), void *arg);
/* Which of the core's loops it runs, so that it is that loop's thread while it runs. In the order of starting. */
void fiber_is_loop(unsigned nth, struct wawo_loop *loop);
/* Until ready(arg) or the deadline (-1: none); true: ready. On the application's thread other things happen meanwhile. */
bool fiber_block(bool (*ready)(void *arg), void *arg, int64_t deadline);
/* Lets others run; on the application's thread it does nothing. */
void fiber_yield(void);
/* The same, now and then. */
void fiber_preempt(void);
/* From here on not, so that what is logged of a call is in the order of what it did. */
void fiber_undivided(bool on);
bool fiber_ended(const struct fiber *f);
/* The one that runs, NULL: the application's thread. */
const struct fiber *fiber_current(void);
/* The index of the loop that runs, -1 for none. */
int fiber_loop(void);
/* Runs one that can go on; false: none can. */
bool fiber_step(void);
/* When the first one would go on by itself, or the application's thread; INT64_MAX: never. */
int64_t fiber_next(void);
/* Forgets all of them. */
void fiber_reset(void);

/* ---- the world ---- */

void world_step(void);

#endif
