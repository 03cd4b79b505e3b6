/* F4 tls: TLS on a connection. Its filter is always the lowest of the chain; what is to be sent waits as plaintext in a
 * ring of the filter and is sealed into the sock's just before the write. The cryptography is a session's, see
 * struct wawo_tls_ops in wawo.h. Loop. */
#ifndef WAWO_NET_TLS_H
#define WAWO_NET_TLS_H

#include "../io/timer.h"
#include "filter.h"

enum {
    WAWO_TLS_TURNS = 4, /* handshakes that one turn of a loop goes on with: others want to be served too */
    WAWO_TLS_SCRATCH = 4 * WAWO_TLS_RECORD,
    WAWO_TLS_BUSY = 512 /* sessions of a loop that keep their buffers, which are two records large */
};

struct wawo_net;

/* What the connections of a loop share. */
struct wawo_tls_loop {
    struct wawo_chunk *opened; /* plaintext is packed here; NULL before the first */
    struct wawo_chunk *scratch; /* plaintext on its way out is joined here; NULL before the first */
    struct wawo_list shaking; /* wait for their turn, oldest first */
    unsigned shakes; /* handshakes that went on in this turn */
    struct wawo_list busy; /* their sessions keep their buffers */
    unsigned busy_count;
    struct wawo_timer sweep; /* looks for those of them that rest */
};

struct wawo_tls {
    struct wawo_filter base;
    /* What was accepted and the kernel has not taken. `bytes` counts what is sealed too, until that is sent; so all that
     * looks at it alone sees what is pending. */
    struct wawo_ring plain;
    size_t sealed; /* of these, in the sock's ring as ciphertext */
    size_t sealed_length; /* the same, files with their real size */
    ptrdiff_t went; /* ciphertext that the kernel took before it came into the sock's ring, or a negative code */
    struct wawo_tls_pipe pipe;
    const struct wawo_tls_ops *ops;
    void *session; /* borrowed; NULL: not yet, or not any more */
    struct wawo_conn *conn;
    struct wawo_span rest; /* plaintext that the filter above did not take, with a reference; no chunk: none */
    struct wawo_list turn; /* waits for its turn to go on with the handshake */
    struct wawo_list busy; /* its session keeps its buffers */
    int32_t error; /* with a fault: the code */
    uint8_t fault; /* enum wawo_tls_fault */
    uint8_t uses; /* of its session while that is not busy, up to as many as make it so */
    bool client : 1; /* it has the first word */
    bool lenient : 1; /* a FIN without close_notify is an end as any other */
    bool ready : 1; /* the handshake is done */
    bool untold : 1; /* of that nobody heard yet */
    bool granted : 1; /* it is its turn */
    bool begun : 1; /* the handshake was begun */
    bool starting : 1; /* start_tls was called in the batch under delivery */
    bool held : 1; /* the last byte of the input was given back though it was used, see give_back() */
    bool ended : 1; /* the peer's close_notify came */
    bool parted : 1; /* ours went */
    bool reading : 1; /* a file is being read from its disk */
    bool last : 1; /* the record that is being sealed is the last for now */
    bool used : 1; /* since the last look at who is busy */
    bool lost : 1; /* something that was accepted is never sealed */
    bool midway : 1; /* the session must read the rest of a message of its own before it can write, or so it may be */
};

/* ---- the filter: filter_tls.c ---- */

/* Seals what waits, as much as the sock's ring should hold. A failed session breaks the stream. */
void wawo_tls_seal(struct wawo_conn *c);
/* Bytes left the sock's ring, `left` are in it: how many that were pending are sent, and *length as OnSend has it. */
size_t wawo_tls_sent(struct wawo_conn *c, size_t freed, size_t left, size_t *length);
/* Bytes that went out in the clear before TLS began have not gone after all. */
void wawo_tls_back(struct wawo_conn *c, size_t bytes);
/* What the kernel took while that was sealed, or a negative code. */
ptrdiff_t wawo_tls_went(struct wawo_conn *c);
/* Gives up what was not sealed. */
void wawo_tls_drop_plain(struct wawo_conn *c);
/* The session writes close_notify, once, if it can. */
void wawo_tls_part(struct wawo_conn *c);
/* Goes on with a handshake without input: the first step of a client. 0 or a negative code. */
int wawo_tls_begin(struct wawo_conn *c);

/* ---- the connection: conn_tls.c ---- */

/* Seals what waits, and goes on or ends to receive as the session needs it for that. */
void wawo_tls_proceed(struct wawo_conn *c);
/* It begins to close: what is read goes to the session until that has shown whether it can write what waits. */
void wawo_tls_doubt(struct wawo_conn *c);
/* Puts the filter below all others; no session yet. WAWO_ENOMEM. */
int wawo_tls_push(struct wawo_conn *c);
/* It is established: asks for its session, and receives nothing before that. */
void wawo_tls_await(struct wawo_conn *c);
/* The handshake is done. */
void wawo_tls_stands(struct wawo_conn *c);
/* That was delivered: what came behind the handshake is next. */
void wawo_tls_told(struct wawo_conn *c);
/* Whether it may go on with its handshake in this turn; false: it waits, and receives nothing meanwhile. */
bool wawo_tls_may_shake(struct wawo_conn *c);
/* The session has failed, or the stream: from now on nothing is sealed. Returns the code of the first time. */
int wawo_tls_fail(struct wawo_conn *c, enum wawo_tls_fault fault, int code);
/* What is wrong at the end of the stream: 0 or a negative code. */
int wawo_tls_finish(struct wawo_conn *c);
/* Its session failed before what was accepted could be sealed. */
bool wawo_tls_stuck(struct wawo_conn *c);
/* What its failure is reported as. */
enum wawo_operation wawo_tls_operation(const struct wawo_conn *c);
/* Writes close_notify, and all that the session wrote before; false: the kernel has no room for it now. */
bool wawo_tls_say_goodbye(struct wawo_conn *c);
/* The connection ends: close_notify if that can go out, and the session is let go of. */
void wawo_tls_end(struct wawo_conn *c, bool reset);
/* The timer fired while it was open: true when that was for the handshake. */
bool wawo_tls_timer(struct wawo_conn *c);
/* The batch in which start_tls was called is over. */
void wawo_tls_start(struct wawo_conn *c);
/* An event of a connection that is about to begin TLS: that is plaintext behind it. */
void wawo_tls_leftover(struct wawo_conn *c);

/* ---- the loop's part ---- */

/* Room for a record of plaintext, in a chunk that is shared by all; NULL: the pool is at its limit. */
struct wawo_chunk *wawo_tls_room(struct wawo_net *net);
/* Room for WAWO_TLS_SCRATCH bytes; false: no memory. */
bool wawo_tls_scratch(struct wawo_net *net);
/* Its session is going to be used for so many bytes: it keeps its buffers where that is often, and for few. */
void wawo_tls_use(struct wawo_conn *c, size_t bytes);
/* Before and after its session is called, whose callbacks may call anything: enters the sink if it wants that (true: it
 * must be left again), and has them post what they ask for. */
bool wawo_tls_enter(struct wawo_conn *c);
void wawo_tls_leave(struct wawo_conn *c, bool inside);
/* Once a turn: those whose turn it is go on with their handshakes. */
void wawo_tls_turn(struct wawo_net *net);
void wawo_tls_init(struct wawo_net *net);
void wawo_tls_fini(struct wawo_net *net);

#endif
