/* F4 filter: what stands between the wire and the listener, a chain of tables with state. Bytes rise through input(),
 * each filter hands what it made of them to the one above, the last one to the connection. On the way down a message
 * gets its envelope when it is sent, on the sender's thread; transformations that need the connection's state (sealing)
 * work on the out-ring just before the write.
 *
 * A filter owns no socket and no clock; its codec lives in proto/. */
#ifndef WAWO_NET_FILTER_H
#define WAWO_NET_FILTER_H

#include "../mem/ring.h"
#include "../proto/field.h"
#include "../proto/fixed.h"
#include "../proto/marks.h"
#include "../proto/pack.h"
#include "../proto/packet.h"
#include "../wawo.h"

struct wawo_filter;

/* A run of received bytes inside a chunk. */
struct wawo_span {
    struct wawo_chunk *chunk;
    const uint8_t *ptr;
    size_t len;
};

enum { WAWO_FILTERS_MAX = 4 };

/* One framing with its parameters, shared by all connections of an endpoint; immutable. */
struct wawo_filter_config {
    const struct wawo_filter_ops *ops;
    bool looks; /* seal looks into messages, not only at their size */
    union {
        struct wawo_length length;
        struct wawo_field field;
        struct wawo_pack pack;
        struct wawo_marks marks;
        struct wawo_fixed fixed;
        struct wawo_packet packet;
        size_t unread_max; /* pull */
    };
};

struct wawo_filter_ops {
    const char *name;
    size_t size; /* of the state, struct wawo_filter included */
    bool keeps;  /* what the one above leaves comes again; see wawo_conn_offer */
    void (*init)(struct wawo_filter *f);
    void (*fini)(struct wawo_filter *f, struct wawo_conn *c);
    /* Takes bytes from below: how many it consumed, or a negative code that ends the connection. While wawo_conn_full()
     * says so the lowest filter, and one above another that `keeps`, may stop between messages: the rest comes again. All
     * others take all they are given.
     * Keeps bytes only by a copy or a reference of the chunk. */
    ptrdiff_t (*input)(struct wawo_filter *f, struct wawo_conn *c, const struct wawo_span *in);
    /* The stream has ended: 0, or WAWO_EBADMSG in the middle of a message. */
    int (*finish)(struct wawo_filter *f);
    /* What goes around a message, see proto/frame.h. Any thread. */
    int (*seal)(const struct wawo_filter_config *cfg, const struct wawo_message *m, struct wawo_envelope *out);
};

struct wawo_filter {
    const struct wawo_filter_config *cfg;
    struct wawo_filter *up; /* NULL: the connection itself */
};

extern const struct wawo_filter_ops wawo_filter_length, wawo_filter_field, wawo_filter_pack, wawo_filter_marks,
    wawo_filter_fixed, wawo_filter_packet, wawo_filter_pull, wawo_filter_tls;

/* What the filter of a pulled connection keeps: the bytes that lie unread, and how to read them. See wawo_share_fetch. */
size_t wawo_pull_unread(const struct wawo_conn *c);
/* And how many more than should. */
size_t wawo_pull_over(const struct wawo_conn *c);
int wawo_pull_fetch(struct wawo_conn *c, void *out, size_t n, bool consume);

/* See wawo_endpoint_seal. The lower ones see no more of a message than its size; one of them may have a tail. */
int wawo_filter_seal_all(const struct wawo_filter_config *filters, unsigned count, const struct wawo_message *m,
                         struct wawo_envelope *out);
/* The filter for a framing; cfg->ops NULL for raw bytes. WAWO_EINVAL for parameters that make no sense. */
int wawo_filter_config(struct wawo_filter_config *cfg, const struct wawo_framing *framing);

#endif
