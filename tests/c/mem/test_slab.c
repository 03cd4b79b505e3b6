#include "support/kit.h"

#include "base/alloc.h"
#include "mem/slab.h"

TEST(limit_and_reuse)
{
    struct wawo_slab s;
    void *p[10];
    int i;

    wawo_slab_init(&s, 40, 10);
    ASSERT_EQ(wawo_slab_bytes(&s), 0u); /* maps nothing yet */
    for (i = 0; i < 10; i++) {
        p[i] = wawo_slab_take(&s);
        ASSERT_NOT_NULL(p[i]);
        ASSERT_EQ((uintptr_t)p[i] % 16, 0u);
        memset(p[i], i, 40);
    }
    ASSERT_NULL(wawo_slab_take(&s));
    for (i = 0; i < 10; i++)
        ASSERT_EQ(((uint8_t *)p[i])[39], i);
    wawo_slab_give(&s, p[3]);
    wawo_slab_give(&s, p[7]);
    ASSERT_EQ(wawo_slab_take(&s), p[7]); /* the newest is still warm */
    ASSERT_EQ(wawo_slab_take(&s), p[3]);
    ASSERT_NULL(wawo_slab_take(&s));
    ASSERT_EQ(wawo_slab_bytes(&s), 256u * 1024);
    for (i = 0; i < 10; i++)
        wawo_slab_give(&s, p[i]);
    wawo_slab_fini(&s);
}

TEST(many_blocks)
{
    enum { MANY = 20000, SIZE = 100 };
    static uint8_t *p[MANY];
    struct wawo_slab s;
    int i;

    wawo_slab_init(&s, SIZE, MANY);
    for (i = 0; i < MANY; i++) {
        p[i] = wawo_slab_take(&s);
        ASSERT_NOT_NULL(p[i]);
        memset(p[i], i & 255, SIZE);
    }
    ASSERT_GE(wawo_slab_bytes(&s), (size_t)MANY * SIZE);
    ASSERT_LE(wawo_slab_bytes(&s), (size_t)MANY * 112 + 512 * 1024);
    for (i = 0; i < MANY; i++) {
        ASSERT_EQ(p[i][0], i & 255);
        ASSERT_EQ(p[i][SIZE - 1], i & 255);
        wawo_slab_give(&s, p[i]);
    }
    ASSERT_EQ(s.used, 0u);
    wawo_slab_fini(&s);
}

TEST(no_memory)
{
    struct wawo_slab s;
    void *p;

    wawo_slab_init(&s, 64, 10);
    wawo_alloc_fail_at(1);
    ASSERT_NULL(wawo_slab_take(&s));
    wawo_alloc_fail_at(0);
    ASSERT_EQ(s.used, 0u);
    p = wawo_slab_take(&s);
    ASSERT_NOT_NULL(p);
    wawo_slab_give(&s, p);
    wawo_slab_fini(&s);
}
