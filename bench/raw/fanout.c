/* The yardstick of fan-out: each byte that comes in is a turn, and a turn is one send(2) on every connection.
 *
 * With --burst N a turn is N messages, which leave joined in that one send: less than this nobody can do. A socket that
 * takes less than all of it ends the program: the audience of the bench reads.
 */
#define _GNU_SOURCE
#include "common.h"

#include <getopt.h>

enum { CONNECTIONS_MAX = 65536 };

static int fds[CONNECTIONS_MAX], count;
static char *message;
static size_t length;

static void on_accepted(int fd)
{
    if (count == CONNECTIONS_MAX)
        die("too many connections");
    fds[count++] = fd;
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
    size_t burst = 1, size = 64;
    int port = 0, name;

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
    raise_fd_limit();
    length = burst * size;
    message = malloc(length);
    if (message == NULL)
        die("malloc");
    memset(message, 'x', length);
    serve(open_poller(), listen_on("127.0.0.1", port), on_accepted, on_bytes);
}
