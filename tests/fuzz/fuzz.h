/* The fuzz targets: `ci/fuzz NAME` runs fuzz_NAME of fuzz_NAME.c under libFuzzer, starting from seeds/NAME; the tests of
 * the C floors run it on the seeds and on a fixed number of their mutations (support/fuzz.h).
 *
 * A target takes any bytes, checks with WAWO_CHECK, returns 0 and leaves nothing behind. */
#ifndef WAWO_TESTS_FUZZ_FUZZ_H
#define WAWO_TESTS_FUZZ_FUZZ_H

#include "base/check.h"

int fuzz_framing(const uint8_t *data, size_t size);
int fuzz_filter(const uint8_t *data, size_t size);
int fuzz_proxy(const uint8_t *data, size_t size);
int fuzz_tls(const uint8_t *data, size_t size);

#endif
