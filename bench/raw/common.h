/* What the programs of the bench share: ending with a reason, descriptors enough, a listening socket, epoll. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

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

enum { EVENTS = 1024, BACKLOG = 4096, FDS_MAX = 1 << 20 };

static inline _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

/* As many descriptors as this user may have; returns how many. */
static inline size_t raise_fd_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("setrlimit");
    return limit.rlim_max > FDS_MAX ? FDS_MAX : (size_t)limit.rlim_max;
}

static inline struct sockaddr_in address_of(const char *host, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "not an IPv4 address: %s\n", host);
        exit(2);
    }
    return address;
}

/* Listens, and says its port as the harness wants to hear it. */
static inline int listen_on(const char *host, int port)
{
    struct sockaddr_in address = address_of(host, port);
    socklen_t length = sizeof address;
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        die("socket");
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

static inline int open_poller(void)
{
    int poller = epoll_create1(EPOLL_CLOEXEC);

    if (poller < 0)
        die("epoll_create1");
    return poller;
}

static inline void watch(int poller, int operation, int fd, uint32_t interest, epoll_data_t data)
{
    struct epoll_event event = {.events = interest, .data = data};

    if (epoll_ctl(poller, operation, fd, &event) != 0)
        die("epoll_ctl");
}

static inline void watch_fd(int poller, int operation, int fd, uint32_t interest)
{
    watch(poller, operation, fd, interest, (epoll_data_t){.fd = fd});
}

static inline int wait_events(int poller, struct epoll_event *events, int timeout_ms)
{
    int count = epoll_wait(poller, events, EVENTS, timeout_ms);

    if (count < 0 && errno != EINTR)
        die("epoll_wait");
    return count < 0 ? 0 : count;
}

/* The next connection, non-blocking; -1 when none waits. */
static inline int accept_next(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0)
            return fd;
        if (errno == EAGAIN)
            return -1;
        if (errno != ECONNABORTED && errno != EINTR)
            die("accept4");
    }
}

/* A server of one thread: new connections are watched for input and shown to `accepted`, all else goes to `ready`. */
static inline _Noreturn void serve(int poller, int listener, void (*accepted)(int fd), void (*ready)(int fd))
{
    static struct epoll_event events[EVENTS];

    watch_fd(poller, EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        int count = wait_events(poller, events, -1);

        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;

            if (fd != listener) {
                ready(fd);
                continue;
            }
            while ((fd = accept_next(listener)) >= 0) {
                watch_fd(poller, EPOLL_CTL_ADD, fd, EPOLLIN);
                if (accepted != NULL)
                    accepted(fd);
            }
        }
    }
}

#endif
