/* F4 preamble: what a peer has to send before its connection is one of the listener's: a PROXY header. Until then the
 * connection counts against the limits, has a time limit, and cannot be found. When the header is whole it opens with the
 * addresses that the header says, and what came behind the header goes through its filters. Loop. */
#ifndef WAWO_NET_PREAMBLE_H
#define WAWO_NET_PREAMBLE_H

#include "conn.h"

/* An accepted connection whose share has its addresses: attaches fd and waits for the header. */
void wawo_preamble_start(struct wawo_conn *c, int fd);
/* A read: takes what belongs to the header from the front of *in. true: the connection is open and the rest of *in is its
 * first input. */
bool wawo_preamble_take(struct wawo_conn *c, struct wawo_span *in);
/* The stream ended (0) or broke (a negative code). */
void wawo_preamble_broken(struct wawo_conn *c, int error);
void wawo_preamble_expired(struct wawo_conn *c);
/* Ends it; nothing is told. */
void wawo_preamble_end(struct wawo_conn *c);
/* Gives back what the state holds. */
void wawo_preamble_drop(struct wawo_conn *c);

#endif
