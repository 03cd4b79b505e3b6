#include "share.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "../proto/proxy.h"
#include "conn.h"
#include "endpoint.h"
#include "part.h"

enum { POST_BLOCK = 4096, POST_SMALL = 2048 }; /* small sends from other threads share a block */

static size_t live; /* atomic */

static void share_run(struct wawo_call *c, struct wawo_loop *loop, bool dead);

struct wawo_share *wawo_share_new(struct wawo_loop *loop, struct wawo_endpoint *endpoint)
{
    struct wawo_share *s = wawo_alloc_zero(sizeof *s);

    if (s == NULL)
        return NULL;
    s->refs = 1;
    s->loop = loop;
    s->endpoint = endpoint;
    s->call.run = share_run;
    wawo_threads_hold(loop->threads); /* whoever has a share may post */
    wawo_add_relaxed(&live, 1);
    return s;
}

void wawo_share_hold(struct wawo_share *s)
{
    wawo_add_relaxed(&s->refs, 1);
}

static const char unnamed[] = "";

/* A path is copied, for it was only borrowed. Without memory it is not told. */
static void keep_address(struct wawo_addr *to, const struct wawo_addr *from)
{
    size_t len;

    *to = *from;
    if (wawo_likely(from->family != WAWO_AF_UNIX) || from->path == NULL)
        return;
    len = strlen(from->path);
    to->path = len == 0 ? unnamed : wawo_alloc(len + 1);
    if (len > 0 && to->path != NULL)
        memcpy((char *)(uintptr_t)to->path, from->path, len + 1);
}

static void free_path(const struct wawo_addr *a)
{
    if (wawo_unlikely(a->family == WAWO_AF_UNIX) && a->path != unnamed)
        wawo_free((void *)(uintptr_t)a->path);
}

void wawo_share_keep(struct wawo_share *s, const struct wawo_addr *local, const struct wawo_addr *remote)
{
    keep_address(&s->local, local);
    keep_address(&s->remote, remote);
}

void wawo_share_drop(struct wawo_share *s)
{
    struct wawo_threads *t = s->loop->threads;

    if (wawo_sub(&s->refs, 1) != 1)
        return;
    WAWO_CHECK(s->posts == NULL && s->user == NULL);
    free_path(&s->local);
    free_path(&s->remote);
    wawo_free(s);
    wawo_sub(&live, 1);
    wawo_threads_drop(t);
}

size_t wawo_live_shares(void)
{
    return wawo_load(&live);
}

/* Held for a few instructions, or one small copy. */
static void lock_posts(struct wawo_share *s)
{
    int spins = 0;

    while (wawo_exchange(&s->lock, 1) != 0) {
        if (++spins < 64)
            wawo_cpu_relax();
        else
            wawo_thread_yield();
    }
}

static void unlock_posts(struct wawo_share *s)
{
    wawo_store(&s->lock, 0);
}

void wawo_share_advance(struct wawo_share *s, enum wawo_share_state state)
{
    lock_posts(s);
    if (s->state < state)
        wawo_store(&s->state, (uint8_t)state);
    unlock_posts(s);
}

void wawo_share_forked(void *share, void *arg)
{
    struct wawo_share *s = share;

    (void)arg;
    wawo_store(&s->lock, 0); /* whoever held it is gone */
    wawo_store(&s->state, (uint8_t)WAWO_SHARE_CLOSED);
    wawo_store_relaxed(&s->queued, 0);
    wawo_store_relaxed(&s->posted, 0);
}

/* ---- from any thread to the loop ---- */

static void share_want(struct wawo_share *s, uint32_t wants)
{
    if (wawo_or(&s->wants, wants | WAWO_WANT_QUEUED) & WAWO_WANT_QUEUED)
        return; /* the call is under way and will see this too */
    wawo_share_hold(s);
    if (!wawo_loop_post(s->loop, &s->call))
        wawo_share_drop(s);
}

static void share_run(struct wawo_call *c, struct wawo_loop *loop, bool dead)
{
    struct wawo_share *s = wawo_container_of(c, struct wawo_share, call);
    uint32_t wants = wawo_exchange(&s->wants, 0);

    (void)loop;
    if (!dead && s->conn != NULL)
        wawo_conn_wanted(s->conn, wants);
    wawo_share_drop(s);
}

/* Counts what was queued. Judged by what `pending` says to that thread: `queued` may be out of date, and if the loop went
 * by its own ring alone a sender could wait for a DRAIN that never comes. Under the lock. */
static void posted_more(struct wawo_share *s, size_t n)
{
    wawo_store_relaxed(&s->posted, s->posted + n);
    if (wawo_load_relaxed(&s->queued) + s->posted > s->endpoint->options.high_water)
        s->over = 1;
}

struct wawo_slice *wawo_share_take_posts(struct wawo_share *s, bool *over)
{
    struct wawo_slice *first;

    lock_posts(s);
    first = s->posts;
    *over = s->over != 0;
    s->over = 0;
    s->posts = s->last_post = NULL;
    wawo_store_relaxed(&s->queued, s->queued + s->posted); /* until the loop says more: in between others send on */
    wawo_store_relaxed(&s->posted, 0);
    unlock_posts(s);
    return first;
}

/* A post with a block of its own. */
static struct wawo_slice *post_block(size_t cap, const void *data, size_t len)
{
    struct wawo_chunk *c = wawo_chunk_new(cap);
    struct wawo_slice *p = c != NULL ? wawo_slice_new(c->data, len, c, NULL) : NULL;

    if (p == NULL) {
        if (c != NULL)
            wawo_chunk_drop(c);
        return NULL;
    }
    if (len > 0)
        memcpy(c->data, data, len);
    c->used = len;
    return p;
}

/* Slices that are linked from first to last. */
static void post_link(struct wawo_share *s, struct wawo_slice *first, struct wawo_slice *last)
{
    if (s->last_post != NULL)
        s->last_post->next = first;
    else
        s->posts = first;
    s->last_post = last;
}

/* Into a block that has room, if there is anything. */
static void slice_fill(struct wawo_slice *p, const void *data, size_t len)
{
    struct wawo_chunk *c;

    if (len == 0)
        return;
    c = wawo_slice_chunk(p);
    memcpy(c->data + c->used, data, len);
    c->used += len;
    p->len += len;
}

/* Room for `len` bytes behind the last post; under the lock. */
static bool post_reserve(struct wawo_share *s, size_t len)
{
    struct wawo_slice *p = s->last_post;
    struct wawo_chunk *c = p != NULL ? wawo_slice_chunk(p) : NULL;

    if (len == 0)
        return true;
    /* Not one that is lent or shared: others may write behind it too, so its `used` is not ours to look at. */
    if (c != NULL && c->pool == NULL && wawo_chunk_sole(c) && c->cap - c->used >= len &&
        p->ptr + p->len == c->data + c->used)
        return true;
    p = post_block(POST_BLOCK, NULL, 0);
    if (p != NULL)
        post_link(s, p, p);
    return p != NULL;
}

/* Whether `n` more bytes fit; reserves them in the endpoint's total. Under the lock. */
static int post_admit(struct wawo_share *s, size_t n)
{
    struct wawo_endpoint *e = s->endpoint;

    if (wawo_load_relaxed(&s->queued) + s->posted + n > e->options.max_pending)
        return WAWO_ENOBUFS;
    if (wawo_endpoint_overfull(e, wawo_add(&e->pending, (int64_t)n) + (int64_t)n, 0)) {
        wawo_add(&e->pending, -(int64_t)n);
        return WAWO_ENOBUFS;
    }
    return 1;
}

/* Slices made outside the lock for a message that needs blocks of its own. */
struct chain {
    struct wawo_slice *first, *last;
};

/* Queues one message for the loop: what `chain` holds of it, or copies of its parts. Under the lock. */
static int post_message(struct wawo_share *s, const struct wawo_part *parts, unsigned count, const struct chain *chain)
{
    struct wawo_slice *tail = NULL;
    struct wawo_message m;
    struct wawo_envelope env = {.tail = NULL};
    size_t memory, small;
    unsigned i;
    int rc;

    if (s->state > WAWO_SHARE_OPEN || s->shut)
        return 0;
    wawo_part_measure(parts, count, &m, &memory);
    rc = wawo_endpoint_seal(s->endpoint, &m, &env);
    if (rc < 0)
        return rc;
    small = env.head_len + (chain->first == NULL ? memory + env.tail_len : 0);
    memory += env.head_len + env.tail_len;
    rc = post_admit(s, memory);
    if (rc < 0)
        return rc;
    if (chain->first != NULL && env.tail_len > 0)
        tail = post_block(POST_BLOCK, env.tail, env.tail_len);
    if ((chain->first != NULL && env.tail_len > 0 && tail == NULL) || !post_reserve(s, small)) {
        wawo_add(&s->endpoint->pending, -(int64_t)memory);
        wawo_slice_undo(tail);
        return WAWO_ENOMEM;
    }
    slice_fill(s->last_post, env.head, env.head_len);
    if (chain->first != NULL) {
        post_link(s, chain->first, chain->last);
        if (tail != NULL)
            post_link(s, tail, tail);
    } else {
        for (i = 0; i < count; i++)
            slice_fill(s->last_post, parts[i].data, parts[i].len);
        slice_fill(s->last_post, env.tail, env.tail_len);
    }
    posted_more(s, memory);
    wawo_add_relaxed(&s->endpoint->posted_messages, 1);
    return 1;
}

/* Queues bytes that lie in a chunk which others refer to as well. Only the first of what waits may hold much more than it
 * shows: small ones behind it are copied. Under the lock. */
static bool post_shared(struct wawo_share *s, struct wawo_cast *cast)
{
    struct wawo_slice *p = s->last_post;

    if (p != NULL && p->owner == cast->chunk && p->ptr + p->len == cast->ptr) {
        p->len += cast->len;
        return true;
    }
    if (p != NULL && cast->len <= POST_SMALL) {
        if (!post_reserve(s, cast->len))
            return false;
        slice_fill(s->last_post, cast->ptr, cast->len);
        return true;
    }
    p = wawo_slice_new_many(&cast->slices, cast->ptr, cast->len, cast->chunk);
    if (p == NULL)
        return false;
    wawo_cast_refer(cast);
    post_link(s, p, p);
    return true;
}

/* What its pending output allows. Nobody is ended for what the kernel was not offered yet. Under the lock. */
static enum wawo_cast_result judge(const struct wawo_share *s, size_t len, bool evict)
{
    const struct wawo_options *o = &s->endpoint->options;
    size_t queued = wawo_load_relaxed(&s->queued), pending = queued + s->posted;
    bool full = pending + len > o->max_pending;

    if (evict && wawo_load_relaxed(&s->parked) && (full || queued > o->high_water))
        return WAWO_CAST_EVICTED;
    return full || (!evict && pending > o->high_water) ? WAWO_CAST_SKIPPED : WAWO_CAST_ACCEPTED;
}

static enum wawo_cast_result post_cast(struct wawo_share *s, struct wawo_cast *cast, bool evict)
{
    enum wawo_cast_result result;

    if (s->state != WAWO_SHARE_OPEN || s->shut || !wawo_load_relaxed(&s->shown))
        return WAWO_CAST_NONE;
    result = judge(s, cast->len, evict);
    if (wawo_unlikely(result == WAWO_CAST_EVICTED))
        wawo_store(&s->state, (uint8_t)WAWO_SHARE_CLOSING);
    if (wawo_unlikely(result != WAWO_CAST_ACCEPTED))
        return result;
    if (post_admit(s, cast->len) < 0)
        return WAWO_CAST_SKIPPED;
    if (cast->len > 0 && !post_shared(s, cast)) {
        wawo_add(&s->endpoint->pending, -(int64_t)cast->len);
        return WAWO_CAST_SKIPPED;
    }
    posted_more(s, cast->len);
    return WAWO_CAST_ACCEPTED;
}

enum wawo_cast_result wawo_share_cast(struct wawo_share *s, struct wawo_cast *cast, bool evict, bool *call)
{
    enum wawo_cast_result result;
    uint32_t wants;

    lock_posts(s);
    result = post_cast(s, cast, evict);
    unlock_posts(s);
    *call = false;
    if (result != WAWO_CAST_ACCEPTED && result != WAWO_CAST_EVICTED)
        return result;
    wants = result == WAWO_CAST_ACCEPTED ? WAWO_WANT_SEND : WAWO_WANT_EVICT;
    *call = !(wawo_or(&s->wants, wants | WAWO_WANT_QUEUED) & WAWO_WANT_QUEUED);
    if (*call)
        wawo_share_hold(s);
    return result;
}

/* A slice of the first parts: one that is lent, a file, or a run of copied ones. Says how many it took. */
static struct wawo_slice *slice_of(const struct wawo_part *parts, unsigned count, unsigned *taken)
{
    struct wawo_slice *s;
    size_t len = 0;
    unsigned n, i;

    *taken = 1;
    if (parts->file != NULL)
        return wawo_slice_new_file(parts->file);
    if (!wawo_part_is_plain(parts))
        return wawo_slice_new(parts->data, parts->len, parts->chunk, parts->loan);
    for (n = 0; n < count && wawo_part_is_plain(&parts[n]); n++)
        len += parts[n].len;
    *taken = n;
    s = post_block(len, NULL, 0);
    for (i = 0; i < n && s != NULL; i++)
        slice_fill(s, parts[i].data, parts[i].len);
    return s;
}

static int chain_build(struct chain *chain, const struct wawo_part *parts, unsigned count)
{
    struct wawo_slice *s;
    unsigned i, taken;

    for (i = 0; i < count; i += taken) {
        taken = 1;
        if (wawo_part_is_plain(&parts[i]) && parts[i].len == 0)
            continue;
        s = slice_of(parts + i, count - i, &taken);
        if (s == NULL) {
            wawo_part_keep(parts, i);
            wawo_slice_undo(chain->first);
            return WAWO_ENOMEM;
        }
        if (chain->last != NULL)
            chain->last->next = s;
        else
            chain->first = s;
        chain->last = s;
    }
    return 0;
}

/* Small and copied: shares a block with others. */
static bool is_small(const struct wawo_part *parts, unsigned count)
{
    size_t len = 0;
    unsigned i;

    for (i = 0; i < count; i++) {
        len += parts[i].len;
        if (len > POST_SMALL || !wawo_part_is_plain(&parts[i]))
            return false;
    }
    return true;
}

static int send_foreign(struct wawo_share *s, const struct wawo_part *parts, unsigned count)
{
    struct chain chain = {NULL, NULL};
    int rc = is_small(parts, count) ? 0 : chain_build(&chain, parts, count);

    if (rc < 0)
        return rc;
    lock_posts(s);
    rc = post_message(s, parts, count, &chain);
    unlock_posts(s);
    if (rc == 1) {
        share_want(s, WAWO_WANT_SEND);
    } else if (chain.first != NULL) {
        wawo_part_keep(parts, count);
        wawo_slice_undo(chain.first);
    }
    return rc;
}

static inline bool on_loop(const struct wawo_share *s)
{
    return wawo_loop_here(s->loop) && s->conn != NULL;
}

int wawo_share_send_parts(struct wawo_share *s, const struct wawo_part *parts, unsigned count)
{
    return on_loop(s) ? wawo_conn_send_parts(s->conn, parts, count) : send_foreign(s, parts, count);
}

int wawo_share_send(struct wawo_share *s, const void *data, size_t len)
{
    if (wawo_likely(on_loop(s)))
        return wawo_conn_send(s->conn, data, len);
    return send_foreign(s, &(struct wawo_part){.data = data, .len = len}, 1);
}

int wawo_share_lend(struct wawo_share *s, const void *data, size_t len, struct wawo_chunk *chunk, void *loan)
{
    return wawo_share_send_parts(s, &(struct wawo_part){.data = data, .len = len, .chunk = chunk, .loan = loan}, 1);
}

bool wawo_share_looks(struct wawo_share *s)
{
    bool looks;

    lock_posts(s);
    looks = s->state <= WAWO_SHARE_OPEN && s->endpoint->looks;
    unlock_posts(s);
    return looks;
}

bool wawo_share_close(struct wawo_share *s)
{
    bool open;

    lock_posts(s);
    open = s->state <= WAWO_SHARE_OPEN;
    if (open) /* from now on nothing is accepted; what was, still goes out */
        wawo_store(&s->state, (uint8_t)WAWO_SHARE_CLOSING);
    unlock_posts(s);
    if (!open)
        return false;
    if (on_loop(s))
        wawo_conn_close(s->conn, WAWO_OP_CLOSE, 0);
    else
        share_want(s, WAWO_WANT_CLOSE);
    return true;
}

bool wawo_share_abort(struct wawo_share *s)
{
    bool open;

    lock_posts(s);
    open = s->state < WAWO_SHARE_CLOSED;
    if (s->state <= WAWO_SHARE_OPEN)
        wawo_store(&s->state, (uint8_t)WAWO_SHARE_CLOSING);
    unlock_posts(s);
    if (!open)
        return false;
    if (on_loop(s))
        wawo_conn_abort(s->conn, WAWO_OP_CLOSE, 0);
    else
        share_want(s, WAWO_WANT_ABORT);
    return true;
}

bool wawo_share_shutdown_write(struct wawo_share *s)
{
    bool open;

    lock_posts(s);
    open = s->state <= WAWO_SHARE_OPEN && !s->shut;
    if (open)
        wawo_store_relaxed(&s->shut, 1);
    unlock_posts(s);
    if (!open)
        return false;
    if (on_loop(s))
        wawo_conn_wanted(s->conn, WAWO_WANT_SHUTDOWN);
    else
        share_want(s, WAWO_WANT_SHUTDOWN);
    return true;
}

bool wawo_share_flush(struct wawo_share *s)
{
    if (wawo_load(&s->state) == WAWO_SHARE_CLOSED)
        return false;
    if (on_loop(s))
        wawo_conn_flush(s->conn);
    else
        share_want(s, WAWO_WANT_FLUSH);
    return true;
}

bool wawo_share_pause(struct wawo_share *s, bool pause)
{
    if (wawo_load(&s->state) > WAWO_SHARE_OPEN)
        return false;
    wawo_store(&s->paused, (uint8_t)pause);
    if (on_loop(s))
        wawo_conn_wanted(s->conn, WAWO_WANT_PAUSE);
    else
        share_want(s, WAWO_WANT_PAUSE);
    return true;
}

bool wawo_share_here(const struct wawo_share *s)
{
    return on_loop(s);
}

void wawo_share_refuse(struct wawo_share *s, enum wawo_operation operation, int error)
{
    if (on_loop(s))
        wawo_conn_close(s->conn, operation, error);
}

size_t wawo_share_unread(const struct wawo_share *s)
{
    return on_loop(s) ? wawo_pull_unread(s->conn) : 0;
}

int wawo_share_fetch(struct wawo_share *s, void *out, size_t n, bool consume)
{
    return on_loop(s) ? wawo_pull_fetch(s->conn, out, n, consume) : WAWO_ECLOSED;
}

/* ---- asking ---- */

uint64_t wawo_share_id(const struct wawo_share *s)
{
    return s->id;
}

unsigned wawo_share_loop(const struct wawo_share *s)
{
    return s->loop->index;
}

bool wawo_share_paused(const struct wawo_share *s)
{
    return wawo_load(&s->paused) != 0;
}

bool wawo_share_connected(const struct wawo_share *s)
{
    return wawo_load(&s->state) == WAWO_SHARE_OPEN;
}

size_t wawo_share_pending(const struct wawo_share *s)
{
    if (on_loop(s))
        return wawo_conn_pending(s->conn);
    return wawo_load_relaxed(&s->queued) + wawo_load_relaxed(&s->posted);
}

int64_t wawo_share_connect_ns(const struct wawo_share *s)
{
    int64_t since = wawo_load(&s->connected_ns);

    return since == 0 ? 0 : wawo_os_now_ns() - since;
}

int64_t wawo_share_silence_ns(const struct wawo_share *s)
{
    int64_t since = wawo_load(&s->received_ns), now = wawo_os_now_ns();

    return since == 0 || since > now ? 0 : now - since;
}

int wawo_share_address(const struct wawo_share *s, bool local, char host[WAWO_HOST_TEXT], int *family)
{
    const struct wawo_addr *a = local ? &s->local : &s->remote;

    if (wawo_load(&s->connected_ns) == 0 || a->family == WAWO_AF_NONE)
        return WAWO_ECLOSED;
    wawo_addr_text(a, host);
    *family = a->family;
    return a->port;
}

int wawo_share_error(const struct wawo_share *s, int *operation, int *gai)
{
    *operation = wawo_load_relaxed(&s->operation);
    *gai = wawo_load_relaxed(&s->gai);
    return wawo_load_relaxed(&s->error);
}

const char *wawo_share_fault(const struct wawo_share *s)
{
    if (wawo_load_relaxed(&s->silent))
        return "nothing received for the idle timeout";
    return wawo_proxy_fault_text((enum wawo_proxy_fault)s->fault);
}

void *wawo_share_user(struct wawo_share *s)
{
    return wawo_load(&s->user);
}

void *wawo_share_find_user(struct wawo_share *s, void (*found)(void *user))
{
    void *user;

    lock_posts(s);
    user = s->user;
    if (user != NULL)
        found(user);
    unlock_posts(s);
    return user;
}

void *wawo_share_set_user(struct wawo_share *s, void *user, void (*found)(void *user))
{
    lock_posts(s);
    /* Closed: its CLOSE event empties it, if that is still to come, which only its loop can tell. */
    if (s->state == WAWO_SHARE_CLOSED && (s->parted || !wawo_loop_here(s->loop) || s->conn == NULL))
        user = NULL;
    else if (s->user == NULL)
        wawo_store(&s->user, user);
    else
        user = s->user;
    if (user != NULL)
        found(user);
    unlock_posts(s);
    return user;
}

void *wawo_share_take_user(struct wawo_share *s)
{
    void *user;

    lock_posts(s);
    user = s->user;
    wawo_store(&s->user, NULL);
    s->parted = true;
    unlock_posts(s);
    return user;
}
