/* Held events keep their order, whoever pauses and resumes while a batch is delivered. What another thread would do in
 * the midst of it, the sink does between two events; what a batch holds is made sure by stalling the loop until all of
 * it lies in the kernel. */
#include "support/stage.h"

#include "base/atomic.h"
#include "base/err.h"

#include <stdlib.h>

enum { LINES = 3 }; /* connections; the last one's messages stall the loop */
enum { RESUME, STAY }; /* what such a message does to the others in the end */

struct scene {
    struct stage stage;
    struct party server;
    int fds[LINES];
    struct wawo_share *shares[LINES]; /* of the server's side */
    uint32_t stalled, go; /* atomic */
    unsigned pause_every; /* messages of a line; 0 = never */
    unsigned stalls;
};

/* The frame's first byte names the connection until it is known. */
static void hook_scene(struct party *p, const struct wawo_event *e, struct actor *a)
{
    struct scene *s = p->arg;
    unsigned line;

    if (e->kind != WAWO_ON_RECEIVE)
        return;
    if (a->messages == 1) { /* says who it is */
        line = e->ptr[0];
        a->scratch[0] = line;
        wawo_share_hold(e->share);
        wawo_store(&s->shares[line], e->share);
        return;
    }
    line = (unsigned)a->scratch[0];
    if (line == LINES - 1) { /* stalls, then resumes all others: all in one call */
        wawo_store(&s->stalled, 1);
        KIT_UNTIL(wawo_load(&s->go) != 0);
        wawo_store(&s->go, 0);
        wawo_store(&s->stalled, 0);
        for (line = 0; line < LINES - 1 && e->ptr[0] == RESUME; line++)
            (void)wawo_share_pause(s->shares[line], false);
        return;
    }
    KIT_CHECK(e->ptr, e->len, a->messages - 2);
    if (s->pause_every != 0 && (a->messages - 2) % s->pause_every == 0)
        ASSERT_TRUE(wawo_share_pause(e->share, true));
}

static void write_frame(int fd, uint8_t byte)
{
    kit_write(fd, ((uint8_t[]){0, 1, byte}), 3);
}

/* Frames `from` to `from + count` of a line in one write. */
static void write_frames(int fd, unsigned from, unsigned count)
{
    uint8_t *wire = malloc(3 * (size_t)count);
    unsigned i;

    for (i = 0; i < count; i++) {
        wire[3 * i] = 0;
        wire[3 * i + 1] = 1;
        wire[3 * i + 2] = kit_byte(from + i);
    }
    kit_write(fd, wire, 3 * (size_t)count);
    free(wire);
}

static void scene_open(struct scene *s, const char *backend)
{
    int i;

    memset(s, 0, sizeof *s);
    stage_open(&s->stage, backend, 1);
    party_init(&s->server, &s->stage, WAWO_SERVER);
    party_framed(&s->server, 2, 100);
    s->server.hook = hook_scene;
    s->server.arg = s;
    party_start(&s->server);
    for (i = 0; i < LINES; i++) {
        s->fds[i] = kit_connect(s->server.port);
        write_frame(s->fds[i], (uint8_t)i);
        KIT_UNTIL(wawo_load(&s->shares[i]) != NULL);
    }
}

/* The loop stands still in a callback until scene_go(). */
static void scene_stall(struct scene *s, uint8_t then)
{
    s->stalls++;
    write_frame(s->fds[LINES - 1], then);
    KIT_UNTIL(wawo_load(&s->stalled) != 0);
}

static void scene_go(struct scene *s)
{
    wawo_store(&s->go, 1);
    KIT_UNTIL(wawo_load(&s->go) == 0);
}

/* Until the lines have had that many frames together: resumes whoever is paused. */
static void scene_finish(struct scene *s, uint64_t frames)
{
    int64_t until = kit_deadline();
    unsigned i;

    while (party_count(&s->server, WAWO_ON_RECEIVE) < LINES + s->stalls + frames) {
        scene_stall(s, RESUME);
        scene_go(s);
        ASSERT_LT(wawo_os_now_ns(), until);
    }
    for (i = 0; i < LINES; i++) {
        wawo_share_drop(s->shares[i]);
        kit_close(s->fds[i]);
    }
    party_wait(&s->server, WAWO_ON_CLOSE, LINES);
    ASSERT_EQ(s->server.bad, 0u);
    party_finish(&s->server);
    stage_close(&s->stage);
}

/* Two backlogs that together are larger than a batch are resumed in one call and pause again in its midst: what is held
 * from the batch goes in front of what the backlog still had. */
TEST_EACH_BACKEND(held_again_goes_in_front, backend)
{
    static struct scene s;

    scene_open(&s, backend);
    s.pause_every = 37;
    scene_stall(&s, STAY);
    write_frames(s.fds[0], 0, 450);
    scene_go(&s);
    KIT_UNTIL(wawo_share_paused(s.shares[0]));
    scene_stall(&s, STAY);
    write_frames(s.fds[1], 0, 450);
    scene_go(&s);
    KIT_UNTIL(wawo_share_paused(s.shares[1]));
    scene_finish(&s, 900);
}

/* Paused and resumed by another thread between two events of one batch. */
struct flips {
    unsigned pause_at, resume_at, seen;
    struct wawo_share *share, *also; /* `also` is resumed at pause_at */
};

static void before_flip(struct stage *stage, const struct wawo_event *e, unsigned index)
{
    struct flips *f = stage->before_arg;

    (void)index;
    if (e->kind != WAWO_ON_RECEIVE || e->share != f->share)
        return;
    f->seen++;
    if (f->seen == f->pause_at) {
        if (f->also != NULL)
            ASSERT_TRUE(wawo_share_pause(f->also, false));
        ASSERT_TRUE(wawo_share_pause(f->share, true));
    }
    if (f->seen == f->resume_at)
        ASSERT_TRUE(wawo_share_pause(f->share, false));
}

TEST_EACH_BACKEND(resumed_between_two_events, backend)
{
    static struct scene s;
    struct flips f = {.pause_at = 10, .resume_at = 20};

    scene_open(&s, backend);
    f.share = s.shares[0];
    scene_stall(&s, STAY);
    s.stage.before_arg = &f;
    s.stage.before = before_flip;
    write_frames(s.fds[0], 0, 300);
    scene_go(&s);
    scene_finish(&s, 300);
}

/* The same in a read of more frames than a batch takes, while another backlog fills the batch first: the rest of the
 * read waits behind what is held. */
TEST_EACH_BACKEND(the_rest_of_a_read_waits_behind_the_held, backend)
{
    static struct scene s;
    struct flips first = {.pause_at = 1}, second = {.pause_at = 10, .resume_at = 20};

    scene_open(&s, backend);
    first.share = second.also = s.shares[1];
    second.share = s.shares[0];
    scene_stall(&s, STAY);
    write_frames(s.fds[1], 0, 500);
    s.stage.before_arg = &first;
    s.stage.before = before_flip;
    scene_go(&s);
    KIT_UNTIL(wawo_share_paused(s.shares[1]));
    scene_stall(&s, STAY);
    s.stage.before_arg = &second;
    write_frames(s.fds[0], 0, 2000);
    scene_go(&s);
    scene_finish(&s, 2500);
}
