#include "support/openssl.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/err.h"
#include "base/list.h"

#include "support/expected.h"

struct ssl_ctx_st;
struct ssl_method_st;
struct bio_method_st;
struct evp_pkey_st;
struct evp_pkey_ctx_st;
struct x509_st;
struct asn1_string_st;

/* Their values are part of its ABI. */
enum {
    MIN_PROTO = 123, /* SSL_CTRL_… */
    MAX_PROTO = 124,
    ED25519 = 1087, /* NID_ED25519 */
    ERROR_WANT_READ = 2 /* SSL_ERROR_… */
};

#define FUNCTIONS(X)                                                                                                   \
    X(int, CRYPTO_set_mem_functions,                                                                                   \
      (void *(*take)(size_t, const char *, int), void *(*again)(void *, size_t, const char *, int),                    \
       void (*give)(void *, const char *, int)))                                                                       \
    X(const struct ssl_method_st *, TLS_method, (void))                                                                \
    X(struct ssl_ctx_st *, SSL_CTX_new, (const struct ssl_method_st *))                                                \
    X(void, SSL_CTX_free, (struct ssl_ctx_st *))                                                                       \
    X(long, SSL_CTX_ctrl, (struct ssl_ctx_st *, int what, long value, void *p))                                        \
    X(int, SSL_CTX_set_num_tickets, (struct ssl_ctx_st *, size_t n))                                                   \
    X(int, SSL_CTX_use_certificate, (struct ssl_ctx_st *, struct x509_st *))                                           \
    X(int, SSL_CTX_use_PrivateKey, (struct ssl_ctx_st *, struct evp_pkey_st *))                                        \
    X(struct ssl_st *, SSL_new, (struct ssl_ctx_st *))                                                                 \
    X(void, SSL_free, (struct ssl_st *))                                                                               \
    X(void, SSL_set_accept_state, (struct ssl_st *))                                                                   \
    X(void, SSL_set_connect_state, (struct ssl_st *))                                                                  \
    X(void, SSL_set_bio, (struct ssl_st *, struct bio_st *, struct bio_st *))                                          \
    X(int, SSL_do_handshake, (struct ssl_st *))                                                                        \
    X(int, SSL_read, (struct ssl_st *, void *to, int room))                                                            \
    X(int, SSL_write, (struct ssl_st *, const void *data, int len))                                                    \
    X(int, SSL_shutdown, (struct ssl_st *))                                                                            \
    X(int, SSL_get_error, (const struct ssl_st *, int result))                                                         \
    X(const struct bio_method_st *, BIO_s_mem, (void))                                                                 \
    X(struct bio_st *, BIO_new, (const struct bio_method_st *))                                                        \
    X(int, BIO_read, (struct bio_st *, void *to, int room))                                                            \
    X(int, BIO_write, (struct bio_st *, const void *data, int len))                                                    \
    X(struct evp_pkey_ctx_st *, EVP_PKEY_CTX_new_id, (int kind, void *engine))                                         \
    X(void, EVP_PKEY_CTX_free, (struct evp_pkey_ctx_st *))                                                             \
    X(int, EVP_PKEY_keygen_init, (struct evp_pkey_ctx_st *))                                                           \
    X(int, EVP_PKEY_keygen, (struct evp_pkey_ctx_st *, struct evp_pkey_st **))                                         \
    X(void, EVP_PKEY_free, (struct evp_pkey_st *))                                                                     \
    X(struct x509_st *, X509_new, (void))                                                                              \
    X(void, X509_free, (struct x509_st *))                                                                             \
    X(int, X509_set_pubkey, (struct x509_st *, struct evp_pkey_st *))                                                  \
    X(struct asn1_string_st *, X509_getm_notBefore, (const struct x509_st *))                                          \
    X(struct asn1_string_st *, X509_getm_notAfter, (const struct x509_st *))                                           \
    X(struct asn1_string_st *, X509_gmtime_adj, (struct asn1_string_st *, long seconds))                               \
    X(int, X509_sign, (struct x509_st *, struct evp_pkey_st *, const void *digest))

static struct {
#define X(result, name, parameters) result(*name) parameters;
    FUNCTIONS(X)
#undef X
} lib;

static struct ssl_ctx_st *context;
static struct wawo_tls_ops ops;

/* ---- its memory ---- */

/* Blocks are kept in a list: what it caches until its end is no leak. */
struct block {
    struct wawo_list link;
    size_t size;
    size_t unused; /* what follows is aligned as malloc's */
};

static struct wawo_mutex lock;
static struct wawo_list blocks;
static size_t live;             /* under the lock */
static size_t fail_at, calls;   /* atomic */
static WAWO_THREAD_LOCAL bool spared;

static void *take(size_t size, const char *file, int line)
{
    struct block *b;

    (void)file, (void)line;
    if (!spared && wawo_add(&calls, 1) + 1 == wawo_load(&fail_at))
        return NULL;
    b = size > 0 ? malloc(sizeof *b + size) : NULL;
    if (b == NULL)
        return NULL;
    b->size = size;
    wawo_list_init(&b->link);
    wawo_mutex_lock(&lock);
    wawo_list_push(&blocks, &b->link);
    live++;
    wawo_mutex_unlock(&lock);
    return b + 1;
}

static void give(void *p, const char *file, int line)
{
    struct block *b;

    (void)file, (void)line;
    if (p == NULL)
        return;
    b = (struct block *)p - 1;
    wawo_mutex_lock(&lock);
    wawo_list_remove(&b->link);
    live--;
    wawo_mutex_unlock(&lock);
    free(b);
}

static void *again(void *p, size_t size, const char *file, int line)
{
    void *q;

    if (size == 0) {
        give(p, file, line);
        return NULL;
    }
    q = take(size, file, line);
    if (q == NULL || p == NULL)
        return q;
    memcpy(q, p, wawo_min_size(size, ((const struct block *)p - 1)->size));
    give(p, file, line);
    return q;
}

void openssl_fail_at(size_t n)
{
    wawo_store(&calls, 0);
    wawo_store(&fail_at, n);
}

size_t openssl_calls(void)
{
    return wawo_load(&calls);
}

size_t openssl_live(void)
{
    size_t n;

    wawo_mutex_lock(&lock);
    n = live;
    wawo_mutex_unlock(&lock);
    return n;
}

/* ---- finding it ---- */

static void find(void)
{
    static const char *const names[] = {"libssl.so.3", "libssl.so.1.1", NULL};
    const char *missing, *path = NULL;
    void *library = os_load(names, &path);
    wawo_os_function f;

    if (library == NULL && expected_openssl())
        FAIL("there is no OpenSSL, and there should be one");
    if (library == NULL)
        SKIP("there is no OpenSSL");
#define X(result, name, parameters)                                                                                    \
    f = wawo_os_library_function(library, #name);                                                                      \
    ASSERT_TRUE(f != NULL);                                                                                            \
    memcpy(&lib.name, &f, sizeof f);
    FUNCTIONS(X)
#undef X
    wawo_mutex_init(&lock);
    wawo_list_init(&blocks);
    spared = true;
    ASSERT_EQ(lib.CRYPTO_set_mem_functions(take, again, give), 1); /* it has allocated nothing yet */
    ASSERT_EQ(wawo_openssl_find(path, &missing), 0);
}

static void make_certificate(void)
{
    struct evp_pkey_ctx_st *maker = lib.EVP_PKEY_CTX_new_id(ED25519, NULL);
    struct x509_st *certificate = lib.X509_new();
    struct evp_pkey_st *key = NULL;

    ASSERT_TRUE(maker != NULL && certificate != NULL);
    ASSERT_EQ(lib.EVP_PKEY_keygen_init(maker), 1);
    ASSERT_EQ(lib.EVP_PKEY_keygen(maker, &key), 1);
    ASSERT_EQ(lib.X509_set_pubkey(certificate, key), 1);
    ASSERT_TRUE(lib.X509_gmtime_adj(lib.X509_getm_notBefore(certificate), -1000) != NULL);
    ASSERT_TRUE(lib.X509_gmtime_adj(lib.X509_getm_notAfter(certificate), 1000) != NULL);
    ASSERT_GT(lib.X509_sign(certificate, key, NULL), 0);
    ASSERT_EQ(lib.SSL_CTX_use_certificate(context, certificate), 1);
    ASSERT_EQ(lib.SSL_CTX_use_PrivateKey(context, key), 1);
    lib.X509_free(certificate);
    lib.EVP_PKEY_free(key);
    lib.EVP_PKEY_CTX_free(maker);
}

/* Who gives a session to a connection has to free it when that lets go of it. */
static int attach(void *session, struct wawo_tls_pipe *pipe)
{
    int err = wawo_tls_openssl.attach(session, pipe);

    if (pipe == NULL)
        lib.SSL_free(session);
    return err;
}

void openssl_open(enum openssl_version version)
{
    if (lib.SSL_new == NULL)
        find();
    context = lib.SSL_CTX_new(lib.TLS_method());
    ASSERT_TRUE(context != NULL);
    ASSERT_EQ(lib.SSL_CTX_ctrl(context, MIN_PROTO, (long)version, NULL), 1);
    ASSERT_EQ(lib.SSL_CTX_ctrl(context, MAX_PROTO, (long)version, NULL), 1);
    make_certificate();
    ops = wawo_tls_openssl;
    ops.attach = attach;
}

void openssl_give_no_tickets(void)
{
    ASSERT_EQ(lib.SSL_CTX_set_num_tickets(context, 0), 1);
}

void openssl_close(void)
{
    lib.SSL_CTX_free(context);
    context = NULL;
}

/* ---- sessions ---- */

static struct ssl_st *session_new(bool client)
{
    struct ssl_st *s = lib.SSL_new(context);

    if (s == NULL)
        return NULL;
    if (client)
        lib.SSL_set_connect_state(s);
    else
        lib.SSL_set_accept_state(s);
    return s;
}

void openssl_wrap(struct party *p, const struct wawo_event *e)
{
    unsigned how = p->role == WAWO_SERVER ? 0 : WAWO_TLS_CLIENT;
    struct ssl_st *s = session_new(how != 0);
    int err = s != NULL ? wawo_share_secure(e->share, &ops, s, how) : WAWO_ENOMEM;

    if (err == 0)
        return;
    ASSERT_TRUE(err == WAWO_ENOMEM || err == WAWO_ECLOSED);
    if (s != NULL)
        lib.SSL_free(s);
    wawo_share_refuse(e->share, how != 0 ? WAWO_OP_CONNECT : WAWO_OP_ACCEPT, ENOMEM);
}

/* ---- a peer ---- */

void openssl_peer_init(struct openssl_peer *p, bool client)
{
    p->ssl = session_new(client);
    p->in = lib.BIO_new(lib.BIO_s_mem());
    p->out = lib.BIO_new(lib.BIO_s_mem());
    ASSERT_TRUE(p->ssl != NULL && p->in != NULL && p->out != NULL);
    lib.SSL_set_bio(p->ssl, p->in, p->out);
}

void openssl_peer_fini(struct openssl_peer *p)
{
    lib.SSL_free(p->ssl);
}

bool openssl_peer_shake(struct openssl_peer *p)
{
    int rc = lib.SSL_do_handshake(p->ssl);

    if (rc != 1)
        ASSERT_EQ(lib.SSL_get_error(p->ssl, rc), ERROR_WANT_READ);
    return rc == 1;
}

void openssl_peer_feed(struct openssl_peer *p, const void *data, size_t len)
{
    ASSERT_EQ(lib.BIO_write(p->in, data, (int)len), len);
}

size_t openssl_peer_take(struct openssl_peer *p, uint8_t *to, size_t most)
{
    int n = lib.BIO_read(p->out, to, (int)most);

    return n > 0 ? (size_t)n : 0;
}

void openssl_peer_seal(struct openssl_peer *p, const void *data, size_t len)
{
    ASSERT_EQ(lib.SSL_write(p->ssl, data, (int)len), len);
}

size_t openssl_peer_read(struct openssl_peer *p, uint8_t *to, size_t most)
{
    int n = lib.SSL_read(p->ssl, to, (int)most);

    return n > 0 ? (size_t)n : 0;
}

void openssl_peer_part(struct openssl_peer *p)
{
    (void)lib.SSL_shutdown(p->ssl);
}
