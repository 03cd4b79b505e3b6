#include "support/kit.h"

#include "base/alloc.h"

TEST(counts_what_lives)
{
    void *a = wawo_alloc(10), *b = wawo_alloc_zero(100), *c = wawo_realloc(NULL, 5);
    uint8_t zero[100] = {0};

    ASSERT_EQ(wawo_alloc_live(), 3u);
    ASSERT_MEMEQ(b, zero, 100);
    c = wawo_realloc(c, 5000);
    ASSERT_NOT_NULL(c);
    ASSERT_EQ(wawo_alloc_live(), 3u);
    wawo_free(a);
    wawo_free(b);
    wawo_free(c);
    wawo_free(NULL);
    ASSERT_EQ(wawo_alloc_live(), 0u);
}

TEST(fails_the_nth_call_once)
{
    void *p[4], *q;
    int i;

    wawo_alloc_fail_at(3);
    for (i = 0; i < 4; i++)
        p[i] = i % 2 ? wawo_alloc(1) : wawo_alloc_zero(1);
    ASSERT_EQ(wawo_alloc_calls(), 4u);
    for (i = 0; i < 4; i++)
        ASSERT_EQ(p[i] == NULL, i == 2);
    wawo_alloc_fail_at(1);
    q = wawo_realloc(p[0], 1000);
    ASSERT_NULL(q); /* and p[0] is as it was */
    ASSERT_EQ(wawo_alloc_live(), 3u);
    wawo_alloc_fail_at(1);
    ASSERT_NULL(wawo_os_map(4096));
    wawo_alloc_fail_at(0);
    q = wawo_os_map(4096);
    ASSERT_NOT_NULL(q);
    wawo_os_unmap(q, 4096);
    for (i = 0; i < 4; i++)
        wawo_free(p[i]);
}

static void alloc_main(void *arg)
{
    int i;

    (void)arg;
    for (i = 0; i < 10000; i++)
        wawo_free(wawo_alloc((size_t)i % 100 + 1));
}

TEST(counts_from_many_threads)
{
    struct wawo_thread t[4];
    int i;

    for (i = 0; i < 4; i++)
        kit_start(&t[i], alloc_main, NULL);
    for (i = 0; i < 4; i++)
        wawo_thread_join(&t[i]);
    ASSERT_EQ(wawo_alloc_live(), 0u);
}
