#include "mpsc.h"

#include "atomic.h"

/* What `top` points to once the queue is closed. */
static struct wawo_node closed;

bool wawo_mpsc_push_chain(struct wawo_mpsc *q, struct wawo_node *newest, struct wawo_node *oldest)
{
    struct wawo_node *top = wawo_load_relaxed(&q->top);

    do {
        if (top == &closed)
            return false;
        oldest->next = top;
    } while (!wawo_cas(&q->top, &top, newest));
    return true;
}

bool wawo_mpsc_push(struct wawo_mpsc *q, struct wawo_node *n)
{
    return wawo_mpsc_push_chain(q, n, n);
}

/* A whole-list exchange has no ABA problem; reversing it restores the order of the pushes. */
static struct wawo_node *take(struct wawo_mpsc *q, struct wawo_node *leave)
{
    struct wawo_node *n = wawo_exchange(&q->top, leave), *next, *first = NULL;

    for (; n != NULL && n != &closed; n = next) {
        next = n->next;
        n->next = first;
        first = n;
    }
    return first;
}

struct wawo_node *wawo_mpsc_take(struct wawo_mpsc *q)
{
    struct wawo_node *top = wawo_load_relaxed(&q->top);

    return top == NULL || top == &closed ? NULL : take(q, NULL);
}

struct wawo_node *wawo_mpsc_close(struct wawo_mpsc *q)
{
    return take(q, &closed);
}

bool wawo_mpsc_empty(struct wawo_mpsc *q)
{
    struct wawo_node *top = wawo_load_full(&q->top);

    return top == NULL || top == &closed;
}
