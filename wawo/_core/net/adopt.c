/* F4 adopt: a connection that the program made itself, on its way from any thread to the loop that it will live on. */
#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/check.h"
#include "../base/err.h"
#include "net.h"

struct adoption {
    struct wawo_call call;
    struct wawo_branch *branch; /* booked */
    struct wawo_share *share; /* a reference */
    int fd;
};

static void find_address(int fd, bool peer, struct wawo_addr *a, char path[WAWO_UNIX_TEXT])
{
    memset(a, 0, sizeof *a);
    /* A peer that is gone again has none: noticed at the first read. */
    if ((peer ? wawo_os_peer_addr(fd, a) : wawo_os_local_addr(fd, a)) != 0 || a->family != WAWO_AF_UNIX)
        return;
    (void)wawo_os_unix_path(fd, peer, path);
    a->path = path;
}

static int open_adopted(struct wawo_conn *c, int fd, enum wawo_event_kind first)
{
    const struct wawo_options *o = &c->branch->endpoint->options;
    char local_path[WAWO_UNIX_TEXT], remote_path[WAWO_UNIX_TEXT];
    struct wawo_addr local, remote;

    find_address(fd, false, &local, local_path);
    find_address(fd, true, &remote, remote_path);
    if (local.family != WAWO_AF_UNIX) /* a protocol that lacks these options does without */
        (void)wawo_os_tune_tcp(fd, o->no_delay, o->keepalive_idle_s, o->keepalive_interval_s);
    return wawo_conn_open(c, fd, &remote, &local, first);
}

static void arrive(struct wawo_branch *b, struct wawo_share *s, int fd)
{
    bool server = b->endpoint->role == WAWO_SERVER;
    enum wawo_operation op = server ? WAWO_OP_ACCEPT : WAWO_OP_CONNECT;
    struct wawo_conn *c = wawo_conn_new(b, s);
    int err = c == NULL ? WAWO_ENOMEM : 0;

    if (err == 0 && b->stopping && wawo_endpoint_over(b->endpoint))
        err = WAWO_ECANCELED;
    if (err == 0)
        err = open_adopted(c, fd, server ? WAWO_ON_ACCEPT : WAWO_ON_CONNECT);
    if (err != 0) {
        wawo_os_close(fd);
        if (c != NULL)
            wawo_conn_end(c, op, -err);
        else
            wawo_conn_fail(b, s, op, -err);
        return;
    }
    wawo_bump(server ? &b->stats.accepts : &b->stats.connects, 1);
    if (wawo_load(&s->state) != WAWO_SHARE_OPEN) /* closed before: that call may have found no connection */
        wawo_conn_close(c, WAWO_OP_CLOSE, 0);
}

static void adoption_run(struct wawo_call *call, struct wawo_loop *loop, bool dead)
{
    struct adoption *a = wawo_container_of(call, struct adoption, call);

    (void)loop;
    (void)dead; /* the endpoint is stopped before its loops: a booking keeps it alive until this has run */
    wawo_net_room(a->branch->net);
    arrive(a->branch, a->share, a->fd);
    wawo_share_drop(a->share);
    wawo_free(a);
}

int wawo_endpoint_adopt(struct wawo_endpoint *e, int fd, void (*made)(struct wawo_share *s, void *arg), void *arg)
{
    struct wawo_loop *loop = wawo_threads_least_loaded(e->threads);
    struct wawo_branch *b = wawo_endpoint_branch(e, loop);
    struct adoption *a = NULL;
    struct wawo_share *s;
    int err = wawo_endpoint_book_own(e, b);

    if (err != 0)
        return err;
    s = wawo_share_new(loop, e);
    if (s != NULL)
        a = wawo_alloc(sizeof *a);
    if (a != NULL)
        *a = (struct adoption){.call = {.run = adoption_run}, .branch = b, .share = s, .fd = fd};
    return wawo_endpoint_announce(b, s, a, a != NULL ? &a->call : NULL, made, arg);
}
