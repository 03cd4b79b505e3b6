/* The yardstick for TLS: echo.c with OpenSSL between the socket and the bytes.
 *
 * One recv brings all records that are there (read_ahead), each becomes one SSL_write. With --bulk it listens to nobody:
 * after the handshake it writes records for as long as the kernel takes them. With --release a session gives its record
 * buffers back after each call: the least that it can hold.
 */
#define _GNU_SOURCE
#include "common.h"

#include <stdbool.h>

#include "tls.h"

struct conn {
    SSL *session;
    bool stands, parked;
    size_t kept, sent; /* of a record that the kernel did not take whole */
    char *rest;
};

static char buffer[RECORD];
static struct conn *conns; /* by fd */
static SSL_CTX *context;
static int poller;
static bool bulk, release;

static void drop(int fd)
{
    struct conn *c = &conns[fd];

    SSL_free(c->session);
    free(c->rest);
    *c = (struct conn){0};
    ERR_clear_error();
    close(fd);
}

static void park(int fd, bool parked)
{
    if (conns[fd].parked != parked)
        watch_fd(poller, EPOLL_CTL_MOD, fd, parked ? EPOLLOUT : EPOLLIN);
    conns[fd].parked = parked;
}

/* What a call that failed wants; ends the connection unless it only has to wait. */
static void wait_or_drop(int fd, int result)
{
    int why = SSL_get_error(conns[fd].session, result);

    if (why == SSL_ERROR_WANT_WRITE)
        park(fd, true);
    else if (why == SSL_ERROR_WANT_READ)
        park(fd, false);
    else
        drop(fd);
}

static void keep(int fd, size_t length)
{
    struct conn *c = &conns[fd];

    c->rest = malloc(length);
    if (c->rest == NULL)
        die("malloc");
    memcpy(c->rest, buffer, length);
    c->kept = length;
    c->sent = 0;
}

static void echo_all(int fd)
{
    struct conn *c = &conns[fd];

    do {
        int got = SSL_read(c->session, buffer, RECORD), sent;

        if (got <= 0) {
            wait_or_drop(fd, got);
            return;
        }
        sent = SSL_write(c->session, buffer, got);
        if (sent != got) {
            keep(fd, (size_t)got);
            c->sent = sent > 0 ? (size_t)sent : 0;
            park(fd, true);
            return;
        }
    } while (SSL_has_pending(c->session));
}

static void flush_rest(int fd)
{
    struct conn *c = &conns[fd];
    int sent = SSL_write(c->session, c->rest + c->sent, (int)(c->kept - c->sent));

    if (sent <= 0) {
        wait_or_drop(fd, sent);
        return;
    }
    c->sent += (size_t)sent;
    if (c->sent < c->kept)
        return;
    free(c->rest);
    c->rest = NULL;
    park(fd, false);
    if (SSL_has_pending(c->session))
        echo_all(fd);
}

static void pour(int fd)
{
    for (int i = 0; i < 16; i++) {
        int sent = SSL_write(conns[fd].session, buffer, RECORD);

        if (sent <= 0) {
            wait_or_drop(fd, sent);
            return;
        }
    }
    park(fd, true); /* the others have their turn */
}

static void on_ready(int fd)
{
    struct conn *c = &conns[fd];
    int done;

    if (c->stands && bulk) {
        pour(fd);
    } else if (c->rest != NULL) {
        flush_rest(fd);
    } else if (c->stands) {
        echo_all(fd);
    } else if ((done = SSL_accept(c->session)) != 1) {
        wait_or_drop(fd, done);
    } else {
        c->stands = true;
        if (bulk)
            pour(fd);
        else if (SSL_has_pending(c->session))
            echo_all(fd);
    }
}

static void on_accepted(int fd)
{
    conns[fd] = (struct conn){.session = make_session(context, fd)};
    SSL_set_accept_state(conns[fd].session);
}

int main(int argc, char **argv)
{
    const char *host = "127.0.0.1", *certificate = "";
    int port = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--host") == 0)
            host = argv[i + 1];
        else if (strcmp(argv[i], "--tls") == 0)
            certificate = argv[i + 1];
        else if (strcmp(argv[i], "--bulk") == 0)
            bulk = atoi(argv[i + 1]) != 0;
        else if (strcmp(argv[i], "--release") == 0)
            release = atoi(argv[i + 1]) != 0;
    }
    conns = calloc(raise_fd_limit(), sizeof *conns);
    if (conns == NULL)
        die("calloc");
    context = make_context(TLS_server_method());
    if (release)
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, certificate, SSL_FILETYPE_PEM) != 1)
        die_tls(certificate);
    poller = open_poller();
    serve(poller, listen_on(host, port), on_accepted, on_ready);
}
