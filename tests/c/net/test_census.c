/* Counting by address against a plain model, the bounds of the table, and what happens without memory. */
#include "support/kit.h"

#include "base/alloc.h"
#include "base/err.h"
#include "net/census.h"

static struct wawo_addr address(const char *host, uint16_t port)
{
    struct wawo_addr a;

    ASSERT_EQ(wawo_addr_parse(&a, host, port), 0);
    return a;
}

TEST(as_many_as_the_limit)
{
    struct wawo_addr a = address("127.0.0.1", 1000), b = address("127.0.0.2", 1000);
    struct wawo_census c;
    int i;

    wawo_census_init(&c, 3);
    for (i = 0; i < 3; i++) {
        a.port++; /* of no account */
        ASSERT_EQ(wawo_census_enter(&c, &a), 0);
    }
    ASSERT_EQ(wawo_census_enter(&c, &a), WAWO_EREFUSED);
    ASSERT_EQ(wawo_census_enter(&c, &b), 0);
    wawo_census_leave(&c, &a);
    ASSERT_EQ(wawo_census_enter(&c, &a), 0);
    ASSERT_EQ(wawo_census_enter(&c, &a), WAWO_EREFUSED);
    ASSERT_EQ(c.used, 2u);
    for (i = 0; i < 3; i++)
        wawo_census_leave(&c, &a);
    wawo_census_leave(&c, &b);
    ASSERT_EQ(c.used, 0u);
    wawo_census_fini(&c);
}

TEST(what_is_one_address)
{
    struct wawo_addr v4 = address("10.0.0.1", 1), mapped = address("::ffff:10.0.0.1", 2), v6 = address("::a00:1", 1);
    struct wawo_addr here = address("fe80::1", 1), there = here, un = {.family = WAWO_AF_UNIX}, none = {0};
    struct wawo_census c;
    int i;

    there.scope = 7;
    wawo_census_init(&c, 1);
    ASSERT_EQ(wawo_census_enter(&c, &v4), 0);
    ASSERT_EQ(wawo_census_enter(&c, &mapped), WAWO_EREFUSED);
    ASSERT_EQ(wawo_census_enter(&c, &v6), 0); /* compatible, not mapped */
    ASSERT_EQ(wawo_census_enter(&c, &here), 0);
    ASSERT_EQ(wawo_census_enter(&c, &there), 0);
    for (i = 0; i < 100; i++) {
        ASSERT_EQ(wawo_census_enter(&c, &un), 0);
        ASSERT_EQ(wawo_census_enter(&c, &none), 0);
    }
    ASSERT_EQ(c.used, 4u);
    wawo_census_leave(&c, &un);
    wawo_census_leave(&c, &mapped);
    ASSERT_EQ(wawo_census_enter(&c, &v4), 0);
    wawo_census_fini(&c);
}

TEST(off_costs_nothing)
{
    struct wawo_addr a = address("127.0.0.1", 1);
    struct wawo_census c;
    size_t before = wawo_alloc_live();
    int i;

    wawo_census_init(&c, 0);
    for (i = 0; i < 1000; i++)
        ASSERT_EQ(wawo_census_enter(&c, &a), 0);
    ASSERT_EQ(wawo_alloc_live(), before);
    wawo_census_leave(&c, &a);
    wawo_census_fini(&c);
}

/* Some of them next to each other, some spread over all that there are. */
static struct wawo_addr numbered(uint32_t n)
{
    struct wawo_addr a = {.family = n & 1 ? WAWO_AF_INET6 : WAWO_AF_INET};

    n *= n & 2 ? 1 : 2654435761u;
    memcpy(a.ip, &n, 4);
    return a;
}

TEST(random_against_a_model)
{
    enum { ADDRESSES = 3000, LIMIT = 3 };
    static uint32_t model[ADDRESSES];
    struct wawo_census c;
    struct wawo_addr a;
    uint64_t state = 1;
    uint32_t i, n, used = 0, turn;

    wawo_census_init(&c, LIMIT);
    for (turn = 0; turn < 40; turn++) /* it fills and empties, again and again */
        for (i = 0; i < 10000; i++) {
            n = kit_below(&state, turn % 4 == 3 ? 20 : ADDRESSES);
            a = numbered(n);
            if (kit_below(&state, 10) < (turn % 2 == 0 ? 7u : 2u)) {
                ASSERT_EQ(wawo_census_enter(&c, &a), model[n] < LIMIT ? 0 : WAWO_EREFUSED);
                used += model[n] == 0;
                model[n] += model[n] < LIMIT;
            } else if (model[n] > 0) {
                wawo_census_leave(&c, &a);
                used -= --model[n] == 0;
            }
            ASSERT_EQ(c.used, used);
            ASSERT_LE(c.used, c.room / 2 + 1);
        }
    for (n = 0; n < ADDRESSES; n++)
        for (a = numbered(n); model[n] > 0; model[n]--)
            wawo_census_leave(&c, &a);
    ASSERT_EQ(c.used, 0u);
    ASSERT_LE(c.room, 16u); /* it has shrunk */
    wawo_census_fini(&c);
}

TEST(grows_with_its_addresses)
{
    enum { MANY = 100000 };
    struct wawo_census c;
    struct wawo_addr a;
    uint32_t n;

    wawo_census_init(&c, 1);
    for (n = 0; n < MANY; n++) {
        a = numbered(n);
        ASSERT_EQ(wawo_census_enter(&c, &a), 0);
        ASSERT_LE(c.room, n * 4 + 16);
    }
    for (n = 0; n < MANY; n++) {
        a = numbered(n);
        ASSERT_EQ(wawo_census_enter(&c, &a), WAWO_EREFUSED);
        wawo_census_leave(&c, &a);
    }
    ASSERT_LE(c.room, 16u);
    wawo_census_fini(&c);
}

TEST(without_memory)
{
    struct wawo_census c;
    struct wawo_addr a;
    uint32_t n;

    wawo_census_init(&c, 1);
    a = numbered(0);
    wawo_alloc_fail_at(1);
    ASSERT_EQ(wawo_census_enter(&c, &a), WAWO_ENOMEM);
    ASSERT_EQ(wawo_census_enter(&c, &a), 0); /* the next call had memory */
    for (n = 1; n < 8; n++) {
        a = numbered(n);
        ASSERT_EQ(wawo_census_enter(&c, &a), 0);
    }
    a = numbered(8);
    wawo_alloc_fail_at(1);
    ASSERT_EQ(wawo_census_enter(&c, &a), WAWO_ENOMEM);
    ASSERT_EQ(wawo_census_enter(&c, &a), 0);
    for (n = 9; n < 1000; n++) {
        a = numbered(n);
        ASSERT_EQ(wawo_census_enter(&c, &a), 0);
    }
    for (n = 0; n < 1000; n++) { /* it cannot shrink, and still finds all */
        a = numbered(n);
        wawo_alloc_fail_at(1);
        wawo_census_leave(&c, &a);
        ASSERT_EQ(c.used, 999 - n);
    }
    wawo_alloc_fail_at(0);
    wawo_census_fini(&c);
}
