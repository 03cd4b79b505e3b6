#include "packet.h"

int wawo_packet_check(const struct wawo_packet *c)
{
    return c->max == 0 || c->max > UINT32_MAX || c->max > PTRDIFF_MAX ? WAWO_EINVAL : 0;
}

int wawo_packet_seal(const struct wawo_packet *c, const struct wawo_message *m, struct wawo_envelope *out)
{
    if (wawo_unlikely(m->total == 0))
        return WAWO_EBADMSG;
    if (wawo_unlikely(m->total > c->max))
        return WAWO_EMSGSIZE;
    out->head[0] = out->head[1] = WAWO_PACKET_MARK;
    wawo_length_write(out->head + 2, m->total, 4, false);
    out->head_len = WAWO_PACKET_HEAD;
    out->tail_len = 0;
    out->tail = NULL;
    return 0;
}
