#include "fixed.h"

#include "../base/err.h"

int wawo_fixed_check(const struct wawo_fixed *c)
{
    return c->size == 0 || c->size > WAWO_FIXED_MAX ? WAWO_EINVAL : 0;
}

int wawo_fixed_seal(const struct wawo_fixed *c, const struct wawo_message *m, struct wawo_envelope *out)
{
    if (wawo_unlikely(m->total != c->size))
        return WAWO_EBADMSG;
    out->head_len = out->tail_len = 0;
    out->tail = NULL;
    return 0;
}
