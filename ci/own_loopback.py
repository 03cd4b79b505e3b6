"""Runs a command in a network of its own that has nothing but a loopback, where the system lets us make one.

    python ci/own_loopback.py COMMAND [ARGUMENT...]

Lanes run side by side: the ports of one, and what it leaves in TIME_WAIT, shall not be in the way of another. Linux
gives such a network to root alone; everywhere else the command runs as it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import sys

CLONE_NEWNET = 0x40000000  # <sched.h>
SIOCSIFFLAGS = 0x8914  # <bits/ioctls.h>
IFF_UP = 1  # <net/if.h>


def start_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


def leave_network() -> None:
    """Raises OSError, and stays in the old network, if a new one cannot be made."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net", "rb") as old:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            start_loopback()
        except OSError:
            libc.setns(old.fileno(), CLONE_NEWNET)
            raise


def main() -> None:
    if len(sys.argv) < 2:
        sys.exit("usage: python ci/own_loopback.py COMMAND [ARGUMENT...]")
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            leave_network()
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
