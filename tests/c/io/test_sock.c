/* The table of ids. */
#include "support/kit.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "io/sock.h"

#include <stdlib.h>

static void count_hold(void *shared)
{
    (*(unsigned *)shared)++;
}

TEST(open_bind_find_close)
{
    static struct wawo_table t;
    struct wawo_sock s;
    unsigned shared = 0;
    uint64_t id;

    wawo_table_init(&t, 7);
    wawo_sock_init(&s, WAWO_SOCK_CONN);
    ASSERT_EQ(s.fd, -1);
    ASSERT_NULL((void *)wawo_table_find(&t, 0));
    ASSERT_NULL((void *)wawo_table_find(&t, UINT64_MAX));
    id = wawo_table_open(&t);
    ASSERT_NE(id, 0u);
    ASSERT_EQ(wawo_id_loop(id), 7u);
    ASSERT_NULL((void *)wawo_table_find(&t, id)); /* nothing bound yet */
    ASSERT_NULL(wawo_table_shared(&t, id, count_hold));
    wawo_table_publish(&t, id, &shared);
    ASSERT_EQ(wawo_table_shared(&t, id, count_hold), (void *)&shared);
    ASSERT_EQ(shared, 1u);
    wawo_table_bind(&t, id, &s);
    ASSERT_EQ(s.id, id);
    ASSERT_EQ((void *)wawo_table_find(&t, id), (void *)&s);
    ASSERT_NULL((void *)wawo_table_find(&t, id ^ UINT64_C(1) << 32));
    ASSERT_NULL((void *)wawo_table_find(&t, id + 1));
    ASSERT_NULL(wawo_table_shared(&t, id + (UINT64_C(1) << 40), count_hold));
    wawo_table_close(&t, id);
    ASSERT_NULL((void *)wawo_table_find(&t, id));
    ASSERT_NULL(wawo_table_shared(&t, id, count_hold));
    ASSERT_EQ(shared, 1u);
    ASSERT_EQ(t.used, 0u);
    wawo_table_fini(&t);
}

TEST(a_slot_never_gives_the_same_id_again)
{
    static struct wawo_table t;
    uint64_t ids[3000], id;
    struct wawo_sock s;
    int i, k;

    wawo_table_init(&t, 0);
    wawo_sock_init(&s, WAWO_SOCK_CONN);
    for (i = 0; i < 3000; i++) {
        id = wawo_table_open(&t);
        ASSERT_EQ(wawo_id_slot(id), 0u); /* the same slot each time */
        wawo_table_bind(&t, id, &s);
        for (k = i - 5; k < i; k++)
            if (k >= 0)
                ASSERT_NULL((void *)wawo_table_find(&t, ids[k]));
        ids[i] = id;
        for (k = 0; k < i; k++)
            ASSERT_NE(ids[k], id);
        wawo_table_close(&t, id);
    }
    wawo_table_fini(&t);
}

TEST(generations_wrap_over_zero)
{
    static struct wawo_table t;
    uint64_t a, b;

    wawo_table_init(&t, 0);
    t.last_generation = UINT32_MAX - 1;
    a = wawo_table_open(&t);
    b = wawo_table_open(&t);
    ASSERT_EQ(a >> 32, UINT32_MAX);
    ASSERT_EQ(b >> 32, 1u); /* 0 is a free slot's */
    wawo_table_close(&t, a);
    wawo_table_close(&t, b);
    wawo_table_fini(&t);
}

static void visit_count(void *shared, void *arg)
{
    ASSERT_NOT_NULL(shared);
    (*(unsigned *)arg)++;
}

TEST(more_than_a_segment)
{
    enum { MANY = WAWO_TABLE_SEGMENT * 2 + 10 };
    static struct wawo_table t;
    static struct wawo_sock socks[MANY];
    unsigned count = 0, shared = 0;
    int i;

    wawo_table_init(&t, 255);
    for (i = 0; i < MANY; i++) {
        uint64_t id = wawo_table_open(&t);

        wawo_sock_init(&socks[i], WAWO_SOCK_CONN);
        wawo_table_bind(&t, id, &socks[i]);
        if (i % 2)
            wawo_table_publish(&t, id, &shared);
    }
    wawo_table_each(&t, visit_count, &count);
    ASSERT_EQ(count, (unsigned)MANY / 2);
    for (i = 0; i < MANY; i++) {
        ASSERT_EQ((void *)wawo_table_find(&t, socks[i].id), (void *)&socks[i]);
        wawo_table_close(&t, socks[i].id);
    }
    ASSERT_EQ(t.used, 0u);
    wawo_table_fini(&t);
}

/* What the visitor was shown, by place. */
static void visit_mark(void *shared, void *arg)
{
    (void)arg;
    (*(unsigned *)shared)++;
}

TEST(walk_and_visit)
{
    enum { MANY = WAWO_TABLE_WALK * 3 + 7 };
    static struct wawo_table t;
    static unsigned seen[MANY];
    static uint64_t ids[MANY + 3];
    uint32_t slot = 0;
    unsigned i, calls = 1;

    wawo_table_init(&t, 5);
    ASSERT_FALSE(wawo_table_walk(&t, &slot, visit_mark, NULL)); /* empty */
    for (i = 0; i < MANY; i++) {
        ids[i] = wawo_table_open(&t);
        if (i % 3 != 0)
            wawo_table_publish(&t, ids[i], &seen[i]);
    }
    for (; wawo_table_walk(&t, &slot, visit_mark, NULL); calls++)
        continue;
    ASSERT_EQ(calls, 4u);
    for (i = 0; i < MANY; i++)
        ASSERT_EQ(seen[i], i % 3 != 0 ? 1u : 0u);
    ids[MANY] = ids[1] + (UINT64_C(1) << 32); /* of another generation, of another loop, of no slot */
    ids[MANY + 1] = ids[2] ^ UINT64_C(1) << WAWO_ID_SLOT_BITS;
    ids[MANY + 2] = UINT64_MAX;
    wawo_table_visit(&t, ids, MANY + 3, visit_mark, NULL);
    wawo_table_visit(&t, ids, 0, visit_mark, NULL);
    for (i = 0; i < MANY; i++) {
        ASSERT_EQ(seen[i], i % 3 != 0 ? 2u : 0u);
        wawo_table_close(&t, ids[i]);
    }
    wawo_table_visit(&t, ids, MANY, visit_mark, NULL); /* all stale */
    ASSERT_EQ(seen[1], 2u);
    wawo_table_fini(&t);
}

TEST(no_memory)
{
    static struct wawo_table t;
    uint64_t id;

    wawo_table_init(&t, 0);
    wawo_alloc_fail_at(1);
    ASSERT_EQ(wawo_table_open(&t), 0u);
    wawo_alloc_fail_at(0);
    id = wawo_table_open(&t);
    ASSERT_NE(id, 0u);
    wawo_table_close(&t, id);
    wawo_table_fini(&t);
}

/* Other threads open, publish and look up while the owner binds, finds and closes. */
struct player {
    struct wawo_table *t;
    wawo_u64 offered[16]; /* atomic; ids for the owner */
    wawo_u64 last[16];    /* atomic; ids that may be stale */
    uint32_t stop;
    unsigned shared;
};

static void hold_nothing(void *shared)
{
    ASSERT_NOT_NULL(shared);
}

static void play(void *arg)
{
    struct player *p = arg;
    uint64_t seed = (uintptr_t)&arg, id, taken;

    while (!wawo_load(&p->stop)) {
        unsigned i = kit_below(&seed, 16);

        (void)wawo_table_shared(p->t, wawo_load(&p->last[i]), hold_nothing);
        if (wawo_load(&p->offered[i]) != 0)
            continue;
        id = wawo_table_open(p->t);
        ASSERT_NE(id, 0u);
        wawo_table_publish(p->t, id, &p->shared);
        taken = 0;
        if (!wawo_cas(&p->offered[i], &taken, id))
            wawo_table_close(p->t, id); /* came to nothing */
    }
}

TEST(used_by_many_threads)
{
    static struct wawo_table t;
    static struct player p;
    struct wawo_thread threads[3];
    struct wawo_sock s;
    uint64_t id;
    int i, k;

    wawo_table_init(&t, 3);
    p.t = &t;
    for (i = 0; i < 3; i++)
        kit_start(&threads[i], play, &p);
    for (i = 0; i < 20000; i++) {
        k = i % 16;
        ASSERT_NULL((void *)wawo_table_find(&t, wawo_load(&p.last[k])));
        id = wawo_exchange(&p.offered[k], 0);
        if (id == 0)
            continue;
        wawo_sock_init(&s, WAWO_SOCK_CONN);
        wawo_table_bind(&t, id, &s);
        ASSERT_EQ((void *)wawo_table_find(&t, id), (void *)&s);
        wawo_table_close(&t, id);
        wawo_store(&p.last[k], id);
    }
    wawo_store(&p.stop, 1);
    for (i = 0; i < 3; i++)
        wawo_thread_join(&threads[i]);
    for (k = 0; k < 16; k++)
        if (p.offered[k] != 0)
            wawo_table_close(&t, p.offered[k]);
    ASSERT_EQ(t.used, 0u);
    wawo_table_fini(&t);
}
