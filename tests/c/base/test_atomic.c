/* Each operation on each kind of object that the core uses it on. */
#include "support/kit.h"

#include "base/atomic.h"
#include "base/os.h"

TEST(bytes)
{
    uint8_t v = 1, wanted;

    wawo_store(&v, 250);
    ASSERT_EQ(wawo_load(&v), 250);
    wawo_store_relaxed(&v, 251);
    ASSERT_EQ(wawo_load_relaxed(&v), 251);
    wawo_store_full(&v, 252);
    ASSERT_EQ(wawo_load_full(&v), 252);
    ASSERT_EQ(wawo_exchange(&v, 3), 252);
    ASSERT_EQ(wawo_or(&v, 4), 3);
    ASSERT_EQ(wawo_and(&v, 6), 7);
    wanted = 5;
    ASSERT_FALSE(wawo_cas(&v, &wanted, 9));
    ASSERT_EQ(wanted, 6);
    ASSERT_TRUE(wawo_cas(&v, &wanted, 9));
    ASSERT_EQ(v, 9);
}

TEST(words)
{
    uint32_t v = 5, wanted;
    int32_t error = 0;

    ASSERT_EQ(wawo_add(&v, 7), 5u);
    ASSERT_EQ(wawo_add_relaxed(&v, 1), 12u);
    ASSERT_EQ(wawo_sub(&v, 14), 13u);
    ASSERT_EQ(wawo_load(&v), UINT32_MAX);
    ASSERT_EQ(wawo_exchange(&v, 1u << 31), UINT32_MAX);
    ASSERT_EQ(wawo_or(&v, 1), 1u << 31);
    ASSERT_EQ(wawo_and(&v, 1), (1u << 31) + 1);
    wanted = 1;
    ASSERT_TRUE(wawo_cas(&v, &wanted, UINT32_MAX));
    ASSERT_FALSE(wawo_cas(&v, &wanted, 0));
    ASSERT_EQ(wanted, UINT32_MAX);
    wawo_store_full(&v, 8);
    ASSERT_EQ(wawo_load_full(&v), 8u);
    wawo_store_relaxed(&error, -110);
    ASSERT_EQ(wawo_load_relaxed(&error), -110);
    ASSERT_LT(wawo_load(&error), 0);
}

TEST(numbers_of_64_bits)
{
    struct {
        char odd; /* what follows is aligned all the same */
        wawo_u64 u;
        wawo_i64 i;
    } v = {0, UINT64_C(1) << 40, -5};
    wawo_u64 wanted = 0;

    ASSERT_EQ((uintptr_t)&v.u % 8, 0u);
    ASSERT_EQ(wawo_add(&v.u, UINT64_C(1) << 33), UINT64_C(1) << 40);
    wawo_bump(&v.u, 1);
    ASSERT_EQ(wawo_sub(&v.u, 2), (UINT64_C(1) << 40) + (UINT64_C(1) << 33) + 1);
    ASSERT_EQ(wawo_exchange(&v.u, UINT64_MAX - 1), (UINT64_C(1) << 40) + (UINT64_C(1) << 33) - 1);
    ASSERT_EQ(wawo_or(&v.u, 1), UINT64_MAX - 1);
    ASSERT_EQ(wawo_and(&v.u, UINT64_C(3) << 40), UINT64_MAX);
    ASSERT_FALSE(wawo_cas(&v.u, &wanted, 1));
    ASSERT_EQ(wanted, UINT64_C(3) << 40);
    ASSERT_TRUE(wawo_cas(&v.u, &wanted, 1));
    ASSERT_EQ(wawo_load(&v.u), 1u);
    ASSERT_EQ(wawo_add(&v.i, -(INT64_C(1) << 40)), -5);
    ASSERT_EQ(wawo_add_relaxed(&v.i, 4), -(INT64_C(1) << 40) - 5);
    ASSERT_EQ(wawo_load_relaxed(&v.i), -(INT64_C(1) << 40) - 1);
    wawo_store(&v.i, INT64_MIN);
    ASSERT_EQ(wawo_load_full(&v.i), INT64_MIN);
}

TEST(pointers)
{
    static int a, b;
    int *p = NULL, *wanted = &a;

    wawo_store(&p, &a);
    ASSERT_EQ(wawo_load(&p), &a);
    ASSERT_EQ(*wawo_load(&p), 0); /* of its type */
    ASSERT_TRUE(wawo_cas(&p, &wanted, &b));
    ASSERT_FALSE(wawo_cas(&p, &wanted, NULL));
    ASSERT_EQ(wanted, &b);
    ASSERT_EQ(wawo_exchange(&p, NULL), &b);
    ASSERT_NULL(wawo_load_relaxed(&p));
}

TEST(the_highest_bit)
{
    unsigned bit;

    for (bit = 0; bit < 64; bit++) {
        ASSERT_EQ(wawo_log2(UINT64_C(1) << bit), bit);
        ASSERT_EQ(wawo_log2(UINT64_MAX >> (63 - bit)), bit);
    }
}

/* ---- two threads ---- */

enum { ROUNDS = 5000, HALVES = 200000 };

struct pair {
    uint32_t go, back; /* atomic: which round; the other has looked */
    uint32_t said[2];  /* atomic */
    uint32_t seen;     /* by the other */
    wawo_u64 halves;   /* both are the same */
    wawo_u64 sum;
    uint32_t done;
};

static void wait_for(uint32_t *word, uint32_t wanted)
{
    int spins = 0;

    while (wawo_load(word) != wanted) {
        wawo_cpu_relax();
        if (++spins % 256 == 0)
            wawo_thread_yield();
    }
}

static void look_at_each_other(void *arg)
{
    struct pair *p = arg;
    uint32_t i;

    for (i = 1; i <= ROUNDS; i++) {
        wait_for(&p->go, i);
        wawo_store_full(&p->said[1], 1);
        p->seen = wawo_load_full(&p->said[0]);
        wawo_store(&p->back, i);
    }
}

/* Each says its word and looks for the other's: one of them must see it. */
TEST(one_sees_the_other)
{
    static struct pair p;
    struct wawo_thread t;
    uint32_t i, seen;

    ASSERT_EQ(wawo_thread_start(&t, "looks", look_at_each_other, &p), 0);
    for (i = 1; i <= ROUNDS; i++) {
        wawo_store_relaxed(&p.said[0], 0);
        wawo_store_relaxed(&p.said[1], 0);
        wawo_store(&p.go, i);
        wawo_store_full(&p.said[0], 1);
        seen = wawo_load_full(&p.said[1]);
        wait_for(&p.back, i);
        ASSERT_TRUE(seen == 1 || p.seen == 1);
    }
    wawo_thread_join(&t);
}

static void write_halves(void *arg)
{
    struct pair *p = arg;
    uint64_t i;

    for (i = 1; i <= HALVES; i++) {
        wawo_store_relaxed(&p->halves, i << 32 | i);
        wawo_add(&p->sum, UINT32_MAX);
    }
    wawo_store(&p->done, 1);
}

/* 64 bits come in one piece, and no addition is lost. */
TEST(in_one_piece)
{
    static struct pair p;
    struct wawo_thread t;
    uint64_t v, added = 0;

    ASSERT_EQ(wawo_thread_start(&t, "writes", write_halves, &p), 0);
    while (!wawo_load(&p.done)) {
        v = wawo_load_relaxed(&p.halves);
        ASSERT_EQ(v >> 32, v & UINT32_MAX);
        wawo_add(&p.sum, 1);
        added++;
    }
    wawo_thread_join(&t);
    ASSERT_EQ(wawo_load(&p.sum), (uint64_t)HALVES * UINT32_MAX + added);
}
