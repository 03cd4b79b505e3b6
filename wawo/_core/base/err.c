#include "config.h"

#include "err.h"

#include "check.h"
#include "os.h"

#include <stdio.h>
#include <stdlib.h>

const char *wawo_err_text(int code)
{
    switch (code) {
#define X(name, value, text)                                                                                           \
    case WAWO_E##name:                                                                                                 \
        return text;
        WAWO_ERR_TABLE(X)
#undef X
    default:
        return wawo_os_error_text(code < 0 ? -code : code);
    }
}

void wawo_check_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "wawo: %s:%d: broken invariant: %s\n", file, line, what);
    fflush(stderr);
    abort();
}
