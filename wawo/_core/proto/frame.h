/* F3 frame: what all framings share. A codec is a configuration (immutable, shared by every connection) and two pure
 * functions: cut finds the next message in received bytes, seal says what goes around a message that is sent. */
#ifndef WAWO_PROTO_FRAME_H
#define WAWO_PROTO_FRAME_H

#include "../base/config.h"

/* Where a message lies in the bytes that cut was given. */
struct wawo_frame {
    size_t skip;  /* bytes before the message */
    size_t len;   /* of the message */
    size_t total; /* of the whole frame, what stands behind the message included */
};

/* The signature of every codec's cut; p[0..n) begins with a frame.
 * 1: a whole frame, *out. 0: more bytes are needed: out->total is the size of the frame when it is known, else 0. Negative:
 * WAWO_EMSGSIZE for a message over its maximum, as soon as that is certain; WAWO_EBADMSG for a malformed one.
 * *scanned is 0 at the start of a frame and lent by the caller until its end: what needs not be looked at again. */

/* A message that is about to be sent. */
struct wawo_message {
    const uint8_t *data; /* its first bytes */
    size_t len;          /* how many of them can be looked at; the rest of it may lie elsewhere, in a file say */
    size_t total;        /* bytes of the whole message */
};

enum { WAWO_ENVELOPE_MAX = 16 }; /* bytes before a message, and behind it */

/* What goes around a message on the wire. */
struct wawo_envelope {
    uint8_t head[WAWO_ENVELOPE_MAX];
    uint8_t head_len;
    uint8_t tail_len;
    const uint8_t *tail; /* in the configuration, valid as long as that is */
};

/* The signature of every codec's seal: 0 and *out. WAWO_EMSGSIZE: over the maximum; WAWO_EBADMSG: this message cannot be
 * sent as one frame (it holds its own delimiter, its size is not the fixed one, ...). Any thread. */

#endif
