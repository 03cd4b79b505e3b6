/* F2 backend over io_uring: what its files share. */
#ifndef WAWO_IO_BACKEND_URING_H
#define WAWO_IO_BACKEND_URING_H

#include "backend.h"
#include "uring.h"
#include "uring_buffers.h"
#include "writer.h"

#include <poll.h>

enum { /* sock->orders */
       URING_ORDER_RECV = 1,
       URING_ORDER_SEND = 2, /* what is in its ring goes on when the kernel has room */
       URING_ORDER_ACCEPT = 4,
       URING_ORDER_CONNECT = 8,
       URING_ORDERS_POLL = 14, /* those that wait for a poll */
       URING_ORDER_SHUT = 16,  /* the FIN goes when the ring is empty */
       URING_ORDER_MORE = 32   /* somebody had more to send before it was known what had gone */
};
enum { /* sock->flags */
       URING_CHANGED = 1,  /* on the change list */
       URING_GONE = 2,     /* detached: its last event is due when nothing is armed */
       URING_RESET = 4,    /* close with RST */
       URING_ANSWERED = 8, /* connect: the answer in aux is due */
       URING_HUNGRY = 16,  /* bytes are there, and no buffer was */
       URING_FRESH = 32,   /* it has received: to be looked at once more */
       URING_ENDED = 64,   /* the peer has closed or reset: whoever reads need not wait */
       URING_SENDING = 128, /* a slice that was its ring's is under way */
       URING_FLAGS = 255
};

/* What an answer is of: in user_data, where an id has the number of its loop. */
enum { URING_OF_RECV = 1, URING_OF_SEND, URING_OF_POLL, URING_OF_RECV_END, URING_OF_POLL_END, URING_OF_WAKE };
#define URING_OF_SHIFT WAWO_ID_SLOT_BITS
#define URING_OF_MASK ((uint64_t)((1u << WAWO_ID_LOOP_BITS) - 1) << URING_OF_SHIFT)

static inline uint64_t wawo_uring_tag(uint64_t id, unsigned of)
{
    return (id & ~URING_OF_MASK) | (uint64_t)of << URING_OF_SHIFT;
}

enum { WAWO_URING_SENDS = 256 }; /* slices under way and those that did not go and were not told of, at most */
#ifndef WAWO_URING_FRESH
#define WAWO_URING_FRESH 1024 /* socks that are looked at once more, at most */
#endif

struct wawo_uring_send {
    struct wawo_sock *sock; /* attached as long as it is here */
    struct wawo_slice *slice;
    uint32_t at; /* place of its request */
    int32_t res; /* what the kernel took although not all, or why nothing; 0: no word of it */
};

struct wawo_uring_back {
    uint64_t id;
    size_t len; /* 0: all went, which somebody waits to hear */
    int error;
};

struct wawo_backend {
    const struct wawo_table *table;
    struct wawo_uring ring;
    struct wawo_uring_buffers buffers;
    struct wawo_writer writer;
    struct wawo_wakefd wakefd;
    bool watching; /* the wake-ups */
    bool receives; /* somebody did: buffers are lent */
    struct wawo_sock *changed, *changed_last; /* oldest first */
    unsigned attached;
    unsigned send_count, back_count;
    uint32_t send_first;  /* number of the oldest of `sends` */
    uint32_t send_looked; /* answers are known up to here */
    struct wawo_uring_send sends[WAWO_URING_SENDS];
    struct wawo_uring_back back[WAWO_URING_SENDS];
    unsigned pace, pace_count; /* answers in a millisecond; those since pace_ns */
    int64_t pace_ns;
    int64_t looked_ns;
    unsigned fresh_count;
    uint64_t fresh[WAWO_URING_FRESH]; /* ids */
    struct pollfd looked[WAWO_URING_FRESH];
};

/* To be looked at before the next wait. */
void wawo_backend_mark(struct wawo_backend *b, struct wawo_sock *s);
void wawo_backend_order(struct wawo_backend *b, struct wawo_sock *s, unsigned set, unsigned clear);

/* Rows of the table, as io/backend.h has them. */
ptrdiff_t wawo_uring_send(struct wawo_backend *b, struct wawo_sock *s);
ptrdiff_t wawo_uring_send_soon(struct wawo_backend *b, struct wawo_sock *s);
void wawo_uring_send_shutdown(struct wawo_backend *b, struct wawo_sock *s);
/* Its poll has fired; 1 if it made an event. */
int wawo_uring_send_resume(struct wawo_backend *b, struct wawo_sock *s, struct wawo_done *d);
/* Requests were handed over, and their answers not passed yet: ends what is known to have gone. */
void wawo_uring_send_settle(struct wawo_backend *b);
/* Hands over what was asked for, without a wait. */
void wawo_uring_send_hurry(struct wawo_backend *b);
/* Tells of what did not go after all, and what went after all. How many events. */
int wawo_uring_send_back(struct wawo_backend *b, struct wawo_done *done, int max);

#endif
