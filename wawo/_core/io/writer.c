#include "writer.h"

#include "../base/err.h"
#include "warm.h"

enum {
    SEND_BYTES = 1024 * 1024,      /* written in one go at most, for fairness */
    FILES_BYTES = 2 * 1024 * 1024, /* of files, written in one turn; shared by those that are ready */
    FILE_FIRST = 256 * 1024,       /* of a file, at once when it is sent */
    FILE_LEAST = 64 * 1024,        /* and however many there are: less would not be worth the call */
    READ_BYTES = 1024 * 1024,      /* of a file, read into memory at once: other files wait for their turn */
    READ_AHEAD = 1024 * 1024       /* and started to be read, for the time it takes to send the former */
};

void wawo_writer_init(struct wawo_writer *w, const struct wawo_backend_env *env,
                      void (*go_on)(void *arg, struct wawo_sock *s), void *arg)
{
    w->table = env->table;
    w->heap = env->heap;
    w->loop = env->loop;
    w->go_on = go_on;
    w->arg = arg;
    w->file_share = FILE_LEAST;
    w->files_left = FILES_BYTES;
}

void wawo_writer_turn(struct wawo_writer *w)
{
    w->files_left = FILES_BYTES;
}

void wawo_writer_share(struct wawo_writer *w, int ready)
{
    w->file_share = wawo_max_size(FILES_BYTES / (ready > 0 ? (size_t)ready : 1), FILE_LEAST);
}

/* A part of a file was read for a sock that may be gone by now: writing goes on. */
static void file_read(void *arg, uint64_t id, struct wawo_file *f, size_t len, int error)
{
    struct wawo_writer *w = arg;
    struct wawo_sock *s = wawo_table_find(w->table, id);

    if (s == NULL || !s->reading)
        return;
    s->reading = 0;
    f->error = error;
    f->warm_end = f->offset + len;
    f->warm_ns = wawo_os_now_coarse_ns();
    w->go_on(w->arg, s);
}

/* Writes of the file that is next: what the kernel took, WAWO_AGAIN also when it is read first, or an error. */
static ptrdiff_t write_file(struct wawo_writer *w, struct wawo_sock *s, struct wawo_file *f, size_t *asked)
{
    size_t ahead;
    ptrdiff_t n;
    int err;

    if (f->error != 0)
        return f->error;
    if (f->left < *asked)
        *asked = (size_t)f->left;
    *asked = wawo_warm_cached(f, *asked);
    if (wawo_unlikely(*asked == 0)) {
        *asked = f->left < READ_BYTES ? (size_t)f->left : READ_BYTES;
        ahead = f->left - *asked < READ_AHEAD ? (size_t)(f->left - *asked) : READ_AHEAD;
        err = wawo_warm_start(w->loop, s->id, f, *asked, ahead, file_read, w);
        if (err != 0)
            return err;
        s->reading = 1;
        return WAWO_AGAIN;
    }
    n = wawo_os_sendfile(s->fd, f->fd, f->offset, *asked);
    if (n <= 0)
        return n < 0 ? n : WAWO_EIO; /* it was longer when it was opened */
    f->offset += (uint64_t)n;
    f->left -= (uint64_t)n;
    if (f->left == 0)
        wawo_ring_pop(&s->out, w->heap);
    return n;
}

/* Writes bytes, up to the next file. */
static ptrdiff_t write_bytes(struct wawo_writer *w, struct wawo_sock *s, size_t *asked)
{
    struct wawo_iov iov[WAWO_IOV_MAX];
    struct wawo_slice *head = s->out.head;
    ptrdiff_t n;
    int i, count;

    if (wawo_likely(head->next == NULL)) { /* send is cheaper than sendmsg */
        *asked = head->len;
        n = wawo_os_send(s->fd, head->ptr, *asked);
    } else {
        count = wawo_ring_vector(&s->out, iov, WAWO_IOV_MAX);
        for (*asked = 0, i = 0; i < count; i++, head = head->next)
            *asked += iov[i].len;
        n = wawo_os_sendv(s->fd, iov, count, head != NULL); /* a file follows */
    }
    if (n >= 0) /* 0: only loans of no bytes */
        wawo_ring_consume(&s->out, w->heap, (size_t)n);
    return n;
}

/* Writes until the ring is empty or the kernel is full, but at most `*room` bytes of files; what it took, or an error. */
static ptrdiff_t write_out(struct wawo_writer *w, struct wawo_sock *s, size_t *room)
{
    struct wawo_slice *head;
    size_t total = 0, asked;
    ptrdiff_t n;

    while ((head = s->out.head) != NULL && total < SEND_BYTES) {
        if (wawo_likely(head->kind != WAWO_SLICE_FILE)) {
            n = write_bytes(w, s, &asked);
        } else if (*room > 0) {
            asked = *room;
            n = write_file(w, s, head->owner, &asked);
            *room -= n > 0 ? (size_t)n : 0;
        } else {
            break;
        }
        if (n == WAWO_AGAIN || n == WAWO_ENOBUFS)
            break;
        if (n < 0)
            return n;
        total += (size_t)n;
        if ((size_t)n < asked)
            break;
    }
    return (ptrdiff_t)total;
}

ptrdiff_t wawo_writer_begin(struct wawo_writer *w, struct wawo_sock *s, bool *waits)
{
    size_t most = wawo_min_size(FILE_FIRST, w->files_left), room;
    ptrdiff_t n;

    room = most = most > FILE_LEAST ? most : FILE_LEAST;
    n = write_out(w, s, &room);
    w->files_left -= wawo_min_size(w->files_left, most - room);
    *waits = false;
    if (wawo_unlikely(s->out.head != NULL) && n >= 0) {
        *waits = !s->reading;
        wawo_ring_settle(&s->out, w->heap); /* the wait may be long */
    }
    return n;
}

int wawo_writer_resume(struct wawo_writer *w, struct wawo_sock *s, struct wawo_done *d, bool *waits)
{
    size_t before = s->out.bytes, room = w->file_share;
    ptrdiff_t sent = write_out(w, s, &room);

    *waits = sent >= 0 && s->out.head != NULL && !s->reading;
    if (*waits)
        wawo_ring_settle(&s->out, w->heap);
    if (sent == 0)
        return 0;
    *d = (struct wawo_done){.id = s->id,
                            .kind = WAWO_DONE_SENT,
                            .error = sent < 0 ? (int32_t)sent : 0,
                            .len = sent < 0 ? 0 : (size_t)sent,
                            .freed = before - s->out.bytes};
    return 1;
}
