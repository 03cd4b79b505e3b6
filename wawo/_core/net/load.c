/* F4 load: keeps messages in flight against an echo server. A second user of the face that the binding uses, wawo.h:
 * nothing of this floor's inside is known here.
 *
 * All connections are dialled, a few at a time, and each has one message answered before the flight begins. From then
 * on the loop's thread alone counts and answers; the thread that called waits, reports, and ends it. */
#include "../wawo.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/err.h"
#include "../base/histogram.h"
#include "../base/os.h"

#include <stdio.h>

#define REPORT_NS (100 * WAWO_MSEC)
#define PATIENCE_NS (5 * WAWO_SEC)
#define STOP_NS (10 * WAWO_SEC)
#define NEVER INT64_MAX
enum {
    DIALLING = 100,        /* connections that have not had an answer: a listener's backlog is finite */
    SOURCE_PORTS = 5000,   /* connections from one loopback address: its ports are finite too */
    PATTERN = 64 * 1024,   /* bytes that go out at most in one piece */
    LEND_MIN = 4 * 1024,   /* bytes: from here on lent, not copied */
    POOL_BYTES = 64 * 1024 * 1024
};

/* One connection; `depth` send times follow, oldest at `next`. */
struct line {
    struct wawo_share *share; /* a reference, from the dial to CLOSE */
    size_t got;               /* of the answer that is coming in */
    uint32_t flying, next;
    bool open, ready; /* established; known to be accepted and to answer */
    int64_t sent_ns[];
};

struct load {
    const struct wawo_load_options *options;
    struct wawo_threads *threads;
    struct wawo_endpoint *endpoint;
    uint8_t *pattern;
    char *lines;
    size_t stride;
    int64_t patience_ns;
    wawo_i64 from, until;        /* measuring; written once by the loop, `from` last; atomic, NEVER before */
    char host[WAWO_HOST_TEXT];   /* numeric, as the first connection found it */
    uint32_t dialled, dialling, open, errors;
    int error;
    uint64_t flying;
    wawo_u64 answered;           /* atomic; the loop's */
    uint32_t settled;            /* atomic; the loop's: connections that are ready or have failed */
    uint32_t stopping;           /* atomic: what ends now is no error */
    struct wawo_mutex lock;
    struct wawo_cond changed;
    int64_t moved_ns;            /* the caller's: when settled changed, and to what */
    uint32_t settled_seen;
    bool begun, over, shut;      /* under the lock: messages leave; none will come back; the endpoint has stopped */
    struct wawo_histogram latency;
};

static struct line *line_at(const struct load *l, uint32_t i)
{
    return (struct line *)(void *)(l->lines + i * l->stride);
}

/* Tells the thread that waits. */
static void raise_flag(struct load *l, bool *flag)
{
    wawo_mutex_lock(&l->lock);
    *flag = true;
    wawo_cond_signal(&l->changed);
    wawo_mutex_unlock(&l->lock);
}

static void note_error(struct load *l, int error)
{
    if (l->error == 0)
        l->error = error != 0 ? error : ECONNRESET; /* the server closed in between: orderly, but not expected */
}

static void count_error(struct load *l, int error)
{
    l->errors++;
    note_error(l, error);
}

static void settled(struct load *l);

/* ---- messages: on the loop ---- */

/* Sends `count` messages. What cannot be sent ends its connection. */
static void put(struct load *l, struct line *n, uint32_t count)
{
    size_t left = count * l->options->size, part;
    int rc = 1;

    for (; left > 0 && rc == 1; left -= part) {
        part = wawo_min_size(left, PATTERN);
        if (part < LEND_MIN)
            rc = wawo_share_send(n->share, l->pattern, part);
        else
            rc = wawo_share_lend(n->share, l->pattern, part, NULL, l->pattern);
    }
    if (wawo_unlikely(rc < 0)) {
        note_error(l, -rc);
        (void)wawo_share_abort(n->share);
    }
}

/* `count` answers are complete: their times, and as many new messages. */
static void answered(struct load *l, struct line *n, uint32_t count)
{
    const struct wawo_load_options *o = l->options;
    int64_t now = wawo_os_now_ns(), *sent;
    bool more = now < l->until;
    uint32_t i;

    for (i = 0; i < count; i++) {
        sent = &n->sent_ns[n->next];
        n->next = n->next + 1 == o->depth ? 0 : n->next + 1;
        if (now >= l->from)
            wawo_histogram_add(&l->latency, (uint64_t)(now - *sent));
        *sent = now;
    }
    if (wawo_likely(more)) {
        if (now >= l->from)
            wawo_bump(&l->answered, count);
        put(l, n, count);
        return;
    }
    n->flying -= count;
    l->flying -= count;
    if (l->flying == 0)
        raise_flag(l, &l->over);
}

static void received(struct load *l, const struct wawo_event *e)
{
    struct line *n = wawo_share_user(e->share);
    size_t size = l->options->size, count;

    n->got += e->len;
    if (n->got < size)
        return;
    count = wawo_likely(n->got == size) ? 1 : n->got / size;
    n->got -= count * size;
    if (wawo_unlikely(count > n->flying)) { /* more than was sent */
        note_error(l, EBADMSG);
        (void)wawo_share_abort(e->share);
    } else if (wawo_unlikely(!n->ready)) {
        n->ready = true;
        n->flying = 0;
        l->flying--;
        settled(l);
    } else {
        answered(l, n, (uint32_t)count);
    }
}

/* ---- connections: on the loop ---- */

/* All connections are ready or have failed: the flight begins. */
static void begin(struct load *l)
{
    const struct wawo_load_options *o = l->options;
    int64_t now = wawo_os_now_ns();
    struct line *n;
    uint32_t i, k;

    if (l->open == 0) {
        raise_flag(l, &l->over);
        return;
    }
    wawo_store(&l->until, now + o->warmup_ns + o->measure_ns);
    wawo_store(&l->from, now + o->warmup_ns);
    raise_flag(l, &l->begun);
    for (i = 0; i < o->connections; i++) {
        n = line_at(l, i);
        if (!n->open)
            continue;
        now = wawo_os_now_ns();
        for (k = 0; k < o->depth; k++)
            n->sent_ns[k] = now;
        n->flying = o->depth;
        l->flying += o->depth;
        put(l, n, o->depth);
        (void)wawo_share_flush(n->share); /* at once: what all of them send need not fit into the pool */
    }
}

static void noop_found(void *user)
{
    (void)user;
}

static void made(struct wawo_share *share, void *arg)
{
    struct line *n = arg;

    wawo_share_hold(share);
    n->share = share;
    (void)wawo_share_set_user(share, n, noop_found);
}

/* Starts the next dial: 0, or why not. The first one by any thread, before the loop knows of the load. */
static int dial(struct load *l, const char *host)
{
    char local[WAWO_HOST_TEXT] = "";
    uint32_t i = l->dialled++;
    int err;

    if (l->options->connections > SOURCE_PORTS && strncmp(host, "127.", 4) == 0)
        snprintf(local, sizeof local, "127.0.0.%u", 1 + (unsigned)(i / SOURCE_PORTS));
    l->dialling++;
    err = wawo_endpoint_connect(l->endpoint, host, l->options->port, local, 0, 0, made, line_at(l, i));
    if (err != 0) {
        l->dialling--;
        count_error(l, -err);
    }
    return err;
}

/* One connection is ready or has failed. The first one found the address, or there is no need to try the others. */
static void settled(struct load *l)
{
    uint32_t all = l->options->connections;

    l->dialling--;
    wawo_bump(&l->settled, 1);
    if (wawo_load(&l->stopping))
        return;
    if (l->host[0] == '\0')
        l->dialled = all;
    while (l->dialled < all && l->dialling < DIALLING)
        (void)dial(l, l->host);
    if (l->dialled == all && l->dialling == 0)
        begin(l);
}

static void connected(struct load *l, const struct wawo_event *e)
{
    struct line *n = wawo_share_user(e->share);
    int family;

    n->open = true;
    l->open++;
    if (l->host[0] == '\0')
        (void)wawo_share_address(e->share, false, l->host, &family);
    n->sent_ns[0] = wawo_os_now_ns();
    n->flying = 1;
    l->flying++;
    put(l, n, 1);
}

/* The connection ends and its last messages never came back: they took at least until now. */
static void count_owed(struct load *l, struct line *n)
{
    int64_t now = wawo_os_now_ns();
    uint32_t i, depth = l->options->depth;

    for (i = 0; i < n->flying; i++)
        wawo_histogram_add(&l->latency, (uint64_t)(now - n->sent_ns[(n->next + i) % depth]));
    count_error(l, ETIMEDOUT);
}

static void closed(struct load *l, const struct wawo_event *e)
{
    struct line *n = wawo_share_take_user(e->share);
    if (!wawo_load(&l->stopping)) {
        if (n->flying > 0 || l->from == NEVER) /* else it had answered all, and closing is the server's right */
            count_error(l, e->error);
    } else if (n->flying > 0) {
        count_owed(l, n);
    }
    wawo_share_drop(n->share);
    n->share = NULL;
    l->open -= n->open;
    n->open = false;
    l->flying -= n->flying;
    n->flying = 0;
    if (!n->ready)
        settled(l);
    else if (l->flying == 0 && l->from != NEVER)
        raise_flag(l, &l->over); /* all are lost, or this one was the last that owed an answer */
}

/* ---- the sink ---- */

static void sink_thread_start(void *arg, const char *name)
{
    (void)arg;
    (void)name;
}

static void sink_nothing(void *arg)
{
    (void)arg;
}

static void sink_deliver(void *arg, const struct wawo_event *events, unsigned count)
{
    struct load *l = arg;
    const struct wawo_event *e, *end = events + count;

    for (e = events; e < end; e++) {
        if (wawo_likely(e->kind == WAWO_ON_RECEIVE)) {
            if (wawo_event_due(e))
                received(l, e);
        } else if (e->kind == WAWO_ON_CONNECT) {
            if (wawo_event_due(e))
                connected(l, e);
        } else if (e->kind == WAWO_ON_CLOSE) {
            closed(l, e);
        } else if (e->kind == WAWO_ON_SHUTDOWN) {
            raise_flag(l, &l->shut);
        }
    }
}

static const struct wawo_sink load_sink = {.thread_start = sink_thread_start,
                                           .thread_stop = sink_nothing,
                                           .enter = sink_nothing,
                                           .leave = sink_nothing,
                                           .deliver = sink_deliver,
                                           .give_back = sink_nothing};

/* ---- the thread that called ---- */

static int64_t measured_ns(struct load *l, int64_t now)
{
    int64_t from = wawo_load(&l->from);

    if (now <= from)
        return 0;
    return now - from < l->options->measure_ns ? now - from : l->options->measure_ns;
}

/* Waits until `wake`, or less when it is over or `begun` is no longer true. Returns whether it is over. */
static bool wait_until(struct load *l, int64_t wake, bool begun)
{
    int64_t left;
    bool over;

    wawo_mutex_lock(&l->lock);
    while (!l->over && l->begun == begun && (left = wake - wawo_os_now_ns()) > 0)
        (void)wawo_cond_wait_for(&l->changed, &l->lock, left);
    over = l->over;
    wawo_mutex_unlock(&l->lock);
    return over;
}

/* What is waited for has taken too long: a connection to become ready, or at the end the last answers. */
static bool too_late(struct load *l, int64_t now)
{
    uint32_t count = wawo_load_relaxed(&l->settled);

    if (wawo_load(&l->from) != NEVER)
        return now - wawo_load(&l->until) > l->patience_ns;
    if (l->moved_ns == 0 || count != l->settled_seen) {
        l->moved_ns = now;
        l->settled_seen = count;
    }
    return now - l->moved_ns > 2 * l->patience_ns; /* it is dialled, then asked */
}

/* Reports until it is over; false when the caller wants an end. *elapsed is how long was measured. */
static bool attend(struct load *l, int64_t *elapsed)
{
    const struct wawo_load_options *o = l->options;
    int64_t now, wake, from, until;
    bool over = false;

    for (;;) {
        now = wawo_os_now_ns();
        *elapsed = measured_ns(l, now);
        if (o->progress != NULL && o->progress(o->arg, *elapsed, wawo_load_relaxed(&l->answered)) != 0)
            return false;
        if (over || too_late(l, now))
            return true;
        from = wawo_load(&l->from);
        until = wawo_load(&l->until);
        wake = now + REPORT_NS; /* or an end of the measuring, so that the counts at both are known */
        if (now < from && from < wake)
            wake = from;
        else if (now < until && until < wake)
            wake = until;
        over = wait_until(l, wake, from != NEVER);
    }
}

static int start(struct load *l)
{
    const struct wawo_load_options *o = l->options;
    const struct wawo_framing framing = {.kind = WAWO_FRAMING_RAW};
    /* It never stops receiving: the server may, until its answers are taken. */
    const struct wawo_options options = {.max_connections = o->connections,
                                         .no_delay = true,
                                         .high_water = SIZE_MAX,
                                         .low_water = SIZE_MAX,
                                         .max_pending = PTRDIFF_MAX,
                                         .max_pending_total = PTRDIFF_MAX,
                                         .close_timeout_ns = WAWO_SEC,
                                         .connect_timeout_ns = l->patience_ns};
    const unsigned mask = 1u << WAWO_ON_CONNECT | 1u << WAWO_ON_RECEIVE | 1u << WAWO_ON_CLOSE | 1u << WAWO_ON_SHUTDOWN;
    int err = 0;

    l->stride = sizeof(struct line) + o->depth * sizeof(int64_t);
    if (o->connections > SIZE_MAX / l->stride) /* where addresses have 32 bits */
        return WAWO_ENOMEM;
    l->lines = wawo_alloc_zero(o->connections * l->stride);
    l->pattern = wawo_alloc(PATTERN);
    if (l->lines == NULL || l->pattern == NULL)
        return WAWO_ENOMEM;
    memset(l->pattern, 'w', PATTERN);
    l->threads = wawo_engine_new(1, NULL, POOL_BYTES, &load_sink, l, &err);
    if (l->threads == NULL)
        return err;
    l->endpoint = wawo_endpoint_new(l->threads, WAWO_AGENT, &options, &framing, mask, l, &err);
    if (l->endpoint == NULL)
        return err;
    return dial(l, o->host);
}

/* Ends everything; false: the thread hangs and still uses the load. */
static bool stop(struct load *l)
{
    bool ended = true;

    if (l->endpoint != NULL) {
        wawo_store(&l->stopping, 1);
        wawo_endpoint_stop(l->endpoint, 0);
        wawo_mutex_lock(&l->lock);
        while (!l->shut)
            wawo_cond_wait(&l->changed, &l->lock);
        wawo_mutex_unlock(&l->lock);
        wawo_endpoint_drop(l->endpoint);
    }
    if (l->threads != NULL) {
        ended = wawo_engine_stop(l->threads, STOP_NS);
        wawo_engine_drop(l->threads);
    }
    return ended;
}

static void fill_result(const struct load *l, int64_t elapsed, struct wawo_load_result *out)
{
    out->messages = l->answered;
    out->elapsed_ns = elapsed;
    out->p50_ns = wawo_histogram_at(&l->latency, 500);
    out->p99_ns = wawo_histogram_at(&l->latency, 990);
    out->p999_ns = wawo_histogram_at(&l->latency, 999);
    out->max_ns = l->latency.max;
    out->errors = l->from != NEVER ? l->errors : l->options->connections; /* it never came to a flight */
    out->error = l->error != 0 || out->errors == 0 ? l->error : ETIMEDOUT;
}

static bool in_range(const struct wawo_load_options *o)
{
    return o->connections >= 1 && o->connections <= WAWO_LOAD_CONNECTIONS_MAX && o->depth >= 1 &&
           o->depth <= WAWO_LOAD_DEPTH_MAX && o->size >= 1 && o->size <= WAWO_LOAD_FLIGHT_MAX / o->depth &&
           o->warmup_ns >= 0 && o->measure_ns >= 1;
}

static void load_free(struct load *l)
{
    wawo_cond_fini(&l->changed);
    wawo_mutex_fini(&l->lock);
    wawo_free(l->lines);
    wawo_free(l->pattern);
    wawo_free(l);
}

int wawo_load_run(const struct wawo_load_options *options, struct wawo_load_result *out)
{
    int64_t elapsed = 0;
    struct load *l;
    int rc;

    memset(out, 0, sizeof *out);
    if (!in_range(options))
        return WAWO_EINVAL;
    l = wawo_alloc_zero(sizeof *l);
    if (l == NULL)
        return WAWO_ENOMEM;
    l->options = options;
    l->patience_ns = options->patience_ns > 0 ? options->patience_ns : PATIENCE_NS;
    l->from = l->until = NEVER;
    wawo_histogram_init(&l->latency);
    wawo_mutex_init(&l->lock);
    wawo_cond_init(&l->changed);
    rc = start(l);
    if (rc == 0 && !attend(l, &elapsed))
        rc = WAWO_ECANCELED;
    if (!stop(l))
        return rc != 0 ? rc : WAWO_ETIMEDOUT; /* better lost than pulled from under a thread */
    if (rc == 0) {
        fill_result(l, elapsed, out);
        if (out->errors == options->connections)
            rc = -out->error;
    }
    load_free(l);
    return rc;
}
