#include "preamble.h"

#include "../base/alloc.h"
#include "../base/atomic.h"
#include "../base/err.h"
#include "../proto/proxy.h"
#include "net.h"

/* A header that comes in pieces; one that comes whole needs none of this. */
struct wawo_preamble {
    size_t len, room;
    uint8_t bytes[];
};

void wawo_preamble_start(struct wawo_conn *c, int fd)
{
    struct wawo_loop *loop = wawo_net_of(c)->loop;

    wawo_store_relaxed(&c->share->received_ns, loop->now_ns);
    wawo_store(&c->share->connected_ns, loop->now_ns); /* its addresses answer in OnClose */
    c->state = WAWO_CONN_PREAMBLE;
    c->unseen = true;
    loop->ops->attach(loop->backend, &c->sock, fd);
    loop->ops->recv_start(loop->backend, &c->sock);
    wawo_timer_set(&loop->wheel, &c->timer, loop->now_ns + c->branch->endpoint->options.connect_timeout_ns);
}

void wawo_preamble_drop(struct wawo_conn *c)
{
    wawo_free(c->preamble);
    c->preamble = NULL;
}

void wawo_preamble_end(struct wawo_conn *c)
{
    wawo_bump(&c->branch->stats.rejected, 1);
    c->mute = true;
    wawo_conn_end(c, WAWO_OP_ACCEPT, ECANCELED);
}

/* Whoever runs the server wants to know of these. */
static void refuse(struct wawo_conn *c, int error, enum wawo_proxy_fault fault)
{
    wawo_bump(&c->branch->stats.rejected, 1);
    wawo_bump(&c->branch->stats.rejected_proxy, 1);
    c->share->fault = (uint8_t)fault; /* nobody else has the share yet */
    wawo_conn_end(c, WAWO_OP_ACCEPT, error);
}

void wawo_preamble_broken(struct wawo_conn *c, int error)
{
    if (c->preamble == NULL) /* not one byte came: a probe of the port */
        wawo_preamble_end(c);
    else if (error == 0)
        refuse(c, EBADMSG, WAWO_PROXY_BAD_CUT);
    else
        refuse(c, -error, WAWO_PROXY_GOOD);
}

void wawo_preamble_expired(struct wawo_conn *c)
{
    refuse(c, ETIMEDOUT, WAWO_PROXY_GOOD);
}

/* Room for the whole header; NULL: no memory. */
static struct wawo_preamble *reserve(struct wawo_conn *c, size_t room)
{
    struct wawo_preamble *p = c->preamble;

    if (p != NULL && p->room >= room)
        return p;
    p = wawo_realloc(p, sizeof *p + room);
    if (p == NULL)
        return NULL;
    if (c->preamble == NULL)
        p->len = 0;
    p->room = room;
    c->preamble = p;
    return p;
}

static void advance(struct wawo_span *in, ptrdiff_t n)
{
    in->ptr += n;
    in->len -= (size_t)n;
}

/* 1: the header is whole, *in begins behind it; 0: more is needed; a negative code. */
static int gather(struct wawo_conn *c, struct wawo_span *in, struct wawo_proxy *header)
{
    struct wawo_preamble *p = c->preamble;
    ptrdiff_t n = 0;

    if (p == NULL)
        n = wawo_proxy_parse(in->ptr, in->len, header);
    else
        header->room = p->room;
    if (n > 0)
        advance(in, n);
    while (n == 0 && in->len > 0) { /* twice at most: with the length of a binary header the room grows */
        size_t take;

        p = reserve(c, header->room);
        if (p == NULL)
            return WAWO_ENOMEM;
        take = wawo_min_size(p->room - p->len, in->len);
        memcpy(p->bytes + p->len, in->ptr, take);
        p->len += take;
        advance(in, (ptrdiff_t)take);
        n = wawo_proxy_parse(p->bytes, p->len, header);
        if (n > 0)
            advance(in, n - (ptrdiff_t)p->len); /* what was taken too much */
    }
    return n > 0 ? 1 : (int)n;
}

/* The header is whole: from here on it is a connection like any other. */
static bool begin(struct wawo_conn *c, const struct wawo_proxy *header)
{
    struct wawo_branch *b = c->branch;
    struct wawo_share *s = c->share;
    struct wawo_addr remote = s->remote, local = s->local;
    int err;

    wawo_timer_cancel(&b->net->loop->wheel, &c->timer);
    wawo_preamble_drop(c);
    if (header->source.family != WAWO_AF_NONE) {
        remote = header->source;
        local = header->destination;
    }
    err = wawo_endpoint_enter(b->endpoint, &remote);
    if (err == 0) {
        c->counted = b->endpoint->census.limit > 0;
        s->remote = remote;
        err = wawo_conn_open(c, -1, &remote, &local, WAWO_ON_ACCEPT);
    }
    if (err != 0) {
        if (err == WAWO_EREFUSED)
            wawo_bump(&b->stats.rejected_address, 1);
        wawo_preamble_end(c);
        return false;
    }
    c->unseen = false;
    wawo_listener_welcome(c);
    return true;
}

bool wawo_preamble_take(struct wawo_conn *c, struct wawo_span *in)
{
    struct wawo_proxy header;
    int rc = gather(c, in, &header);

    if (rc == 1)
        return begin(c, &header) && in->len > 0;
    if (rc == WAWO_EBADMSG)
        refuse(c, EBADMSG, header.fault);
    else if (rc < 0)
        wawo_preamble_end(c);
    return false;
}
