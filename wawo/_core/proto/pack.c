#include "pack.h"

int wawo_pack_check(const struct wawo_pack *c)
{
    return c->flag > WAWO_PACK_FLAG_MAX || c->max == 0 || c->max > WAWO_PACK_MAX ? WAWO_EINVAL : 0;
}

int wawo_pack_seal(const struct wawo_pack *c, const struct wawo_message *m, struct wawo_envelope *out)
{
    if (wawo_unlikely(m->total == 0 || m->total > c->max))
        return WAWO_EMSGSIZE;
    wawo_length_write(out->head, (uint64_t)c->flag << WAWO_PACK_SHIFT | m->total, WAWO_PACK_HEAD, true);
    out->head_len = WAWO_PACK_HEAD;
    out->tail_len = 0;
    out->tail = NULL;
    return 0;
}
