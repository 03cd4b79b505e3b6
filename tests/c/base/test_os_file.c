/* Files on their way to a socket. */
#include "support/kit.h"

#include "base/err.h"
#include "base/os_file.h"

#include <errno.h>

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
    wawo_os_file_close(file);
    kit_close(fds[0]);
    kit_close(fds[1]);
}

TEST(sendfile_beyond_four_gigabytes)
{
    const uint64_t far = (UINT64_C(5) << 30) + 12345;
    int fds[2], file = kit_file(0, 0);
    uint8_t block[1000];

    kit_fill(block, sizeof block, far);
    os_file_write(file, block, sizeof block, far); /* sparse in front */
    kit_pair(fds);
    ASSERT_EQ(wawo_os_sendfile(fds[0], file, far, 2000), 1000);
    kit_read_pattern(fds[1], far, 1000);
    wawo_os_file_close(file);
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
    wawo_os_file_close(file);
    kit_close(fds[0]);
    kit_close(fds[1]);
}

TEST(sendfile_to_nobody)
{
    int fds[2], file = kit_file(0, 100), i;
    ptrdiff_t n = 0;

    os_block_pipe_signal(); /* as the loops have it */
    kit_pair(fds);
    kit_reset(fds[1]);
    for (i = 0; i < 1000 && n >= 0; i++)
        n = wawo_os_sendfile(fds[0], file, 0, 100);
    ASSERT_TRUE(n == -EPIPE || n == WAWO_ERESET);
    wawo_os_file_close(file);
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
    wawo_os_file_close(file);
}

TEST(load_goes_up_to_the_end)
{
    int file = kit_file(0, 1000), folder = os_open_folder();

    ASSERT_EQ(wawo_os_file_load(file, 0, 4 * MIB, MIB), 0);
    ASSERT_EQ(wawo_os_file_load(file, 2000, 4 * MIB, MIB), 0);
    ASSERT_LT(wawo_os_file_load(folder, 0, 1, 0), 0);
    wawo_os_file_close(file);
    wawo_os_file_close(folder);
}
