/* The look-alike has the facts of kqueue that the poller relies on. */
#include "support/kit.h"

#include <errno.h>
#include <sys/event.h>
#include <unistd.h>

static const struct timespec AT_ONCE = {0, 0};

static int change(int kq, int fd, int filter, int flags)
{
    struct kevent c;

    EV_SET(&c, (uintptr_t)fd, (short)filter, (unsigned short)flags, 0, 0, NULL);
    return kevent(kq, &c, 1, NULL, 0, NULL) == 0 ? 0 : errno;
}

static int look(int kq, struct kevent *events, int room)
{
    return kevent(kq, NULL, 0, events, room, &AT_ONCE);
}

TEST(level_triggered_unless_clear)
{
    int kq = kqueue(), fds[2];
    struct kevent e[4];

    kit_pair(fds);
    ASSERT_EQ(change(kq, fds[0], EVFILT_READ, EV_ADD), 0);
    ASSERT_EQ(look(kq, e, 4), 0);
    kit_write(fds[1], "abc", 3);
    ASSERT_EQ(kevent(kq, NULL, 0, e, 4, NULL), 1);
    ASSERT_EQ(e[0].ident, (uintptr_t)fds[0]);
    ASSERT_EQ(e[0].filter, EVFILT_READ);
    ASSERT_EQ(e[0].data, 3);
    ASSERT_EQ(e[0].flags & (EV_EOF | EV_ERROR), 0);
    ASSERT_EQ(look(kq, e, 4), 1);
    ASSERT_EQ(change(kq, fds[0], EVFILT_READ, EV_ADD | EV_CLEAR), 0); /* the same filter, changed */
    ASSERT_EQ(look(kq, e, 4), 1);
    ASSERT_EQ(look(kq, e, 4), 0);
    ASSERT_EQ(change(kq, fds[0], EVFILT_READ, EV_DELETE), 0);
    ASSERT_EQ(change(kq, fds[0], EVFILT_READ, EV_DELETE), ENOENT);
    kit_close(fds[0]);
    kit_close(fds[1]);
    kit_close(kq);
}

TEST(the_end_of_a_stream_with_unread_bytes)
{
    int kq = kqueue(), fds[2];
    struct kevent e[4];
    char bytes[8];

    kit_pair(fds);
    ASSERT_EQ(change(kq, fds[0], EVFILT_READ, EV_ADD), 0);
    kit_write(fds[1], "last", 4);
    kit_shutdown(fds[1]);
    do
        ASSERT_EQ(kevent(kq, NULL, 0, e, 4, NULL), 1);
    while (!(e[0].flags & EV_EOF));
    ASSERT_EQ(e[0].data, 4);
    ASSERT_EQ(e[0].fflags, 0u);
    ASSERT_EQ(kit_read(fds[0], bytes, 4), 4u);
    ASSERT_EQ(look(kq, e, 4), 1);
    ASSERT_TRUE(e[0].flags & EV_EOF);
    ASSERT_EQ(change(kq, fds[0], EVFILT_WRITE, EV_ADD), 0);
    ASSERT_EQ(look(kq, e, 4), 2); /* two filters, two events */
    kit_close(fds[1]);
    kit_close(fds[0]);
    kit_close(kq);
}

TEST(a_reset_has_an_error)
{
    int kq = kqueue(), fds[2];
    struct kevent e[4];

    kit_pair(fds);
    ASSERT_EQ(change(kq, fds[0], EVFILT_READ, EV_ADD), 0);
    kit_reset(fds[1]);
    ASSERT_EQ(kevent(kq, NULL, 0, e, 4, NULL), 1);
    ASSERT_TRUE(e[0].flags & EV_EOF);
    ASSERT_NE(e[0].fflags, 0u);
    ASSERT_EQ(wawo_os_socket_error(fds[0]), -ECONNRESET); /* looking did not take it */
    kit_close(fds[0]);
    kit_close(kq);
}

TEST(errors_and_receipts_come_instead_of_events)
{
    int kq = kqueue(), fds[2], dead;
    struct kevent c[2], e[4];

    kit_pair(fds);
    kit_write(fds[1], "x", 1);
    dead = dup(fds[0]);
    kit_close(dead);
    EV_SET(&c[0], (uintptr_t)dead, EVFILT_READ, EV_ADD, 0, 0, NULL);
    EV_SET(&c[1], (uintptr_t)fds[0], EVFILT_READ, EV_ADD, 0, 0, NULL);
    ASSERT_EQ(kevent(kq, c, 2, e, 4, NULL), 1); /* does not wait, and all changes are applied */
    ASSERT_EQ(e[0].flags & EV_ERROR, EV_ERROR);
    ASSERT_EQ(e[0].data, EBADF);
    ASSERT_EQ(e[0].ident, (uintptr_t)dead);
    ASSERT_EQ(look(kq, e, 4), 1);
    ASSERT_EQ(kevent(kq, c, 1, e, 0, &AT_ONCE), -1); /* no room for it */
    ASSERT_EQ(errno, EBADF);
    c[1].flags = EV_ADD | EV_RECEIPT;
    ASSERT_EQ(kevent(kq, &c[1], 1, e, 4, NULL), 1);
    ASSERT_EQ(e[0].flags & EV_ERROR, EV_ERROR);
    ASSERT_EQ(e[0].data, 0);
    c[1].udata = c;
    ASSERT_EQ(kevent(kq, &c[1], 1, e, 4, NULL), 1);
    ASSERT_EQ(e[0].data, EINVAL); /* what it does not know it refuses */
    kit_close(fds[0]);
    kit_close(fds[1]);
    kit_close(kq);
}

TEST(a_closed_number_is_forgotten)
{
    int kq = kqueue(), fds[2], other;
    struct kevent e[4];

    kit_pair(fds);
    kit_write(fds[1], "x", 1);
    other = dup(fds[0]);
    ASSERT_EQ(change(kq, fds[0], EVFILT_READ, EV_ADD), 0);
    kit_close(fds[0]);
    ASSERT_EQ(look(kq, e, 4), 0); /* though the open file lives on */
    ASSERT_EQ(dup(other), fds[0]);
    ASSERT_EQ(change(kq, fds[0], EVFILT_READ, EV_DELETE), ENOENT);
    kit_close(fds[0]);
    kit_close(other);
    kit_close(fds[1]);
    kit_close(kq);
}

TEST(a_wake_up_fires_once)
{
    unsigned before = kit_open_fds();
    int kq = kqueue();
    struct kevent c, e[4];

    EV_SET(&c, 0, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
    ASSERT_EQ(kevent(kq, &c, 1, NULL, 0, NULL), -1);
    ASSERT_EQ(errno, ENOENT);
    ASSERT_EQ(change(kq, 0, EVFILT_USER, EV_ADD | EV_CLEAR), 0);
    ASSERT_EQ(look(kq, e, 4), 0);
    ASSERT_EQ(kevent(kq, &c, 1, NULL, 0, NULL), 0);
    ASSERT_EQ(kevent(kq, &c, 1, NULL, 0, NULL), 0);
    ASSERT_EQ(kevent(kq, NULL, 0, e, 4, NULL), 1);
    ASSERT_EQ(e[0].filter, EVFILT_USER);
    ASSERT_EQ(look(kq, e, 4), 0);
    kit_close(kq);
    ASSERT_EQ(kit_open_fds(), before);
}
