/* The session of a TLS that anybody can read: handshake `H` and `h`; records `D`, two bytes of length, the bytes with
 * every bit turned; `K` is answered with `k`; `T` is a ticket up to its last record, which is `t`: it seals nothing
 * between them; `C` is close_notify; all else is answered with `A`, and fails. */
#ifndef WAWO_TESTS_TOYSESSION_H
#define WAWO_TESTS_TOYSESSION_H

#include "base/config.h"

#include "wawo.h"

enum { TOY_HEAD = 3 };

struct toy {
    struct wawo_tls_pipe *pipe;
    void (*called)(void *arg); /* by each of its functions; NULL: nobody asks */
    void *arg;
    bool client, begun, keeps, midway;
    size_t have;
    uint8_t record[TOY_HEAD + WAWO_TLS_RECORD]; /* as far as it has come */
    uint8_t sealed[TOY_HEAD + WAWO_TLS_RECORD]; /* its own: another may be sealed while this is sent */
};

/* Of sessions that may be called anywhere, and of those that want to be inside the sink. A session is freed when it is let
 * go of. */
extern const struct wawo_tls_ops toy_ops, toy_ops_inside;

struct toy *toy_new(bool client);
void toy_free(struct toy *t);
/* Sessions that are not freed. */
size_t toy_live(void);
/* Those that keep their buffers. */
size_t toy_kept(void);
/* Every bit of `len` bytes is turned. */
void toy_turn(uint8_t *to, const uint8_t *from, size_t len);

#endif
