#include "length.h"

#include "../base/err.h"

int wawo_length_check(const struct wawo_length *c)
{
    bool known = c->size == 1 || c->size == 2 || c->size == 3 || c->size == 4 || c->size == 8;

    if (!known || c->max > INT64_MAX)
        return WAWO_EINVAL;
    return c->size < 8 && c->max >> (8 * c->size) != 0 ? WAWO_EINVAL : 0;
}

int64_t wawo_length_decode(const struct wawo_length *c, const uint8_t *p)
{
    uint64_t n = 0;
    int i;

    if (wawo_likely(c->size == 4 && !c->little))
        n = (uint64_t)p[0] << 24 | (uint64_t)p[1] << 16 | (uint64_t)p[2] << 8 | p[3];
    else if (c->little)
        for (i = c->size - 1; i >= 0; i--)
            n = n << 8 | p[i];
    else
        for (i = 0; i < c->size; i++)
            n = n << 8 | p[i];
    return wawo_likely(n <= c->max) ? (int64_t)n : WAWO_EMSGSIZE;
}

int wawo_length_encode(const struct wawo_length *c, uint64_t len, uint8_t *p)
{
    int i;

    if (wawo_unlikely(len > c->max))
        return WAWO_EMSGSIZE;
    for (i = 0; i < c->size; i++)
        p[c->little ? i : c->size - 1 - i] = (uint8_t)(len >> (8 * i));
    return c->size;
}
