/* F2 uring_abi: what of io_uring's interface is used here, as the kernel has it. The header of the C library may be older
 * than the kernel, or missing; the names are the kernel's without IORING_. What works is tried at run time. */
#ifndef WAWO_IO_URING_ABI_H
#define WAWO_IO_URING_ABI_H

#include <stdint.h>

/* The same on every CPU that Linux has learnt since 2019, and on those before. */
enum { URING_SYS_SETUP = 425, URING_SYS_ENTER = 426, URING_SYS_REGISTER = 427 };

struct uring_sqe {
    uint8_t opcode;
    uint8_t flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t off;
    uint64_t addr;
    uint32_t len;
    uint32_t op_flags;
    uint64_t user_data;
    uint16_t buf_group;
    uint16_t personality;
    int32_t splice_fd;
    uint64_t pad[2];
};

struct uring_cqe {
    uint64_t user_data;
    int32_t res;
    uint32_t flags;
};

struct uring_sq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, reserved;
    uint64_t user_addr;
};

struct uring_cq_offsets {
    uint32_t head, tail, ring_mask, ring_entries, overflow, cqes, flags, reserved;
    uint64_t user_addr;
};

struct uring_params {
    uint32_t sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, reserved[3];
    struct uring_sq_offsets sq_off;
    struct uring_cq_offsets cq_off;
};

struct uring_timespec {
    int64_t sec, nsec;
};

struct uring_getevents_arg {
    uint64_t sigmask;
    uint32_t sigmask_size, min_wait_us;
    uint64_t timespec;
};

struct uring_rsrc_update {
    uint32_t offset, reserved;
    uint64_t data;
};

/* An entry of a ring of provided buffers; the ring's tail lies in `reserved` of the first one. */
struct uring_buf {
    uint64_t addr;
    uint32_t len;
    uint16_t bid, reserved;
};

struct uring_buf_reg {
    uint64_t ring_addr;
    uint32_t ring_entries;
    uint16_t bgid, flags;
    uint64_t reserved[3];
};

struct uring_sync_cancel_reg {
    uint64_t addr;
    int32_t fd;
    uint32_t flags;
    struct uring_timespec timeout;
    uint64_t reserved[4];
};

_Static_assert(sizeof(struct uring_sqe) == 64 && sizeof(struct uring_cqe) == 16, "as the kernel has them");
_Static_assert(sizeof(struct uring_params) == 120 && sizeof(struct uring_buf) == 16, "as the kernel has them");
_Static_assert(sizeof(struct uring_buf_reg) == 40 && sizeof(struct uring_sync_cancel_reg) == 64,
               "as the kernel has them");

#define URING_OFF_SQ_RING 0
#define URING_OFF_SQES 0x10000000

enum { /* of setup */
       URING_SETUP_CQSIZE = 1 << 3,
       URING_SETUP_R_DISABLED = 1 << 6,
       URING_SETUP_SUBMIT_ALL = 1 << 7,
       URING_SETUP_SINGLE_ISSUER = 1 << 12,
       URING_SETUP_DEFER_TASKRUN = 1 << 13
};
enum { /* features that setup tells of */
       URING_FEAT_SINGLE_MMAP = 1 << 0,
       URING_FEAT_NODROP = 1 << 1,
       URING_FEAT_FAST_POLL = 1 << 5,
       URING_FEAT_EXT_ARG = 1 << 8,
       URING_FEAT_MIN_TIMEOUT = 1 << 15
};
enum { URING_SQ_CQ_OVERFLOW = 1 << 1 }; /* a flag of the ring of requests */
enum { /* of enter */
       URING_ENTER_GETEVENTS = 1 << 0,
       URING_ENTER_EXT_ARG = 1 << 3,
       URING_ENTER_REGISTERED_RING = 1 << 4
};
enum { /* of register */
       URING_REGISTER_ENABLE_RINGS = 12,
       URING_REGISTER_RING_FDS = 20,
       URING_REGISTER_PBUF_RING = 22,
       URING_REGISTER_SYNC_CANCEL = 24
};
enum { URING_OP_POLL_ADD = 6, URING_OP_ASYNC_CANCEL = 14, URING_OP_SEND = 26, URING_OP_RECV = 27 };
enum { URING_SQE_BUFFER_SELECT = 1 << 5, URING_SQE_CQE_SKIP_SUCCESS = 1 << 6 };
enum { URING_POLL_ADD_MULTI = 1 << 0 }; /* in len */
enum { URING_RECVSEND_POLL_FIRST = 1 << 0, URING_RECV_MULTISHOT = 1 << 1 }; /* in ioprio */
enum {
    URING_CQE_BUFFER = 1 << 0,
    URING_CQE_MORE = 1 << 1,
    URING_CQE_SOCK_NONEMPTY = 1 << 2,
    URING_CQE_BUF_MORE = 1 << 4,
    URING_CQE_BUFFER_SHIFT = 16
};
enum { URING_PBUF_INC = 2 };

#endif
