/* The load of the TLS scenarios: one thread, one epoll, OpenSSL over the sockets. Certificates are not verified.
 *
 * Modes
 *   pingpong  every connection keeps one message in flight
 *   shake     connect, handshake, one echo, close in both directions; `connections` of them in parallel
 *   bulk      finish the handshake, then throw away whatever comes (MSG_TRUNC); a message is 16 KiB of the wire
 *   idle      open, one echo on each, print READY, then silence until stdin closes
 *
 * `tls_load --make-certificate FILE` writes the one that the servers of a run have. The result is one JSON line, as that of
 * load.c.
 */
#define _GNU_SOURCE
#include "load.h"

#include <getopt.h>

#include "tls.h"

enum {
    SIZE_MAX_BYTES = 1 << 20,
    OPENING_MAX = 64,
    SETUP_SECONDS = 60,
};

enum mode { PINGPONG, SHAKE, BULK, IDLE };
enum phase { CLOSED, SHAKING, FIRST, OPEN, ENDING };

static const char *const mode_names[] = {"pingpong", "shake", "bulk", "idle"};

static struct options {
    enum mode mode;
    const char *host;
    int port;
    unsigned connections;
    size_t size;
    double warmup, seconds;
    pid_t server;
} opt = {.host = "127.0.0.1", .connections = 1, .size = 64, .warmup = 0.3, .seconds = 2};

struct conn {
    int fd;
    enum phase phase;
    bool wants_out;
    SSL *session;
    size_t got, put; /* of the message that is under way */
    uint64_t began;
};

static struct errors errors;
static struct window window;
static SSL_CTX *context;
static struct conn *conns;
static char message[SIZE_MAX_BYTES], buffer[256 * 1024];
static int poller;
static unsigned opening, alive;
static uint64_t count, source_next;
static bool draining;
static struct latency latency;
static struct sockaddr_in target;

static void forget(struct conn *c)
{
    opening -= c->phase == SHAKING || c->phase == FIRST;
    alive -= c->phase == OPEN;
    SSL_free(c->session);
    close(c->fd);
    *c = (struct conn){.fd = -1, .phase = CLOSED};
    ERR_clear_error();
}

static void lose(struct conn *c)
{
    ++*(c->phase == SHAKING || c->phase == FIRST ? &errors.connect : &errors.closed);
    forget(c);
}

static void want_out(struct conn *c, bool wants)
{
    if (c->wants_out != wants)
        watch(poller, EPOLL_CTL_MOD, c->fd, wants ? EPOLLIN | EPOLLOUT : EPOLLIN, (epoll_data_t){.ptr = c});
    c->wants_out = wants;
}

/* After a call that did not do all: false when the connection is lost. */
static bool waits(struct conn *c, int result)
{
    int why = SSL_get_error(c->session, result);

    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
        lose(c);
        return false;
    }
    want_out(c, why == SSL_ERROR_WANT_WRITE);
    return true;
}

static void put_rest(struct conn *c)
{
    while (c->put < opt.size) {
        int n = SSL_write(c->session, message + c->put, (int)(opt.size - c->put));

        if (n <= 0) {
            waits(c, n);
            return;
        }
        c->put += (size_t)n;
    }
    want_out(c, false);
}

static void put(struct conn *c)
{
    c->put = c->got = 0;
    c->began = c->phase == FIRST ? c->began : now_ns();
    put_rest(c);
}

/* Reads what is there: 1 when the reply is whole, 0 when more must come, -1 when the connection is lost. */
static int take(struct conn *c)
{
    while (c->got < opt.size) {
        size_t room = opt.size - c->got < sizeof buffer ? opt.size - c->got : sizeof buffer;
        int n = SSL_read(c->session, buffer, (int)room);

        if (n <= 0)
            return waits(c, n) ? 0 : -1;
        if (memcmp(buffer, message + c->got, (size_t)n) != 0) {
            errors.content++;
            forget(c);
            return -1;
        }
        c->got += (size_t)n;
    }
    return 1;
}

static void begin(struct conn *c)
{
    int one = 1;

    *c = (struct conn){.phase = SHAKING, .began = now_ns()};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    bind_source(c->fd, source_next++ % SOURCES_MANY);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    opening++;
    c->session = make_session(context, c->fd);
    SSL_set_connect_state(c->session);
    if (connect(c->fd, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS) {
        lose(c);
        return;
    }
    c->wants_out = true;
    watch(poller, EPOLL_CTL_ADD, c->fd, EPOLLIN | EPOLLOUT, (epoll_data_t){.ptr = c});
}

/* The first echo is here, or with bulk the handshake done. */
static void stands(struct conn *c)
{
    opening--;
    alive++;
    c->phase = OPEN;
}

static void finish(struct conn *c)
{
    opening--;
    c->phase = ENDING;
    SSL_shutdown(c->session);
    shutdown(c->fd, SHUT_WR);
}

static void on_shaking(struct conn *c)
{
    int done = SSL_do_handshake(c->session);

    if (done != 1) {
        waits(c, done);
        return;
    }
    want_out(c, false);
    if (opt.mode == BULK) {
        stands(c);
        return;
    }
    c->phase = FIRST;
    put(c);
}

static void on_reply(struct conn *c)
{
    int whole = take(c);

    if (whole <= 0)
        return;
    if (c->phase == FIRST && opt.mode == SHAKE) {
        finish(c);
    } else if (c->phase == FIRST) {
        stands(c);
    } else {
        if (window.open)
            latency_add(&latency, now_ns() - c->began);
        count++;
        if (!draining && opt.mode == PINGPONG)
            put(c);
    }
}

static void on_ending(struct conn *c)
{
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);

    if (n > 0 || (n < 0 && errno == EAGAIN))
        return; /* its goodbye */
    if (n < 0) {
        lose(c);
    } else {
        if (window.open)
            latency_add(&latency, now_ns() - c->began);
        count++;
        forget(c);
    }
    if (!draining)
        begin(c);
}

static void on_bulk(struct conn *c)
{
    ssize_t n = recv(c->fd, NULL, 4 << 20, MSG_TRUNC);

    if (n > 0)
        count += (uint64_t)n;
    else if (n == 0 || errno != EAGAIN)
        lose(c);
}

static void on_events(struct conn *c, uint32_t events)
{
    if (c->phase == SHAKING)
        on_shaking(c);
    else if (c->phase == ENDING)
        on_ending(c);
    else if (c->phase == OPEN && opt.mode == BULK)
        on_bulk(c);
    else if (c->phase != CLOSED) {
        if (events & EPOLLOUT && c->wants_out)
            put_rest(c);
        if (c->phase != CLOSED)
            on_reply(c);
    }
}

static void poll_once(int timeout_ms)
{
    static struct epoll_event events[EVENTS];
    int ready = wait_events(poller, events, timeout_ms);

    for (int i = 0; i < ready; i++)
        on_events(events[i].data.ptr, events[i].events);
}

static void open_all(void)
{
    uint64_t deadline = now_ns() + SETUP_SECONDS * 1000000000ull;
    unsigned next = 0;

    while ((next < opt.connections || opening > 0) && now_ns() < deadline && failures(&errors) < LOST_MAX) {
        while (next < opt.connections && opening < OPENING_MAX)
            begin(&conns[next++]);
        poll_once(100);
    }
    errors.connect += opening + (opt.connections - next);
}

static void run(void)
{
    window.opens_at = now_ns() + (uint64_t)(opt.warmup * 1e9);
    for (unsigned i = 0; i < opt.connections; i++) {
        if (opt.mode == SHAKE)
            begin(&conns[i]);
        else if (opt.mode == PINGPONG && conns[i].phase == OPEN)
            put(&conns[i]);
    }
    while (!window.done && failures(&errors) < LOST_MAX && (opt.mode == SHAKE || alive > 0)) {
        poll_once(10);
        window_step(&window, now_ns(), opt.seconds, count, opt.server);
    }
    draining = true;
}

static void serve_idle(void)
{
    poll_once(0);
}

static void report(double setup_seconds)
{
    printf("{\"mode\": \"%s\", \"connections\": %u, \"size\": %zu", mode_names[opt.mode], opt.connections, opt.size);
    printf(", \"setup_seconds\": %.3f", setup_seconds);
    errors_report(&errors);
    if (window.done)
        usage_report(&window.begin, &window.end, opt.mode == BULK ? 1.0 / RECORD : 1, &latency);
    printf("}\n");
    fflush(stdout);
}

static void die_usage(void)
{
    fprintf(stderr, "tls_load --port N [--mode pingpong|shake|bulk|idle] [--host A] [--connections N] [--size BYTES]\n"
                    "         [--warmup S] [--seconds S] [--server-pid PID]\n"
                    "tls_load --make-certificate FILE\n");
    exit(2);
}

static void set_option(int name, const char *value)
{
    switch (name) {
    case 'm':
        for (opt.mode = PINGPONG; strcmp(mode_names[opt.mode], value) != 0; opt.mode++)
            if (opt.mode == IDLE)
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
    case 's':
        opt.size = (size_t)atoll(value);
        break;
    case 'w':
        opt.warmup = atof(value);
        break;
    case 't':
        opt.seconds = atof(value);
        break;
    case 'P':
        opt.server = atoi(value);
        break;
    case 'C':
        make_certificate(value);
        exit(0);
    default:
        die_usage();
    }
}

static void read_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"mode", 1, 0, 'm'},    {"host", 1, 0, 'h'},        {"port", 1, 0, 'p'},
        {"size", 1, 0, 's'},    {"connections", 1, 0, 'c'}, {"warmup", 1, 0, 'w'},
        {"seconds", 1, 0, 't'}, {"server-pid", 1, 0, 'P'},  {"make-certificate", 1, 0, 'C'},
        {0, 0, 0, 0},
    };
    int name;

    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1)
        set_option(name, optarg);
    if (opt.port <= 0 || opt.connections == 0 || opt.size == 0 || opt.size > SIZE_MAX_BYTES || opt.seconds <= 0)
        die_usage();
    target = address_of(opt.host, opt.port);
}

int main(int argc, char **argv)
{
    uint64_t start = now_ns();
    double setup;

    read_options(argc, argv);
    raise_fd_limit();
    if (opt.mode != IDLE) /* whatever happens, this process ends */
        alarm((unsigned)(SETUP_SECONDS + opt.warmup + opt.seconds + PATIENCE_SECONDS + 10));
    for (size_t i = 0; i < opt.size; i++)
        message[i] = (char)(i * 131 + (i >> 8));
    conns = calloc(opt.connections, sizeof *conns);
    if (conns == NULL)
        die("calloc");
    context = make_context(TLS_client_method());
    poller = open_poller();
    if (opt.mode != SHAKE)
        open_all();
    setup = (double)(now_ns() - start) / 1e9;
    if (failures(&errors) == 0) {
        if (opt.mode == IDLE)
            stay_idle(poller, serve_idle);
        else
            run();
    }
    report(setup);
    return failures(&errors) == 0 ? 0 : 1;
}
