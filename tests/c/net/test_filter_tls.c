/* The filter of TLS with sessions that anybody can read: what it asks of them and when, limits, ends. What OpenSSL makes
 * of it stands in tests/tls. */
#include "support/fuzz.h"
#include "support/toytls.h"

#include "fuzz/fuzz.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"
#include "io/threads.h"
#include "net/conn.h"
#include "net/net.h"

static void init_server(struct party *server, struct stage *s, party_hook hook)
{
    party_init(server, s, WAWO_SERVER);
    server->options.tls = true;
    server->options.handshake_timeout_ns = KIT_DEADLINE_S * WAWO_SEC;
    server->wrap = toytls_wrap;
    server->hook = hook;
}

static void open_server(struct stage *s, struct party *server, const char *backend, party_hook hook)
{
    stage_open(s, backend, 1);
    init_server(server, s, hook);
}

/* close_notify both ways, and the end of both streams. */
static void part(struct party *server, int fd)
{
    uint8_t record[WAWO_TLS_RECORD];

    kit_write(fd, "C", 1);
    ASSERT_EQ(toytls_read(fd, record), 0u);
    ASSERT_EQ(kit_read(fd, record, 1), 0u);
    kit_close(fd);
    party_wait(server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server->error, 0);
    ASSERT_EQ(server->operation, WAWO_OP_CLOSE);
}

static void echo(const char *backend, void (*wrap)(struct party *p, const struct wawo_event *e))
{
    struct stage s;
    struct party server;
    uint64_t at = 0;
    size_t len;
    int fd;

    open_server(&s, &server, backend, hook_echo);
    server.wrap = wrap;
    server.verify = true;
    party_start(&server);
    fd = toytls_connect(server.port);
    for (len = 1; len <= WAWO_TLS_RECORD; at += len, len *= 4) {
        toytls_write_pattern(fd, at, len);
        toytls_read_pattern(fd, at, len);
    }
    part(&server, fd);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(tls_echo, backend)
{
    echo(backend, toytls_wrap);
}

TEST_EACH_BACKEND(tls_echo_inside_the_sink, backend)
{
    echo(backend, toytls_wrap_inside);
}

/* A client of ours begins; what was sent before it was connected waits for the handshake. */
TEST_EACH_BACKEND(tls_between_ourselves, backend)
{
    struct stage s;
    struct party server, agent;
    struct wawo_share *share;

    open_server(&s, &server, backend, hook_echo);
    party_start(&server);
    party_init(&agent, &s, WAWO_AGENT);
    agent.options.tls = true;
    agent.options.handshake_timeout_ns = KIT_DEADLINE_S * WAWO_SEC;
    agent.wrap = toytls_wrap;
    agent.verify = true;
    party_start(&agent);
    share = party_connect(&agent, server.port);
    share_send_pattern(share, 0, 1 << 20, 10000);
    party_wait_bytes(&agent, 1 << 20);
    wawo_share_drop(share);
    party_finish(&agent);
    party_close(&s, &server);
}

static void send_small(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint8_t bytes[8];
    int i;

    (void)p;
    if (e->kind != WAWO_ON_HANDSHAKE)
        return;
    for (i = 0; i < 10; i++, a->scratch[0] += sizeof bytes) {
        kit_fill(bytes, sizeof bytes, a->scratch[0]);
        ASSERT_EQ(wawo_share_send(e->share, bytes, sizeof bytes), 1);
    }
}

TEST_EACH_BACKEND(tls_joins_small_messages, backend)
{
    uint8_t record[WAWO_TLS_RECORD];
    struct stage s;
    struct party server;
    int fd;

    open_server(&s, &server, backend, send_small);
    party_start(&server);
    fd = toytls_connect(server.port);
    ASSERT_EQ(toytls_read(fd, record), 80u);
    KIT_CHECK(record, 80, 0);
    part(&server, fd);
    party_close(&s, &server);
}

static void ask_whether_it_stands(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p, (void)a;
    if (e->kind == WAWO_ON_HANDSHAKE)
        ASSERT_EQ(wawo_tls_of(e->share->conn)->fault, WAWO_TLS_FINE);
}

/* A session that has failed does not tell any more what was agreed on: it opens nothing before that was asked. */
TEST_EACH_BACKEND(tls_tells_of_the_handshake_first, backend)
{
    static const uint8_t all[] = {'H', 'D', 0, 1, (uint8_t)~'a', '?'};
    struct stage s;
    struct party server;
    int fd;

    open_server(&s, &server, backend, ask_whether_it_stands);
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, all, sizeof all);
    party_wait(&server, WAWO_ON_HANDSHAKE, 1);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    kit_close(fd);
    party_close(&s, &server);
}

/* A session has buffers as long as it is busy: neither from its handshake on, nor when its connection rests. */
TEST_EACH_BACKEND(tls_buffers_of_the_busy, backend)
{
    struct stage s;
    struct party server;
    size_t most = 0; /* at the end it may rest already */
    uint64_t at;
    int fd;

    open_server(&s, &server, backend, hook_echo);
    party_start(&server);
    fd = toytls_connect(server.port);
    for (at = 0; at < 40; at++) {
        ASSERT_TRUE(at > 1 || toy_kept() == 0);
        toytls_write_pattern(fd, at, 1);
        toytls_read_pattern(fd, at, 1);
        most = toy_kept() > most ? toy_kept() : most;
    }
    ASSERT_EQ(most, 1u);
    KIT_UNTIL(toy_kept() == 0);
    for (most = 0; at < 80; at++) {
        toytls_write_pattern(fd, at, 1);
        toytls_read_pattern(fd, at, 1);
        most = toy_kept() > most ? toy_kept() : most;
    }
    ASSERT_EQ(most, 1u);
    part(&server, fd);
    party_close(&s, &server);
    ASSERT_EQ(toy_kept(), 0u);
}

/* One record holds many more messages than a batch: what does not fit comes again, in order. */
TEST_EACH_BACKEND(tls_below_a_framing_of_tiny_messages, backend)
{
    static uint8_t wire[3 + WAWO_TLS_RECORD];
    struct stage s;
    struct party server;
    unsigned i;
    int fd;

    open_server(&s, &server, backend, NULL);
    party_framed(&server, 1, 255);
    server.verify = true;
    party_start(&server);
    fd = toytls_connect(server.port);
    wire[0] = 'D';
    wire[1] = WAWO_TLS_RECORD >> 8;
    for (i = 0; i < WAWO_TLS_RECORD; i += 2) {
        wire[3 + i] = (uint8_t)~1;
        wire[4 + i] = (uint8_t)~kit_byte(i / 2);
    }
    kit_write(fd, wire, sizeof wire);
    party_wait(&server, WAWO_ON_RECEIVE, WAWO_TLS_RECORD / 2);
    part(&server, fd);
    party_close(&s, &server);
}

static void ends_with(const char *backend, const char *said, size_t len, int operation, int error, bool alert)
{
    struct stage s;
    struct party server;
    char answer[8];
    size_t n;
    int fd;

    open_server(&s, &server, backend, NULL);
    server.options.handshake_timeout_ns = error != ETIMEDOUT ? KIT_DEADLINE_S * WAWO_SEC : 20 * WAWO_MSEC;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, said, len);
    if (error != ETIMEDOUT)
        kit_shutdown(fd);
    n = kit_read(fd, answer, sizeof answer);
    ASSERT_EQ(memchr(answer, 'A', n) != NULL, alert);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, operation);
    ASSERT_EQ(server.error, error);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(tls_garbage_at_first, backend)
{
    ends_with(backend, "GET", 3, WAWO_OP_ACCEPT, EPROTO, true);
}

TEST_EACH_BACKEND(tls_garbage_later, backend)
{
    ends_with(backend, "HD\0\1xZ", 6, WAWO_OP_RECEIVE, EPROTO, true);
}

static void hook_answer_and_pause(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p, (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    ASSERT_EQ(wawo_share_send(e->share, "an answer", 9), 1);
    ASSERT_TRUE(wawo_share_pause(e->share, true));
}

/* The session broke behind that message, so the answer is never sealed: also a close that comes later says so. */
TEST_EACH_BACKEND(tls_closed_when_an_answer_was_lost, backend)
{
    struct stage s;
    struct party server;
    struct wawo_share *share;
    char answer[2];
    int fd;

    open_server(&s, &server, backend, hook_answer_and_pause);
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "HD\0\1xZ", 6);
    ASSERT_EQ(kit_read(fd, answer, 2), 2u);
    ASSERT_EQ(answer[1], 'A');
    share = party_last(&server);
    (void)wawo_share_close(share);
    wawo_share_drop(share);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_CLOSE);
    ASSERT_EQ(server.error, EPROTO);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(tls_handshake_too_slow, backend)
{
    ends_with(backend, "", 0, WAWO_OP_ACCEPT, ETIMEDOUT, false);
}

TEST_EACH_BACKEND(tls_cut_in_the_handshake, backend)
{
    ends_with(backend, "", 0, WAWO_OP_ACCEPT, EPROTO, false);
}

TEST_EACH_BACKEND(tls_cut_in_a_record, backend)
{
    ends_with(backend, "HD\0\2x", 5, WAWO_OP_RECEIVE, EPROTO, false);
}

/* Many more than go on in one turn. */
TEST_EACH_BACKEND(tls_a_storm_of_handshakes, backend)
{
    enum { PEERS = 60 };
    struct stage s;
    struct party server;
    int fds[PEERS], i;
    char answer;

    open_server(&s, &server, backend, NULL);
    party_start(&server);
    for (i = 0; i < PEERS; i++) {
        fds[i] = kit_connect(server.port);
        kit_write(fds[i], "H", 1);
    }
    for (i = 0; i < PEERS; i++) {
        ASSERT_EQ(kit_read(fds[i], &answer, 1), 1u);
        ASSERT_EQ(answer, 'h');
    }
    party_wait(&server, WAWO_ON_HANDSHAKE, PEERS);
    kit_close_all(fds, PEERS);
    party_wait(&server, WAWO_ON_CLOSE, PEERS);
    party_close(&s, &server);
}

struct hog {
    struct wawo_chunk *chunks[64];
    unsigned count; /* atomic: set when all are there */
};

/* Nothing is left to receive into. */
static void close_and_take_all(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct hog *h = p->arg;
    unsigned n = 0;

    (void)a;
    if (e->kind != WAWO_ON_ACCEPT)
        return;
    ASSERT_EQ(wawo_share_send(e->share, "bye", 3), 1);
    ASSERT_TRUE(wawo_share_close(e->share));
    while ((h->chunks[n] = wawo_pool_take(p->stage->threads->loops[0].heap.pool, 0)) != NULL)
        ASSERT_LT(++n, 64u);
    wawo_store(&h->count, n);
}

/* What it has to say waits for a handshake, which goes on when there is memory again. */
TEST_EACH_POLLER(tls_closed_with_no_memory_to_receive_into, backend)
{
    uint8_t record[WAWO_TLS_RECORD];
    struct wawo_loop_stats st;
    struct hog hog = {.count = 0};
    struct stage s;
    struct party server;
    unsigned n;
    char answer;
    int fd;

    ASSERT_EQ(stage_open_with(&s, backend, 1, 1 << 20), 0);
    init_server(&server, &s, close_and_take_all);
    server.options.close_timeout_ns = 2 * KIT_DEADLINE_S * WAWO_SEC;
    server.arg = &hog;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "H", 1);
    KIT_UNTIL((n = wawo_load(&hog.count)) > 0);
    do
        wawo_engine_stats(s.threads, 0, &st);
    while (st.pool_starved < 2); /* the hog itself was the first */
    for (; n > 0; n--)
        wawo_chunk_drop(hog.chunks[n - 1]);
    ASSERT_EQ(kit_read(fd, &answer, 1), 1u);
    ASSERT_EQ(answer, 'h');
    ASSERT_EQ(toytls_read(fd, record), 3u);
    part(&server, fd);
    party_close(&s, &server);
}

/* Sends before it connects, and has memory fail behind that. */
static void send_early(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)a;
    if (e->kind != WAWO_ON_PREPARE_CONNECT)
        return;
    ASSERT_EQ(wawo_share_send(e->share, "early", 5), 1);
    wawo_alloc_fail_at(*(const size_t *)p->arg);
}

TEST_EACH_BACKEND(tls_without_memory_for_what_a_connection_has, backend)
{
    uint64_t connected = 0;
    struct stage s;
    struct wawo_share *share;
    struct party agent;
    uint16_t port;
    int listener = kit_listen(&port); /* which accepts none: not all come so far */
    size_t n = 0;

    stage_open(&s, backend, 1);
    party_init(&agent, &s, WAWO_AGENT);
    agent.options.tls = true;
    agent.options.receive_rate = 1 << 20; /* one thing more to fail */
    agent.mask |= 1u << WAWO_ON_PREPARE_CONNECT;
    agent.wrap = toytls_wrap;
    agent.hook = send_early;
    agent.arg = &n;
    party_start(&agent);
    while (connected == 0) {
        n++;
        share = party_connect(&agent, port);
        KIT_UNTIL((connected = party_count(&agent, WAWO_ON_CONNECT)) > 0 || party_count(&agent, WAWO_ON_CLOSE) == n);
        wawo_alloc_fail_at(0);
        (void)wawo_share_abort(share);
        wawo_share_drop(share);
        party_wait(&agent, WAWO_ON_CLOSE, n);
        ASSERT_EQ(wawo_load(&agent.endpoint->pending), 0);
    }
    ASSERT_GE(n, 3u);
    kit_close(listener);
    party_close(&s, &agent);
}

static void begin_tls(struct party *p, const struct wawo_event *e, struct actor *a)
{
    if (e->kind == WAWO_ON_RECEIVE && a->scratch[0]++ == 0) {
        ASSERT_EQ(wawo_share_send(e->share, "go", 2), 1);
        ASSERT_EQ(toytls_start(e->share, 0), 0);
        ASSERT_EQ(toytls_start(e->share, 0), WAWO_EINVAL);
        a->shaken = false; /* it comes once more */
        a->received = 0;
    } else {
        hook_echo(p, e, a);
    }
}

TEST_EACH_BACKEND(tls_begins_later, backend)
{
    struct stage s;
    struct party server;
    char go[2], answer;
    int fd;

    open_server(&s, &server, backend, begin_tls);
    server.options.tls = false;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "now", 3);
    ASSERT_EQ(kit_read(fd, go, 2), 2u);
    kit_write(fd, "H", 1);
    ASSERT_EQ(kit_read(fd, &answer, 1), 1u);
    ASSERT_EQ(answer, 'h');
    toytls_write_pattern(fd, 0, 5000);
    toytls_read_pattern(fd, 0, 5000);
    part(&server, fd);
    party_close(&s, &server);
}

/* As a backend that said of bytes that they had gone, and then met a full kernel. */
static void begin_tls_with_bytes_back(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct wawo_conn *c;
    bool begins = e->kind == WAWO_ON_RECEIVE && a->scratch[0] == 0;

    begin_tls(p, e, a);
    if (!begins)
        return;
    c = e->share->conn;
    ASSERT_EQ(wawo_ring_copy(&c->sock.out, &wawo_net_of(c)->loop->heap, "back", 4, true), 0);
    wawo_conn_done(c, &(struct wawo_done){.id = c->sock.id, .kind = WAWO_DONE_BACK, .len = 4});
    ASSERT_EQ(wawo_conn_pending(c), 6u);
}

TEST_EACH_BACKEND(tls_begins_before_what_was_sent_comes_back, backend)
{
    struct stage s;
    struct party server;
    char go[6], answer;
    int fd;

    open_server(&s, &server, backend, begin_tls_with_bytes_back);
    server.options.tls = false;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "now", 3);
    ASSERT_EQ(kit_read(fd, go, 6), 6u);
    kit_write(fd, "H", 1);
    ASSERT_EQ(kit_read(fd, &answer, 1), 1u);
    toytls_write_pattern(fd, 0, 5000);
    toytls_read_pattern(fd, 0, 5000);
    part(&server, fd);
    ASSERT_EQ(wawo_load(&server.endpoint->pending), 0);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(tls_begins_with_plaintext_behind, backend)
{
    struct stage s;
    struct party server;
    char go[3];
    int fd;

    open_server(&s, &server, backend, begin_tls);
    server.options.tls = false;
    party_framed(&server, 1, 255);
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "\1a\1b", 4);
    ASSERT_EQ(kit_read(fd, go, 3), 3u);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_RECEIVE);
    ASSERT_EQ(server.error, EBADMSG);
    party_close(&s, &server);
}

/* ---- in the middle of a ticket ---- */

/* As a backend that has more to tell of it in the same list; nothing: the peer's FIN. */
static void tell_read(struct wawo_conn *c, const void *bytes, size_t len)
{
    struct wawo_done d = {.id = c->sock.id, .kind = WAWO_DONE_RECV, .len = len};

    if (d.len > 0) {
        d.chunk = wawo_chunk_new(d.len);
        ASSERT_TRUE(d.chunk != NULL);
        memcpy(d.chunk->data, bytes, len);
        d.ptr = d.chunk->data;
        d.chunk->used = d.len;
    }
    wawo_conn_done(c, &d);
}

/* Answers of a session that wait for the kernel. */
static void put_answers(struct wawo_conn *c)
{
    static uint8_t answers[1 << 16];

    memset(answers, 'k', sizeof answers);
    ASSERT_EQ(wawo_ring_copy(&c->sock.out, &wawo_net_of(c)->loop->heap, answers, sizeof answers, false), 0);
}

static void skip_answers(int fd)
{
    static uint8_t answers[1 << 16];

    ASSERT_EQ(kit_read(fd, answers, sizeof answers), sizeof answers);
}

enum { AT_ONCE = 1, BEHIND_ANSWERS = 2, BEFORE_A_FIN = 4, TRIED = 8 };

static void say_and_close(struct party *p, const struct wawo_event *e, struct actor *a)
{
    int how = *(const int *)p->arg;
    struct wawo_conn *c;

    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    c = e->share->conn;
    if (how & BEHIND_ANSWERS)
        put_answers(c);
    ASSERT_EQ(wawo_share_send(e->share, "bye", 3), 1);
    if (how & TRIED)
        ASSERT_TRUE(wawo_share_flush(e->share));
    ASSERT_TRUE(wawo_share_close(e->share));
    if (how & (AT_ONCE | BEFORE_A_FIN))
        tell_read(c, "t", 1);
    if (how & BEFORE_A_FIN)
        tell_read(c, NULL, 0);
}

/* What was accepted goes, though its session could not write when it was closed. */
static void closes_midway(const char *backend, int how)
{
    uint8_t record[WAWO_TLS_RECORD];
    struct stage s;
    struct party server;
    char end;
    int fd;

    open_server(&s, &server, backend, say_and_close);
    server.options.close_timeout_ns = 2 * KIT_DEADLINE_S * WAWO_SEC;
    server.arg = &how;
    party_start(&server);
    fd = toytls_connect(server.port);
    kit_write(fd, "D\0\1xT", 5);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    if (how & BEHIND_ANSWERS)
        skip_answers(fd);
    if (!(how & (AT_ONCE | BEFORE_A_FIN)))
        kit_write(fd, "t", 1);
    ASSERT_EQ(toytls_read(fd, record), 3u);
    if (!(how & BEFORE_A_FIN)) {
        part(&server, fd);
    } else {
        ASSERT_EQ(toytls_read(fd, record), 0u);
        ASSERT_EQ(kit_read(fd, &end, 1), 0u);
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, 1);
        ASSERT_EQ(server.error, 0);
    }
    party_close(&s, &server);
}

TEST_EACH_BACKEND(tls_closed_midway_before_it_wrote, backend)
{
    closes_midway(backend, 0);
    closes_midway(backend, AT_ONCE);
    closes_midway(backend, BEHIND_ANSWERS);
}

TEST_EACH_BACKEND(tls_closed_midway_with_a_fin_behind_the_rest, backend)
{
    closes_midway(backend, BEFORE_A_FIN);
    closes_midway(backend, BEFORE_A_FIN | TRIED);
}

static void answer_at_the_limit(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct wawo_conn *c;

    (void)p, (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    c = e->share->conn;
    ASSERT_EQ(wawo_share_send(e->share, "late", 4), 1);
    ASSERT_TRUE(wawo_share_flush(e->share));
    ASSERT_TRUE(wawo_tls_of(c)->midway);
    tell_read(c, "t", 1);
    put_answers(c);
    wawo_tls_proceed(c);
    ASSERT_TRUE(!wawo_tls_of(c)->midway);
}

/* However much is sealed already: as long as nobody knows that it may write, no pause would hold. */
TEST_EACH_BACKEND(tls_midway_with_much_that_is_sealed, backend)
{
    uint8_t record[WAWO_TLS_RECORD];
    struct stage s;
    struct party server;
    int fd;

    open_server(&s, &server, backend, answer_at_the_limit);
    party_start(&server);
    fd = toytls_connect(server.port);
    kit_write(fd, "D\0\1xT", 5);
    skip_answers(fd);
    ASSERT_EQ(toytls_read(fd, record), 4u);
    part(&server, fd);
    party_close(&s, &server);
}

struct midway {
    struct wawo_conn *paused; /* NULL: not yet */
    uint64_t rounds;
};

/* Messages of one byte: at an `a` it pauses and says something. An `e` of another one is answered; when one comes, the
 * peer of the paused one ends a ticket, says something and begins the next ticket, in one go. */
static void answer_or_pause(struct party *p, const struct wawo_event *e, struct actor *a)
{
    static const uint8_t round[] = {'t', 'D', 0, 2, (uint8_t)~1, (uint8_t)~'c', 'T'};
    struct midway *m = p->arg;

    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    if (*e->ptr == 'e') {
        ASSERT_EQ(wawo_share_send(e->share, "e", 1), 1);
        if (m->paused != NULL && wawo_conn_receives(m->paused)) {
            tell_read(m->paused, round, sizeof round);
            m->rounds++;
        }
    } else if (*e->ptr == 'a') {
        m->paused = e->share->conn;
        ASSERT_EQ(wawo_share_send(e->share, "a", 1), 1);
        ASSERT_TRUE(wawo_share_pause(e->share, true));
    }
}

static void open_framed(struct stage *s, struct party *server, const char *backend, struct midway *m)
{
    open_server(s, server, backend, answer_or_pause);
    server->options.close_timeout_ns = 2 * KIT_DEADLINE_S * WAWO_SEC;
    server->arg = m;
    party_framed(server, 1, 100);
    party_start(server);
}

static void write_frame(int fd, char what)
{
    uint8_t record[] = {'D', 0, 2, (uint8_t)~1, (uint8_t)~what};

    kit_write(fd, record, sizeof record);
}

static void read_frame(int fd, char what)
{
    uint8_t record[WAWO_TLS_RECORD];

    ASSERT_EQ(toytls_read(fd, record), 2u);
    ASSERT_EQ(record[1], what);
}

/* Messages `a` and `b` in one read, with the beginning of a ticket behind them. */
static void write_two(int fd)
{
    uint8_t bytes[] = {'D', 0, 4, (uint8_t)~1, (uint8_t)~'a', (uint8_t)~1, (uint8_t)~'b', 'T'};

    kit_write(fd, bytes, sizeof bytes);
}

TEST_EACH_BACKEND(tls_midway_in_a_pause_with_a_message_kept, backend)
{
    struct midway m = {.paused = NULL};
    struct stage s;
    struct party server;
    int fd;

    open_framed(&s, &server, backend, &m);
    fd = toytls_connect(server.port);
    write_two(fd);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    kit_write(fd, "t", 1);
    read_frame(fd, 'a');
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), 1u);
    ASSERT_TRUE(wawo_share_pause(m.paused->share, false));
    part(&server, fd);
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), 2u);
    party_close(&s, &server);
}

/* What the peer says meanwhile is kept, up to a bound. */
TEST_EACH_BACKEND(tls_midway_for_ever_in_a_pause, backend)
{
    enum { TURNS = 300 };
    uint8_t first[] = {'D', 0, 2, (uint8_t)~1, (uint8_t)~'a', 'T'};
    struct midway m = {.paused = NULL};
    struct stage s;
    struct party server;
    int fd, other, i;

    open_framed(&s, &server, backend, &m);
    fd = toytls_connect(server.port);
    kit_write(fd, first, sizeof first);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    other = toytls_connect(server.port);
    for (i = 0; i < TURNS; i++) {
        write_frame(other, 'e');
        read_frame(other, 'e');
    }
    ASSERT_TRUE(m.rounds > 1 && m.rounds < 100);
    ASSERT_TRUE(wawo_share_pause(m.paused->share, false));
    kit_write(fd, "t", 1);
    read_frame(fd, 'a');
    part(&server, fd);
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), 1 + TURNS + m.rounds);
    kit_close(other);
    party_close(&s, &server);
}

/* That is told at once: what would have to come before it cannot come any more. */
TEST_EACH_BACKEND(tls_fails_midway_in_a_pause, backend)
{
    uint8_t bytes[] = {'D', 0, 2, (uint8_t)~1, (uint8_t)~'a', 'T'};
    struct midway m = {.paused = NULL};
    struct stage s;
    struct party server;
    char answer;
    int fd;

    open_framed(&s, &server, backend, &m);
    fd = toytls_connect(server.port);
    kit_write(fd, bytes, sizeof bytes);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    kit_write(fd, "?", 1);
    ASSERT_EQ(kit_read(fd, &answer, 1), 1u);
    ASSERT_EQ(answer, 'A');
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_RECEIVE);
    ASSERT_EQ(server.error, EPROTO);
    party_close(&s, &server);
}

/* Behind a frame that is no one nothing is read, so what was to be sent never goes: it does not wait. */
TEST_EACH_BACKEND(tls_midway_behind_a_bad_frame, backend)
{
    uint8_t bytes[] = {'D', 0, 3, (uint8_t)~1, (uint8_t)~'e', (uint8_t)~200, 'T'};
    struct midway m = {.paused = NULL};
    struct stage s;
    struct party server;
    int fd;

    open_framed(&s, &server, backend, &m);
    fd = toytls_connect(server.port);
    kit_write(fd, bytes, sizeof bytes);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_RECEIVE);
    ASSERT_EQ(server.error, EMSGSIZE);
    kit_close(fd);
    party_close(&s, &server);
}

TEST(tls_seeds_and_their_mutations)
{
    fuzz_run(fuzz_tls, "tests/fuzz/seeds/tls", 500);
}
