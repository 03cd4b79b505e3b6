/* The codecs of proto/ behind one table, and what the vectors of all of them are put to. */
#ifndef WAWO_TESTS_CODEC_H
#define WAWO_TESTS_CODEC_H

#include "proto/frame.h"

struct codec {
    int (*cut)(const void *cfg, const uint8_t *p, size_t n, size_t *scanned, struct wawo_frame *out);
    int (*seal)(const void *cfg, const struct wawo_message *m, struct wawo_envelope *out);
};

/* codec_<noun>, the table of that codec. */
#define CODEC(noun)                                                                                                    \
    static int cut_##noun(const void *cfg, const uint8_t *p, size_t n, size_t *scanned, struct wawo_frame *out)        \
    {                                                                                                                  \
        return wawo_##noun##_cut(cfg, p, n, scanned, out);                                                             \
    }                                                                                                                  \
    static int seal_##noun(const void *cfg, const struct wawo_message *m, struct wawo_envelope *out)                   \
    {                                                                                                                  \
        return wawo_##noun##_seal(cfg, m, out);                                                                        \
    }                                                                                                                  \
    static const struct codec codec_##noun = {cut_##noun, seal_##noun}

/* wire[0..n) is one frame, whose message is wire[skip..skip + len): seen so whole, with more behind it, in two pieces
 * split at every byte, and byte for byte; no byte behind what was given is touched. */
#define CODEC_CUTS(codec, cfg, wire, n, skip, len) codec_cuts(__FILE__, __LINE__, codec, cfg, wire, n, skip, len)
/* The same for a frame that is refused with `code` as soon as `at` bytes of it are there, and not before. */
#define CODEC_FAILS(codec, cfg, wire, n, at, code) codec_fails(__FILE__, __LINE__, codec, cfg, wire, n, at, code)
/* Sending that message gives wire[0..n). */
#define CODEC_SEALS(codec, cfg, data, len, wire, n) codec_seals(__FILE__, __LINE__, codec, cfg, data, len, wire, n)
#define CODEC_REFUSES(codec, cfg, data, len, code) codec_refuses(__FILE__, __LINE__, codec, cfg, data, len, code)
/* Sends that message, and cuts what is sent. */
#define CODEC_ROUND(codec, cfg, data, len) codec_round(__FILE__, __LINE__, codec, cfg, data, len)
/* Messages of these sizes with the bytes of the pattern, one after the other: cut whole, and in two pieces split at
 * every byte. */
#define CODEC_STREAM(codec, cfg, sizes, count) codec_stream(__FILE__, __LINE__, codec, cfg, sizes, count)

void codec_cuts(const char *file, int line, const struct codec *codec, const void *cfg, const uint8_t *wire, size_t n,
                size_t skip, size_t len);
void codec_fails(const char *file, int line, const struct codec *codec, const void *cfg, const uint8_t *wire, size_t n,
                 size_t at, int code);
void codec_seals(const char *file, int line, const struct codec *codec, const void *cfg, const void *data, size_t len,
                 const uint8_t *wire, size_t n);
void codec_refuses(const char *file, int line, const struct codec *codec, const void *cfg, const void *data, size_t len,
                   int code);
void codec_round(const char *file, int line, const struct codec *codec, const void *cfg, const void *data, size_t len);
void codec_stream(const char *file, int line, const struct codec *codec, const void *cfg, const size_t *sizes,
                  size_t count);

#endif
