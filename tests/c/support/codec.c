#include "codec.h"

#include <stdlib.h>

#include "support/kit.h"

/* What is split at every byte; longer frames are cut around their ends only, the longest close to them. */
enum { SPLIT_MAX = 600, LONG = 16384, CLOSE = 8, TRAIL = 40 };

static bool near_an_end(size_t k, size_t n)
{
    size_t window = n > LONG ? CLOSE : SPLIT_MAX / 2;

    return n <= SPLIT_MAX || k < SPLIT_MAX / 2 || n - k < window;
}

/* One call for wire[0..k), which ends at a guard page: `room` bytes end there. */
static int cut_guarded(const struct codec *codec, const void *cfg, uint8_t *guard, size_t room, const uint8_t *wire,
                       size_t k, size_t *scanned, struct wawo_frame *out)
{
    uint8_t *p = guard + room - k;

    memcpy(p, wire, k);
    memset(out, 0xa5, sizeof *out);
    return codec->cut(cfg, p, k, scanned, out);
}

static void check_part(const char *file, int line, int rc, size_t k, size_t n, const struct wawo_frame *f)
{
    if (rc != 0)
        harness_fail(file, line, "%zu of %zu bytes: %d, not 0", k, n, rc);
    if (f->total != 0 && f->total != n)
        harness_fail(file, line, "%zu of %zu bytes: the frame is said to have %zu", k, n, f->total);
}

static void check_frame(const char *file, int line, int rc, size_t k, const struct wawo_frame *f,
                        const struct wawo_frame *wanted)
{
    if (rc != 1)
        harness_fail(file, line, "%zu of %zu bytes: %d, not 1", k, wanted->total, rc);
    if (f->skip != wanted->skip || f->len != wanted->len || f->total != wanted->total)
        harness_fail(file, line, "message at %zu, %zu bytes, frame of %zu; not at %zu, %zu bytes, frame of %zu",
                     f->skip, f->len, f->total, wanted->skip, wanted->len, wanted->total);
}

void codec_cuts(const char *file, int line, const struct codec *codec, const void *cfg, const uint8_t *wire, size_t n,
                size_t skip, size_t len)
{
    struct wawo_frame wanted = {skip, len, n}, f;
    size_t k, scanned, grown = 0, room = n + TRAIL;
    uint8_t *guard = kit_guard(room), *more = malloc(room);

    ASSERT_NOT_NULL(more);
    memcpy(more, wire, n);
    for (k = 0; k < n; k++) {
        if (!near_an_end(k, n))
            continue;
        check_part(file, line, cut_guarded(codec, cfg, guard, room, wire, k, &grown, &f), k, n, &f);
        scanned = 0;
        check_part(file, line, cut_guarded(codec, cfg, guard, room, wire, k, &scanned, &f), k, n, &f);
        check_frame(file, line, cut_guarded(codec, cfg, guard, room, wire, n, &scanned, &f), n, &f, &wanted);
    }
    check_frame(file, line, cut_guarded(codec, cfg, guard, room, wire, n, &grown, &f), n, &f, &wanted);
    for (k = 0; k < 3; k++) {
        kit_fill(more + n, TRAIL, n);
        if (k > 0)
            memset(more + n, k == 1 ? 0 : 0xff, TRAIL);
        scanned = 0;
        check_frame(file, line, cut_guarded(codec, cfg, guard, room, more, room, &scanned, &f), room, &f, &wanted);
    }
    free(more);
    kit_guard_free(guard, room);
}

void codec_fails(const char *file, int line, const struct codec *codec, const void *cfg, const uint8_t *wire, size_t n,
                 size_t at, int code)
{
    struct wawo_frame f;
    size_t k, scanned, grown = 0;
    uint8_t *guard = kit_guard(n);
    int i, rc;

    for (k = 0; k <= n; k++) {
        if (k < n && !near_an_end(k, n))
            continue;
        scanned = 0;
        for (i = 0; i < 2; i++) {
            rc = cut_guarded(codec, cfg, guard, n, wire, k, i == 0 ? &scanned : &grown, &f);
            if (rc != (k < at ? 0 : code))
                harness_fail(file, line, "%zu bytes: %d, not %d", k, rc, k < at ? 0 : code);
            if (rc == 0 && f.total != 0 && f.total <= k)
                harness_fail(file, line, "%zu bytes: a frame of %zu is not complete", k, f.total);
        }
        if (k >= at)
            break;
    }
    for (k = 0; k < n; k++) { /* in two pieces */
        scanned = 0;
        if (!near_an_end(k, n) || cut_guarded(codec, cfg, guard, n, wire, k, &scanned, &f) < 0)
            continue;
        rc = cut_guarded(codec, cfg, guard, n, wire, n, &scanned, &f);
        if (rc != code)
            harness_fail(file, line, "%zu bytes behind %zu: %d, not %d", n, k, rc, code);
    }
    kit_guard_free(guard, n);
}

static int seal(const struct codec *codec, const void *cfg, const void *data, size_t len, struct wawo_envelope *out)
{
    struct wawo_message m = {data, len, len};

    memset(out, 0xa5, sizeof *out);
    return codec->seal(cfg, &m, out);
}

/* The frame of a message, allocated. */
static uint8_t *send_one(const char *file, int line, const struct codec *codec, const void *cfg, const void *data,
                         size_t len, size_t *n, size_t *head)
{
    struct wawo_envelope e;
    uint8_t *wire;
    int rc = seal(codec, cfg, data, len, &e);

    if (rc != 0)
        harness_fail(file, line, "a message of %zu bytes: %d, not 0", len, rc);
    if (e.head_len > WAWO_ENVELOPE_MAX || e.tail_len > WAWO_ENVELOPE_MAX || (e.tail_len == 0) != (e.tail == NULL))
        harness_fail(file, line, "an envelope of %d and %d bytes", e.head_len, e.tail_len);
    *n = e.head_len + len + e.tail_len;
    *head = e.head_len;
    wire = malloc(*n + 1);
    ASSERT_NOT_NULL(wire);
    memcpy(wire, e.head, e.head_len);
    if (len > 0)
        memcpy(wire + e.head_len, data, len);
    if (e.tail_len > 0)
        memcpy(wire + e.head_len + len, e.tail, e.tail_len);
    return wire;
}

void codec_seals(const char *file, int line, const struct codec *codec, const void *cfg, const void *data, size_t len,
                 const uint8_t *wire, size_t n)
{
    size_t got, head;
    uint8_t *p = send_one(file, line, codec, cfg, data, len, &got, &head);

    if (got != n)
        harness_fail(file, line, "a frame of %zu bytes, not %zu", got, n);
    harness_bytes(file, line, "sent", "wire", p, wire, n);
    free(p);
}

void codec_refuses(const char *file, int line, const struct codec *codec, const void *cfg, const void *data, size_t len,
                   int code)
{
    struct wawo_envelope e;
    int rc = seal(codec, cfg, data, len, &e);

    if (rc != code)
        harness_fail(file, line, "a message of %zu bytes: %d, not %d", len, rc, code);
}

void codec_round(const char *file, int line, const struct codec *codec, const void *cfg, const void *data, size_t len)
{
    size_t n, head;
    uint8_t *wire = send_one(file, line, codec, cfg, data, len, &n, &head);

    codec_cuts(file, line, codec, cfg, wire, n, head, len);
    free(wire);
}

/* All frames of p[0..n), given in two pieces. */
static void cut_all(const char *file, int line, const struct codec *codec, const void *cfg, const uint8_t *p, size_t n,
                    size_t split, const size_t *sizes, size_t count)
{
    size_t at = 0, scanned = 0, i = 0, offset = 0, have = split;
    struct wawo_frame f;
    int rc;

    for (;;) {
        rc = codec->cut(cfg, p + at, have - at, &scanned, &f);
        if (rc < 0)
            harness_fail(file, line, "message %zu, split at %zu: %d", i, split, rc);
        if (rc == 0 && have == n)
            break;
        if (rc == 0) {
            have = n;
            continue;
        }
        if (i == count || f.len != sizes[i] || f.total > have - at)
            harness_fail(file, line, "message %zu, split at %zu: %zu bytes", i, split, f.len);
        kit_check(file, line, p + at + f.skip, f.len, offset);
        offset += f.len;
        at += f.total;
        scanned = 0;
        i++;
    }
    if (i != count || at != n)
        harness_fail(file, line, "split at %zu: %zu messages, %zu of %zu bytes", split, i, at, n);
}

void codec_stream(const char *file, int line, const struct codec *codec, const void *cfg, const size_t *sizes,
                  size_t count)
{
    size_t i, n = 0, one, head, offset = 0;
    uint8_t *wire = NULL, *message, *frame;

    for (i = 0; i < count; i++, n += one) {
        message = malloc(sizes[i] + 1);
        ASSERT_NOT_NULL(message);
        kit_fill(message, sizes[i], offset);
        offset += sizes[i];
        frame = send_one(file, line, codec, cfg, message, sizes[i], &one, &head);
        wire = realloc(wire, n + one + 1);
        ASSERT_NOT_NULL(wire);
        memcpy(wire + n, frame, one);
        free(frame);
        free(message);
    }
    for (i = 0; i <= n; i++)
        cut_all(file, line, codec, cfg, wire, n, i, sizes, count);
    free(wire);
}
