#include "support/toytls.h"

#include "base/atomic.h"

static void check_inside(void *arg)
{
    const struct stage *s = arg;

    ASSERT_GT(wawo_load(&s->entered), 0);
}

static void wrap(struct party *p, const struct wawo_event *e, const struct wawo_tls_ops *ops, void (*called)(void *arg))
{
    unsigned how = p->role == WAWO_SERVER ? 0 : WAWO_TLS_CLIENT;
    struct toy *t = toy_new(how != 0);

    t->called = called;
    t->arg = p->stage;
    ASSERT_EQ(wawo_share_secure(e->share, ops, t, how), 0);
}

void toytls_wrap(struct party *p, const struct wawo_event *e)
{
    wrap(p, e, &toy_ops, NULL);
}

void toytls_wrap_inside(struct party *p, const struct wawo_event *e)
{
    wrap(p, e, &toy_ops_inside, check_inside);
}

int toytls_start(struct wawo_share *s, unsigned how)
{
    struct toy *t = toy_new((how & WAWO_TLS_CLIENT) != 0);
    int err = wawo_share_start_tls(s, &toy_ops, t, how);

    if (err != 0)
        toy_free(t);
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
    uint8_t record[TOY_HEAD + WAWO_TLS_RECORD] = {'D', (uint8_t)(len >> 8), (uint8_t)len};

    kit_fill(record + TOY_HEAD, len, offset);
    toy_turn(record + TOY_HEAD, record + TOY_HEAD, len);
    kit_write(fd, record, TOY_HEAD + len);
}

size_t toytls_read(int fd, uint8_t record[WAWO_TLS_RECORD])
{
    uint8_t head[TOY_HEAD];
    size_t len;

    ASSERT_EQ(kit_read(fd, head, 1), 1u);
    if (head[0] == 'C')
        return 0;
    ASSERT_EQ(head[0], 'D');
    ASSERT_EQ(kit_read(fd, head + 1, 2), 2u);
    len = (size_t)head[1] << 8 | head[2];
    ASSERT_EQ(kit_read(fd, record, len), len);
    toy_turn(record, record, len);
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
