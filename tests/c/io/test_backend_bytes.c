/* The conformance suite of the completion table, third part: bytes that are sent without a ring. */
#include "support/rig.h"

#include "base/err.h"

enum { MIB = 1024 * 1024, PIECE = 16 * 1024 };

/* As much as the kernel takes, from a buffer that is used again at once; returns how much that was. */
static size_t fill(struct rig *r, struct wawo_sock *s)
{
    static uint8_t bytes[PIECE];
    size_t total = 0;
    ptrdiff_t n;

    do {
        kit_fill(bytes, sizeof bytes, total);
        n = r->ops->send_bytes(r->backend, s, bytes, sizeof bytes);
        ASSERT_TRUE(n >= 0 && n <= PIECE);
        total += (size_t)n;
        memset(bytes, 0, sizeof bytes);
    } while (n == PIECE);
    ASSERT_TRUE(s->out.head == NULL);
    return total;
}

/* What it took is not told of again, and what follows in the ring stands behind it. */
TEST_EACH_BACKEND(send_bytes, backend)
{
    struct rig *r = rig_open(backend, 32 * MIB);
    struct wawo_sock s;
    size_t total, sent, n;
    int fds[2];

    kit_pair(fds);
    rig_attach(r, &s, fds[0]);
    if (r->ops->send_bytes != NULL) {
        total = fill(r, &s);
        ASSERT_GT(total, PIECE);
        rig_quiet(r, &s);
        rig_queue(r, &s, total, PIECE);
        sent = total + (size_t)r->ops->send(r->backend, &s);
        kit_read_pattern(fds[1], 0, sent);
        for (; sent < total + PIECE; sent += n) {
            n = rig_next(r, &s, WAWO_DONE_SENT).len;
            kit_read_pattern(fds[1], sent, n);
        }
        kit_reset(fds[1]);
        while (r->ops->send_bytes(r->backend, &s, "x", 1) >= 0)
            rig_turn(r, 0);
    } else {
        kit_close(fds[1]);
    }
    rig_detach(r, &s, true);
    rig_close(r);
}
