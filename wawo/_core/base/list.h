/* F0 list: intrusive, circular, doubly linked. The head is a node; an unlinked node points to itself. */
#ifndef WAWO_BASE_LIST_H
#define WAWO_BASE_LIST_H

#include "config.h"

struct wawo_list {
    struct wawo_list *next, *prev;
};

static inline void wawo_list_init(struct wawo_list *l)
{
    l->next = l->prev = l;
}

static inline bool wawo_list_empty(const struct wawo_list *l)
{
    return l->next == l;
}

/* Appends `n`, which must be unlinked. */
static inline void wawo_list_push(struct wawo_list *head, struct wawo_list *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}

/* Unlinks `n`; harmless on an unlinked node. */
static inline void wawo_list_remove(struct wawo_list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    wawo_list_init(n);
}

/* Moves all nodes of `from` behind those of `to`. */
static inline void wawo_list_splice(struct wawo_list *to, struct wawo_list *from)
{
    if (wawo_list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    wawo_list_init(from);
}

#endif
