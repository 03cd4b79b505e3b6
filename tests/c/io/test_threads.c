/* Loops on threads: posts from everywhere, stopping in a storm of them, timers, references. */
#include "support/kit.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"
#include "io/threads.h"

#include <stdlib.h>
#include <unistd.h>

/* The floor above, as little of it as can be. */
struct upper {
    struct wawo_mutex lock;
    struct wawo_cond changed;
    uint32_t starts, stops, inits, finis, releases; /* atomic */
    uint32_t fail_init; /* of this loop, counted from 1 */
    void (*on_turn)(struct upper *u, struct wawo_loop *loop);
};

static int upper_init(struct wawo_loop *loop, void *arg)
{
    struct upper *u = arg;

    if (wawo_add(&u->inits, 1) + 1 == u->fail_init)
        return WAWO_ENOBUFS;
    loop->upper = u;
    return 0;
}

static void upper_start(struct wawo_loop *loop)
{
    wawo_add(&((struct upper *)loop->upper)->starts, 1);
}

static void upper_done(struct wawo_loop *loop, struct wawo_done *done, int n)
{
    (void)loop;
    (void)done;
    FAIL("%d events of nobody", n);
}

static void upper_turn(struct wawo_loop *loop)
{
    struct upper *u = loop->upper;

    ASSERT_TRUE(wawo_loop_here(loop));
    if (u->on_turn != NULL)
        u->on_turn(u, loop);
}

static void upper_stop(struct wawo_loop *loop)
{
    wawo_add(&((struct upper *)loop->upper)->stops, 1);
}

static void upper_fini(struct wawo_loop *loop)
{
    struct upper *u = loop->upper;

    if (u != NULL)
        wawo_add(&u->finis, 1);
}

static void upper_release(void *arg)
{
    wawo_add(&((struct upper *)arg)->releases, 1);
}

static const struct wawo_loop_ops upper_ops = {.init = upper_init,
                                               .start = upper_start,
                                               .done = upper_done,
                                               .turn = upper_turn,
                                               .stop = upper_stop,
                                               .fini = upper_fini,
                                               .release = upper_release};

static struct wawo_threads *threads_open(struct upper *u, const char *backend, unsigned count)
{
    const struct wawo_backend_ops *ops;
    struct wawo_threads *t;
    int err;

    memset(u, 0, sizeof *u);
    ops = wawo_backend_choose(backend, &err);
    t = wawo_threads_new(count, ops, 1 << 20, &upper_ops, u, &err);
    ASSERT_NOT_NULL((void *)t);
    ASSERT_EQ(wawo_threads_live(), count);
    return t;
}

static void threads_close(struct upper *u, struct wawo_threads *t)
{
    unsigned count = t->count;

    ASSERT_TRUE(wawo_threads_stop(t, kit_deadline_s() * WAWO_SEC));
    ASSERT_EQ(wawo_threads_live(), 0u);
    ASSERT_EQ(u->starts, count);
    ASSERT_EQ(u->stops, count);
    ASSERT_EQ(u->finis, count);
    ASSERT_EQ(u->releases, 0u);
    wawo_threads_drop(t);
    ASSERT_EQ(u->releases, 1u);
}

TEST_EACH_BACKEND(start_and_stop, backend)
{
    struct upper u;
    int i;

    for (i = 1; i <= 8; i++)
        threads_close(&u, threads_open(&u, backend, (unsigned)i));
}

/* ---- posts ---- */

struct post {
    struct wawo_call call;
    struct wawo_loop *loop;
    unsigned poster, number;
    struct ledger *ledger;
};

struct ledger {
    unsigned next[8];  /* of each poster; loop */
    wawo_u64 ran, dead; /* atomic */
    bool ordered;
};

static void run_post(struct wawo_call *c, struct wawo_loop *loop, bool dead)
{
    struct post *p = wawo_container_of(c, struct post, call);
    struct ledger *l = p->ledger;

    ASSERT_EQ((void *)loop, (void *)p->loop);
    ASSERT_TRUE(wawo_loop_here(loop));
    if (l->ordered) {
        ASSERT_EQ(p->number, l->next[p->poster]);
        l->next[p->poster]++;
    }
    if (dead)
        wawo_add(&l->dead, 1);
    else
        wawo_add(&l->ran, 1);
    free(p);
}

struct poster {
    struct wawo_threads *threads;
    struct ledger *ledger;
    unsigned number, count, posted;
};

static void post_main(void *arg)
{
    struct poster *p = arg;
    struct post *post;

    ASSERT_FALSE(wawo_loop_here(&p->threads->loops[0]));
    for (p->posted = 0; p->posted < p->count; p->posted++) {
        post = calloc(1, sizeof *post);
        *post = (struct post){.call = {.run = run_post},
                              .loop = &p->threads->loops[p->posted % p->threads->count],
                              .poster = p->number,
                              .number = p->posted,
                              .ledger = p->ledger};
        if (!wawo_loop_post(post->loop, &post->call)) {
            free(post);
            break;
        }
    }
}

TEST_EACH_BACKEND(posts_from_many_threads_in_order, backend)
{
    enum { POSTERS = 4, EACH = 20000 };
    struct upper u;
    struct wawo_threads *t = threads_open(&u, backend, 1);
    struct ledger l = {.ordered = true};
    struct poster p[POSTERS];
    struct wawo_thread threads[POSTERS];
    unsigned i;

    for (i = 0; i < POSTERS; i++) {
        p[i] = (struct poster){t, &l, i, EACH, 0};
        kit_start(&threads[i], post_main, &p[i]);
    }
    KIT_UNTIL(wawo_load(&l.ran) == POSTERS * EACH);
    for (i = 0; i < POSTERS; i++)
        wawo_thread_join(&threads[i]);
    ASSERT_LE(wawo_load_relaxed(&t->loops[0].wakes), (uint64_t)POSTERS * EACH);
    threads_close(&u, t);
}

/* A chain keeps its order among other posts, wakes once, and is refused as a whole when the loop has ended. */
TEST_EACH_BACKEND(posts_in_chains, backend)
{
    enum { CHAIN = 100, ROUNDS = 50 };
    struct upper u;
    struct wawo_threads *t = threads_open(&u, backend, 1);
    struct wawo_loop *loop = &t->loops[0];
    struct ledger l = {.ordered = true};
    struct wawo_node *newest, *oldest;
    struct post *post;
    unsigned round, i;

    for (round = 0; round <= ROUNDS; round++) {
        if (round == ROUNDS) {
            wawo_threads_hold(t);
            ASSERT_TRUE(wawo_threads_stop(t, kit_deadline_s() * WAWO_SEC));
        }
        newest = oldest = NULL;
        for (i = 0; i < CHAIN; i++) {
            post = calloc(1, sizeof *post);
            *post =
                (struct post){.call = {.run = run_post}, .loop = loop, .number = round * (CHAIN + 1) + i, .ledger = &l};
            post->call.node.next = newest;
            newest = &post->call.node;
            oldest = oldest != NULL ? oldest : newest;
        }
        ASSERT_EQ(wawo_loop_post_chain(loop, newest, oldest), round < ROUNDS);
        for (; round == ROUNDS && newest != NULL; newest = oldest) {
            oldest = newest->next;
            free(wawo_container_of(newest, struct post, call.node));
        }
        if (round == ROUNDS)
            break;
        post = calloc(1, sizeof *post);
        *post =
            (struct post){.call = {.run = run_post}, .loop = loop, .number = round * (CHAIN + 1) + CHAIN, .ledger = &l};
        ASSERT_TRUE(wawo_loop_post(loop, &post->call));
        KIT_UNTIL(wawo_load(&l.ran) == (uint64_t)(round + 1) * (CHAIN + 1));
    }
    ASSERT_LE(wawo_load_relaxed(&loop->wakes), 2u * ROUNDS);
    wawo_threads_drop(t);
    wawo_threads_drop(t);
}

/* A storm while the loop is awake writes next to no wake-ups. */
static void slow_turn(struct upper *u, struct wawo_loop *loop)
{
    int64_t until = wawo_os_now_ns() + 2 * WAWO_MSEC;

    (void)u;
    (void)loop;
    while (wawo_os_now_ns() < until)
        continue;
}

TEST_EACH_BACKEND(a_storm_writes_few_wake_ups, backend)
{
    struct upper u;
    struct wawo_threads *t = threads_open(&u, backend, 1);
    struct ledger l = {.ordered = true};
    struct poster p = {t, &l, 0, 20000, 0};

    u.on_turn = slow_turn;
    post_main(&p);
    KIT_UNTIL(wawo_load(&l.ran) == 20000);
    ASSERT_LT(wawo_load_relaxed(&t->loops[0].wakes), 4000u);
    threads_close(&u, t);
}

/* A sleeping loop is woken by each single post: none may be left lying. */
TEST_EACH_BACKEND(no_post_is_slept_over, backend)
{
    struct upper u;
    struct wawo_threads *t = threads_open(&u, backend, 2);
    struct ledger l = {.ordered = false};
    struct poster p = {t, &l, 0, 1, 0};
    int64_t until = wawo_os_now_ns() + 5 * WAWO_SEC; /* on a busy machine fewer of them */
    unsigned i;

    for (i = 1; i <= 3000 && wawo_os_now_ns() < until; i++) {
        post_main(&p);
        while (wawo_load(&l.ran) < i)
            wawo_thread_yield();
    }
    threads_close(&u, t);
}

TEST_EACH_BACKEND(stop_in_a_storm_of_posts, backend)
{
    enum { POSTERS = 3 };
    struct upper u;
    struct ledger l;
    struct poster p[POSTERS];
    struct wawo_thread threads[POSTERS];
    struct wawo_threads *t;
    uint64_t posted;
    unsigned i, round;

    for (round = 0; round < 30; round++) {
        t = threads_open(&u, backend, 2);
        l = (struct ledger){.ordered = false};
        for (i = 0; i < POSTERS; i++) {
            p[i] = (struct poster){t, &l, i, UINT32_MAX, 0};
            kit_start(&threads[i], post_main, &p[i]);
        }
        KIT_UNTIL(wawo_load(&l.ran) > round * 50);
        ASSERT_TRUE(wawo_threads_stop(t, kit_deadline_s() * WAWO_SEC));
        for (posted = 0, i = 0; i < POSTERS; i++) {
            wawo_thread_join(&threads[i]); /* the posts fail from now on */
            posted += p[i].posted;
        }
        ASSERT_EQ(l.ran + l.dead, posted); /* each ran once, dead or alive */
        wawo_threads_drop(t);
    }
}

/* The last reference is dropped by someone else after the end. */
static void drop_main(void *arg)
{
    wawo_threads_drop(arg);
}

TEST_EACH_BACKEND(a_reference_outlives_the_stop, backend)
{
    struct upper u;
    struct wawo_threads *t = threads_open(&u, backend, 1);
    struct ledger l = {.ordered = false};
    struct poster p = {t, &l, 0, 5, 0};
    struct wawo_thread thread;

    wawo_threads_hold(t);
    ASSERT_TRUE(wawo_threads_stop(t, kit_deadline_s() * WAWO_SEC));
    wawo_threads_drop(t);
    ASSERT_EQ(u.releases, 0u);
    post_main(&p); /* refused, harmless */
    ASSERT_EQ(p.posted, 0u);
    ASSERT_NULL(wawo_table_shared(&t->loops[0].table, 1, NULL)); /* the table may still be asked */
    kit_start(&thread, drop_main, t);
    wawo_thread_join(&thread);
    ASSERT_EQ(u.releases, 1u);
}

/* ---- stopping late ---- */

static void stuck_turn(struct upper *u, struct wawo_loop *loop)
{
    (void)loop;
    wawo_mutex_lock(&u->lock);
    wawo_mutex_unlock(&u->lock);
}

/* A loop that does not end in time is left alone: nothing of it is given back while it still runs. */
TEST_EACH_BACKEND(a_stuck_loop_is_abandoned, backend)
{
    struct upper *u = calloc(1, sizeof *u);
    struct wawo_threads *t = threads_open(u, backend, 1);
    struct ledger l = {.ordered = false};
    struct poster p = {t, &l, 0, 1, 0};

    wawo_mutex_init(&u->lock);
    wawo_mutex_lock(&u->lock);
    u->on_turn = stuck_turn;
    post_main(&p);
    KIT_UNTIL(wawo_load(&l.ran) == 1);
    ASSERT_FALSE(wawo_threads_stop(t, 20 * WAWO_MSEC));
    wawo_threads_drop(t);
    wawo_mutex_unlock(&u->lock);
    KIT_UNTIL(wawo_load(&u->stops) == 1);
    KIT_UNTIL(wawo_threads_live() == 0);
    ASSERT_EQ(u->finis, 0u);
    _exit(0); /* it is left to itself for ever, and so is its memory */
}

/* ---- timers ---- */

struct ticker {
    struct wawo_timer timer;
    struct wawo_loop *loop;
    struct wawo_call call;
    int64_t due_ns;
    uint32_t fired; /* atomic */
};

static void ticker_fired(struct wawo_timer *timer)
{
    struct ticker *k = wawo_container_of(timer, struct ticker, timer);

    ASSERT_GE(k->loop->ops->clock(k->loop->backend), k->due_ns);
    if (wawo_add(&k->fired, 1) < 9) {
        k->due_ns = k->loop->now_ns + 3 * WAWO_MSEC;
        wawo_timer_set(&k->loop->wheel, timer, k->due_ns);
    }
}

static void ticker_start(struct wawo_call *c, struct wawo_loop *loop, bool dead)
{
    struct ticker *k = wawo_container_of(c, struct ticker, call);

    ASSERT_FALSE(dead);
    k->loop = loop;
    wawo_timer_init(&k->timer, ticker_fired);
    k->due_ns = loop->now_ns + 3 * WAWO_MSEC;
    wawo_timer_set(&loop->wheel, &k->timer, k->due_ns);
}

TEST_EACH_BACKEND(timers_of_an_idle_loop, backend)
{
    struct upper u;
    struct wawo_threads *t = threads_open(&u, backend, 1);
    struct ticker k = {.call = {.run = ticker_start}};
    int64_t start = wawo_os_now_ns();

    ASSERT_TRUE(wawo_loop_post(&t->loops[0], &k.call));
    KIT_UNTIL(wawo_load(&k.fired) == 10);
    ASSERT_GE(wawo_os_now_ns() - start, 30 * WAWO_MSEC);
    ASSERT_LT(wawo_load_relaxed(&t->loops[0].turns), 200u); /* it slept in between */
    threads_close(&u, t);
}

/* ---- starting fails ---- */

TEST_EACH_BACKEND(start_without_memory, backend)
{
    const struct wawo_backend_ops *ops;
    struct wawo_threads *t = NULL;
    unsigned before = kit_open_fds();
    struct upper u;
    size_t n;
    int err;

    ops = wawo_backend_choose(backend, &err);
    for (n = 1; t == NULL; n++) {
        memset(&u, 0, sizeof u);
        wawo_alloc_fail_at(n);
        t = wawo_threads_new(3, ops, 1 << 20, &upper_ops, &u, &err);
        wawo_alloc_fail_at(0);
        if (t == NULL) {
            ASSERT_EQ(err, WAWO_ENOMEM);
            ASSERT_EQ(u.releases, 1u);
            ASSERT_EQ(wawo_alloc_live(), 0u);
            ASSERT_EQ(kit_open_fds(), before);
            ASSERT_EQ(wawo_threads_live(), 0u);
        }
        ASSERT_LT(n, 100u);
    }
    threads_close(&u, t);
}

TEST_EACH_BACKEND(start_refused_by_the_floor_above, backend)
{
    const struct wawo_backend_ops *ops;
    struct upper u = {.fail_init = 2};
    int err;

    ops = wawo_backend_choose(backend, &err);
    ASSERT_NULL((void *)wawo_threads_new(3, ops, 1 << 20, &upper_ops, &u, &err));
    ASSERT_EQ(err, WAWO_ENOBUFS);
    ASSERT_EQ(u.finis, 1u);
    ASSERT_EQ(u.releases, 1u);
}

/* ---- load ---- */

TEST_EACH_BACKEND(least_loaded, backend)
{
    struct upper u;
    struct wawo_threads *t = threads_open(&u, backend, 3);

    wawo_store(&t->loops[0].load, 5);
    wawo_store(&t->loops[1].load, 2);
    wawo_store(&t->loops[2].load, 3);
    ASSERT_EQ(wawo_threads_least_loaded(t)->index, 1u);
    wawo_store(&t->loops[1].load, 4);
    ASSERT_EQ(wawo_threads_least_loaded(t)->index, 2u);
    ASSERT_EQ(wawo_threads_loop_of(t, (uint64_t)2 << WAWO_ID_SLOT_BITS)->index, 2u);
    ASSERT_NULL((void *)wawo_threads_loop_of(t, (uint64_t)3 << WAWO_ID_SLOT_BITS));
    threads_close(&u, t);
}
