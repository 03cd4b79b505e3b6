/* Files on their way to a socket. */
#include "support/kit.h"

#include "base/err.h"
#include "base/os_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

enum { MIB = 1024 * 1024 };

TEST(sendfile_from_an_offset)
{
    int fds[2], file = kit_file(0, 100000);

    kit_pair(fds);
    ASSERT_EQ(wawo_os_sendfile(fds[0], file, 1000, 20000), 20000);
    kit_read_pattern(fds[1], 1000, 20000);
    ASSERT_EQ(wawo_os_sendfile(fds[0], file, 99990, 20000), 10); /* no more is there */
    kit_read_pattern(fds[1], 99990, 10);
    ASSERT_EQ(wawo_os_sendfile(fds[0], file, 100000, 1), 0);
    ASSERT_EQ(wawo_os_sendfile(fds[0], file, UINT64_C(5) << 32, 1), 0);
    ASSERT_EQ(lseek(file, 0, SEEK_CUR), 100000); /* where the descriptor itself stands does not matter */
    kit_close(file);
    kit_close(fds[0]);
    kit_close(fds[1]);
}

TEST(sendfile_beyond_four_gigabytes)
{
    const uint64_t far = (UINT64_C(5) << 30) + 12345;
    int fds[2], file = kit_file(0, 0);
    uint8_t block[1000];

    kit_fill(block, sizeof block, far);
    ASSERT_EQ(pwrite(file, block, sizeof block, (off_t)far), (ssize_t)sizeof block); /* sparse in front */
    kit_pair(fds);
    ASSERT_EQ(wawo_os_sendfile(fds[0], file, far, 2000), 1000);
    kit_read_pattern(fds[1], far, 1000);
    kit_close(file);
    kit_close(fds[0]);
    kit_close(fds[1]);
}

TEST(sendfile_until_the_socket_is_full)
{
    int fds[2], file = kit_file(0, 16 * MIB);
    uint64_t sent = 0;
    ptrdiff_t n;

    kit_pair(fds);
    while ((n = wawo_os_sendfile(fds[0], file, sent, 16 * MIB)) > 0) {
        sent += (uint64_t)n;
        ASSERT_LT(sent, 16u * MIB);
    }
    ASSERT_EQ(n, WAWO_AGAIN);
    kit_read_pattern(fds[1], 0, (size_t)sent);
    kit_close(file);
    kit_close(fds[0]);
    kit_close(fds[1]);
}

TEST(sendfile_to_nobody)
{
    int fds[2], file = kit_file(0, 100), i;
    ptrdiff_t n = 0;
    sigset_t pipe_signal;

    ASSERT_EQ(sigemptyset(&pipe_signal), 0);
    ASSERT_EQ(sigaddset(&pipe_signal, SIGPIPE), 0);
    ASSERT_EQ(pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL), 0); /* as the loops have it */
    kit_pair(fds);
    kit_reset(fds[1]);
    for (i = 0; i < 1000 && n != -EPIPE; i++)
        n = wawo_os_sendfile(fds[0], file, 0, 100);
    ASSERT_EQ(n, -EPIPE);
    kit_close(file);
    kit_close(fds[0]);
}

/* What was just read is in memory, wherever that can be told. */
TEST(loaded_is_cached)
{
    int file = kit_file(0, 4 * MIB);
    enum wawo_os_cache how = wawo_os_file_prepare(file, 0);

    ASSERT_EQ(wawo_os_file_load(file, 0, 4 * MIB, MIB), 0);
    ASSERT_EQ(wawo_os_file_cached(file, how, 0, 4 * MIB), how != WAWO_CACHE_UNTOLD);
    ASSERT_EQ(wawo_os_file_cached(file, how, 12345, 1), how != WAWO_CACHE_UNTOLD);
    ASSERT_EQ(wawo_os_file_cached(file, how, 4 * MIB - 1, 1), how != WAWO_CACHE_UNTOLD);
    if (how == WAWO_CACHE_COUNTED) /* the second best way agrees */
        ASSERT_TRUE(wawo_os_file_cached(file, WAWO_CACHE_SAMPLED, 0, 4 * MIB));
    ASSERT_TRUE(wawo_os_file_cached(file, WAWO_CACHE_ALWAYS, 0, 4 * MIB));
    ASSERT_FALSE(wawo_os_file_cached(file, WAWO_CACHE_UNTOLD, 0, 4 * MIB));
    kit_close(file);
}

TEST(load_goes_up_to_the_end)
{
    int file = kit_file(0, 1000), folder = open("/", O_RDONLY | O_CLOEXEC);

    ASSERT_EQ(wawo_os_file_load(file, 0, 4 * MIB, MIB), 0);
    ASSERT_EQ(wawo_os_file_load(file, 2000, 4 * MIB, MIB), 0);
    ASSERT_EQ(wawo_os_file_load(folder, 0, 1, 0), -EISDIR);
    kit_close(file);
    kit_close(folder);
}

/* Of a file that was dropped from memory: not there, and there after it was loaded. */
TEST(cold_is_not_cached)
{
    int file = kit_file(0, 4 * MIB);
    enum wawo_os_cache how = wawo_os_file_prepare(file, 0);

    if (how != WAWO_CACHE_COUNTED && how != WAWO_CACHE_SAMPLED)
        SKIP("this file system does not tell what is in memory");
    ASSERT_EQ(fsync(file), 0);
    ASSERT_EQ(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
    if (wawo_os_file_cached(file, how, 0, 4 * MIB))
        SKIP("the system keeps it in memory");
    ASSERT_EQ(wawo_os_file_load(file, 0, 2 * MIB, 0), 0);
    ASSERT_TRUE(wawo_os_file_cached(file, how, 0, 2 * MIB));
    ASSERT_TRUE(wawo_os_file_cached(file, WAWO_CACHE_SAMPLED, 0, 2 * MIB));
    kit_close(file);
}

TEST(in_memory_only_is_always_cached)
{
    int file = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (file < 0)
        SKIP("no file system in memory");
    ASSERT_EQ(wawo_os_file_prepare(file, 0), WAWO_CACHE_ALWAYS);
    kit_close(file);
}
