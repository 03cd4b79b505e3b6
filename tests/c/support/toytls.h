/* Sessions of toysession.h on connections, and peers that speak it. */
#ifndef WAWO_TESTS_TOYTLS_H
#define WAWO_TESTS_TOYTLS_H

#include "support/stage.h"
#include "support/toysession.h"

/* For struct party: gives each connection a session of its own, which goes by itself. */
void toytls_wrap(struct party *p, const struct wawo_event *e);
/* The same where sessions must be called inside the sink. */
void toytls_wrap_inside(struct party *p, const struct wawo_event *e);
/* Begins TLS on a connection without it; see wawo_share_start_tls. */
int toytls_start(struct wawo_share *s, unsigned how);

/* A peer: connected, and the handshake is done. */
int toytls_connect(uint16_t port);
/* The next `len` bytes of the pattern as one record. */
void toytls_write_pattern(int fd, uint64_t offset, size_t len);
/* Reads one record; its size, 0 for close_notify. */
size_t toytls_read(int fd, uint8_t record[WAWO_TLS_RECORD]);
/* Records until `len` bytes of the pattern have come. */
void toytls_read_pattern(int fd, uint64_t offset, size_t len);

#endif
