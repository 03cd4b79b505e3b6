/* The yardstick for files: a plain single-threaded epoll server around sendfile.
 *
 * A request is eight bytes: 'E' and seven more are sent back, 'G' and a big-endian number ask for so many bytes of the
 * file. Level-triggered; sendfile with all that is left until the kernel is full, EPOLL_CTL_MOD only then and when it is
 * through. It waits for the disk where the file is not in memory.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, REQUEST = 8, BACKLOG = 4096 };

struct download {
    uint64_t left;
    off_t offset;
};

static struct download *downloads; /* by fd */
static int poller, file;

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

static int listen_on(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof address;
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
    downloads[fd].left = 0;
    close(fd);
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

/* Sends until the kernel is full; `parked`: it waits for room already. */
static void go_on(int fd, int parked)
{
    struct download *d = &downloads[fd];
    ssize_t sent;

    while (d->left > 0) {
        sent = sendfile(fd, file, &d->offset, d->left);
        if (sent > 0) {
            d->left -= (uint64_t)sent;
            continue;
        }
        if (sent < 0 && errno == EAGAIN) {
            if (!parked)
                watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
        } else {
            drop(fd);
        }
        return;
    }
    if (parked)
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void serve_request(int fd)
{
    unsigned char request[REQUEST];
    uint64_t count = 0;
    ssize_t got = recv(fd, request, sizeof request, 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got != REQUEST || (request[0] == 'E' && send(fd, request, REQUEST, MSG_NOSIGNAL) != REQUEST)) {
        drop(fd);
        return;
    }
    if (request[0] == 'E')
        return;
    for (int i = 1; i < REQUEST; i++)
        count = count << 8 | request[i];
    downloads[fd] = (struct download){.left = count};
    go_on(fd, 0);
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
            else if (downloads[fd].left > 0)
                go_on(fd, 1);
            else
                serve_request(fd);
        }
    }
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    int listener, port = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--file") == 0)
            path = argv[i + 1];
    }
    if (path == NULL) {
        fprintf(stderr, "files --file PATH [--port N]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        die(path);
    downloads = calloc((size_t)raise_fd_limit(), sizeof *downloads);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (downloads == NULL || poller < 0)
        die("set-up");
    listener = listen_on(port);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    serve(listener);
}
