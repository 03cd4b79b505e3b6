/* What the TLS programs of the bench share: OpenSSL's errors, contexts, and a certificate of their own. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <signal.h>

#include "common.h"

enum { RECORD = 16 * 1024 };

static inline _Noreturn void die_tls(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, ERR_reason_error_string(ERR_get_error()));
    exit(1);
}

/* One recv brings whole records, and what a full socket does not take is offered again from where it moved to. */
static inline SSL_CTX *make_context(const SSL_METHOD *method)
{
    SSL_CTX *context = SSL_CTX_new(method);

    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
    if (context == NULL)
        die_tls("SSL_CTX_new");
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    return context;
}

static inline SSL *make_session(SSL_CTX *context, int fd)
{
    SSL *session = SSL_new(context);

    if (session == NULL || SSL_set_fd(session, fd) != 1)
        die_tls("SSL_new");
    return session;
}

/* Writes key and certificate, for localhost, P-256, a day long. */
static inline void make_certificate(const char *path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    FILE *file = fopen(path, "w");
    X509_NAME *name;

    if (file == NULL)
        die(path);
    if (key == NULL || certificate == NULL)
        die_tls("making a key");
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_set_pubkey(certificate, key);
    name = X509_get_subject_name(certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(certificate, name);
    if (X509_sign(certificate, key, EVP_sha256()) == 0 || PEM_write_X509(file, certificate) != 1 ||
        PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) != 1)
        die_tls("making a certificate");
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

#endif
