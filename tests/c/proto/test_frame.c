/* What holds for every framing, whatever the bytes: see tests/fuzz/fuzz_framing.c. */
#include "support/fuzz.h"
#include "support/harness.h"

#include "fuzz/fuzz.h"

TEST(seeds_and_mutations)
{
    fuzz_run(fuzz_framing, "tests/fuzz/seeds/framing", 20000);
}
