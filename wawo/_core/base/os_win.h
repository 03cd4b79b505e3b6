/* F0 os: the headers of Windows, in the order that they want, and what the files for Windows share. Only those include
 * it: its headers define too many words. */
#ifndef WAWO_BASE_OS_WIN_H
#define WAWO_BASE_OS_WIN_H

#include "config.h"

#include <winsock2.h>

#include <mstcpip.h>
#include <mswsock.h>
#include <windows.h>
#include <ws2tcpip.h>

#include "err.h" /* after them: its values of the names of errors are Python's */

/* Only here is a socket turned into an int and back (os.h says why it fits). */
static inline SOCKET wawo_os_handle(int fd)
{
    return (SOCKET)(unsigned)fd;
}
static inline int wawo_os_fd(SOCKET s)
{
    return (int)s;
}

/* Starts Winsock, once in a process; 0 or why not. */
int wawo_os_start(void);
/* The result for an error of Winsock, or of Windows on a socket: what a POSIX system says to the same thing. */
int wawo_os_code(DWORD error);
/* The handle of a file's descriptor. */
HANDLE wawo_os_file_handle(int fd);

#endif
