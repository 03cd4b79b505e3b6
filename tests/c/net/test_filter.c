/* A chain of filters: two length filters one above the other, so that each message has two headers on the wire. */
#include "support/fuzz.h"
#include "support/stage.h"

#include "fuzz/fuzz.h"

#include "base/err.h"
#include "net/endpoint.h"

enum { OUTER = 2, INNER = 4, MESSAGES = 40 };

/* Puts a second filter above the framing's, before anybody connects. */
static void stack(struct party *p)
{
    p->endpoint->filters[1] = p->endpoint->filters[0];
    p->endpoint->filters[1].length.size = INNER;
    p->endpoint->filter_count = 2;
}

static void open_stacked(struct stage *s, struct party *server, const char *backend)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    party_framed(server, OUTER, 1000);
    server->hook = hook_echo;
    server->verify = true;
    party_start(server);
    stack(server);
}

/* Message i, with both headers; returns its size. */
static size_t put(uint8_t *p, size_t len, uint64_t offset)
{
    memset(p, 0, OUTER + INNER);
    p[0] = (uint8_t)((len + INNER) >> 8);
    p[1] = (uint8_t)(len + INNER);
    p[OUTER + 2] = (uint8_t)(len >> 8);
    p[OUTER + 3] = (uint8_t)len;
    kit_fill(p + OUTER + INNER, len, offset);
    return OUTER + INNER + len;
}

static size_t put_all(uint8_t *wire)
{
    uint64_t offset = 0;
    size_t at = 0, i;

    for (i = 0; i < MESSAGES; i++) {
        at += put(wire + at, i * 7, offset);
        offset += i * 7;
    }
    return at;
}

static void echoed(const char *backend, size_t piece)
{
    uint8_t wire[MESSAGES * (MESSAGES * 7 + OUTER + INNER)], back[sizeof wire];
    size_t len = put_all(wire), at, n;
    struct stage s;
    struct party server;
    int fd;

    open_stacked(&s, &server, backend);
    fd = kit_connect(server.port);
    for (at = 0; at < len; at += n) {
        n = len - at < piece ? len - at : piece;
        kit_write(fd, wire + at, n);
    }
    ASSERT_EQ(kit_read(fd, back, len), len);
    ASSERT_MEMEQ(back, wire, len);
    party_wait(&server, WAWO_ON_RECEIVE, MESSAGES);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    party_finish(&server);
    stage_close(&s);
}

TEST_EACH_BACKEND(two_filters_whole, backend)
{
    echoed(backend, 1 << 20);
}

TEST_EACH_BACKEND(two_filters_in_pieces, backend)
{
    echoed(backend, 5);
}

/* What the upper filter refuses ends the connection; the messages before it are delivered. */
TEST_EACH_BACKEND(two_filters_upper_limit, backend)
{
    uint8_t wire[64];
    struct stage s;
    struct party server;
    size_t len;
    int fd;

    open_stacked(&s, &server, backend);
    server.endpoint->filters[1].length.max = 8;
    fd = kit_connect(server.port);
    len = put(wire, 8, 0);
    len += put(wire + len, 9, 8);
    len += put(wire + len, 1, 17);
    kit_write(fd, wire, len);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd); /* it would wait for our FIN */
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), 1);
    ASSERT_EQ(server.error, EMSGSIZE);
    ASSERT_EQ(server.operation, WAWO_OP_RECEIVE);
    party_finish(&server);
    stage_close(&s);
}

TEST_EACH_BACKEND(two_filters_cut_off, backend)
{
    uint8_t wire[64];
    struct stage s;
    struct party server;
    size_t len;
    int fd;

    open_stacked(&s, &server, backend);
    fd = kit_connect(server.port);
    len = put(wire, 8, 0);
    kit_write(fd, wire, len - 1);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), 0);
    ASSERT_EQ(server.error, EBADMSG);
    party_finish(&server);
    stage_close(&s);
}

TEST(seeds_and_their_mutations)
{
    fuzz_run(fuzz_filter, "tests/fuzz/seeds/filter", 1500);
}
