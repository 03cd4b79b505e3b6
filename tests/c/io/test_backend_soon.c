/* send_soon over each backend: what may go out with the next wait, and what then does not. */
#include "support/rig.h"

#include "base/err.h"

#include <errno.h>

enum { MIB = 1024 * 1024, POOL = 8 * MIB };

/* By how much the events of a turn mend what is known to have gone. */
static size_t told_of(struct rig *r, struct wawo_sock *s)
{
    struct wawo_done d;
    size_t more = 0;

    rig_turn(r, 0);
    while (rig_has(r, s)) {
        d = rig_next(r, s, (enum wawo_done_kind)r->pending[0].kind);
        ASSERT_TRUE(d.kind == WAWO_DONE_SENT || d.kind == WAWO_DONE_BACK);
        ASSERT_EQ(d.error, 0);
        more += d.kind == WAWO_DONE_BACK ? 0 - d.len : d.len;
    }
    return more;
}

/* In no hurry: at once or with the next waits, in order with what is sent in a hurry, and what did not go is told. */
TEST_EACH_BACKEND(send_soon, backend)
{
    struct rig *r = rig_open(backend, 32 * MIB);
    size_t total = 0, sent = 0, read = 0, n;
    struct wawo_sock s;
    int i, fd = rig_pair(r, &s);

    for (i = 0; i < 300; i++) {
        n = i % 7 == 0 ? 200000 : (size_t)i;
        rig_queue(r, &s, total, n);
        total += n;
        sent += s.out.head == NULL ? 0 : (size_t)(i % 5 == 0 ? r->ops->send : r->ops->send_soon)(r->backend, &s);
        if (i % 3 == 0)
            sent += told_of(r, &s);
        ASSERT_EQ(s.out.bytes, total - sent);
        if (i % 51 == 0) {
            kit_read_pattern(fd, read, sent - read);
            read = sent;
        }
    }
    while (read < total) {
        sent += told_of(r, &s);
        ASSERT_EQ(s.out.bytes, total - sent);
        kit_read_pattern(fd, read, sent - read);
        read = sent;
        if (s.out.head != NULL)
            sent += (size_t)r->ops->send_soon(r->backend, &s);
    }
    rig_quiet(r, &s);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* Where there is no room, or too little: all of it goes in the end, in order. */
TEST_EACH_BACKEND(send_soon_to_a_full_kernel, backend)
{
    static const size_t sizes[] = {1, 1000, 60000};
    struct rig *r = rig_open(backend, POOL);
    size_t i, total, sent, read;
    struct wawo_sock s;
    int fd;

    for (i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        fd = rig_pair(r, &s);
        total = kit_write_full(s.fd);
        read = sizes[i] > 1000 ? total / 2 : 0; /* makes some room */
        kit_read_pattern(fd, 0, read);
        sent = total;
        while (s.out.head == NULL) {
            rig_queue(r, &s, total, sizes[i]);
            total += sizes[i];
            sent += (size_t)r->ops->send_soon(r->backend, &s);
            sent += told_of(r, &s);
            ASSERT_EQ(s.out.bytes, total - sent);
        }
        rig_queue(r, &s, total, 100);
        total += 100;
        ASSERT_EQ(r->ops->send_soon(r->backend, &s), 0);
        while (read < total) {
            kit_read_pattern(fd, read, sent - read);
            read = sent;
            sent += told_of(r, &s);
            ASSERT_EQ(s.out.bytes, total - sent);
        }
        rig_quiet(r, &s);
        rig_detach(r, &s, false);
        kit_close(fd);
    }
    rig_close(r);
}

/* What was sent soon goes before whatever follows it within the turn: more bytes at once, the FIN, the close. */
TEST_EACH_BACKEND(send_soon_goes_first, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    int what, fd;

    rig_turn(r, 0);
    for (what = 0; what < 3; what++) {
        fd = rig_pair(r, &s);
        rig_queue(r, &s, 0, 1000);
        ASSERT_EQ(r->ops->send_soon(r->backend, &s), 1000);
        rig_queue(r, &s, 1000, 500);
        ASSERT_EQ(what == 0 ? r->ops->send(r->backend, &s) : r->ops->send_soon(r->backend, &s), 500);
        if (what == 1)
            r->ops->shutdown(r->backend, &s);
        if (what < 2)
            kit_read_pattern(fd, 0, 1500); /* without a wait */
        if (what == 1)
            ASSERT_EQ(kit_read_end(fd, NULL), 0);
        rig_detach(r, &s, false);
        if (what == 2)
            kit_read_pattern(fd, 0, 1500);
        if (what != 1)
            ASSERT_EQ(kit_read_end(fd, NULL), 0);
        kit_close(fd);
    }
    rig_close(r);
}

TEST_EACH_BACKEND(send_soon_and_the_end, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_sock s;
    int reset, fd;

    for (reset = 0; reset < 2; reset++) {
        fd = rig_pair(r, &s);
        rig_queue(r, &s, 0, 100);
        ASSERT_GE(r->ops->send_soon(r->backend, &s), 0);
        rig_detach(r, &s, reset != 0);
        kit_close(fd);
    }
    fd = rig_pair(r, &s);
    kit_reset(fd);
    rig_turn(r, 0);
    for (;;) {
        ptrdiff_t n;

        wawo_ring_clear(&s.out, &r->heap);
        rig_queue(r, &s, 0, 100);
        n = r->ops->send_soon(r->backend, &s);
        rig_turn(r, 0);
        if (n >= 0 && rig_has(r, &s))
            n = rig_next(r, &s, WAWO_DONE_BACK).error;
        if (n < 0) {
            ASSERT_TRUE(n == -EPIPE || n == WAWO_ERESET);
            break;
        }
    }
    rig_detach(r, &s, false);
    rig_close(r);
}
