/* The system's resolver with answers of the tests' own: support/names.c stands in front of getaddrinfo. */
#ifndef WAWO_TESTS_NAMES_H
#define WAWO_TESTS_NAMES_H

#include "support/kit.h"

/* Until the end of the test every name resolves to these numeric addresses, in this order (NULL ends them); with none,
 * to the error `eai`. The strings must stay. Before the first look-up. */
void names_are(const char *const *addresses, int eai);
/* Look-ups wait until they are let go. */
void names_block(void);
void names_unblock(void);
/* Look-ups that have begun. */
uint32_t names_asked(void);

#endif
