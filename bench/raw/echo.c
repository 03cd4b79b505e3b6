/* The yardstick: a plain single-threaded epoll echo server.
 *
 * Level-triggered, one recv for each readiness into one static buffer, one send of what came. EPOLL_CTL_MOD is paid only
 * after a short write: the rest is then kept for that connection and reading stops until the kernel took it.
 */
#define _GNU_SOURCE
#include "common.h"

enum { BUFFER = 256 * 1024 };

struct pending {
    char *data;
    size_t length;
    size_t sent;
};

static char buffer[BUFFER];
static struct pending *pending_of; /* by fd; pages that no fd reaches are never touched */
static int poller;

static void drop(int fd)
{
    struct pending *rest = &pending_of[fd];

    free(rest->data);
    *rest = (struct pending){0};
    close(fd); /* the only descriptor of that socket: closing it takes it out of epoll */
}

static void keep_rest(int fd, const char *data, size_t length)
{
    struct pending *rest = &pending_of[fd];

    rest->data = malloc(length);
    if (rest->data == NULL)
        die("malloc");
    memcpy(rest->data, data, length);
    rest->length = length;
    rest->sent = 0;
    watch_fd(poller, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void echo_once(int fd)
{
    ssize_t got = recv(fd, buffer, BUFFER, 0);
    ssize_t sent;

    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR))
            drop(fd);
        return;
    }
    sent = send(fd, buffer, (size_t)got, MSG_NOSIGNAL);
    if (sent == got)
        return;
    if (sent < 0) {
        if (errno != EAGAIN) {
            drop(fd);
            return;
        }
        sent = 0;
    }
    keep_rest(fd, buffer + sent, (size_t)(got - sent));
}

static void flush_rest(int fd)
{
    struct pending *rest = &pending_of[fd];
    ssize_t sent = send(fd, rest->data + rest->sent, rest->length - rest->sent, MSG_NOSIGNAL);

    if (sent < 0) {
        if (errno != EAGAIN)
            drop(fd);
        return;
    }
    rest->sent += (size_t)sent;
    if (rest->sent < rest->length)
        return;
    free(rest->data);
    *rest = (struct pending){0};
    watch_fd(poller, EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void on_ready(int fd)
{
    if (pending_of[fd].data != NULL)
        flush_rest(fd);
    else
        echo_once(fd);
}

int main(int argc, char **argv)
{
    const char *host = "127.0.0.1";
    int port = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--host") == 0)
            host = argv[i + 1];
    }
    pending_of = calloc(raise_fd_limit(), sizeof *pending_of);
    if (pending_of == NULL)
        die("calloc");
    poller = open_poller();
    serve(poller, listen_on(host, port), NULL, on_ready);
}
