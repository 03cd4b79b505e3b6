/* Sessions of the real OpenSSL below the filter: both roles, bytes that come one by one, streams that end after each byte
 * of a handshake and of records, and memory that fails at each place, in ours and in OpenSSL's. */
#include "support/openssl.h"
#include "support/torture.h"

#include "base/err.h"

#include <stdlib.h>

enum { MESSAGE = 3000, FIRST = 100, SECOND = 200, WIRE_MAX = 8192 };

/* Of many cases each takes milliseconds: all of them with WAWO_LONG, else some. */
static size_t step_of(size_t some)
{
    return getenv("WAWO_LONG") != NULL ? 1 : some;
}

static void secure(struct party *p, struct stage *s, enum wawo_role role, party_hook hook)
{
    party_init(p, s, role);
    p->options.tls = true;
    p->options.handshake_timeout_ns = KIT_DEADLINE_S * WAWO_SEC;
    p->options.close_timeout_ns = WAWO_SEC;
    p->wrap = openssl_wrap;
    p->hook = hook;
    p->verify = true;
}

/* ---- between ourselves ---- */

static void between_ourselves(const char *backend, enum openssl_version version)
{
    struct stage s;
    struct party server, agent;
    struct wawo_share *share;

    openssl_open(version);
    stage_open(&s, backend, 2);
    secure(&server, &s, WAWO_SERVER, hook_echo);
    secure(&agent, &s, WAWO_AGENT, NULL);
    party_start(&server);
    party_start(&agent);
    share = party_connect(&agent, server.port);
    share_send_pattern(share, 0, 1 << 20, 10000);
    party_wait_bytes(&agent, 1 << 20);
    ASSERT_TRUE(wawo_share_close(share));
    party_wait(&server, WAWO_ON_CLOSE, 1);
    party_wait(&agent, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(agent.error, 0);
    wawo_share_drop(share);
    party_finish(&agent);
    party_close(&s, &server);
    openssl_close();
}

TEST_EACH_BACKEND(openssl_12_between_ourselves, backend)
{
    between_ourselves(backend, OPENSSL_TLS12);
}

TEST_EACH_BACKEND(openssl_13_between_ourselves, backend)
{
    between_ourselves(backend, OPENSSL_TLS13);
}

/* ---- memory ---- */

static void hook_answer(struct party *p, const struct wawo_event *e, struct actor *a)
{
    int rc;

    (void)p, (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    rc = wawo_share_send(e->share, e->ptr, e->len);
    ASSERT_TRUE(rc == 1 || rc == 0 || rc == WAWO_ENOMEM || rc == WAWO_ENOBUFS);
    if (rc != 1)
        (void)wawo_share_abort(e->share);
}

static void hook_ask(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint8_t bytes[MESSAGE];

    (void)p;
    if (e->kind == WAWO_ON_HANDSHAKE) {
        kit_fill(bytes, sizeof bytes, 0);
        if (wawo_share_send(e->share, bytes, sizeof bytes) != 1)
            (void)wawo_share_abort(e->share);
    }
    if (e->kind == WAWO_ON_RECEIVE && a->received == MESSAGE)
        (void)wawo_share_close(e->share);
}

/* A connection from its first byte to its last; true: all of it worked, and both ends say so. */
static bool one_life(struct party *agent, struct party *server)
{
    uint64_t ends = party_count(agent, WAWO_ON_CLOSE), bad = server->bad, stands;
    struct wawo_share *share = NULL;
    bool good;

    if (party_dial(agent, "127.0.0.1", server->port, 0, &share) != 0)
        return false;
    party_wait(agent, WAWO_ON_CLOSE, ends + 1);
    wawo_share_drop(share);
    torture_ended(server, 0);
    party_lock(agent);
    good = agent->error == 0 && agent->closed_received == MESSAGE && server->bad == bad;
    stands = agent->error != 0 || agent->closed_received == MESSAGE;
    party_unlock(agent);
    ASSERT_TRUE(stands); /* an end without an error is the end of everything */
    return good;
}

static bool scene_life(struct stage *s, const void *arg)
{
    struct party server, agent;
    bool good;

    (void)arg;
    secure(&server, s, WAWO_SERVER, hook_answer);
    secure(&agent, s, WAWO_AGENT, hook_ask);
    if (party_try_start(&server) != 0)
        return false;
    good = party_try_start(&agent) == 0;
    if (good) {
        good = one_life(&agent, &server);
        party_finish(&agent);
    }
    party_finish(&server);
    return good;
}

TEST(openssl_every_allocation_of_ours_fails)
{
    openssl_open(OPENSSL_TLS13);
    torture(NULL, 1, scene_life, NULL);
    openssl_close();
}

/* One engine for all: what fails is each allocation of the two sessions. */
static void allocations_of_openssl(enum openssl_version version)
{
    struct stage s;
    struct party server, agent;
    size_t n, tried = 0, failed = 0, step = step_of(17);
    bool good;

    openssl_open(version);
    stage_open(&s, NULL, 1);
    secure(&server, &s, WAWO_SERVER, hook_answer);
    secure(&agent, &s, WAWO_AGENT, hook_ask);
    party_start(&server);
    party_start(&agent);
    ASSERT_TRUE(one_life(&agent, &server)); /* what it keeps from its first use on */
    n = 1;
    do {
        openssl_fail_at(n);
        good = one_life(&agent, &server);
        failed += !good;
        tried++;
        n += step;
    } while (openssl_calls() >= n - step);
    openssl_fail_at(0);
    ASSERT_TRUE(good); /* nothing failed */
    ASSERT_GT(failed, tried / 4);
    party_finish(&agent);
    party_close(&s, &server);
    openssl_close();
}

TEST(openssl_12_every_allocation_of_its_own_fails)
{
    allocations_of_openssl(OPENSSL_TLS12);
}

TEST(openssl_13_every_allocation_of_its_own_fails)
{
    allocations_of_openssl(OPENSSL_TLS13);
}

/* ---- what comes in pieces, and ends anywhere ---- */

/* A peer, and the wire to ours. */
struct far {
    struct openssl_peer peer;
    int fd;
    size_t piece; /* bytes in one write */
    size_t left, sent; /* bytes that it may yet send, has sent */
    size_t at[4]; /* what it had sent when the handshake was done, each of two records, its goodbye */
};

/* Sends what is to be sent; false: no more is allowed. */
static bool give(struct far *f)
{
    uint8_t bytes[WIRE_MAX];
    size_t n = openssl_peer_take(&f->peer, bytes, sizeof bytes), most = wawo_min_size(n, f->left), done, some;

    ASSERT_LT(n, sizeof bytes);
    for (done = 0; done < most; done += some) {
        some = wawo_min_size(f->piece, most - done);
        kit_write(f->fd, bytes + done, some);
    }
    f->left -= most;
    f->sent += most;
    return most == n;
}

static void hear(struct far *f)
{
    uint8_t bytes[WIRE_MAX];
    ptrdiff_t n = wawo_os_recv(f->fd, bytes, sizeof bytes);

    ASSERT_GT(n, 0);
    openssl_peer_feed(&f->peer, bytes, (size_t)n);
}

/* Handshake, two records, goodbye, as far as `left` goes. */
static void talk(struct far *f, bool client)
{
    uint8_t bytes[FIRST + SECOND];
    bool more = true, done;

    kit_fill(bytes, sizeof bytes, 0);
    openssl_peer_init(&f->peer, client);
    do {
        done = openssl_peer_shake(&f->peer);
        more = give(f);
        if (more && !done)
            hear(f);
    } while (more && !done);
    f->at[0] = f->sent;
    if (more) {
        openssl_peer_seal(&f->peer, bytes, FIRST);
        more = give(f);
        f->at[1] = f->sent;
    }
    if (more) {
        openssl_peer_seal(&f->peer, bytes + FIRST, SECOND);
        more = give(f);
        f->at[2] = f->sent;
    }
    if (more) {
        openssl_peer_part(&f->peer);
        (void)give(f);
        f->at[3] = f->sent;
    }
    openssl_peer_fini(&f->peer);
}

/* One party of ours, and where its peers come from. */
struct place {
    struct stage stage;
    struct party ours;
    int listener; /* of the peers, when we are the agent */
    uint16_t port;
    uint64_t ends;
};

static void place_open(struct place *w, const char *backend, enum openssl_version version, enum wawo_role role)
{
    openssl_open(version);
    stage_open(&w->stage, backend, 1);
    secure(&w->ours, &w->stage, role, NULL);
    party_start(&w->ours);
    w->ends = 0;
    if (role != WAWO_SERVER)
        w->listener = kit_listen(&w->port);
}

static void place_close(struct place *w)
{
    if (w->ours.role != WAWO_SERVER)
        kit_close(w->listener);
    party_close(&w->stage, &w->ours);
    openssl_close();
}

static void meet(struct place *w, struct far *f, size_t piece, size_t most)
{
    bool client = w->ours.role == WAWO_SERVER;

    *f = (struct far){.piece = piece, .left = most};
    if (!client)
        ASSERT_EQ(party_dial(&w->ours, "127.0.0.1", w->port, 0, NULL), 0);
    f->fd = client ? kit_connect(w->ours.port) : kit_accept(w->listener);
    talk(f, client);
}

/* It ends there, and ours says so. */
static void leave(struct place *w, struct far *f, bool reset)
{
    if (reset)
        kit_reset(f->fd);
    else
        kit_shutdown(f->fd);
    party_wait(&w->ours, WAWO_ON_CLOSE, ++w->ends);
    if (!reset)
        kit_close(f->fd);
}

TEST_EACH_BACKEND(openssl_byte_by_byte, backend)
{
    static const enum wawo_role roles[] = {WAWO_SERVER, WAWO_AGENT};
    struct place w;
    struct far f;
    int i;

    for (i = 0; i < 4; i++) {
        place_open(&w, backend, i < 2 ? OPENSSL_TLS12 : OPENSSL_TLS13, roles[i % 2]);
        meet(&w, &f, 1, SIZE_MAX);
        leave(&w, &f, false);
        ASSERT_EQ(w.ours.error, 0);
        ASSERT_EQ(w.ours.closed_received, FIRST + SECOND);
        place_close(&w);
    }
}

/* After `n` bytes: what was whole has come, the rest has not, and the end has the reason that it should have. */
static void cut(struct place *w, const struct far *whole, size_t n, bool reset)
{
    uint64_t shaken = party_count(&w->ours, WAWO_ON_HANDSHAKE);
    size_t wanted = n >= whole->at[2] ? FIRST + SECOND : n >= whole->at[1] ? FIRST : 0;
    bool stands;
    struct far f;

    meet(w, &f, SIZE_MAX, n);
    leave(w, &f, reset);
    stands = party_count(&w->ours, WAWO_ON_HANDSHAKE) > shaken;
    if (reset) { /* which may overtake what was sent */
        ASSERT_TRUE(w->ours.error == ECONNRESET || n >= whole->at[3]);
        ASSERT_LE(w->ours.closed_received, wanted);
        return;
    }
    ASSERT_EQ(w->ours.closed_received, wanted);
    ASSERT_EQ(w->ours.error, n < whole->at[3] ? EPROTO : 0);
    ASSERT_TRUE(stands || n < whole->at[0]);
    if (n >= whole->at[3])
        ASSERT_EQ(w->ours.operation, WAWO_OP_CLOSE);
    else if (stands)
        ASSERT_EQ(w->ours.operation, WAWO_OP_RECEIVE);
    else
        ASSERT_EQ(w->ours.operation, w->ours.role == WAWO_SERVER ? WAWO_OP_ACCEPT : WAWO_OP_CONNECT);
}

static void cut_everywhere(const char *backend, enum openssl_version version, enum wawo_role role)
{
    struct place w;
    struct far whole;
    size_t n, step = step_of(37);

    place_open(&w, backend, version, role);
    openssl_give_no_tickets(); /* each handshake is as long as that of the whole */
    meet(&w, &whole, SIZE_MAX, SIZE_MAX);
    leave(&w, &whole, false);
    for (n = 0; n < whole.sent; n += step) {
        cut(&w, &whole, n, false);
        cut(&w, &whole, n, true);
    }
    for (n = 0; n < 4; n++) {
        cut(&w, &whole, whole.at[n], false);
        cut(&w, &whole, whole.at[n] - 1, false);
    }
    place_close(&w);
}

TEST_EACH_BACKEND(openssl_12_server_cut_anywhere, backend)
{
    cut_everywhere(backend, OPENSSL_TLS12, WAWO_SERVER);
}

TEST_EACH_BACKEND(openssl_13_server_cut_anywhere, backend)
{
    cut_everywhere(backend, OPENSSL_TLS13, WAWO_SERVER);
}

TEST_EACH_BACKEND(openssl_12_agent_cut_anywhere, backend)
{
    cut_everywhere(backend, OPENSSL_TLS12, WAWO_AGENT);
}

TEST_EACH_BACKEND(openssl_13_agent_cut_anywhere, backend)
{
    cut_everywhere(backend, OPENSSL_TLS13, WAWO_AGENT);
}
