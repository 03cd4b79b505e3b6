/* What the loads share: when a measurement begins and ends, what went wrong, source addresses, an idle run. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "common.h"

#include <poll.h>
#include <stdbool.h>

#include "usage.h"

enum {
    PATIENCE_SECONDS = 5,
    LOST_MAX = 1000, /* a dead server must not become an endless loop */
    SOURCES_MANY = 64 /* each gives its own range of ports, TIME_WAIT holds them for a while */
};

struct errors {
    uint64_t connect, closed, content, lost;
};

struct window {
    uint64_t opens_at;
    struct usage begin, end;
    bool open, done;
};

static inline uint64_t failures(const struct errors *e)
{
    return e->connect + e->closed + e->content + e->lost;
}

static inline void errors_report(const struct errors *e)
{
    printf(", \"errors\": %llu", (unsigned long long)failures(e));
    printf(", \"error_detail\": {\"connect\": %llu, \"closed\": %llu, \"content\": %llu, \"lost\": %llu}",
           (unsigned long long)e->connect, (unsigned long long)e->closed, (unsigned long long)e->content,
           (unsigned long long)e->lost);
}

/* A window lasts until something came, even where it is so short that the server had no core in it. */
static inline void window_step(struct window *w, uint64_t now, double seconds, uint64_t count, pid_t server)
{
    if (!w->open && !w->done && now >= w->opens_at) {
        w->begin = usage_now(server, count);
        w->open = true;
        return;
    }
    seconds += count > w->begin.count ? 0 : PATIENCE_SECONDS;
    if (w->open && now >= w->begin.at + (uint64_t)(seconds * 1e9)) {
        w->end = usage_now(server, count);
        w->open = false;
        w->done = true;
    }
}

/* The nth loopback address. */
static inline void bind_source(int fd, uint64_t n)
{
    struct sockaddr_in source = {.sin_family = AF_INET};
    int one = 1;

    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)((n / 250) << 8 | (n % 250)));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&source, sizeof source) != 0)
        die("bind");
}

/* All stand: serves what happens to them until stdin closes. */
static inline void stay_idle(int poller, void (*serve)(void))
{
    struct pollfd fds[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = poller, .events = POLLIN}};
    char ignored[64];

    printf("READY\n");
    fflush(stdout);
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            die("poll");
        if (fds[1].revents != 0)
            serve();
        if (fds[0].revents != 0 && read(STDIN_FILENO, ignored, sizeof ignored) <= 0)
            return;
    }
}

#endif
