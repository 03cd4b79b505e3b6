#include "net.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "../io/work.h"
#include "baton.h"
#include "dial.h"

#define BATON_PATIENCE_NS WAWO_MSEC         /* the holder may be asleep in a callback with the GIL free */
#define GIL_CONTENDED_NS WAWO_MSEC          /* a wait this long means another thread computes */
#define STICKY_IDLE_NS WAWO_MSEC           /* stay attached this long without work */
#define AWAKE_NS (50 * WAWO_MSEC / 1000)    /* loops that share a GIL sleep no sooner than this after work */
#define LOANS_MAX_NS (10 * WAWO_MSEC)       /* borrowed buffers go back at least this soon */
#define STARVING_POLL_NS (5 * WAWO_MSEC)
enum { LOANS_MAX_BYTES = 1024 * 1024 };

/* ---- the sink ---- */

/* Gets into the sink; false: later. */
static bool attach(struct wawo_net *net, bool must)
{
    int64_t asked, waited;

    if (net->attached) {
        net->entered_ns = wawo_os_now_ns();
        return true;
    }
    if (net->sink->baton) {
        net->baton = wawo_baton_try();
        if (!net->baton && !must) {
            if (net->refused_ns == 0) {
                net->refused_ns = net->loop->now_ns;
                wawo_bump(&net->stats.baton_waits, 1);
            }
            if (net->loop->now_ns - net->refused_ns < BATON_PATIENCE_NS)
                return false;
        }
    }
    net->refused_ns = 0;
    asked = wawo_os_now_ns();
    net->sink->enter(net->arg);
    net->entered_ns = wawo_os_now_ns();
    waited = net->entered_ns - asked;
    net->attached = true;
    net->sticky = waited > GIL_CONTENDED_NS;
    wawo_bump(&net->stats.gil_wait_ns, (uint64_t)waited);
    return true;
}

static void leave(struct wawo_net *net)
{
    net->sink->leave(net->arg);
    net->attached = false;
    net->sticky = false;
    if (net->baton)
        wawo_baton_give();
    net->baton = false;
}

static void give_loans_back(struct wawo_net *net)
{
    void *loan;

    while ((loan = wawo_heap_next_loan(&net->loop->heap)) != NULL)
        net->sink->give_back(loan);
    net->loans_ns = 0;
}

/* Borrowed buffers go back with the next batch; without one, when they are many or old. */
static bool loans_due(struct wawo_net *net)
{
    const struct wawo_heap *heap = &net->loop->heap;

    if (wawo_likely(heap->loans == NULL))
        return false;
    if (net->loans_ns == 0)
        net->loans_ns = net->loop->now_ns;
    return heap->loan_bytes >= LOANS_MAX_BYTES || net->loop->now_ns - net->loans_ns >= LOANS_MAX_NS;
}

/* After delivery: what the events held goes back, closed connections go. */
static void batch_done(struct wawo_net *net, unsigned count)
{
    struct wawo_event *e = net->batch.events, *end = e + count;

    for (; e < end; e++) {
        if (e->owned)
            wawo_chunk_drop(e->chunk);
        if (wawo_unlikely(e->kind == WAWO_ON_CLOSE)) {
            if (e->share->conn != NULL)
                wawo_conn_free(e->share->conn);
            else
                wawo_share_drop(e->share); /* never got as far as a connection */
        } else if (wawo_unlikely(e->kind == WAWO_ON_PREPARE_CONNECT)) {
            wawo_dial_prepared(e->share->conn, e->error);
        } else if (wawo_unlikely(e->kind == WAWO_ON_HANDSHAKE && e->len > 0)) {
            wawo_tls_told(e->share->conn);
        }
    }
    /* Freeing the last connection of an endpoint adds its SHUTDOWN: events that came behind stay. */
    net->batch.count -= count;
    if (net->batch.count > 0)
        memmove(net->batch.events, net->batch.events + count, net->batch.count * sizeof *net->batch.events);
}

void wawo_net_dirty(struct wawo_net *net, struct wawo_conn *c)
{
    c->dirty = true;
    c->next_dirty = NULL;
    *net->dirty_last = c;
    net->dirty_last = &c->next_dirty;
}

/* Settles those that are on the list now; what they add waits for the next turn, and so do the rest when the batch is
 * full of what settling told. */
static void settle_dirty(struct wawo_net *net)
{
    struct wawo_conn *c = net->dirty, *next, **last = net->dirty_last;

    net->dirty = NULL;
    net->dirty_last = &net->dirty;
    for (; c != NULL; c = next) {
        if (wawo_unlikely(net->batch.count >= WAWO_BATCH_FULL)) {
            *last = net->dirty;
            if (net->dirty == NULL)
                net->dirty_last = last;
            net->dirty = c;
            return;
        }
        next = c->next_dirty;
        if (next != NULL)
            wawo_prefetch(next);
        wawo_conn_settle(c);
    }
}

bool wawo_net_deliver(struct wawo_net *net, bool must)
{
    unsigned count = net->batch.count;
    int64_t took;

    if (count > 0 || loans_due(net)) {
        if (!attach(net, must))
            return false;
        give_loans_back(net); /* first: what is freed here is still warm for what the callbacks allocate */
        net->sink->deliver(net->arg, net->batch.events, count);
        if (!net->sticky)
            leave(net);
        took = wawo_os_now_ns() - net->entered_ns;
        wawo_bump(&net->stats.batches, 1);
        wawo_bump(&net->stats.events, count);
        wawo_bump(&net->stats.deliver_ns, (uint64_t)took);
        if (count > net->stats.batch_max)
            wawo_store_relaxed(&net->stats.batch_max, count);
        if (took > wawo_load_relaxed(net->slow_ns))
            wawo_bump(&net->stats.slow_batches, 1);
        batch_done(net, count);
    }
    settle_dirty(net);
    return true;
}

void wawo_net_room(struct wawo_net *net)
{
    if (wawo_unlikely(net->batch.count >= WAWO_BATCH_FULL))
        (void)wawo_net_deliver(net, true);
}

/* ---- the loop's calls ---- */

static void net_start(struct wawo_loop *loop)
{
    struct wawo_net *net = loop->upper;

    net->shares_gil = net->sink->baton && loop->threads->count > 1;
    net->sink->thread_start(net->arg, loop->name);
}

static void net_done(struct wawo_loop *loop, struct wawo_done *done, int n)
{
    struct wawo_net *net = loop->upper;
    struct wawo_sock *s;
    int i;

    net->fresh = true;
    for (i = 0; i < n; i++) {
        s = wawo_table_find(&loop->table, done[i].id);
        if (wawo_unlikely(s == NULL)) {
            if (done[i].kind == WAWO_DONE_RECV && done[i].len > 0)
                wawo_chunk_drop(done[i].chunk);
            else if (done[i].kind == WAWO_DONE_ACCEPTED && done[i].error == 0)
                wawo_os_close(done[i].fd);
            continue;
        }
        switch ((enum wawo_sock_kind)s->kind) {
        case WAWO_SOCK_CONN:
            wawo_conn_done(wawo_container_of(s, struct wawo_conn, sock), &done[i]);
            break;
        case WAWO_SOCK_LISTENER:
            wawo_listener_done(wawo_container_of(s, struct wawo_listener, sock), &done[i]);
            break;
        case WAWO_SOCK_ATTEMPT:
            wawo_dial_done(s, &done[i]);
            break;
        }
        wawo_net_room(net);
    }
}

static void feed_starving(struct wawo_net *net)
{
    struct wawo_loop *loop = net->loop;
    struct wawo_list some;
    struct wawo_pool_stats st;

    (void)wawo_pool_collect(loop->heap.pool);
    wawo_pool_stats(loop->heap.pool, &st);
    if (wawo_pool_left(loop->heap.pool) * 8 < st.limit)
        wawo_conn_pack_all(net);
    if (wawo_pool_left(loop->heap.pool) * 8 < st.limit) {
        loop->wait_max = STARVING_POLL_NS; /* chunks that views held come home without a call */
        return;
    }
    wawo_list_init(&some);
    wawo_list_splice(&some, &net->starving);
    while (!wawo_list_empty(&some))
        wawo_conn_fed(wawo_container_of(some.next, struct wawo_conn, starving));
}

/* Beside a thread that computes each release of the GIL costs up to its switch interval: give it up only when no work
 * has come for a while. Counted from the end of the last turn that had work, when its answers had left. */
static void stay_or_leave(struct wawo_net *net, bool fresh)
{
    int64_t now = wawo_os_now_ns();

    if (fresh)
        net->worked_ns = now;
    else if (now - net->worked_ns > STICKY_IDLE_NS)
        leave(net);
}

/* Loops that share a GIL have small batches, and going to sleep and being woken would cost each more than its work. */
static void stay_awake(struct wawo_net *net, bool fresh)
{
    struct wawo_loop *loop = net->loop;

    if (fresh)
        net->worked_ns = loop->now_ns;
    else if (loop->now_ns - net->worked_ns >= AWAKE_NS)
        return;
    else
        wawo_thread_yield(); /* others may have work for this core */
    loop->busy = true;
}

static void net_turn(struct wawo_loop *loop)
{
    struct wawo_net *net = loop->upper;
    bool fresh = net->fresh;

    net->fresh = false;
    if (!wawo_net_deliver(net, false)) { /* go on receiving meanwhile, and wait only when nothing comes */
        if (!fresh)
            wawo_baton_wait(BATON_PATIENCE_NS - (loop->now_ns - net->refused_ns));
        loop->busy = true;
        return;
    }
    if (wawo_unlikely(net->attached))
        stay_or_leave(net, fresh);
    if (wawo_unlikely(!wawo_list_empty(&net->starving)))
        feed_starving(net);
    wawo_heap_rewind(&loop->heap);
    if (wawo_unlikely(!wawo_list_empty(&net->tls.shaking)))
        wawo_tls_turn(net);
    net->tls.shakes = 0;
    loop->busy = net->batch.count > 0 || net->dirty != NULL || net->attached || !wawo_list_empty(&net->tls.shaking);
    if (net->shares_gil && !loop->busy)
        stay_awake(net, fresh);
    if (wawo_unlikely(loop->heap.loans != NULL))
        loop->wait_max = LOANS_MAX_NS;
}

static void net_stop(struct wawo_loop *loop)
{
    struct wawo_net *net = loop->upper;

    while (net->batch.count > 0 || net->dirty != NULL || loop->heap.loans != NULL) {
        net->loans_ns = 1; /* overdue */
        (void)wawo_net_deliver(net, true);
    }
    if (net->attached)
        leave(net);
    wawo_tls_fini(net);
    net->sink->thread_stop(net->arg);
}

static void net_forked(struct wawo_loop *loop)
{
    wawo_table_each(&loop->table, wawo_share_forked, NULL);
}

/* ---- engine ---- */

static int net_init(struct wawo_net *net, struct wawo_loop *loop, struct wawo_engine *engine)
{
    size_t slots = (size_t)WAWO_TABLE_SEGMENT * WAWO_TABLE_SEGMENTS;

    memset(net, 0, sizeof *net);
    net->loop = loop;
    net->sink = engine->sink;
    net->arg = engine->arg;
    net->slow_ns = &engine->slow_ns;
    net->dirty_last = &net->dirty;
    wawo_list_init(&net->starving);
    wawo_list_init(&net->loose);
    wawo_tls_init(net);
    net->batch.events = wawo_os_map(WAWO_BATCH_ROOM * sizeof *net->batch.events);
    if (net->batch.events == NULL)
        return WAWO_ENOMEM;
    /* Whole cache lines, so that what each message touches is in two of them. */
    wawo_slab_init(&net->conns, (sizeof(struct wawo_conn) + WAWO_CACHE_LINE - 1) / WAWO_CACHE_LINE * WAWO_CACHE_LINE,
                   slots);
    wawo_slab_init(&net->backlogs, sizeof(struct wawo_backlog), slots);
    wawo_slab_init(&net->helds, sizeof(struct wawo_held), slots);
    return 0;
}

static void net_fini(struct wawo_net *net)
{
    if (net->batch.events == NULL)
        return;
    wawo_slab_fini(&net->conns);
    wawo_slab_fini(&net->backlogs);
    wawo_slab_fini(&net->helds);
    wawo_os_unmap(net->batch.events, WAWO_BATCH_ROOM * sizeof *net->batch.events);
}

static int engine_init(struct wawo_loop *loop, void *arg)
{
    struct wawo_net *net = wawo_alloc(sizeof *net);
    int err;

    if (net == NULL)
        return WAWO_ENOMEM;
    err = net_init(net, loop, arg);
    if (err != 0)
        wawo_free(net);
    else
        loop->upper = net;
    return err;
}

static void engine_fini(struct wawo_loop *loop)
{
    if (loop->upper == NULL)
        return;
    net_fini(loop->upper);
    wawo_free(loop->upper);
    loop->upper = NULL;
}

static const struct wawo_loop_ops loop_ops = {.init = engine_init,
                                              .start = net_start,
                                              .done = net_done,
                                              .turn = net_turn,
                                              .stop = net_stop,
                                              .fini = engine_fini,
                                              .release = wawo_free,
                                              .forked = net_forked};

struct wawo_threads *wawo_engine_new(unsigned count, const char *backend, size_t pool_bytes,
                                     const struct wawo_sink *sink, void *arg, int *err)
{
    const struct wawo_backend_ops *ops = wawo_backend_choose(backend, err);
    struct wawo_engine *engine;

    if (ops == NULL)
        return NULL;
    engine = wawo_alloc(sizeof *engine);
    if (engine == NULL) {
        *err = WAWO_ENOMEM;
        return NULL;
    }
    *engine = (struct wawo_engine){.sink = sink, .arg = arg, .slow_ns = INT64_MAX};
    return wawo_threads_new(count, ops, pool_bytes, &loop_ops, engine, err);
}

bool wawo_engine_stop(struct wawo_threads *t, int64_t timeout_ns)
{
    return wawo_threads_stop(t, timeout_ns);
}

void wawo_engine_drop(struct wawo_threads *t)
{
    wawo_threads_drop(t);
}

const char *wawo_engine_backend(const struct wawo_threads *t)
{
    return t->loops[0].ops->name;
}

unsigned wawo_engine_count(const struct wawo_threads *t)
{
    return t->count;
}

bool wawo_engine_current(const struct wawo_threads *t)
{
    unsigned i;

    for (i = 0; i < t->count; i++)
        if (wawo_loop_runs_here(&t->loops[i]))
            return true;
    return false;
}

void wawo_engine_slow_ns(struct wawo_threads *t, int64_t ns)
{
    struct wawo_engine *engine = t->upper_arg;

    wawo_store_relaxed(&engine->slow_ns, ns);
}

void wawo_engine_stats(struct wawo_threads *t, unsigned loop, struct wawo_loop_stats *out)
{
    const struct wawo_loop *l = &t->loops[loop];
    const struct wawo_net *net = l->upper;
    struct wawo_pool_stats pool;

#define X(name, text) out->name = wawo_load_relaxed(&net->stats.name);
    WAWO_LOOP_STATS(X)
#undef X
    wawo_pool_stats(l->heap.pool, &pool);
    out->turns = wawo_load_relaxed(&l->turns);
    out->wakes = wawo_load_relaxed(&l->wakes);
    out->file_reads = wawo_load_relaxed(&l->file_reads);
    out->connections = wawo_load_relaxed(&l->load);
    out->pool_limit = pool.limit;
    out->pool_used = pool.used;
    out->pool_exported = pool.exported;
    out->pool_bytes = pool.bytes;
    out->pool_starved = pool.starved;
    out->slab_bytes = wawo_slab_bytes(&net->conns) + wawo_slab_bytes(&net->backlogs) + wawo_slab_bytes(&net->helds) +
                      wawo_slab_bytes(&l->heap.slices);
}

bool wawo_backend_at(unsigned rank, struct wawo_backend_info *info)
{
    const struct wawo_backend_ops *ops;
    unsigned i;
    int err;

    for (i = 0; i < rank; i++)
        if (wawo_backends[i] == NULL)
            return false;
    ops = wawo_backends[rank];
    if (ops == NULL)
        return false;
    info->name = ops->name;
    info->on_request = ops->on_request;
    err = ops->probe(ops, &info->why);
    if (err == 0)
        info->why = NULL;
    else if (info->why == NULL)
        info->why = wawo_err_text(err);
    return true;
}

void wawo_after_fork_child(void)
{
    wawo_threads_after_fork();
    wawo_file_after_fork();
    wawo_work_after_fork();
    wawo_baton_after_fork();
}

size_t wawo_live_chunks(void)
{
    return wawo_chunk_live();
}

size_t wawo_live_files(void)
{
    return wawo_file_live();
}

unsigned wawo_live_threads(void)
{
    return wawo_threads_live();
}

bool wawo_chunk_export(struct wawo_chunk *c)
{
    if (!wawo_pool_export(c))
        return false;
    wawo_chunk_hold(c);
    return true;
}
