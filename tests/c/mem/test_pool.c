#include "support/kit.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "mem/pool.h"

enum { CHUNKS = 20 };

static struct wawo_pool *pool_open(void)
{
    struct wawo_pool *p = wawo_pool_new((size_t)CHUNKS * WAWO_CHUNK_TOTAL + 1);

    ASSERT_NOT_NULL(p);
    wawo_pool_bind(p);
    return p;
}

static struct wawo_pool_stats stats_of(const struct wawo_pool *p)
{
    struct wawo_pool_stats st;

    wawo_pool_stats(p, &st);
    return st;
}

/* A message of 128 KiB comes with one read. */
TEST(a_chunk_takes_a_power_of_two)
{
    struct wawo_pool *p = pool_open();
    struct wawo_chunk *c = wawo_pool_take(p, 0);

    ASSERT_NOT_NULL(c);
    ASSERT_GE(c->cap, (size_t)128 * 1024);
    ASSERT_EQ(c->cap & (c->cap - 1), 0u);
    wawo_chunk_drop(c);
    wawo_pool_release(p);
}

TEST(limit_and_reserve)
{
    struct wawo_pool *p = pool_open();
    struct wawo_chunk *c[CHUNKS];
    int i;

    ASSERT_EQ(stats_of(p).limit, (size_t)CHUNKS);
    for (i = 0; i < CHUNKS - 5; i++) {
        c[i] = wawo_pool_take(p, 5);
        ASSERT_NOT_NULL(c[i]);
        ASSERT_EQ(c[i]->used, 0u);
        ASSERT_EQ(c[i]->cap, (size_t)WAWO_CHUNK_DATA);
        memset(c[i]->data, i, c[i]->cap);
    }
    ASSERT_NULL(wawo_pool_take(p, 5));
    ASSERT_EQ(wawo_pool_left(p), 5u);
    for (; i < CHUNKS; i++) {
        c[i] = wawo_pool_take(p, 0);
        ASSERT_NOT_NULL(c[i]);
    }
    ASSERT_NULL(wawo_pool_take(p, 0));
    ASSERT_EQ(stats_of(p).starved, 2u);
    ASSERT_EQ(stats_of(p).used, (size_t)CHUNKS);
    ASSERT_EQ(wawo_chunk_live(), (size_t)CHUNKS);
    for (i = 0; i < CHUNKS - 5; i++)
        ASSERT_EQ(c[i]->data[WAWO_CHUNK_DATA - 1], i);
    for (i = 0; i < CHUNKS; i++)
        wawo_chunk_drop(c[i]);
    ASSERT_EQ(stats_of(p).used, 0u);
    ASSERT_EQ(wawo_chunk_live(), 0u);
    wawo_pool_release(p);
}

TEST(least_limit)
{
    struct wawo_pool *p = wawo_pool_new(0);

    ASSERT_EQ(stats_of(p).limit, 8u);
    wawo_pool_release(p);
}

TEST(references)
{
    struct wawo_pool *p = pool_open();
    struct wawo_chunk *c = wawo_pool_take(p, 0), *g = wawo_chunk_new(100);

    ASSERT_TRUE(wawo_chunk_sole(c));
    wawo_chunk_hold(c);
    ASSERT_FALSE(wawo_chunk_sole(c));
    wawo_chunk_drop(c);
    ASSERT_EQ(stats_of(p).used, 1u);
    wawo_chunk_drop(c);
    ASSERT_EQ(stats_of(p).used, 0u);
    ASSERT_NULL((void *)g->pool);
    ASSERT_EQ(g->cap, 100u);
    ASSERT_EQ(wawo_chunk_live(), 1u);
    wawo_chunk_drop(g);
    ASSERT_EQ(wawo_chunk_live(), 0u);
    wawo_pool_release(p);
}

/* Exported ones are off the account, up to as many again as the limit. */
TEST(many_references_at_once)
{
    struct wawo_chunk *c = wawo_chunk_new(10);
    int i;

    ASSERT_TRUE(wawo_chunk_sole(c));
    wawo_chunk_hold_many(c, 300);
    for (i = 0; i < 100; i++)
        wawo_chunk_drop(c);
    wawo_chunk_drop_many(c, 200);
    ASSERT_TRUE(wawo_chunk_sole(c));
    wawo_chunk_drop(c);
    ASSERT_EQ(wawo_chunk_live(), 0u);
}

TEST(export_quota)
{
    struct wawo_pool *p = pool_open();
    struct wawo_chunk *out[CHUNKS], *c, *g;
    int i;

    for (i = 0; i < CHUNKS; i++) {
        out[i] = wawo_pool_take(p, 0);
        ASSERT_NOT_NULL(out[i]);
        ASSERT_TRUE(wawo_pool_export(out[i]));
        ASSERT_TRUE(wawo_pool_export(out[i])); /* again: nothing new */
    }
    ASSERT_EQ(stats_of(p).used, 0u);
    ASSERT_EQ(stats_of(p).exported, (size_t)CHUNKS);
    c = wawo_pool_take(p, 0);
    ASSERT_NOT_NULL(c);
    ASSERT_FALSE(wawo_pool_export(c));
    g = wawo_chunk_new(10);
    ASSERT_TRUE(wawo_pool_export(g)); /* no pool's account */
    wawo_chunk_drop(g);
    wawo_chunk_drop(out[0]);
    ASSERT_TRUE(wawo_pool_export(c));
    wawo_chunk_drop(c);
    for (i = 0; i < CHUNKS; i++) { /* all of them and the full limit beside */
        out[0] = i == 0 ? wawo_pool_take(p, 0) : out[0];
        c = wawo_pool_take(p, 0);
        if (i < CHUNKS - 1) {
            ASSERT_NOT_NULL(c);
            wawo_chunk_drop(c);
        }
    }
    for (i = 0; i < CHUNKS; i++)
        wawo_chunk_drop(out[i]);
    if (c != NULL)
        wawo_chunk_drop(c);
    ASSERT_EQ(stats_of(p).used, 0u);
    ASSERT_EQ(stats_of(p).exported, 0u);
    wawo_pool_release(p);
}

struct giver {
    struct wawo_chunk **chunks;
    int count;
};

static void give_main(void *arg)
{
    struct giver *g = arg;
    int i;

    for (i = 0; i < g->count; i++)
        wawo_chunk_drop(g->chunks[i]);
}

TEST(comes_home_from_other_threads)
{
    struct wawo_pool *p = pool_open();
    struct wawo_chunk *c[CHUNKS];
    struct giver g = {c, CHUNKS};
    struct wawo_thread t;
    int i, round;

    ASSERT_FALSE(wawo_pool_collect(p));
    for (round = 0; round < 50; round++) {
        for (i = 0; i < CHUNKS; i++) {
            c[i] = wawo_pool_take(p, 0);
            ASSERT_NOT_NULL(c[i]);
            if (i % 3 == 0)
                ASSERT_TRUE(wawo_pool_export(c[i]));
        }
        kit_start(&t, give_main, &g);
        wawo_thread_join(&t);
        if (round % 2)
            ASSERT_TRUE(wawo_pool_collect(p)); /* else the next take does it */
    }
    (void)wawo_pool_collect(p);
    ASSERT_EQ(stats_of(p).used, 0u);
    ASSERT_EQ(stats_of(p).exported, 0u);
    ASSERT_LE(stats_of(p).bytes, (size_t)4 * 16 * WAWO_CHUNK_TOTAL);
    wawo_pool_release(p);
}

/* Several threads drop references of the same chunks while the owner takes and gives. */
struct mixer {
    struct wawo_chunk *slot[64]; /* atomic; NULL = empty */
    uint32_t stop;
};

static void mix_main(void *arg)
{
    struct mixer *m = arg;
    uint64_t seed = (uintptr_t)&m ^ 77;
    struct wawo_chunk *c;

    while (!wawo_load(&m->stop)) {
        c = wawo_exchange(&m->slot[kit_below(&seed, 64)], NULL);
        if (c != NULL) {
            ASSERT_EQ(c->data[0], c->data[WAWO_CHUNK_DATA - 1]);
            wawo_chunk_drop(c);
        }
    }
}

TEST(a_storm_of_references)
{
    struct wawo_pool *p = pool_open();
    struct mixer m = {.stop = 0};
    struct wawo_thread t[3];
    struct wawo_chunk *c;
    uint64_t seed = 5;
    int i, k, n;

    for (i = 0; i < 3; i++)
        kit_start(&t[i], mix_main, &m);
    for (i = 0; i < 20000; i++) {
        c = wawo_pool_take(p, 0);
        if (c == NULL)
            continue;
        c->data[0] = c->data[WAWO_CHUNK_DATA - 1] = (uint8_t)i;
        if (kit_below(&seed, 4) == 0)
            (void)wawo_pool_export(c);
        for (k = 0, n = (int)kit_below(&seed, 3); k < n; k++) {
            struct wawo_chunk *old;

            wawo_chunk_hold(c);
            old = wawo_exchange(&m.slot[kit_below(&seed, 64)], c);
            if (old != NULL)
                wawo_chunk_drop(old);
        }
        wawo_chunk_drop(c);
    }
    wawo_store(&m.stop, 1);
    for (i = 0; i < 3; i++)
        wawo_thread_join(&t[i]);
    for (i = 0; i < 64; i++)
        if (m.slot[i] != NULL)
            wawo_chunk_drop(m.slot[i]);
    (void)wawo_pool_collect(p);
    ASSERT_EQ(stats_of(p).used, 0u);
    ASSERT_EQ(stats_of(p).exported, 0u);
    ASSERT_EQ(wawo_chunk_live(), 0u);
    wawo_pool_release(p);
}

TEST(outlives_its_loop)
{
    struct wawo_pool *p = pool_open();
    struct wawo_chunk *c[4];
    struct giver g = {c + 2, 2};
    struct wawo_thread t;
    int i;

    for (i = 0; i < 4; i++)
        c[i] = wawo_pool_take(p, 0);
    wawo_chunk_drop(c[0]);
    wawo_pool_release(p);
    ASSERT_GT(wawo_alloc_live(), 0u);
    memset(c[1]->data, 1, WAWO_CHUNK_DATA); /* still mapped */
    wawo_chunk_drop(c[1]);
    kit_start(&t, give_main, &g);
    wawo_thread_join(&t);
    ASSERT_EQ(wawo_alloc_live(), 0u);
}

TEST(no_memory)
{
    size_t n;
    struct wawo_pool *p;

    for (n = 1; n <= 2; n++) {
        wawo_alloc_fail_at(n);
        ASSERT_NULL((void *)wawo_pool_new(1 << 20));
    }
    wawo_alloc_fail_at(0);
    p = pool_open();
    wawo_alloc_fail_at(1);
    ASSERT_NULL((void *)wawo_pool_take(p, 0));
    ASSERT_EQ(stats_of(p).starved, 1u);
    wawo_alloc_fail_at(1);
    ASSERT_NULL((void *)wawo_chunk_new(10));
    wawo_alloc_fail_at(0);
    wawo_chunk_drop(wawo_pool_take(p, 0));
    wawo_pool_release(p);
}
