/* The fake kernel's descriptors and streams. */
#include "kernel.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

struct listener {
    int queue[QUEUE];
    unsigned count;
    uint16_t port;
    bool open;
};

struct stream pipes[PIPES];
int pipe_count;

static struct descriptor fds[FDS];
static int fd_end;
size_t kernel_most;
unsigned kernel_haste;
static struct listener listeners[LISTENERS];
static unsigned listener_count;

/* ---- descriptors ---- */

bool kernel_in(int fd, int poller)
{
    return fds[fd - FD_FIRST].kind != FD_FREE && fds[fd - FD_FIRST].poller == poller;
}

int kernel_fd_end(void)
{
    return FD_FIRST + fd_end;
}

struct descriptor *kernel_fd(int fd, int kind, const char *call)
{
    struct descriptor *d = &fds[fd - FD_FIRST];

    if (fd < FD_FIRST || fd >= FD_FIRST + FDS || d->kind == FD_FREE)
        SIM_FAIL("%s: descriptor %d is not open", call, fd);
    if (kind != FD_FREE && d->kind != kind)
        SIM_FAIL("%s: descriptor %d is of kind %d, not %d", call, fd, d->kind, kind);
    return d;
}

bool kernel_is_open(int fd)
{
    return fds[fd - FD_FIRST].kind != FD_FREE;
}

bool kernel_fault(const int *errors)
{
    unsigned n = 0;

    if (!sim_chance(sim_faults))
        return false;
    while (errors[n] != 0)
        n++;
    errno = errors[sim_below(n)];
    return true;
}

int kernel_open(int kind, int object, int side, bool may_fail)
{
    static const int full[] = {EMFILE, ENFILE, ENOMEM, 0};
    int i;

    if (may_fail && kernel_fault(full))
        return -1;
    for (i = 0; i < FDS; i++)
        if (fds[i].kind == FD_FREE) { /* the lowest: numbers come again soon */
            if (i >= fd_end)
                fd_end = i + 1;
            fds[i] = (struct descriptor){.kind = kind, .object = object, .side = side, .poller = -1};
            return FD_FIRST + i;
        }
    SIM_FAIL("%d descriptors are open", FDS);
}

void kernel_reset(void)
{
    struct half kept[2];
    int i, k;

    memset(fds, 0, sizeof fds);
    fd_end = 0;
    memset(listeners, 0, sizeof listeners);
    listener_count = 0;
    for (i = 0; i < PIPES; i++) {
        for (k = 0; k < 2; k++)
            kept[k] = (struct half){.bytes = pipes[i].half[k].bytes, .room = pipes[i].half[k].room};
        memset(&pipes[i], 0, sizeof pipes[i]);
        memcpy(pipes[i].half, kept, sizeof kept);
    }
    pipe_count = 0;
    kernel_uring_reset();
}

void kernel_check_end(void)
{
    int i;

    for (i = 0; i < FDS; i++)
        if (fds[i].kind != FD_FREE)
            SIM_FAIL("descriptor %d of kind %d was never closed", FD_FIRST + i, fds[i].kind);
    if (kernel_mapped() != 0)
        SIM_FAIL("%zu bytes are still mapped", kernel_mapped());
}

WRAP(int, close, int fd)
{
    struct descriptor *d = kernel_fd(fd, FD_FREE, "close");
    struct listener *l;

    sim_log("close", fd, d->kind, d->object);
    if (d->poller >= 0 && d->kind != FD_EVENT && kernel_fd(d->poller, FD_FREE, "close")->kind == FD_EPOLL)
        SIM_FAIL("close: descriptor %d is still in a poller", fd);
    if (d->kind == FD_URING)
        kernel_uring_closed(fd);
    else if (kernel_uring_holds(fd))
        SIM_FAIL("close: descriptor %d is held by a request", fd);
    if (d->kind == FD_STREAM)
        kernel_close(d->object, d->side);
    if (d->kind == FD_LISTENER) {
        l = &listeners[d->object];
        l->open = false;
        while (l->count > 0) { /* nobody will serve them */
            pipes[l->queue[--l->count]].side[1].hard = true;
            pipes[l->queue[l->count]].side[1].open = true;
            kernel_close(l->queue[l->count], 1);
        }
    }
    d->kind = FD_FREE;
    return 0;
}

/* ---- streams ---- */

static int pipe_new(void)
{
    struct stream *p = &pipes[pipe_count];
    int k;

    if (pipe_count == PIPES)
        return -1;
    for (k = 0; k < 2; k++) {
        p->half[k].cap = 64 + sim_size(kernel_most);
        p->side[k].ip = 0x7f000001 + sim_below(3);
    }
    p->side[0].port = (uint16_t)(PORT_EPHEMERAL + pipe_count);
    return pipe_count++;
}

size_t kernel_room(int pipe, int side)
{
    const struct half *h = &pipes[pipe].half[side];

    return h->cap - (h->sent - h->read);
}

void kernel_append(int pipe, int side, const void *bytes, size_t len)
{
    struct half *h = &pipes[pipe].half[side];

    h->bytes = sim_grow(h->bytes, &h->room, h->sent + len, 1);
    memcpy(h->bytes + h->sent, bytes, len);
    h->sent += len;
}

int kernel_send_error(int pipe, int side)
{
    struct stream *p = &pipes[pipe];
    int error = p->side[side].error;

    p->side[side].error = 0;
    if (error != 0)
        return error;
    return p->side[side].reset || p->half[side].fin ? EPIPE : 0;
}

size_t kernel_write(int pipe, int side, const void *bytes, size_t len)
{
    size_t n = wawo_min_size(len, kernel_room(pipe, side));

    if (pipes[pipe].side[side].reset || pipes[pipe].half[side].fin)
        return len; /* nobody will miss it */
    kernel_append(pipe, side, bytes, n);
    return n;
}

ptrdiff_t kernel_read(int pipe, int side, size_t max)
{
    struct half *h = &pipes[pipe].half[1 - side];
    size_t n = wawo_min_size(max, h->arrived - h->read);

    h->read += n;
    return n == 0 && pipes[pipe].side[side].reset ? -1 : (ptrdiff_t)n;
}

void kernel_shutdown(int pipe, int side)
{
    pipes[pipe].half[side].fin = true;
}

void kernel_close(int pipe, int side)
{
    struct stream *p = &pipes[pipe];
    struct half *in = &p->half[1 - side];

    SIM_CHECK(p->side[side].open);
    p->side[side].open = false;
    if (p->state != LINK_UP && p->state != LINK_QUEUED) {
        p->state = LINK_FAILED;
        p->side[1 - side].reset = true;
        p->side[1 - side].error = ECONNRESET;
        return;
    }
    if (p->side[side].reset)
        return;
    if (p->side[side].hard || in->arrived > in->read) {
        p->half[side].reset = true;
        p->side[side].lost = p->half[side].sent - p->half[side].arrived;
    }
    p->half[side].fin = true;
}

/* Side `side` hears of a reset: what it sent and did not arrive is lost. */
static void reset_side(struct stream *p, int side)
{
    p->side[side].reset = true;
    p->side[side].error = ECONNRESET;
    p->half[side].reset = false;
    p->half[side].fin_arrived = p->half[side].fin;
    if (sim_chance(500)) /* some systems drop what was not read */
        p->half[1 - side].read = p->half[1 - side].arrived;
}

/* What side `from` sent moves on; false: nothing is under way. */
static bool travel(int pipe, int from)
{
    struct stream *p = &pipes[pipe];
    struct half *h = &p->half[from];
    int to = 1 - from;

    if ((p->state != LINK_UP && p->state != LINK_QUEUED) || p->side[to].reset)
        return false;
    if (h->reset && (h->arrived == h->sent || p->side[from].hard || sim_chance(300))) {
        h->reset = false; /* it overtakes what was sent before, or not */
        if (p->side[to].open || p->state == LINK_QUEUED)
            reset_side(p, to);
        return true;
    }
    if (h->arrived < h->sent) {
        if (to == 1 && p->state == LINK_QUEUED && !sim_chance(700))
            return true;
        h->arrived += sim_chance(kernel_haste) ? h->sent - h->arrived : sim_size(h->sent - h->arrived);
        if (!p->side[to].open && p->state == LINK_UP) { /* nobody there: an RST comes back */
            h->read = h->arrived;
            if (p->side[from].open && !p->side[from].reset)
                reset_side(p, from);
        }
        return true;
    }
    if (h->fin && !h->fin_arrived) {
        h->fin_arrived = true;
        return true;
    }
    return false;
}

bool kernel_step(void)
{
    int i, start = (int)sim_below((uint32_t)pipe_count * 2);

    for (i = 0; i < pipe_count * 2; i++)
        if (travel((start + i) / 2 % pipe_count, (start + i) % 2))
            return true;
    return false;
}

int64_t kernel_next(void)
{
    int64_t next = INT64_MAX;
    int i;

    for (i = 0; i < pipe_count; i++)
        if (pipes[i].state == LINK_CONNECTING && pipes[i].settled_ns > sim_now && pipes[i].settled_ns < next)
            next = pipes[i].settled_ns;
    return next;
}

/* ---- connecting ---- */

int kernel_listener(uint16_t *port)
{
    struct listener *l = &listeners[listener_count];

    if (listener_count == LISTENERS)
        return -1;
    *l = (struct listener){.port = (uint16_t)(PORT_LISTENER + listener_count), .open = true};
    *port = l->port;
    return kernel_open(FD_LISTENER, (int)listener_count++, 0, false);
}

static bool enqueue(int pipe, uint16_t port)
{
    struct listener *l = &listeners[port - PORT_LISTENER];

    if (port < PORT_LISTENER || port >= PORT_LISTENER + listener_count || !l->open || l->count == QUEUE)
        return false;
    l->queue[l->count++] = pipe;
    pipes[pipe].side[1].port = port;
    return true;
}

unsigned kernel_queued(uint16_t port)
{
    return listeners[port - PORT_LISTENER].count;
}

int kernel_peer_connects(uint16_t port)
{
    int i = pipe_new();

    if (i < 0 || !enqueue(i, port)) {
        pipe_count -= i >= 0;
        return -1;
    }
    pipes[i].state = LINK_QUEUED;
    pipes[i].side[0].open = true;
    return i;
}

int kernel_connected(int *pipe)
{
    int i = pipe_new();

    *pipe = i;
    if (i < 0)
        return -1;
    pipes[i].state = LINK_UP;
    pipes[i].side[0].open = pipes[i].side[1].open = true;
    pipes[i].side[1].port = (uint16_t)(PORT_PEERS + i);
    return kernel_open(FD_STREAM, i, 0, false);
}

int kernel_pipe_of(uint16_t port)
{
    return port >= PORT_EPHEMERAL && port < PORT_EPHEMERAL + pipe_count ? port - PORT_EPHEMERAL : -1;
}

WRAP(int, socket, int domain, int type, int protocol)
{
    int fd, i;

    (void)type, (void)protocol;
    i = pipe_new();
    if (i < 0) {
        errno = ENOBUFS;
        return -1;
    }
    fd = kernel_open(FD_STREAM, i, 0, true);
    pipes[i].side[0].open = fd >= 0;
    pipes[i].inet6 = domain == AF_INET6;
    sim_log("socket", fd, i, domain);
    return fd;
}

WRAP(int, bind, int fd, const struct sockaddr *a, socklen_t len)
{
    static const int taken[] = {EADDRINUSE, EADDRNOTAVAIL, 0};

    (void)a, (void)len;
    (void)kernel_fd(fd, FD_STREAM, "bind");
    return kernel_fault(taken) ? -1 : 0;
}

WRAP(int, listen, int fd, int backlog)
{
    (void)backlog;
    (void)kernel_fd(fd, FD_LISTENER, "listen");
    return 0;
}

/* What becomes of it, told later. */
static int connect_outcome(int pipe, uint16_t port)
{
    static const int refusals[] = {ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ECONNRESET, 0};
    struct stream *p = &pipes[pipe];

    p->settled_ns = sim_now + (int64_t)sim_below(5) * (int64_t)sim_below(2 * WAWO_MSEC);
    p->side[1].port = port;
    if (port >= PORT_LISTENER)
        return enqueue(pipe, port) ? 0 : ECONNREFUSED;
    if (port == PORT_SILENT)
        p->settled_ns = INT64_MAX;
    if (port == PORT_SLOW)
        p->settled_ns = sim_now + (int64_t)sim_below(600) * WAWO_MSEC;
    if (port == PORT_REFUSED)
        return ECONNREFUSED;
    return kernel_fault(refusals) ? errno : 0;
}

WRAP(int, connect, int fd, const struct sockaddr *a, socklen_t len)
{
    static const int at_once[] = {ENETUNREACH, EADDRNOTAVAIL, EACCES, 0};
    struct descriptor *d = kernel_fd(fd, FD_STREAM, "connect");
    struct stream *p = &pipes[d->object];
    uint16_t port = a->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)(const void *)a)->sin6_port
                                             : ((const struct sockaddr_in *)(const void *)a)->sin_port;

    (void)len;
    port = (uint16_t)(port << 8 | port >> 8);
    SIM_CHECK(p->state == LINK_NEW);
    sim_log("connect", fd, port, a->sa_family);
    if (port == PORT_UNREACHABLE || kernel_fault(at_once)) {
        errno = port == PORT_UNREACHABLE ? ENETUNREACH : errno;
        return -1;
    }
    p->outcome = connect_outcome(d->object, port);
    p->state = LINK_CONNECTING;
    errno = sim_chance(sim_faults) ? EINTR : EINPROGRESS;
    return -1;
}

/* A connection under way whose time has come. */
static void settle(int pipe)
{
    struct stream *p = &pipes[pipe];

    if (p->state != LINK_CONNECTING || sim_now < p->settled_ns)
        return;
    p->state = p->outcome != 0                                        ? LINK_FAILED
               : p->side[1].port >= PORT_LISTENER && !p->side[1].open ? LINK_QUEUED
                                                                      : LINK_UP;
    p->side[0].error = p->outcome;
    if (p->outcome == 0 && p->side[1].port < PORT_LISTENER) {
        p->side[1].open = true;
        peer_answers(pipe);
    }
}

static int accept_one(struct listener *l, int fd)
{
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EPROTO, EINTR, EAGAIN, 0};
    int i, got;

    fiber_preempt();
    if (kernel_fault(errors))
        return -1;
    if (l->count == 0) {
        errno = EAGAIN;
        return -1;
    }
    i = l->queue[0];
    memmove(l->queue, l->queue + 1, --l->count * sizeof l->queue[0]);
    pipes[i].settled_ns = sim_now;
    settle(i);
    got = kernel_open(FD_STREAM, i, 1, false);
    pipes[i].side[1].open = true;
    if (pipes[i].state == LINK_QUEUED)
        pipes[i].state = LINK_UP;
    sim_log("accept", fd, got, i);
    return got;
}

static void put_address(const struct stream *p, int side, struct sockaddr *a, socklen_t *len)
{
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)a;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)a;
    uint16_t port = (uint16_t)(p->side[side].port << 8 | p->side[side].port >> 8);

    memset(a, 0, *len);
    if (p->inet6) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = port;
        in6->sin6_addr.s6_addr[15] = 1;
        *len = sizeof *in6;
        return;
    }
    in->sin_family = AF_INET;
    in->sin_port = port;
    in->sin_addr.s_addr = __builtin_bswap32(p->side[side].ip);
    *len = sizeof *in;
}

WRAP(int, accept4, int fd, struct sockaddr *a, socklen_t *len, int flags)
{
    struct descriptor *d = kernel_fd(fd, FD_LISTENER, "accept4");
    int got = accept_one(&listeners[d->object], fd);

    (void)flags;
    if (got >= 0)
        put_address(&pipes[kernel_fd(got, FD_STREAM, "accept4")->object], 0, a, len);
    return got;
}

static int name(int fd, bool peer, struct sockaddr *a, socklen_t *len, const char *call)
{
    static const int errors[] = {ENOBUFS, 0};
    struct descriptor *d = kernel_fd(fd, FD_FREE, call);
    struct stream *p = &pipes[d->object];

    SIM_CHECK(d->kind == FD_STREAM);
    if (peer && (p->side[d->side].reset || p->state == LINK_FAILED)) {
        errno = ENOTCONN;
        return -1;
    }
    if (kernel_fault(errors))
        return -1;
    put_address(p, peer ? 1 - d->side : d->side, a, len);
    return 0;
}

WRAP(int, getsockname, int fd, struct sockaddr *a, socklen_t *len)
{
    return name(fd, false, a, len, "getsockname");
}

WRAP(int, getpeername, int fd, struct sockaddr *a, socklen_t *len)
{
    return name(fd, true, a, len, "getpeername");
}

WRAP(int, getsockopt, int fd, int level, int option, void *value, socklen_t *len)
{
    struct descriptor *d = kernel_fd(fd, FD_STREAM, "getsockopt");

    SIM_CHECK(level == SOL_SOCKET && option == SO_ERROR && *len == sizeof(int));
    memcpy(value, &pipes[d->object].side[d->side].error, sizeof(int));
    pipes[d->object].side[d->side].error = 0;
    sim_log("so_error", fd, *(int *)value, 0);
    return 0;
}

WRAP(int, setsockopt, int fd, int level, int option, const void *value, socklen_t len)
{
    static const int errors[] = {EINVAL, ENOBUFS, 0};
    struct descriptor *d = kernel_fd(fd, FD_STREAM, "setsockopt");

    (void)value, (void)len;
    if (level == SOL_SOCKET && option == SO_LINGER) {
        pipes[d->object].side[d->side].hard = true;
        return 0;
    }
    return sim_chance(10) && kernel_fault(errors) ? -1 : 0;
}

/* ---- readiness ---- */

unsigned kernel_ready(const struct descriptor *d)
{
    struct stream *p = &pipes[d->object];
    struct half *in = &p->half[1 - d->side];
    unsigned bits = 0;

    if (d->kind == FD_EVENT)
        return d->value > 0 ? POLLIN : 0;
    if (d->kind == FD_LISTENER)
        return listeners[d->object].count > 0 ? POLLIN : 0;
    SIM_CHECK(d->kind == FD_STREAM);
    if (d->side == 0)
        settle(d->object);
    if (d->side == 0 && p->state == LINK_NEW)
        return POLLOUT | POLLHUP;
    if (d->side == 0 && p->state == LINK_CONNECTING)
        return 0;
    if (p->state == LINK_FAILED || p->side[d->side].reset)
        return POLLIN | POLLOUT | POLLRDHUP | POLLHUP | (p->side[d->side].error != 0 ? POLLERR : 0u);
    if (in->arrived > in->read || in->fin_arrived)
        bits |= POLLIN;
    if (kernel_room(d->object, d->side) > 0 || p->half[d->side].fin)
        bits |= POLLOUT;
    if (in->fin_arrived)
        bits |= POLLRDHUP;
    if (in->fin_arrived && p->half[d->side].fin)
        bits |= POLLHUP;
    return bits;
}
