/* What Linux tells of files. */
#include "support/kit.h"

#include "base/os_file.h"

#include <fcntl.h>
#include <unistd.h>

enum { MIB = 1024 * 1024 };

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
    wawo_os_file_close(file);
}

TEST(in_memory_only_is_always_cached)
{
    int file = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (file < 0)
        SKIP("no file system in memory");
    ASSERT_EQ(wawo_os_file_prepare(file, 0), WAWO_CACHE_ALWAYS);
    wawo_os_file_close(file);
}
