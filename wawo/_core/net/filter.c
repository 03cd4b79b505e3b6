#include "filter.h"

#include "../base/err.h"

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
