#include "histogram.h"

void wawo_histogram_init(struct wawo_histogram *h)
{
    memset(h, 0, sizeof *h);
}

static uint64_t bucket_middle(unsigned index)
{
    unsigned shift = index < 2 * WAWO_HISTOGRAM_STEPS ? 0 : (index >> WAWO_HISTOGRAM_BITS) - 1;
    uint64_t low = (uint64_t)(index - (shift << WAWO_HISTOGRAM_BITS)) << shift;

    return low + ((UINT64_C(1) << shift) - 1) / 2;
}

uint64_t wawo_histogram_at(const struct wawo_histogram *h, unsigned permille)
{
    uint64_t rank = (h->total * permille + 999) / 1000, seen = 0, middle;
    unsigned index;

    if (rank >= h->total)
        return h->max;
    if (rank == 0)
        rank = 1;
    for (index = 0; seen + h->count[index] < rank; index++)
        seen += h->count[index];
    middle = bucket_middle(index);
    return middle < h->max ? middle : h->max;
}
