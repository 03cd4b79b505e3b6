#include "support/kit.h"

#include "base/atomic.h"
#include "base/mpsc.h"

#include <stdlib.h>

struct item {
    struct wawo_node node;
    unsigned producer, number;
};

TEST(keeps_the_order)
{
    struct wawo_mpsc q;
    struct item items[10];
    struct wawo_node *n;
    int i;

    wawo_mpsc_init(&q);
    ASSERT_TRUE(wawo_mpsc_empty(&q));
    ASSERT_NULL(wawo_mpsc_take(&q));
    for (i = 0; i < 10; i++)
        ASSERT_TRUE(wawo_mpsc_push(&q, &items[i].node));
    ASSERT_FALSE(wawo_mpsc_empty(&q));
    for (i = 0, n = wawo_mpsc_take(&q); n != NULL; n = n->next, i++)
        ASSERT_EQ((void *)n, (void *)&items[i].node);
    ASSERT_EQ(i, 10);
    ASSERT_TRUE(wawo_mpsc_empty(&q));
}

TEST(a_chain_is_pushed_at_once)
{
    struct wawo_mpsc q;
    struct item items[5];
    struct wawo_node *n;
    int i;

    wawo_mpsc_init(&q);
    ASSERT_TRUE(wawo_mpsc_push(&q, &items[0].node));
    items[3].node.next = &items[2].node;
    items[2].node.next = &items[1].node;
    ASSERT_TRUE(wawo_mpsc_push_chain(&q, &items[3].node, &items[1].node));
    ASSERT_TRUE(wawo_mpsc_push(&q, &items[4].node));
    for (i = 0, n = wawo_mpsc_close(&q); n != NULL; n = n->next, i++)
        ASSERT_EQ((void *)n, (void *)&items[i].node);
    ASSERT_EQ(i, 5);
    items[1].node.next = &items[0].node;
    ASSERT_FALSE(wawo_mpsc_push_chain(&q, &items[1].node, &items[0].node));
    ASSERT_EQ((void *)items[1].node.next, (void *)&items[0].node); /* whoever pushed goes through them again */
}

TEST(closed_refuses)
{
    struct wawo_mpsc q;
    struct item items[3];
    struct wawo_node *n;

    wawo_mpsc_init(&q);
    ASSERT_TRUE(wawo_mpsc_push(&q, &items[0].node));
    ASSERT_TRUE(wawo_mpsc_push(&q, &items[1].node));
    n = wawo_mpsc_close(&q);
    ASSERT_EQ((void *)n, (void *)&items[0].node);
    ASSERT_EQ((void *)n->next, (void *)&items[1].node);
    ASSERT_NULL(n->next->next);
    ASSERT_FALSE(wawo_mpsc_push(&q, &items[2].node));
    ASSERT_TRUE(wawo_mpsc_empty(&q));
    ASSERT_NULL(wawo_mpsc_take(&q));
    ASSERT_NULL(wawo_mpsc_close(&q));
}

enum { PRODUCERS = 4, EACH = 50000 };

struct producer {
    struct wawo_mpsc *q;
    struct item *items;
    unsigned number, pushed;
};

static void produce(void *arg)
{
    struct producer *p = arg;
    unsigned i;

    for (i = 0; i < EACH; i++) {
        p->items[i].producer = p->number;
        p->items[i].number = i;
        if (!wawo_mpsc_push(p->q, &p->items[i].node))
            break;
        p->pushed++;
    }
}

/* Each producer's items in its own order, none twice, none lost; after a close none is left behind. */
static void many_producers(unsigned close_after)
{
    struct wawo_mpsc q;
    struct producer p[PRODUCERS];
    struct wawo_thread t[PRODUCERS];
    unsigned next[PRODUCERS] = {0}, got = 0, i;
    int64_t until = kit_deadline();
    bool closed = false;

    wawo_mpsc_init(&q);
    for (i = 0; i < PRODUCERS; i++) {
        p[i] = (struct producer){&q, calloc(EACH, sizeof(struct item)), i, 0};
        kit_start(&t[i], produce, &p[i]);
    }
    while (!closed && got < PRODUCERS * EACH) {
        struct wawo_node *n;

        closed = got >= close_after;
        n = closed ? wawo_mpsc_close(&q) : wawo_mpsc_take(&q);
        for (; n != NULL; n = n->next, got++) {
            struct item *it = wawo_container_of(n, struct item, node);

            ASSERT_EQ(it->number, next[it->producer]);
            next[it->producer]++;
        }
        ASSERT_LT(wawo_os_now_ns(), until);
    }
    for (i = 0; i < PRODUCERS; i++) {
        wawo_thread_join(&t[i]);
        ASSERT_EQ(next[i], p[i].pushed);
        free(p[i].items);
    }
}

TEST(many_producers_keep_their_order)
{
    many_producers(PRODUCERS * EACH);
}

TEST(many_producers_meet_a_close)
{
    many_producers(20000);
}
