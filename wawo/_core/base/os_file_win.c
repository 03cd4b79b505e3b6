/* F0 os, files, for Windows. The descriptor of a file is the C library's, as Python's are.
 *
 * Nothing tells which parts of a file are in memory. The loops send files with TransmitFile (io/iocp_send.c), where the
 * kernel's own threads wait for the disk; what is here serves everybody else. */
#include "os_win.h"

#include "atomic.h"
#include "os.h"
#include "os_file.h"

#include <io.h>

enum { READ_BLOCK = 32 * 1024 }; /* on the stack */

static bool (*pretend_cached)(uint64_t offset, size_t len); /* atomic */
static int (*pretend_load)(uint64_t offset, size_t len);    /* atomic */

void wawo_os_file_pretend(bool (*cached)(uint64_t offset, size_t len), int (*load)(uint64_t offset, size_t len))
{
    wawo_store(&pretend_cached, cached);
    wawo_store(&pretend_load, load);
}

HANDLE wawo_os_file_handle(int fd)
{
    return (HANDLE)_get_osfhandle(fd);
}

ptrdiff_t wawo_os_file_read(int fd, void *to, uint64_t offset, size_t len)
{
    OVERLAPPED at = {.Offset = (DWORD)offset, .OffsetHigh = (DWORD)(offset >> 32)};
    DWORD n;

    if (ReadFile(wawo_os_file_handle(fd), to, (DWORD)len, &n, &at))
        return (ptrdiff_t)n;
    return GetLastError() == ERROR_HANDLE_EOF ? 0 : WAWO_EIO;
}

enum wawo_os_cache wawo_os_file_prepare(int fd, uint64_t offset)
{
    (void)fd, (void)offset;
    return WAWO_CACHE_UNTOLD;
}

bool wawo_os_file_cached(int fd, enum wawo_os_cache how, uint64_t offset, size_t len)
{
    bool (*pretend)(uint64_t offset, size_t len) = wawo_load_relaxed(&pretend_cached);

    (void)fd;
    return pretend != NULL ? pretend(offset, len) : how == WAWO_CACHE_ALWAYS;
}

int wawo_os_file_load(int fd, uint64_t offset, size_t len, size_t ahead)
{
    int (*pretend)(uint64_t offset, size_t len) = wawo_load(&pretend_load);
    char waste[READ_BLOCK];
    ptrdiff_t n = 1;

    (void)ahead; /* the system reads ahead by itself */
    if (pretend != NULL)
        return pretend(offset, len);
    while (len > 0 && n > 0) {
        n = wawo_os_file_read(fd, waste, offset, wawo_min_size(len, sizeof waste));
        offset += (uint64_t)(n > 0 ? n : 0);
        len -= (size_t)(n > 0 ? n : 0);
    }
    return n < 0 ? (int)n : 0;
}

ptrdiff_t wawo_os_sendfile(int sock, int fd, uint64_t offset, size_t len)
{
    char block[READ_BLOCK];
    ptrdiff_t n = wawo_os_file_read(fd, block, offset, wawo_min_size(len, sizeof block));

    return n > 0 ? wawo_os_send(sock, block, (size_t)n) : n;
}

void wawo_os_file_close(int fd)
{
    (void)_close(fd);
}
