#include "marks.h"

#include "../base/err.h"

#define NOWHERE SIZE_MAX

int wawo_marks_check(const struct wawo_marks *c)
{
    if (c->end_len == 0 || c->end_len > WAWO_ENVELOPE_MAX || c->start_len > WAWO_ENVELOPE_MAX)
        return WAWO_EINVAL;
    return c->max > PTRDIFF_MAX ? WAWO_EINVAL : 0;
}

/* The first end mark whose last byte stands in p[from..to); there is room for the others before `from`. Looks for the
 * last byte, so nothing is looked at again when more has come. */
static size_t find_end(const struct wawo_marks *c, const uint8_t *p, size_t from, size_t to)
{
    size_t before = c->end_len - 1u, i;
    const uint8_t *hit, *at;

    while (from < to) {
        hit = memchr(p + from, c->end[before], to - from);
        if (hit == NULL)
            break;
        at = hit - before;
        for (i = before; i > 0 && at[i - 1] == c->end[i - 1]; i--)
            ;
        if (i == 0)
            return (size_t)(at - p);
        from = (size_t)(hit - p) + 1;
    }
    return NOWHERE;
}

/* Whether an end mark that stands in time, at `last` or before it, can have begun in p[..n): n is beyond `last`. */
static bool may_end(const struct wawo_marks *c, const uint8_t *p, size_t n, size_t last)
{
    size_t at = wawo_max_size(c->start_len, n - wawo_min_size(n, c->end_len - 1u));

    for (; at <= last; at++)
        if (memcmp(p + at, c->end, n - at) == 0)
            return true;
    return false;
}

int wawo_marks_cut(const struct wawo_marks *c, const uint8_t *p, size_t n, size_t *scanned, struct wawo_frame *out)
{
    size_t start = c->start_len, last = start + (size_t)c->max, to, at;

    out->total = 0;
    if (start > 0 && *scanned == 0) {
        if (memcmp(p, c->start, wawo_min_size(start, n)) != 0)
            return WAWO_EBADMSG;
        if (n < start)
            return 0;
    }
    to = wawo_min_size(n, last + c->end_len);
    at = find_end(c, p, wawo_max_size(*scanned, start + c->end_len - 1), to);
    if (wawo_unlikely(at == NOWHERE)) {
        if (wawo_unlikely(n > last && !may_end(c, p, n, last)))
            return WAWO_EMSGSIZE;
        *scanned = to;
        return 0;
    }
    out->skip = start;
    out->len = at - start;
    out->total = at + c->end_len;
    return 1;
}

/* Whether the last bytes of the message and the first of the end mark make one: "aa" behind "xa". */
static bool meets_early(const struct wawo_marks *c, const struct wawo_message *m)
{
    size_t k;

    for (k = 1; k < c->end_len && k <= m->len; k++)
        if (c->end[k] == c->end[0] && memcmp(c->end + k, c->end, c->end_len - k) == 0 &&
            memcmp(m->data + m->len - k, c->end, k) == 0)
            return true;
    return false;
}

int wawo_marks_seal(const struct wawo_marks *c, const struct wawo_message *m, struct wawo_envelope *out)
{
    if (wawo_unlikely(m->total > c->max))
        return WAWO_EMSGSIZE;
    if (wawo_unlikely(find_end(c, m->data, c->end_len - 1u, m->len) != NOWHERE))
        return WAWO_EBADMSG;
    if (wawo_unlikely(m->len == m->total && meets_early(c, m)))
        return WAWO_EBADMSG;
    memcpy(out->head, c->start, sizeof out->head);
    out->head_len = c->start_len;
    out->tail_len = c->end_len;
    out->tail = c->end;
    return 0;
}
