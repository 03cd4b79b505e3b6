#include "base/histogram.h"
#include "support/harness.h"

#include <stdlib.h>

enum { VALUES = 100000 };

static struct wawo_histogram h;
static uint64_t sorted[VALUES];

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

/* The value that `permille` of all do not pass, from the sorted list. */
static uint64_t exact_at(unsigned permille)
{
    size_t rank = ((size_t)permille * VALUES + 999) / 1000;

    return sorted[rank == 0 ? 0 : rank - 1];
}

static void fill(unsigned bits, uint64_t seed)
{
    wawo_histogram_init(&h);
    for (size_t i = 0; i < VALUES; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        sorted[i] = seed >> 8 >> (56 - bits) >> (i % (bits - 1)); /* every magnitude up to `bits` */
        wawo_histogram_add(&h, sorted[i]);
    }
    qsort(sorted, VALUES, sizeof sorted[0], by_value);
}

static void compare_all(void)
{
    for (unsigned permille = 0; permille <= 1000; permille++) {
        uint64_t exact = exact_at(permille), found = wawo_histogram_at(&h, permille);
        uint64_t off = found > exact ? found - exact : exact - found;

        if (off * 250 > exact) /* more than 0.4 % */
            FAIL("at %u of 1000: %ju, not %ju", permille, (uintmax_t)found, (uintmax_t)exact);
    }
}

TEST(percentiles_are_those_of_the_sorted_list)
{
    for (unsigned bits = 8; bits <= 56; bits += 12) {
        fill(bits, bits);
        compare_all();
        ASSERT_EQ(h.total, VALUES);
        ASSERT_EQ(h.max, sorted[VALUES - 1]);
        ASSERT_EQ(wawo_histogram_at(&h, 1000), sorted[VALUES - 1]);
    }
}

TEST(small_values_are_exact)
{
    for (uint64_t v = 0; v < 2 * WAWO_HISTOGRAM_STEPS; v++) {
        wawo_histogram_init(&h);
        wawo_histogram_add(&h, v);
        wawo_histogram_add(&h, v);
        wawo_histogram_add(&h, 1000);
        ASSERT_EQ(wawo_histogram_at(&h, 500), v);
    }
}

TEST(every_power_of_two_and_its_neighbours)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int by = -1; by <= 1; by++) {
            uint64_t v = (UINT64_C(1) << bit) + (uint64_t)by, found, off;

            wawo_histogram_init(&h);
            wawo_histogram_add(&h, v);
            wawo_histogram_add(&h, UINT64_MAX);
            found = wawo_histogram_at(&h, 500);
            off = found > v ? found - v : v - found;
            ASSERT_LE(off, v / 250);
            ASSERT_EQ(h.max, UINT64_MAX);
        }
    }
}

TEST(without_values_all_is_0)
{
    wawo_histogram_init(&h);
    ASSERT_EQ(wawo_histogram_at(&h, 0), 0u);
    ASSERT_EQ(wawo_histogram_at(&h, 999), 0u);
    ASSERT_EQ(wawo_histogram_at(&h, 1000), 0u);
}

TEST(a_few_values_rank_upwards)
{
    wawo_histogram_init(&h);
    for (unsigned v = 1; v <= 10; v++)
        wawo_histogram_add(&h, v);
    ASSERT_EQ(wawo_histogram_at(&h, 0), 1u);
    ASSERT_EQ(wawo_histogram_at(&h, 500), 5u);
    ASSERT_EQ(wawo_histogram_at(&h, 501), 6u);
    ASSERT_EQ(wawo_histogram_at(&h, 990), 10u);
}
