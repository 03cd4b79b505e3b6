#include "part.h"

#include "../mem/file.h"

void wawo_part_measure(const struct wawo_part *parts, unsigned count, struct wawo_message *m, size_t *memory)
{
    unsigned i;

    *m = (struct wawo_message){(const uint8_t *)"", 0, 0};
    if (count > 0 && parts[0].len > 0)
        *m = (struct wawo_message){parts[0].data, parts[0].len, 0};
    *memory = 0;
    for (i = 0; i < count; i++) {
        m->total += parts[i].file != NULL ? (size_t)parts[i].file->left : parts[i].len;
        *memory += parts[i].file != NULL ? WAWO_FILE_WEIGHT : parts[i].len;
    }
}

void wawo_part_keep(const struct wawo_part *parts, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++)
        if (parts[i].chunk != NULL)
            wawo_chunk_hold(parts[i].chunk);
}
