/* Short scenes with the n-th allocation failing, for every n: each framing, messages in pieces, fan-out, the PROXY header
 * and the census, what is held back, what other threads send. After each: every byte that was accepted has arrived, or
 * its connection ended with a code. */
#include "support/torture.h"

#include "base/atomic.h"
#include "base/err.h"

#include <errno.h>

enum { ROOM = 8192 };

static int refused; /* atomic: sends that were not accepted */

static void must_send(int rc, struct wawo_share *s)
{
    if (rc == 1)
        return;
    ASSERT_TRUE(rc == WAWO_ENOMEM || rc == WAWO_ENOBUFS || rc == 0);
    (void)wawo_add(&refused, 1);
    (void)wawo_share_close(s);
}

static bool was_refused(void)
{
    return wawo_load(&refused) > 0;
}

static bool open_server(struct party *p, struct stage *s, party_hook hook)
{
    wawo_store(&refused, 0);
    party_init(p, s, WAWO_SERVER);
    p->hook = hook;
    p->options.close_timeout_ns = WAWO_SEC;
    return true;
}

/* ---- framings: what came goes back ---- */

struct sample {
    struct wawo_framing framing;
    const char *wire;
    size_t len;
};

#define WIRE(text) text, sizeof text - 1

static const struct sample samples[] = {
    {{.kind = WAWO_FRAMING_RAW}, WIRE("any bytes")},
    {{.kind = WAWO_FRAMING_PULL, .max_size = 100}, WIRE("bytes that wait until they are fetched")},
    {{.kind = WAWO_FRAMING_LENGTH, .field_size = 2, .max_size = 9}, WIRE("\0\2hi\0\0\0\11ninebytes")},
    {{.kind = WAWO_FRAMING_FIELD, .offset = 1, .field_size = 2, .adjust = -3, .strip = 0, .max_size = 9},
     WIRE("T\0\5hiU\0\3T\0\5ya")},
    {{.kind = WAWO_FRAMING_FIELD, .field_size = 0, .strip = -1, .max_size = 200}, WIRE("\2hi\0\1x")},
    {{.kind = WAWO_FRAMING_PACK, .flag = 0x169, .max_size = 5}, WIRE("\2\0\x40\x5axy\1\0\x40\x5az")},
    {{.kind = WAWO_FRAMING_MARKS, .end_len = 2, .end = "\r\n", .max_size = 8}, WIRE("hello\r\n\r\neight888\r\n")},
    {{.kind = WAWO_FRAMING_MARKS, .start_len = 2, .start = "<<", .end_len = 2, .end = ">>", .max_size = 8},
     WIRE("<<hi>><<>><<a>b>>")},
    {{.kind = WAWO_FRAMING_FIXED, .max_size = 3}, WIRE("onetwosix")},
    {{.kind = WAWO_FRAMING_PACKET, .max_size = 8}, WIRE("^^\0\0\0\2hi^^\0\0\0\1x")},
};

static void hook_back(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint8_t bytes[64];
    size_t n;

    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    if (p->framing.kind != WAWO_FRAMING_PULL) {
        must_send(wawo_share_send(e->share, e->ptr, e->len), e->share);
        return;
    }
    n = wawo_share_unread(e->share);
    ASSERT_EQ(wawo_share_fetch(e->share, bytes, n, true), 1);
    must_send(wawo_share_send(e->share, bytes, n), e->share);
}

/* The first byte comes alone, so that the first frame is put together from two reads. */
static size_t talk(uint16_t port, const char *wire, size_t len, uint8_t *got)
{
    int fd = kit_connect(port);
    size_t n;

    (void)wawo_os_send(fd, wire, 1);
    (void)wawo_os_send(fd, wire + 1, len - 1);
    (void)wawo_os_shutdown_write(fd);
    n = torture_read(fd, got, ROOM);
    kit_close(fd);
    return n;
}

static bool scene_framing(struct stage *s, const void *arg)
{
    const struct sample *x = arg;
    struct party server;
    uint8_t got[ROOM];
    size_t len;
    bool good;

    open_server(&server, s, hook_back);
    server.framing = x->framing;
    if (party_try_start(&server) != 0)
        return false;
    len = talk(server.port, x->wire, x->len, got);
    torture_ended(&server, 1);
    good = torture_compare(&server, got, len, x->wire, x->len, was_refused());
    party_finish(&server);
    return good;
}

TEST(every_allocation_fails_in_each_framing)
{
    size_t i;

    for (i = 0; i < sizeof samples / sizeof *samples; i++)
        torture(NULL, 1, scene_framing, &samples[i]);
}

/* ---- messages in pieces, and what is held back ---- */

/* Three ways to give bytes away: copied, lent, as part of what was received. */
static void hook_pieces(struct party *p, const struct wawo_event *e, struct actor *a)
{
    static const char lent[] = "lent";
    struct wawo_part parts[3] = {
        {.data = "copied ", .len = 7}, {.data = lent, .len = 4}, {.data = e->ptr, .len = e->len}};
    int rc;

    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    parts[1].loan = p->stage;
    parts[2].chunk = e->chunk;
    wawo_chunk_hold(e->chunk);
    rc = wawo_share_send_parts(e->share, parts, 3);
    if (rc != 1)
        wawo_chunk_drop(e->chunk);
    must_send(rc, e->share);
}

static bool scene_pieces(struct stage *s, const void *arg)
{
    struct party server;
    uint8_t got[ROOM];
    size_t len;
    bool good;

    (void)arg;
    open_server(&server, s, hook_pieces);
    party_framed(&server, 1, 100);
    if (party_try_start(&server) != 0)
        return false;
    len = talk(server.port, WIRE("\3abc"), got);
    torture_ended(&server, 1);
    good = torture_compare(&server, got, len, WIRE("\16copied lentabc"), was_refused());
    party_finish(&server);
    return good;
}

TEST(every_allocation_fails_with_messages_in_pieces)
{
    torture(NULL, 1, scene_pieces, NULL);
}

/* The first message pauses: what came behind it is held, and goes back once it is resumed. */
static void hook_hold(struct party *p, const struct wawo_event *e, struct actor *a)
{
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    if (a->scratch[0]++ == 0)
        (void)wawo_share_pause(e->share, true);
    hook_back(p, e, a);
}

static bool scene_held(struct stage *s, const void *arg)
{
    static const char wire[] = "\1a\1b\1c\1d";
    struct party server;
    struct wawo_share *share;
    uint8_t got[ROOM];
    size_t len;
    bool good;
    int fd;

    (void)arg;
    open_server(&server, s, hook_hold);
    party_framed(&server, 1, 100);
    if (party_try_start(&server) != 0)
        return false;
    fd = kit_connect(server.port);
    (void)wawo_os_send(fd, wire, sizeof wire - 1);
    (void)wawo_os_shutdown_write(fd);
    if (torture_accepted(&server, 1)) {
        share = party_last(&server);
        KIT_UNTIL(wawo_share_paused(share) || party_count(&server, WAWO_ON_CLOSE) > 0);
        (void)wawo_share_pause(share, false);
        wawo_share_drop(share);
    }
    len = torture_read(fd, got, sizeof got);
    kit_close(fd);
    torture_ended(&server, 1);
    good = torture_compare(&server, got, len, wire, sizeof wire - 1, was_refused());
    party_finish(&server);
    return good;
}

TEST(every_allocation_fails_with_messages_held_back)
{
    torture(NULL, 1, scene_held, NULL);
}

/* ---- from other threads ---- */

static bool scene_posts(struct stage *s, const void *arg)
{
    static const char lent[] = "lent ", wanted[] = "sent lent in parts";
    struct wawo_part parts[2] = {{.data = "in ", .len = 3}, {.data = "parts", .len = 5}};
    struct party server;
    struct wawo_share *share;
    uint8_t got[ROOM];
    size_t len;
    bool good;
    int fd;

    (void)arg;
    open_server(&server, s, NULL);
    if (party_try_start(&server) != 0)
        return false;
    fd = kit_connect(server.port);
    if (torture_accepted(&server, 1)) {
        share = party_last(&server);
        must_send(wawo_share_send(share, "sent ", 5), share);
        if (!was_refused())
            must_send(wawo_share_lend(share, lent, 5, NULL, s), share);
        if (!was_refused())
            must_send(wawo_share_send_parts(share, parts, 2), share);
        (void)wawo_share_flush(share);
        (void)wawo_share_close(share);
        wawo_share_drop(share);
    }
    len = torture_read(fd, got, sizeof got);
    kit_close(fd);
    torture_ended(&server, 1);
    good = torture_compare(&server, got, len, wanted, sizeof wanted - 1, was_refused());
    party_finish(&server);
    return good;
}

TEST(every_allocation_fails_with_posts_of_another_thread)
{
    torture(NULL, 1, scene_posts, NULL);
}

/* ---- fan-out ---- */

enum { AUDIENCE = 3 };

/* One message from a thread that runs no loop, one from a loop of two; then all ends. */
static void hook_cast(struct party *p, const struct wawo_event *e, struct actor *a)
{
    ptrdiff_t n;

    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    n = wawo_endpoint_broadcast(p->endpoint, "from a loop", 11, NULL, 0, false);
    ASSERT_TRUE(n >= 0 || n == WAWO_ENOMEM);
    (void)wawo_add(&refused, n < AUDIENCE);
    wawo_endpoint_stop(p->endpoint, 0);
}

static bool scene_fanout(struct stage *s, const void *arg)
{
    static const char wanted[] = "from outside from a loop";
    uint8_t got[AUDIENCE][64];
    size_t len[AUDIENCE];
    struct party server;
    int fds[AUDIENCE], i;
    bool good;

    (void)arg;
    open_server(&server, s, hook_cast);
    if (party_try_start(&server) != 0)
        return false;
    for (i = 0; i < AUDIENCE; i++)
        fds[i] = kit_connect(server.port);
    good = torture_accepted(&server, AUDIENCE);
    if (wawo_endpoint_broadcast(server.endpoint, "from outside ", 13, NULL, 0, false) < AUDIENCE)
        (void)wawo_add(&refused, 1);
    (void)wawo_os_send(fds[0], "now", 3);
    for (i = 0; i < AUDIENCE; i++) {
        len[i] = torture_read(fds[i], got[i], sizeof got[i]);
        wawo_endpoint_stop(server.endpoint, 0); /* the first one ended: the rest does too */
    }
    if (good)
        torture_ended(&server, AUDIENCE);
    for (i = 0; i < AUDIENCE; i++) {
        if (good && !was_refused())
            good = torture_compare(&server, got[i], len[i], wanted, sizeof wanted - 1, false) && good;
        kit_close(fds[i]);
    }
    party_finish(&server);
    return good && !was_refused();
}

TEST(every_allocation_fails_in_a_broadcast)
{
    torture(NULL, 2, scene_fanout, NULL);
}

/* ---- the PROXY header and the census ---- */

static bool scene_proxy(struct stage *s, const void *arg)
{
    static const char header[] = "PROXY TCP4 10.1.2.3 10.1.2.4 1000 80\r\n";
    struct wawo_endpoint_stats st;
    struct party server;
    uint8_t got[ROOM];
    int fds[2], i;
    size_t len;
    bool good;

    (void)arg;
    open_server(&server, s, hook_back);
    server.options.proxy_protocol = true;
    server.options.max_per_address = 1;
    if (party_try_start(&server) != 0)
        return false;
    for (i = 0; i < 2; i++) { /* the header in two reads; the second one is of the same address */
        fds[i] = kit_connect(server.port);
        (void)wawo_os_send(fds[i], header, 9);
        do
            wawo_endpoint_stats(server.endpoint, &st);
        while (st.bytes_in < 9 && st.rejected == 0);
        (void)wawo_os_send(fds[i], header + 9, sizeof header - 10);
        if (!torture_accepted(&server, 1))
            break;
    }
    (void)wawo_os_send(fds[0], "hello", 5);
    (void)wawo_os_shutdown_write(fds[0]);
    len = torture_read(fds[0], got, sizeof got);
    ASSERT_LE(len, 5u);
    ASSERT_MEMEQ(got, "hello", len);
    good = len == 5 && i == 2 && torture_read(fds[1], got, sizeof got) == 0;
    wawo_endpoint_stats(server.endpoint, &st);
    good = good && st.rejected_address == 1;
    for (i = i == 2 ? 1 : i; i >= 0; i--)
        kit_close(fds[i]);
    party_finish(&server);
    return good;
}

TEST(every_allocation_fails_behind_a_proxy)
{
    torture(NULL, 1, scene_proxy, NULL);
}

/* ---- dialling ---- */

/* Each attempt's descriptor is shown first, and goes out from an address of its own; both ends are framed. */
static bool scene_dial(struct stage *s, const void *arg)
{
    struct party server, agent;
    struct wawo_endpoint_stats st;
    bool good;

    (void)arg;
    open_server(&server, s, hook_back);
    party_framed(&server, 2, 100);
    server.options.max_per_address = 5;
    if (party_try_start(&server) != 0)
        return false;
    party_init(&agent, s, WAWO_AGENT);
    party_framed(&agent, 2, 100);
    agent.mask |= 1u << WAWO_ON_PREPARE_CONNECT | 1u << WAWO_ON_SEND;
    if (party_try_start(&agent) != 0) {
        party_finish(&server);
        return false;
    }
    good = party_dial_from(&agent, "127.0.0.1", server.port, "127.0.0.7") == 0;
    if (good) {
        do
            wawo_endpoint_stats(server.endpoint, &st);
        while (party_count(&agent, WAWO_ON_CONNECT) + party_count(&agent, WAWO_ON_CLOSE) == 0 ||
               (st.accepts + st.rejected == 0 && party_count(&agent, WAWO_ON_CLOSE) == 0));
        good = party_count(&agent, WAWO_ON_CONNECT) == 1 && st.accepts == 1;
    }
    party_finish(&agent);
    party_finish(&server);
    return good;
}

TEST(every_allocation_fails_on_the_way_out)
{
    torture(NULL, 2, scene_dial, NULL);
}
