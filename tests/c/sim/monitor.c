#include "monitor.h"

#include "sim.h"

#include "base/atomic.h"
#include "io/threads.h"

enum { SEEN_MAX = 1024 };

enum seen_state { SEEN_ATTACHED, SEEN_DETACHING, SEEN_DETACHED, SEEN_RELEASED };

static struct seen {
    uint64_t id;
    int fd, state;
} seen[SEEN_MAX];
static unsigned count;
static const struct wawo_backend_ops *real;
static struct wawo_backend_ops watched;

void monitor_reset(void)
{
    count = 0;
}

static struct seen *find(uint64_t id)
{
    unsigned i;

    for (i = count; i-- > 0;)
        if (seen[i].id == id)
            return &seen[i];
    return NULL;
}

static void attach(struct wawo_backend *b, struct wawo_sock *s, int fd)
{
    struct seen *x = find(s->id);

    if (x != NULL || count == SEEN_MAX)
        SIM_FAIL("id %llx is attached again", (unsigned long long)s->id);
    seen[count++] = (struct seen){s->id, fd, SEEN_ATTACHED};
    sim_log("attach", (int64_t)s->id, fd, 0);
    real->attach(b, s, fd);
}

static void detach(struct wawo_backend *b, struct wawo_sock *s, bool reset)
{
    struct seen *x = find(s->id);

    if (x == NULL || x->state != SEEN_ATTACHED)
        SIM_FAIL("id %llx is detached, which is not attached", (unsigned long long)s->id);
    x->state = SEEN_DETACHING;
    sim_log("detach", (int64_t)s->id, reset, 0);
    real->detach(b, s, reset);
}

static int release(struct wawo_backend *b, struct wawo_sock *s)
{
    struct seen *x = find(s->id);

    SIM_CHECK(x != NULL && x->state == SEEN_ATTACHED);
    x->state = SEEN_RELEASED;
    return real->release(b, s);
}

static int wait(struct wawo_backend *b, struct wawo_done *done, int max, int64_t timeout_ns)
{
    int i, n = real->wait(b, done, max, timeout_ns);
    struct seen *x;

    for (i = 0; i < n; i++) {
        x = find(done[i].id);
        sim_log("done", (int64_t)done[i].id, done[i].kind, done[i].error);
        if (x == NULL || x->state == SEEN_DETACHED || x->state == SEEN_RELEASED)
            SIM_FAIL("an event of kind %d for id %llx, which is not attached", done[i].kind,
                     (unsigned long long)done[i].id);
        if (done[i].kind == WAWO_DONE_DETACHED) {
            SIM_CHECK(x->state == SEEN_DETACHING && done[i].error == 0);
            x->state = SEEN_DETACHED;
        }
    }
    return n;
}

void monitor_watch(struct wawo_loop *loop)
{
    real = loop->ops;
    watched = *real;
    watched.attach = attach;
    watched.detach = detach;
    watched.release = release;
    watched.wait = wait;
    loop->ops = &watched;
}

void monitor_check_end(void)
{
    unsigned i;

    for (i = 0; i < count; i++)
        if (seen[i].state == SEEN_ATTACHED || seen[i].state == SEEN_DETACHING)
            SIM_FAIL("id %llx was never detached", (unsigned long long)seen[i].id);
}
