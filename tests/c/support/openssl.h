/* The OpenSSL of this machine in the C tests: as the session of connections, and as a peer in memory. It is loaded, not
 * linked, and no header of it is needed, as in net/tls_openssl.c. Its allocations are counted and can be told to fail. */
#ifndef WAWO_TESTS_OPENSSL_H
#define WAWO_TESTS_OPENSSL_H

#include "support/stage.h"

/* As OpenSSL numbers them. */
enum openssl_version { OPENSSL_TLS12 = 0x0303, OPENSSL_TLS13 = 0x0304 };

/* Loads it and makes a context with a new certificate; skips the test where there is none. */
void openssl_open(enum openssl_version version);
/* Servers of TLS 1.3 give none: their length depends on random numbers. */
void openssl_give_no_tickets(void);
void openssl_close(void);

/* For struct party: gives each connection a session, which goes by itself; without memory the connection is closed. */
void openssl_wrap(struct party *p, const struct wawo_event *e);

/* The n-th allocation from here on fails, those of the thread that called openssl_open() left aside; 0: none. */
void openssl_fail_at(size_t n);
size_t openssl_calls(void);
/* Blocks that are not freed. */
size_t openssl_live(void);

/* ---- a peer, which never fails ---- */

struct openssl_peer {
    struct ssl_st *ssl;
    struct bio_st *in, *out; /* the ssl's own */
};

void openssl_peer_init(struct openssl_peer *p, bool client);
void openssl_peer_fini(struct openssl_peer *p);
/* Goes on with the handshake; true: it is done. */
bool openssl_peer_shake(struct openssl_peer *p);
/* Gives it what came from the other side. */
void openssl_peer_feed(struct openssl_peer *p, const void *data, size_t len);
/* Takes what is to go there. */
size_t openssl_peer_take(struct openssl_peer *p, uint8_t *to, size_t most);
/* One record. */
void openssl_peer_seal(struct openssl_peer *p, const void *data, size_t len);
/* Plaintext of what came; 0: no more is whole, or the other side has said goodbye. */
size_t openssl_peer_read(struct openssl_peer *p, uint8_t *to, size_t most);
void openssl_peer_part(struct openssl_peer *p);

#endif
