/* TLS in the simulation. OpenSSL itself cannot be here: its randomness and clock come by calls that the linker cannot take
 * away from a shared library, so no seed would be the same run twice, and what it sealed could not be compared. The
 * session is tests/c/support/toysession.h; OpenSSL's own comes in pieces, ends anywhere and has no memory in
 * tests/c/net/test_tls_openssl.c. */
#include "program.h"

#include "base/err.h"
#include "support/toysession.h"

enum { ANSWERS = 80, TICKETS = 80, GOODBYE = 850, GARBAGE = 40 };

static void called_inside(void *arg)
{
    (void)arg;
    SIM_CHECK(app.entered[fiber_loop()]);
}

void secure_wrap(struct party *p, const struct wawo_event *e)
{
    unsigned how = p->role == WAWO_SERVER ? 0 : WAWO_TLS_CLIENT;
    struct toy *t = toy_new(how != 0);
    int rc;

    t->called = app.tls_inside ? called_inside : NULL;
    rc = wawo_share_secure(e->share, app.tls_inside ? &toy_ops_inside : &toy_ops, t, how);
    sim_log("secure", (int64_t)wawo_share_id(e->share), rc, 0);
    if (rc == 0)
        return;
    SIM_CHECK(rc == WAWO_ECLOSED);
    toy_free(t);
}

void secure_check_end(void)
{
    SIM_CHECK(toy_live() == 0);
}

/* ---- the peer's side ---- */

static void put(struct wire *w, const void *p, size_t len)
{
    w->bytes = sim_grow(w->bytes, &w->room, w->len + len, 1);
    if (len > 0)
        memcpy(w->bytes + w->len, p, len);
    w->len += len;
}

static void put_record(struct wire *w, const uint8_t *p, size_t len)
{
    uint8_t head[TOY_HEAD] = {'D', (uint8_t)(len >> 8), (uint8_t)len};

    put(w, head, sizeof head);
    w->bytes = sim_grow(w->bytes, &w->room, w->len + len, 1);
    toy_turn(w->bytes + w->len, p, len);
    w->len += len;
}

void secure_seal(struct wire *w, const struct script *s, size_t clear, bool client)
{
    size_t at, n;

    w->len = 0;
    put(w, s->wire, clear);
    put(w, sim_chance(GARBAGE) ? "?" : client ? "H" : "h", 1);
    for (at = clear; at < s->len; at += n) {
        n = sim_size(wawo_min_size(s->len - at, WAWO_TLS_RECORD));
        if (sim_chance(ANSWERS))
            put(w, "K", 1);
        if (sim_chance(TICKETS))
            put(w, "Tt", 2);
        put_record(w, s->wire + at, n);
    }
    if (sim_chance(GARBAGE))
        put(w, "D\xff\xff", TOY_HEAD);
    if (sim_chance(GOODBYE))
        put(w, "C", 1);
}

const struct wire *secure_open(const uint8_t *bytes, size_t n, size_t clear)
{
    static struct wire w;
    size_t at = app.tls ? wawo_min_size(clear, n) : n, len;

    w.len = 0;
    w.goodbye = w.alert = false;
    put(&w, bytes, at);
    if (at < n && bytes[at] != 'H' && bytes[at] != 'h')
        return &w;
    for (at++; at < n; at += len) {
        if (bytes[at] == 'K' || bytes[at] == 'k') {
            len = 1;
            continue;
        }
        w.goodbye = bytes[at] == 'C';
        w.alert = bytes[at] == 'A';
        if (bytes[at] != 'D' || n - at < TOY_HEAD)
            break;
        len = (size_t)bytes[at + 1] << 8 | bytes[at + 2];
        if (len == 0 || len > WAWO_TLS_RECORD)
            break;
        at += TOY_HEAD;
        len = wawo_min_size(len, n - at); /* of the last one as much as there is */
        w.bytes = sim_grow(w.bytes, &w.room, w.len + len, 1);
        toy_turn(w.bytes + w.len, bytes + at, len);
        w.len += len;
    }
    return &w;
}
