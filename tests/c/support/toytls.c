#include "support/toytls.h"

#include <stdlib.h>

#include "base/atomic.h"
#include "base/err.h"

enum { HEAD = 3 };

struct toy {
    struct wawo_tls_pipe *pipe;
    struct stage *inside; /* its functions are called inside the sink; NULL: anywhere */
    bool client, begun;
    size_t have;
    uint8_t record[HEAD + WAWO_TLS_RECORD]; /* as far as it has come */
};

static void turn(uint8_t *to, const uint8_t *from, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++)
        to[i] = (uint8_t)~from[i];
}

static void check_inside(const struct toy *t)
{
    if (t->inside != NULL)
        ASSERT_GT(wawo_load(&t->inside->entered), 0);
}

static int toy_attach(void *session, struct wawo_tls_pipe *pipe)
{
    struct toy *t = session;

    t->pipe = pipe;
    if (pipe == NULL)
        free(t);
    return 0;
}

/* Takes bytes until `want` are there. */
static bool gather(struct toy *t, size_t want)
{
    size_t n = wawo_min_size(want - t->have, t->pipe->len);

    if (n == 0)
        return t->have == want;
    memcpy(t->record + t->have, t->pipe->ptr, n);
    t->have += n;
    t->pipe->ptr += n;
    t->pipe->len -= n;
    return t->have == want;
}

static int fail(struct toy *t)
{
    t->pipe->code = 1;
    ASSERT_EQ(wawo_tls_put(t->pipe, "A", 1), 0);
    return WAWO_EPROTO;
}

static int toy_handshake(void *session)
{
    struct toy *t = session;

    check_inside(t);
    if (t->client && !t->begun)
        ASSERT_EQ(wawo_tls_put(t->pipe, "H", 1), 0);
    t->begun = true;
    if (!gather(t, 1))
        return 0;
    t->have = 0;
    if (t->record[0] != (t->client ? 'h' : 'H'))
        return fail(t);
    if (!t->client)
        ASSERT_EQ(wawo_tls_put(t->pipe, "h", 1), 0);
    return 1;
}

static ptrdiff_t toy_read(void *session, void *to, size_t room)
{
    struct toy *t = session;
    size_t len;

    check_inside(t);
    ASSERT_GE(room, (size_t)WAWO_TLS_RECORD);
    for (;;) {
        if (t->have < 1 && !gather(t, 1))
            return 0;
        if (t->record[0] == 'C')
            return WAWO_ECLOSED;
        if (t->record[0] != 'K')
            break;
        ASSERT_EQ(wawo_tls_put(t->pipe, "k", 1), 0);
        t->have = 0;
    }
    if (t->record[0] != 'D')
        return fail(t);
    if (t->have < HEAD && !gather(t, HEAD))
        return 0;
    len = (size_t)t->record[1] << 8 | t->record[2];
    if (len == 0 || len > WAWO_TLS_RECORD)
        return fail(t);
    if (!gather(t, HEAD + len))
        return 0;
    turn(to, t->record + HEAD, len);
    t->have = 0;
    return (ptrdiff_t)len;
}

static int toy_pending(void *session)
{
    (void)session;
    return 0;
}

static ptrdiff_t toy_write(void *session, const void *data, size_t len)
{
    static WAWO_THREAD_LOCAL uint8_t record[HEAD + WAWO_TLS_RECORD];
    struct toy *t = session;

    check_inside(t);
    ASSERT_GT(len, 0u);
    len = wawo_min_size(len, WAWO_TLS_RECORD);
    record[0] = 'D';
    record[1] = (uint8_t)(len >> 8);
    record[2] = (uint8_t)len;
    turn(record + HEAD, data, len);
    ASSERT_EQ(wawo_tls_put(t->pipe, record, HEAD + len), 0);
    return (ptrdiff_t)len;
}

static int toy_shutdown(void *session)
{
    struct toy *t = session;

    check_inside(t);
    return wawo_tls_put(t->pipe, "C", 1);
}

static void toy_rest(void *session)
{
    (void)session;
}

#define TOY(enters_)                                                                                                   \
    {.name = "toy",                                                                                                    \
     .enters = (enters_),                                                                                              \
     .attach = toy_attach,                                                                                             \
     .handshake = toy_handshake,                                                                                       \
     .read = toy_read,                                                                                                 \
     .pending = toy_pending,                                                                                           \
     .write = toy_write,                                                                                               \
     .shutdown = toy_shutdown,                                                                                         \
     .rest = toy_rest}

static const struct wawo_tls_ops toy = TOY(false), toy_inside = TOY(true);

static struct toy *toy_new(unsigned how, struct stage *inside)
{
    struct toy *t = calloc(1, sizeof *t);

    ASSERT_TRUE(t != NULL);
    t->client = (how & WAWO_TLS_CLIENT) != 0;
    t->inside = inside;
    return t;
}

void toytls_wrap(struct party *p, const struct wawo_event *e)
{
    unsigned how = p->role == WAWO_SERVER ? 0 : WAWO_TLS_CLIENT;

    ASSERT_EQ(wawo_share_secure(e->share, &toy, toy_new(how, NULL), how), 0);
}

void toytls_wrap_inside(struct party *p, const struct wawo_event *e)
{
    unsigned how = p->role == WAWO_SERVER ? 0 : WAWO_TLS_CLIENT;

    ASSERT_EQ(wawo_share_secure(e->share, &toy_inside, toy_new(how, p->stage), how), 0);
}

int toytls_start(struct wawo_share *s, unsigned how)
{
    struct toy *t = toy_new(how, NULL);
    int err = wawo_share_start_tls(s, &toy, t, how);

    if (err != 0)
        free(t);
    return err;
}

int toytls_connect(uint16_t port)
{
    int fd = kit_connect(port);
    char answer;

    kit_write(fd, "H", 1);
    ASSERT_EQ(kit_read(fd, &answer, 1), 1u);
    ASSERT_EQ(answer, 'h');
    return fd;
}

void toytls_write_pattern(int fd, uint64_t offset, size_t len)
{
    uint8_t record[HEAD + WAWO_TLS_RECORD] = {'D', (uint8_t)(len >> 8), (uint8_t)len};

    kit_fill(record + HEAD, len, offset);
    turn(record + HEAD, record + HEAD, len);
    kit_write(fd, record, HEAD + len);
}

size_t toytls_read(int fd, uint8_t record[WAWO_TLS_RECORD])
{
    uint8_t head[HEAD];
    size_t len;

    ASSERT_EQ(kit_read(fd, head, 1), 1u);
    if (head[0] == 'C')
        return 0;
    ASSERT_EQ(head[0], 'D');
    ASSERT_EQ(kit_read(fd, head + 1, 2), 2u);
    len = (size_t)head[1] << 8 | head[2];
    ASSERT_EQ(kit_read(fd, record, len), len);
    turn(record, record, len);
    return len;
}

void toytls_read_pattern(int fd, uint64_t offset, size_t len)
{
    uint8_t record[WAWO_TLS_RECORD];
    size_t n;

    for (; len > 0; len -= n, offset += n) {
        n = toytls_read(fd, record);
        ASSERT_TRUE(n > 0 && n <= len);
        KIT_CHECK(record, n, offset);
    }
}
