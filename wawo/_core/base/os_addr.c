/* F0 os: socket addresses, their text, and looking names up, on all systems. */
#include "os_sockaddr.h"

#include "alloc.h"
#include "err.h"
#include "os.h"

#include <stdio.h>
#include <stdlib.h>

#if defined(_WIN32)
#include <iphlpapi.h>
#else
#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#endif

/* What a look-up says of a name that has no address of a wanted family. */
#if defined(_WIN32)
#define NO_FAMILY EAI_NODATA
#elif defined(EAI_ADDRFAMILY)
#define NO_FAMILY EAI_ADDRFAMILY
#else
#define NO_FAMILY EAI_NONAME
#endif

/* ---- the system's form ---- */

void wawo_os_address(struct wawo_addr *a, const struct sockaddr *sa, socklen_t len)
{
    union wawo_sockaddr u;

    memset(a, 0, sizeof *a);
    memset(&u, 0, sizeof u);
    if (len > 0)
        memcpy(&u, sa, wawo_min_size((size_t)len, sizeof u));
    switch (u.sa.sa_family) {
    case AF_INET:
        a->family = WAWO_AF_INET;
        a->port = ntohs(u.in.sin_port);
        memcpy(a->ip, &u.in.sin_addr, 4);
        break;
    case AF_INET6:
        a->port = ntohs(u.in6.sin6_port);
        if (IN6_IS_ADDR_V4MAPPED(&u.in6.sin6_addr)) { /* a dual-stack listener shows IPv4 peers as IPv4 */
            a->family = WAWO_AF_INET;
            memcpy(a->ip, (const uint8_t *)&u.in6.sin6_addr + 12, 4);
            break;
        }
        a->family = WAWO_AF_INET6;
        memcpy(a->ip, &u.in6.sin6_addr, 16);
        a->scope = u.in6.sin6_scope_id;
        break;
#if !defined(_WIN32)
    case AF_UNIX:
        a->family = WAWO_AF_UNIX;
        break;
#endif
    default:
        break;
    }
}

#if defined(_WIN32)
static socklen_t unix_sockaddr(const struct wawo_addr *a, union wawo_sockaddr *out)
{
    (void)a, (void)out;
    return 0;
}
#else
static socklen_t unix_sockaddr(const struct wawo_addr *a, union wawo_sockaddr *out)
{
    size_t len = strlen(a->path);

    out->un.sun_family = AF_UNIX;
    memcpy(out->un.sun_path, a->path, len);
    if (a->path[0] == '@') /* an abstract name begins with a NUL and ends where the address does */
        out->un.sun_path[0] = '\0';
    else
        len++;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}
#endif

socklen_t wawo_os_sockaddr(const struct wawo_addr *a, union wawo_sockaddr *out)
{
    memset(out, 0, sizeof *out);
    switch (a->family) {
    case WAWO_AF_INET:
        out->in.sin_family = AF_INET;
        out->in.sin_port = htons(a->port);
        memcpy(&out->in.sin_addr, a->ip, 4);
        return sizeof out->in;
    case WAWO_AF_INET6:
        out->in6.sin6_family = AF_INET6;
        out->in6.sin6_port = htons(a->port);
        memcpy(&out->in6.sin6_addr, a->ip, 16);
        out->in6.sin6_scope_id = a->scope;
        return sizeof out->in6;
    case WAWO_AF_UNIX:
        return unix_sockaddr(a, out);
    default:
        return 0;
    }
}

/* ---- text ---- */

static int parse_unix(struct wawo_addr *a, const char *path)
{
    size_t len = strlen(path), most = path[0] == '@' ? WAWO_UNIX_MAX + 1 : WAWO_UNIX_MAX;

#if !defined(__linux__) && !defined(_WIN32) /* on Windows that is said when one is made */
    if (path[0] == '@')
        return WAWO_ENOTSUP;
#endif
    if (len > most)
        return -ENAMETOOLONG;
    if (len == 0)
        return -ENOENT;
    a->family = WAWO_AF_UNIX;
    a->path = path;
    return 0;
}

int wawo_addr_parse(struct wawo_addr *a, const char *host, uint16_t port)
{
    char bare[WAWO_ADDR_TEXT];
    const char *zone = strchr(host, '%');
    char *end;
    size_t len = zone != NULL ? (size_t)(zone - host) : strlen(host);

    memset(a, 0, sizeof *a);
    if (strncmp(host, "unix:", 5) == 0)
        return parse_unix(a, host + 5);
    a->port = port;
    if (len >= sizeof bare)
        return WAWO_EINVAL;
    memcpy(bare, host, len);
    bare[len] = '\0';
    if (zone == NULL && inet_pton(AF_INET, bare, a->ip) == 1) {
        a->family = WAWO_AF_INET;
        return 0;
    }
    if (inet_pton(AF_INET6, bare, a->ip) != 1)
        return WAWO_EINVAL;
    if (zone != NULL) {
        a->scope = if_nametoindex(zone + 1);
        if (a->scope == 0) { /* no interface of that name: a number, or nonsense */
            a->scope = (uint32_t)strtoul(zone + 1, &end, 10);
            if (zone[1] < '0' || zone[1] > '9' || *end != '\0')
                return WAWO_EINVAL;
        }
    }
    a->family = WAWO_AF_INET6;
    return 0;
}

/* The zone behind its '%'. */
static void zone_text(uint32_t scope, char *to, size_t room)
{
#if !defined(_WIN32) /* there the names of interfaces are long, and nobody writes them */
    char zone[IF_NAMESIZE];

    if (if_indextoname(scope, zone) != NULL) {
        (void)snprintf(to, room, "%%%s", zone);
        return;
    }
#endif
    (void)snprintf(to, room, "%%%u", (unsigned)scope);
}

void wawo_addr_text(const struct wawo_addr *a, char text[WAWO_ADDR_TEXT])
{
    size_t len;

    text[0] = '\0';
    if (a->family == WAWO_AF_UNIX && a->path != NULL)
        (void)snprintf(text, WAWO_ADDR_TEXT, "unix:%s", a->path);
    else if (a->family == WAWO_AF_INET)
        (void)inet_ntop(AF_INET, a->ip, text, WAWO_ADDR_TEXT);
    else if (a->family == WAWO_AF_INET6)
        (void)inet_ntop(AF_INET6, a->ip, text, WAWO_ADDR_TEXT);
    if (a->scope != 0) {
        len = strlen(text);
        zone_text(a->scope, text + len, WAWO_ADDR_TEXT - len);
    }
}

bool wawo_addr_equal(const struct wawo_addr *a, const struct wawo_addr *b)
{
    return a->family == b->family && a->port == b->port && a->scope == b->scope && memcmp(a->ip, b->ip, 16) == 0;
}

/* ---- look-ups ---- */

int wawo_os_resolve(const char *host, uint16_t port, struct wawo_addr **list, int *gai)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    struct addrinfo *found = NULL, *i;
    int n = 0, count = 0;

    *list = NULL;
    (void)wawo_os_start();
    *gai = getaddrinfo(host, NULL, &hints, &found);
    if (*gai == EAI_NONAME || *gai == NO_FAMILY) { /* a host with loopback only has no "configured" family */
        hints.ai_flags = 0;
        *gai = getaddrinfo(host, NULL, &hints, &found);
    }
    if (*gai != 0)
        return 0;
    for (i = found; i != NULL; i = i->ai_next)
        n++;
    *list = wawo_alloc((size_t)n * sizeof **list);
    if (*list == NULL) {
        freeaddrinfo(found);
        return WAWO_ENOMEM;
    }
    for (i = found; i != NULL; i = i->ai_next) {
        if (i->ai_family != AF_INET && i->ai_family != AF_INET6)
            continue;
        wawo_os_address(&(*list)[count], i->ai_addr, (socklen_t)i->ai_addrlen);
        (*list)[count++].port = port;
    }
    freeaddrinfo(found);
    return count;
}
