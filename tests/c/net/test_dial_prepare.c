/* PREPARE_CONNECT: what a listener sees of a socket before it connects, and what it can do to the dial then. */
#include "support/names.h"
#include "support/stage.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>

static void agent_open(struct stage *s, struct party *agent, const char *backend, party_hook hook)
{
    stage_open(s, backend, 1);
    party_init(agent, s, WAWO_AGENT);
    agent->mask |= 1u << WAWO_ON_PREPARE_CONNECT;
    agent->hook = hook;
    party_start(agent);
}

/* Not connected yet, bound to what was asked for; what is set stays. */
static void hook_mark(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct wawo_addr local;
    int *fd = p->arg;

    (void)a;
    if (e->kind != WAWO_ON_PREPARE_CONNECT)
        return;
    ASSERT_LT(wawo_os_peer_addr(e->error, &local), 0);
    ASSERT_EQ(wawo_os_local_addr(e->error, &local), 0);
    ASSERT_EQ(local.ip[3], 9);
    ASSERT_FALSE(wawo_share_connected(e->share));
    os_mark(e->error, 4);
    *fd = e->error;
}

static void no_made(struct wawo_share *share, void *arg)
{
    (void)share;
    (void)arg;
}

TEST_EACH_BACKEND(seen_before_it_connects, backend)
{
    struct stage s;
    struct party agent;
    uint16_t port;
    int fd, mine = -1, listener = kit_listen(&port);

    agent_open(&s, &agent, backend, hook_mark);
    agent.arg = &mine;
    ASSERT_EQ(wawo_endpoint_connect(agent.endpoint, "127.0.0.1", port, "127.0.0.9", 0, 0, no_made, NULL), 0);
    fd = kit_accept(listener);
    party_wait(&agent, WAWO_ON_CONNECT, 1);
    ASSERT_EQ(os_marked(mine), 4);
    ASSERT_EQ(party_count(&agent, WAWO_ON_PREPARE_CONNECT), 1u);
    kit_close(fd);
    kit_close(listener);
    party_close(&s, &agent);
}

/* Each address that is tried: those that refuse, that cannot even be tried, that do not answer. */
TEST_EACH_BACKEND(each_attempt_is_seen, backend)
{
    static const char *const list[] = {"127.0.0.3", "255.255.255.255", "127.0.0.1", "127.0.0.1", NULL};
    struct stage s;
    struct party agent;
    uint16_t port;
    int fill[8], listener = kit_deaf_listener("127.0.0.1", &port, fill);

    names_are(list, 0);
    agent_open(&s, &agent, backend, NULL);
    ASSERT_EQ(party_dial(&agent, "a.name", port, 2 * WAWO_SEC, NULL), 0);
    party_wait(&agent, WAWO_ON_PREPARE_CONNECT, 4);
    party_stop(&agent, 0);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.error, ECANCELED);
    ASSERT_EQ(party_count(&agent, WAWO_ON_PREPARE_CONNECT), 4u);
    kit_close_deaf(listener, fill);
    party_close(&s, &agent);
}

static void hook_refuse(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_PREPARE_CONNECT)
        wawo_share_refuse(e->share, WAWO_OP_CONNECT, ECANCELED);
}

static void hook_abort(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_PREPARE_CONNECT)
        (void)wawo_share_abort(e->share);
}

/* The other addresses are not tried; nobody was ever called. */
static void ended_in_the_callback(const char *backend, party_hook hook)
{
    static const char *const list[] = {"127.0.0.1", "127.0.0.1", NULL};
    struct stage s;
    struct party agent;
    uint16_t port;
    unsigned before;
    int listener = kit_listen(&port);

    names_are(list, 0);
    agent_open(&s, &agent, backend, hook);
    before = kit_open_fds();
    ASSERT_EQ(party_dial(&agent, "a.name", port, 0, NULL), 0);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.operation, WAWO_OP_CONNECT);
    ASSERT_EQ(agent.error, ECANCELED);
    ASSERT_EQ(party_count(&agent, WAWO_ON_PREPARE_CONNECT), 1u);
    KIT_UNTIL(kit_open_fds() == before);
    ASSERT_LT(wawo_os_accept(listener, &(struct wawo_addr){0}), 0);
    kit_close(listener);
    party_close(&s, &agent);
}

TEST_EACH_BACKEND(refused_in_the_callback, backend)
{
    ended_in_the_callback(backend, hook_refuse);
}

TEST_EACH_BACKEND(aborted_in_the_callback, backend)
{
    ended_in_the_callback(backend, hook_abort);
}

/* The first of a batch ends all others: their sockets are not shown any more. */
static void hook_end_others(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct wawo_share **all = p->arg;
    int i;

    (void)a;
    if (e->kind != WAWO_ON_PREPARE_CONNECT)
        return;
    for (i = 0; i < 100; i++)
        if (all[i] != NULL && all[i] != e->share)
            (void)wawo_share_close(all[i]);
}

struct gate {
    struct wawo_mutex lock;
};

static void wait_at_gate(struct stage *s, const struct wawo_event *e, unsigned index)
{
    struct gate *g = s->before_arg;

    (void)index;
    if (e->kind != WAWO_ON_PREPARE_CONNECT)
        return;
    wawo_mutex_lock(&g->lock);
    wawo_mutex_unlock(&g->lock);
}

TEST_EACH_BACKEND(ended_by_another_callback_of_the_batch, backend)
{
    struct stage s;
    struct party agent;
    struct wawo_share *all[100] = {NULL};
    struct gate gate;
    uint16_t port;
    int i, fill[8], listener = kit_deaf_listener("127.0.0.1", &port, fill);

    wawo_mutex_init(&gate.lock);
    agent_open(&s, &agent, backend, hook_end_others);
    agent.arg = all;
    s.before_arg = &gate;
    s.before = wait_at_gate;
    wawo_mutex_lock(&gate.lock); /* all are dialled before the first callback goes on */
    for (i = 0; i < 100; i++)
        ASSERT_EQ(party_dial(&agent, "127.0.0.1", port, 0, &all[i]), 0);
    wawo_mutex_unlock(&gate.lock);
    party_wait(&agent, WAWO_ON_CLOSE, 99);
    ASSERT_LE(party_count(&agent, WAWO_ON_PREPARE_CONNECT), 2u); /* that of a first batch, and of the next */
    party_finish(&agent);
    for (i = 0; i < 100; i++)
        wawo_share_drop(all[i]);
    wawo_mutex_fini(&gate.lock);
    stage_close(&s);
    kit_close_deaf(listener, fill);
}

/* The callback lasts longer than the whole connect may. */
TEST_EACH_BACKEND(the_limit_runs_on, backend)
{
    struct stage s;
    struct party agent;
    struct gate gate;
    uint16_t port;
    int fill[8], listener = kit_deaf_listener("127.0.0.1", &port, fill);
    int64_t until = wawo_os_now_ns() + 100 * WAWO_MSEC;

    wawo_mutex_init(&gate.lock);
    agent_open(&s, &agent, backend, NULL);
    s.before_arg = &gate;
    s.before = wait_at_gate;
    wawo_mutex_lock(&gate.lock);
    ASSERT_EQ(party_dial(&agent, "127.0.0.1", port, 50 * WAWO_MSEC, NULL), 0);
    while (wawo_os_now_ns() < until)
        wawo_thread_yield();
    wawo_mutex_unlock(&gate.lock);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(agent.error, ETIMEDOUT);
    wawo_mutex_fini(&gate.lock);
    party_close(&s, &agent);
    kit_close_deaf(listener, fill);
}

/* More attempts in one tick of the clock than a batch has room for: each dial has a second address after 250 ms. */
TEST_EACH_BACKEND(thousands_at_once, backend)
{
    enum { MANY = 3000 };
    static const char *const list[] = {"127.0.0.1", "127.0.0.1", NULL};
    struct stage s;
    struct party agent;
    uint16_t port;
    int i, fill[8], listener = kit_deaf_listener("127.0.0.1", &port, fill);

    if (!os_allow_fds(2 * MANY + 100))
        SKIP("too few descriptors here");
    names_are(list, 0);
    agent_open(&s, &agent, backend, NULL);
    for (i = 0; i < MANY; i++)
        ASSERT_EQ(party_dial(&agent, "a.name", port, 0, NULL), 0);
    party_wait(&agent, WAWO_ON_PREPARE_CONNECT, 2 * MANY);
    party_close(&s, &agent);
    ASSERT_EQ(agent.count[WAWO_ON_CLOSE], (unsigned)MANY);
    ASSERT_EQ(agent.count[WAWO_ON_PREPARE_CONNECT], 2u * MANY);
    kit_close_deaf(listener, fill);
}
