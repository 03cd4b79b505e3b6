/* The system's resolver with answers of the tests' own: names_posix.c and names_win.c stand in front of getaddrinfo. */
#ifndef WAWO_TESTS_NAMES_H
#define WAWO_TESTS_NAMES_H

#include "support/kit.h"

/* Until the end of the test every name resolves to these numeric addresses, in this order (NULL ends them); with none,
 * to the error `eai`. The strings must stay. Before the first look-up. */
void names_are(const char *const *addresses, int eai);
/* The system's codes for a name that there is not, and for one that may be told later. */
extern const int names_unknown, names_again;
/* Look-ups wait until they are let go. */
void names_block(void);
void names_unblock(void);
/* Look-ups that have begun. */
uint32_t names_asked(void);
/* For those in front of the resolver: what to answer, when it is time to; false: ask the system. */
bool names_answer(const char *const **addresses, int *eai);

#endif
