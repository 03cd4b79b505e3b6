/* The yardstick of fan-out: each byte that comes in is a turn, and a turn is one send(2) on every connection.
 *
 * With --burst N a turn is N messages, which leave joined in that one send: less than this nobody can do. A socket that
 * takes less than all of it ends the program: the audience of the bench reads.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
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

enum { EVENTS = 1024, BACKLOG = 4096, CONNECTIONS_MAX = 65536 };

static int fds[CONNECTIONS_MAX], count, poller;
static char *message;
static size_t length;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t size = sizeof address;
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* inherited by accepted sockets */
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0)
        die("bind");
    if (listen(fd, BACKLOG) != 0)
        die("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        die("getsockname");
    printf("PORT %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static void accept_all(int listener)
{
    int fd;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (count == CONNECTIONS_MAX)
            die("too many connections");
        fds[count++] = fd;
        watch(fd);
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
        die("accept4");
}

static void drop(int fd)
{
    for (int i = 0; i < count; i++)
        if (fds[i] == fd)
            fds[i--] = fds[--count];
    close(fd);
}

static void turn(void)
{
    for (int i = 0; i < count; i++) {
        ssize_t sent = send(fds[i], message, length, MSG_NOSIGNAL);

        if (sent != (ssize_t)length && !(sent < 0 && (errno == EPIPE || errno == ECONNRESET)))
            die("send");
    }
}

static void on_bytes(int fd)
{
    char triggers[64];
    ssize_t got = recv(fd, triggers, sizeof triggers, 0);

    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        drop(fd);
    for (; got > 0; got--)
        turn();
}

int main(int argc, char **argv)
{
    static const struct option names[] = {{"port", 1, 0, 'p'}, {"burst", 1, 0, 'b'}, {"size", 1, 0, 's'}, {0, 0, 0, 0}};
    static struct epoll_event events[EVENTS];
    size_t burst = 1, size = 64;
    struct rlimit limit;
    int port = 0, listener, name, n;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (name == 'p')
            port = atoi(optarg);
        else if (name == 'b')
            burst = (size_t)atoll(optarg);
        else if (name == 's')
            size = (size_t)atoll(optarg);
        else
            return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    length = burst * size;
    message = malloc(length);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (message == NULL || poller < 0)
        die("set-up");
    memset(message, 'x', length);
    listener = listen_on(port);
    watch(listener);
    for (;;) {
        n = epoll_wait(poller, events, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener);
            else
                on_bytes(events[i].data.fd);
        }
    }
}
