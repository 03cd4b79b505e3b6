/* F0 os: files on their way to a socket. A descriptor is of a regular file, open for reading; on Windows it is the C
 * library's, and the file is open in binary mode. Results as in os.h. Any thread. */
#ifndef WAWO_BASE_OS_FILE_H
#define WAWO_BASE_OS_FILE_H

#include "config.h"

/* How the system tells which parts of a file are in memory. */
enum wawo_os_cache {
    WAWO_CACHE_ALWAYS,  /* there is no disk behind it */
    WAWO_CACHE_COUNTED, /* it counts the pages of a range */
    WAWO_CACHE_SAMPLED, /* only by reading single bytes without waiting */
    WAWO_CACHE_UNTOLD   /* not at all */
};

/* Prepares a file to be sent from `offset` on: reading it ahead is up to us. Finds out by trying. */
enum wawo_os_cache wawo_os_file_prepare(int fd, uint64_t offset);
/* Whether all of the range can be sent without waiting for a disk; false when nothing tells. Never waits itself, and
 * where pages are counted it starts no reading either. */
bool wawo_os_file_cached(int fd, enum wawo_os_cache how, uint64_t offset, size_t len);
/* Reads the range into memory, and waits for it; starts to read `ahead` bytes behind it. 0, also where the file ends
 * early. */
int wawo_os_file_load(int fd, uint64_t offset, size_t len, size_t ahead);
/* Bytes that were read, 0 at the end of the file. */
ptrdiff_t wawo_os_file_read(int fd, void *to, uint64_t offset, size_t len);
/* Bytes that went from the file into the socket, 0 at the end of the file. A socket whose peer is gone raises SIGPIPE
 * on this thread, which therefore has it blocked: the loops have. */
ptrdiff_t wawo_os_sendfile(int sock, int fd, uint64_t offset, size_t len);
void wawo_os_file_close(int fd);
/* For tests: these are asked instead of the system (NULL: the system again) by cached and load. */
void wawo_os_file_pretend(bool (*cached)(uint64_t offset, size_t len), int (*load)(uint64_t offset, size_t len));

#endif
