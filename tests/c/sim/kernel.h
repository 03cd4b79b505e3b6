/* The fake kernel: descriptors, streams between two ends, listeners, files, pollers. What the core does wrong with them
 * (a call on a closed descriptor, a second close, one that is still in a poller) ends the run at once. */
#ifndef WAWO_TESTS_SIM_KERNEL_H
#define WAWO_TESTS_SIM_KERNEL_H

#include "sim.h"

#include "base/os.h"

#include <stdarg.h>
#include <sys/types.h>

/* A system call: the linker sends the core's calls of `name` here. tests/c/build.py reads the names. */
#define WRAP(type, name, ...)                                                                                          \
    type __wrap_##name(__VA_ARGS__);                                                                                   \
    type __wrap_##name(__VA_ARGS__)

/* The same call by the name that it has where offsets of files are chosen to be large. */
#define WRAP64(name) __typeof__(__wrap_##name) __wrap_##name##64 __attribute__((alias("__wrap_" #name)))

enum { PIPES = 96, LISTENERS = 4, QUEUE = 16, FDS = 512, FD_FIRST = 300, PORT_EPHEMERAL = 10000, PORT_PEERS = 20000 };

/* Where one may dial: what becomes of it. */
enum { PORT_OPEN = 1000, PORT_REFUSED, PORT_SILENT, PORT_UNREACHABLE, PORT_SLOW, PORT_LISTENER = 2000 };

/* One direction: all bytes that were ever sent. */
struct half {
    uint8_t *bytes;
    size_t room;
    size_t sent, arrived, read;
    size_t cap; /* bytes that may be under way or unread */
    bool fin, fin_arrived;
    bool reset; /* an RST follows */
};

enum link_state { LINK_NEW, LINK_CONNECTING, LINK_QUEUED, LINK_UP, LINK_FAILED };

/* A stream. Side 0 connected, side 1 listened; side i writes half i and reads the other. */
struct stream {
    struct half half[2];
    struct {
        bool open, reset, hard; /* hard: the close will be a reset */
        int error; /* the next call answers it, once */
        size_t lost; /* bytes that its close kept from arriving */
        uint32_t ip;
        uint16_t port;
    } side[2];
    int state; /* enum link_state, as side 0 sees it */
    int outcome; /* of connecting: 0 or an errno */
    int64_t settled_ns; /* when that is known */
    bool inet6;
};

extern struct stream pipes[PIPES];
extern int pipe_count;
extern unsigned kernel_haste; /* how often all that was sent arrives at once, per mille */
extern size_t kernel_most; /* bytes that a direction of a new stream may hold */

void kernel_reset(void);
/* Every descriptor and mapping went back. */
void kernel_check_end(void);
/* Bytes and ends of streams travel; false: nothing is under way. */
bool kernel_step(void);
/* When something settles by itself, INT64_MAX: never. */
int64_t kernel_next(void);

/* A listening socket of the core, with the n-th port from PORT_LISTENER; -1: no more. */
int kernel_listener(uint16_t *port);
/* Streams that wait to be accepted. */
unsigned kernel_queued(uint16_t port);
/* A peer connects to it: the stream, or -1 when its queue is full. */
int kernel_peer_connects(uint16_t port);
/* A stream that stands already: the core's descriptor, and the peer has side 1. -1: no more. */
int kernel_connected(int *pipe);
/* A stream that the core dialled to PORT_OPEN or PORT_SLOW came to stand: its peer begins. */
void peer_answers(int pipe);
/* The stream of an address as a connection tells it, -1: none. */
int kernel_pipe_of(uint16_t port);

/* What a peer does with its end of a stream. Reading: bytes that are there; -1 once it is reset. */
size_t kernel_write(int pipe, int side, const void *bytes, size_t len);
ptrdiff_t kernel_read(int pipe, int side, size_t max);
void kernel_shutdown(int pipe, int side);
void kernel_close(int pipe, int side);

/* A file of `size` bytes that says it has `claimed`; its bytes are file_byte of the offset. -1: no more. */
int kernel_file(uint64_t size);
uint8_t file_byte(uint64_t offset);

/* ---- between the parts of the kernel ---- */

enum fd_kind {
    FD_FREE,
    FD_EPOLL,
    FD_KQUEUE,
    FD_URING,
    FD_EVENT,
    FD_LISTENER,
    FD_STREAM,
    FD_FILE,
    FD_SYSCTL,
    FD_NOWHERE
};

struct descriptor {
    int kind; /* enum fd_kind */
    int object; /* pipe, listener or ring */
    int side; /* of a stream */
    uint64_t value; /* of an event; size of a file; of a kqueue: EVFILT_USER */
    int poller; /* the epoll or kqueue that it is in, -1 */
    uint32_t events; /* of a kqueue: its filters */
    uint64_t data;
    bool edge; /* EPOLLET: something new since it was told */
};

/* The descriptor, or the end of the run: it is not open, or of another kind. */
struct descriptor *kernel_fd(int fd, int kind, const char *call);
bool kernel_is_open(int fd);
/* A new one: -1 with errno EMFILE now and then, where `may_fail`. */
int kernel_open(int kind, int object, int side, bool may_fail);
/* POLLIN, POLLOUT, POLLRDHUP, POLLERR, POLLHUP, as they stand. */
unsigned kernel_ready(const struct descriptor *d);
/* Whether a poller tells of it although nothing is ready, and whether it tells of something later. */
bool kernel_may_be_spurious(const struct descriptor *d);
bool kernel_is_late(void);
/* Whether this call fails, for no reason of its own: errno is one of the list, which ends with 0. */
bool kernel_fault(const int *errors);
/* What a read of that stream takes, 0 at its end, or a negative errno; what a write of it leaves there, or -1 with errno. */
ptrdiff_t kernel_recv(const struct descriptor *d, void *to, size_t len);
ssize_t kernel_send(const struct descriptor *d, const void *from, size_t len);
/* Room for what side `side` writes. */
size_t kernel_room(int pipe, int side);
/* Whether a send of that side fails: errno, 0 if not. */
int kernel_send_error(int pipe, int side);
void kernel_append(int pipe, int side, const void *bytes, size_t len);
/* Whether a descriptor is in that poller; the first number that was never used. */
bool kernel_in(int fd, int poller);
int kernel_fd_end(void);
/* io_uring: its calls, its maps, the close of its descriptor; whether a request of it holds a descriptor. */
long kernel_uring(long number, va_list more);
void *kernel_uring_map(int fd, size_t size, off_t offset);
void kernel_uring_closed(int fd);
bool kernel_uring_holds(int fd);
void kernel_uring_reset(void);
/* Bytes that the core has mapped. */
size_t kernel_mapped(void);

#endif
