/* F2 accept: takes connections off a listening socket by the ordinary call, for the backends that do so. Its loop's
 * thread. */
#ifndef WAWO_IO_ACCEPT_H
#define WAWO_IO_ACCEPT_H

#include "backend.h"

/* Accepts a few, at most `max`: the count of done. Where the last one is an error, it would be useless to go on. */
int wawo_accept_some(struct wawo_sock *s, struct wawo_done *done, int max);

#endif
