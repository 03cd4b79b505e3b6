#include "length.h"

int wawo_length_check(const struct wawo_length *c)
{
    bool known = c->size == 1 || c->size == 2 || c->size == 3 || c->size == 4 || c->size == 8;

    if (!known || c->max > PTRDIFF_MAX)
        return WAWO_EINVAL;
    return c->size < 8 && c->max >> (8 * c->size) != 0 ? WAWO_EINVAL : 0;
}

int wawo_length_seal(const struct wawo_length *c, const struct wawo_message *m, struct wawo_envelope *out)
{
    if (wawo_unlikely(m->total > c->max))
        return WAWO_EMSGSIZE;
    wawo_length_write(out->head, m->total, c->size, c->little);
    out->head_len = c->size;
    out->tail_len = 0;
    out->tail = NULL;
    return 0;
}
