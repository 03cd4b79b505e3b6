/* F4 tls: OpenSSL as the cryptography, the copy that Python's own ssl module was linked with. Nothing of it is linked or
 * bundled, and no header of it is needed: its functions are looked up in the process, their prototypes stand below, and
 * are the same in 1.1.1 and 3.x.
 *
 * A session is an SSL that Python made, so the callbacks of its context find their objects. From `attach` on it reads and
 * writes through a BIO of our own, which knows its filter as long as that has the session: the SSL, and with it the BIO,
 * is freed by Python, wherever and whenever. */
#include "../base/atomic.h"
#include "../base/err.h"
#include "../base/os.h"
#include "../wawo.h"

struct ssl_st;
struct ssl_ctx_st;
struct bio_st;
struct bio_method_st;

/* Their values are part of its ABI. */
enum {
    VERSION_MIN = 0x10101, /* 1.1.1, as version >> 12 */
    ERROR_WANT_READ = 2, /* SSL_ERROR_… */
    ERROR_WANT_WRITE = 3,
    ERROR_ZERO_RETURN = 6,
    CTRL_MODE = 33, /* SSL_CTRL_… */
    CTRL_CLEAR_MODE = 78,
    RELEASE_BUFFERS = 0x10, /* SSL_MODE_… */
    MODES = 0x1 | 0x2 | 0x4 | RELEASE_BUFFERS, /* ENABLE_PARTIAL_WRITE, ACCEPT_MOVING_WRITE_BUFFER, AUTO_RETRY */
    BIO_SOURCE_SINK = 0x0400, /* BIO_TYPE_… */
    BIO_FLUSH = 11, /* BIO_CTRL_… */
    BIO_READ_AGAIN = 0x01 | 0x08, /* BIO_FLAGS_READ, SHOULD_RETRY */
    BIO_RETRY = 0x0f /* all flags of that kind */
};
#define NO_RENEGOTIATION UINT64_C(0x40000000) /* SSL_OP_… */

/* X(result, name, parameters): all that is called. What SSL_set_options takes has the bits of a long before 3.0, and the
 * same calling convention. */
#define FUNCTIONS(X)                                                                                                   \
    X(unsigned long, OpenSSL_version_num, (void))                                                                      \
    X(const char *, OpenSSL_version, (int what))                                                                       \
    X(unsigned long, ERR_peek_error, (void))                                                                           \
    X(unsigned long, ERR_peek_last_error, (void))                                                                      \
    X(void, ERR_clear_error, (void))                                                                                   \
    X(const char *, ERR_reason_error_string, (unsigned long code))                                                     \
    X(const char *, ERR_lib_error_string, (unsigned long code))                                                        \
    X(const char *, X509_verify_cert_error_string, (long code))                                                        \
    X(int, BIO_get_new_index, (void))                                                                                  \
    X(struct bio_method_st *, BIO_meth_new, (int type, const char *name))                                              \
    X(int, BIO_meth_set_read, (struct bio_method_st *, int (*read)(struct bio_st *, char *, int)))                     \
    X(int, BIO_meth_set_write, (struct bio_method_st *, int (*write)(struct bio_st *, const char *, int)))             \
    X(int, BIO_meth_set_ctrl, (struct bio_method_st *, long (*ctrl)(struct bio_st *, int, long, void *)))              \
    X(int, BIO_meth_set_create, (struct bio_method_st *, int (*create)(struct bio_st *)))                              \
    X(struct bio_st *, BIO_new, (const struct bio_method_st *))                                                        \
    X(void, BIO_set_data, (struct bio_st *, void *data))                                                               \
    X(void *, BIO_get_data, (struct bio_st *))                                                                         \
    X(void, BIO_set_init, (struct bio_st *, int init))                                                                 \
    X(void, BIO_set_flags, (struct bio_st *, int flags))                                                               \
    X(void, BIO_clear_flags, (struct bio_st *, int flags))                                                             \
    X(void, SSL_set_bio, (struct ssl_st *, struct bio_st *, struct bio_st *))                                          \
    X(struct bio_st *, SSL_get_rbio, (const struct ssl_st *))                                                          \
    X(struct ssl_ctx_st *, SSL_get_SSL_CTX, (const struct ssl_st *))                                                   \
    X(void *, SSL_get_ex_data, (const struct ssl_st *, int index))                                                     \
    X(long, SSL_ctrl, (struct ssl_st *, int what, long value, void *p))                                                \
    X(uint64_t, SSL_set_options, (struct ssl_st *, uint64_t options))                                                  \
    X(int, SSL_do_handshake, (struct ssl_st *))                                                                        \
    X(int, SSL_read, (struct ssl_st *, void *to, int room))                                                            \
    X(int, SSL_write, (struct ssl_st *, const void *data, int len))                                                    \
    X(int, SSL_shutdown, (struct ssl_st *))                                                                            \
    X(const char *, SSL_rstate_string, (const struct ssl_st *))                                                        \
    X(int, SSL_pending, (const struct ssl_st *))                                                                       \
    X(int, SSL_get_error, (const struct ssl_st *, int result))                                                         \
    X(long, SSL_get_verify_result, (const struct ssl_st *))                                                            \
    X(int, SSL_free_buffers, (struct ssl_st *))

struct functions {
#define X(result, name, parameters) result(*name) parameters; /* NOLINT(bugprone-macro-parentheses): a declaration */
    FUNCTIONS(X)
#undef X
};
static struct functions lib;

static struct bio_method_st *method;

/* ---- between a session and its filter ---- */

static int bio_create(struct bio_st *b)
{
    lib.BIO_set_init(b, 1);
    return 1;
}

static int bio_read(struct bio_st *b, char *to, int room)
{
    struct wawo_tls_pipe *p = lib.BIO_get_data(b);
    size_t n;

    if (p == NULL || room <= 0)
        return -1;
    if (p->len == 0) {
        lib.BIO_set_flags(b, BIO_READ_AGAIN);
        return -1;
    }
    lib.BIO_clear_flags(b, BIO_RETRY);
    n = wawo_min_size((size_t)room, p->len);
    memcpy(to, p->ptr, n);
    p->ptr += n;
    p->len -= n;
    return (int)n;
}

static int bio_write(struct bio_st *b, const char *data, int len)
{
    struct wawo_tls_pipe *p = lib.BIO_get_data(b);

    lib.BIO_clear_flags(b, BIO_RETRY);
    if (p == NULL || len <= 0)
        return -1;
    return wawo_tls_put(p, data, (size_t)len) == 0 ? len : -1;
}

static long bio_ctrl(struct bio_st *b, int what, long value, void *p)
{
    (void)b, (void)value, (void)p;
    return what == BIO_FLUSH;
}

static struct wawo_tls_pipe *pipe_of(struct ssl_st *s)
{
    return lib.BIO_get_data(lib.SSL_get_rbio(s));
}

/* ---- the session ---- */

/* What others left in the queue of this thread would be taken for ours. */
static inline void forget_errors(void)
{
    if (wawo_unlikely(lib.ERR_peek_error() != 0))
        lib.ERR_clear_error();
}

static int failed(struct ssl_st *s, int result)
{
    struct wawo_tls_pipe *p;

    switch (lib.SSL_get_error(s, result)) {
    case ERROR_WANT_READ:
    case ERROR_WANT_WRITE:
        return 0;
    case ERROR_ZERO_RETURN:
        return WAWO_ECLOSED;
    default:
        break;
    }
    p = pipe_of(s);
    p->code = lib.ERR_peek_last_error();
    p->verify = lib.SSL_get_verify_result(s);
    lib.ERR_clear_error();
    return p->code != 0 ? WAWO_EPROTO : WAWO_ENOMEM; /* else the BIO did */
}

static int openssl_attach(void *session, struct wawo_tls_pipe *pipe)
{
    struct ssl_st *s = session;
    struct bio_st *b;

    if (pipe == NULL) {
        lib.BIO_set_data(lib.SSL_get_rbio(s), NULL);
        return 0;
    }
    b = lib.BIO_new(method);
    if (b == NULL)
        return WAWO_ENOMEM;
    lib.BIO_set_data(b, pipe);
    lib.SSL_set_bio(s, b, b);
    (void)lib.SSL_ctrl(s, CTRL_MODE, MODES, NULL);
    (void)lib.SSL_set_options(s, NO_RENEGOTIATION);
    return 0;
}

static int openssl_handshake(void *session)
{
    int rc;

    forget_errors();
    rc = lib.SSL_do_handshake(session);
    if (rc == 1)
        return 1;
    rc = failed(session, rc);
    return rc == WAWO_ECLOSED ? WAWO_EPROTO : rc;
}

static ptrdiff_t openssl_read(void *session, void *to, size_t room)
{
    int n;

    forget_errors();
    n = lib.SSL_read(session, to, room > INT32_MAX ? INT32_MAX : (int)room);
    return wawo_likely(n > 0) ? n : failed(session, n);
}

static int openssl_pending(void *session)
{
    return lib.SSL_pending(session);
}

static ptrdiff_t openssl_write(void *session, const void *data, size_t len)
{
    int n;

    forget_errors();
    n = lib.SSL_write(session, data, len > INT32_MAX ? INT32_MAX : (int)len);
    if (wawo_likely(n > 0))
        return n;
    n = failed(session, n);
    if (n == 0) /* our BIO never makes a write wait */
        return WAWO_AGAIN;
    return n != WAWO_ECLOSED ? n : WAWO_EPROTO;
}

static int openssl_shutdown(void *session)
{
    forget_errors();
    if (lib.SSL_shutdown(session) >= 0)
        return 0;
    lib.ERR_clear_error();
    return WAWO_EPROTO;
}

/* Between the head of a record ("RH") and its body the buffers stay: OpenSSL before 3.0.14, 3.1.6, 3.2.2 and 3.3.1 frees
 * them and goes on reading there (CVE-2024-4741). It frees them itself behind that record. */
static void openssl_keep(void *session, bool keeps)
{
    (void)lib.SSL_ctrl(session, keeps ? CTRL_CLEAR_MODE : CTRL_MODE, RELEASE_BUFFERS, NULL);
    if (!keeps && strcmp(lib.SSL_rstate_string(session), "RH") == 0)
        (void)lib.SSL_free_buffers(session);
}

const struct wawo_tls_ops wawo_tls_openssl = {.name = "openssl",
                                              .attach = openssl_attach,
                                              .handshake = openssl_handshake,
                                              .read = openssl_read,
                                              .pending = openssl_pending,
                                              .write = openssl_write,
                                              .shutdown = openssl_shutdown,
                                              .keep = openssl_keep};

/* ---- finding it ---- */

static const struct {
    const char *name;
    size_t at;
} wanted[] = {
#define X(result, name, parameters) {#name, offsetof(struct functions, name)},
    FUNCTIONS(X)
#undef X
};

/* NULL, or the first that is not there. */
static const char *find_functions(void *library)
{
    wawo_os_function f;
    size_t i;

    for (i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        f = wawo_os_library_function(library, wanted[i].name);
        if (f == NULL)
            return wanted[i].name;
        memcpy((char *)&lib + wanted[i].at, &f, sizeof f);
    }
    return NULL;
}

int wawo_openssl_find(const char *path, const char **missing)
{
    void *library = wawo_os_library(path);

    *missing = library != NULL ? find_functions(library) : "a shared library of its own";
    if (*missing != NULL)
        return WAWO_ENOTSUP;
    *missing = "OpenSSL 1.1.1 or later";
    if (lib.OpenSSL_version_num() >> 12 < VERSION_MIN || strncmp(lib.OpenSSL_version(0), "OpenSSL ", 8) != 0)
        return WAWO_ENOTSUP;
    *missing = "memory";
    method = lib.BIO_meth_new(lib.BIO_get_new_index() | BIO_SOURCE_SINK, "wawo");
    if (method == NULL)
        return WAWO_ENOTSUP;
    (void)lib.BIO_meth_set_create(method, bio_create);
    (void)lib.BIO_meth_set_read(method, bio_read);
    (void)lib.BIO_meth_set_write(method, bio_write);
    (void)lib.BIO_meth_set_ctrl(method, bio_ctrl);
    *missing = NULL;
    return 0;
}

void *wawo_openssl_context(void *session)
{
    return lib.SSL_get_SSL_CTX(session);
}

void *wawo_openssl_maker(void *session)
{
    return lib.SSL_get_ex_data(session, 0);
}

bool wawo_openssl_try(void *session)
{
    int rc;

    forget_errors();
    rc = lib.SSL_do_handshake(session);
    return rc < 0 && lib.SSL_get_error(session, rc) == ERROR_WANT_READ;
}

const char *wawo_openssl_reason(unsigned long code)
{
    return lib.ERR_reason_error_string(code);
}

const char *wawo_openssl_library(unsigned long code)
{
    return lib.ERR_lib_error_string(code);
}

const char *wawo_openssl_verify_text(long verify)
{
    return lib.X509_verify_cert_error_string(verify);
}
