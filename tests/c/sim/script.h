/* What a sender sends: the messages and how they must look on the wire, written anew beside the codecs. */
#ifndef WAWO_TESTS_SIM_SCRIPT_H
#define WAWO_TESTS_SIM_SCRIPT_H

#include "sim.h"

#include "wawo.h"

enum { MESSAGE_MAX = 60000, NOT_A_MESSAGE = -1 };

struct item {
    size_t at, len;     /* in the wire form of the script */
    size_t message;     /* where the message begins in it */
    ptrdiff_t size;     /* of the message; NOT_A_MESSAGE: a header, or bytes that no framing accepts */
    bool perhaps;       /* of a broadcast: it may have left this one out */
    uint32_t cast;      /* the broadcast it is of */
};

struct script {
    uint8_t *wire;
    size_t len, room;
    struct item *items;
    size_t count, items_room;
    bool garbage; /* the last item is no message: what comes of it is open */
};

void script_reset(struct script *s);
/* One framing for a whole run, which begins here. */
void script_choose(struct wawo_framing *f);
/* A size near `want` that a message may have. */
size_t script_fit(const struct wawo_framing *f, size_t want);
/* Fills a message whose first bytes, as many as there are, are found in no other. */
void script_fill(uint8_t *p, size_t len);
/* Appends a message in its envelope. */
struct item *script_add(struct script *s, const struct wawo_framing *f, const uint8_t *p, size_t len);
/* Takes the last one back. */
void script_undo(struct script *s);
/* Appends bytes that are no message. */
void script_add_raw(struct script *s, const void *p, size_t len);
/* Appends a PROXY header that says `ip` and `port`, or one that is wrong. */
void script_add_proxy(struct script *s, uint32_t ip, uint16_t port);

/* Leaves out what a broadcast did not send: afterwards the wire form has just what was sent. Ends the run when wire[0..n)
 * is no beginning of what the script may be. */
void script_resolve(struct script *s, const uint8_t *wire, size_t n);

/* What was received, message after message. */
struct inbox {
    uint8_t *bytes;
    size_t len, room;
    size_t *ends;
    size_t count, ends_room;
};

void inbox_reset(struct inbox *in);
void inbox_add(struct inbox *in, const uint8_t *p, size_t len);
/* Ends the run when these are not the first messages of the (resolved) script; with `whole`, all of them. */
void script_compare(const struct script *s, const struct wawo_framing *f, const struct inbox *in, bool whole);

#endif
