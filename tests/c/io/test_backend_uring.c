/* What is io_uring's own: buffers that are lent in advance, with and without packing; ends that it tells of only once; and
 * kernels that refuse it. What every backend promises is in test_backend.c. */
#include "support/expected.h"
#include "support/rig.h"

#include "base/err.h"
#include "io/backend_uring.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

enum { MIB = 1024 * 1024 };

static struct rig *open_rig(size_t pool_bytes)
{
    const char *excuse = expected_excuse("uring");

    if (excuse != NULL)
        SKIP("%s", excuse);
    return rig_open("uring", pool_bytes);
}

/* Small reads and large ones, from many socks, more than all buffers hold. */
static void receive_much(struct rig *r, size_t large)
{
    enum { MANY = 40 };
    static struct wawo_sock s[MANY];
    static int fds[MANY];
    int i, round;

    for (i = 0; i < MANY; i++) {
        fds[i] = rig_pair(r, &s[i]);
        r->ops->recv_start(r->backend, &s[i]);
    }
    for (round = 0; round < 20; round++) {
        for (i = 0; i < MANY; i++)
            kit_write_pattern(fds[i], (uint64_t)round * 50, 50);
        for (i = 0; i < MANY; i++)
            rig_receive(r, &s[i], (uint64_t)round * 50, 50);
    }
    for (i = 0; i < MANY; i++) {
        kit_write_pattern(fds[i], 1000, large);
        kit_shutdown(fds[i]);
    }
    for (i = MANY; i-- > 0;) {
        rig_receive(r, &s[i], 1000, large);
        ASSERT_EQ(rig_next(r, &s[i], WAWO_DONE_RECV).len, 0u);
    }
    for (i = 0; i < MANY; i++) {
        rig_detach(r, &s[i], false);
        kit_close(fds[i]);
    }
}

TEST(much_is_received_with_few_buffers)
{
    struct rig *r = open_rig(16 * MIB);

    receive_much(r, 300000);
    ASSERT_LE(wawo_chunk_live(), 16u);
    rig_close(r);
}

TEST(much_is_received_without_packing)
{
    struct rig *r;

    wawo_uring_buffers_pretend(true);
    r = open_rig(16 * MIB);
    receive_much(r, 300000);
    rig_close(r);
}

TEST(a_small_pool_with_and_without_packing)
{
    int unpacked;

    for (unpacked = 0; unpacked < 2; unpacked++) {
        struct rig *r;

        wawo_uring_buffers_pretend(unpacked != 0);
        r = open_rig(0); /* eight chunks, and the rig holds what it has not looked at */
        receive_much(r, 3000);
        ASSERT_LE(wawo_chunk_live(), 1u);
        rig_close(r);
    }
}

TEST(nobody_receives_and_nothing_is_lent)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s;
    int fd = rig_pair(r, &s);

    rig_queue(r, &s, 0, 100);
    ASSERT_EQ(r->ops->send(r->backend, &s), 100);
    rig_turn(r, 0);
    wawo_heap_rewind(&r->heap);
    ASSERT_EQ(wawo_chunk_live(), 1u); /* what is sent was copied there */
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* Bytes and a reset that come together: a standing receive would tell of the bytes alone. */
TEST(bytes_and_a_reset_at_once)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s;
    int armed, fd;

    for (armed = 0; armed < 2; armed++) {
        fd = rig_pair(r, &s);
        if (armed) {
            r->ops->recv_start(r->backend, &s);
            rig_turn(r, 0);
        }
        kit_write_pattern(fd, 0, 1000);
        kit_reset(fd);
        r->ops->recv_start(r->backend, &s);
        rig_receive(r, &s, 0, 1000);
        ASSERT_EQ(rig_next(r, &s, WAWO_DONE_RECV).error, WAWO_ERESET);
        rig_quiet(r, &s);
        rig_detach(r, &s, false);
    }
    rig_close(r);
}

/* From here on the kernel answers that call with this error, for this test's process. */
static void forbid(unsigned call, unsigned error)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = rules};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        SKIP("no seccomp here: %d", errno);
}

/* Whether somebody has met its end could not be asked: then everybody may have. */
TEST(an_end_is_met_where_looking_fails)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s, other;
    int fd = rig_pair(r, &s), quiet = rig_pair(r, &other);

    r->ops->recv_start(r->backend, &other);
    kit_write_pattern(quiet, 0, 10);
    rig_receive(r, &other, 0, 10);
#ifdef SYS_poll
    forbid(SYS_poll, ENOMEM);
#endif
    forbid(SYS_ppoll, ENOMEM);
    kit_write_pattern(fd, 0, 1000);
    kit_reset(fd);
    r->ops->recv_start(r->backend, &s);
    rig_receive(r, &s, 0, 1000);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_RECV).error, WAWO_ERESET);
    kit_write_pattern(quiet, 10, 1000);
    rig_receive(r, &other, 10, 1000);
    rig_detach(r, &s, false);
    rig_detach(r, &other, false);
    kit_close(quiet);
    rig_close(r);
}

TEST(bytes_and_the_end_at_once)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s;
    int family, armed, fd;

    for (family = 0; family < 2; family++)
        for (armed = 0; armed < 2; armed++) {
            fd = family == 0 ? rig_pair(r, &s) : rig_pair_unix(r, &s);
            if (armed) {
                r->ops->recv_start(r->backend, &s);
                rig_turn(r, 0);
            }
            kit_write_pattern(fd, 0, 1000);
            kit_close(fd);
            r->ops->recv_start(r->backend, &s);
            rig_receive(r, &s, 0, 1000);
            ASSERT_EQ(rig_next(r, &s, WAWO_DONE_RECV).len, 0u);
            rig_quiet(r, &s);
            rig_detach(r, &s, false);
        }
    rig_close(r);
}

/* A read of a sock whose owner limits it takes no more, and stands alone. */
TEST(limited_reads)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s;
    struct wawo_done d;
    size_t got = 0;
    int fd = rig_pair(r, &s);

    s.aux = 10;
    kit_write_pattern(fd, 0, 10000);
    r->ops->recv_start(r->backend, &s);
    while (got < 10000) {
        d = rig_next(r, &s, WAWO_DONE_RECV);
        ASSERT_EQ(d.error, 0);
        ASSERT_LE(d.len, 1024u);
        KIT_CHECK(d.ptr, d.len, got);
        got += d.len;
        wawo_chunk_drop(d.chunk);
    }
    kit_shutdown(fd);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_RECV).len, 0u);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

static bool is_full(size_t i)
{
    return i % 60 == 7;
}

/* More than may be under way at a time, to socks that take it and to some that are full. */
TEST(more_sends_than_there_is_room_for)
{
    enum { MANY = 600 };
    static struct wawo_sock s[MANY];
    static int fds[MANY];
    struct rig *r = open_rig(16 * MIB);
    bool soon[MANY];
    size_t sent[MANY], i;
    ptrdiff_t n;

    for (i = 0; i < MANY; i++) {
        fds[i] = rig_pair(r, &s[i]);
        sent[i] = is_full(i) ? kit_write_full(s[i].fd) : 0;
    }
    for (i = 0; i < MANY; i++) {
        rig_queue(r, &s[i], sent[i], 50);
        n = r->ops->send_soon(r->backend, &s[i]);
        ASSERT_TRUE(n == 50 || (n == 0 && is_full(i)));
        soon[i] = n == 50;
        sent[i] += 50;
    }
    rig_turn(r, 0);
    for (i = 0; i < MANY; i++) {
        size_t waits = s[i].out.bytes; /* there may be room again where it was full */

        ASSERT_TRUE(waits == 0 || (waits == 50 && is_full(i)));
        if (waits > 0 && soon[i])
            ASSERT_EQ(rig_next(r, &s[i], WAWO_DONE_BACK).len, 50u);
        kit_read_pattern(fds[i], 0, sent[i] - waits);
        if (waits > 0)
            ASSERT_EQ(rig_next(r, &s[i], WAWO_DONE_SENT).len, 50u);
        kit_read_pattern(fds[i], sent[i] - waits, waits);
        rig_detach(r, &s[i], false);
        kit_close(fds[i]);
    }
    rig_close(r);
}

/* The FIN waits for what the kernel did not take. */
TEST(a_fin_behind_what_did_not_go)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s;
    size_t total;
    int fd = rig_pair_unix(r, &s); /* its buffer stays full: that of TCP may grow meanwhile */

    rig_turn(r, 0);
    total = kit_write_full(s.fd);
    rig_queue(r, &s, total, 100);
    ASSERT_EQ(r->ops->send_soon(r->backend, &s), 100);
    r->ops->shutdown(r->backend, &s);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_BACK).len, 100u);
    kit_read_pattern(fd, 0, total);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_SENT).len, 100u);
    kit_read_pattern(fd, total, 100);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* Nobody is told of it after the end, for he did not ask before. */
TEST(detached_with_what_finds_no_room)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s;
    size_t total;
    int reset, fd;

    for (reset = 0; reset < 2; reset++) {
        fd = rig_pair_unix(r, &s);
        rig_turn(r, 0);
        total = kit_write_full(s.fd);
        rig_queue(r, &s, total, 100);
        ASSERT_EQ(r->ops->send_soon(r->backend, &s), 100);
        rig_detach(r, &s, reset != 0); /* looks for an error */
        kit_read_pattern(fd, 0, total);
        ASSERT_EQ(kit_read_end(fd, NULL), 0);
        kit_close(fd);
    }
    rig_close(r);
}

/* Where the kernel takes no requests now, nobody may believe that what was sent soon has gone: he would close. */
TEST(not_known_whether_it_went)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s;
    size_t total;
    int full, enter_fd, fd;

    for (full = 0; full < 2; full++) {
        fd = rig_pair_unix(r, &s);
        rig_turn(r, 0);
        total = full ? kit_write_full(s.fd) : 0;
        rig_queue(r, &s, total, 100);
        ASSERT_EQ(r->ops->send_soon(r->backend, &s), 100);
        enter_fd = r->backend->ring.enter_fd;
        r->backend->ring.enter_fd = -1;
        ASSERT_EQ(r->ops->send(r->backend, &s), WAWO_AGAIN);
        r->backend->ring.enter_fd = enter_fd;
        if (full) {
            ASSERT_EQ(rig_next(r, &s, WAWO_DONE_BACK).len, 100u);
            ASSERT_EQ(s.out.bytes, 100u);
        }
        kit_read_pattern(fd, 0, total);
        ASSERT_EQ(rig_next(r, &s, WAWO_DONE_SENT).len, full ? 100u : 0u);
        kit_read_pattern(fd, total, 100);
        ASSERT_EQ(r->ops->send(r->backend, &s), 0);
        rig_quiet(r, &s);
        rig_detach(r, &s, false);
        kit_close(fd);
    }
    rig_close(r);
}

/* The same where a loan of no bytes is all that is left: it is no reason to believe that. */
TEST(not_known_behind_a_loan_of_no_bytes)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s;
    int enter_fd, lent, fd = rig_pair_unix(r, &s);

    rig_turn(r, 0);
    rig_queue(r, &s, 0, 100);
    ASSERT_EQ(r->ops->send_soon(r->backend, &s), 100);
    ASSERT_EQ(wawo_ring_append(&s.out, &r->heap, (const void *)"", 0, NULL, &lent), 0);
    enter_fd = r->backend->ring.enter_fd;
    r->backend->ring.enter_fd = -1;
    ASSERT_EQ(r->ops->send(r->backend, &s), WAWO_AGAIN);
    ASSERT_TRUE(s.out.head == NULL);
    ASSERT_TRUE(wawo_heap_next_loan(&r->heap) == &lent);
    r->backend->ring.enter_fd = enter_fd;
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_SENT).len, 0u);
    kit_read_pattern(fd, 0, 100);
    rig_quiet(r, &s);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

/* Who waits to hear that all went hears it also where nothing more would go now. */
TEST(known_to_have_gone_into_a_full_kernel)
{
    struct rig *r = open_rig(MIB);
    struct wawo_sock s;
    int enter_fd, fd = rig_pair_unix(r, &s);
    size_t total, room;

    rig_turn(r, 0);
    total = kit_write_full(s.fd);
    room = total / 2; /* enough for what is sent, and too little to be told of */
    kit_read_pattern(fd, 0, room);
    rig_queue(r, &s, total, 100);
    ASSERT_EQ(r->ops->send_soon(r->backend, &s), 100);
    enter_fd = r->backend->ring.enter_fd;
    r->backend->ring.enter_fd = -1;
    ASSERT_EQ(r->ops->send(r->backend, &s), WAWO_AGAIN);
    r->ops->shutdown(r->backend, &s);
    r->backend->ring.enter_fd = enter_fd;
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_SENT).len, 0u);
    rig_quiet(r, &s);
    kit_read_pattern(fd, room, total + 100 - room);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    rig_detach(r, &s, false);
    kit_close(fd);
    rig_close(r);
}

static void expect_refusal(unsigned error, const char *word)
{
    const char *why = NULL;
    int err = 0;

    if (expected_excuse("uring") != NULL)
        SKIP("it is refused anyhow");
    forbid(URING_SYS_SETUP, error);
    ASSERT_NOT_NULL(expected_excuse("uring"));
    ASSERT_EQ(wawo_backend_uring.probe(&wawo_backend_uring, &why), -(int)error);
    ASSERT_NOT_NULL(why);
    if (strstr(why, word) == NULL)
        FAIL("\"%s\" does not speak of %s", why, word);
    ASSERT_NULL((const void *)wawo_backend_choose("uring", &err));
    ASSERT_EQ(err, -(int)error);
    ASSERT_NOT_NULL((const void *)wawo_backend_choose(NULL, &err)); /* others are there */
}

TEST(refused_by_seccomp)
{
    expect_refusal(EPERM, "seccomp");
}

TEST(hidden_by_seccomp)
{
    expect_refusal(ENOSYS, "seccomp");
}

TEST(an_old_kernel)
{
    expect_refusal(EINVAL, "too old");
}

/* It is never the best of its own accord. */
TEST(only_on_request)
{
    int err;

    ASSERT_TRUE(wawo_backend_uring.on_request);
    ASSERT_STREQ(wawo_backend_choose(NULL, &err)->name, "epoll");
}
