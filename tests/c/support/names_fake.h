/* The answers as the system's own list; behind the headers of the system. */
#ifndef WAWO_TESTS_NAMES_FAKE_H
#define WAWO_TESTS_NAMES_FAKE_H

#include "names.h"

#include <stdlib.h>

struct fake {
    struct addrinfo info;
    union {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
};

static char marker[] = "scripted";

static struct addrinfo *make(const char *text)
{
    struct fake *f = calloc(1, sizeof *f);
    struct wawo_addr a;

    ASSERT_NOT_NULL(f);
    ASSERT_EQ(wawo_addr_parse(&a, text, 0), 0);
    f->info.ai_canonname = marker;
    f->info.ai_socktype = SOCK_STREAM;
    if (a.family == WAWO_AF_INET) {
        f->info.ai_family = f->address.in.sin_family = AF_INET;
        f->info.ai_addrlen = sizeof f->address.in;
        memcpy(&f->address.in.sin_addr, a.ip, 4);
    } else {
        f->info.ai_family = f->address.in6.sin6_family = AF_INET6;
        f->info.ai_addrlen = sizeof f->address.in6;
        memcpy(&f->address.in6.sin6_addr, a.ip, 16);
    }
    f->info.ai_addr = (struct sockaddr *)(void *)&f->address;
    return &f->info;
}

static int answer(const char *const *text, int eai, struct addrinfo **found)
{
    struct addrinfo **last = found;

    *found = NULL;
    if (*text == NULL)
        return eai;
    for (; *text != NULL; text++) {
        *last = make(*text);
        last = &(*last)->ai_next;
    }
    return 0;
}

static void forget(struct addrinfo *info)
{
    struct addrinfo *next;

    for (; info != NULL; info = next) {
        next = info->ai_next;
        free(wawo_container_of(info, struct fake, info));
    }
}

static bool is_fake(const struct addrinfo *info)
{
    return info != NULL && info->ai_canonname == marker;
}

#endif
