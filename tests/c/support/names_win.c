/* Calls into a library go through pointers that the linker names; these are found before the library's own. */
#include "base/config.h"

#include <winsock2.h>
#include <ws2tcpip.h>

#include "names_fake.h"

const int names_unknown = WSAHOST_NOT_FOUND, names_again = WSATRY_AGAIN;

static void find_real(const char *name, void *function, size_t size)
{
    FARPROC found = GetProcAddress(GetModuleHandleA("ws2_32.dll"), name);

    ASSERT_TRUE(found != NULL);
    memcpy(function, &found, size);
}

static int WSAAPI in_front(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int(WSAAPI * real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    const char *const *addresses;
    int eai;

    if (names_answer(&addresses, &eai))
        return answer(addresses, eai, found);
    find_real("getaddrinfo", &real, sizeof real);
    return real(host, service, hints, found);
}

static void WSAAPI free_in_front(struct addrinfo *info)
{
    void(WSAAPI * real)(struct addrinfo *);

    if (is_fake(info)) {
        forget(info);
        return;
    }
    find_real("freeaddrinfo", &real, sizeof real);
    real(info);
}

int(WSAAPI *names_getaddrinfo)(const char *, const char *, const struct addrinfo *,
                               struct addrinfo **) __asm__("__imp_getaddrinfo") = in_front;
void(WSAAPI *names_freeaddrinfo)(struct addrinfo *) __asm__("__imp_freeaddrinfo") = free_in_front;
