/* F2 backend over a completion port: sending.
 *
 * Facts
 * - A call without an OVERLAPPED writes at once what the kernel takes, and obeys FIONBIO: so that is tried first. As long
 *   as there is any room Windows takes all that it is given, hence a bound on each call.
 * - An operation that is posted answers when the kernel has taken all of it, and needs its bytes until then, but not the
 *   array that names them.
 * - TransmitFile reads and sends on threads of the kernel. It takes the offset out of the OVERLAPPED. The editions of
 *   Windows that are no servers run two at a time for the whole system; the others wait: another reason for parts. */
#include "iocp.h"

#include "../base/check.h"

enum {
    CALL_BYTES = 128 * 1024,  /* in one call that writes at once */
    SEND_BYTES = 1024 * 1024, /* written in one go at most, for fairness */
    POST_FIRST = 64 * 1024,   /* posted at first, where the kernel took no more; then as much as goes in FAST_NS */
    POST_LEAST = 16 * 1024,
    POST_MOST = 1024 * 1024
};
/* What a peer takes is told no sooner than all that was posted is gone: so that must not take long, or one that reads
 * slowly would look like one that does not. With a file it is also all that is under way to a peer far away. */
#define FAST_NS (100 * WAWO_MSEC)
#define SLOW_NS (500 * WAWO_MSEC)

/* What is sent on was connected: if it is not any more, it was reset. */
static int code_of(int err)
{
    return err == WAWO_ECLOSED ? WAWO_ERESET : err;
}

static DWORD vector(const struct wawo_sock *s, WSABUF *out, size_t most, size_t *bytes)
{
    struct wawo_iov iov[WAWO_IOV_MAX];
    int i, n = wawo_ring_vector(&s->out, iov, WAWO_IOV_MAX);

    *bytes = 0;
    for (i = 0; i < n && *bytes < most; i++) {
        out[i].buf = iov[i].base;
        out[i].len = (ULONG)wawo_min_size(iov[i].len, most - *bytes);
        *bytes += out[i].len;
    }
    return (DWORD)i;
}

/* Writes bytes at once, up to the next file: what the kernel took, or an error. */
static ptrdiff_t write_out(struct wawo_backend *b, struct wawo_sock *s)
{
    WSABUF bufs[WAWO_IOV_MAX];
    size_t total = 0, asked;
    DWORD n, count;
    int err;

    while (s->out.head != NULL && s->out.head->kind != WAWO_SLICE_FILE && total < SEND_BYTES) {
        count = vector(s, bufs, CALL_BYTES, &asked);
        if (WSASend(wawo_os_handle(s->fd), bufs, count, &n, 0, NULL, NULL) != 0) {
            err = wawo_os_code((DWORD)WSAGetLastError());
            return err == WAWO_AGAIN ? (ptrdiff_t)total : code_of(err);
        }
        wawo_ring_consume(&s->out, b->heap, n); /* 0: only loans of no bytes */
        total += n;
        if (n < asked)
            break;
    }
    return (ptrdiff_t)total;
}

/* Gives the kernel what it did not take at once, to be answered later: 0 or why not. */
static int post(struct wawo_backend *b, struct wawo_sock *s, struct wawo_iocp_op *op)
{
    struct wawo_slice *head = s->out.head;
    struct wawo_file *f = head->owner;
    WSABUF bufs[WAWO_IOV_MAX];
    DWORD error, count;
    size_t asked;
    bool ok;

    memset(&op->ov, 0, sizeof op->ov);
    op->posted_ns = wawo_os_now_ns();
    if (head->kind == WAWO_SLICE_FILE) {
        op->kind = WAWO_IOCP_FILE;
        op->ov.Offset = (DWORD)f->offset;
        op->ov.OffsetHigh = (DWORD)(f->offset >> 32);
        asked = wawo_min_size(op->most, b->file_share);
        asked = f->left < asked ? (size_t)f->left : asked;
        ok = b->calls.transmit(wawo_os_handle(s->fd), wawo_os_file_handle(f->fd), (DWORD)asked, 0, &op->ov, NULL, 0);
    } else {
        op->kind = WAWO_IOCP_SEND;
        wawo_ring_settle(&s->out, b->heap); /* the wait may be long */
        count = vector(s, bufs, op->most, &asked);
        ok = WSASend(wawo_os_handle(s->fd), bufs, count, NULL, 0, &op->ov, NULL) == 0;
    }
    error = ok ? 0 : (DWORD)WSAGetLastError();
    if (error != 0 && error != WSA_IO_PENDING)
        return code_of(wawo_os_code(error));
    s->flags |= IOCP_SENDING;
    return 0;
}

ptrdiff_t wawo_iocp_send(struct wawo_backend *b, struct wawo_sock *s)
{
    struct wawo_iocp_op *op;
    ptrdiff_t n;
    int err;

    if (s->flags & IOCP_SENDING)
        return 0; /* the kernel is full */
    if (s->want & IOCP_UNSERVED)
        return WAWO_EINVAL;
    n = write_out(b, s);
    if (wawo_likely(s->out.head == NULL) || n < 0)
        return n;
    op = wawo_iocp_take(b, s, WAWO_IOCP_SEND);
    if (op == NULL)
        return WAWO_ENOMEM;
    op->most = POST_FIRST;
    err = post(b, s, op);
    if (err != 0) {
        wawo_iocp_give(b, op);
        return err;
    }
    return n;
}

/* Books what came home: 0 or an error. */
static int book(struct wawo_backend *b, struct wawo_sock *s, const struct wawo_iocp_op *op, size_t len)
{
    struct wawo_file *f;

    if (op->kind == WAWO_IOCP_SEND) {
        wawo_ring_consume(&s->out, b->heap, len);
        return 0;
    }
    WAWO_CHECK(s->out.head != NULL && s->out.head->kind == WAWO_SLICE_FILE);
    f = s->out.head->owner;
    if (len == 0)
        return WAWO_EIO; /* it was longer when it was opened */
    f->offset += len;
    f->left -= len;
    if (f->left == 0)
        wawo_ring_pop(&s->out, b->heap);
    return 0;
}

void wawo_iocp_sent(struct wawo_backend *b, struct wawo_sock *s, struct wawo_iocp_op *op, size_t len,
                    struct wawo_done *d)
{
    size_t before = s->out.bytes;
    int err = code_of(wawo_iocp_result(s, op));
    int64_t took = wawo_os_now_ns() - op->posted_ns;
    ptrdiff_t n = 0;

    if (took < FAST_NS && op->most < POST_MOST)
        op->most *= 2;
    else if (took > SLOW_NS && op->most > POST_LEAST)
        op->most /= 2;
    s->flags &= IOCP_FLAGS ^ IOCP_SENDING;
    if (err == 0)
        err = book(b, s, op, len);
    if (err == 0)
        n = write_out(b, s);
    if (n < 0)
        err = (int)n;
    if (err == 0 && s->out.head != NULL)
        err = post(b, s, op);
    if (!(s->flags & IOCP_SENDING))
        wawo_iocp_give(b, op);
    *d = (struct wawo_done){.id = s->id,
                            .kind = WAWO_DONE_SENT,
                            .error = err,
                            .len = err == 0 ? len + (size_t)n : 0,
                            .freed = before - s->out.bytes};
}
