#include "filter.h"

#include "../base/check.h"
#include "../base/err.h"

int wawo_filter_seal_all(const struct wawo_filter_config *filters, unsigned count, const struct wawo_message *m,
                         struct wawo_envelope *out)
{
    struct wawo_message inner = *m;
    struct wawo_envelope outer;
    int err;

    out->head_len = out->tail_len = 0;
    while (count-- > 0) { /* from the listener down to the wire */
        err = filters[count].ops->seal(&filters[count], &inner, &outer);
        if (err != 0)
            return err;
        WAWO_CHECK(outer.head_len + out->head_len <= WAWO_ENVELOPE_MAX && (outer.tail_len == 0 || out->tail_len == 0));
        memcpy(outer.head + outer.head_len, out->head, out->head_len);
        outer.head_len = (uint8_t)(outer.head_len + out->head_len);
        if (outer.tail_len == 0) {
            outer.tail = out->tail;
            outer.tail_len = out->tail_len;
        }
        *out = outer;
        inner = (struct wawo_message){NULL, 0, m->total + out->head_len + out->tail_len};
    }
    return 0;
}

int wawo_filter_config(struct wawo_filter_config *cfg, const struct wawo_framing *framing)
{
    memset(cfg, 0, sizeof *cfg);
    switch (framing->kind) {
    case WAWO_FRAMING_RAW:
        return 0;
    case WAWO_FRAMING_LENGTH:
        cfg->ops = &wawo_filter_length;
        cfg->length.size = framing->length_size;
        cfg->length.little = framing->length_little;
        cfg->length.max = framing->max_size;
        return wawo_length_check(&cfg->length);
    default:
        return WAWO_EINVAL;
    }
}
