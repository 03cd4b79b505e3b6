/* F4 dial: from a host to a connection. Looks names up off the loop, orders the addresses as RFC 8305 says (families take
 * turns, the resolver's first one leads), starts an attempt every 250 ms or as soon as one fails, keeps the first that
 * stands. Who listens to PREPARE_CONNECT sees each attempt's socket before it connects. Loop, but for wawo_dial_start. */
#ifndef WAWO_NET_DIAL_H
#define WAWO_NET_DIAL_H

#include "conn.h"

/* What a caller on any thread wants dialled. */
struct wawo_dial_request {
    struct wawo_call call;
    struct wawo_branch *branch;
    struct wawo_share *share; /* a reference */
    struct wawo_addr local; /* WAWO_AF_NONE: any */
    int64_t timeout_ns;
    uint16_t port;
    char host[];
};

/* NULL: no memory. Takes over nothing. */
struct wawo_dial_request *wawo_dial_request_new(struct wawo_branch *branch, struct wawo_share *share, const char *host,
                                                uint16_t port, const struct wawo_addr *local, int64_t timeout_ns);
void wawo_dial_done(struct wawo_sock *sock, struct wawo_done *done);
/* The listener has seen the attempt's socket: it connects, unless the dial is over. */
void wawo_dial_prepared(struct wawo_conn *c, int fd);
/* Ends all attempts; c->dial is NULL afterwards. */
void wawo_dial_drop(struct wawo_conn *c);
/* Reorders `list` as RFC 8305 section 4 asks. */
void wawo_dial_order(struct wawo_addr *list, int count);

#endif
