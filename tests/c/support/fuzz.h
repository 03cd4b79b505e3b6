/* Runs a fuzz target of tests/fuzz without a fuzzer. */
#ifndef WAWO_TESTS_FUZZ_H
#define WAWO_TESTS_FUZZ_H

#include "base/config.h"

/* On each file of the folder, then on `count` mutations of them, the same on every machine. */
void fuzz_run(int (*target)(const uint8_t *data, size_t size), const char *folder, unsigned count);

#endif
