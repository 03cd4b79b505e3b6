/* Pull: what came waits until it is fetched; too much of it pauses receiving. */
#include "support/stage.h"

#include "base/atomic.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

static void open_pull(struct stage *s, struct party *server, const char *backend, size_t max, party_hook hook)
{
    stage_open(s, backend, 1);
    party_init(server, s, WAWO_SERVER);
    server->framing = (struct wawo_framing){.kind = WAWO_FRAMING_PULL, .max_size = max};
    server->hook = hook;
    party_start(server);
}

/* Fetches messages that have their length in the first byte and echoes each; peeks, all or nothing. */
static void hook_fetch_messages(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint8_t buf[256], byte;
    size_t before;

    (void)p;
    (void)a;
    if (e->kind != WAWO_ON_RECEIVE)
        return;
    ASSERT_EQ(e->len, wawo_share_unread(e->share));
    while (wawo_share_fetch(e->share, &byte, 1, false) == 1) {
        before = wawo_share_unread(e->share);
        if (wawo_share_fetch(e->share, buf, 1u + byte, true) == 0) {
            ASSERT_EQ(wawo_share_unread(e->share), before);
            break;
        }
        ASSERT_EQ(wawo_share_unread(e->share), before - 1 - byte);
        ASSERT_EQ(wawo_share_send(e->share, buf, 1u + byte), 1);
    }
}

TEST_EACH_BACKEND(messages_byte_by_byte, backend)
{
    static const char wire[] = "\5hello\0\3abc\1x";
    const size_t len = sizeof wire - 1;
    struct wawo_endpoint_stats st;
    char got[sizeof wire];
    struct stage s;
    struct party server;
    size_t i;
    int fd;

    open_pull(&s, &server, backend, 100, hook_fetch_messages);
    fd = kit_connect(server.port);
    for (i = 0; i < len; i++) {
        kit_write(fd, wire + i, 1);
        do
            wawo_endpoint_stats(server.endpoint, &st);
        while (st.bytes_in < i + 1);
    }
    ASSERT_EQ(kit_read(fd, got, len), len);
    ASSERT_MEMEQ(got, wire, len);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    party_close(&s, &server);
}

/* Takes nothing before all of it is there, which is more than may lie unread at once. */
enum { MAX = 4000, TOTAL = 500000 };

static void hook_fetch_when_full(struct party *p, const struct wawo_event *e, struct actor *a)
{
    static uint8_t buf[MAX];
    int *fetched = p->arg;

    if (e->kind != WAWO_ON_RECEIVE || e->len < MAX)
        return;
    ASSERT_EQ(wawo_share_fetch(e->share, buf, MAX + 200 * 1024, true), WAWO_EMSGSIZE);
    while (wawo_share_fetch(e->share, buf, MAX, true) == 1) {
        KIT_CHECK(buf, MAX, a->scratch[0]);
        a->scratch[0] += MAX;
        wawo_add(fetched, MAX);
    }
    ASSERT_EQ(wawo_share_fetch(e->share, buf, 0, true), 1);
}

TEST_EACH_BACKEND(goes_on_when_there_is_room_again, backend)
{
    struct stage s;
    struct party server;
    int fetched = 0, fd;

    open_pull(&s, &server, backend, MAX, hook_fetch_when_full);
    server.arg = &fetched;
    fd = kit_connect(server.port);
    kit_write_pattern(fd, 0, TOTAL);
    KIT_UNTIL(wawo_load(&fetched) == TOTAL);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    party_close(&s, &server);
}

/* What nobody fetches is kept up to the limit and what was under way, one read or a few; the rest stays with the kernel and the peer. */
TEST_EACH_BACKEND(nobody_fetches, backend)
{
    enum { PIECE = 65536, READ_MAX = 128 * 1024 };
    struct wawo_endpoint_stats st;
    struct stage s;
    struct party server;
    uint8_t *bytes = calloc(1, PIECE);
    ptrdiff_t n;
    size_t sent = 0;
    int fd;

    open_pull(&s, &server, backend, MAX, NULL);
    fd = kit_connect(server.port);
    while ((n = os_send_now(fd, bytes, PIECE)) > 0)
        sent += (size_t)n;
    ASSERT_EQ(n, WAWO_AGAIN);
    ASSERT_GT(sent, 4u * READ_MAX);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    wawo_endpoint_stats(server.endpoint, &st);
    ASSERT_GE(st.bytes_in, MAX);
    ASSERT_LE(st.bytes_in, MAX + 3 * READ_MAX);
    free(bytes);
    kit_reset(fd);
    party_stop(&server, 0);
    party_close(&s, &server);
}

static void hook_try_from_elsewhere(void *arg)
{
    struct wawo_share *share = arg;
    uint8_t byte;

    ASSERT_EQ(wawo_share_unread(share), 0u);
    ASSERT_EQ(wawo_share_fetch(share, &byte, 1, true), WAWO_ECLOSED);
}

TEST_EACH_BACKEND(only_on_its_loop_and_only_with_pull, backend)
{
    struct wawo_share *share;
    struct stage s;
    struct party server;
    int fd;

    open_pull(&s, &server, backend, MAX, NULL);
    fd = kit_connect(server.port);
    kit_write(fd, "x", 1);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    share = party_last(&server);
    hook_try_from_elsewhere(share);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    hook_try_from_elsewhere(share);
    wawo_share_drop(share);
    party_close(&s, &server);
}

static void hook_fetch_raw(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint8_t byte;

    (void)p;
    (void)a;
    if (e->kind == WAWO_ON_RECEIVE) {
        ASSERT_EQ(wawo_share_unread(e->share), 0u);
        ASSERT_EQ(wawo_share_fetch(e->share, &byte, 1, true), WAWO_ENOTSUP);
    }
}

TEST_EACH_BACKEND(another_framing_has_nothing_to_fetch, backend)
{
    struct stage s;
    struct party server;
    int fd;

    stage_open(&s, backend, 1);
    party_init(&server, &s, WAWO_SERVER);
    server.hook = hook_fetch_raw;
    party_start(&server);
    fd = kit_connect(server.port);
    kit_write(fd, "x", 1);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    kit_close(fd);
    party_finish(&server);
    stage_close(&s);
}

/* Paused by the user in the middle: the notices wait, the bytes stay in order, and a fetch meanwhile does not resume. */
static void hook_pause_first(struct party *p, const struct wawo_event *e, struct actor *a)
{
    uint8_t byte;
    int *seen = p->arg;

    if (e->kind != WAWO_ON_RECEIVE)
        return;
    if (a->messages == 1) {
        ASSERT_TRUE(wawo_share_pause(e->share, true));
        ASSERT_EQ(wawo_share_fetch(e->share, &byte, 1, true), 1);
        ASSERT_EQ(byte, kit_byte(0));
        wawo_add(seen, 1);
        return;
    }
    while (wawo_share_fetch(e->share, &byte, 1, true) == 1)
        ASSERT_EQ(byte, kit_byte((uint64_t)wawo_add(seen, 1)));
}

TEST_EACH_BACKEND(pause_by_the_user, backend)
{
    struct wawo_share *share;
    struct stage s;
    struct party server;
    int seen = 0, fd;

    open_pull(&s, &server, backend, MAX, hook_pause_first);
    server.arg = &seen;
    fd = kit_connect(server.port);
    kit_write_pattern(fd, 0, 10);
    party_wait(&server, WAWO_ON_RECEIVE, 1);
    kit_write_pattern(fd, 10, 3000);
    share = party_last(&server);
    KIT_UNTIL(wawo_load(&seen) == 1);
    ASSERT_TRUE(wawo_share_pause(share, false));
    KIT_UNTIL(wawo_load(&seen) == 3010);
    wawo_share_drop(share);
    kit_close(fd);
    party_wait(&server, WAWO_ON_CLOSE, 1);
    ASSERT_EQ(server.error, 0);
    party_close(&s, &server);
}
