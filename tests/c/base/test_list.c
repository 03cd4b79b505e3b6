#include "support/harness.h"

#include "base/list.h"

static unsigned length(const struct wawo_list *l)
{
    const struct wawo_list *n;
    unsigned count = 0;

    for (n = l->next; n != l; n = n->next) {
        ASSERT_EQ((void *)n->prev->next, (void *)n);
        count++;
    }
    return count;
}

TEST(push_and_remove)
{
    struct wawo_list l, n[3];
    int i;

    wawo_list_init(&l);
    ASSERT_TRUE(wawo_list_empty(&l));
    for (i = 0; i < 3; i++) {
        wawo_list_init(&n[i]);
        wawo_list_push(&l, &n[i]);
    }
    ASSERT_EQ(length(&l), 3u);
    ASSERT_EQ((void *)l.next, (void *)&n[0]);
    wawo_list_remove(&n[1]);
    wawo_list_remove(&n[1]); /* harmless */
    ASSERT_EQ(length(&l), 2u);
    wawo_list_remove(&n[0]);
    wawo_list_remove(&n[2]);
    ASSERT_TRUE(wawo_list_empty(&l));
}

TEST(splice)
{
    struct wawo_list a, b, n[4];
    int i;

    wawo_list_init(&a);
    wawo_list_init(&b);
    wawo_list_splice(&a, &b);
    ASSERT_TRUE(wawo_list_empty(&a));
    for (i = 0; i < 4; i++)
        wawo_list_push(i < 2 ? &a : &b, &n[i]);
    wawo_list_splice(&a, &b);
    ASSERT_TRUE(wawo_list_empty(&b));
    ASSERT_EQ(length(&a), 4u);
    ASSERT_EQ((void *)a.prev, (void *)&n[3]);
    wawo_list_splice(&b, &a);
    ASSERT_EQ(length(&b), 4u);
    ASSERT_TRUE(wawo_list_empty(&a));
}
