/* The part of a file that is on its way out: one owner of the descriptor. */
#include "support/kit.h"

#include "base/alloc.h"
#include "mem/file.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

TEST(closed_with_the_last_reference)
{
    int fd = kit_file(0, 100);
    struct wawo_file *f = wawo_file_new(fd, 10, 50);

    ASSERT_EQ(f->offset, 10u);
    ASSERT_EQ(f->left, 50u);
    ASSERT_EQ(wawo_file_live(), 1u);
    wawo_file_hold(f);
    wawo_file_drop(f);
    ASSERT_TRUE(is_open(fd));
    wawo_file_drop(f);
    ASSERT_FALSE(is_open(fd));
    ASSERT_EQ(wawo_file_live(), 0u);
}

TEST(without_memory_the_descriptor_stays_open)
{
    int fd = kit_file(0, 100);

    wawo_alloc_fail_at(1);
    ASSERT_NULL((void *)wawo_file_new(fd, 0, 100));
    wawo_alloc_fail_at(0);
    ASSERT_TRUE(is_open(fd));
    kit_close(fd);
}

/* Whichever are dropped: a child closes those that are left, and no other. */
static void fork_with(const bool kept[], int files)
{
    struct wawo_file *file[8];
    int fds[8], i, status;
    pid_t child;

    for (i = 0; i < files; i++) {
        fds[i] = kit_file(0, 10);
        file[i] = wawo_file_new(fds[i], 0, 10);
    }
    for (i = 0; i < files; i++)
        if (!kept[i])
            wawo_file_drop(file[i]);
    for (i = 0; i < files; i++) /* the numbers go to strangers */
        if (!kept[i])
            ASSERT_EQ(kit_file(0, 10), fds[i]);
    child = fork();
    if (child == 0) {
        wawo_file_after_fork();
        for (i = 0; i < files; i++)
            if (is_open(fds[i]) && kept[i])
                _exit(1);
            else if (!is_open(fds[i]) && !kept[i])
                _exit(2);
        _exit(wawo_file_live() == 0 ? 0 : 3);
    }
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    ASSERT_EQ(WEXITSTATUS(status), 0);
    for (i = 0; i < files; i++) {
        if (kept[i])
            wawo_file_drop(file[i]);
        else
            kit_close(fds[i]);
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
