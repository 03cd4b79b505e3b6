/* The part of a file that is on its way out: one owner of the descriptor. */
#include "support/kit.h"

#include "base/alloc.h"
#include "base/os_file.h"
#include "mem/file.h"

TEST(closed_with_the_last_reference)
{
    int fd = kit_file(0, 100);
    struct wawo_file *f = wawo_file_new(fd, 10, 50);

    ASSERT_EQ(f->offset, 10u);
    ASSERT_EQ(f->left, 50u);
    ASSERT_EQ(wawo_file_live(), 1u);
    wawo_file_hold(f);
    wawo_file_drop(f);
    ASSERT_TRUE(os_file_is_open(fd));
    wawo_file_drop(f);
    ASSERT_FALSE(os_file_is_open(fd));
    ASSERT_EQ(wawo_file_live(), 0u);
}

TEST(without_memory_the_descriptor_stays_open)
{
    int fd = kit_file(0, 100);

    wawo_alloc_fail_at(1);
    ASSERT_NULL((void *)wawo_file_new(fd, 0, 100));
    wawo_alloc_fail_at(0);
    ASSERT_TRUE(os_file_is_open(fd));
    wawo_os_file_close(fd);
}

struct family {
    const bool *kept;
    int files, fds[8];
};

static void close_in_child(void *arg)
{
    const struct family *f = arg;
    int i;

    wawo_file_after_fork();
    for (i = 0; i < f->files; i++)
        if (os_file_is_open(f->fds[i]) && f->kept[i])
            FAIL("%d is open", i);
        else if (!os_file_is_open(f->fds[i]) && !f->kept[i])
            FAIL("%d is closed", i);
    ASSERT_EQ(wawo_file_live(), 0u);
}

/* Whichever are dropped: a child closes those that are left, and no other. */
static void fork_with(const bool kept[], int files)
{
    struct wawo_file *file[8];
    struct family f = {.kept = kept, .files = files};
    int i;

    for (i = 0; i < files; i++) {
        f.fds[i] = kit_file(0, 10);
        file[i] = wawo_file_new(f.fds[i], 0, 10);
    }
    for (i = 0; i < files; i++)
        if (!kept[i])
            wawo_file_drop(file[i]);
    for (i = 0; i < files; i++) /* the numbers go to strangers */
        if (!kept[i])
            ASSERT_EQ(kit_file(0, 10), f.fds[i]);
    ASSERT_EQ(os_fork(close_in_child, &f), 0);
    for (i = 0; i < files; i++) {
        if (kept[i])
            wawo_file_drop(file[i]);
        else
            wawo_os_file_close(f.fds[i]);
    }
}

TEST(child_closes_those_that_are_open)
{
    bool kept[5];
    unsigned set, i;

    for (set = 0; set < 32; set++) {
        for (i = 0; i < 5; i++)
            kept[i] = (set >> i & 1u) != 0;
        fork_with(kept, 5);
    }
}
