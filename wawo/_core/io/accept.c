#include "accept.h"

#include "../base/err.h"

/* Accepts a few: as many as came last time, and twice as many as long as that is not enough. A refused accept4 costs
 * the kernel a socket, so trying once too often is not free. */
int wawo_accept_some(struct wawo_sock *s, struct wawo_done *done, int max)
{
    unsigned burst = s->aux, got = 0;
    int fd, n = 0;

    while (got < burst && n < max) {
        fd = wawo_os_accept(s->fd, &done[n].peer);
        if (fd == WAWO_AGAIN)
            break;
        if (fd < 0 && wawo_os_accept_transient(fd)) {
            got++; /* that peer gave up before we came: the next one is waiting */
            continue;
        }
        done[n].id = s->id;
        done[n].kind = WAWO_DONE_ACCEPTED;
        done[n].error = fd < 0 ? fd : 0;
        done[n].fd = fd;
        n++;
        if (fd < 0)
            return n;
        got++;
    }
    if (got == burst)
        s->aux = burst * 2 < WAWO_ACCEPT_BURST ? burst * 2 & 0xffu : WAWO_ACCEPT_BURST;
    else
        s->aux = got > 0 ? got & 0xffu : 1;
    return n;
}
