/* LengthPrefixed over real sockets: split everywhere, many in one read, over its limit, cut off. */
#include "support/stage.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

/* The sink's pattern check sees the messages' payloads one after the other. */
static void open_framed(struct stage *s, struct party *server, const char *backend, unsigned size, uint64_t max,
                        bool little)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    party_framed(server, size, max);
    server->framing.little = little;
    server->verify = true;
    party_start(server);
}

/* One frame; returns its size. */
static size_t put_frame(uint8_t *p, unsigned size, bool little, size_t len, uint64_t offset)
{
    unsigned i;

    for (i = 0; i < size; i++)
        p[little ? i : size - 1 - i] = (uint8_t)(i < 8 ? (uint64_t)len >> (8 * i) : 0);
    kit_fill(p + size, len, offset);
    return size + len;
}

static void split_everywhere(const char *backend, unsigned size, bool little)
{
    static const size_t lens[] = {5, 0, 1, 0, 0, 7};
    struct stage s;
    struct party server;
    uint8_t wire[128];
    size_t at = 0, cut, i;
    uint64_t messages = 0, bytes = 0, offset;
    struct wawo_endpoint_stats st;
    int fd;

    open_framed(&s, &server, backend, size, 100, little);
    for (offset = 0, i = 0; i < 6; i++) {
        at += put_frame(wire + at, size, little, lens[i], offset);
        offset += lens[i];
    }
    for (cut = 0; cut <= at; cut++) {
        fd = kit_connect(server.port);
        kit_write(fd, wire, cut);
        do /* until the first part was read, or the kernel would join them */
            wawo_endpoint_stats(server.endpoint, &st);
        while (st.bytes_in < bytes + cut);
        kit_write(fd, wire + cut, at - cut);
        bytes += at;
        messages += 6;
        party_wait(&server, WAWO_ON_RECEIVE, messages);
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, cut + 1);
        ASSERT_EQ(server.error, 0);
        ASSERT_EQ(server.closed_received, offset);
    }
    party_close(&s, &server);
}

TEST_EACH_BACKEND(split_at_every_byte_2, backend)
{
    split_everywhere(backend, 2, false);
}

TEST_EACH_BACKEND(split_at_every_byte_3_little, backend)
{
    split_everywhere(backend, 3, true);
}

TEST_EACH_BACKEND(split_at_every_byte_4, backend)
{
    split_everywhere(backend, 4, false);
}

TEST_EACH_BACKEND(split_at_every_byte_8, backend)
{
    split_everywhere(backend, 8, false);
}

TEST_EACH_BACKEND(one_byte_at_a_time, backend)
{
    struct stage s;
    struct party server;
    uint8_t wire[64];
    size_t n, i;
    int fd;

    open_framed(&s, &server, backend, 4, 100, false);
    n = put_frame(wire, 4, false, 9, 0);
    n += put_frame(wire + n, 4, false, 0, 9);
    n += put_frame(wire + n, 4, false, 20, 9);
    fd = kit_connect(server.port);
    for (i = 0; i < n; i++) {
        struct wawo_endpoint_stats st;

        kit_write(fd, wire + i, 1);
        do
            wawo_endpoint_stats(server.endpoint, &st);
        while (st.bytes_in < i + 1);
    }
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(server.count[WAWO_ON_RECEIVE], 3u);
    ASSERT_EQ(server.closed_received, 29u);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(many_in_one_read, backend)
{
    enum { MANY = 30000 };
    struct stage s;
    struct party server;
    uint8_t *wire = malloc(MANY * 4);
    size_t n = 0;
    uint64_t offset = 0;
    int fd, i;

    for (i = 0; i < MANY; i++) {
        size_t len = (size_t)i % 3;

        n += put_frame(wire + n, 2, false, len, offset);
        offset += len;
    }
    open_framed(&s, &server, backend, 2, 100, false);
    fd = kit_connect(server.port);
    kit_write(fd, wire, n);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(server.count[WAWO_ON_RECEIVE], (unsigned)MANY);
    ASSERT_EQ(server.closed_received, offset);
    free(wire);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(sizes_around_a_chunk, backend)
{
    static const size_t lens[] = {4095, 4096, 65535, 65536, 131000, 131072, 131073, 500000, 1, 1 << 20};
    struct stage s;
    struct party server;
    uint8_t *wire = malloc(2 << 20);
    uint64_t offset = 0;
    size_t i, n;
    int fd;

    open_framed(&s, &server, backend, 4, 1 << 20, false);
    fd = kit_connect(server.port);
    for (i = 0; i < sizeof lens / sizeof *lens; i++) {
        n = put_frame(wire, 4, false, lens[i], offset);
        offset += lens[i];
        kit_write(fd, wire, n);
    }
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    ASSERT_EQ(server.count[WAWO_ON_RECEIVE], 10u);
    ASSERT_EQ(server.closed_received, offset);
    free(wire);
    party_close(&s, &server);
}

/* The messages before the bad one are delivered, then the connection ends. */
static void over_limit(const char *backend, size_t cut)
{
    struct stage s;
    struct party server;
    uint8_t wire[256];
    struct wawo_endpoint_stats st;
    size_t n;
    int fd;

    open_framed(&s, &server, backend, 4, 50, false);
    n = put_frame(wire, 4, false, 10, 0);
    n += put_frame(wire + n, 4, false, 50, 10);
    n += put_frame(wire + n, 4, false, 51, 60);
    fd = kit_connect(server.port);
    kit_write(fd, wire, cut);
    do
        wawo_endpoint_stats(server.endpoint, &st);
    while (st.bytes_in < cut);
    kit_write(fd, wire + cut, n - cut);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_RECEIVE);
    ASSERT_EQ(server.error, EMSGSIZE);
    ASSERT_EQ(server.count[WAWO_ON_RECEIVE], 2u);
    ASSERT_EQ(server.closed_received, 60u);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(over_limit_in_one_read, backend)
{
    over_limit(backend, 0);
}

TEST_EACH_BACKEND(over_limit_with_its_header_cut, backend)
{
    over_limit(backend, 4 + 10 + 4 + 50 + 2);
}

TEST_EACH_BACKEND(cut_off_is_a_bad_message, backend)
{
    struct stage s;
    struct party server;
    uint8_t wire[64];
    size_t n;
    int fd;

    open_framed(&s, &server, backend, 4, 50, false);
    n = put_frame(wire, 4, false, 10, 0);
    n += put_frame(wire + n, 4, false, 20, 10) - 1;
    fd = kit_connect(server.port);
    kit_write(fd, wire, n);
    kit_shutdown(fd);
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.operation, WAWO_OP_RECEIVE);
    ASSERT_EQ(server.error, EBADMSG);
    ASSERT_EQ(server.count[WAWO_ON_RECEIVE], 1u);
    party_close(&s, &server);
}

/* A bad frame while the user has paused: what came before it is delivered on resume, then the end. */
static void hook_pause_first(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)p;
    if (e->kind == WAWO_ON_RECEIVE && a->messages == 1)
        ASSERT_TRUE(wawo_share_pause(e->share, true));
}

TEST_EACH_BACKEND(over_limit_behind_a_pause, backend)
{
    struct stage s;
    struct party server;
    uint8_t wire[256];
    size_t n = 0;
    uint64_t i;
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    party_framed(&server, 2, 50);
    server.verify = true;
    server.hook = hook_pause_first;
    party_start(&server);
    for (i = 0; i < 5; i++)
        n += put_frame(wire + n, 2, false, 10, i * 10);
    n += put_frame(wire + n, 2, false, 51, 50);
    fd = kit_connect(server.port);
    kit_write(fd, wire, n);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    for (i = 0; i < 10; i++)
        kit_tick(__FILE__, __LINE__, "", INT64_MAX);
    ASSERT_EQ(party_count(&server, WAWO_ON_CLOSE), 0u);
    ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), 1u);
    ASSERT_TRUE(wawo_share_pause(server.last, false));
    ASSERT_EQ(kit_read_end(fd, NULL), 0);
    kit_close(fd); /* it would wait for our FIN */
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, EMSGSIZE);
    ASSERT_EQ(server.closed_received, 50u);
    party_close(&s, &server);
}

TEST_EACH_BACKEND(sent_messages_get_their_envelope, backend)
{
    struct stage s;
    struct party server;
    uint8_t got[16], *big = calloc(1, 70000);
    int fd;

    open_framed(&s, &server, backend, 2, 65535, true);
    fd = kit_connect(server.port);
    party_wait(&server, WAWO_ON_ACCEPT, 1);
    ASSERT_EQ(wawo_share_send(server.last, "hello", 5), 1);
    ASSERT_EQ(wawo_share_send(server.last, "", 0), 1);
    ASSERT_EQ(kit_read(fd, got, 9), 9u);
    ASSERT_MEMEQ(got, "\5\0hello\0\0", 9);
    ASSERT_EQ(wawo_share_send(server.last, big, 65536), WAWO_EMSGSIZE);
    ASSERT_EQ(wawo_share_send(server.last, big, 65535), 1);
    ASSERT_EQ(kit_read(fd, got, 2), 2u);
    ASSERT_MEMEQ(got, "\377\377", 2);
    ASSERT_EQ(kit_read(fd, big, 65535), 65535u);
    kit_close(fd);
    free(big);
    party_close(&s, &server);
}

TEST(parameters_that_make_no_sense)
{
    struct stage s;
    struct party server;

    stage_open(&s, NULL, 1);
    party_init(&server, &s, WAWO_AGENT);
    party_framed(&server, 5, 10);
    ASSERT_EQ(party_try_start(&server), WAWO_EINVAL);
    party_framed(&server, 2, 65536);
    ASSERT_EQ(party_try_start(&server), WAWO_EINVAL);
    server.framing.kind = 99;
    ASSERT_EQ(party_try_start(&server), WAWO_EINVAL);
    stage_close(&s);
}
