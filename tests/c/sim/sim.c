/* The simulation's seeds, clock and log:
 *
 *     wawo-sim [-v] [--first N] [--count N] [--twice N] [--backend NAME]
 *
 * runs the seeds N, N+1, ...; each N-th one of --twice is run again, and its log must be the same. A failure prints its
 * seed; `wawo-sim -v --first SEED --count 1` runs it alone and prints what happens. */
#include "program.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "io/threads.h"
#include "io/work.h"
#include "monitor.h"
#include "net/baton.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#ifdef SIM_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

enum { STEPS_MAX = 4000, CALM_STEPS = 60000, TICK_NS = 20000, LEAP = 4 };

int64_t sim_now;
unsigned sim_faults;

static uint64_t state, hash, seed;
static uint64_t steps;
static bool verbose;
static const char *backend; /* NULL: the seed chooses */

/* ---- chance ---- */

uint32_t sim_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state * UINT64_C(0x2545f4914f6cdd1d) >> 32);
}

uint32_t sim_below(uint32_t n)
{
    return n > 0 ? sim_random() % n : 0;
}

bool sim_chance(unsigned per_mille)
{
    return per_mille > 0 && sim_below(1000) < per_mille;
}

size_t sim_size(size_t max)
{
    unsigned bits = 0;
    size_t n;

    while (bits < 62 && (size_t)1 << bits < max)
        bits++;
    n = 1 + sim_random() % ((size_t)1 << sim_below(bits + 1));
    return n < max ? n : max;
}

void *sim_grow(void *p, size_t *room, size_t want, size_t size)
{
    if (want <= *room && p != NULL)
        return p;
    *room = want * 2 + 64;
    p = realloc(p, *room * size);
    SIM_CHECK(p != NULL);
    return p;
}

/* ---- the log ---- */

void sim_log(const char *what, int64_t a, int64_t b, int64_t c)
{
    const int64_t words[] = {a, b, c, sim_now};
    size_t i;

    for (i = 0; i < sizeof words / sizeof *words; i++)
        hash = (hash ^ (uint64_t)words[i]) * UINT64_C(0x100000001b3);
    if (verbose)
        printf("%12lld %2d %-12s %llx %lld %lld\n", (long long)sim_now, fiber_loop(), what, (unsigned long long)a,
               (long long)b, (long long)c);
}

static void tell_seed(void)
{
    fflush(stdout);
    fprintf(stderr, "wawo-sim: seed %llu failed; alone: wawo-sim -v --first %llu --count 1\n", (unsigned long long)seed,
            (unsigned long long)seed);
}

void sim_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

static void on_abort(int sig)
{
    (void)sig;
    tell_seed();
}

/* ---- the world ---- */

/* Nothing can go on: time leaps to when something does. */
static void leap(void)
{
    int64_t next = fiber_next(), other = kernel_next();
    unsigned i;

    for (i = 0; app.threads != NULL && i < app.loops; i++) /* a post that nobody was woken for? */
        SIM_CHECK(wawo_load(&app.threads->loops[i].thread) == 0 || wawo_mpsc_empty(&app.threads->loops[i].inbox));
    next = other < next ? other : next;
    other = peers_next();
    next = other < next ? other : next;
    if (next == INT64_MAX)
        SIM_FAIL("nothing can happen any more");
    if (next > sim_now)
        sim_now = next;
}

void world_step(void)
{
    bool (*const doers[])(void) = {fiber_step, kernel_step, peers_step};
    unsigned first = sim_below(3), i;

    steps++;
    sim_now += (int64_t)sim_below(TICK_NS);
    if (sim_faults > 0 && sim_chance(LEAP))
        sim_now += (int64_t)sim_size(300) * WAWO_MSEC;
    for (i = 0; i < 3; i++)
        if (doers[(first + i) % 3]())
            return;
    leap();
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

/* No more faults, everybody reads: for some seconds, then all must have arrived. */
static void calm_down(void)
{
    unsigned i;

    sim_faults = 0;
    app.calm = true;
    for (i = 0; i < app.actor_count; i++)
        if (!app.actors[i].closed)
            deed_pause(&app.actors[i], false);
    (void)fiber_block(never, NULL, sim_now + 3 * WAWO_SEC);
    program_check_idle();
}

/* The n-th allocation from here on fails, if there are so many. */
static size_t fails_at;

static void fail_at(size_t n)
{
    app.seen[SEEN_NO_MEMORY] += fails_at > 0 && wawo_alloc_calls() >= fails_at;
    fails_at = n;
    wawo_alloc_fail_at(n);
}

static void run_program(void)
{
    unsigned n = 200 + sim_below(STEPS_MAX), i;

    for (i = 0; i < n; i++) {
        if (sim_chance(60))
            program_act();
        else
            world_step();
        if (app.starving && sim_chance(2))
            fail_at(1 + sim_below(100));
    }
    fail_at(0);
    if (sim_chance(700))
        calm_down();
    app.calm = true;
    program_end();
}

static void reset(void)
{
    struct actor *a;
    unsigned i;

    for (i = 0; i < ACTORS; i++) {
        a = &app.actors[i];
        *a = (struct actor){
            .out = {.wire = a->out.wire, .room = a->out.room, .items = a->out.items, .items_room = a->out.items_room},
            .in = {.bytes = a->in.bytes, .room = a->in.room, .ends = a->in.ends, .ends_room = a->in.ends_room}};
    }
    app.threads = NULL;
    app.party_count = app.actor_count = 0;
    app.calm = app.starving = false;
    memset(app.entered, 0, sizeof app.entered);
    wawo_work_after_fork(); /* threads of the last run are gone */
    wawo_baton_after_fork();
    fiber_reset();
    kernel_reset();
    peers_reset();
    monitor_reset();
}

/* One run; the hash of its log. */
static uint64_t run(uint64_t n)
{
    static const unsigned rates[] = {0, 5, 20, 60, 150, 300};

    seed = n;
    state = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    hash = UINT64_C(0xcbf29ce484222325);
    sim_now = WAWO_SEC;
    reset();
    sim_faults = sim_chance(100) ? 20 : 0; /* for starting */
    if (sim_chance(200)) {
        app.starving = true;
        fail_at(1 + sim_below(300));
    }
    if (program_start(backend)) {
        sim_faults = rates[sim_below(sizeof rates / sizeof *rates)];
        run_program();
    }
    fail_at(0);
    return hash;
}

static void tell_seen(uint64_t count)
{
    static const char *const names[] = {
#define X(name, text) text,
        SEEN(X)
#undef X
    };
    unsigned i;

    for (i = 0; i < SEEN_KINDS; i++) {
        printf("%12llu %s\n", (unsigned long long)app.seen[i], names[i]);
        if (count >= 1000 && backend == NULL && app.seen[i] == 0)
            SIM_FAIL("not one of: %s", names[i]);
    }
}

static uint64_t number(const char *text)
{
    return text != NULL ? strtoull(text, NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    uint64_t first = 1, count = 200, twice = 20, i, h = 0;
    int k;

    for (k = 1; k < argc; k++) {
        if (strcmp(argv[k], "-v") == 0)
            verbose = true;
        else if (strcmp(argv[k], "--first") == 0 && k + 1 < argc)
            first = number(argv[++k]);
        else if (strcmp(argv[k], "--count") == 0 && k + 1 < argc)
            count = number(argv[++k]);
        else if (strcmp(argv[k], "--twice") == 0 && k + 1 < argc)
            twice = number(argv[++k]);
        else if (strcmp(argv[k], "--backend") == 0 && k + 1 < argc)
            backend = argv[++k];
        else
            return 2;
    }
    (void)signal(SIGABRT, on_abort);
#ifdef SIM_ASAN
    __sanitizer_set_death_callback(tell_seed);
#endif
    for (i = first; i < first + count; i++) {
        h = run(i);
        if (twice > 0 && i % twice == 0 && run(i) != h)
            SIM_FAIL("seed %llu: two runs, two logs", (unsigned long long)i);
    }
    tell_seen(count);
    printf("wawo-sim: %llu seeds, %llu steps, last log %016llx\n", (unsigned long long)count, (unsigned long long)steps,
           (unsigned long long)h);
    return 0;
}
