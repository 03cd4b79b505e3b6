/* What Microsoft's string.h would declare, as far as the headers under test need it. */
#include <stddef.h>

void *memcpy(void *to, const void *from, size_t n);
