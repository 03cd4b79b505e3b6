/* Reading a file into memory on another thread. */
#include "support/rig.h"

#include "base/alloc.h"
#include "base/err.h"
#include "base/os_file.h"
#include "io/warm.h"

#include <errno.h>

enum { MIB = 1024 * 1024 };

struct answer {
    struct wawo_file *file;
    uint64_t id;
    size_t len;
    int error, count;
};

static void answered(void *arg, uint64_t id, struct wawo_file *file, size_t len, int error)
{
    struct answer *a = arg;

    *a = (struct answer){file, id, len, error, a->count + 1};
}

static void await(struct rig *r, const struct answer *a)
{
    int64_t until = kit_deadline();

    while (a->count == 0) {
        rig_turn(r, WAWO_MSEC);
        ASSERT_LT(wawo_os_now_ns(), until);
    }
}

TEST_EACH_BACKEND(reads_and_answers, backend)
{
    struct rig *r = rig_open(backend, MIB);
    struct wawo_file *f = wawo_file_new(kit_file(0, MIB), 1000, MIB - 1000);
    struct answer a = {0};
    uint64_t before = r->loop.file_reads;

    ASSERT_EQ(wawo_warm_start(&r->loop, 4711, f, 100000, MIB, answered, &a), 0);
    await(r, &a);
    ASSERT_EQ((void *)a.file, (void *)f);
    ASSERT_EQ(a.id, 4711u);
    ASSERT_EQ(a.len, 100000u);
    ASSERT_EQ(a.error, 0);
    ASSERT_EQ(r->loop.file_reads, before + 1);
    ASSERT_EQ(wawo_os_file_cached(f->fd, f->cache, 1000, 100000), f->cache != WAWO_CACHE_UNTOLD);
    wawo_file_drop(f);
    rig_close(r);
    ASSERT_EQ(wawo_file_live(), 0u);
}

TEST_EACH_BACKEND(an_error_is_answered, backend)
{
    struct rig *r = rig_open(backend, MIB);
    struct wawo_file *f = wawo_file_new(os_open_folder(), 0, 100);
    struct answer a = {0};

    ASSERT_EQ(wawo_warm_start(&r->loop, 1, f, 100, 0, answered, &a), 0);
    wawo_file_drop(f); /* it is held by who reads it */
    await(r, &a);
    ASSERT_LT(a.error, 0);
    rig_close(r);
    ASSERT_EQ(wawo_file_live(), 0u);
}

/* Nobody is left to hear it: all is given back. */
TEST_EACH_BACKEND(the_loop_has_ended, backend)
{
    struct rig *r = rig_open(backend, MIB);
    struct wawo_file *f = wawo_file_new(kit_file(0, MIB), 0, MIB);
    struct answer a = {0};

    ASSERT_EQ(wawo_warm_start(&r->loop, 1, f, MIB, 0, answered, &a), 0);
    wawo_file_drop(f);
    rig_close(r);
    ASSERT_EQ(a.count, 0);
    ASSERT_EQ(wawo_file_live(), 0u);
}

TEST_EACH_BACKEND(without_memory_nothing_is_started, backend)
{
    struct rig *r = rig_open(backend, MIB);
    struct wawo_file *f = wawo_file_new(kit_file(0, 1000), 0, 1000);
    struct answer a = {0};
    size_t n;

    for (n = 1; n < 3; n++) {
        wawo_alloc_fail_at(n);
        ASSERT_EQ(wawo_warm_start(&r->loop, 1, f, 1000, 0, answered, &a), WAWO_ENOMEM);
        wawo_alloc_fail_at(0);
        ASSERT_EQ(f->refs, 1u);
    }
    wawo_file_drop(f);
    rig_close(r);
    ASSERT_EQ(a.count, 0);
}
