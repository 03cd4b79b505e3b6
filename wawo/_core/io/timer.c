#include "timer.h"

enum { BITS = 6 };
#define SPAN (INT64_C(1) << (BITS * WAWO_WHEEL_LEVELS)) /* ticks the wheel can see ahead */

static int lowest_bit(uint64_t x)
{
    int n = 0;

    for (; (x & 0xff) == 0; x >>= 8)
        n += 8;
    for (; (x & 1) == 0; x >>= 1)
        n++;
    return n;
}

void wawo_wheel_init(struct wawo_wheel *w, int64_t now_ns)
{
    int l, s;

    memset(w, 0, sizeof *w);
    w->now = now_ns / WAWO_MSEC;
    for (l = 0; l < WAWO_WHEEL_LEVELS; l++)
        for (s = 0; s < WAWO_WHEEL_SLOTS; s++)
            wawo_list_init(&w->slot[l][s]);
}

void wawo_timer_init(struct wawo_timer *t, void (*fire)(struct wawo_timer *t))
{
    wawo_list_init(&t->link);
    t->due = 0;
    t->fire = fire;
}

/* The level is that of the highest digit in which `due` and `now` differ: a timer moves down a level when time
 * reaches its digit, and is at level 0 in its last 64 ticks. */
static void place(struct wawo_wheel *w, struct wawo_timer *t)
{
    uint64_t differ = (uint64_t)(t->due ^ w->now);
    int level = 0, slot;

    while (level < WAWO_WHEEL_LEVELS - 1 && (differ >> (BITS * (level + 1))) != 0)
        level++;
    slot = (int)((uint64_t)t->due >> (BITS * level)) & (WAWO_WHEEL_SLOTS - 1);
    wawo_list_push(&w->slot[level][slot], &t->link);
    w->used[level] |= UINT64_C(1) << slot;
}

void wawo_timer_set(struct wawo_wheel *w, struct wawo_timer *t, int64_t due_ns)
{
    wawo_timer_cancel(w, t);
    t->due = due_ns / WAWO_MSEC + (due_ns % WAWO_MSEC > 0); /* rounded up */
    if (t->due <= w->now)
        t->due = w->now + 1;
    if (t->due - w->now >= SPAN - WAWO_WHEEL_SLOTS)
        t->due = w->now + SPAN - WAWO_WHEEL_SLOTS - 1;
    w->count++;
    place(w, t);
}

void wawo_timer_cancel(struct wawo_wheel *w, struct wawo_timer *t)
{
    if (!wawo_timer_pending(t))
        return;
    wawo_list_remove(&t->link); /* the slot's bit is cleared when time gets there */
    w->count--;
}

/* Takes a slot's timers out. */
static void take_slot(struct wawo_wheel *w, int level, int slot, struct wawo_list *out)
{
    wawo_list_init(out);
    wawo_list_splice(out, &w->slot[level][slot]);
    w->used[level] &= ~(UINT64_C(1) << slot);
}

static void cascade(struct wawo_wheel *w)
{
    struct wawo_list moved;
    struct wawo_timer *t;
    int level, slot;

    for (level = 1; level < WAWO_WHEEL_LEVELS; level++) {
        slot = (int)((uint64_t)w->now >> (BITS * level)) & (WAWO_WHEEL_SLOTS - 1);
        take_slot(w, level, slot, &moved);
        while (!wawo_list_empty(&moved)) {
            t = wawo_container_of(moved.next, struct wawo_timer, link);
            wawo_list_remove(&t->link);
            place(w, t);
        }
        if (slot != 0)
            break;
    }
}

static void fire_slot(struct wawo_wheel *w, int slot)
{
    struct wawo_list due;
    struct wawo_timer *t;

    take_slot(w, 0, slot, &due);
    while (!wawo_list_empty(&due)) {
        t = wawo_container_of(due.next, struct wawo_timer, link);
        wawo_list_remove(&t->link);
        w->count--;
        t->fire(t);
    }
}

void wawo_wheel_advance(struct wawo_wheel *w, int64_t now_ns)
{
    int64_t target = now_ns / WAWO_MSEC, next;
    uint64_t later;
    int at;

    while (w->now < target) {
        if (w->count == 0 && (w->used[0] | w->used[1] | w->used[2] | w->used[3] | w->used[4]) == 0) {
            w->now = target;
            return;
        }
        at = (int)(w->now & (WAWO_WHEEL_SLOTS - 1));
        later = at == WAWO_WHEEL_SLOTS - 1 ? 0 : w->used[0] & (~UINT64_C(0) << (at + 1));
        next = later != 0 ? w->now - at + lowest_bit(later) : w->now - at + WAWO_WHEEL_SLOTS;
        if (next > target) {
            w->now = target;
            return;
        }
        w->now = next;
        at = (int)(next & (WAWO_WHEEL_SLOTS - 1));
        if (at == 0)
            cascade(w);
        fire_slot(w, at);
    }
}

int64_t wawo_wheel_next(const struct wawo_wheel *w)
{
    int64_t base;
    uint64_t later;
    int level, at;

    if (w->count == 0)
        return -1;
    for (level = 0; level < WAWO_WHEEL_LEVELS; level++) {
        at = (int)((uint64_t)w->now >> (BITS * level)) & (WAWO_WHEEL_SLOTS - 1);
        later = at == WAWO_WHEEL_SLOTS - 1 ? 0 : w->used[level] & (~UINT64_C(0) << (at + 1));
        if (later == 0)
            continue;
        base = (w->now >> (BITS * level)) - at + lowest_bit(later);
        return (base << (BITS * level)) * WAWO_MSEC;
    }
    /* Only slots behind the hand of their level are used: they come after the wheel's next full turn. */
    return (w->now / SPAN + 1) * SPAN * WAWO_MSEC;
}
