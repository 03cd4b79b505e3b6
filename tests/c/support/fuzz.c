#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/kit.h"

enum { INPUT_MAX = 2048, SEEDS_MAX = 256, STEPS_MAX = 5 };

struct input {
    size_t size;
    uint8_t data[INPUT_MAX];
};

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Sorted by name, so that their order is the same everywhere. */
static unsigned load(const char *folder, struct input *seeds)
{
    static char names[SEEDS_MAX][128];
    char path[512];
    DIR *d = opendir(folder);
    struct dirent *entry;
    unsigned i, count = 0;
    FILE *file;

    if (d == NULL)
        FAIL("no seeds in %s", folder);
    while ((entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        ASSERT_LT(count, SEEDS_MAX);
        ASSERT_LT(snprintf(names[count++], sizeof *names, "%s", entry->d_name), (int)sizeof *names);
    }
    closedir(d);
    qsort(names, count, sizeof *names, by_name);
    for (i = 0; i < count; i++) {
        ASSERT_LT(snprintf(path, sizeof path, "%s/%s", folder, names[i]), (int)sizeof path);
        file = fopen(path, "rb");
        ASSERT_NOT_NULL(file);
        seeds[i].size = fread(seeds[i].data, 1, INPUT_MAX, file);
        ASSERT_EQ(ferror(file), 0);
        fclose(file);
    }
    return count;
}

static void insert(uint64_t *state, struct input *in, const uint8_t *p, size_t n)
{
    size_t at = kit_below(state, (uint32_t)in->size + 1);

    n = wawo_min_size(n, INPUT_MAX - in->size);
    memmove(in->data + at + n, in->data + at, in->size - at);
    memcpy(in->data + at, p, n);
    in->size += n;
}

static void mutate(uint64_t *state, struct input *in, const struct input *other)
{
    static const uint8_t telling[] = {0, 1, 2, 0x7f, 0x80, 0x81, 0xfe, 0xff};
    uint8_t piece[64];
    size_t at, n;

    if (in->size == 0)
        in->data[in->size++] = 0;
    at = kit_below(state, (uint32_t)in->size);
    n = 1 + kit_below(state, (uint32_t)wawo_min_size(in->size - at, sizeof piece));
    switch (kit_below(state, 8)) {
    case 0:
        in->data[at] ^= (uint8_t)(1u << kit_below(state, 8));
        break;
    case 1:
        in->data[at] = (uint8_t)kit_random(state);
        break;
    case 2:
        in->data[at] = telling[kit_below(state, sizeof telling)];
        break;
    case 3:
        in->data[at]++;
        break;
    case 4:
        n = wawo_min_size(n, in->size - at);
        memmove(in->data + at, in->data + at + n, in->size - at - n);
        in->size -= n;
        break;
    case 5:
        in->size = at;
        break;
    case 6:
        n = wawo_min_size(n, in->size - at);
        n = wawo_min_size(n, sizeof piece);
        memcpy(piece, in->data + at, n);
        insert(state, in, piece, n);
        break;
    default:
        at = kit_below(state, (uint32_t)other->size + 1);
        insert(state, in, other->data + at, wawo_min_size(n, other->size - at));
        break;
    }
}

/* The target gets a block of the very size. */
static void run(int (*target)(const uint8_t *data, size_t size), const struct input *in)
{
    uint8_t *own = malloc(in->size + (in->size == 0));

    ASSERT_NOT_NULL(own);
    memcpy(own, in->data, in->size);
    ASSERT_EQ(target(own, in->size), 0);
    free(own);
}

void fuzz_run(int (*target)(const uint8_t *data, size_t size), const char *folder, unsigned count)
{
    struct input *seeds = calloc(SEEDS_MAX, sizeof *seeds), in;
    unsigned seed_count, i, k;
    uint64_t state = 1;

    ASSERT_NOT_NULL(seeds);
    seed_count = load(folder, seeds);
    ASSERT_GT(seed_count, 0);
    for (i = 0; i < seed_count; i++)
        run(target, &seeds[i]);
    for (i = 0; i < count; i++) {
        in = seeds[i % seed_count];
        for (k = 1 + kit_below(&state, STEPS_MAX); k > 0; k--)
            mutate(&state, &in, &seeds[kit_below(&state, seed_count)]);
        run(target, &in);
    }
    free(seeds);
}
