/* What base/os_win.c makes of the words of Windows; and what Wine does otherwise, shown with plain sockets. */
#include "support/kit.h"

#include "base/err.h"
#include "base/os_win.h"

#include <stdlib.h>

TEST(names_of_errors_have_the_values_of_pythons)
{
    static const int pairs[][2] = {{EADDRINUSE, WSAEADDRINUSE},
                                   {EADDRNOTAVAIL, WSAEADDRNOTAVAIL},
                                   {EAFNOSUPPORT, WSAEAFNOSUPPORT},
                                   {ECONNABORTED, WSAECONNABORTED},
                                   {ECONNREFUSED, WSAECONNREFUSED},
                                   {ECONNRESET, WSAECONNRESET},
                                   {EHOSTDOWN, WSAEHOSTDOWN},
                                   {EHOSTUNREACH, WSAEHOSTUNREACH},
                                   {EISCONN, WSAEISCONN},
                                   {EMSGSIZE, WSAEMSGSIZE},
                                   {ENETDOWN, WSAENETDOWN},
                                   {ENETRESET, WSAENETRESET},
                                   {ENETUNREACH, WSAENETUNREACH},
                                   {ENOBUFS, WSAENOBUFS},
                                   {ENOPROTOOPT, WSAENOPROTOOPT},
                                   {ENOTCONN, WSAENOTCONN},
                                   {ENOTSOCK, WSAENOTSOCK},
                                   {EOPNOTSUPP, WSAEOPNOTSUPP},
                                   {ETIMEDOUT, WSAETIMEDOUT},
                                   {EAGAIN, 11},
                                   {ENOMEM, 12},
                                   {EINVAL, 22},
                                   {EPIPE, 32},
                                   {EIO, 5},
                                   {ECANCELED, 105},
                                   {EBADMSG, 104},
                                   {ENOTSUP, 129}};
    size_t i;

    for (i = 0; i < sizeof pairs / sizeof *pairs; i++)
        ASSERT_EQ(pairs[i][0], pairs[i][1]);
}

/* The same thing has one code, whoever of Windows tells it. */
TEST(codes_of_sockets)
{
    static const struct {
        DWORD error;
        int code;
    } rows[] = {{WSAEWOULDBLOCK, WAWO_AGAIN},
                {WSA_IO_PENDING, WAWO_AGAIN},
                {WSAECONNRESET, WAWO_ERESET},
                {WSAECONNABORTED, WAWO_ERESET},
                {ERROR_NETNAME_DELETED, WAWO_ERESET},
                {ERROR_CONNECTION_ABORTED, WAWO_ERESET},
                {WSAESHUTDOWN, -EPIPE},
                {WSAENETRESET, WAWO_ETIMEDOUT},
                {WSAETIMEDOUT, WAWO_ETIMEDOUT},
                {ERROR_SEM_TIMEOUT, WAWO_ETIMEDOUT},
                {WSAECONNREFUSED, WAWO_EREFUSED},
                {ERROR_CONNECTION_REFUSED, WAWO_EREFUSED},
                {ERROR_HOST_UNREACHABLE, WAWO_EUNREACH},
                {ERROR_NETWORK_UNREACHABLE, -ENETUNREACH},
                {ERROR_OPERATION_ABORTED, WAWO_ECANCELED},
                {ERROR_NOT_ENOUGH_MEMORY, WAWO_ENOMEM},
                {WSAENOBUFS, WAWO_ENOBUFS},
                {WSAEMFILE, -EMFILE},
                {WSAEACCES, -EACCES},
                {WSAEINVAL, WAWO_EINVAL},
                {WSAEADDRINUSE, -EADDRINUSE},
                {ERROR_HANDLE_EOF, WAWO_EIO}};
    size_t i;

    for (i = 0; i < sizeof rows / sizeof *rows; i++)
        ASSERT_EQ(wawo_os_code(rows[i].error), rows[i].code);
}

TEST(an_accept_that_failed_for_its_peer_alone)
{
    static const DWORD peers[] = {WSAECONNRESET, ERROR_NETNAME_DELETED, WSAECONNABORTED, WSAENOTCONN,
                                  ERROR_SEM_TIMEOUT};
    static const DWORD ours[] = {WSAEMFILE, WSAENOBUFS, WSAEINVAL, WSAENOTSOCK, WSAEFAULT, ERROR_OPERATION_ABORTED};
    size_t i;

    for (i = 0; i < sizeof peers / sizeof *peers; i++)
        ASSERT_TRUE(wawo_os_accept_transient(wawo_os_code(peers[i])));
    for (i = 0; i < sizeof ours / sizeof *ours; i++)
        ASSERT_FALSE(wawo_os_accept_transient(wawo_os_code(ours[i])));
}

TEST(every_code_has_a_text)
{
    static const int codes[] = {EPERM, EACCES, EADDRINUSE, ENETUNREACH, WSAEPROVIDERFAILEDINIT, 12345678};
    const char *text, *p;
    size_t i;

    for (i = 0; i < sizeof codes / sizeof *codes; i++) {
        text = wawo_err_text(-codes[i]);
        ASSERT_NOT_NULL(text);
        ASSERT_NE(*text, '\0');
        for (p = text; *p != '\0'; p++)
            ASSERT_TRUE((unsigned char)*p >= ' ');
        ASSERT_NE(p[-1], '.');
    }
}

TEST(no_other_process_inherits_a_socket)
{
    int fd = wawo_os_socket(WAWO_AF_INET);
    DWORD flags = HANDLE_FLAG_INHERIT;

    ASSERT_GT(fd, 0);
    ASSERT_TRUE(GetHandleInformation((HANDLE)wawo_os_handle(fd), &flags));
    ASSERT_EQ(flags & HANDLE_FLAG_INHERIT, 0u);
    kit_close(fd);
}

/* The proof for what tests/c/wine.txt says of resets: an operation that waits is told of one, a later one is not. */
TEST(a_reset_that_nobody_waited_for)
{
    bool wine = GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version") != NULL;
    WSAOVERLAPPED ov = {.hEvent = WSACreateEvent()};
    char byte;
    WSABUF buf = {1, &byte};
    DWORD n, flags = 0;
    int fds[2];
    SOCKET s;

    kit_pair(fds);
    s = wawo_os_handle(fds[0]);
    ASSERT_EQ(WSARecv(s, &buf, 1, NULL, &flags, &ov, NULL), SOCKET_ERROR);
    ASSERT_EQ(WSAGetLastError(), WSA_IO_PENDING);
    kit_reset(fds[1]);
    ASSERT_FALSE(WSAGetOverlappedResult(s, &ov, &n, TRUE, &flags));
    ASSERT_EQ(WSAGetLastError(), WSAECONNRESET);
    kit_close(fds[0]);
    ASSERT_TRUE(WSACloseEvent(ov.hEvent));

    kit_pair(fds);
    s = wawo_os_handle(fds[0]);
    kit_reset(fds[1]);
    if (wine) {
        ASSERT_EQ(recv(s, &byte, 1, 0), 0);
    } else {
        ASSERT_EQ(recv(s, &byte, 1, 0), SOCKET_ERROR);
        ASSERT_EQ(WSAGetLastError(), WSAECONNRESET);
    }
    kit_close(fds[0]);
}
