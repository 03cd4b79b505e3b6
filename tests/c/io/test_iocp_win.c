/* What only the backend over completion ports meets: ports of others, and operations that outlive their sock. */
#include "support/rig.h"

#include "base/err.h"
#include "base/os_win.h"

enum { MIB = 1024 * 1024 };

static void attach_foreign(struct rig *r, struct wawo_sock *s, int fd, HANDLE port)
{
    ASSERT_TRUE(CreateIoCompletionPort((HANDLE)wawo_os_handle(fd), port, 0, 0) == port);
    rig_attach(r, s, fd);
}

/* Its answers would go there and be waited for here for ever: every order is refused instead. */
TEST(a_socket_in_another_port)
{
    HANDLE port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 1);
    struct rig *r = rig_open("iocp", MIB);
    struct wawo_addr to;
    struct wawo_sock s;
    uint16_t at;
    int pair[2];

    kit_pair(pair);
    attach_foreign(r, &s, pair[0], port);
    r->ops->recv_start(r->backend, &s);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_RECV).error, WAWO_EINVAL);
    rig_queue(r, &s, 0, 10);
    ASSERT_EQ(r->ops->send(r->backend, &s), WAWO_EINVAL);
    rig_detach(r, &s, false);
    kit_close(pair[1]);

    attach_foreign(r, &s, kit_listen(&at), port);
    r->ops->accept_start(r->backend, &s);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_ACCEPTED).error, WAWO_EINVAL);
    rig_detach(r, &s, false);

    ASSERT_EQ(wawo_addr_parse(&to, "127.0.0.1", 9), 0);
    attach_foreign(r, &s, wawo_os_socket(WAWO_AF_INET), port);
    r->ops->connect(r->backend, &s, &to);
    ASSERT_EQ(rig_next(r, &s, WAWO_DONE_CONNECTED).error, WAWO_EINVAL);
    rig_detach(r, &s, false);
    rig_close(r);
    ASSERT_TRUE(CloseHandle(port));
}

/* The receive that waited is nobody's then; who comes next under the same number is in no port yet. */
TEST(released_and_closed_by_the_caller)
{
    struct rig *r = rig_open("iocp", MIB);
    struct wawo_sock s;
    int pair[2], fd, i;

    for (i = 0; i < 20; i++) {
        kit_pair(pair);
        rig_attach(r, &s, pair[0]);
        r->ops->recv_start(r->backend, &s);
        rig_turn(r, 0);
        fd = r->ops->release(r->backend, &s);
        wawo_table_close(&r->table, s.id);
        kit_close(fd);
        kit_close(pair[1]);
        kit_pair(pair);
        rig_attach(r, &s, pair[0]);
        r->ops->recv_start(r->backend, &s);
        kit_write_pattern(pair[1], 0, 10);
        rig_receive(r, &s, 0, 10);
        if (i % 2)
            rig_turn(r, 0);
        rig_detach(r, &s, false);
        kit_close(pair[1]);
    }
    rig_close(r); /* what is still under way comes home first */
}

TEST(idle_connections_hold_no_chunk)
{
    enum { MANY = 50 };
    struct rig *r = rig_open("iocp", MIB);
    static struct wawo_sock s[MANY];
    struct wawo_pool_stats st;
    int pair[MANY][2], i;

    for (i = 0; i < MANY; i++) {
        kit_pair(pair[i]);
        rig_attach(r, &s[i], pair[i][0]);
        r->ops->recv_start(r->backend, &s[i]);
    }
    rig_turn(r, 0);
    wawo_pool_stats(r->heap.pool, &st);
    ASSERT_EQ(st.used, 0u);
    for (i = 0; i < MANY; i++) {
        rig_detach(r, &s[i], i % 2 != 0);
        kit_close(pair[i][1]);
    }
    rig_close(r);
}

/* A few connections are taken ahead of time; they are told of, also after a stop, and never too many. */
TEST(accepted_ahead_of_a_stop)
{
    enum { MANY = 60 };
    struct rig *r = rig_open("iocp", MIB);
    struct wawo_sock l;
    int fds[MANY], i, got = 0;
    uint16_t port;

    rig_attach(r, &l, kit_listen(&port));
    r->ops->accept_start(r->backend, &l);
    rig_turn(r, 0);
    for (i = 0; i < MANY; i++)
        fds[i] = kit_connect(port);
    r->ops->accept_stop(r->backend, &l);
    for (i = 0; i < 5; i++)
        rig_turn(r, 2 * WAWO_MSEC);
    for (; rig_has(r, &l); got++)
        kit_close(rig_next(r, &l, WAWO_DONE_ACCEPTED).fd);
    ASSERT_LE(got, (int)WAWO_ACCEPT_BURST);
    r->ops->accept_start(r->backend, &l);
    for (; got < MANY; got++)
        kit_close(rig_next(r, &l, WAWO_DONE_ACCEPTED).fd);
    rig_quiet(r, &l);
    rig_detach(r, &l, false);
    for (i = 0; i < MANY; i++)
        kit_close(fds[i]);
    rig_close(r);
}
