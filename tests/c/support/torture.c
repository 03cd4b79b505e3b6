#include "torture.h"

#include "base/alloc.h"
#include "base/err.h"

#include <errno.h>

enum { MOST = 1000, LEAST = 15, POOL = 1 << 20 };

/* true: it ran through without a failure. */
static bool life(const char *backend, unsigned loops, torture_scene scene, const void *arg, size_t n)
{
    struct stage s;
    unsigned before = kit_open_fds();
    size_t calls;
    bool good;
    int err;

    wawo_alloc_fail_at(n);
    err = stage_open_with(&s, backend, loops, POOL);
    good = err == 0;
    if (good) {
        good = scene(&s, arg);
        stage_close(&s);
    } else {
        ASSERT_EQ(err, WAWO_ENOMEM);
    }
    calls = wawo_alloc_calls();
    wawo_alloc_fail_at(0);
    ASSERT_EQ(wawo_live_conns(), 0u);
    ASSERT_EQ(wawo_live_shares(), 0u);
    ASSERT_EQ(wawo_live_chunks(), 0u);
    KIT_UNTIL(wawo_alloc_live() == 0);
    ASSERT_EQ(wawo_live_files(), 0u);
    ASSERT_EQ(kit_open_fds(), before);
    if (calls < n)
        ASSERT_TRUE(good); /* nothing failed */
    return calls < n;
}

void torture(const char *backend, unsigned loops, torture_scene scene, const void *arg)
{
    size_t n;

    for (n = 1; !life(backend, loops, scene, arg, n); n++)
        ASSERT_LT(n, MOST);
    ASSERT_GT(n, LEAST);
}

size_t torture_read(int fd, uint8_t *to, size_t most)
{
    size_t got = 0;
    ptrdiff_t n = 1;

    while (got < most && (n = wawo_os_recv(fd, to + got, most - got)) > 0)
        got += (size_t)n;
    ASSERT_NE(n, -EAGAIN); /* the deadline of the socket */
    return got;
}

bool torture_accepted(struct party *server, uint64_t n)
{
    struct wawo_endpoint_stats st;

    do
        wawo_endpoint_stats(server->endpoint, &st);
    while (party_count(server, WAWO_ON_ACCEPT) < n && st.rejected == 0);
    return party_count(server, WAWO_ON_ACCEPT) >= n;
}

void torture_ended(struct party *server, uint64_t peers)
{
    struct wawo_endpoint_stats st;

    do
        wawo_endpoint_stats(server->endpoint, &st);
    while (st.accepts + st.rejected < peers);
    party_wait(server, WAWO_ON_CLOSE, st.accepts);
}

bool torture_compare(struct party *server, const uint8_t *got, size_t len, const void *wanted, size_t wanted_len,
                     bool refused)
{
    struct wawo_endpoint_stats st;
    bool bad;

    ASSERT_LE(len, wanted_len);
    ASSERT_MEMEQ(got, wanted, len);
    wawo_endpoint_stats(server->endpoint, &st);
    party_lock(server);
    bad = server->bad > 0;
    party_unlock(server);
    if (!refused && !bad && st.rejected == 0)
        ASSERT_EQ(len, wanted_len);
    return len == wanted_len && !refused && !bad;
}
