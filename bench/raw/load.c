/* The load generator: one thread, one epoll, one recv and one send for each readiness.
 *
 * Modes
 *   pingpong  every connection keeps `depth` messages in flight; k replies are answered by k messages in one send
 *   rate      open loop: messages are due on a fixed schedule, latency counts from then, and no reply is waited for; what is
 *             not answered a moment after the end counts with the age it has then
 *   idle      open, one echo on each, print READY, then silence until stdin closes
 *   connect   connect, one echo, close in both directions; `connections` of them in parallel
 *
 * All messages come from one static pattern of different messages, so sending copies nothing, and what comes back is
 * compared with what must come back: the count always, the first and last eight bytes of each message.
 * The result is one JSON line. Every failed, lost, wrong or early closed connection is in `errors`.
 */
#define _GNU_SOURCE
#include "load.h"

#include <getopt.h>

enum {
    RECV_BUFFER = 256 * 1024,
    PATTERN_BYTES = 256 * 1024,
    OPENING_MAX = 256,      /* below any listen queue: no SYN is ever dropped and sent again a second later */
    SETUP_SECONDS = 30,
    DRAIN_SECONDS = 5,
    RATE_DRAIN_SECONDS = 1, /* a server that cannot keep up is known by then */
    AROUND_MAX = 16,
    CONNECTIONS_PER_SOURCE = 5000,
};

enum mode { PINGPONG, RATE, IDLE, CONNECT };
enum phase { CLOSED, OPENING, OPEN, ENDING };

static const char *const mode_names[] = {"pingpong", "rate", "idle", "connect"};

static struct options {
    enum mode mode;
    const char *host;
    int port;
    unsigned connections, depth, header, sources;
    size_t size;
    double warmup, seconds, rate;
    pid_t server;
} opt = {.host = "127.0.0.1", .connections = 1, .depth = 1, .size = 64, .warmup = 0.3, .seconds = 2, .rate = 10000};

struct conn {
    int fd;
    uint8_t phase;
    bool wants_out;
    uint32_t flying;  /* messages sent or owed whose reply is not here */
    uint32_t expect;  /* index of the next reply in the pattern */
    size_t got;       /* bytes of that reply that are here */
    size_t out_at;    /* where the next byte to send is in the pattern */
    size_t owed;      /* bytes due that the kernel has not taken */
    uint64_t replies; /* since the run began */
    uint64_t began;
};

static struct conn *conns;
static uint64_t *sent_at; /* pingpong: a ring of `depth` send times for each connection */
static char *pattern;
static size_t message;    /* bytes of one message with what goes around it */
static struct around {    /* the same for each message */
    unsigned length;
    char bytes[AROUND_MAX];
} head, tail;
static unsigned kinds;    /* different messages in the pattern */
static int poller;
static unsigned alive, opening;
static uint64_t replies, flying_total, source_next;
static uint64_t due_in_window, unanswered; /* rate: due within the window; without a reply at the end */
static bool draining;
static struct window window;
static struct errors errors;
static struct latency latency, lateness; /* lateness: of the load itself, from due to handed over */
static char buffer[RECV_BUFFER];
static struct sockaddr_in target;

static void make_pattern(void)
{
    uint64_t state = 0x9e3779b97f4a7c15u;
    unsigned messages;

    message = opt.header + head.length + opt.size + tail.length;
    kinds = (unsigned)(PATTERN_BYTES / message);
    kinds = kinds > 64 ? 64 : kinds < 4 ? 4 : kinds;
    messages = kinds + opt.depth; /* so that `depth` messages lie in one piece from any kind on */
    pattern = malloc(messages * message);
    if (pattern == NULL)
        die("malloc");
    for (unsigned m = 0; m < messages; m++) {
        char *at = pattern + m * message;

        if (m >= kinds) {
            memcpy(at, at - kinds * message, message);
            continue;
        }
        for (unsigned i = 0; i < opt.header; i++)
            at[i] = (char)((uint64_t)opt.size >> 8 * (opt.header - 1 - i));
        memcpy(at + opt.header, head.bytes, head.length);
        memcpy(at + message - tail.length, tail.bytes, tail.length);
        for (size_t i = opt.header + head.length; i < message - tail.length; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            at[i] = tail.length > 0 ? (char)('a' + (state >> 60)) : (char)(state >> 56); /* a mark must not be in it */
        }
    }
}

static void want(struct conn *c, uint32_t interest)
{
    watch(poller, EPOLL_CTL_MOD, c->fd, interest, (epoll_data_t){.ptr = c});
}

static void forget(struct conn *c)
{
    if (c->phase == OPENING)
        opening--;
    else if (c->phase == OPEN)
        alive--;
    flying_total -= c->flying;
    close(c->fd);
    *c = (struct conn){.fd = -1, .phase = CLOSED};
}

static void lose(struct conn *c, uint64_t *why)
{
    ++*why;
    forget(c);
}

/* Sends what is owed. Returns false when the connection was lost. */
static bool flush(struct conn *c)
{
    size_t end = (kinds + opt.depth) * message;

    while (c->owed > 0) {
        size_t length = c->owed < end - c->out_at ? c->owed : end - c->out_at;
        ssize_t sent = send(c->fd, pattern + c->out_at, length, MSG_NOSIGNAL);

        if (sent < 0) {
            if (errno != EAGAIN) {
                lose(c, c->phase == OPENING ? &errors.connect : &errors.closed);
                return false;
            }
            if (!c->wants_out)
                want(c, EPOLLIN | EPOLLOUT);
            c->wants_out = true;
            return true;
        }
        c->owed -= (size_t)sent;
        c->out_at += (size_t)sent;
        if (c->out_at >= kinds * message)
            c->out_at -= kinds * message;
    }
    if (c->wants_out)
        want(c, EPOLLIN);
    c->wants_out = false;
    return true;
}

static bool put(struct conn *c, unsigned messages)
{
    c->owed += messages * message;
    c->flying += messages;
    flying_total += messages;
    return flush(c);
}

/* Compares what lies in the first or last eight bytes of a message; `from` is the place of `data` in it. */
static bool same_ends(const char *data, const char *wanted, size_t from, size_t length)
{
    size_t head = message < 8 ? message : 8;
    size_t tail = message - head;
    size_t to = from + length;

    if (from < head && memcmp(data, wanted + from, (to < head ? to : head) - from) != 0)
        return false;
    if (to > tail) {
        size_t at = from > tail ? from : tail;

        return memcmp(data + (at - from), wanted + at, to - at) == 0;
    }
    return true;
}

/* Returns how many replies became complete, -1 when the bytes are not those that were sent. */
static int check(struct conn *c, const char *data, size_t length)
{
    unsigned count = 0;

    while (length > 0) {
        const char *wanted = pattern + c->expect * message;
        size_t left = message - c->got;
        size_t take = length < left ? length : left;

        if (c->got == 0 && take == message && message >= 8) {
            if (memcmp(data, wanted, 8) != 0 || memcmp(data + message - 8, wanted + message - 8, 8) != 0)
                return -1;
        } else if (!same_ends(data, wanted, c->got, take)) {
            return -1;
        }
        data += take;
        length -= take;
        c->got += take;
        if (c->got == message) {
            c->got = 0;
            c->expect = c->expect + 1 == kinds ? 0 : c->expect + 1;
            count++;
        }
    }
    return count > c->flying ? -1 : (int)count;
}

/* Connects and sends one message. On loopback the connection usually stands when connect() returns. */
static void begin(struct conn *c)
{
    int one = 1;
    unsigned kind = (unsigned)(c - conns) % kinds;

    *c = (struct conn){.phase = OPENING, .expect = kind, .out_at = kind * message, .began = now_ns()};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    opening++;
    if (opt.sources > 1)
        bind_source(c->fd, source_next++ % opt.sources);
    if (opt.mode != CONNECT)
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) {
        lose(c, &errors.connect);
        return;
    }
    watch(poller, EPOLL_CTL_ADD, c->fd, EPOLLIN, (epoll_data_t){.ptr = c});
    put(c, 1);
}

/* Reads once. Returns the number of complete replies, -1 when the connection has ended. */
static int take_replies(struct conn *c)
{
    ssize_t got = recv(c->fd, buffer, RECV_BUFFER, 0);
    int count;

    if (got > 0) {
        count = check(c, buffer, (size_t)got);
        if (count < 0) {
            lose(c, &errors.content);
            return -1;
        }
        c->flying -= (unsigned)count;
        flying_total -= (unsigned)count;
        return count;
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    lose(c, c->phase == OPENING ? &errors.connect : &errors.closed);
    return -1;
}

/* Sends and reads what it can: how many replies became complete; 0 or less: none. */
static int on_events(struct conn *c, uint32_t events)
{
    if ((events & EPOLLOUT) && !flush(c))
        return -1;
    return events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? take_replies(c) : 0;
}

static void on_setup(struct conn *c, uint32_t events)
{
    if (on_events(c, events) > 0 && c->phase == OPENING) {
        c->phase = OPEN;
        opening--;
        alive++;
    }
}

static void on_pingpong(struct conn *c, uint32_t events)
{
    uint64_t *ring = sent_at + (size_t)(c - conns) * opt.depth;
    int count = on_events(c, events);
    uint64_t now;

    if (count <= 0)
        return;
    now = now_ns();
    for (int i = 0; i < count; i++) {
        uint64_t *slot = &ring[c->replies++ % opt.depth];

        if (window.open)
            latency_add(&latency, now - *slot);
        *slot = now; /* reply n makes room for message n + depth */
    }
    replies += (unsigned)count;
    if (!draining)
        put(c, (unsigned)count);
}

static uint64_t schedule_start;

static uint64_t schedule_ns(uint64_t index)
{
    return schedule_start + (uint64_t)((double)index * 1e9 / opt.rate);
}

/* When message n of a connection was due: the schedule goes round over all connections. */
static uint64_t due_ns(const struct conn *c, uint64_t n)
{
    return schedule_ns(n * opt.connections + (uint64_t)(c - conns));
}

static void on_rate(struct conn *c, uint32_t events)
{
    int count = on_events(c, events);
    uint64_t now;

    if (count <= 0)
        return;
    now = now_ns();
    for (int i = 0; i < count; i++) {
        uint64_t due = due_ns(c, c->replies++);

        if (due >= window.opens_at)
            latency_add(&latency, now - due);
    }
    replies += (unsigned)count;
}

static void on_connect(struct conn *c, uint32_t events)
{
    uint64_t began = c->began;

    if (c->phase == ENDING) {
        if (recv(c->fd, buffer, RECV_BUFFER, 0) != 0) {
            lose(c, &errors.closed); /* more than was sent, or a reset */
        } else {
            forget(c);
            replies++;
            if (window.open)
                latency_add(&latency, now_ns() - began);
        }
        if (!draining)
            begin(c);
        return;
    }
    if (on_events(c, events) > 0) {
        opening--;
        c->phase = ENDING;
        shutdown(c->fd, SHUT_WR);
    }
}

static int poll_once(void (*handle)(struct conn *, uint32_t), int timeout_ms)
{
    static struct epoll_event events[EVENTS];
    int count = wait_events(poller, events, timeout_ms);

    for (int i = 0; i < count; i++)
        handle(events[i].data.ptr, events[i].events);
    return count;
}

static void step(uint64_t now)
{
    window_step(&window, now, opt.seconds, replies, opt.server);
}

/* Opens all connections and has one echo on each, so that every one is known to be accepted. */
static void open_all(void)
{
    uint64_t deadline = now_ns() + SETUP_SECONDS * 1000000000ull;
    unsigned next = 0;

    while ((next < opt.connections || opening > 0) && now_ns() < deadline && failures(&errors) < LOST_MAX) {
        while (next < opt.connections && opening < OPENING_MAX)
            begin(&conns[next++]);
        poll_once(on_setup, 100);
    }
    errors.connect += opening + (opt.connections - next);
}

static void drain(void (*handle)(struct conn *, uint32_t), unsigned seconds)
{
    uint64_t deadline = now_ns() + seconds * 1000000000ull;

    draining = true;
    while (flying_total > 0 && now_ns() < deadline)
        poll_once(handle, 100);
}

static void run_pingpong(void)
{
    sent_at = calloc((size_t)opt.connections * opt.depth, sizeof *sent_at);
    if (sent_at == NULL)
        die("calloc");
    window.opens_at = now_ns() + (uint64_t)(opt.warmup * 1e9);
    for (unsigned i = 0; i < opt.connections; i++) {
        uint64_t now = now_ns();

        for (unsigned k = 0; k < opt.depth; k++)
            sent_at[(size_t)i * opt.depth + k] = now;
        if (conns[i].phase == OPEN)
            put(&conns[i], opt.depth);
    }
    while (alive > 0 && !window.done) {
        poll_once(on_pingpong, 10);
        step(now_ns());
    }
    drain(on_pingpong, DRAIN_SECONDS);
    errors.lost += flying_total;
}

/* Hands over what is due from message `index` on, but so much at most that replies are not kept waiting; returns the next. */
static uint64_t send_due(uint64_t index, uint64_t now)
{
    uint64_t due, last = index + EVENTS;

    for (; index < last && (due = schedule_ns(index)) <= now; index++) {
        struct conn *c = &conns[index % opt.connections];

        if (due >= window.opens_at) {
            latency_add(&lateness, now_ns() - due);
            due_in_window++;
        }
        if (c->phase == OPEN)
            put(c, 1);
    }
    return index;
}

/* What has no reply, or was not even handed over, from message `index` on, is at least that late. */
static void count_unanswered(uint64_t index, uint64_t now)
{
    unanswered = flying_total;
    for (unsigned i = 0; i < opt.connections; i++)
        for (unsigned k = 0; k < conns[i].flying; k++)
            latency_add(&latency, now - due_ns(&conns[i], conns[i].replies + k));
    for (; schedule_ns(index) < window.end.at; index++) {
        latency_add(&latency, now - schedule_ns(index));
        due_in_window++;
        unanswered++;
    }
}

static void run_rate(void)
{
    uint64_t index = 0;

    schedule_start = now_ns();
    window.opens_at = schedule_start + (uint64_t)(opt.warmup * 1e9);
    while (alive > 0 && !window.done) {
        uint64_t now = now_ns();

        index = send_due(index, now); /* first: what was due before the end is sent, however late this thread is */
        step(now);
        poll_once(on_rate, 0); /* spins: a sleep would be late by more than what is measured */
    }
    drain(on_rate, RATE_DRAIN_SECONDS);
    count_unanswered(index, now_ns());
}

static void run_connect(void)
{
    uint64_t deadline;

    window.opens_at = now_ns() + (uint64_t)(opt.warmup * 1e9);
    while (!window.done && failures(&errors) < LOST_MAX) {
        for (unsigned i = 0; i < opt.connections; i++)
            if (conns[i].phase == CLOSED)
                begin(&conns[i]);
        do {
            poll_once(on_connect, 10);
            step(now_ns());
        } while (!window.done && errors.connect + errors.closed + errors.content == 0);
    }
    deadline = now_ns() + DRAIN_SECONDS * 1000000000ull;
    draining = true;
    for (unsigned i = 0; i < opt.connections; i++)
        while (conns[i].phase != CLOSED && now_ns() < deadline)
            poll_once(on_connect, 100);
    for (unsigned i = 0; i < opt.connections; i++)
        errors.lost += conns[i].phase != CLOSED;
}

static void serve_setup(void)
{
    (void)poll_once(on_setup, 0);
}

static void run_idle(void)
{
    stay_idle(poller, serve_setup);
}

static void report(double setup_seconds)
{
    printf("{\"mode\": \"%s\", \"connections\": %u, \"depth\": %u, \"size\": %zu, \"header\": %u", mode_names[opt.mode],
           opt.connections, opt.depth, opt.size, opt.header);
    printf(", \"setup_seconds\": %.3f", setup_seconds);
    errors_report(&errors);
    if (window.done)
        usage_report(&window.begin, &window.end, 1, &latency);
    if (opt.mode == RATE && window.done)
        printf(", \"rate\": %.1f, \"due\": %llu, \"unanswered\": %llu, \"late_p99_us\": %.2f", opt.rate,
               (unsigned long long)due_in_window, (unsigned long long)unanswered, latency_at(&lateness, 0.99) / 1e3);
    printf("}\n");
    fflush(stdout);
}

static void die_usage(void)
{
    fprintf(stderr, "load --port N [--mode pingpong|rate|idle|connect] [--host A] [--connections N] [--depth N]\n"
                    "     [--size BYTES] [--header BYTES] [--warmup S] [--seconds S] [--rate N] [--server-pid PID]\n"
                    "     [--head HEX] [--tail HEX]   (bytes around each message)\n"
                    "     [--sources N]   (loopback source addresses, 0: as many as the ports need)\n");
    exit(2);
}

static void set_around(struct around *a, const char *hex)
{
    for (a->length = 0; hex[0] != '\0'; hex += 2, a->length++) {
        unsigned byte;

        if (a->length == AROUND_MAX || sscanf(hex, "%2x", &byte) != 1 || hex[1] == '\0')
            die_usage();
        a->bytes[a->length] = (char)byte;
    }
}

static void set_option(int name, const char *value)
{
    switch (name) {
    case 'm':
        for (opt.mode = PINGPONG; strcmp(mode_names[opt.mode], value) != 0; opt.mode++)
            if (opt.mode == CONNECT)
                die_usage();
        break;
    case 'h':
        opt.host = value;
        break;
    case 'p':
        opt.port = atoi(value);
        break;
    case 'c':
        opt.connections = (unsigned)atoi(value);
        break;
    case 'd':
        opt.depth = (unsigned)atoi(value);
        break;
    case 's':
        opt.size = (size_t)atoll(value);
        break;
    case 'f':
        opt.header = (unsigned)atoi(value);
        break;
    case 'w':
        opt.warmup = atof(value);
        break;
    case 't':
        opt.seconds = atof(value);
        break;
    case 'r':
        opt.rate = atof(value);
        break;
    case 'P':
        opt.server = atoi(value);
        break;
    case 'S':
        opt.sources = (unsigned)atoi(value);
        break;
    case 'H':
        set_around(&head, value);
        break;
    case 'T':
        set_around(&tail, value);
        break;
    default:
        die_usage();
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"mode", 1, 0, 'm'},        {"host", 1, 0, 'h'},       {"port", 1, 0, 'p'},
        {"connections", 1, 0, 'c'}, {"depth", 1, 0, 'd'},      {"size", 1, 0, 's'},
        {"header", 1, 0, 'f'},      {"warmup", 1, 0, 'w'},     {"seconds", 1, 0, 't'},
        {"rate", 1, 0, 'r'},        {"server-pid", 1, 0, 'P'}, {"sources", 1, 0, 'S'},
        {"head", 1, 0, 'H'},        {"tail", 1, 0, 'T'},       {0, 0, 0, 0},
    };
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1)
        set_option(name, optarg);
    if (opt.port <= 0 || opt.connections == 0 || opt.depth == 0 || opt.header > 8 || opt.header + opt.size == 0 ||
        opt.rate <= 0 || opt.seconds <= 0)
        die_usage();
    if (opt.sources == 0)
        opt.sources = opt.mode == CONNECT ? SOURCES_MANY : 1 + opt.connections / CONNECTIONS_PER_SOURCE;
    target = address_of(opt.host, opt.port);
}

int main(int argc, char **argv)
{
    uint64_t start = now_ns();
    double setup;

    read_options(argc, argv);
    raise_fd_limit();
    if (opt.mode != IDLE) /* whatever happens, this process ends */
        alarm((unsigned)(SETUP_SECONDS + opt.warmup + opt.seconds + DRAIN_SECONDS + 10));
    make_pattern();
    conns = calloc(opt.connections, sizeof *conns);
    if (conns == NULL)
        die("calloc");
    poller = open_poller();
    if (opt.mode != CONNECT)
        open_all();
    setup = (double)(now_ns() - start) / 1e9;
    if (failures(&errors) == 0) {
        void (*const run[])(void) = {run_pingpong, run_rate, run_idle, run_connect};

        run[opt.mode]();
    }
    report(setup);
    return failures(&errors) == 0 ? 0 : 1;
}
