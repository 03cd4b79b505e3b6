/* The audience of a fan-out: connections that only read and count.
 *
 * The first one also gives the beat: it sends one byte, waits until every connection has all bytes of that turn
 * (`burst` messages of `size` bytes), and sends the next. Latency is that of a turn, from the beat to the last byte.
 * The result is one JSON line in the form of load.c; a message is one delivery. A connection that ends early, or has
 * more than it should, is an error.
 */
#define _GNU_SOURCE
#include "common.h"

#include <getopt.h>
#include <stdbool.h>

#include "usage.h"

enum { BUFFER = 256 * 1024, TURN_SECONDS = 5, SETUP_SECONDS = 30, QUIET_MS = 50 };

static struct options {
    int port;
    unsigned connections, burst;
    size_t size;
    double warmup, seconds;
    pid_t server;
} opt = {.connections = 1000, .burst = 1, .size = 64, .warmup = 0.3, .seconds = 2};

static int *fds;
static uint64_t *got; /* bytes of this turn, by connection */
static unsigned reached, complete; /* connections that have had something, that have all of this turn */
static uint64_t turns, errors;
static int poller;
static struct latency latency;

static void open_all(void)
{
    struct sockaddr_in target = address_of("127.0.0.1", opt.port);
    int one = 1;

    for (unsigned i = 0; i < opt.connections; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0)
            die("socket");
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(fds[i], (struct sockaddr *)&target, sizeof target) != 0)
            die("connect");
        watch(poller, EPOLL_CTL_ADD, fds[i], EPOLLIN, (epoll_data_t){.u32 = i});
    }
}

static char buffer[BUFFER];

/* While the server accepts: whatever comes. */
static void meet(unsigned i)
{
    if (recv(fds[i], buffer, BUFFER, MSG_DONTWAIT) <= 0)
        errors++;
    else if (got[i]++ == 0)
        reached++;
}

static void take(unsigned i)
{
    uint64_t whole = (uint64_t)opt.burst * opt.size;
    ssize_t n = recv(fds[i], buffer, BUFFER, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || got[i] + (uint64_t)n > whole) {
        errors++;
        return;
    }
    got[i] += (uint64_t)n;
    if (got[i] == whole)
        complete++;
}

static int poll_once(void (*handle)(unsigned), int timeout_ms)
{
    static struct epoll_event events[EVENTS];
    int n = wait_events(poller, events, timeout_ms);

    for (int i = 0; i < n; i++)
        handle(events[i].data.u32);
    return n;
}

static void beat(void)
{
    if (send(fds[0], "!", 1, MSG_NOSIGNAL) != 1)
        die("send");
}

/* Beats until each connection has had something: the first turns reach only those that the server has accepted. */
static void settle(void)
{
    uint64_t until = now_ns() + SETUP_SECONDS * UINT64_C(1000000000);

    while (reached < opt.connections && errors == 0) {
        if (now_ns() > until)
            errors += opt.connections - reached;
        beat();
        while (poll_once(meet, QUIET_MS) > 0)
            continue;
    }
}

/* One turn; false when it went wrong. */
static bool one_turn(void)
{
    uint64_t began = now_ns(), until = began + TURN_SECONDS * UINT64_C(1000000000);

    complete = 0;
    memset(got, 0, opt.connections * sizeof *got);
    beat();
    while (complete < opt.connections && errors == 0)
        if (poll_once(take, 100) == 0 && now_ns() > until)
            errors += opt.connections - complete;
    turns++;
    latency_add(&latency, now_ns() - began);
    return errors == 0;
}

static void report(const struct usage *begin, const struct usage *end)
{
    printf("{\"mode\": \"audience\", \"connections\": %u, \"burst\": %u, \"size\": %zu, \"errors\": %llu, "
           "\"error_detail\": {\"lost\": %llu}",
           opt.connections, opt.burst, opt.size, (unsigned long long)errors, (unsigned long long)errors);
    if (errors == 0 && end->count > begin->count)
        usage_report(begin, end, (double)opt.burst * opt.connections, &latency);
    printf("}\n");
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'},   {"connections", 1, 0, 'c'}, {"burst", 1, 0, 'b'},      {"size", 1, 0, 's'},
        {"warmup", 1, 0, 'w'}, {"seconds", 1, 0, 't'},     {"server-pid", 1, 0, 'P'}, {0, 0, 0, 0},
    };
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (name == 'p')
            opt.port = atoi(optarg);
        else if (name == 'c')
            opt.connections = (unsigned)atoi(optarg);
        else if (name == 'b')
            opt.burst = (unsigned)atoi(optarg);
        else if (name == 's')
            opt.size = (size_t)atoll(optarg);
        else if (name == 'w')
            opt.warmup = atof(optarg);
        else if (name == 't')
            opt.seconds = atof(optarg);
        else if (name == 'P')
            opt.server = atoi(optarg);
        else
            exit(2);
    }
    if (opt.port <= 0 || opt.connections == 0 || opt.burst == 0 || opt.size == 0)
        exit(2);
}

int main(int argc, char **argv)
{
    struct usage begin, end;

    read_options(argc, argv);
    raise_fd_limit();
    alarm((unsigned)(opt.warmup + opt.seconds + 40)); /* whatever happens, this process ends */
    fds = calloc(opt.connections, sizeof *fds);
    got = calloc(opt.connections, sizeof *got);
    if (fds == NULL || got == NULL)
        die("calloc");
    poller = open_poller();
    open_all();
    settle();
    begin = usage_now(opt.server, turns);
    while (one_turn() && now_ns() < begin.at + (uint64_t)(opt.warmup * 1e9))
        continue;
    memset(&latency, 0, sizeof latency);
    begin = end = usage_now(opt.server, turns);
    while (errors == 0 && one_turn() && now_ns() < begin.at + (uint64_t)(opt.seconds * 1e9))
        continue;
    end = usage_now(opt.server, turns);
    report(&begin, &end);
    return errors == 0 ? 0 : 1;
}
