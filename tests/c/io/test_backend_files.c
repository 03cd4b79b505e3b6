/* The conformance suite of the completion table, files: they go out in their place, a bounded part of them a turn, and
 * no disk is ever waited for. */
#include "support/expected.h"
#include "support/rig.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/os_file.h"

#include <errno.h>

enum { MIB = 1024 * 1024, POOL = 8 * MIB };

/* One connection whose peer reads and checks. */
struct flow {
    struct wawo_sock s;
    int fd;
    uint64_t sent, freed, read;
};

static void flow_open(struct rig *r, struct flow *f)
{
    int fds[2];

    kit_pair(fds);
    memset(f, 0, sizeof *f);
    rig_attach(r, &f->s, fds[0]);
    f->fd = fds[1];
}

static void flow_close(struct rig *r, struct flow *f)
{
    rig_detach(r, &f->s, false);
    kit_close(f->fd);
}

static void flow_send(struct rig *r, struct flow *f)
{
    size_t before = f->s.out.bytes;
    ptrdiff_t n = r->ops->send(r->backend, &f->s);

    ASSERT_GE(n, 0);
    f->sent += (uint64_t)n;
    f->freed += before - f->s.out.bytes;
}

static void flow_take(struct rig *r, struct flow *f)
{
    struct wawo_done d;

    while (rig_has(r, &f->s)) {
        d = rig_next(r, &f->s, WAWO_DONE_SENT);
        ASSERT_EQ(d.error, 0);
        ASSERT_GT(d.len, 0u);
        f->sent += d.len;
        f->freed += d.freed;
    }
}

static void flow_read(struct flow *f)
{
    static uint8_t block[65536];
    ptrdiff_t n;

    while ((n = os_recv_now(f->fd, block, sizeof block)) > 0) {
        KIT_CHECK(block, (size_t)n, f->read);
        f->read += (uint64_t)n;
    }
}

/* Until the peer has read `total` bytes in all. */
static void flow_run(struct rig *r, struct flow *f, uint64_t total)
{
    int64_t until = kit_deadline();

    flow_send(r, f);
    while (f->read < total || f->sent < total) {
        rig_turn(r, 10 * WAWO_MSEC);
        flow_take(r, f);
        flow_read(f);
        ASSERT_LT(wawo_os_now_ns(), until);
    }
    ASSERT_EQ(f->sent, total);
    ASSERT_NULL((void *)f->s.out.head);
    rig_quiet(r, &f->s);
}

TEST_EACH_BACKEND(a_file_between_bytes, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct flow f;
    size_t queued;

    flow_open(r, &f);
    rig_queue(r, &f.s, 0, 1000);
    rig_queue_file(r, &f.s, 1000, 50000);
    rig_queue(r, &f.s, 51000, 10);
    rig_queue_file(r, &f.s, 51010, 1);
    rig_queue_file(r, &f.s, 51011, 89);
    rig_queue(r, &f.s, 51100, 900);
    queued = f.s.out.bytes;
    ASSERT_EQ(queued, 1910u + 3 * WAWO_FILE_WEIGHT);
    flow_send(r, &f);
    if (!expected_to_leave_files(backend)) { /* all at once: there is room for it */
        ASSERT_EQ(f.sent, 52000u);
        ASSERT_EQ(wawo_file_live(), 0u);
    }
    flow_run(r, &f, 52000);
    ASSERT_EQ(f.freed, queued);
    flow_close(r, &f);
    rig_close(r);
}

/* More than the kernel takes at once: goes on as it makes room, in bounded parts. */
TEST_EACH_BACKEND(a_large_file_goes_bit_by_bit, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct flow f;

    flow_open(r, &f);
    rig_queue(r, &f.s, 0, 500);
    rig_queue_file(r, &f.s, 500, 24 * MIB);
    rig_queue(r, &f.s, 24 * MIB + 500, 500);
    flow_send(r, &f);
    ASSERT_GE(f.sent, expected_to_leave_files(backend) ? 500u : 501u);
    ASSERT_LE(f.sent, 1u * MIB);
    flow_send(r, &f);
    ASSERT_LE(f.sent, 1u * MIB); /* the same turn gives no more */
    flow_run(r, &f, 24 * MIB + 1000);
    ASSERT_EQ(f.freed, 1000u + WAWO_FILE_WEIGHT);
    flow_close(r, &f);
    rig_close(r);
}

/* All get their share of each turn, however many there are. */
TEST_EACH_BACKEND(files_share_the_turn, backend)
{
    enum { MANY = 20 };
    struct rig *r = rig_open(backend, POOL);
    static struct flow f[MANY];
    /* What the system reads was asked for before it was known that there are others. */
    const uint64_t share = (expected_to_leave_files(backend) ? 256 : 128) * 1024;
    unsigned i, turn;
    uint64_t before;

    for (i = 0; i < MANY; i++) {
        flow_open(r, &f[i]);
        rig_queue_file(r, &f[i].s, 0, MIB);
        flow_send(r, &f[i]);
    }
    for (turn = 0; turn < 5; turn++) {
        rig_turn(r, 0);
        for (i = 0; i < MANY; i++) {
            before = f[i].sent;
            flow_take(r, &f[i]);
            ASSERT_LE(f[i].sent - before, share);
            flow_read(&f[i]);
        }
    }
    for (i = 0; i < MANY; i++)
        flow_run(r, &f[i], MIB);
    for (i = 0; i < MANY; i++)
        flow_close(r, &f[i]);
    rig_close(r);
}

TEST_EACH_BACKEND(a_file_that_shrank, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_file *file;
    struct wawo_done d;
    struct flow f;

    flow_open(r, &f);
    rig_queue(r, &f.s, 0, 100);
    file = rig_queue_file(r, &f.s, 100, 20000);
    os_file_truncate(file->fd, 10005);
    flow_send(r, &f);
    for (;;) { /* what there was, then the error */
        d = rig_next(r, &f.s, WAWO_DONE_SENT);
        if (d.error != 0)
            break;
        f.sent += d.len;
    }
    ASSERT_EQ(d.error, WAWO_EIO);
    ASSERT_EQ(f.sent, 10100u);
    rig_quiet(r, &f.s);
    flow_read(&f);
    ASSERT_EQ(f.read, 10100u);
    flow_close(r, &f);
    ASSERT_EQ(wawo_file_live(), 0u);
    rig_close(r);
}

TEST_EACH_BACKEND(detach_closes_the_files, backend)
{
    struct rig *r = rig_open(backend, POOL);
    unsigned before = kit_open_fds();
    struct flow f;

    flow_open(r, &f);
    rig_queue_file(r, &f.s, 0, 16 * MIB);
    rig_queue_file(r, &f.s, 16 * MIB, 100);
    flow_send(r, &f);
    ASSERT_EQ(wawo_file_live(), 2u);
    flow_close(r, &f);
    ASSERT_EQ(wawo_file_live(), 0u);
    ASSERT_EQ(kit_open_fds(), before);
    rig_close(r);
}

TEST_EACH_BACKEND(the_peer_resets_in_a_file, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct wawo_done d;
    struct flow f;

    os_block_pipe_signal(); /* as the loops have it */
    flow_open(r, &f);
    rig_queue_file(r, &f.s, 0, 24 * MIB);
    flow_send(r, &f);
    kit_reset(f.fd);
    do
        d = rig_next(r, &f.s, WAWO_DONE_SENT);
    while (d.error == 0);
    if (d.error != -EPIPE)
        ASSERT_EQ(d.error, WAWO_ERESET);
    rig_quiet(r, &f.s);
    rig_detach(r, &f.s, false);
    rig_close(r);
}

/* ---- cold files: the answers of the system are the test's ---- */

static uint64_t warm;                          /* what is in memory, from the start of the file on; atomic */
static uint32_t asked, loads, gate_shut, busy; /* atomic */
static int load_answer;

static bool pretend_cached(uint64_t offset, size_t len)
{
    wawo_add(&asked, 1);
    return offset + len <= wawo_load(&warm);
}

static int pretend_load(uint64_t offset, size_t len)
{
    uint64_t end = offset + len;

    wawo_add(&loads, 1);
    wawo_add(&busy, 1);
    KIT_UNTIL(wawo_load(&gate_shut) == 0);
    wawo_sub(&busy, 1);
    if (wawo_load(&warm) < end)
        wawo_store(&warm, end);
    return load_answer;
}

static void pretend(const char *backend, uint64_t warm_bytes, bool shut)
{
    if (expected_to_leave_files(backend))
        SKIP("with %s the system reads the files", backend);
    wawo_store(&warm, warm_bytes);
    wawo_store(&gate_shut, shut ? 1 : 0);
    wawo_store(&loads, 0);
    wawo_store(&asked, 0);
    load_answer = 0;
    wawo_os_file_pretend(pretend_cached, pretend_load);
}

TEST_EACH_BACKEND(a_cold_file_is_read_elsewhere, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct flow f;

    pretend(backend, 0, false);
    flow_open(r, &f);
    rig_queue(r, &f.s, 0, 100);
    rig_queue_file(r, &f.s, 100, 5 * MIB);
    rig_queue(r, &f.s, 5 * MIB + 100, 100);
    flow_run(r, &f, 5 * MIB + 200);
    ASSERT_GT(wawo_load(&loads), 1u);
    ASSERT_LE(wawo_load(&loads), 5u * MIB / (512 * 1024) + 1);
    flow_close(r, &f);
    rig_close(r);
}

/* Warm up to some point: so much of it goes without a detour. */
TEST_EACH_BACKEND(a_file_that_is_half_warm, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct flow f;

    pretend(backend, 400 * 1024, true);
    flow_open(r, &f);
    rig_queue_file(r, &f.s, 0, 700 * 1024);
    flow_send(r, &f);
    while (wawo_load(&busy) == 0) {
        rig_turn(r, WAWO_MSEC);
        flow_take(r, &f);
        flow_read(&f);
    }
    ASSERT_GT(f.sent, 0u);
    ASSERT_LE(f.sent, 400u * 1024);
    wawo_store(&gate_shut, 0);
    flow_run(r, &f, 700 * 1024);
    ASSERT_EQ(wawo_load(&loads), 1u);
    flow_close(r, &f);
    rig_close(r);
}

/* While it is read: the sock is silent, wait() sleeps, other socks and this one's input are served. */
TEST_EACH_BACKEND(others_go_on_while_a_file_is_read, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct flow f, other;
    int64_t start;

    pretend(backend, 0, true);
    flow_open(r, &f);
    flow_open(r, &other);
    rig_queue(r, &f.s, 0, 100);
    rig_queue_file(r, &f.s, 100, 300000);
    flow_send(r, &f);
    ASSERT_EQ(f.sent, 100u);
    rig_queue(r, &f.s, 300100, 100);
    flow_send(r, &f); /* behind the file */
    ASSERT_EQ(f.sent, 100u);
    KIT_UNTIL(wawo_load(&busy) == 1);
    start = wawo_os_now_ns();
    rig_turn(r, 50 * WAWO_MSEC);
    ASSERT_GE(wawo_os_now_ns() - start, 50 * WAWO_MSEC);
    rig_queue(r, &other.s, 0, 1000);
    flow_run(r, &other, 1000);
    r->ops->recv_start(r->backend, &f.s);
    kit_write_pattern(f.fd, 0, 10);
    rig_receive(r, &f.s, 0, 10);
    r->ops->recv_stop(r->backend, &f.s);
    ASSERT_EQ(wawo_load(&loads), 1u);
    wawo_store(&gate_shut, 0);
    flow_run(r, &f, 300200);
    flow_close(r, &f);
    flow_close(r, &other);
    rig_close(r);
}

/* The sock goes at once; the file is closed when its reader is done. */
TEST_EACH_BACKEND(detach_while_a_file_is_read, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct flow f, fresh;

    pretend(backend, 0, true);
    flow_open(r, &f);
    rig_queue_file(r, &f.s, 0, 300000);
    flow_send(r, &f);
    KIT_UNTIL(wawo_load(&busy) == 1);
    flow_close(r, &f);
    ASSERT_EQ(wawo_file_live(), 1u);
    flow_open(r, &fresh); /* the same slot, another id */
    rig_queue(r, &fresh.s, 0, 1000);
    wawo_store(&gate_shut, 0);
    while (wawo_file_live() > 0)
        rig_turn(r, WAWO_MSEC);
    flow_run(r, &fresh, 1000);
    flow_close(r, &fresh);
    rig_close(r);
}

/* The answer comes when nobody is there to hear it. */
TEST_EACH_BACKEND(the_end_while_a_file_is_read, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct flow f;

    pretend(backend, 0, true);
    flow_open(r, &f);
    rig_queue_file(r, &f.s, 0, 300000);
    flow_send(r, &f);
    KIT_UNTIL(wawo_load(&busy) == 1);
    flow_close(r, &f);
    wawo_store(&gate_shut, 0);
    rig_close(r);
    ASSERT_EQ(wawo_file_live(), 0u);
}

TEST_EACH_BACKEND(a_file_that_cannot_be_read, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct flow f;

    pretend(backend, 0, false);
    load_answer = -ENXIO;
    flow_open(r, &f);
    rig_queue_file(r, &f.s, 0, 300000);
    flow_send(r, &f);
    ASSERT_EQ(rig_next(r, &f.s, WAWO_DONE_SENT).error, -ENXIO);
    rig_quiet(r, &f.s);
    flow_close(r, &f);
    rig_close(r);
}

TEST_EACH_BACKEND(no_memory_to_read_a_file, backend)
{
    struct rig *r = rig_open(backend, POOL);
    struct flow f;
    size_t n;

    for (n = 1; n < 3; n++) { /* for the job, and for a thread of the pool */
        pretend(backend, 0, false);
        flow_open(r, &f);
        rig_queue_file(r, &f.s, 0, 300000);
        wawo_alloc_fail_at(n);
        ASSERT_EQ(r->ops->send(r->backend, &f.s), WAWO_ENOMEM);
        wawo_alloc_fail_at(0);
        flow_close(r, &f);
        ASSERT_EQ(wawo_file_live(), 0u);
    }
    rig_close(r);
}

/* Many cold files share the pool: one that is large does not keep the others waiting. */
TEST_EACH_BACKEND(cold_files_take_turns, backend)
{
    enum { MANY = 12 };
    struct rig *r = rig_open(backend, POOL);
    static struct flow f[MANY];
    int64_t until = kit_deadline();
    unsigned i, left = MANY - 1;

    pretend(backend, 0, false);
    for (i = 0; i < MANY; i++) {
        flow_open(r, &f[i]);
        rig_queue_file(r, &f[i].s, 0, i == 0 ? 32 * MIB : 100000);
        flow_send(r, &f[i]);
    }
    while (left > 0) {
        wawo_store(&warm, 0); /* never in memory for long */
        rig_turn(r, WAWO_MSEC);
        for (left = MANY - 1, i = 0; i < MANY; i++) {
            flow_take(r, &f[i]);
            flow_read(&f[i]);
            left -= i > 0 && f[i].read == 100000;
        }
        ASSERT_LT(wawo_os_now_ns(), until);
    }
    ASSERT_LT(f[0].read, 32u * MIB);
    for (i = 0; i < MANY; i++)
        flow_close(r, &f[i]);
    rig_close(r);
}
