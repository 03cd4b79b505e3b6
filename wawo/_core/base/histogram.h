/* F0 histogram: counts of values in log-linear buckets, 128 for each power of two: a value comes back to within 0.4 %.
 * Any value fits, adding one costs a few instructions. One thread. */
#ifndef WAWO_BASE_HISTOGRAM_H
#define WAWO_BASE_HISTOGRAM_H

#include "config.h"

enum {
    WAWO_HISTOGRAM_BITS = 7,
    WAWO_HISTOGRAM_STEPS = 1 << WAWO_HISTOGRAM_BITS,
    WAWO_HISTOGRAM_BUCKETS = (64 - WAWO_HISTOGRAM_BITS + 1) * WAWO_HISTOGRAM_STEPS
};

struct wawo_histogram {
    uint64_t total; /* values */
    uint64_t max;   /* the largest, exactly */
    uint64_t count[WAWO_HISTOGRAM_BUCKETS];
};

/* Empty. */
void wawo_histogram_init(struct wawo_histogram *h);

/* Values below WAWO_HISTOGRAM_STEPS have a bucket each; above, `shift` bits of a value are lost. */
static inline void wawo_histogram_add(struct wawo_histogram *h, uint64_t value)
{
    unsigned shift = 0, index = (unsigned)value;

    if (wawo_likely(value >= WAWO_HISTOGRAM_STEPS)) {
        shift = wawo_log2(value) - WAWO_HISTOGRAM_BITS;
        index = (shift << WAWO_HISTOGRAM_BITS) + (unsigned)(value >> shift);
    }
    h->count[index]++;
    h->total++;
    if (value > h->max)
        h->max = value;
}

/* The smallest value that `permille` of 1000 values do not pass, as the middle of its bucket; 0 without values. */
uint64_t wawo_histogram_at(const struct wawo_histogram *h, unsigned permille);

#endif
