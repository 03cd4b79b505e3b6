/* The yardstick: a plain single-threaded epoll echo server.
 *
 * Level-triggered, one recv for each readiness into one static buffer, one send of what came. EPOLL_CTL_MOD is paid only
 * after a short write: the rest is then kept for that connection and reading stops until the kernel took it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, BUFFER = 256 * 1024, BACKLOG = 4096 };

struct pending {
    char *data;
    size_t length;
    size_t sent;
};

static char buffer[BUFFER];
static struct pending *pending_of; /* by fd; pages that no fd reaches are never touched */
static int poller;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static int raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("setrlimit");
    return limit.rlim_max > 1 << 20 ? 1 << 20 : (int)limit.rlim_max;
}

static int listen_on(const char *host, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof address;
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "not an IPv4 address: %s\n", host);
        exit(2);
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* inherited by accepted sockets */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("bind");
    if (listen(fd, BACKLOG) != 0)
        die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        die("getsockname");
    printf("PORT %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void watch(int operation, int fd, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.fd = fd};

    if (epoll_ctl(poller, operation, fd, &event) != 0)
        die("epoll_ctl");
}

static void drop(int fd)
{
    struct pending *rest = &pending_of[fd];

    free(rest->data);
    *rest = (struct pending){0};
    close(fd); /* the only descriptor of that socket: closing it takes it out of epoll */
}

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0)
            watch(EPOLL_CTL_ADD, fd, EPOLLIN);
        else if (errno == EAGAIN)
            return;
        else if (errno != ECONNABORTED && errno != EINTR)
            die("accept4");
    }
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
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
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
    watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void serve(int listener)
{
    static struct epoll_event events[EVENTS];

    for (;;) {
        int count = epoll_wait(poller, events, EVENTS, -1);

        if (count < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;

            if (fd == listener)
                accept_all(listener);
            else if (pending_of[fd].data != NULL)
                flush_rest(fd);
            else
                echo_once(fd);
        }
    }
}

int main(int argc, char **argv)
{
    const char *host = "127.0.0.1";
    int port = 0;
    int listener;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--host") == 0)
            host = argv[i + 1];
    }
    pending_of = calloc((size_t)raise_fd_limit(), sizeof *pending_of);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (pending_of == NULL || poller < 0)
        die("set-up");
    listener = listen_on(host, port);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    serve(listener);
}
