/* Messages in several pieces: one run on the wire, one envelope, all or nothing, from the loop and from other threads. */
#include "support/stage.h"

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/err.h"
#include "mem/pool.h"
#include "net/endpoint.h"
#include "net/part.h"

#include <stdlib.h>

enum { KIB = 1024 };

/* Does something on the loop of a connection, in the callback of the byte that its peer sends for it, or here. */
typedef void (*deed)(struct party *p, struct wawo_share *s);

static uint32_t done; /* atomic */

static void hook_do(struct party *p, const struct wawo_event *e, struct actor *a)
{
    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    (*(deed *)p->arg)(p, e->share);
    wawo_add(&done, 1);
}

static void perform(struct party *server, int fd, bool foreign, deed what)
{
    wawo_store(&done, 0);
    if (foreign) {
        what(server, server->last);
        return;
    }
    server->arg = &what;
    if (server->framing.kind == WAWO_FRAMING_LENGTH)
        kit_write(fd, "\0\0\0\1!", 5);
    else
        kit_write(fd, "!", 1);
    KIT_UNTIL(wawo_load(&done) == 1);
}

static int open_one(struct stage *s, struct party *server, const char *backend, bool framed)
{
    int fd;

    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    server->hook = hook_do;
    if (framed)
        party_framed(server, 4, 100 * KIB);
    server->options.max_pending = 256 * KIB;
    party_start(server);
    fd = kit_connect(server->port);
    party_wait(server, WAWO_ON_HANDSHAKE, 1);
    return fd;
}

static void close_all(struct stage *s, struct party *server, int fd)
{
    kit_close(fd);
    party_finish(server);
    stage_close(s);
}

/* ---- each kind of piece ---- */

static uint8_t pattern[64 * KIB];

static struct wawo_chunk *chunk_of(size_t from, size_t len)
{
    struct wawo_chunk *c = wawo_chunk_new(len);

    ASSERT_NOT_NULL((void *)c);
    memcpy(c->data, pattern + from, len);
    c->used = len;
    return c;
}

/* The pattern from 0 to 60,000, in pieces of every kind. */
static void send_each_kind(struct party *p, struct wawo_share *s)
{
    struct wawo_file *file = wawo_file_new(kit_file(0, 40000), 20000, 20000);
    struct wawo_part parts[] = {
        {.data = pattern, .len = 0},
        {.data = pattern, .len = 10},
        {.data = pattern + 10, .len = 90},
        {.data = pattern + 100, .len = 4900, .loan = p->stage},
        {.data = pattern, .len = 0, .loan = p->stage},
        {.data = NULL, .len = 0, .chunk = chunk_of(5000, 5000)},
        {.data = pattern + 10000, .len = 10000},
        {.file = file},
        {.data = pattern + 40000, .len = 5},
        {.data = pattern + 40005, .len = 19995},
    };

    parts[5].data = parts[5].chunk->data;
    parts[5].len = 5000;
    ASSERT_EQ(wawo_share_send_parts(s, parts, sizeof parts / sizeof *parts), 1);
}

static void each_kind(const char *backend, bool foreign, bool framed)
{
    struct stage s;
    struct party server;
    uint8_t head[4];
    int fd = open_one(&s, &server, backend, framed);
    struct wawo_endpoint_stats st;

    kit_fill(pattern, sizeof pattern, 0);
    perform(&server, fd, foreign, send_each_kind);
    if (framed) {
        ASSERT_EQ(kit_read(fd, head, 4), 4u);
        ASSERT_MEMEQ(head, "\x00\x00\xea\x60", 4);
    }
    kit_read_pattern(fd, 0, 60000);
    KIT_UNTIL((wawo_endpoint_stats(server.endpoint, &st), st.bytes_out >= 60000)); /* counted behind the write */
    ASSERT_EQ(wawo_share_pending(server.last), 0u);
    ASSERT_EQ(st.messages_out, 1u);
    ASSERT_EQ(st.bytes_out, framed ? 60004u : 60000u);
    close_all(&s, &server, fd);
    ASSERT_EQ(s.loans_back, 2u);
    ASSERT_EQ(wawo_live_files(), 0u);
}

TEST_EACH_BACKEND(each_kind_on_the_loop, backend)
{
    each_kind(backend, false, false);
    each_kind(backend, false, true);
}

TEST_EACH_BACKEND(each_kind_from_another_thread, backend)
{
    each_kind(backend, true, false);
    each_kind(backend, true, true);
}

/* ---- nothing at all ---- */

static void send_nothing(struct party *p, struct wawo_share *s)
{
    struct wawo_part none[3] = {{.len = 0}};

    (void)p;
    ASSERT_EQ(wawo_share_send_parts(s, none, 3), 1);
    ASSERT_EQ(wawo_share_send_parts(s, NULL, 0), 1);
    ASSERT_EQ(wawo_share_send(s, "x", 1), 1);
}

TEST_EACH_BACKEND(of_no_bytes, backend)
{
    int foreign, framed;

    for (foreign = 0; foreign < 2; foreign++)
        for (framed = 0; framed < 2; framed++) {
            struct stage s;
            struct party server;
            uint8_t got[13];
            int fd = open_one(&s, &server, backend, framed != 0);

            perform(&server, fd, foreign != 0, send_nothing);
            ASSERT_EQ(kit_read(fd, got, framed ? 13 : 1), framed ? 13u : 1u);
            ASSERT_MEMEQ(got, framed ? "\0\0\0\0\0\0\0\0\0\0\0\1x" : "x", framed ? 13 : 1);
            close_all(&s, &server, fd);
        }
}

/* ---- refused ---- */

static void send_too_much(struct party *p, struct wawo_share *s)
{
    static uint8_t block[200 * KIB];
    struct wawo_chunk *c = chunk_of(0, 1000);
    struct wawo_file *file = wawo_file_new(kit_file(0, 100), 0, 100);
    struct wawo_part parts[] = {{.data = block, .len = sizeof block},
                                {.data = c->data, .len = 1000, .chunk = c},
                                {.file = file},
                                {.data = block, .len = sizeof block, .loan = p->stage}};

    ASSERT_EQ(wawo_share_send_parts(s, parts, 4), p->framing.kind == WAWO_FRAMING_RAW ? WAWO_ENOBUFS : WAWO_EMSGSIZE);
    ASSERT_TRUE(wawo_chunk_sole(c)); /* all is ours still */
    ASSERT_EQ(wawo_live_files(), 1u);
    wawo_chunk_drop(c);
    wawo_file_drop(file);
    ASSERT_EQ(wawo_share_pending(s), 0u);
}

static void send_to_a_closed_one(struct party *p, struct wawo_share *s)
{
    struct wawo_part parts[] = {{.data = pattern, .len = 5}, {.data = pattern, .len = 5000, .loan = p->stage}};

    ASSERT_TRUE(wawo_share_close(s));
    ASSERT_EQ(wawo_share_send_parts(s, parts, 2), 0);
}

TEST_EACH_BACKEND(refused_as_a_whole, backend)
{
    int foreign, framed;

    for (foreign = 0; foreign < 2; foreign++)
        for (framed = 0; framed < 2; framed++) {
            struct stage s;
            struct party server;
            int fd = open_one(&s, &server, backend, framed != 0);

            perform(&server, fd, foreign != 0, send_too_much);
            perform(&server, fd, foreign != 0, send_to_a_closed_one);
            ASSERT_EQ(kit_read_end(fd, NULL), 0);
            close_all(&s, &server, fd);
            ASSERT_EQ(s.loans_back, 0u);
        }
}

/* The n-th allocation fails: either all of the message arrives, or nothing of it. */
static uint32_t accepted;

static void send_short_of_memory(struct party *p, struct wawo_share *s)
{
    struct wawo_chunk *c;
    struct wawo_file *file;
    size_t n, calls;
    int rc;

    accepted = 0;
    for (n = 1;; n++) {
        c = chunk_of(4000, 1000);
        file = wawo_file_new(kit_file(0, 10000), 5000, 5000);
        struct wawo_part parts[] = {{.data = pattern, .len = 4000},
                                    {.data = c->data, .len = 1000, .chunk = c},
                                    {.file = file},
                                    {.data = pattern + 10000, .len = 9000, .loan = p->stage},
                                    {.data = pattern + 19000, .len = 1000}};

        wawo_alloc_fail_at(n);
        rc = wawo_share_send_parts(s, parts, 5);
        calls = wawo_alloc_calls();
        wawo_alloc_fail_at(0);
        if (rc == 1) {
            accepted++;
        } else {
            ASSERT_TRUE(rc == WAWO_ENOMEM || rc == WAWO_ENOBUFS);
            wawo_chunk_drop(c);
            wawo_file_drop(file);
        }
        if (calls < n && rc == 1)
            break;
    }
    ASSERT_GT(n, 1u);
}

static void short_of_memory(const char *backend, bool foreign)
{
    struct stage s;
    struct party server;
    uint32_t i;
    int fd = open_one(&s, &server, backend, false);

    kit_fill(pattern, sizeof pattern, 0);
    perform(&server, fd, foreign, send_short_of_memory);
    for (i = 0; i < accepted; i++)
        kit_read_pattern(fd, 0, 20000);
    KIT_UNTIL(wawo_share_pending(server.last) == 0);
    close_all(&s, &server, fd);
    ASSERT_EQ(s.loans_back, accepted);
    ASSERT_EQ(wawo_live_files(), 0u);
}

TEST_EACH_BACKEND(short_of_memory_on_the_loop, backend)
{
    short_of_memory(backend, false);
}

TEST_EACH_BACKEND(short_of_memory_on_another_thread, backend)
{
    short_of_memory(backend, true);
}

/* ---- whole among the messages of others ---- */

enum { SENDERS = 4, MESSAGES = 400 };

struct sender {
    struct wawo_share *share;
    uint8_t number;
};

static void send_main(void *arg)
{
    struct sender *me = arg;
    uint64_t seed = me->number;
    int64_t until = kit_deadline();
    uint8_t block[3 * 3000];
    uint32_t i, n, len[3];
    int rc;

    memset(block, me->number, sizeof block);
    for (i = 0; i < MESSAGES; i++) {
        for (n = 0; n < 3; n++)
            len[n] = 1 + kit_below(&seed, kit_below(&seed, 4) == 0 ? 3000 : 30);
        struct wawo_part parts[] = {
            {.data = block, .len = len[0]}, {.data = block, .len = len[1]}, {.data = block, .len = len[2]}};

        while ((rc = wawo_share_send_parts(me->share, parts, 3)) == WAWO_ENOBUFS)
            kit_tick(__FILE__, __LINE__, "room", until);
        ASSERT_EQ(rc, 1);
    }
}

TEST_EACH_BACKEND(whole_among_others, backend)
{
    struct stage s;
    struct party server;
    struct sender senders[SENDERS];
    struct wawo_thread t[SENDERS];
    uint8_t head[4], block[3 * 3000];
    uint32_t i, k, len, count[SENDERS] = {0};
    int fd = open_one(&s, &server, backend, true);

    for (i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){server.last, (uint8_t)i};
        kit_start(&t[i], send_main, &senders[i]);
    }
    for (i = 0; i < SENDERS * MESSAGES; i++) {
        ASSERT_EQ(kit_read(fd, head, 4), 4u);
        len = (uint32_t)head[2] << 8 | head[3];
        ASSERT_LE(len, sizeof block);
        ASSERT_EQ(kit_read(fd, block, len), len);
        for (k = 1; k < len; k++)
            ASSERT_EQ(block[k], block[0]);
        ASSERT_LT(block[0], (unsigned)SENDERS);
        count[block[0]]++;
    }
    for (i = 0; i < SENDERS; i++) {
        wawo_thread_join(&t[i]);
        ASSERT_EQ(count[i], (unsigned)MESSAGES);
    }
    close_all(&s, &server, fd);
}

/* ---- framings that look at what they send ---- */

TEST_EACH_BACKEND(who_looks_is_told, backend)
{
    struct stage s;
    struct party server;
    int fd = open_one(&s, &server, backend, true);

    ASSERT_FALSE(wawo_share_looks(server.last));
    server.endpoint->looks = true;
    ASSERT_TRUE(wawo_share_looks(server.last));
    ASSERT_TRUE(wawo_share_close(server.last));
    ASSERT_FALSE(wawo_share_looks(server.last)); /* and nothing can be sent either */
    close_all(&s, &server, fd);
}
