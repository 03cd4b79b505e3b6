#include "loop.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"

int wawo_loop_init(struct wawo_loop *loop, struct wawo_threads *threads, unsigned index,
                   const struct wawo_backend_ops *ops, size_t pool_bytes)
{
    struct wawo_backend_env env = {.table = &loop->table, .heap = &loop->heap, .loop = loop};
    int err;

    memset(loop, 0, sizeof *loop);
    loop->ops = ops;
    loop->threads = threads;
    loop->index = index;
    loop->wait_max = -1;
    wawo_mpsc_init(&loop->inbox);
    loop->done = wawo_alloc(WAWO_LOOP_DONE * sizeof *loop->done);
    if (loop->done == NULL)
        return WAWO_ENOMEM;
    err = wawo_heap_init(&loop->heap, pool_bytes);
    if (err == 0) {
        err = ops->open(ops, &env, &loop->backend);
        if (err != 0)
            wawo_heap_fini(&loop->heap);
    }
    if (err != 0) {
        wawo_free(loop->done);
        return err;
    }
    wawo_mutex_init(&loop->wake);
    wawo_table_init(&loop->table, index);
    wawo_wheel_init(&loop->wheel, ops->clock(loop->backend));
    return 0;
}

void wawo_loop_close(struct wawo_loop *loop)
{
    wawo_mutex_lock(&loop->wake);
    wawo_store_full(&loop->sleeping, 0); /* nobody wakes it any more */
    wawo_mutex_unlock(&loop->wake);
    loop->ops->close(loop->backend);
    wawo_heap_fini(&loop->heap);
    wawo_free(loop->done);
}

void wawo_loop_fini(struct wawo_loop *loop)
{
    wawo_table_fini(&loop->table);
    wawo_mutex_fini(&loop->wake);
}

static void run_calls(struct wawo_loop *loop, struct wawo_node *n, bool dead)
{
    struct wawo_node *next;
    struct wawo_call *c;

    for (; n != NULL; n = next) {
        next = n->next;
        c = wawo_container_of(n, struct wawo_call, node);
        c->run(c, loop, dead);
    }
}

/* How long the next wait may last. Says "asleep" first, then looks at the inbox once more: a poster that came in between
 * sees the flag, one that came before is seen here. All four are full. That turn() takes the flag back relaxed does no
 * harm: a poster that sees it early writes no wake-up, but its call is seen before the next sleep at the latest. */
static int64_t fall_asleep(struct wawo_loop *loop)
{
    int64_t next, left;

    if (loop->busy)
        return 0;
    wawo_store_full(&loop->sleeping, 1);
    if (!wawo_mpsc_empty(&loop->inbox) || wawo_load_full(&loop->stopping))
        return 0;
    next = wawo_wheel_next(&loop->wheel);
    left = next < 0 ? -1 : next > loop->now_ns ? next - loop->now_ns : 0;
    if (loop->wait_max >= 0 && (left < 0 || left > loop->wait_max))
        left = loop->wait_max;
    return left;
}

static void turn(struct wawo_loop *loop, const struct wawo_loop_ops *ops)
{
    int n = loop->ops->wait(loop->backend, loop->done, WAWO_LOOP_DONE, fall_asleep(loop));

    /* Only broken arguments make a wait fail: without events the loop would spin for ever. */
    WAWO_CHECK(n >= 0);
    wawo_store_relaxed(&loop->sleeping, 0);
    loop->busy = false;
    loop->wait_max = -1;
    loop->now_ns = loop->ops->clock(loop->backend);
    wawo_bump(&loop->turns, 1);
    run_calls(loop, wawo_mpsc_take(&loop->inbox), false);
    if (n > 0)
        ops->done(loop, loop->done, n);
    wawo_wheel_advance(&loop->wheel, loop->now_ns);
    ops->turn(loop);
}

void wawo_loop_run(struct wawo_loop *loop, const struct wawo_loop_ops *ops)
{
    wawo_store(&loop->runner, wawo_thread_self());
    wawo_store(&loop->thread, wawo_thread_self());
    wawo_pool_bind(loop->heap.pool);
    loop->now_ns = loop->ops->clock(loop->backend);
    while (!wawo_load(&loop->stopping))
        turn(loop, ops);
    run_calls(loop, wawo_mpsc_close(&loop->inbox), true);
    ops->stop(loop);
    wawo_store(&loop->thread, 0);
    wawo_store(&loop->runner, 0);
}

void wawo_loop_stop(struct wawo_loop *loop)
{
    wawo_store_full(&loop->stopping, 1);
    loop->ops->wake(loop->backend);
}

bool wawo_loop_post(struct wawo_loop *loop, struct wawo_call *c)
{
    return wawo_loop_post_chain(loop, &c->node, &c->node);
}

bool wawo_loop_post_chain(struct wawo_loop *loop, struct wawo_node *newest, struct wawo_node *oldest)
{
    if (!wawo_mpsc_push_chain(&loop->inbox, newest, oldest))
        return false;
    if (!wawo_load_full(&loop->sleeping))
        return true;
    wawo_mutex_lock(&loop->wake);
    /* Whoever takes the flag writes the wake-up: a storm of posts makes one. */
    if (wawo_exchange(&loop->sleeping, 0)) {
        wawo_add_relaxed(&loop->wakes, 1);
        loop->ops->wake(loop->backend);
    }
    wawo_mutex_unlock(&loop->wake);
    return true;
}

void wawo_loop_after_fork(struct wawo_loop *loop)
{
    unsigned slot;

    wawo_mutex_init(&loop->table.lock); /* whoever held it is gone */
    wawo_store(&loop->runner, 0);
    wawo_store(&loop->thread, 0);       /* even if it is the one that forked: it runs no loop any more */
    for (slot = 0; slot < loop->table.slots; slot++) {
        struct wawo_sock *s = loop->table.segment[slot / WAWO_TABLE_SEGMENT][slot % WAWO_TABLE_SEGMENT].sock;

        if (s != NULL && s->fd >= 0)
            wawo_os_close(s->fd);
    }
    loop->ops->close(loop->backend);
}
