/* The peers: they write their script in pieces, read at their own pace or not at all, and end in one of the ways there
 * are. */
#include "program.h"

enum { MESSAGES = 10, GARBAGE = 40, READ_MAX = 8192 };

enum leaving { LEAVE_FIN, LEAVE_AT_ONCE, LEAVE_RESET, LEAVE_NEVER };

struct peer {
    int pipe, side;
    struct script script;
    struct wire sealed; /* with TLS */
    size_t clear; /* bytes of the script that are not */
    size_t written; /* bytes on the wire */
    int leaving; /* enum leaving */
    int64_t stalled_ns; /* does nothing until then */
    bool hasty;  /* it may end at any moment */
    bool closed;
};

static struct peer peers[PIPES];
static unsigned count;

void peers_reset(void)
{
    count = 0;
}

static void plan(struct peer *p, bool server, bool proxy)
{
    uint8_t message[MESSAGE_MAX], junk[64];
    unsigned i, n = sim_below(app.heavy ? 3 * MESSAGES : MESSAGES);
    size_t len;

    script_reset(&p->script);
    if (proxy)
        script_add_proxy(&p->script, 0x7f000001 + sim_below(4), (uint16_t)(PORT_EPHEMERAL + p->pipe));
    p->clear = p->script.len;
    for (i = 0; i < n; i++) {
        len = script_fit(&app.framing, sim_chance(app.heavy ? 900 : 100) ? sim_size(MESSAGE_MAX) : sim_size(2000) - 1);
        script_fill(message, len);
        script_add(&p->script, &app.framing, message, len);
    }
    if (app.framing.kind != WAWO_FRAMING_RAW && sim_chance(GARBAGE)) {
        for (i = 0; i < sizeof junk; i++)
            junk[i] = (uint8_t)sim_random();
        script_add_raw(&p->script, junk, sim_size(sizeof junk));
        p->script.garbage = true;
    }
    if (app.tls)
        secure_seal(&p->sealed, &p->script, p->clear, server);
}

void peer_new(int pipe, int side, bool server, bool proxy)
{
    struct peer *p = &peers[count];
    struct script kept = p->script;
    struct wire sealed = p->sealed;

    SIM_CHECK(count < PIPES);
    count++;
    *p = (struct peer){.pipe = pipe, .side = side, .script = kept, .sealed = sealed, .hasty = sim_chance(100)};
    p->leaving = (int)sim_below(4);
    plan(p, server, proxy);
    if (sim_chance(150))
        p->stalled_ns = sim_now + (int64_t)sim_below(4000) * WAWO_MSEC;
}

void peer_answers(int pipe)
{
    peer_new(pipe, 1, false, false);
}

static struct peer *find(int pipe, int side)
{
    unsigned i;

    for (i = 0; i < count; i++)
        if (peers[i].pipe == pipe && peers[i].side == side)
            return &peers[i];
    return NULL;
}

struct script *peer_script(int pipe, int side)
{
    struct peer *p = find(pipe, side);

    return p != NULL ? &p->script : NULL;
}

size_t peer_clear(int pipe, int side)
{
    const struct peer *p = find(pipe, side);

    return p != NULL ? p->clear : 0;
}

static void leave(struct peer *p, bool hard)
{
    sim_log("peer leaves", p->pipe, hard, 0);
    pipes[p->pipe].side[p->side].hard = hard;
    kernel_close(p->pipe, p->side);
    p->closed = true;
}

static bool take(struct peer *p)
{
    ptrdiff_t n = kernel_read(p->pipe, p->side, app.calm ? READ_MAX : sim_size(READ_MAX));

    if (n > 0)
        return true;
    if (n == 0 && pipes[p->pipe].half[1 - p->side].fin_arrived && (app.calm || sim_chance(300)))
        leave(p, false);
    else if (n < 0)
        leave(p, false);
    return p->closed;
}

static bool write_on(struct peer *p)
{
    size_t left = (app.tls ? p->sealed.len : p->script.len) - p->written, n;

    if (left > 0) {
        n = kernel_write(p->pipe, p->side, (app.tls ? p->sealed.bytes : p->script.wire) + p->written,
                         sim_chance(kernel_haste) ? left : sim_size(left));
        p->written += n;
        return n > 0;
    }
    if (pipes[p->pipe].half[p->side].fin || (p->leaving == LEAVE_NEVER && !app.calm))
        return false;
    if (p->leaving == LEAVE_AT_ONCE || p->leaving == LEAVE_RESET)
        leave(p, p->leaving == LEAVE_RESET);
    else if (!app.calm || sim_chance(50))
        kernel_shutdown(p->pipe, p->side);
    else
        return false;
    return true;
}

static bool act(struct peer *p)
{
    if (p->closed || (sim_now < p->stalled_ns && !app.calm))
        return false;
    if (p->hasty && !app.calm && sim_chance(10)) {
        leave(p, sim_chance(500));
        return true;
    }
    return sim_chance(500) ? write_on(p) || (!p->closed && take(p)) : take(p) || (!p->closed && write_on(p));
}

bool peers_step(void)
{
    unsigned i, start = sim_below(count);

    for (i = 0; i < count; i++)
        if (act(&peers[(start + i) % count]))
            return true;
    return false;
}

int64_t peers_next(void)
{
    int64_t next = INT64_MAX;
    unsigned i;

    for (i = 0; i < count && !app.calm; i++)
        if (!peers[i].closed && peers[i].stalled_ns > sim_now && peers[i].stalled_ns < next)
            next = peers[i].stalled_ns;
    return next;
}
