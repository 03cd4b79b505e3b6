/* The backends that a machine should have, judged without asking them: a backend that does not probe where it should is a
 * failure, for its tests would pass by not running. tests/support/backends.py is the same for Python. */
#ifndef WAWO_TESTS_EXPECTED_H
#define WAWO_TESTS_EXPECTED_H

#include <stdbool.h>

/* Those of this system; NULL ends them. */
extern const char *const expected_backends[];
/* Whether for that backend the system reads the files that are sent, on threads of its own: what is in memory is not asked
 * then, and nothing of a file is sent at once. */
bool expected_to_leave_files(const char *backend);
/* Why that backend need not work on this machine; NULL: it must. */
const char *expected_excuse(const char *backend);
/* Whether there is an OpenSSL to be loaded: the one of this machine's Python. */
bool expected_openssl(void);

#endif
