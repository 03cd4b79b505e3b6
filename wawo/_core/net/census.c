/* Open addressing with linear probing, at most half full; a hole that a leaving address makes is closed at once, so a
 * chain never has one. */
#include "census.h"

#include "../base/alloc.h"
#include "../base/check.h"
#include "../base/err.h"

enum { ROOM_MIN = 16 };

struct wawo_census_entry {
    uint8_t ip[16];
    uint32_t scope;
    uint32_t count; /* 0: free */
};

void wawo_census_init(struct wawo_census *c, uint32_t limit)
{
    memset(c, 0, sizeof *c);
    c->limit = limit;
    if (limit > 0)
        (void)wawo_os_random(c->key, sizeof c->key); /* without it the hash is only easier to guess */
}

void wawo_census_fini(struct wawo_census *c)
{
    wawo_free(c->entries);
    c->entries = NULL;
}

static bool counts(const struct wawo_census *c, const struct wawo_addr *a)
{
    return c->limit > 0 && (a->family == WAWO_AF_INET || a->family == WAWO_AF_INET6);
}

static struct wawo_census_entry entry_of(const struct wawo_addr *a)
{
    struct wawo_census_entry e = {.scope = a->scope};

    if (a->family == WAWO_AF_INET) {
        e.ip[10] = e.ip[11] = 0xff;
        memcpy(e.ip + 12, a->ip, 4);
    } else {
        memcpy(e.ip, a->ip, 16);
    }
    return e;
}

/* ---- the hash: SipHash-1-3 ---- */

static inline uint64_t rotated(uint64_t v, unsigned bits)
{
    return v << bits | v >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotated(v[1], 13) ^ v[0];
    v[3] = rotated(v[3], 16) ^ v[2];
    v[0] = rotated(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = rotated(v[3], 21) ^ v[0];
    v[1] = rotated(v[1], 17) ^ v[2];
    v[2] = rotated(v[2], 32);
}

static uint32_t place_of(const struct wawo_census *c, const struct wawo_census_entry *e)
{
    uint64_t v[4] = {c->key[0] ^ UINT64_C(0x736f6d6570736575), c->key[1] ^ UINT64_C(0x646f72616e646f6d),
                     c->key[0] ^ UINT64_C(0x6c7967656e657261), c->key[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t m[3] = {0, 0, e->scope};
    int i;

    memcpy(m, e->ip, 16);
    for (i = 0; i < 3; i++) {
        v[3] ^= m[i];
        sip_round(v);
        v[0] ^= m[i];
    }
    v[2] ^= 0xff;
    for (i = 0; i < 3; i++)
        sip_round(v);
    return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]) & (c->room - 1);
}

/* ---- the table ---- */

static bool same(const struct wawo_census_entry *a, const struct wawo_census_entry *b)
{
    return memcmp(a->ip, b->ip, 16) == 0 && a->scope == b->scope;
}

/* Where it is, or the free entry where it belongs. */
static struct wawo_census_entry *find(const struct wawo_census *c, const struct wawo_census_entry *e)
{
    uint32_t i = place_of(c, e);

    while (c->entries[i].count > 0 && !same(&c->entries[i], e))
        i = (i + 1) & (c->room - 1);
    return &c->entries[i];
}

static bool resize(struct wawo_census *c, uint32_t room)
{
    struct wawo_census_entry *old = c->entries, *e;
    struct wawo_census_entry *made = wawo_alloc_zero(room * sizeof *made);
    uint32_t i, before = c->room;

    if (made == NULL)
        return false;
    c->entries = made;
    c->room = room;
    for (i = 0; i < before; i++) {
        e = &old[i];
        if (e->count > 0)
            *find(c, e) = *e;
    }
    wawo_free(old);
    return true;
}

int wawo_census_enter(struct wawo_census *c, const struct wawo_addr *a)
{
    struct wawo_census_entry wanted, *e;

    if (!counts(c, a))
        return 0;
    if (c->used >= c->room / 2 && !resize(c, c->room > 0 ? c->room * 2 : ROOM_MIN))
        return WAWO_ENOMEM;
    wanted = entry_of(a);
    e = find(c, &wanted);
    if (e->count >= c->limit)
        return WAWO_EREFUSED;
    if (e->count == 0) {
        *e = wanted;
        c->used++;
    }
    e->count++;
    return 0;
}

/* Moves those behind the hole up that a search would not find any more. */
static void close_hole(struct wawo_census *c, uint32_t hole)
{
    uint32_t mask = c->room - 1, i = hole, home;

    for (;;) {
        c->entries[hole].count = 0;
        do {
            i = (i + 1) & mask;
            if (c->entries[i].count == 0)
                return;
            home = place_of(c, &c->entries[i]);
        } while (((i - home) & mask) < ((i - hole) & mask));
        c->entries[hole] = c->entries[i];
        hole = i;
    }
}

void wawo_census_leave(struct wawo_census *c, const struct wawo_addr *a)
{
    struct wawo_census_entry wanted, *e;

    if (!counts(c, a))
        return;
    wanted = entry_of(a);
    WAWO_CHECK(c->room > 0);
    e = find(c, &wanted);
    WAWO_CHECK(e->count > 0);
    if (--e->count > 0)
        return;
    close_hole(c, (uint32_t)(e - c->entries));
    c->used--;
    if (c->room > ROOM_MIN && c->used < c->room / 8)
        (void)resize(c, c->room / 2); /* without memory it stays as large as it is */
}
