#include "rig.h"

#include "base/err.h"

#include <stdlib.h>

static void run_calls(struct rig *r, struct wawo_node *n, bool dead)
{
    struct wawo_node *next;
    struct wawo_call *c;

    for (; n != NULL; n = next) {
        next = n->next;
        c = wawo_container_of(n, struct wawo_call, node);
        c->run(c, &r->loop, dead);
    }
}

struct rig *rig_open(const char *backend, size_t pool_bytes)
{
    struct rig *r = calloc(1, sizeof *r);
    struct wawo_backend_env env = {&r->table, &r->heap, &r->loop};
    int err;

    r->ops = wawo_backend_choose(backend, &err);
    if (r->ops == NULL)
        SKIP("%s does not probe here: %d", backend, err);
    ASSERT_STREQ(r->ops->name, backend);
    wawo_table_init(&r->table, 0);
    ASSERT_EQ(wawo_heap_init(&r->heap, pool_bytes), 0);
    wawo_pool_bind(r->heap.pool);
    ASSERT_EQ(r->ops->open(r->ops, &env, &r->backend), 0);
    r->loop.ops = r->ops;
    r->loop.backend = r->backend;
    r->loop.threads = &r->threads;
    r->threads.refs = 1;
    wawo_mpsc_init(&r->loop.inbox);
    wawo_mutex_init(&r->loop.wake);
    return r;
}

void rig_close(struct rig *r)
{
    ASSERT_EQ(r->count, 0u);
    ASSERT_EQ(r->table.used, 0u);
    KIT_UNTIL(wawo_load(&r->threads.refs) == 1); /* no thread is about to answer */
    run_calls(r, wawo_mpsc_close(&r->loop.inbox), true);
    wawo_mutex_fini(&r->loop.wake);
    r->ops->close(r->backend);
    wawo_heap_fini(&r->heap);
    wawo_table_fini(&r->table);
    ASSERT_EQ(wawo_chunk_live(), 0u);
    free(r);
}

void rig_attach(struct rig *r, struct wawo_sock *s, int fd)
{
    uint64_t id = wawo_table_open(&r->table);

    ASSERT_NE(id, 0u);
    wawo_sock_init(s, WAWO_SOCK_CONN);
    wawo_table_bind(&r->table, id, s);
    r->ops->attach(r->backend, s, fd);
    ASSERT_EQ(s->fd, fd);
}

int rig_pair(struct rig *r, struct wawo_sock *s)
{
    int fds[2];

    kit_pair(fds);
    rig_attach(r, s, fds[0]);
    return fds[1];
}

int rig_pair_unix(struct rig *r, struct wawo_sock *s)
{
    int fds[2];

    kit_pair_unix(fds);
    rig_attach(r, s, fds[0]);
    return fds[1];
}

void rig_detach(struct rig *r, struct wawo_sock *s, bool reset)
{
    r->ops->detach(r->backend, s, reset);
    rig_detached(r, s);
    rig_quiet(r, s);
}

/* What was under way before the detach may still come, and is dropped here. */
void rig_detached(struct rig *r, struct wawo_sock *s)
{
    int64_t until = kit_deadline();
    unsigned i, kept;
    bool gone = false;

    for (;;) {
        for (i = kept = 0; i < r->count; i++) {
            struct wawo_done *d = &r->pending[i];

            if (d->id != s->id) {
                r->pending[kept++] = *d;
                continue;
            }
            ASSERT_FALSE(gone); /* DETACHED is the last one, and comes once */
            gone = d->kind == WAWO_DONE_DETACHED;
            if (gone)
                ASSERT_EQ(d->error, 0); /* it has no reason of its own */
            else if (d->kind == WAWO_DONE_RECV && d->len > 0)
                wawo_chunk_drop(d->chunk);
            else if (d->kind == WAWO_DONE_ACCEPTED && d->error == 0)
                wawo_os_close(d->fd);
        }
        r->count = kept;
        if (gone)
            break;
        ASSERT_LT(wawo_os_now_ns(), until);
        rig_turn(r, 10 * WAWO_MSEC);
    }
    ASSERT_EQ(s->fd, -1);
    wawo_ring_clear(&s->out, &r->heap);
    wawo_table_close(&r->table, s->id);
}

void rig_turn(struct rig *r, int64_t timeout_ns)
{
    int i, n;

    wawo_store_full(&r->loop.sleeping, 1);
    n = r->ops->wait(r->backend, r->done, WAWO_DONE_MIN, wawo_mpsc_empty(&r->loop.inbox) ? timeout_ns : 0);
    wawo_store_full(&r->loop.sleeping, 0);
    run_calls(r, wawo_mpsc_take(&r->loop.inbox), false);
    ASSERT_GE(n, 0);
    ASSERT_LE(n, (int)WAWO_DONE_MIN);
    ASSERT_LE(r->count + (unsigned)n, (unsigned)RIG_PENDING);
    for (i = 0; i < n; i++)
        r->pending[r->count++] = r->done[i];
    r->waits++;
}

static struct wawo_done take(struct rig *r, unsigned i)
{
    struct wawo_done d = r->pending[i];

    r->count--;
    memmove(&r->pending[i], &r->pending[i + 1], (r->count - i) * sizeof d);
    return d;
}

static unsigned first_of(const struct rig *r, const struct wawo_sock *s)
{
    unsigned i;

    for (i = 0; i < r->count && r->pending[i].id != s->id; i++)
        continue;
    return i;
}

struct wawo_done rig_next(struct rig *r, const struct wawo_sock *s, enum wawo_done_kind kind)
{
    int64_t until = kit_deadline();
    struct wawo_done d;
    unsigned i;

    while ((i = first_of(r, s)) == r->count) {
        rig_turn(r, 100 * WAWO_MSEC);
        if (wawo_os_now_ns() > until)
            FAIL("no event of kind %d within %d s", (int)kind, kit_deadline_s());
    }
    d = take(r, i);
    ASSERT_EQ(d.kind, (int)kind);
    return d;
}

bool rig_has(const struct rig *r, const struct wawo_sock *s)
{
    return first_of(r, s) < r->count;
}

void rig_quiet(struct rig *r, const struct wawo_sock *s)
{
    int i;

    for (i = 0; i < 3; i++) {
        rig_turn(r, 2 * WAWO_MSEC);
        ASSERT_FALSE(rig_has(r, s));
    }
}

void rig_receive(struct rig *r, struct wawo_sock *s, uint64_t offset, size_t len)
{
    size_t got = 0;

    while (got < len) {
        struct wawo_done d = rig_next(r, s, WAWO_DONE_RECV);

        ASSERT_EQ(d.error, 0);
        ASSERT_GT(d.len, 0u);
        ASSERT_LE(got + d.len, len);
        ASSERT_TRUE(d.ptr >= d.chunk->data && d.ptr + d.len <= d.chunk->data + d.chunk->used);
        KIT_CHECK(d.ptr, d.len, offset + got);
        got += d.len;
        wawo_chunk_drop(d.chunk);
    }
}

void rig_queue(struct rig *r, struct wawo_sock *s, uint64_t offset, size_t len)
{
    uint8_t block[10000];
    size_t n;

    for (; len > 0; offset += n, len -= n) {
        n = wawo_min_size(len, sizeof block);
        kit_fill(block, n, offset);
        ASSERT_EQ(wawo_ring_copy(&s->out, &r->heap, block, n, false), 0);
    }
}

struct wawo_file *rig_queue_file(struct rig *r, struct wawo_sock *s, uint64_t offset, size_t len)
{
    struct wawo_file *f = wawo_file_new(kit_file(offset - 5, len + 10), 5, len);

    ASSERT_NOT_NULL((void *)f);
    ASSERT_EQ(wawo_ring_append_file(&s->out, &r->heap, f), 0);
    return f;
}
