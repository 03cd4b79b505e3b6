/* The yardstick for files: a plain single-threaded epoll server around sendfile.
 *
 * A request is eight bytes: 'E' and seven more are sent back, 'G' and a big-endian number ask for so many bytes of the
 * file. Level-triggered; sendfile with all that is left until the kernel is full, EPOLL_CTL_MOD only then and when it is
 * through. It waits for the disk where the file is not in memory.
 */
#define _GNU_SOURCE
#include "common.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/sendfile.h>

enum { REQUEST = 8 };

struct download {
    uint64_t left;
    off_t offset;
};

static struct download *downloads; /* by fd */
static int poller, file;

static void drop(int fd)
{
    downloads[fd].left = 0;
    close(fd);
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
                watch_fd(poller, EPOLL_CTL_MOD, fd, EPOLLOUT);
        } else {
            drop(fd);
        }
        return;
    }
    if (parked)
        watch_fd(poller, EPOLL_CTL_MOD, fd, EPOLLIN);
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

static void on_ready(int fd)
{
    if (downloads[fd].left > 0)
        go_on(fd, 1);
    else
        serve_request(fd);
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    int port = 0;

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
    downloads = calloc(raise_fd_limit(), sizeof *downloads);
    if (downloads == NULL)
        die("calloc");
    poller = open_poller();
    serve(poller, listen_on("127.0.0.1", port), NULL, on_ready);
}
