/* Every framing over real sockets: an echo of the same bytes, for what OnReceive gets is what send takes; split at every
 * byte, several in one read, cut off, malformed. The codecs' own tests stand in proto/. */
#include "support/stage.h"

#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

struct sample {
    const char *name;
    struct wawo_framing framing;
    const char *wire; /* whole messages */
    size_t len;
    unsigned messages;
    const char *bad; /* ends the connection with `error` behind them */
    size_t bad_len;
    int error;
};

#define BYTES(text) text, sizeof text - 1
#define MARKS(a, b) .start_len = sizeof a - 1, .end_len = sizeof b - 1, .start = a, .end = b

static const struct sample samples[] = {
    {"length",
     {.kind = WAWO_FRAMING_LENGTH, .field_size = 2, .max_size = 9},
     BYTES("\0\2hi\0\0\0\11ninebytes"),
     3,
     BYTES("\0\12"),
     EMSGSIZE},
    {"field",
     {.kind = WAWO_FRAMING_FIELD, .offset = 1, .field_size = 2, .adjust = -3, .strip = 0, .max_size = 9},
     BYTES("T\0\5hiU\0\3T\0\11"
           "123456"),
     3,
     BYTES("T\0\2"),
     EBADMSG},
    {"field, little",
     {.kind = WAWO_FRAMING_FIELD, .field_size = 4, .little = true, .strip = -1, .max_size = 9},
     BYTES("\2\0\0\0hi\0\0\0\0\11\0\0\0ninebytes"),
     3,
     BYTES("\12\0\0\0"),
     EMSGSIZE},
    {"varint",
     {.kind = WAWO_FRAMING_FIELD, .field_size = 0, .strip = -1, .max_size = 200},
     BYTES("\2hi\0\1x"),
     3,
     BYTES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
     EMSGSIZE},
    {"varint in its message",
     {.kind = WAWO_FRAMING_FIELD, .offset = 1, .field_size = 0, .max_size = 200},
     BYTES("\x30\2hi\xc0\0\x30\1x"),
     3,
     BYTES("\x30\xff\x7f"),
     EMSGSIZE},
    {"pack",
     {.kind = WAWO_FRAMING_PACK, .flag = 0x169, .max_size = 5},
     BYTES("\2\0\x40\x5axy\1\0\x40\x5az\5\0\x40\x5a"
           "five!"),
     3,
     BYTES("\0\0\x40\x5a"),
     EMSGSIZE},
    {"pack, flag",
     {.kind = WAWO_FRAMING_PACK, .flag = 0x169, .max_size = 5},
     BYTES("\2\0\x40\x5axy"),
     1,
     BYTES("\2\0\0\0"),
     EBADMSG},
    {"delimited",
     {.kind = WAWO_FRAMING_MARKS, MARKS("", "\r\n"), .max_size = 8},
     BYTES("hello\r\n\r\na\rb\nc\r\neight888\r\n"),
     4,
     BYTES("ninebytes\r\n"),
     EMSGSIZE},
    {"between",
     {.kind = WAWO_FRAMING_MARKS, MARKS("<<", ">>"), .max_size = 8},
     BYTES("<<hi>><<>><<a>b>>"),
     3,
     BYTES("x"),
     EBADMSG},
    {"fixed", {.kind = WAWO_FRAMING_FIXED, .max_size = 3}, BYTES("onetwosix"), 3, NULL, 0, 0},
    {"packet",
     {.kind = WAWO_FRAMING_PACKET, .max_size = 8},
     BYTES("^^\0\0\0\2hi^^\0\0\0\1x^^\0\0\0\10eight888"),
     3,
     BYTES("^_"),
     EBADMSG},
};
enum { SAMPLES = sizeof samples / sizeof samples[0] };

static void open_server(struct stage *s, struct party *server, const char *backend, const struct sample *x)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    server->framing = x->framing;
    server->options.close_timeout_ns = WAWO_SEC / 10;
    server->hook = hook_echo;
    party_start(server);
}

static void read_wire(int fd, const struct sample *x)
{
    char got[64];

    ASSERT_EQ(kit_read(fd, got, x->len), x->len);
    ASSERT_MEMEQ(got, x->wire, x->len);
}

static void split_everywhere(const char *backend, const struct sample *x)
{
    struct stage s;
    struct party server;
    struct wawo_endpoint_stats st;
    uint64_t bytes = 0;
    size_t cut;
    int fd;

    open_server(&s, &server, backend, x);
    for (cut = 0; cut < x->len; cut++) {
        fd = kit_connect(server.port);
        kit_write(fd, x->wire, cut);
        do /* until the first part was read, or the kernel would join them */
            wawo_endpoint_stats(server.endpoint, &st);
        while (st.bytes_in < bytes + cut);
        kit_write(fd, x->wire + cut, x->len - cut);
        read_wire(fd, x);
        kit_close(fd);
        bytes += x->len;
        party_wait(&server, WAWO_ON_CLOSE, cut + 1);
        ASSERT_EQ(server.error, 0);
        ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), x->messages * (cut + 1));
    }
    party_close(&s, &server);
}

TEST_EACH_BACKEND(split_at_every_byte, backend)
{
    size_t i;

    for (i = 0; i < SAMPLES; i++)
        split_everywhere(backend, &samples[i]);
}

TEST_EACH_BACKEND(one_byte_at_a_time, backend)
{
    struct wawo_endpoint_stats st;
    struct stage s;
    struct party server;
    size_t i, k;
    int fd;

    for (i = 0; i < SAMPLES; i++) {
        open_server(&s, &server, backend, &samples[i]);
        fd = kit_connect(server.port);
        for (k = 0; k < samples[i].len; k++) {
            kit_write(fd, samples[i].wire + k, 1);
            do
                wawo_endpoint_stats(server.endpoint, &st);
            while (st.bytes_in < k + 1);
        }
        read_wire(fd, &samples[i]);
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, 1);
        ASSERT_EQ(server.error, 0);
        party_close(&s, &server);
    }
}

/* More of them in one read than a batch has room for. */
TEST_EACH_BACKEND(thousands_in_one_write, backend)
{
    enum { TIMES = 1500 };
    struct stage s;
    struct party server;
    char *wire, *got;
    size_t i, k, len;
    int fd;

    for (i = 0; i < SAMPLES; i++) {
        const struct sample *x = &samples[i];

        len = x->len * TIMES;
        wire = malloc(len);
        got = malloc(len);
        for (k = 0; k < TIMES; k++)
            memcpy(wire + k * x->len, x->wire, x->len);
        open_server(&s, &server, backend, x);
        fd = kit_connect(server.port);
        kit_write(fd, wire, len);
        ASSERT_EQ(kit_read(fd, got, len), len);
        ASSERT_MEMEQ(got, wire, len);
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, 1);
        ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), (uint64_t)x->messages * TIMES);
        party_close(&s, &server);
        free(wire);
        free(got);
    }
}

/* All before it is answered, then the connection ends with the documented errno. */
TEST_EACH_BACKEND(malformed_behind_good_ones, backend)
{
    struct stage s;
    struct party server;
    size_t i;
    int fd;

    for (i = 0; i < SAMPLES; i++) {
        const struct sample *x = &samples[i];
        char wire[64];

        if (x->bad == NULL)
            continue;
        open_server(&s, &server, backend, x);
        fd = kit_connect(server.port);
        memcpy(wire, x->wire, x->len);
        memcpy(wire + x->len, x->bad, x->bad_len);
        kit_write(fd, wire, x->len + x->bad_len);
        read_wire(fd, x);
        ASSERT_EQ(kit_read_end(fd, NULL), 0);
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, 1);
        ASSERT_EQ(server.operation, WAWO_OP_RECEIVE);
        ASSERT_EQ(server.error, x->error);
        ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), x->messages);
        party_close(&s, &server);
    }
}

TEST_EACH_BACKEND(cut_off_in_the_middle, backend)
{
    struct stage s;
    struct party server;
    size_t i;
    int fd;

    for (i = 0; i < SAMPLES; i++) {
        open_server(&s, &server, backend, &samples[i]);
        fd = kit_connect(server.port);
        kit_write(fd, samples[i].wire, samples[i].len - 1);
        kit_shutdown(fd);
        party_wait(&server, WAWO_ON_CLOSE, 1);
        kit_close(fd); /* not before: unread echoes would make a reset of it */
        ASSERT_EQ(server.operation, WAWO_OP_RECEIVE);
        ASSERT_EQ(server.error, EBADMSG);
        ASSERT_EQ(party_count(&server, WAWO_ON_RECEIVE), samples[i].messages - 1);
        party_close(&s, &server);
    }
}

/* A message that cannot be sent is refused, and the connection goes on. */
TEST_EACH_BACKEND(refused_on_our_side, backend)
{
    static const struct {
        unsigned sample;
        const char *data;
        size_t len;
        int rc;
    } cases[] = {
        {0, BYTES("ten bytes!"), WAWO_EMSGSIZE}, {1, BYTES("T\0\4hi"), WAWO_EBADMSG},
        {4, BYTES("\x30\5hi"), WAWO_EBADMSG},    {5, BYTES(""), WAWO_EMSGSIZE},
        {5, BYTES("sixsix"), WAWO_EMSGSIZE},     {7, BYTES("a\r\nb"), WAWO_EBADMSG},
        {7, BYTES("ninebytes"), WAWO_EMSGSIZE},  {8, BYTES("a>>"), WAWO_EBADMSG},
        {8, BYTES("a>"), WAWO_EBADMSG},          {9, BYTES("four"), WAWO_EBADMSG},
        {10, BYTES(""), WAWO_EBADMSG},
    };
    struct wawo_share *share;
    struct stage s;
    struct party server;
    size_t i;
    int fd;

    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct sample *x = &samples[cases[i].sample];

        open_server(&s, &server, backend, x);
        fd = kit_connect(server.port);
        party_wait(&server, WAWO_ON_ACCEPT, 1);
        share = party_last(&server);
        ASSERT_EQ(wawo_share_send(share, cases[i].data, cases[i].len), cases[i].rc);
        ASSERT_EQ(wawo_share_pending(share), 0u);
        kit_write(fd, x->wire, x->len);
        read_wire(fd, x);
        wawo_share_drop(share);
        kit_close(fd);
        party_wait(&server, WAWO_ON_CLOSE, 1);
        ASSERT_EQ(server.error, 0);
        party_close(&s, &server);
    }
}
