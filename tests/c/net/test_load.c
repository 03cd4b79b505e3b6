/* The load against an echo server that is a C sink too: the core from end to end, no Python. */
#include "base/alloc.h"
#include "base/err.h"
#include "base/os.h"
#include "support/harness.h"
#include "wawo.h"

#include <errno.h>

enum manners { ECHO, SILENT, STALLING, CLOSING, CHATTY };

struct server {
    enum manners manners;
    unsigned messages;
    int fd;
    uint16_t port;
    struct wawo_threads *threads;
    struct wawo_endpoint *endpoint;
    struct wawo_mutex lock;
    struct wawo_cond changed;
    bool shut;
};

static void on_thread_start(void *arg, const char *name)
{
    (void)arg;
    (void)name;
}

static void nothing(void *arg)
{
    (void)arg;
}

static void on_enter(void *arg)
{
    (void)arg;
}

static void on_receive(struct server *s, const struct wawo_event *e)
{
    switch (s->manners) {
    case ECHO:
        (void)wawo_share_send(e->share, e->ptr, e->len);
        break;
    case SILENT:
        break;
    case STALLING:
        if (++s->messages <= 100)
            (void)wawo_share_send(e->share, e->ptr, e->len);
        break;
    case CLOSING:
        if (++s->messages > 20)
            (void)wawo_share_close(e->share);
        else
            (void)wawo_share_send(e->share, e->ptr, e->len);
        break;
    case CHATTY:
        (void)wawo_share_send(e->share, e->ptr, e->len);
        (void)wawo_share_send(e->share, e->ptr, e->len);
        break;
    }
}

static void on_deliver(void *arg, const struct wawo_event *events, unsigned count)
{
    struct server *s = arg;

    for (unsigned i = 0; i < count; i++) {
        if (events[i].kind == WAWO_ON_RECEIVE && wawo_event_due(&events[i]))
            on_receive(s, &events[i]);
        if (events[i].kind == WAWO_ON_SHUTDOWN) {
            wawo_mutex_lock(&s->lock);
            s->shut = true;
            wawo_cond_signal(&s->changed);
            wawo_mutex_unlock(&s->lock);
        }
    }
}

static const struct wawo_sink sink = {.thread_start = on_thread_start,
                                      .thread_stop = nothing,
                                      .enter = on_enter,
                                      .leave = nothing,
                                      .deliver = on_deliver,
                                      .give_back = nothing};

/* A bound socket that nobody listens on yet. */
static void server_bind(struct server *s)
{
    struct wawo_addr at;

    s->fd = wawo_os_socket(WAWO_AF_INET);
    ASSERT_GE(s->fd, 0);
    ASSERT_EQ(wawo_addr_parse(&at, "127.0.0.1", 0), 0);
    ASSERT_EQ(wawo_os_bind(s->fd, &at), 0);
    ASSERT_EQ(wawo_os_local_addr(s->fd, &at), 0);
    s->port = at.port;
}

static void server_start(struct server *s, const char *backend)
{
    const struct wawo_options options = {.max_connections = 1000,
                                         .no_delay = true,
                                         .auto_pause = true,
                                         .high_water = 1 << 20,
                                         .low_water = 1 << 18,
                                         .max_pending = 1 << 26,
                                         .max_pending_total = 1 << 30,
                                         .close_timeout_ns = WAWO_SEC,
                                         .connect_timeout_ns = WAWO_SEC};
    const struct wawo_framing framing = {.kind = WAWO_FRAMING_RAW};
    int err;

    server_bind(s);
    os_listen(s->fd, 128);
    wawo_mutex_init(&s->lock);
    wawo_cond_init(&s->changed);
    s->threads = wawo_engine_new(1, backend, 1 << 26, &sink, s, &err);
    ASSERT_NOT_NULL(s->threads);
    s->endpoint = wawo_endpoint_new(s->threads, WAWO_SERVER, &options, &framing,
                                    1u << WAWO_ON_RECEIVE | 1u << WAWO_ON_SHUTDOWN, s, &err);
    ASSERT_NOT_NULL(s->endpoint);
    ASSERT_EQ(wawo_endpoint_listen(s->endpoint, s->fd, -1), 0);
}

static void server_stop(struct server *s)
{
    wawo_endpoint_stop(s->endpoint, 0);
    wawo_mutex_lock(&s->lock);
    while (!s->shut)
        wawo_cond_wait(&s->changed, &s->lock);
    wawo_mutex_unlock(&s->lock);
    wawo_endpoint_drop(s->endpoint);
    ASSERT_TRUE(wawo_engine_stop(s->threads, 5 * WAWO_SEC));
    wawo_engine_drop(s->threads);
    wawo_cond_fini(&s->changed);
    wawo_mutex_fini(&s->lock);
    ASSERT_EQ(wawo_live_shares(), 0u);
    ASSERT_EQ(wawo_live_chunks(), 0u);
    ASSERT_EQ(wawo_live_threads(), 0u);
}

static struct wawo_load_options load_options(const struct server *s)
{
    return (struct wawo_load_options){.host = "127.0.0.1",
                                      .port = s->port,
                                      .connections = 10,
                                      .depth = 3,
                                      .size = 100,
                                      .warmup_ns = 20 * WAWO_MSEC,
                                      .measure_ns = 100 * WAWO_MSEC,
                                      .patience_ns = 5 * WAWO_SEC};
}

/* For longer and longer, until more than so many messages came back: the machine may be busy elsewhere. */
static void load_more_than(struct wawo_load_options *o, uint64_t messages, struct wawo_load_result *r)
{
    while (ASSERT_EQ(wawo_load_run(o, r), 0), r->messages <= messages) {
        o->measure_ns *= 2;
        ASSERT_LT(o->measure_ns, 10 * WAWO_SEC);
    }
}

TEST_EACH_BACKEND(load_counts_what_came_back, backend)
{
    struct server s = {.manners = ECHO};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, backend);
    o = load_options(&s);
    load_more_than(&o, 30, &r);
    ASSERT_EQ(r.elapsed_ns, o.measure_ns);
    ASSERT_EQ(r.errors, 0u);
    ASSERT_EQ(r.error, 0);
    ASSERT_GT(r.p50_ns, 0u);
    ASSERT_LE(r.p50_ns, r.p99_ns);
    ASSERT_LE(r.p99_ns, r.p999_ns);
    ASSERT_LE(r.p999_ns, r.max_ns);
    server_stop(&s);
}

TEST_EACH_BACKEND(load_of_large_messages, backend)
{
    struct server s = {.manners = ECHO};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, backend);
    o = load_options(&s);
    o.connections = 3;
    o.size = 1000003;
    load_more_than(&o, 0, &r);
    ASSERT_EQ(r.errors, 0u);
    server_stop(&s);
}

TEST(load_on_more_lines_than_dials_at_a_time)
{
    struct server s = {.manners = ECHO};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, NULL);
    o = load_options(&s);
    o.connections = 300;
    o.measure_ns = WAWO_SEC / 2;
    load_more_than(&o, 300, &r);
    ASSERT_EQ(r.errors, 0u);
    server_stop(&s);
}

TEST(load_of_a_port_where_nobody_listens)
{
    struct server s = {.manners = ECHO};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_bind(&s);
    o = load_options(&s);
    ASSERT_EQ(wawo_load_run(&o, &r), WAWO_EREFUSED);
    ASSERT_EQ(r.errors, o.connections);
    ASSERT_EQ(r.error, ECONNREFUSED);
    ASSERT_EQ(r.messages, 0u);
    ASSERT_EQ(wawo_live_shares(), 0u);
    wawo_os_close(s.fd);
}

TEST(load_of_a_server_that_closes)
{
    struct server s = {.manners = CLOSING};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, NULL);
    o = load_options(&s);
    o.warmup_ns = 0;
    o.measure_ns = 20 * WAWO_SEC; /* it ends long before: nobody is left */
    ASSERT_EQ(wawo_load_run(&o, &r), WAWO_ERESET);
    ASSERT_EQ(r.errors, o.connections);
    ASSERT_LT(r.elapsed_ns, o.measure_ns);
    server_stop(&s);
}

TEST(load_of_a_server_that_never_answers)
{
    struct server s = {.manners = SILENT};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, NULL);
    o = load_options(&s);
    o.connections = 200; /* most of them are not even tried */
    o.patience_ns = 20 * WAWO_MSEC;
    ASSERT_EQ(wawo_load_run(&o, &r), WAWO_ETIMEDOUT);
    ASSERT_EQ(r.errors, o.connections);
    ASSERT_EQ(r.error, ETIMEDOUT);
    ASSERT_EQ(r.messages, 0u);
    server_stop(&s);
}

TEST(load_of_a_server_that_stops_answering)
{
    struct server s = {.manners = STALLING};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, NULL);
    o = load_options(&s);
    o.depth = 1;
    o.connections = 1;
    o.warmup_ns = 0;
    o.measure_ns = WAWO_SEC;
    o.patience_ns = WAWO_SEC; /* it is dialled in that time too */
    ASSERT_EQ(wawo_load_run(&o, &r), WAWO_ETIMEDOUT);
    ASSERT_EQ(r.errors, 1u);
    ASSERT_EQ(r.error, ETIMEDOUT);
    ASSERT_EQ(r.messages, 99u);
    ASSERT_GE(r.max_ns, o.patience_ns); /* what never came back took at least as long as was waited for it */
    ASSERT_LT(r.p99_ns, r.max_ns);
    server_stop(&s);
}

TEST(load_of_a_server_that_answers_too_much)
{
    struct server s = {.manners = CHATTY};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, NULL);
    o = load_options(&s);
    ASSERT_EQ(wawo_load_run(&o, &r), WAWO_EBADMSG);
    ASSERT_EQ(r.errors, o.connections);
    server_stop(&s);
}

struct calls {
    unsigned count, end_at;
    int64_t elapsed_ns;
    uint64_t messages;
};

static int note_progress(void *arg, int64_t elapsed_ns, uint64_t messages)
{
    struct calls *c = arg;

    ASSERT_GE(elapsed_ns, c->elapsed_ns);
    ASSERT_GE(messages, c->messages);
    c->elapsed_ns = elapsed_ns;
    c->messages = messages;
    return ++c->count == c->end_at;
}

TEST(load_tells_its_progress)
{
    struct server s = {.manners = ECHO};
    struct calls calls = {0};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, NULL);
    o = load_options(&s);
    o.progress = note_progress;
    o.arg = &calls;
    for (;; o.measure_ns *= 2, calls = (struct calls){0}) {
        ASSERT_LT(o.measure_ns, 10 * WAWO_SEC);
        ASSERT_EQ(wawo_load_run(&o, &r), 0);
        if (calls.count >= 3) /* else this thread slept through it */
            break;
    }
    ASSERT_EQ(calls.elapsed_ns, o.measure_ns);
    ASSERT_EQ(calls.messages, r.messages);
    server_stop(&s);
}

TEST(load_ends_when_told)
{
    struct server s = {.manners = SILENT};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, NULL);
    o = load_options(&s);
    o.measure_ns = 3600 * WAWO_SEC;
    o.progress = note_progress;
    for (unsigned end_at = 1; end_at <= 3; end_at++) {
        struct calls calls = {.end_at = end_at};

        o.arg = &calls;
        ASSERT_EQ(wawo_load_run(&o, &r), WAWO_ECANCELED);
        ASSERT_EQ(calls.count, end_at);
        ASSERT_EQ(r.messages, 0u);
    }
    server_stop(&s);
}

TEST(load_out_of_range)
{
    struct server s = {.port = 1};
    struct wawo_load_result r;
    struct wawo_load_options o;

#define REFUSED(field, value)                                                                                          \
    o = load_options(&s);                                                                                              \
    o.field = value;                                                                                                   \
    ASSERT_EQ(wawo_load_run(&o, &r), WAWO_EINVAL)
    REFUSED(connections, 0);
    REFUSED(connections, WAWO_LOAD_CONNECTIONS_MAX + 1);
    REFUSED(depth, 0);
    REFUSED(depth, WAWO_LOAD_DEPTH_MAX + 1);
    REFUSED(size, 0);
    REFUSED(size, WAWO_LOAD_FLIGHT_MAX / 3 + 1);
    REFUSED(warmup_ns, -1);
    REFUSED(measure_ns, 0);
#undef REFUSED
}

TEST(load_without_memory)
{
    struct server s = {.manners = ECHO};
    struct wawo_load_options o;
    struct wawo_load_result r;

    server_start(&s, NULL);
    o = load_options(&s);
    o.warmup_ns = 0;
    o.measure_ns = 5 * WAWO_MSEC;
    o.connections = 2;
    for (size_t n = 1;; n++) {
        int rc;

        wawo_alloc_fail_at(n);
        rc = wawo_load_run(&o, &r);
        if (wawo_alloc_calls() < n)
            break;
        ASSERT_LE(rc, 0); /* any of its own, or of the server's: it ends, and loses nothing */
        ASSERT_LT(n, 1000u);
    }
    wawo_alloc_fail_at(0);
    server_stop(&s);
}
