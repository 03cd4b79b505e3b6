/* F2 backend over io_uring: sending.
 *
 * Facts
 * - A request that may not wait is done with the very call that hands it over, on this thread. One that is marked so is
 *   answered only if it fails, and with MSG_WAITALL less than all is a failure, too.
 * - An answer for which the ring has no room is kept by the kernel, and a flag tells that there are such.
 *
 * So: a slice leaves its ring with the request and counts as sent. When the request was taken and all answers are known,
 * it is. What did not go comes back to the front of the ring, which is told, and waits for the kernel to have room.
 * Beside answers to each, that spares the second look at a connection, which is out of the cache by then. */
#include "../base/check.h"
#include "../base/err.h"
#include "backend_uring.h"

#include <errno.h>
#include <sys/socket.h>

enum { SOON_BYTES = 64 * 1024 }; /* a slice that goes out as a request, at most */
#define NUMBER ((1u << WAWO_ID_SLOT_BITS) - 1)

static void shut(struct wawo_sock *s)
{
    s->orders &= 0x7fu ^ URING_ORDER_SHUT;
    (void)wawo_os_shutdown_write(s->fd); /* ENOTCONN after a reset: the next read tells */
}

/* The rest of what did not go is the ring's again. */
static void bring_back(struct wawo_backend *b, const struct wawo_uring_send *i)
{
    bool full = i->res > 0 || i->res == WAWO_AGAIN || i->res == WAWO_ENOBUFS || i->res == -EINTR;
    struct wawo_sock *s = i->sock;

    if (i->res > 0) {
        i->slice->ptr += i->res;
        i->slice->len -= (size_t)i->res;
    }
    b->back[b->back_count++] = (struct wawo_uring_back){s->id, i->slice->len, full ? 0 : i->res};
    wawo_ring_put_back(&s->out, i->slice);
    wawo_backend_order(b, s, URING_ORDER_SEND, URING_ORDER_MORE);
    wawo_ring_settle(&s->out, b->writer.heap); /* the wait may be long */
}

/* It went, and somebody had asked: what he has more to send waits its turn, or else he waits to hear it. */
static void tell_gone(struct wawo_backend *b, struct wawo_sock *s)
{
    if (s->out.head != NULL) {
        wawo_backend_order(b, s, URING_ORDER_SEND, URING_ORDER_MORE);
        return;
    }
    s->orders &= 0x7fu ^ URING_ORDER_MORE;
    b->back[b->back_count++] = (struct wawo_uring_back){s->id, 0, 0}; /* no poll: it may be full from now on */
}

static void settle_one(struct wawo_backend *b, const struct wawo_uring_send *i)
{
    struct wawo_sock *s = i->sock;

    s->flags &= URING_FLAGS ^ URING_SENDING;
    if (wawo_unlikely(i->res != 0 && !(s->flags & URING_GONE))) {
        bring_back(b, i);
        return;
    }
    wawo_slice_done(i->slice, b->writer.heap);
    if (wawo_unlikely(s->flags & URING_GONE))
        wawo_backend_mark(b, s);
    else if (wawo_unlikely(s->orders & URING_ORDER_MORE))
        tell_gone(b, s);
    if (wawo_unlikely(s->orders & URING_ORDER_SHUT) && s->out.head == NULL)
        shut(s);
}

/* Looks for failures among the answers that are new. */
static void look(struct wawo_backend *b)
{
    const struct wawo_uring *u = &b->ring;
    uint32_t tail = wawo_load(u->cq_ktail), number;
    const struct uring_cqe *c;

    for (; b->send_looked != tail; b->send_looked++) {
        c = &u->cqes[b->send_looked & u->cq_mask];
        if (wawo_likely((c->user_data & URING_OF_MASK) != (uint64_t)URING_OF_SEND << URING_OF_SHIFT))
            continue;
        number = ((uint32_t)c->user_data - b->send_first) & NUMBER;
        WAWO_CHECK(number < b->send_count);
        b->sends[number].res = c->res;
    }
}

void wawo_uring_send_settle(struct wawo_backend *b)
{
    uint32_t head = wawo_load(b->ring.sq_khead);
    unsigned i;

    if (b->send_count == 0)
        return;
    look(b);
    if (wawo_unlikely(wawo_uring_overflows(&b->ring)))
        return; /* some may be among those that do not show yet */
    for (i = 0; i < b->send_count && (int32_t)(b->sends[i].at - head) < 0; i++) {
        if (i + 1 < b->send_count)
            wawo_prefetch(b->sends[i + 1].sock);
        settle_one(b, &b->sends[i]);
    }
    b->send_first += i;
    b->send_count -= i;
    if (wawo_unlikely(b->send_count > 0))
        memmove(b->sends, b->sends + i, b->send_count * sizeof *b->sends);
    wawo_heap_rewind(b->writer.heap); /* what was sent is still warm for what is sent next */
}

void wawo_uring_send_hurry(struct wawo_backend *b)
{
    (void)wawo_uring_submit(&b->ring);
    wawo_uring_send_settle(b);
}

ptrdiff_t wawo_uring_send(struct wawo_backend *b, struct wawo_sock *s)
{
    ptrdiff_t n;
    bool waits;

    if (wawo_unlikely(s->flags & URING_SENDING))
        wawo_uring_send_hurry(b);
    if (wawo_unlikely(s->flags & URING_SENDING)) {
        s->orders |= URING_ORDER_MORE;
        if (s->out.bytes == 0) {
            wawo_ring_consume(&s->out, b->writer.heap, 0); /* loans of no bytes: they need not wait */
            return WAWO_AGAIN;
        }
    }
    if ((s->orders & (URING_ORDER_SEND | URING_ORDER_MORE)) || s->reading)
        return 0; /* the kernel is full, or the disk busy */
    n = wawo_writer_begin(&b->writer, s, &waits);
    if (wawo_unlikely(waits))
        wawo_backend_order(b, s, URING_ORDER_SEND, 0);
    return n;
}

/* false: there is no room for one more. */
static bool ask(struct wawo_backend *b, struct wawo_sock *s)
{
    struct wawo_uring_send *i = &b->sends[b->send_count];
    struct uring_sqe *e;

    if (b->send_count + b->back_count >= WAWO_URING_SENDS)
        return false;
    e = wawo_uring_request(&b->ring);
    if (e == NULL)
        return false;
    if (b->send_count == 0)
        b->send_looked = wawo_load(b->ring.cq_ktail);
    *i = (struct wawo_uring_send){.sock = s, .slice = wawo_ring_take(&s->out), .at = b->ring.sq_tail - 1};
    e->opcode = URING_OP_SEND;
    e->flags = URING_SQE_CQE_SKIP_SUCCESS;
    e->fd = s->fd;
    e->addr = (uintptr_t)i->slice->ptr;
    e->len = (uint32_t)i->slice->len;
    e->op_flags = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL;
    e->user_data = wawo_uring_tag((b->send_first + b->send_count++) & NUMBER, URING_OF_SEND);
    s->flags |= URING_SENDING;
    return true;
}

ptrdiff_t wawo_uring_send_soon(struct wawo_backend *b, struct wawo_sock *s)
{
    const struct wawo_slice *head = s->out.head;
    size_t len = head->len;

    if (wawo_unlikely((s->orders & URING_ORDER_SEND) || s->reading || (s->flags & URING_SENDING)))
        return wawo_uring_send(b, s);
    if (wawo_unlikely(head->next != NULL || head->kind == WAWO_SLICE_FILE || len - 1 >= SOON_BYTES) || !ask(b, s))
        return wawo_uring_send(b, s);
    return (ptrdiff_t)len;
}

void wawo_uring_send_shutdown(struct wawo_backend *b, struct wawo_sock *s)
{
    if (wawo_unlikely(s->flags & URING_SENDING))
        wawo_uring_send_hurry(b);
    if (wawo_unlikely((s->flags & URING_SENDING) || s->out.head != NULL))
        s->orders |= URING_ORDER_SHUT;
    else
        shut(s);
}

int wawo_uring_send_resume(struct wawo_backend *b, struct wawo_sock *s, struct wawo_done *d)
{
    bool waits;
    int n = wawo_writer_resume(&b->writer, s, d, &waits);

    if (!waits)
        wawo_backend_order(b, s, 0, URING_ORDER_SEND);
    if (wawo_unlikely(s->orders & URING_ORDER_SHUT) && s->out.head == NULL)
        shut(s);
    return n;
}

int wawo_uring_send_back(struct wawo_backend *b, struct wawo_done *done, int max)
{
    const struct wawo_uring_back *last;
    int n = 0;

    while (b->back_count > 0 && n < max) {
        last = &b->back[--b->back_count];
        if (wawo_table_find(b->table, last->id) != NULL)
            done[n++] = (struct wawo_done){.id = last->id,
                                           .kind = last->len > 0 ? WAWO_DONE_BACK : WAWO_DONE_SENT,
                                           .error = last->error,
                                           .len = last->len};
    }
    return n;
}
