/* F4 census: how many connections each peer address has. Whoever owns it locks. */
#ifndef WAWO_NET_CENSUS_H
#define WAWO_NET_CENSUS_H

#include "../base/os.h"

struct wawo_census_entry;

struct wawo_census {
    uint32_t limit; /* connections of one address; 0: not counted */
    uint32_t used;  /* addresses */
    uint32_t room;  /* entries: a power of two, 0 before the first */
    uint64_t key[2]; /* of the hash: peers choose their addresses */
    struct wawo_census_entry *entries;
};

/* Allocates nothing yet. */
void wawo_census_init(struct wawo_census *c, uint32_t limit);
void wawo_census_fini(struct wawo_census *c);
/* One more of this address, whatever its port; IPv4-mapped IPv6 is IPv4. 0; WAWO_EREFUSED: it has as many as it may;
 * WAWO_ENOMEM. What is neither IPv4 nor IPv6 is not limited. */
int wawo_census_enter(struct wawo_census *c, const struct wawo_addr *a);
/* One less; it has entered. Gives memory back. */
void wawo_census_leave(struct wawo_census *c, const struct wawo_addr *a);

#endif
