/* F4 part: messages that are given in several pieces (struct wawo_part of wawo.h). Any thread. */
#ifndef WAWO_NET_PART_H
#define WAWO_NET_PART_H

#include "../mem/pool.h"
#include "../proto/frame.h"
#include "../wawo.h"

/* What the framings are told of the message; *memory is what it counts for in a ring. */
void wawo_part_measure(const struct wawo_part *parts, unsigned count, struct wawo_message *m, size_t *memory);
/* Before the slices of the first `count` parts are undone: takes the references of chunks that go with them. */
void wawo_part_keep(const struct wawo_part *parts, unsigned count);

/* Copied: neither lent nor a file. */
static inline bool wawo_part_is_plain(const struct wawo_part *p)
{
    return p->chunk == NULL && p->loan == NULL && p->file == NULL;
}

#endif
