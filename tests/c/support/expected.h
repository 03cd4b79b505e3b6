/* The backends that a machine should have, judged without asking them: a backend that does not probe where it should is a
 * failure, for its tests would pass by not running. tests/support/backends.py is the same for Python. */
#ifndef WAWO_TESTS_EXPECTED_H
#define WAWO_TESTS_EXPECTED_H

/* Those of this system; NULL ends them. */
extern const char *const expected_backends[];
/* Why that backend need not work on this machine; NULL: it must. */
const char *expected_excuse(const char *backend);

#endif
