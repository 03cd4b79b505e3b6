#include "support/kit.h"

#include "base/atomic.h"
#include "net/baton.h"

TEST(one_at_a_time)
{
    ASSERT_TRUE(wawo_baton_try());
    ASSERT_FALSE(wawo_baton_try());
    wawo_baton_give();
    ASSERT_TRUE(wawo_baton_try());
    wawo_baton_give();
}

TEST(wait_lasts_as_long_as_it_is_taken)
{
    int64_t start = wawo_os_now_ns();

    wawo_baton_wait(10 * WAWO_SEC); /* nobody has it */
    ASSERT_LT(wawo_os_now_ns() - start, 5 * WAWO_SEC);
    ASSERT_TRUE(wawo_baton_try());
    start = wawo_os_now_ns();
    wawo_baton_wait(30 * WAWO_MSEC);
    ASSERT_GE(wawo_os_now_ns() - start, 30 * WAWO_MSEC);
    wawo_baton_give();
}

static void give_main(void *arg)
{
    uint32_t *asked = arg;

    KIT_UNTIL(wawo_load(asked) != 0);
    (void)kit_deadline();
    wawo_baton_give();
}

TEST(wait_ends_when_it_is_given)
{
    struct wawo_thread t;
    uint32_t asked = 0;
    int64_t start;

    ASSERT_TRUE(wawo_baton_try());
    kit_start(&t, give_main, &asked);
    start = wawo_os_now_ns();
    wawo_store(&asked, 1);
    wawo_baton_wait(9 * WAWO_SEC);
    ASSERT_LT(wawo_os_now_ns() - start, 5 * WAWO_SEC);
    wawo_thread_join(&t);
}

struct count {
    uint64_t n; /* guarded by the baton alone */
};

static void count_main(void *arg)
{
    struct count *c = arg;
    int i;

    for (i = 0; i < 20000; i++) {
        while (!wawo_baton_try())
            wawo_baton_wait(WAWO_MSEC);
        c->n++;
        wawo_baton_give();
    }
}

TEST(excludes)
{
    struct wawo_thread t[3];
    struct count c = {0};
    int i;

    for (i = 0; i < 3; i++)
        kit_start(&t[i], count_main, &c);
    for (i = 0; i < 3; i++)
        wawo_thread_join(&t[i]);
    ASSERT_EQ(c.n, 60000u);
}

TEST(after_fork_nobody_has_it)
{
    ASSERT_TRUE(wawo_baton_try());
    wawo_baton_after_fork();
    ASSERT_TRUE(wawo_baton_try());
    wawo_baton_wait(WAWO_MSEC);
    wawo_baton_give();
}
