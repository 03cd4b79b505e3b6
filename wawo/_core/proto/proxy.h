/* F3 proxy: the PROXY protocol, versions 1 (a line of text) and 2 (binary): the header in which a proxy says whose
 * connection this is (HAProxy's proxy-protocol.txt). A pure codec: no socket, no clock, no state. */
#ifndef WAWO_PROTO_PROXY_H
#define WAWO_PROTO_PROXY_H

#include "../base/os.h"

enum {
    WAWO_PROXY_V1_MAX = 107, /* bytes of the line, CRLF included */
    WAWO_PROXY_V2_HEAD = 16,
    WAWO_PROXY_V2_MAX = WAWO_PROXY_V2_HEAD + 4096
};

/* X(name, text): what is wrong with a header. */
#define WAWO_PROXY_FAULTS(X)                                                                                           \
    X(SIGNATURE, "no signature")                                                                                       \
    X(LINE, "the line does not end with CRLF")                                                                         \
    X(LINE_LONG, "the line is over 107 bytes")                                                                         \
    X(FIELDS, "not two addresses and two ports")                                                                       \
    X(FAMILY, "unknown address family or transport")                                                                   \
    X(ADDRESS, "bad address")                                                                                          \
    X(PORT, "bad port")                                                                                                \
    X(VERSION, "unknown version")                                                                                      \
    X(COMMAND, "unknown command")                                                                                      \
    X(TOO_SHORT, "too short for its addresses")                                                                        \
    X(TOO_LONG, "over 4112 bytes")                                                                                     \
    X(CUT, "the connection ended inside it")
enum wawo_proxy_fault {
    WAWO_PROXY_GOOD,
#define X(name, text) WAWO_PROXY_BAD_##name,
    WAWO_PROXY_FAULTS(X)
#undef X
};

struct wawo_proxy {
    /* Who connected, and where to. WAWO_AF_NONE, both: the header does not say, those of the
     * socket hold (UNKNOWN, LOCAL, datagrams, Unix sockets). IPv4-mapped IPv6 is given as IPv4. */
    struct wawo_addr source, destination;
    size_t room; /* more is needed: the whole header has this many bytes at most */
    enum wawo_proxy_fault fault;
};

/* p[0..n) begins with a header: the bytes that it has, 0 when more are needed, WAWO_EBADMSG with out->fault as soon as
 * that is certain. What a version 2 header has behind its addresses is skipped. */
ptrdiff_t wawo_proxy_parse(const uint8_t *p, size_t n, struct wawo_proxy *out);
/* In words, "PROXY header: ..."; NULL for WAWO_PROXY_GOOD. */
const char *wawo_proxy_fault_text(enum wawo_proxy_fault fault);

#endif
