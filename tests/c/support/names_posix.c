/* In front of the C library's, for the linker finds these first. */
#include "base/config.h"

#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "names_fake.h"

const int names_unknown = EAI_NONAME, names_again = EAI_AGAIN;

/* ISO C knows no way from an object pointer to a function. */
static void find_next(const char *name, void *function, size_t size)
{
    void *found = dlsym(RTLD_NEXT, name);

#ifndef __GLIBC__
    if (found == NULL)
        SKIP("linked statically, %s is not there beside ours", name);
#endif
    ASSERT_NOT_NULL(found);
    memcpy(function, &found, size);
}

int getaddrinfo(const char *restrict host, const char *restrict service, const struct addrinfo *restrict hints,
                struct addrinfo **restrict found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    const char *const *addresses;
    int eai;

    if (names_answer(&addresses, &eai))
        return answer(addresses, eai, found);
    find_next("getaddrinfo", &real, sizeof real);
    return real(host, service, hints, found);
}

void freeaddrinfo(struct addrinfo *info)
{
    void (*real)(struct addrinfo *);

    if (is_fake(info)) {
        forget(info);
        return;
    }
    find_next("freeaddrinfo", &real, sizeof real);
    real(info);
}
