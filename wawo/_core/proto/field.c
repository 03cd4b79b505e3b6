#include "field.h"

int wawo_field_check(const struct wawo_field *c)
{
    bool varint = c->size == WAWO_FIELD_VARINT;
    bool known = varint || c->size == 1 || c->size == 2 || c->size == 3 || c->size == 4 || c->size == 8;
    uint32_t field_max = varint ? WAWO_FIELD_VARINT_MAX : c->size;

    if (!known || c->offset > WAWO_FIELD_OFFSET_MAX || c->max > PTRDIFF_MAX || c->adjust > INT32_MAX ||
        c->adjust < -INT32_MAX)
        return WAWO_EINVAL;
    if (c->strip_header)
        return c->strip != 0 || c->offset + field_max > WAWO_ENVELOPE_MAX ? WAWO_EINVAL : 0;
    if (c->strip > c->offset && (varint || c->strip < c->offset + c->size))
        return WAWO_EINVAL;
    return c->strip > WAWO_ENVELOPE_MAX ? WAWO_EINVAL : 0;
}

int wawo_field_cut_varint(const struct wawo_field *c, const uint8_t *p, size_t n, struct wawo_frame *out)
{
    uint64_t value = 0;
    size_t i;
    int err;

    for (i = c->offset; i < n; i++) {
        size_t group = i - c->offset;
        bool more = p[i] >= 0x80;

        if (group == WAWO_FIELD_VARINT_MAX - 1 && p[i] > 1)
            return WAWO_EBADMSG;
        value |= (uint64_t)(p[i] & 0x7f) << (7 * group);
        err = wawo_field_place(c, i + 1 + more, value, out);
        if (!more)
            return err != 0 ? err : n >= out->total;
        if (err == WAWO_EMSGSIZE) /* further groups only add to it */
            return err;
    }
    out->total = 0;
    return 0;
}

static unsigned write_varint(uint8_t *p, uint64_t value)
{
    unsigned n = 0;

    for (; value >= 0x80; value >>= 7)
        p[n++] = (uint8_t)(value | 0x80);
    p[n++] = (uint8_t)value;
    return n;
}

/* The message is everything behind the field, or a part of that. */
static int seal_header(const struct wawo_field *c, const struct wawo_message *m, struct wawo_envelope *out)
{
    size_t behind = c->strip_header ? 0 : c->strip - c->offset - c->size; /* stripped too, but counted by the field */
    uint64_t follow = (uint64_t)m->total + behind, value = follow - (uint64_t)c->adjust;
    size_t size = c->size;

    if (wawo_unlikely(c->adjust > 0 && follow < (uint64_t)c->adjust))
        return WAWO_EBADMSG;
    if (wawo_unlikely(value > INT64_MAX || (size != WAWO_FIELD_VARINT && size < 8 && value >> (8 * size) != 0)))
        return WAWO_EMSGSIZE;
    memset(out->head, 0, sizeof out->head);
    if (size == WAWO_FIELD_VARINT)
        size = write_varint(out->head + c->offset, value);
    else
        wawo_length_write(out->head + c->offset, value, c->size, c->little);
    out->head_len = (uint8_t)(c->offset + size + behind);
    return 0;
}

/* The field stands in the message itself. */
static int seal_carried(const struct wawo_field *c, const struct wawo_message *m, struct wawo_envelope *out)
{
    struct wawo_field rest = *c; /* of a frame whose first `strip` bytes are gone */
    struct wawo_frame said;
    size_t scanned = 0;

    rest.offset -= c->strip;
    rest.strip = 0;
    if (wawo_field_cut(&rest, m->data, m->len, &scanned, &said) < 0 || said.total == 0 || said.total != m->total)
        return WAWO_EBADMSG;
    memset(out->head, 0, sizeof out->head);
    out->head_len = (uint8_t)c->strip;
    return 0;
}

int wawo_field_seal(const struct wawo_field *c, const struct wawo_message *m, struct wawo_envelope *out)
{
    if (wawo_unlikely(m->total > c->max))
        return WAWO_EMSGSIZE;
    out->tail_len = 0;
    out->tail = NULL;
    return c->strip_header || c->strip > c->offset ? seal_header(c, m, out) : seal_carried(c, m, out);
}
