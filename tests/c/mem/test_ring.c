/* The buffer ring against a plain byte array. */
#include "support/kit.h"

#include "base/alloc.h"
#include "base/err.h"
#include "mem/ring.h"

#include <stdlib.h>

enum { HEAP = 4 * 1024 * 1024, FLAT = 512 * 1024 };

static void heap_open(struct wawo_heap *h)
{
    ASSERT_EQ(wawo_heap_init(h, HEAP), 0);
    wawo_pool_bind(h->pool);
}

static void heap_close(struct wawo_heap *h)
{
    struct wawo_pool_stats st;

    ASSERT_EQ(h->slices.used, 0u);
    wawo_heap_rewind(h);
    wawo_pool_stats(h->pool, &st);
    ASSERT_LE(st.used, h->tx != NULL ? 1u : 0u);
    wawo_heap_fini(h);
    ASSERT_EQ(wawo_chunk_live(), 0u);
}

/* What the ring holds, in one piece. */
static size_t flatten(const struct wawo_ring *r, uint8_t *out)
{
    struct wawo_slice *s;
    size_t n = 0;

    for (s = r->head; s != NULL; s = s->next) {
        memcpy(out + n, s->ptr, s->len);
        n += s->len;
        if (s->next == NULL)
            ASSERT_EQ((void *)s, (void *)r->tail);
    }
    if (r->head == NULL)
        ASSERT_NULL((void *)r->tail);
    ASSERT_EQ(n, r->bytes);
    return n;
}

static unsigned slices_of(const struct wawo_ring *r)
{
    struct wawo_slice *s;
    unsigned n = 0;

    for (s = r->head; s != NULL; s = s->next)
        n++;
    return n;
}

TEST(small_copies_become_one_slice)
{
    struct wawo_heap h;
    struct wawo_ring r;
    uint8_t got[64];

    heap_open(&h);
    wawo_ring_init(&r);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "hello ", 6, false), 0);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "", 0, false), 0);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "world", 5, false), 0);
    ASSERT_EQ(slices_of(&r), 1u);
    ASSERT_EQ(flatten(&r, got), 11u);
    ASSERT_MEMEQ(got, "hello world", 11);
    wawo_ring_clear(&r, &h);
    ASSERT_EQ(r.bytes, 0u);
    heap_close(&h);
}

TEST(two_rings_share_a_chunk)
{
    struct wawo_heap h;
    struct wawo_ring a, b;
    uint8_t got[64];

    heap_open(&h);
    wawo_ring_init(&a);
    wawo_ring_init(&b);
    ASSERT_EQ(wawo_ring_copy(&a, &h, "aa", 2, false), 0);
    ASSERT_EQ(wawo_ring_copy(&b, &h, "bb", 2, false), 0);
    ASSERT_EQ(wawo_ring_copy(&a, &h, "AA", 2, false), 0);
    ASSERT_EQ((void *)wawo_slice_chunk(a.head), (void *)wawo_slice_chunk(b.head));
    ASSERT_EQ(flatten(&a, got), 4u);
    ASSERT_MEMEQ(got, "aaAA", 4);
    ASSERT_EQ(flatten(&b, got), 2u);
    ASSERT_MEMEQ(got, "bb", 2);
    wawo_heap_rewind(&h); /* in use: stays where it is */
    ASSERT_EQ(h.tx->used, 6u);
    wawo_ring_clear(&a, &h);
    wawo_ring_clear(&b, &h);
    wawo_heap_rewind(&h);
    ASSERT_EQ(h.tx->used, 0u);
    heap_close(&h);
}

TEST(own_copies_stay_out_of_the_shared_chunk)
{
    struct wawo_heap h;
    struct wawo_ring r;
    uint8_t got[64];

    heap_open(&h);
    wawo_ring_init(&r);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "one", 3, true), 0);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "two", 3, true), 0);
    ASSERT_NULL((void *)h.tx);
    ASSERT_NULL((void *)wawo_slice_chunk(r.head)->pool);
    ASSERT_EQ(slices_of(&r), 1u);
    ASSERT_EQ(flatten(&r, got), 6u);
    ASSERT_MEMEQ(got, "onetwo", 6);
    wawo_ring_clear(&r, &h);
    heap_close(&h);
}

static int copy_run(struct wawo_ring *r, struct wawo_heap *h, const uint8_t *head, size_t head_len, const void *data,
                    size_t len, const char *tail, bool own)
{
    struct wawo_run run = {head, head_len, data, len, (const uint8_t *)tail, strlen(tail)};

    return wawo_ring_copy_run(r, h, &run, own);
}

TEST(messages_in_one_run)
{
    struct wawo_heap h;
    struct wawo_ring r;
    uint8_t head[WAWO_HEAD_ROOM] = {1, 2, 3, 4}, got[64], *big = malloc(FLAT), *flat = malloc(FLAT + 32);
    int own;

    kit_fill(big, FLAT, 0);
    heap_open(&h);
    for (own = 0; own < 2; own++) {
        wawo_ring_init(&r);
        ASSERT_EQ(copy_run(&r, &h, head, 4, "payload", 7, "", own != 0), 0);
        ASSERT_EQ(copy_run(&r, &h, head, 2, "", 0, "", own != 0), 0);
        ASSERT_EQ(copy_run(&r, &h, head, 0, "x", 1, "\r\n", own != 0), 0);
        ASSERT_EQ(slices_of(&r), 1u);
        ASSERT_EQ(flatten(&r, got), 16u);
        ASSERT_MEMEQ(got, "\1\2\3\4payload\1\2x\r\n", 16);
        ASSERT_EQ(copy_run(&r, &h, head, 4, big, FLAT - 100, "!", own != 0), 0);
        ASSERT_EQ(flatten(&r, flat), 16u + 4 + FLAT - 100 + 1);
        ASSERT_MEMEQ(flat + 16, head, 4);
        ASSERT_MEMEQ(flat + 20, big, FLAT - 100);
        ASSERT_EQ(flat[20 + FLAT - 100], '!');
        wawo_ring_clear(&r, &h);
    }
    free(big);
    free(flat);
    heap_close(&h);
}

TEST(consume_at_every_boundary)
{
    static uint8_t lent[50];
    struct wawo_heap h;
    struct wawo_ring r;
    uint8_t want[200], got[200];
    size_t at, step, n;

    kit_fill(want, sizeof want, 0);
    memcpy(lent, want + 100, 50);
    heap_open(&h);
    for (step = 1; step <= 200; step++) {
        wawo_ring_init(&r);
        ASSERT_EQ(wawo_ring_copy(&r, &h, want, 60, false), 0);
        ASSERT_EQ(wawo_ring_copy(&r, &h, want + 60, 40, true), 0);
        ASSERT_EQ(wawo_ring_append(&r, &h, lent, 50, NULL, lent), 0);
        ASSERT_EQ(wawo_ring_copy(&r, &h, want + 150, 50, false), 0);
        for (at = 0; at < 200; at += n) {
            n = wawo_min_size(step, 200 - at);
            ASSERT_EQ(flatten(&r, got), 200 - at);
            ASSERT_MEMEQ(got, want + at, 200 - at);
            ASSERT_EQ(h.loans != NULL, at >= 150);
            wawo_ring_consume(&r, &h, n);
        }
        ASSERT_EQ(r.bytes, 0u);
        ASSERT_NULL((void *)r.head);
        ASSERT_EQ(wawo_heap_next_loan(&h), (void *)lent);
        ASSERT_NULL(wawo_heap_next_loan(&h));
    }
    heap_close(&h);
}

/* Bytes lent with no length hold nothing up and are given back all the same. */
TEST(empty_loans)
{
    struct wawo_heap h;
    struct wawo_ring r;
    char a, b, c;

    heap_open(&h);
    wawo_ring_init(&r);
    ASSERT_EQ(wawo_ring_append(&r, &h, NULL, 0, NULL, &a), 0);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "xy", 2, false), 0);
    ASSERT_EQ(wawo_ring_append(&r, &h, NULL, 0, NULL, &b), 0);
    ASSERT_EQ(r.bytes, 2u);
    wawo_ring_consume(&r, &h, 1);
    ASSERT_EQ(wawo_heap_next_loan(&h), (void *)&a);
    wawo_ring_consume(&r, &h, 1);
    ASSERT_EQ(wawo_heap_next_loan(&h), (void *)&b);
    ASSERT_NULL((void *)r.head);
    ASSERT_EQ(wawo_ring_append(&r, &h, NULL, 0, NULL, &c), 0);
    wawo_ring_clear(&r, &h);
    ASSERT_EQ(wawo_heap_next_loan(&h), (void *)&c);
    ASSERT_EQ(h.loan_bytes, 0u);
    heap_close(&h);
}

TEST(adopts_slices_of_other_threads)
{
    struct wawo_heap h;
    struct wawo_ring r;
    struct wawo_chunk *c = wawo_chunk_new(10);
    struct wawo_slice *a, *b;
    uint8_t got[16];
    char loan;

    heap_open(&h);
    wawo_ring_init(&r);
    memcpy(c->data, "chunk", 5);
    a = wawo_slice_new(c->data, 5, c, NULL);
    b = wawo_slice_new((const uint8_t *)"lent", 4, NULL, &loan);
    a->next = b;
    wawo_ring_adopt(&r, NULL);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "mine", 4, false), 0);
    wawo_ring_adopt(&r, a);
    ASSERT_EQ(flatten(&r, got), 13u);
    ASSERT_MEMEQ(got, "minechunklent", 13);
    wawo_ring_clear(&r, &h);
    ASSERT_EQ(wawo_heap_next_loan(&h), (void *)&loan);
    ASSERT_NULL(wawo_heap_next_loan(&h));
    heap_close(&h);
}

static const uint8_t *write_text(struct wawo_heap *h, const char *text, struct wawo_chunk **chunk)
{
    struct wawo_run run = {.data = text, .len = strlen(text)};
    const uint8_t *at = wawo_heap_write(h, &run, chunk);

    ASSERT_NOT_NULL(at);
    return at;
}

/* Two messages of one turn: one copy of each, and one slice in each ring. */
TEST(rings_share_a_message)
{
    struct wawo_heap h;
    struct wawo_ring r[3];
    struct wawo_chunk *c;
    const uint8_t *at;
    uint8_t got[64];
    int i, n;

    heap_open(&h);
    for (i = 0; i < 3; i++)
        wawo_ring_init(&r[i]);
    for (n = 0; n < 2; n++) {
        at = write_text(&h, n == 0 ? "one " : "two ", &c);
        ASSERT_EQ((void *)c, (void *)h.tx);
        for (i = 0; i < 3; i++) {
            int rc = wawo_ring_share(&r[i], &h, at, 4, c);

            ASSERT_EQ(rc, n == 0 ? 1 : 0);
            if (rc == 1)
                wawo_chunk_hold(c);
        }
        wawo_chunk_drop(c);
    }
    ASSERT_EQ(h.tx->used, 8u);
    ASSERT_EQ(wawo_ring_copy(&r[1], &h, "mine ", 5, false), 0); /* behind what was written last: the same slice */
    ASSERT_EQ(slices_of(&r[1]), 1u);
    at = write_text(&h, "three", &c);
    for (i = 0; i < 3; i++) /* only in the ring whose slice ends right before it */
        if (wawo_ring_share(&r[i], &h, at, 5, c) == 1)
            wawo_chunk_hold(c);
    wawo_chunk_drop(c);
    ASSERT_EQ(slices_of(&r[0]), 2u);
    ASSERT_EQ(slices_of(&r[1]), 1u);
    ASSERT_EQ(flatten(&r[0], got), 13u);
    ASSERT_MEMEQ(got, "one two three", 13);
    ASSERT_EQ(flatten(&r[1], got), 18u);
    ASSERT_MEMEQ(got, "one two mine three", 18);
    for (i = 0; i < 3; i++)
        wawo_ring_clear(&r[i], &h);
    heap_close(&h);
}

TEST(a_large_shared_message_has_a_block_of_its_own)
{
    struct wawo_heap h;
    struct wawo_ring r;
    uint8_t *big = malloc(FLAT), *got = malloc(FLAT + 4), head[WAWO_HEAD_ROOM] = "head";
    struct wawo_run run = {.head = head, .head_len = 4, .data = big, .len = FLAT};
    struct wawo_chunk *c;
    const uint8_t *at;

    kit_fill(big, FLAT, 0);
    heap_open(&h);
    wawo_ring_init(&r);
    at = wawo_heap_write(&h, &run, &c);
    ASSERT_NOT_NULL(at);
    ASSERT_NULL((void *)c->pool);
    ASSERT_EQ(wawo_ring_share(&r, &h, at, FLAT + 4, c), 1);
    ASSERT_EQ(flatten(&r, got), (size_t)FLAT + 4);
    ASSERT_MEMEQ(got, "head", 4);
    ASSERT_MEMEQ(got + 4, big, FLAT);
    wawo_ring_consume(&r, &h, FLAT - 100); /* a short rest does not hold all of it */
    wawo_ring_settle(&r, &h);
    ASSERT_LT(wawo_slice_chunk(r.head)->cap, 10000u);
    ASSERT_EQ(flatten(&r, got), 104u);
    ASSERT_MEMEQ(got, big + FLAT - 104, 104);
    wawo_ring_clear(&r, &h);
    free(big);
    free(got);
    heap_close(&h);
}

/* A ring that waits holds no more memory for what it adopts than a small multiple of it. */
TEST(a_waiting_ring_copies_what_is_sparse)
{
    enum { BLOCK = 16 * 1024, EACH = 64 };
    struct wawo_heap h;
    struct wawo_ring r;
    struct wawo_chunk *c;
    struct wawo_slice *s;
    uint8_t got[100 * EACH + 4010];
    int i;

    heap_open(&h);
    wawo_ring_init(&r);
    for (i = 0; i < 100; i++) {
        c = wawo_chunk_new(BLOCK);
        kit_fill(c->data, EACH, (uint64_t)i * EACH);
        wawo_ring_adopt_waiting(&r, &h, wawo_slice_new(c->data, EACH, c, NULL));
    }
    ASSERT_LE(wawo_chunk_live(), 2u);
    c = wawo_chunk_new(BLOCK); /* dense enough to stay where it is */
    kit_fill(c->data, 4000, 100 * EACH);
    wawo_ring_adopt_waiting(&r, &h, wawo_slice_new(c->data, 4000, c, NULL));
    ASSERT_EQ((void *)wawo_slice_chunk(r.tail), (void *)c);
    c = wawo_chunk_new(BLOCK);
    s = wawo_slice_new(c->data, 10, c, NULL);
    memcpy(c->data, "0123456789", 10);
    wawo_alloc_fail_at(1); /* best effort */
    wawo_ring_adopt_waiting(&r, &h, s);
    wawo_alloc_fail_at(0);
    ASSERT_EQ((void *)wawo_slice_chunk(r.tail), (void *)c);
    wawo_ring_adopt_waiting(&r, &h, NULL);
    ASSERT_EQ(flatten(&r, got), 100u * EACH + 4010u);
    KIT_CHECK(got, 100 * EACH + 4000, 0);
    wawo_ring_clear(&r, &h);
    heap_close(&h);
}

/* Slices of one block are given back in any order, the block with the last of them. */
TEST(slices_of_one_block)
{
    enum { MANY = 150 };
    struct wawo_slices *block = NULL;
    struct wawo_heap h;
    struct wawo_ring r[2];
    uint8_t got[2 * MANY];
    size_t before, i;

    heap_open(&h);
    wawo_ring_init(&r[0]);
    wawo_ring_init(&r[1]);
    before = wawo_alloc_live();
    for (i = 0; i < MANY; i++) {
        struct wawo_chunk *c = wawo_chunk_new(2);

        memcpy(c->data, "xy", 2);
        wawo_ring_adopt(&r[i % 2], wawo_slice_new_many(&block, c->data, 2, c));
    }
    ASSERT_EQ(wawo_alloc_live() - before, MANY + 3u);
    wawo_slices_drop(block);
    ASSERT_EQ(flatten(&r[1], got), (size_t)MANY);
    wawo_ring_clear(&r[0], &h);
    ASSERT_EQ(wawo_alloc_live() - before, MANY / 2 + 3u);
    wawo_ring_consume(&r[1], &h, MANY - 10); /* the first blocks are free, the last one is not */
    ASSERT_EQ(wawo_alloc_live() - before, 5u + 1);
    wawo_ring_clear(&r[1], &h);
    ASSERT_EQ(wawo_alloc_live(), before);
    block = NULL;
    wawo_alloc_fail_at(1);
    ASSERT_NULL((void *)wawo_slice_new_many(&block, got, 1, NULL));
    wawo_alloc_fail_at(0);
    ASSERT_NULL((void *)block);
    heap_close(&h);
}

TEST(settle_leaves_the_shared_chunk)
{
    struct wawo_heap h;
    struct wawo_ring r;
    uint8_t want[9000], got[9000];
    char loan;

    kit_fill(want, sizeof want, 0);
    heap_open(&h);
    wawo_ring_init(&r);
    wawo_ring_settle(&r, &h);
    ASSERT_EQ(wawo_ring_copy(&r, &h, want, 5000, false), 0);
    wawo_ring_consume(&r, &h, 1000);
    ASSERT_EQ(wawo_ring_append(&r, &h, want + 5000, 1000, NULL, &loan), 0);
    wawo_ring_settle(&r, &h);
    ASSERT_TRUE(wawo_chunk_sole(h.tx));
    ASSERT_EQ(flatten(&r, got), 5000u);
    ASSERT_MEMEQ(got, want + 1000, 5000);
    ASSERT_EQ(wawo_heap_next_loan(&h), (void *)&loan);
    ASSERT_EQ(wawo_ring_copy(&r, &h, want + 6000, 3000, false), 0);
    wawo_alloc_fail_at(1); /* best effort: without memory all stays as it is */
    wawo_ring_settle(&r, &h);
    wawo_alloc_fail_at(0);
    ASSERT_EQ(flatten(&r, got), 8000u);
    ASSERT_MEMEQ(got, want + 1000, 8000);
    wawo_ring_clear(&r, &h);
    heap_close(&h);
}

/* Sending leaves the receive reserve alone: at its share of the pool, copies go to the general heap. */
TEST(sending_leaves_a_reserve)
{
    struct wawo_heap h;
    struct wawo_ring r;
    uint8_t *block = calloc(1, 30000);
    int i;

    heap_open(&h);
    wawo_ring_init(&r);
    for (i = 0; i < 400; i++)
        ASSERT_EQ(wawo_ring_copy(&r, &h, block, 30000, false), 0);
    ASSERT_EQ(r.bytes, 400u * 30000);
    ASSERT_GE(wawo_pool_left(h.pool), h.receive_reserve);
    wawo_ring_clear(&r, &h);
    free(block);
    heap_close(&h);
}

TEST(vectors)
{
    struct wawo_heap h;
    struct wawo_ring r;
    struct wawo_iov iov[8];
    char loans[12];
    int i;

    heap_open(&h);
    wawo_ring_init(&r);
    ASSERT_EQ(wawo_ring_vector(&r, iov, 8), 0);
    for (i = 0; i < 12; i++)
        ASSERT_EQ(wawo_ring_append(&r, &h, (const uint8_t *)&loans[i], 1, NULL, &loans[i]), 0);
    ASSERT_EQ(wawo_ring_vector(&r, iov, 8), 8);
    for (i = 0; i < 8; i++) {
        ASSERT_EQ(iov[i].base, (void *)&loans[i]);
        ASSERT_EQ(iov[i].len, 1u);
    }
    wawo_ring_clear(&r, &h);
    ASSERT_EQ(h.loan_bytes, 12u);
    for (i = 0; wawo_heap_next_loan(&h) != NULL; i++)
        continue;
    ASSERT_EQ(i, 12);
    heap_close(&h);
}

TEST(no_memory_changes_nothing)
{
    struct wawo_heap h;
    struct wawo_ring r;
    uint8_t big[40000] = {0};
    size_t n;
    int err, kind;

    for (n = 1; n < 4; n++) {
        wawo_alloc_fail_at(n);
        err = wawo_heap_init(&h, HEAP);
        wawo_alloc_fail_at(0);
        if (err == 0)
            wawo_heap_fini(&h);
        else
            ASSERT_EQ(err, WAWO_ENOMEM);
    }
    heap_open(&h);
    wawo_ring_init(&r);
    for (kind = 0; kind < 3; kind++)
        for (n = 1; n < 4; n++) {
            wawo_alloc_fail_at(n);
            err = wawo_ring_copy(&r, &h, big, kind == 0 ? sizeof big : 100, kind == 1);
            wawo_alloc_fail_at(0);
            ASSERT_TRUE(err == 0 || err == WAWO_ENOMEM || err == WAWO_ENOBUFS);
            ASSERT_EQ(r.bytes, err != 0 ? 0u : kind == 0 ? sizeof big : 100u);
            wawo_ring_clear(&r, &h);
        }
    heap_close(&h);
}

/* ---- files ---- */

static struct wawo_file *open_file(void)
{
    struct wawo_file *f = wawo_file_new(kit_file(0, 100), 0, 100);

    ASSERT_NOT_NULL((void *)f);
    return f;
}

/* A file has weight, keeps its place, and no bytes are consumed beyond it. */
TEST(file_between_bytes)
{
    struct wawo_heap h;
    struct wawo_ring r;
    struct wawo_iov iov[4];
    struct wawo_file *f = open_file();

    heap_open(&h);
    wawo_ring_init(&r);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "ab", 2, false), 0);
    ASSERT_EQ(wawo_ring_append_file(&r, &h, f), 0);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "cd", 2, false), 0);
    ASSERT_EQ(r.bytes, 4u + WAWO_FILE_WEIGHT);
    ASSERT_EQ(slices_of(&r), 3u);
    ASSERT_NULL((void *)wawo_slice_chunk(r.head->next));
    ASSERT_EQ(wawo_ring_vector(&r, iov, 4), 1);
    wawo_ring_consume(&r, &h, 1);
    wawo_ring_consume(&r, &h, 1);
    wawo_ring_consume(&r, &h, 0);
    ASSERT_EQ(r.head->kind, WAWO_SLICE_FILE);
    ASSERT_EQ(wawo_ring_vector(&r, iov, 4), 0);
    wawo_ring_pop(&r, &h);
    ASSERT_EQ(wawo_file_live(), 0u);
    ASSERT_EQ(r.bytes, 2u);
    ASSERT_EQ(wawo_ring_vector(&r, iov, 4), 1);
    ASSERT_MEMEQ(iov[0].base, "cd", 2);
    wawo_ring_pop(&r, &h);
    ASSERT_NULL((void *)r.head);
    ASSERT_NULL((void *)r.tail);
    heap_close(&h);
}

TEST(clear_closes_files)
{
    struct wawo_heap h;
    struct wawo_ring r;
    struct wawo_slice *s;
    char loan;

    heap_open(&h);
    wawo_ring_init(&r);
    ASSERT_EQ(wawo_ring_append_file(&r, &h, open_file()), 0);
    ASSERT_EQ(wawo_ring_append(&r, &h, NULL, 0, NULL, &loan), 0);
    s = wawo_slice_new_file(open_file());
    wawo_ring_adopt(&r, s);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "ab", 2, true), 0);
    ASSERT_EQ(r.bytes, 2u + 2 * WAWO_FILE_WEIGHT);
    ASSERT_EQ(wawo_file_live(), 2u);
    wawo_ring_clear(&r, &h);
    ASSERT_EQ(wawo_file_live(), 0u);
    ASSERT_EQ(r.bytes, 0u);
    ASSERT_EQ(wawo_heap_next_loan(&h), (void *)&loan);
    heap_close(&h);
}

/* Bytes on both sides leave the shared chunk; the file stays where it is, whatever fails. */
TEST(settle_around_a_file)
{
    struct wawo_heap h;
    struct wawo_ring r;
    struct wawo_file *f = open_file();
    size_t n;

    heap_open(&h);
    wawo_ring_init(&r);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "ab", 2, false), 0);
    ASSERT_EQ(wawo_ring_append_file(&r, &h, f), 0);
    ASSERT_EQ(wawo_ring_copy(&r, &h, "cd", 2, false), 0);
    for (n = 1; n < 4; n++) {
        wawo_alloc_fail_at(n);
        wawo_ring_settle(&r, &h);
        wawo_alloc_fail_at(0);
        ASSERT_EQ(r.bytes, 4u + WAWO_FILE_WEIGHT);
        ASSERT_EQ(slices_of(&r), 3u);
        ASSERT_MEMEQ(r.head->ptr, "ab", 2);
        ASSERT_EQ(r.head->next->owner, (void *)f);
        ASSERT_MEMEQ(r.tail->ptr, "cd", 2);
        ASSERT_EQ(wawo_file_live(), 1u);
    }
    ASSERT_TRUE(wawo_chunk_sole(h.tx));
    wawo_ring_clear(&r, &h);
    ASSERT_EQ(wawo_file_live(), 0u);
    heap_close(&h);
}

/* ---- undoing ---- */

static void append_each_kind(struct wawo_ring *r, struct wawo_heap *h, struct wawo_chunk *c, struct wawo_file *f,
                             void *loan)
{
    ASSERT_EQ(wawo_ring_copy(r, h, "behind", 6, false), 0);
    wawo_chunk_hold(c);
    ASSERT_EQ(wawo_ring_append(r, h, c->data, 5, c, NULL), 0);
    ASSERT_EQ(wawo_ring_append_file(r, h, f), 0);
    ASSERT_EQ(wawo_ring_append(r, h, (const uint8_t *)"lent", 4, NULL, loan), 0);
    ASSERT_EQ(wawo_ring_copy(r, h, "own", 3, true), 0);
}

TEST(undo_what_was_appended)
{
    struct wawo_heap h;
    struct wawo_ring r;
    struct wawo_ring_mark mark;
    struct wawo_file *f = open_file();
    struct wawo_chunk *c = wawo_chunk_new(10);
    uint8_t got[32];
    char loan;
    int full;

    heap_open(&h);
    wawo_ring_init(&r);
    for (full = 0; full < 2; full++) { /* an empty ring, and one with a slice that was extended */
        if (full)
            ASSERT_EQ(wawo_ring_copy(&r, &h, "first", 5, false), 0);
        mark = wawo_ring_mark(&r);
        append_each_kind(&r, &h, c, f, &loan);
        wawo_ring_undo(&r, &h, &mark);
        ASSERT_TRUE(wawo_chunk_sole(c));
        ASSERT_EQ(wawo_file_live(), 1u);
        ASSERT_NULL(wawo_heap_next_loan(&h));
        ASSERT_EQ(flatten(&r, got), full ? 5u : 0u);
    }
    ASSERT_EQ(wawo_ring_copy(&r, &h, "last", 4, false), 0);
    ASSERT_EQ(flatten(&r, got), 9u);
    ASSERT_MEMEQ(got, "firstlast", 9);
    wawo_ring_clear(&r, &h);
    wawo_file_drop(f);
    wawo_chunk_drop(c);
    heap_close(&h);
}

TEST(undo_slices_of_no_ring)
{
    struct wawo_file *f = open_file();
    struct wawo_chunk *c = wawo_chunk_new(10);
    struct wawo_slice *first = wawo_slice_new(c->data, 5, c, NULL);
    char loan;

    first->next = wawo_slice_new_file(f);
    first->next->next = wawo_slice_new((const uint8_t *)"lent", 4, NULL, &loan);
    wawo_chunk_hold(c);
    wawo_slice_undo(first);
    wawo_slice_undo(NULL);
    ASSERT_TRUE(wawo_chunk_sole(c));
    ASSERT_EQ(wawo_file_live(), 1u);
    wawo_file_drop(f);
    wawo_chunk_drop(c);
    wawo_alloc_fail_at(1);
    ASSERT_NULL((void *)wawo_slice_new_file(NULL));
    wawo_alloc_fail_at(0);
}

/* ---- the model ---- */

struct model {
    struct wawo_heap heap;
    struct wawo_ring ring;
    uint8_t *flat, *scratch;
    size_t len;
    uint64_t at, seed; /* of the pattern */
    unsigned lent, back;
};

static void take_loans(struct model *m)
{
    void *loan;

    while ((loan = wawo_heap_next_loan(&m->heap)) != NULL) {
        free(loan);
        m->back++;
    }
}

static void model_append(struct model *m, size_t len)
{
    struct wawo_chunk *c;
    struct wawo_slice *s;
    struct wawo_run run;
    const uint8_t *at;
    uint8_t *block;

    kit_fill(m->flat + m->len, len, m->at);
    switch (kit_below(&m->seed, 8)) {
    case 6:
        run = (struct wawo_run){.data = m->flat + m->len, .len = len};
        at = wawo_heap_write(&m->heap, &run, &c);
        ASSERT_NOT_NULL(at);
        if (len == 0 || wawo_ring_share(&m->ring, &m->heap, at, len, c) == 0)
            wawo_chunk_drop(c);
        break;
    case 7:
        c = wawo_chunk_new(len + 20000);
        memcpy(c->data, m->flat + m->len, len);
        s = wawo_slice_new(c->data, len, c, NULL);
        wawo_ring_adopt_waiting(&m->ring, &m->heap, s);
        break;
    case 0:
        c = wawo_chunk_new(len + 1);
        memcpy(c->data, m->flat + m->len, len);
        ASSERT_EQ(wawo_ring_append(&m->ring, &m->heap, c->data, len, c, NULL), 0);
        break;
    case 1:
        block = malloc(len + 1);
        memcpy(block, m->flat + m->len, len);
        ASSERT_EQ(wawo_ring_append(&m->ring, &m->heap, block, len, NULL, block), 0);
        m->lent++;
        break;
    case 2:
        c = wawo_chunk_new(len + 1);
        memcpy(c->data, m->flat + m->len, len);
        s = wawo_slice_new(c->data, len, c, NULL);
        wawo_ring_adopt(&m->ring, s);
        break;
    default:
        ASSERT_EQ(wawo_ring_copy(&m->ring, &m->heap, m->flat + m->len, len, kit_below(&m->seed, 2) != 0), 0);
    }
    m->len += len;
    m->at += len;
}

static void model_step(struct model *m)
{
    size_t n;

    switch (kit_below(&m->seed, 10)) {
    case 0:
    case 1:
    case 2:
    case 3:
        n = kit_below(&m->seed, kit_below(&m->seed, 20) == 0 ? 70000 : 300);
        if (m->len + n <= FLAT)
            model_append(m, n);
        break;
    case 4:
    case 5:
    case 6:
        n = kit_below(&m->seed, (uint32_t)m->len + 1);
        if (kit_below(&m->seed, 2))
            n = wawo_min_size(n, 400);
        wawo_ring_consume(&m->ring, &m->heap, n);
        m->len -= n;
        memmove(m->flat, m->flat + n, m->len);
        break;
    case 7:
        wawo_ring_settle(&m->ring, &m->heap);
        break;
    case 8:
        wawo_heap_rewind(&m->heap);
        if (m->ring.head != NULL)
            wawo_ring_put_back(&m->ring, wawo_ring_take(&m->ring));
        break;
    default:
        take_loans(m);
    }
}

TEST(model)
{
    static const uint64_t seeds[] = {1, 2, 3, 42, 4711, 99991, 123456789};
    size_t i;
    int step;

    for (i = 0; i < sizeof seeds / sizeof *seeds; i++) {
        struct model m = {.flat = malloc(FLAT), .scratch = malloc(FLAT), .seed = seeds[i]};

        heap_open(&m.heap);
        for (step = 0; step < 4000; step++) {
            model_step(&m);
            ASSERT_EQ(m.ring.bytes, m.len);
            if (m.len < 5000 || step % 50 == 0) {
                ASSERT_EQ(flatten(&m.ring, m.scratch), m.len);
                ASSERT_MEMEQ(m.scratch, m.flat, m.len);
            }
        }
        wawo_ring_clear(&m.ring, &m.heap);
        take_loans(&m);
        ASSERT_EQ(m.lent, m.back);
        heap_close(&m.heap);
        free(m.flat);
        free(m.scratch);
    }
}
