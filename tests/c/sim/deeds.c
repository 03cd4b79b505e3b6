/* What may be done to a connection, on its loop or on any other thread: what was accepted goes into its script. */
#include "program.h"

#include "base/err.h"
#include "net/conn.h"

#include <stdlib.h>
#include <unistd.h>

enum { PARTS = 4, SMALL = 3000 };

/* ---- messages ---- */

static uint8_t message[MESSAGE_MAX + 1];

static size_t write_message(size_t least)
{
    size_t len = sim_chance(60) ? sim_size(MESSAGE_MAX) : sim_size(SMALL) - 1;

    len = script_fit(&app.framing, wawo_max_size(len, least));
    script_fill(message, len);
    return len;
}

/* What a send answered: nothing was queued unless it is 1. */
static void answered(struct actor *a, int rc)
{
    sim_log("send", (int64_t)a->id, rc, (int64_t)a->out.len);
    if (rc == 1)
        return;
    if (rc != 0 && rc != WAWO_ENOBUFS && rc != WAWO_ENOMEM)
        SIM_FAIL("send: %d", rc);
    if (rc == WAWO_ENOMEM && !app.starving)
        SIM_FAIL("send: no memory");
    app.seen[SEEN_FULL] += rc == WAWO_ENOBUFS;
    script_undo(&a->out);
}

/* The block that is lent, and its bytes behind it. */
static uint8_t *lend_block(const uint8_t *p, size_t len)
{
    uint8_t *block = malloc(len + 1);

    SIM_CHECK(block != NULL);
    if (len > 0)
        memcpy(block, p, len);
    app.loans++;
    return block;
}

static void take_back(uint8_t *block)
{
    app.loans--;
    free(block);
}

static void send_lent(struct actor *a)
{
    size_t len = write_message(0);
    uint8_t *block = lend_block(message, len);
    int rc;

    (void)script_add(&a->out, &app.framing, message, len);
    rc = wawo_share_lend(a->share, block, len, NULL, block);
    if (rc != 1)
        take_back(block);
    answered(a, rc);
}

/* A part of the message in hand becomes a part of a file. */
static void part_of_file(struct wawo_part *part, uint8_t *p, size_t len)
{
    uint64_t offset = sim_below(5000);
    uint64_t size = offset + len;
    size_t i;
    int fd;

    if (sim_chance(30))
        size -= sim_size(len); /* it is not as long as was said */
    fd = kernel_file(size);
    part->file = wawo_file_new(fd, offset, len);
    if (part->file == NULL) {
        close(fd);
        return;
    }
    *part = (struct wawo_part){.file = part->file};
    app.seen[SEEN_FILES]++;
    for (i = 0; i < len; i++)
        p[i] = file_byte(offset + i);
}

static void send_parts(struct actor *a)
{
    struct wawo_part parts[PARTS];
    size_t len = write_message(0), at = 0, n;
    unsigned count = wawo_share_looks(a->share) ? 1 : 1 + sim_below(PARTS), i;
    int rc;

    for (i = 0; i < count; i++, at += n) {
        n = i + 1 < count ? sim_below((uint32_t)(len - at) + 1) : len - at;
        parts[i] = (struct wawo_part){.data = message + at, .len = n};
        if (count > 1 && n > 0 && sim_chance(300)) {
            part_of_file(&parts[i], message + at, n);
        } else if (sim_chance(300)) {
            parts[i].loan = lend_block(message + at, n);
            parts[i].data = parts[i].loan;
        }
    }
    (void)script_add(&a->out, &app.framing, message, len);
    rc = wawo_share_send_parts(a->share, parts, count);
    for (i = 0; i < count && rc != 1; i++) {
        if (parts[i].loan != NULL)
            take_back(parts[i].loan);
        if (parts[i].file != NULL)
            wawo_file_drop(parts[i].file);
    }
    answered(a, rc);
}

void deed_send(struct actor *a)
{
    uint32_t how = sim_below(10);
    size_t len;

    if (how < 2) {
        send_parts(a);
    } else if (how < 4) {
        send_lent(a);
    } else {
        len = write_message(0);
        (void)script_add(&a->out, &app.framing, message, len);
        answered(a, wawo_share_send(a->share, message, len));
    }
    if (wawo_share_pending(a->share) > a->party->options.max_pending)
        SIM_FAIL("%zu bytes are pending, of %zu", wawo_share_pending(a->share), a->party->options.max_pending);
}

void deed_echo(struct actor *a, const struct wawo_event *e)
{
    size_t len = script_fit(&app.framing, e->len);
    int rc;

    if (len != e->len) /* raw bytes may come in larger pieces than are sent at once */
        return;
    (void)script_add(&a->out, &app.framing, e->ptr, len);
    if (e->chunk != NULL && sim_chance(app.heavy ? 900 : 300)) {
        wawo_chunk_hold(e->chunk);
        rc = wawo_share_lend(a->share, e->ptr, len, e->chunk, NULL);
        if (rc != 1)
            wawo_chunk_drop(e->chunk);
    } else {
        rc = wawo_share_send(a->share, e->ptr, len);
    }
    answered(a, rc);
}

void deed_broadcast(struct party *p)
{
    size_t len = write_message(16);
    uint32_t cast = ++app.casts;
    struct item *it;
    ptrdiff_t n;
    unsigned i;
    bool evict;

    if (len < 16) /* it must be told from others by its first bytes */
        return;
    evict = sim_chance(200);
    p->evicts = p->evicts || evict;
    fiber_undivided(true);
    n = wawo_endpoint_broadcast(p->endpoint, message, len, NULL, 0, evict);
    fiber_undivided(false);
    sim_log("broadcast", (int64_t)len, n, 0);
    if (n < 0 && n != WAWO_ENOBUFS && (n != WAWO_ENOMEM || !app.starving))
        SIM_FAIL("broadcast: %td", n);
    if (n <= 0)
        return;
    app.seen[SEEN_CAST] += (uint64_t)n;
    for (i = 0; i < app.actor_count; i++) {
        struct actor *a = &app.actors[i];

        if (a->party != p || a->closed)
            continue;
        it = script_add(&a->out, &app.framing, message, len);
        it->perhaps = true;
        it->cast = cast;
    }
}

/* ---- the rest ---- */

void deed_pause(struct actor *a, bool pause)
{
    sim_log("pause", (int64_t)a->id, pause, 0);
    (void)wawo_share_pause(a->share, pause);
    a->paused = pause;
    app.seen[SEEN_HELD] +=
        a->shown && !a->closed && !pause && a->share->conn != NULL && a->share->conn->backlog != NULL;
}

void deed_close(struct actor *a)
{
    sim_log("close", (int64_t)a->id, 0, 0);
    if (a->close_ns == INT64_MAX && wawo_share_connected(a->share)) /* else it is closing for another reason */
        a->close_ns = sim_now;
    (void)wawo_share_close(a->share);
    a->ended = true;
}

void deed_abort(struct actor *a)
{
    sim_log("abort", (int64_t)a->id, 0, 0);
    (void)wawo_share_abort(a->share);
    a->ended = a->aborted = true;
}

void deed_shut(struct actor *a)
{
    sim_log("shut", (int64_t)a->id, 0, 0);
    (void)wawo_share_shutdown_write(a->share);
}

/* PULL: takes all that lies there, in pieces; sometimes leaves a rest for later. */
void deed_read(struct actor *a)
{
    static uint8_t peeked[8192], fetched[8192];
    size_t there = wawo_share_unread(a->share), n;
    int rc;

    while (there > 0) {
        n = wawo_min_size(sim_size(there), sizeof fetched);
        if (sim_chance(200)) {
            SIM_CHECK(wawo_share_fetch(a->share, peeked, n, false) == 1);
            SIM_CHECK(wawo_share_unread(a->share) == there);
        } else {
            memset(peeked, 0, sizeof peeked);
        }
        rc = wawo_share_fetch(a->share, fetched, n, true);
        SIM_CHECK(rc == 1);
        SIM_CHECK(peeked[0] == 0 || memcmp(peeked, fetched, n) == 0);
        inbox_add(&a->in, fetched, n);
        there -= n;
        SIM_CHECK(wawo_share_unread(a->share) == there);
    }
    n = app.framing.max_size + 1;
    if (sim_chance(50))
        SIM_CHECK(wawo_share_fetch(a->share, NULL, n, true) != 1);
}

void deed_keep(struct wawo_chunk *c)
{
    unsigned i = sim_below(KEPT);

    if (app.kept[i] == NULL && wawo_chunk_export(c))
        app.kept[i] = c;
}

void deed_let_go(unsigned i)
{
    if (app.kept[i] != NULL)
        wawo_chunk_drop(app.kept[i]);
    app.kept[i] = NULL;
}
