/* A latency histogram with log-linear buckets: 128 for each power of two, so a value is known to better than 0.8 %. */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>
#include <stdio.h>

enum { LATENCY_BITS = 7, LATENCY_STEPS = 1 << LATENCY_BITS, LATENCY_BUCKETS = (64 - LATENCY_BITS) * LATENCY_STEPS };

struct latency {
    uint64_t total;
    uint64_t max_ns;
    uint64_t count[LATENCY_BUCKETS];
};

static inline void latency_add(struct latency *l, uint64_t ns)
{
    unsigned index = (unsigned)ns;

    if (ns >= LATENCY_STEPS) {
        unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - LATENCY_BITS;

        index = (shift << LATENCY_BITS) + (unsigned)(ns >> shift);
    }
    l->count[index]++;
    l->total++;
    if (ns > l->max_ns)
        l->max_ns = ns;
}

/* The middle of the bucket in which the given part (0 to 1) of all values ends; 0 without values. */
static inline double latency_at(const struct latency *l, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)l->total + 0.5);
    uint64_t seen = 0;

    if (wanted == 0)
        wanted = 1;
    for (unsigned index = 0; index < LATENCY_BUCKETS; index++) {
        seen += l->count[index];
        if (seen >= wanted) {
            unsigned shift = index < 2 * LATENCY_STEPS ? 0 : (index >> LATENCY_BITS) - 1;
            double low = (double)((uint64_t)(index - (shift << LATENCY_BITS)) << shift);
            double middle = low + ((double)(1ull << shift) - 1) / 2;

            return middle > (double)l->max_ns ? (double)l->max_ns : middle;
        }
    }
    return 0;
}

static inline void latency_report(const struct latency *l)
{
    static const struct {
        const char *name;
        double part;
    } shown[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};

    for (unsigned i = 0; i < sizeof shown / sizeof *shown; i++)
        printf(", \"%s_us\": %.2f", shown[i].name, latency_at(l, shown[i].part) / 1e3);
    printf(", \"max_us\": %.2f", (double)l->max_ns / 1e3);
}

#endif
