/* F1 file: the part of a file that is on its way out. It stands in a ring like bytes do, but stays where it is until the
 * kernel takes it. It owns the descriptor, which is closed with the last reference: that of its slice, or that of a
 * thread which reads it into memory. */
#ifndef WAWO_MEM_FILE_H
#define WAWO_MEM_FILE_H

#include "../base/os_file.h"

/* What one counts for in a ring, whatever its size: about what an open file costs. So there is a limit to files too. */
enum { WAWO_FILE_WEIGHT = 4096 };

struct wawo_file {
    struct wawo_file *next, **link; /* of all that are open */
    uint32_t refs; /* atomic */
    int32_t fd;
    enum wawo_os_cache cache;
    int32_t error; /* reading it into memory failed; its ring's thread, as all that follows */
    uint64_t offset, left; /* what has not been sent yet */
    uint64_t warm_end; /* up to there it was in memory */
    int64_t warm_ns; /* at this time */
};

/* Takes over `fd`, a regular file that is open for reading, to send `count` bytes of it (at least one). One reference;
 * NULL: no memory, fd stays the caller's. Any thread. */
struct wawo_file *wawo_file_new(int fd, uint64_t offset, uint64_t count);
/* Any thread. */
void wawo_file_hold(struct wawo_file *f);
void wawo_file_drop(struct wawo_file *f);
/* Files that are open. Any thread. */
size_t wawo_file_live(void);
/* In the child after a fork: closes the descriptors, nothing else. */
void wawo_file_after_fork(void);

#endif
