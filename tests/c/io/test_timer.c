/* The wheel against a plain table of due times. */
#include "support/kit.h"

#include "io/timer.h"

enum { TIMERS = 300 };

struct entry {
    struct wawo_timer timer;
    int64_t due_ns; /* 0: not set */
    unsigned fired;
};

static struct wawo_wheel wheel;
static struct entry entries[TIMERS];
static int64_t now_ns;
static uint64_t seed;

static void on_fire(struct wawo_timer *t)
{
    struct entry *e = wawo_container_of(t, struct entry, timer);

    ASSERT_FALSE(wawo_timer_pending(t));
    ASSERT_GT(e->due_ns, 0);
    ASSERT_LE(e->due_ns, now_ns); /* never early */
    e->due_ns = 0;
    e->fired++;
}

/* Sets and cancels others, and itself. */
static void on_fire_wild(struct wawo_timer *t)
{
    struct entry *other = &entries[kit_below(&seed, TIMERS)];

    on_fire(t);
    switch (kit_below(&seed, 4)) {
    case 0:
        wawo_timer_cancel(&wheel, &other->timer);
        other->due_ns = 0;
        break;
    case 1:
        other->due_ns = now_ns + 1 + kit_below(&seed, 200) * WAWO_MSEC;
        wawo_timer_set(&wheel, &other->timer, other->due_ns);
        break;
    default:
        break;
    }
}

static void wheel_open(int64_t start_ns, void (*fire)(struct wawo_timer *t))
{
    int i;

    now_ns = start_ns;
    wawo_wheel_init(&wheel, now_ns);
    memset(entries, 0, sizeof entries);
    for (i = 0; i < TIMERS; i++)
        wawo_timer_init(&entries[i].timer, fire);
}

static int64_t first_due(void)
{
    int64_t first = -1;
    int i;

    for (i = 0; i < TIMERS; i++)
        if (entries[i].due_ns > 0 && (first < 0 || entries[i].due_ns < first))
            first = entries[i].due_ns;
    return first;
}

static void check(void)
{
    int64_t first = first_due(), next = wawo_wheel_next(&wheel);
    size_t count = 0;
    int i;

    for (i = 0; i < TIMERS; i++) {
        ASSERT_EQ(wawo_timer_pending(&entries[i].timer), entries[i].due_ns > 0);
        count += entries[i].due_ns > 0;
        if (entries[i].due_ns > 0) /* all that is due a tick ago has fired */
            ASSERT_GT(entries[i].due_ns + 2 * WAWO_MSEC, now_ns);
    }
    ASSERT_EQ(wheel.count, count);
    if (first < 0) {
        ASSERT_EQ(next, -1);
        return;
    }
    ASSERT_GE(next, 0);
    ASSERT_LT(next, first + WAWO_MSEC); /* never later than the first timer's tick */
}

static int64_t random_delay(void)
{
    switch (kit_below(&seed, 5)) {
    case 0:
        return kit_below(&seed, 3) * WAWO_MSEC;
    case 1:
        return kit_below(&seed, 64) * WAWO_MSEC;
    case 2:
        return kit_below(&seed, 5000) * WAWO_MSEC + kit_below(&seed, 1000000);
    case 3:
        return kit_below(&seed, 600) * WAWO_SEC;
    default:
        return kit_below(&seed, 900000) * WAWO_SEC;
    }
}

static void model(uint64_t with_seed, int64_t start_ns, void (*fire)(struct wawo_timer *t))
{
    struct entry *e;
    int step;

    seed = with_seed;
    wheel_open(start_ns, fire);
    for (step = 0; step < 6000; step++) {
        e = &entries[kit_below(&seed, TIMERS)];
        switch (kit_below(&seed, 5)) {
        case 0:
        case 1:
            e->due_ns = now_ns + 1 + random_delay();
            wawo_timer_set(&wheel, &e->timer, e->due_ns);
            break;
        case 2:
            wawo_timer_cancel(&wheel, &e->timer);
            e->due_ns = 0;
            break;
        case 3: { /* as a loop does: sleeps until next() at the most */
            int64_t next = wawo_wheel_next(&wheel);

            if (next > now_ns)
                now_ns = next;
            wawo_wheel_advance(&wheel, now_ns);
            break;
        }
        default:
            now_ns += kit_below(&seed, 20) == 0 ? random_delay() / 16 : kit_below(&seed, 3 * WAWO_MSEC);
            wawo_wheel_advance(&wheel, now_ns);
        }
        check();
    }
    while (first_due() > 0 && fire == on_fire) { /* all come in the end */
        now_ns = wawo_wheel_next(&wheel) > now_ns ? wawo_wheel_next(&wheel) : now_ns + WAWO_MSEC;
        wawo_wheel_advance(&wheel, now_ns);
        check();
    }
}

TEST(model_from_small_to_large)
{
    static const uint64_t seeds[] = {1, 2, 3, 77, 4711};
    size_t i;

    for (i = 0; i < sizeof seeds / sizeof *seeds; i++)
        model(seeds[i], (int64_t)seeds[i] * 12345678901, on_fire);
}

TEST(model_at_the_end_of_a_turn)
{
    static const int64_t spans[] = {64, 4096, 262144, 16777216, 1073741824};
    size_t i;

    for (i = 0; i < sizeof spans / sizeof *spans; i++)
        model(i + 9, (spans[i] - 3) * WAWO_MSEC, on_fire);
}

TEST(model_with_calls_in_fire)
{
    model(5, 1000 * WAWO_SEC, on_fire_wild);
    model(6, 63 * WAWO_MSEC, on_fire_wild);
}

TEST(long_jumps)
{
    static const int64_t jumps[] = {1, 63, 64, 65, 4095, 4096, 4097, 262144, 16777217, 900000000};
    size_t i, k;

    for (i = 0; i < sizeof jumps / sizeof *jumps; i++) {
        wheel_open(777 * WAWO_MSEC, on_fire);
        for (k = 0; k < sizeof jumps / sizeof *jumps; k++) {
            entries[k].due_ns = now_ns + jumps[k] * WAWO_MSEC;
            wawo_timer_set(&wheel, &entries[k].timer, entries[k].due_ns);
        }
        now_ns += jumps[i] * WAWO_MSEC;
        wawo_wheel_advance(&wheel, now_ns);
        for (k = 0; k < sizeof jumps / sizeof *jumps; k++)
            ASSERT_EQ(entries[k].fired, jumps[k] <= jumps[i] ? 1u : 0u);
        check();
    }
}

TEST(far_beyond_the_wheel)
{
    wheel_open(WAWO_SEC, on_fire);
    entries[0].due_ns = 1; /* fires at the wheel's end */
    wawo_timer_set(&wheel, &entries[0].timer, INT64_MAX);
    now_ns += INT64_C(11) * 86400 * WAWO_SEC;
    wawo_wheel_advance(&wheel, now_ns);
    ASSERT_EQ(entries[0].fired, 0u);
    now_ns += INT64_C(2) * 86400 * WAWO_SEC;
    wawo_wheel_advance(&wheel, now_ns);
    ASSERT_EQ(entries[0].fired, 1u);
}

TEST(the_past_fires_at_the_next_tick)
{
    wheel_open(WAWO_SEC, on_fire);
    entries[0].due_ns = 1;
    wawo_timer_set(&wheel, &entries[0].timer, -5);
    wawo_timer_set(&wheel, &entries[0].timer, 0);
    ASSERT_LE(wawo_wheel_next(&wheel), now_ns + WAWO_MSEC);
    wawo_wheel_advance(&wheel, now_ns);
    ASSERT_EQ(entries[0].fired, 0u);
    now_ns += WAWO_MSEC;
    wawo_wheel_advance(&wheel, now_ns);
    ASSERT_EQ(entries[0].fired, 1u);
}

/* A timer cancels those that are due with it. */
static void on_fire_cancel(struct wawo_timer *t)
{
    int i;

    on_fire(t);
    for (i = 0; i < TIMERS; i++) {
        wawo_timer_cancel(&wheel, &entries[i].timer);
        entries[i].due_ns = 0;
    }
}

TEST(cancel_in_fire)
{
    unsigned fired = 0;
    int i;

    wheel_open(0, on_fire_cancel);
    for (i = 0; i < TIMERS; i++) {
        entries[i].due_ns = 5 * WAWO_MSEC;
        wawo_timer_set(&wheel, &entries[i].timer, entries[i].due_ns);
    }
    now_ns = 6 * WAWO_MSEC;
    wawo_wheel_advance(&wheel, now_ns);
    for (i = 0; i < TIMERS; i++)
        fired += entries[i].fired;
    ASSERT_EQ(fired, 1u);
    ASSERT_EQ(wheel.count, 0u);
    ASSERT_EQ(wawo_wheel_next(&wheel), -1);
}
