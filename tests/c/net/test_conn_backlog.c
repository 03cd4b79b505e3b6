/* What paused connections have received all the same does not keep the loop's chunks from the others. */
#include "support/stage.h"

#include "mem/pool.h"

enum { MIB = 1024 * 1024, PAUSED = 40, TWENTY = 20, FIRST = 10, BETWEEN = 3, BIG = 60000 };

/* One connection is served all the time; the others pause themselves at their first message. */
struct scene {
    struct stage s;
    struct party server;
    unsigned accepted; /* the loop's */
    int busy, fds[PAUSED];
    struct wawo_share *paused[PAUSED];
    uint64_t total; /* bytes of messages that should have come */
    uint64_t busy_sent;
};

static void hook_first_only(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct scene *sc = p->arg;

    if (e->kind == WAWO_ON_ACCEPT) {
        a->scratch[0] = sc->accepted++ == 0;
        if (!a->scratch[0]) /* until both of its messages lie in the socket, so that one read takes them */
            ASSERT_TRUE(wawo_share_pause(e->share, true));
    } else if (e->kind == WAWO_ON_RECEIVE && !a->scratch[0] && a->messages == 1) {
        ASSERT_TRUE(wawo_share_pause(e->share, true));
    }
}

static void write_message(int fd, uint64_t offset, size_t len)
{
    static uint8_t frame[2 + BIG];

    frame[0] = (uint8_t)(len >> 8);
    frame[1] = (uint8_t)len;
    kit_fill(frame + 2, len, offset);
    kit_write(fd, frame, 2 + len);
}

static void scene_open(struct scene *sc, const char *backend)
{
    memset(sc, 0, sizeof *sc);
    ASSERT_EQ(stage_open_with(&sc->s, backend, 1, MIB), 0);
    party_init(&sc->server, &sc->s, WAWO_SERVER);
    party_framed(&sc->server, 2, 65535);
    sc->server.hook = hook_first_only;
    sc->server.arg = sc;
    sc->server.verify = true;
    party_start(&sc->server);
    sc->busy = kit_connect(sc->server.port);
    party_wait(&sc->server, WAWO_ON_ACCEPT, 1);
}

/* Connection `i` keeps a message of that many bytes. */
static void scene_keep(struct scene *sc, unsigned i, size_t kept)
{
    sc->fds[i] = kit_connect(sc->server.port);
    party_wait(&sc->server, WAWO_ON_ACCEPT, i + 2);
    sc->paused[i] = party_last(&sc->server);
    write_message(sc->fds[i], 0, FIRST);
    write_message(sc->fds[i], FIRST, kept);
    ASSERT_TRUE(wawo_share_pause(sc->paused[i], false));
    sc->total += FIRST + kept;
}

/* The busy one sends more than a chunk, so that the next read of another lies in another chunk. */
static void scene_write(struct scene *sc)
{
    int k;

    for (k = 0; k < BETWEEN; k++) {
        write_message(sc->busy, sc->busy_sent, BIG);
        sc->busy_sent += BIG;
    }
    sc->total += BETWEEN * BIG;
}

static struct wawo_loop_stats stats(const struct scene *sc)
{
    struct wawo_loop_stats st;

    wawo_engine_stats(sc->s.threads, 0, &st);
    ASSERT_LE(st.pool_kept, st.pool_limit * WAWO_CHUNK_DATA);
    return st;
}

/* All go on, as often as they pause themselves, and have lost nothing. */
static void scene_close(struct scene *sc, unsigned n)
{
    int64_t until = kit_deadline();
    uint64_t received = 0;
    unsigned i;

    while (received < sc->total) {
        for (i = 0; i < n; i++)
            ASSERT_TRUE(wawo_share_pause(sc->paused[i], false));
        kit_tick(__FILE__, __LINE__, "every message", until);
        party_lock(&sc->server);
        received = sc->server.received;
        party_unlock(&sc->server);
    }
    ASSERT_EQ(received, sc->total);
    KIT_UNTIL(stats(sc).pool_kept == 0);
    for (i = 0; i < n; i++)
        wawo_share_drop(sc->paused[i]);
    kit_close_all(sc->fds, (int)n);
    kit_close(sc->busy);
    party_close(&sc->s, &sc->server);
}

/* Twenty keep so much while the busy one goes on; what the loop says of its chunks then. */
static struct wawo_loop_stats served_beside(struct scene *sc, const char *backend, size_t kept)
{
    uint64_t heard = 0;
    unsigned i;

    scene_open(sc, backend);
    for (i = 0; i < TWENTY; i++) {
        scene_keep(sc, i, kept);
        party_wait_bytes(&sc->server, heard += FIRST);
        scene_write(sc);
        party_wait_bytes(&sc->server, heard += BETWEEN * BIG);
    }
    return stats(sc);
}

TEST_EACH_BACKEND(few_bytes_hold_no_chunk, backend)
{
    struct scene sc;
    struct wawo_loop_stats st = served_beside(&sc, backend, 100);

    ASSERT_EQ(st.pool_starved, 0u);
    ASSERT_LE(st.pool_used, st.pool_limit / 2);
    scene_close(&sc, TWENTY);
}

TEST_EACH_BACKEND(many_bytes_make_room_when_chunks_are_short, backend)
{
    struct scene sc;

    (void)served_beside(&sc, backend, 20000);
    scene_close(&sc, TWENTY);
}

/* As much as the pool may have is kept beside it, not more: then all wait until somebody goes on. */
TEST_EACH_BACKEND(what_is_kept_is_bounded, backend)
{
    struct scene sc;
    unsigned i;

    scene_open(&sc, backend);
    for (i = 0; i < PAUSED; i++) {
        scene_keep(&sc, i, BIG);
        (void)stats(&sc);
    }
    KIT_UNTIL(stats(&sc).pool_starved > 0);
    scene_close(&sc, PAUSED);
}
