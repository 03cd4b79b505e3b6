#include "filter.h"

#include "../base/check.h"
#include "../base/err.h"

_Static_assert((int)WAWO_ENVELOPE_MAX == (int)WAWO_HEAD_ROOM, "a ring copies the head of an envelope");

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
    const struct wawo_framing *f = framing;

    memset(cfg, 0, sizeof *cfg);
    switch ((enum wawo_framing_kind)f->kind) {
    case WAWO_FRAMING_RAW:
        return 0;
    case WAWO_FRAMING_LENGTH:
        cfg->ops = &wawo_filter_length;
        cfg->length = (struct wawo_length){f->field_size, f->little, f->max_size};
        return wawo_length_check(&cfg->length);
    case WAWO_FRAMING_FIELD:
        cfg->ops = &wawo_filter_field;
        cfg->field = (struct wawo_field){.offset = f->offset,
                                         .size = f->field_size,
                                         .little = f->little,
                                         .strip_header = f->strip < 0,
                                         .strip = f->strip < 0 ? 0 : (uint32_t)f->strip,
                                         .adjust = f->adjust,
                                         .max = f->max_size};
        cfg->looks = f->strip >= 0 && (uint32_t)f->strip <= f->offset; /* the field is in the message */
        return wawo_field_check(&cfg->field);
    case WAWO_FRAMING_PACK:
        cfg->ops = &wawo_filter_pack;
        cfg->pack = (struct wawo_pack){f->flag, f->max_size};
        return wawo_pack_check(&cfg->pack);
    case WAWO_FRAMING_MARKS:
        cfg->ops = &wawo_filter_marks;
        cfg->looks = true;
        cfg->marks = (struct wawo_marks){.start_len = f->start_len, .end_len = f->end_len, .max = f->max_size};
        memcpy(cfg->marks.start, f->start, sizeof cfg->marks.start);
        memcpy(cfg->marks.end, f->end, sizeof cfg->marks.end);
        return wawo_marks_check(&cfg->marks);
    case WAWO_FRAMING_FIXED:
        cfg->ops = &wawo_filter_fixed;
        cfg->fixed = (struct wawo_fixed){f->max_size};
        return wawo_fixed_check(&cfg->fixed);
    case WAWO_FRAMING_PACKET:
        cfg->ops = &wawo_filter_packet;
        cfg->packet = (struct wawo_packet){f->max_size};
        return wawo_packet_check(&cfg->packet);
    case WAWO_FRAMING_PULL:
        cfg->ops = &wawo_filter_pull;
        cfg->unread_max = (size_t)f->max_size;
        return f->max_size == 0 || f->max_size > SIZE_MAX / 2 ? WAWO_EINVAL : 0;
    }
    return WAWO_EINVAL;
}
