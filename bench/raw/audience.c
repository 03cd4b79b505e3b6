/* The audience of a fan-out: connections that only read and count.
 *
 * The first one also gives the beat: it sends one byte, waits until every connection has all bytes of that turn
 * (`burst` messages of `size` bytes), and sends the next. Latency is that of a turn, from the beat to the last byte.
 * The result is one JSON line in the form of load.c; a message is one delivery. A connection that ends early, or has
 * more than it should, is an error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency.h"
#include "usage.h"

enum { EVENTS = 1024, BUFFER = 256 * 1024, TURN_SECONDS = 5, SETUP_SECONDS = 30, QUIET_MS = 50 };

static struct options {
    int port;
    unsigned connections, burst;
    size_t size;
    double warmup, seconds;
    pid_t server;
} opt = {.connections = 1000, .burst = 1, .size = 64, .warmup = 0.3, .seconds = 2};

struct usage {
    uint64_t at, turns, server_cpu, load_cpu, server_waited, load_waited;
};

static int *fds;
static uint64_t *got; /* bytes of this turn, by connection */
static unsigned reached, complete; /* connections that have had something, that have all of this turn */
static uint64_t turns, errors;
static int poller;
static struct latency latency;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static struct usage usage_now(void)
{
    return (struct usage){
        .at = now_ns(),
        .turns = turns,
        .server_cpu = cpu_ns(opt.server),
        .load_cpu = cpu_ns(getpid()),
        .server_waited = waited_ns(opt.server),
        .load_waited = waited_ns(getpid()),
    };
}

static void open_all(void)
{
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    int one = 1;

    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (unsigned i = 0; i < opt.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0)
            die("socket");
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(fds[i], (struct sockaddr *)&target, sizeof target) != 0)
            die("connect");
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fds[i], &event) != 0)
            die("epoll_ctl");
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

static int serve(void (*handle)(unsigned), int timeout_ms)
{
    static struct epoll_event events[EVENTS];
    int n = epoll_wait(poller, events, EVENTS, timeout_ms);

    if (n < 0 && errno != EINTR)
        die("epoll_wait");
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
        while (serve(meet, QUIET_MS) > 0)
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
        if (serve(take, 100) <= 0 && now_ns() > until)
            errors += opt.connections - complete;
    turns++;
    latency_add(&latency, now_ns() - began);
    return errors == 0;
}

static void report(const struct usage *begin, const struct usage *end)
{
    double wall = (double)(end->at - begin->at), cpu = (double)(end->server_cpu - begin->server_cpu);
    double count = (double)(end->turns - begin->turns) * opt.burst * opt.connections;

    printf("{\"mode\": \"audience\", \"connections\": %u, \"burst\": %u, \"size\": %zu, \"errors\": %llu, "
           "\"error_detail\": {\"lost\": %llu}",
           opt.connections, opt.burst, opt.size, (unsigned long long)errors, (unsigned long long)errors);
    if (errors == 0 && count > 0) {
        printf(", \"seconds\": %.4f, \"messages\": %.0f, \"per_second\": %.1f", wall / 1e9, count, count / wall * 1e9);
        printf(", \"load_busy\": %.4f, \"load_waited\": %.4f", (double)(end->load_cpu - begin->load_cpu) / wall,
               (double)(end->load_waited - begin->load_waited) / wall);
        printf(", \"server_busy\": %.4f, \"server_waited\": %.4f, \"cpu_us\": %.5f", cpu / wall,
               (double)(end->server_waited - begin->server_waited) / wall, cpu / 1e3 / count);
        printf(", \"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.2f",
               latency_at(&latency, 0.5) / 1e3, latency_at(&latency, 0.99) / 1e3, latency_at(&latency, 0.999) / 1e3,
               (double)latency.max_ns / 1e3);
    }
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
    struct rlimit limit;

    read_options(argc, argv);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    alarm((unsigned)(opt.warmup + opt.seconds + 40)); /* whatever happens, this process ends */
    fds = calloc(opt.connections, sizeof *fds);
    got = calloc(opt.connections, sizeof *got);
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (fds == NULL || got == NULL || poller < 0)
        die("set-up");
    open_all();
    settle();
    begin = usage_now();
    while (one_turn() && now_ns() < begin.at + (uint64_t)(opt.warmup * 1e9))
        continue;
    memset(&latency, 0, sizeof latency);
    begin = end = usage_now();
    while (errors == 0 && one_turn() && now_ns() < begin.at + (uint64_t)(opt.seconds * 1e9))
        continue;
    end = usage_now();
    report(&begin, &end);
    return errors == 0 ? 0 : 1;
}
