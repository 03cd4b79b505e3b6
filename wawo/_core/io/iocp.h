/* F2 backend over a completion port: what its files share. */
#ifndef WAWO_IO_IOCP_H
#define WAWO_IO_IOCP_H

#include "../base/os_win.h"
#include "backend.h"
#include "reader.h"

enum { IOCP_RECV = 1, IOCP_ACCEPT = 2 }; /* sock->orders */
enum {                                   /* sock->flags */
       IOCP_CHANGED = 1,                    /* on the change list */
       IOCP_GONE = 2,                       /* detached: its last event is due */
       IOCP_RESET = 4,                      /* close with RST */
       IOCP_ANSWERED = 8,                   /* connect: the answer in aux is due */
       IOCP_LARGE = 16,                     /* its last read was large: give it room */
       IOCP_RECEIVING = 32,                 /* each of these: that operation is in flight */
       IOCP_SENDING = 64,
       IOCP_CONNECTING = 128,
       IOCP_FLAGS = 255
};
enum { IOCP_UNSERVED = 1, IOCP_INET6 = 2 }; /* sock->want: no port would take it; accepts IPv6 */
enum { IOCP_LISTENS = 1 };                  /* sock->armed: aux counts its operations in flight */

enum wawo_iocp_kind { WAWO_IOCP_RECV, WAWO_IOCP_SEND, WAWO_IOCP_FILE, WAWO_IOCP_CONNECT, WAWO_IOCP_ACCEPT };

/* An operation in flight. It is the backend's, not the sock's: one that is released may leave some behind. */
struct wawo_iocp_op {
    OVERLAPPED ov; /* first: the kernel names the operation by it */
    uint64_t id;   /* whose; may be stale */
    union {
        struct wawo_iocp_op *next; /* a connect that is due */
        int64_t posted_ns;         /* a send */
    };
    int32_t kind; /* enum wawo_iocp_kind */
    union {
        int32_t error; /* a connect that is due: the answer */
        uint32_t most; /* a send: bytes that are posted at most */
    };
};

/* What Winsock has no names for. */
struct wawo_iocp_calls {
    LPFN_ACCEPTEX accept;
    LPFN_GETACCEPTEXSOCKADDRS addresses;
    LPFN_CONNECTEX connect;
    LPFN_TRANSMITFILE transmit;
};

enum { WAWO_IOCP_ENTRIES = 256 };

struct wawo_backend {
    HANDLE port;
    struct wawo_iocp_calls calls;
    const struct wawo_table *table;
    struct wawo_heap *heap;
    struct wawo_reader reader;
    struct wawo_slab ops;
    struct wawo_iocp_op *due;  /* answered without the kernel */
    size_t accepting;          /* operations of the other kind in flight: theirs is the general heap */
    size_t file_share;         /* bytes of its file that each one that is ready may send */
    struct wawo_sock *changed; /* newest first */
    int released[16];          /* descriptors that are in the port already; where the next one is noted */
    unsigned released_next;
    ULONG count, next;         /* of entries */
    OVERLAPPED_ENTRY entries[WAWO_IOCP_ENTRIES];
};

/* To be looked at before the next wait. */
void wawo_iocp_mark(struct wawo_backend *b, struct wawo_sock *s);
/* An operation of a sock; NULL: no memory. */
struct wawo_iocp_op *wawo_iocp_take(struct wawo_backend *b, const struct wawo_sock *s, enum wawo_iocp_kind kind);
void wawo_iocp_give(struct wawo_backend *b, struct wawo_iocp_op *op);
/* The result of an operation that came home. */
int wawo_iocp_result(const struct wawo_sock *s, struct wawo_iocp_op *op);

/* Rows of the table, as io/backend.h has them. */
void wawo_iocp_accept_start(struct wawo_backend *b, struct wawo_sock *s);
/* What is under way is cancelled; what was answered before still comes. */
void wawo_iocp_accept_stop(struct wawo_backend *b, struct wawo_sock *s);
/* Posts what is missing; 0, or why none is posted. */
int wawo_iocp_accept_post(struct wawo_backend *b, struct wawo_sock *s);
/* One came home, for a sock that may be NULL; 1 if it made an event. */
int wawo_iocp_accepted(struct wawo_backend *b, struct wawo_sock *s, struct wawo_iocp_op *op, struct wawo_done *d);
/* The row of the table; its answer comes out of wait(). */
void wawo_iocp_connect(struct wawo_backend *b, struct wawo_sock *s, const struct wawo_addr *to);
/* It came home; 1 if it made an event. */
int wawo_iocp_connected(struct wawo_backend *b, struct wawo_sock *s, struct wawo_iocp_op *op, struct wawo_done *d);

/* The row of the table: at once what the kernel takes, the rest is posted. */
ptrdiff_t wawo_iocp_send(struct wawo_backend *b, struct wawo_sock *s);
/* One came home, `len` bytes; always makes an event. */
void wawo_iocp_sent(struct wawo_backend *b, struct wawo_sock *s, struct wawo_iocp_op *op, size_t len,
                    struct wawo_done *d);

#endif
