/* The fake kernel's io_uring, beneath the three system calls. A ring works only in its loop's own wait (DEFER_TASKRUN), a
 * few requests at a time and in any order; it may be small, so that requests find no room and answers overflow. A standing
 * receive reads into lent buffers and is edge triggered: what came together with bytes may never be told. */
#include "program.h"

#include "io/uring_abi.h"

#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

enum { RINGS = LOOPS + 1, REQUESTS = 512, READS = 8, WORK = 20, AT_ARRAY = 64, EALREADY_TOLD = 20, ENDS_LOST = 500 };
enum { BUFFER_RING = 4096 }; /* where one must begin */
/* Per mille, where calls fail at all: want of memory that lasts, that a call without a wait meets, after which the work of
 * the sockets is done all the same; sends cut short. So of what a connection asks for at its end not all is known. */
enum { SCARCE_AGAIN = 700, SCARCE_ALONE = 100, WORKS_ALONE = 500, SHORT_SENDS = 200 };

/* What a stream looked like when it was last read from: a difference is an edge. */
struct sight {
    size_t arrived;
    uint64_t value; /* of an event */
    bool fin, reset, failed;
};

struct request {
    struct uring_sqe sqe;
    struct sight seen;
    bool used, looked, cancelled;
    bool let_go; /* it holds its file no more */
};

struct ring {
    int fd; /* 0: free */
    const struct fiber *owner; /* who enabled it, NULL */
    bool packs; /* reads into a buffer, one behind the other */
    bool counts; /* waits for several answers */
    bool scarce; /* there was no memory for a request, so there may be none for the next */
    uint32_t sq_entries, cq_entries;
    uint32_t *words; /* the map: heads, tails, places of requests, answers; NULL: not mapped (any more) */
    struct uring_sqe *sqes;
    struct uring_cqe *cqes;
    struct request requests[REQUESTS];
    int end; /* of those ever used */
    struct uring_cqe *late; /* answers without room; kept from run to run */
    size_t late_room, late_count;
    struct uring_buf *bufs;
    uint32_t buf_entries;
    uint16_t buf_head;
};

enum { SQ_HEAD, SQ_TAIL, CQ_HEAD, CQ_TAIL, SQ_FLAGS }; /* in words */

void *__real_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset);

static struct ring rings[RINGS];

static struct ring *ring_of(int fd)
{
    struct ring *r = &rings[kernel_fd(fd, FD_URING, "io_uring")->object];

    SIM_CHECK(r->fd == fd);
    return r;
}

void kernel_uring_reset(void)
{
    struct uring_cqe *late;
    size_t room;
    int i;

    for (i = 0; i < RINGS; i++) {
        late = rings[i].late;
        room = rings[i].late_room;
        memset(&rings[i], 0, sizeof rings[i]);
        rings[i].late = late;
        rings[i].late_room = room;
    }
}

/* Only the one that watches the wake-ups has no end of its own. */
void kernel_uring_closed(int fd)
{
    struct ring *r = ring_of(fd);
    int i;

    for (i = 0; i < r->end; i++)
        if (r->requests[i].used && !r->requests[i].let_go &&
            kernel_fd(r->requests[i].sqe.fd, FD_FREE, "io_uring")->kind != FD_EVENT)
            SIM_FAIL("the ring is closed, and request %llx is in flight",
                     (unsigned long long)r->requests[i].sqe.user_data);
    r->fd = 0;
    r->end = 0;
}

bool kernel_uring_holds(int fd)
{
    int i, k;

    for (i = 0; i < RINGS; i++)
        for (k = 0; rings[i].fd != 0 && k < rings[i].end; k++)
            if (rings[i].requests[k].used && !rings[i].requests[k].let_go && rings[i].requests[k].sqe.fd == fd)
                return true;
    return false;
}

void *kernel_uring_map(int fd, size_t size, off_t offset)
{
    static const int errors[] = {ENOMEM, EAGAIN, 0};
    struct ring *r = ring_of(fd);
    void *p;

    if (kernel_fault(errors))
        return MAP_FAILED;
    p = __real_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    SIM_CHECK(p != MAP_FAILED);
    if (offset == URING_OFF_SQES) {
        SIM_CHECK(size == r->sq_entries * sizeof(struct uring_sqe));
        r->sqes = p;
    } else {
        SIM_CHECK(offset == URING_OFF_SQ_RING);
        r->words = p;
        r->cqes = (void *)((char *)p + AT_ARRAY + r->sq_entries * sizeof(uint32_t));
        SIM_CHECK(size >= (size_t)((char *)(r->cqes + r->cq_entries) - (char *)p));
    }
    return p;
}

/* ---- answers ---- */

static uint32_t answers(const struct ring *r)
{
    return r->words[CQ_TAIL] - r->words[CQ_HEAD];
}

static void put(struct ring *r, const struct uring_cqe *c)
{
    SIM_CHECK(answers(r) < r->cq_entries);
    r->cqes[r->words[CQ_TAIL]++ & (r->cq_entries - 1)] = *c;
}

static void answer(struct ring *r, uint64_t tag, int res, uint32_t flags)
{
    struct uring_cqe c = {.user_data = tag, .res = res, .flags = flags};

    sim_log("cqe", (int64_t)tag, res, flags);
    if (r->late_count == 0 && answers(r) < r->cq_entries) {
        put(r, &c);
        return;
    }
    r->late = sim_grow(r->late, &r->late_room, r->late_count + 1, sizeof *r->late);
    r->late[r->late_count++] = c;
    r->words[SQ_FLAGS] = URING_SQ_CQ_OVERFLOW;
    app.seen[SEEN_OVERFLOW]++;
}

static void flush_late(struct ring *r)
{
    size_t n = 0;

    if (r->late_count == 0)
        return;
    while (n < r->late_count && answers(r) < r->cq_entries)
        put(r, &r->late[n++]);
    r->late_count -= n;
    memmove(r->late, r->late + n, r->late_count * sizeof *r->late);
    if (r->late_count == 0)
        r->words[SQ_FLAGS] = 0;
}

/* The last answer of a request. */
static void end(struct ring *r, struct request *q, int res, uint32_t flags)
{
    q->used = false;
    answer(r, q->sqe.user_data, res, flags);
}

/* ---- receiving ---- */

static struct sight look(const struct request *q)
{
    struct descriptor *d = kernel_fd(q->sqe.fd, FD_FREE, "io_uring");
    const struct stream *p = &pipes[d->object];

    if (d->kind != FD_STREAM)
        return (struct sight){.value = d->value};
    return (struct sight){.arrived = p->half[1 - d->side].arrived,
                          .fin = p->half[1 - d->side].fin_arrived,
                          .reset = p->side[d->side].reset,
                          .failed = p->state == LINK_FAILED};
}

static bool differs(const struct sight *a, const struct sight *b)
{
    return a->arrived != b->arrived || a->value != b->value || a->fin != b->fin || a->reset != b->reset ||
           a->failed != b->failed;
}

/* The buffer that is next, NULL: none is lent. */
static struct uring_buf *next_buffer(struct ring *r)
{
    if (r->buf_head == r->bufs->reserved) /* the ring's tail */
        return NULL;
    return &r->bufs[r->buf_head & (r->buf_entries - 1)];
}

/* The flags of an answer whose bytes are in it. */
static uint32_t fill(struct ring *r, struct uring_buf *b, size_t n)
{
    uint32_t flags = URING_CQE_BUFFER | (uint32_t)b->bid << URING_CQE_BUFFER_SHIFT;

    SIM_CHECK(n <= b->len);
    if (r->packs && n < b->len) {
        b->addr += n;
        b->len -= (uint32_t)n;
        return flags | URING_CQE_BUF_MORE;
    }
    r->buf_head++;
    return flags;
}

/* One read. True: another one may follow. */
static bool read_once(struct ring *r, struct request *q)
{
    static const int errors[] = {EINTR, ENOMEM, EAGAIN, ECANCELED, ENOBUFS, 0};
    struct descriptor *d = kernel_fd(q->sqe.fd, FD_STREAM, "io_uring");
    const struct half *in = &pipes[d->object].half[1 - d->side];
    bool stays = q->sqe.ioprio & URING_RECV_MULTISHOT;
    struct uring_buf *b = next_buffer(r);
    uint32_t flags;
    ptrdiff_t n;

    q->looked = true;
    q->seen = look(q);
    if (b == NULL || kernel_fault(errors)) {
        end(r, q, b == NULL ? -ENOBUFS : -errno, 0);
        return false;
    }
    n = kernel_recv(d, (void *)(uintptr_t)b->addr, q->sqe.len == 0 ? b->len : wawo_min_size(q->sqe.len, b->len));
    if (n == -EAGAIN)
        return false;
    if (n <= 0) { /* a buffer may have been taken for nothing */
        end(r, q, (int)n, n == 0 && sim_chance(100) ? fill(r, b, 0) : 0);
        return false;
    }
    flags = fill(r, b, (size_t)n);
    if (!stays || sim_chance(sim_faults / 4)) {
        end(r, q, (int)n, flags);
        return false;
    }
    if (in->arrived == in->read) {
        answer(r, q->sqe.user_data, (int)n, flags | URING_CQE_MORE);
        if (!sim_chance(ENDS_LOST))
            return true;
        app.seen[SEEN_LOST_END] += q->seen.fin || q->seen.reset;
        return false;
    }
    answer(r, q->sqe.user_data, (int)n, flags | URING_CQE_MORE | URING_CQE_SOCK_NONEMPTY);
    return true;
}

static void receive(struct ring *r, struct request *q)
{
    int n = 0;

    while (n < READS && read_once(r, q))
        n++;
    if (q->used && n == READS)
        q->looked = false; /* others first */
}

/* ---- requests ---- */

static bool is_due(const struct request *q)
{
    struct sight now;
    unsigned bits;

    if (!q->used)
        return false;
    if (q->cancelled)
        return true;
    now = look(q);
    if (q->looked && !differs(&now, &q->seen))
        return false;
    bits = kernel_ready(kernel_fd(q->sqe.fd, FD_FREE, "io_uring"));
    return bits & (q->sqe.opcode == URING_OP_RECV ? (unsigned)POLLIN : q->sqe.op_flags | POLLERR | POLLHUP);
}

/* Answers that are there, and things that have happened, of which a loop is told when it waits. */
struct count {
    const struct ring *ring;
    size_t enough;
};

static bool enough_due(void *arg)
{
    const struct count *c = arg;
    const struct ring *r = c->ring;
    size_t n = answers(r) + r->late_count;
    int i;

    for (i = 0; i < r->end && n < c->enough; i++)
        n += is_due(&r->requests[i]);
    return n >= c->enough;
}

static void work_on(struct ring *r, struct request *q)
{
    unsigned bits;

    if (q->cancelled) {
        if (q->sqe.opcode == URING_OP_RECV && !q->let_go && sim_chance(300))
            receive(r, q);
        if (q->used)
            end(r, q, -ECANCELED, 0);
        app.seen[SEEN_CANCELLED]++;
        return;
    }
    if (q->sqe.opcode == URING_OP_RECV) {
        receive(r, q);
        return;
    }
    bits = kernel_ready(kernel_fd(q->sqe.fd, FD_FREE, "io_uring")) & (q->sqe.op_flags | POLLERR | POLLHUP);
    q->looked = true;
    q->seen = look(q);
    if ((q->sqe.len & URING_POLL_ADD_MULTI) && !sim_chance(sim_faults / 4))
        answer(r, q->sqe.user_data, (int)bits, URING_CQE_MORE);
    else
        end(r, q, (int)bits, 0);
}

static void work(struct ring *r)
{
    int i, n = 0, most = sim_faults > 0 ? 1 + (int)sim_below(WORK) : WORK, start = (int)sim_below((uint32_t)r->end);
    struct request *q;

    flush_late(r);
    for (i = 0; i < r->end && n < most; i++) {
        q = &r->requests[(start + i) % r->end];
        if (!is_due(q) || (sim_faults > 0 && kernel_is_late()))
            continue;
        work_on(r, q);
        n++;
    }
}

static struct request *find(struct ring *r, uint64_t tag)
{
    int i;

    for (i = 0; i < r->end; i++)
        if (r->requests[i].used && r->requests[i].sqe.user_data == tag && !r->requests[i].let_go)
            return &r->requests[i];
    return NULL;
}

static void start(struct ring *r, const struct uring_sqe *e)
{
    struct request *q = find(r, e->user_data);
    int i = 0;

    if (q != NULL)
        SIM_FAIL("request %llx is made again, and was not answered", (unsigned long long)e->user_data);
    (void)kernel_fd(e->fd, FD_FREE, "io_uring");
    while (i < r->end && r->requests[i].used)
        i++;
    SIM_CHECK(i < REQUESTS);
    if (i == r->end)
        r->end++;
    q = &r->requests[i];
    *q = (struct request){.sqe = *e, .used = true};
    if (e->opcode == URING_OP_RECV && !(e->ioprio & URING_RECVSEND_POLL_FIRST))
        receive(r, q); /* tried at once */
}

static void submit(struct ring *r, const struct uring_sqe *e)
{
    struct request *q;
    ptrdiff_t n;

    sim_log("sqe", e->fd, e->opcode, (int64_t)e->user_data);
    switch (e->opcode) {
    case URING_OP_SEND:
        SIM_CHECK(e->op_flags == (MSG_NOSIGNAL | MSG_DONTWAIT | MSG_WAITALL) && e->len > 0);
        SIM_CHECK(e->flags == URING_SQE_CQE_SKIP_SUCCESS);
        n = kernel_send(kernel_fd(e->fd, FD_STREAM, "io_uring"), (const void *)(uintptr_t)e->addr,
                        sim_faults > 0 && sim_chance(SHORT_SENDS) ? sim_size(e->len) : e->len);
        if (n != (ptrdiff_t)e->len)
            answer(r, e->user_data, n < 0 ? -errno : (int)n, 0);
        break;
    case URING_OP_ASYNC_CANCEL:
        SIM_CHECK(e->flags == URING_SQE_CQE_SKIP_SUCCESS);
        q = find(r, e->addr);
        if (q == NULL || sim_chance(sim_faults > 0 ? EALREADY_TOLD : 0))
            answer(r, e->user_data, q == NULL ? -ENOENT : -EALREADY, 0);
        else
            q->cancelled = true;
        break;
    case URING_OP_RECV:
        SIM_CHECK(e->flags == URING_SQE_BUFFER_SELECT && r->bufs != NULL && e->op_flags == 0);
        start(r, e);
        break;
    default:
        SIM_CHECK(e->opcode == URING_OP_POLL_ADD && (e->len & ~(unsigned)URING_POLL_ADD_MULTI) == 0);
        start(r, e);
    }
}

/* ---- the calls ---- */

static long failed(int error)
{
    errno = error;
    return -1;
}

static long setup(unsigned entries, struct uring_params *p)
{
    static const int errors[] = {EPERM, ENOSYS, EINVAL, ENOMEM, EMFILE, 0};
    bool small = sim_chance(500);
    struct ring *r = rings;

    SIM_CHECK((p->flags & URING_SETUP_SINGLE_ISSUER) && (p->flags & URING_SETUP_DEFER_TASKRUN) &&
              (p->flags & URING_SETUP_R_DISABLED) && (p->flags & URING_SETUP_SUBMIT_ALL));
    if (kernel_fault(errors))
        return -1;
    while (r < rings + RINGS && r->fd != 0)
        r++;
    SIM_CHECK(r < rings + RINGS);
    r->fd = kernel_open(FD_URING, (int)(r - rings), 0, true);
    if (r->fd < 0) {
        r->fd = 0;
        return -1;
    }
    r->owner = NULL;
    r->packs = sim_chance(700);
    r->sq_entries = small ? 4u << sim_below(4) : entries;
    r->cq_entries = small ? r->sq_entries << sim_below(4) : p->cq_entries;
    r->scarce = false;
    r->words = NULL;
    r->sqes = NULL;
    r->bufs = NULL;
    r->buf_head = 0;
    r->late_count = 0;
    r->end = 0;
    p->sq_entries = r->sq_entries;
    p->cq_entries = r->cq_entries;
    r->counts = sim_chance(700);
    p->features = sim_chance(sim_faults / 4) ? 0 : UINT32_MAX; /* an old one, now and then */
    if (!r->counts)
        p->features &= ~(uint32_t)URING_FEAT_MIN_TIMEOUT;
    p->sq_off =
        (struct uring_sq_offsets){.head = 4 * SQ_HEAD, .tail = 4 * SQ_TAIL, .flags = 4 * SQ_FLAGS, .array = AT_ARRAY};
    p->cq_off = (struct uring_cq_offsets){
        .head = 4 * CQ_HEAD, .tail = 4 * CQ_TAIL, .cqes = AT_ARRAY + r->sq_entries * (unsigned)sizeof(uint32_t)};
    sim_log("setup", r->fd, r->sq_entries, r->cq_entries);
    return r->fd;
}

static long register_buffers(struct ring *r, const struct uring_buf_reg *reg)
{
    static const int errors[] = {ENOMEM, EINVAL, 0};

    SIM_CHECK(reg->ring_addr % BUFFER_RING == 0 && reg->bgid == 0 && r->bufs == NULL);
    if ((reg->flags & URING_PBUF_INC) && !r->packs)
        return failed(EINVAL);
    if (kernel_fault(errors))
        return -1;
    r->packs = reg->flags & URING_PBUF_INC;
    r->bufs = (void *)(uintptr_t)reg->ring_addr;
    r->buf_entries = reg->ring_entries;
    return 0;
}

static long do_register(int fd, unsigned what, void *arg, unsigned count)
{
    struct ring *r = ring_of(fd);
    struct request *q;

    switch (what) {
    case URING_REGISTER_ENABLE_RINGS:
        SIM_CHECK(r->owner == NULL && fiber_current() != NULL);
        r->owner = fiber_current();
        return 0;
    case URING_REGISTER_RING_FDS:
        SIM_CHECK(count == 1 && r->owner == fiber_current());
        ((struct uring_rsrc_update *)arg)->offset = (uint32_t)(r - rings);
        return sim_chance(800) ? 1 : failed(EBUSY);
    case URING_REGISTER_SYNC_CANCEL:
        SIM_CHECK(r->owner == fiber_current());
        q = find(r, ((const struct uring_sync_cancel_reg *)arg)->addr);
        if (q == NULL)
            return failed(ENOENT);
        q->cancelled = q->let_go = true;
        return 0;
    default:
        SIM_CHECK(what == URING_REGISTER_PBUF_RING && count == 1);
        return register_buffers(r, arg);
    }
}

/* How many requests left; fewer than there are when there is no memory for more. */
static unsigned take_requests(struct ring *r, unsigned count)
{
    unsigned n = 0, here = r->words[SQ_TAIL] - r->words[SQ_HEAD];
    const uint32_t *array = r->words + AT_ARRAY / sizeof(uint32_t);
    struct uring_sqe e;

    SIM_CHECK(here <= r->sq_entries && count <= here);
    app.seen[SEEN_RING_FULL] += here == r->sq_entries;
    while (n < count && !sim_chance(sim_faults / 8)) {
        e = r->sqes[array[r->words[SQ_HEAD] & (r->sq_entries - 1)]];
        r->words[SQ_HEAD]++;
        n++;
        submit(r, &e);
    }
    return n;
}

static bool is_scarce(const struct ring *r, bool hurries)
{
    return sim_faults > 0 && sim_chance(r->scarce ? SCARCE_AGAIN : hurries ? SCARCE_ALONE : 0);
}

static int64_t wait_until(const struct uring_getevents_arg *arg)
{
    const struct uring_timespec *ts = (const void *)(uintptr_t)arg->timespec;

    return ts == NULL ? -1 : sim_now + ts->sec * WAWO_SEC + ts->nsec;
}

/* Waits for so many, but for one only when that takes longer than it should. false: nothing came. */
static bool wait_for(struct ring *r, unsigned count, const struct uring_getevents_arg *arg)
{
    struct count some = {r, count}, one = {r, 1};

    if (count > 1 && fiber_block(enough_due, &some, sim_now + (int64_t)arg->min_wait_us * 1000))
        return true;
    return fiber_block(enough_due, &one, wait_until(arg));
}

static long enter(int fd, unsigned count, unsigned wait, unsigned flags, const struct uring_getevents_arg *arg)
{
    static const int none[] = {EAGAIN, 0}, full[] = {EBUSY, EAGAIN, 0}, interrupted[] = {EINTR, 0};
    struct ring *r = flags & URING_ENTER_REGISTERED_RING ? &rings[fd] : ring_of(fd);
    unsigned n = 0;

    SIM_CHECK(r->fd != 0 && r->words != NULL && r->sqes != NULL && r->owner == fiber_current());
    SIM_CHECK(r->owner != NULL);
    if (count > 0) {
        if (kernel_fault(r->late_count > 0 ? full : none))
            return -1;
        if (!is_scarce(r, !(flags & URING_ENTER_GETEVENTS)))
            n = take_requests(r, count);
        r->scarce = n < count;
        if (r->scarce && (flags & URING_ENTER_GETEVENTS) && sim_chance(WORKS_ALONE))
            work(r);
        if (n < count)
            return n > 0 ? (long)n : failed(EAGAIN);
    }
    if (!(flags & URING_ENTER_GETEVENTS))
        return n;
    SIM_CHECK((flags & URING_ENTER_EXT_ARG) && arg->sigmask_size == 8);
    SIM_CHECK(wait > 1 ? r->counts && arg->min_wait_us > 0 : arg->min_wait_us == 0);
    work(r);
    if (wait == 0)
        fiber_yield();
    if (answers(r) >= wait)
        return n;
    if (!wait_for(r, wait, arg))
        return n > 0 ? (long)n : failed(ETIME);
    if (kernel_fault(interrupted))
        return n > 0 ? (long)n : -1;
    work(r);
    sim_log("enter", r->fd, n, answers(r));
    return n;
}

long kernel_uring(long number, va_list more)
{
    int fd;
    unsigned a, b, c;

    if (number == URING_SYS_SETUP) {
        a = va_arg(more, unsigned);
        return setup(a, va_arg(more, struct uring_params *));
    }
    fd = va_arg(more, int);
    a = va_arg(more, unsigned);
    if (number == URING_SYS_REGISTER) {
        void *arg = va_arg(more, void *);

        return do_register(fd, a, arg, va_arg(more, unsigned));
    }
    b = va_arg(more, unsigned);
    c = va_arg(more, unsigned);
    return enter(fd, a, b, c, va_arg(more, const struct uring_getevents_arg *));
}
