/* F2 uring: the rings that a loop shares with the kernel, on bare system calls. Requests are written into one and leave
 * with the next wait, answers are read from the other. Its loop's thread, but for open and close. */
#ifndef WAWO_IO_URING_H
#define WAWO_IO_URING_H

#include "../base/atomic.h"
#include "uring_abi.h"

struct wawo_uring {
    int fd;
    int enter_fd; /* the same, or its index where the thread has registered it */
    unsigned enter_flags; /* which of the two */
    bool enabled;
    bool counts; /* this kernel can wait for several */
    uint32_t sq_entries, sq_mask, cq_mask;
    uint32_t sq_tail; /* ours; the kernel sees it with the next call */
    uint32_t *sq_khead, *sq_ktail, *sq_kflags, *cq_khead, *cq_ktail; /* shared with the kernel */
    struct uring_sqe *sqes;
    struct uring_cqe *cqes;
    void *rings; /* the two maps */
    size_t rings_size, sqes_size;
};

/* 0, or a negative code and *why in words (or NULL). Any thread: the one that enables it is the one that uses it. */
int wawo_uring_open(struct wawo_uring *u, unsigned sq_entries, unsigned cq_entries, const char **why);
/* Any thread, when its own has ended; or in the child after a fork. */
void wawo_uring_close(struct wawo_uring *u);
/* Makes this thread the one that the ring belongs to. 0 or why not. */
int wawo_uring_enable(struct wawo_uring *u);
/* A request to be filled, all zero; NULL: the ring is full and the kernel takes nothing now. */
struct uring_sqe *wawo_uring_request(struct wawo_uring *u);
/* Submits what is there and waits for `count` answers, or for one when that takes longer than within_us; at most
 * timeout_ns (-1: for ever). 0 also after a signal, else a negative code that will not pass by itself. */
int wawo_uring_wait(struct wawo_uring *u, int64_t timeout_ns, unsigned count, unsigned within_us);
/* Submits what is there and waits for nothing. 0 or why not all of it. */
int wawo_uring_submit(struct wawo_uring *u);
/* Ends the request of that user_data before it returns, if it can still be ended. */
void wawo_uring_cancel_now(struct wawo_uring *u, uint64_t user_data);
int wawo_uring_register(const struct wawo_uring *u, unsigned what, void *arg, unsigned count);

/* The next answer, NULL: none is there. It stays until it is passed. */
static inline const struct uring_cqe *wawo_uring_answer(const struct wawo_uring *u)
{
    uint32_t head = *u->cq_khead; /* only we write it */

    return head != wawo_load(u->cq_ktail) ? &u->cqes[head & u->cq_mask] : NULL;
}
/* How many are there. */
static inline int wawo_uring_answers(const struct wawo_uring *u)
{
    return (int)(wawo_load(u->cq_ktail) - *u->cq_khead);
}
/* The kernel keeps more of them than the ring has room for. */
static inline bool wawo_uring_overflows(const struct wawo_uring *u)
{
    return wawo_load(u->sq_kflags) & URING_SQ_CQ_OVERFLOW;
}
static inline void wawo_uring_pass(struct wawo_uring *u)
{
    wawo_store(u->cq_khead, *u->cq_khead + 1);
}

#endif
