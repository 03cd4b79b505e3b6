/* F3 marks: messages that end with a mark (Delimited), or stand between two (Between). A pure codec.
 *
 * A message ends at the first end mark behind the start mark, so it cannot hold one; nothing is escaped. */
#ifndef WAWO_PROTO_MARKS_H
#define WAWO_PROTO_MARKS_H

#include "frame.h"

struct wawo_marks {
    uint8_t start[WAWO_ENVELOPE_MAX], end[WAWO_ENVELOPE_MAX]; /* may be the same */
    uint8_t start_len; /* 0 (there is none)..WAWO_ENVELOPE_MAX */
    uint8_t end_len;   /* 1..WAWO_ENVELOPE_MAX */
    uint64_t max;      /* bytes of message at most, without the marks */
};

/* WAWO_EINVAL outside the above. */
int wawo_marks_check(const struct wawo_marks *c);
/* See frame.h. WAWO_EBADMSG for another start mark, as soon as one byte of it is wrong. */
int wawo_marks_cut(const struct wawo_marks *c, const uint8_t *p, size_t n, size_t *scanned, struct wawo_frame *out);
/* See frame.h. WAWO_EBADMSG when the receiver would see an end mark before the end: in the message, or where it meets
 * the mark. Only the visible bytes are looked at. */
int wawo_marks_seal(const struct wawo_marks *c, const struct wawo_message *m, struct wawo_envelope *out);

#endif
