/* A scene played with the n-th allocation failing, for every n until nothing fails any more: whatever comes of it, no
 * crash, no hang, and nothing is left. */
#ifndef WAWO_TESTS_TORTURE_H
#define WAWO_TESTS_TORTURE_H

#include "support/stage.h"

/* Plays on an open stage and leaves nothing on it; whether all of it worked. */
typedef bool (*torture_scene)(struct stage *s, const void *arg);

void torture(const char *backend, unsigned loops, torture_scene scene, const void *arg);

/* ---- for scenes: a peer that takes whatever comes ---- */

/* What came before the stream ended, well or not. */
size_t torture_read(int fd, uint8_t *to, size_t most);
/* Waits until the server has shown its n-th connection, or refused one; true: it was shown. */
bool torture_accepted(struct party *server, uint64_t n);
/* The server has told the end of all that its `peers` peers came to. */
void torture_ended(struct party *server, uint64_t peers);
/* Once it has: what came must be a beginning of what was to come; all of it, unless something was refused or ended with
 * an error. Whether it is all. */
bool torture_compare(struct party *server, const uint8_t *got, size_t len, const void *wanted, size_t wanted_len,
                     bool refused);

#endif
